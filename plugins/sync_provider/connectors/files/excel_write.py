"""Writes a change stream to a workbook: it is built whole beside the old one, and then takes its place.

Of an existing workbook only the sheet written to changes, and of that only what the changes concern; every other part (other
sheets, charts, images, macros, whatever a program put there) is carried over byte by byte.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, cast

from sync_provider.connectors.base import WriteRequest, WriteResult
from sync_provider.connectors.files.atomic import atomic_write
from sync_provider.connectors.files.csv_changes import ChangeSet
from sync_provider.connectors.files.discovery import FoundFile, TrackedFile, appended_already, hash_file
from sync_provider.connectors.files.excel_guard import Package, file_format, malformed
from sync_provider.connectors.files.excel_insert import Inserter, only_inserts, write_new_sheet
from sync_provider.connectors.files.excel_new import check_sheet_name, new_archive, part_writer, write_workbook_parts
from sync_provider.connectors.files.excel_sheets import is_pattern
from sync_provider.connectors.files.excel_styles import HEADER_STYLE, format_code, new_styles
from sync_provider.connectors.files.root import FileRoot, Location, translating
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.errors import MappingError, SyncDataError, SyncError, Where

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_SHEET = "Sheet1"
_COPY_BYTES = 1 << 20


def write_changes(
    root: FileRoot,
    location: Location,
    endpoint: ExcelEndpoint,
    request: WriteRequest,
    changes: Iterator[pa.RecordBatch],
) -> WriteResult:
    """Apply a change stream to one sheet; nothing has changed unless this returns.

    Raises:
        MappingError: the endpoint does not name one sheet of an .xlsx file.
        SyncDataError: the sheet lacks a mapped column, cannot be edited safely, or the file changed meanwhile (retryable).
        SyncConnectionError: the disk is full, or the file system failed.
    """
    if is_pattern(endpoint.sheet):
        raise MappingError(
            "a pattern of sheets can only be read; give one sheet to write to",
            where=Where(field="destination.sheet"),
            code="sheet_pattern",
        )
    if appended_already(root, location, request):
        return WriteResult()
    with ExitStack() as stack:
        keyed = request.mode in ("upsert", "mirror")
        change_set = stack.enter_context(ChangeSet(request, changes)) if keyed else None
        built = _temporary(stack)
        old = TrackedFile(root, FoundFile(location, root.state(location))) if root.exists(location) else None
        if old is None:
            result = _new(built, location, endpoint, request, change_set, changes)
        else:
            stack.callback(old.close)
            result, untouched = _edit(stack, built, old, endpoint, request, change_set, changes)
            if untouched:
                return result
        _publish(root, location, built, old, request)
    return result


def _temporary(stack: ExitStack) -> BinaryIO:
    opened = tempfile.TemporaryFile(prefix="sync-excel-")  # noqa: SIM115 - the stack closes it
    stack.enter_context(opened)
    return cast("BinaryIO", opened)


def _publish(
    root: FileRoot, location: Location, built: BinaryIO, old: TrackedFile | None, request: WriteRequest
) -> None:
    """Let the new workbook take the place of the old one, if that is still what was read."""

    def commit() -> None:
        if old is not None:
            old.finish()  # somebody else's edit since we read it must not be lost
        elif root.exists(location):
            raise SyncDataError(
                "the file appeared while it was being written",
                where=Where(file=location.name),
                code="file_changed",
                retryable=True,
            )
        request.fence()
        request.intent(digest.hexdigest())

    digest = hashlib.sha256()
    built.seek(0)
    with atomic_write(root, location, before_commit=commit) as file:
        while data := built.read(_COPY_BYTES):
            digest.update(data)
            with translating(location.name, "write"):
                file.write(data)
    if hash_file(root, location) != digest.hexdigest():
        raise SyncDataError(
            "the file does not hold what was written; somebody else writes to it",
            where=Where(file=location.name),
            hint="Let only this integration write there, then run again.",
            code="file_changed",
            retryable=True,
        )


def _edit(
    stack: ExitStack,
    built: BinaryIO,
    old: TrackedFile,
    endpoint: ExcelEndpoint,
    request: WriteRequest,
    change_set: ChangeSet | None,
    changes: Iterator[pa.RecordBatch],
) -> tuple[WriteResult, bool]:
    from sync_provider.connectors.files.excel_edit import edit_workbook

    copy = _temporary(stack)
    while data := old.read(_COPY_BYTES):
        copy.write(data)
    try:
        if file_format(copy) != "zip":
            raise _not_xlsx(old.name)
        return edit_workbook(Package(copy), built, old.name, endpoint, request, change_set, changes)
    except SyncError as error:
        raise error.at(file=old.name) from error.__cause__


def _not_xlsx(name: str) -> SyncDataError:
    return malformed(
        "only .xlsx and .xlsm workbooks can be written",
        hint="Save it as .xlsx, and correct the mapping's path.",
        code="excel_format",
        where=Where(file=name),
    )


def _new(
    built: BinaryIO,
    location: Location,
    endpoint: ExcelEndpoint,
    request: WriteRequest,
    change_set: ChangeSet | None,
    changes: Iterator[pa.RecordBatch],
) -> WriteResult:
    if not location.name.lower().endswith(".xlsx"):
        raise _not_xlsx(location.name)
    result = WriteResult()
    name = check_sheet_name(endpoint.sheet if isinstance(endpoint.sheet, str) else DEFAULT_SHEET)
    styles, formats = new_styles([format_code(c.type, plain=endpoint.style == "plain") for c in request.columns])
    with new_archive(built) as archive:
        write_workbook_parts(archive, name, styles)
        with part_writer(archive, "xl/worksheets/sheet1.xml") as put:
            header_style = HEADER_STYLE if endpoint.style == "table" else 0
            write_new_sheet(
                put,
                endpoint,
                request,
                only_inserts(change_set, result) if change_set is not None else changes,
                Inserter(
                    request,
                    Where(file=location.name, sheet=name),
                    range(len(request.columns)),
                    result,
                    date1904=False,
                ),
                formats,
                header_style,
            )
    return result
