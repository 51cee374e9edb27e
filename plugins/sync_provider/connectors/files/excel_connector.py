"""Excel workbooks as an endpoint: the connector protocol over the reader, the writer and the editor."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from sync_provider.connectors.base import (
    Capabilities,
    Clock,
    ColumnInfo,
    ColumnRequest,
    Probe,
    RawBatch,
    Reading,
    ReadRequest,
    SourceFile,
    WriteRequest,
    WriteResult,
)
from sync_provider.connectors.files.discovery import (
    FoundFile,
    Selection,
    TrackedFile,
    content_token,
    hash_file,
    select_files,
)
from sync_provider.connectors.files.excel_address import column_letters
from sync_provider.connectors.files.excel_read import SheetPlan, plan_sheet, read_sheet
from sync_provider.connectors.files.excel_sheets import OpenBook, is_pattern, open_book, select_sheets
from sync_provider.connectors.files.excel_values import STRING
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.errors import SyncDataError, SyncError, Where

if TYPE_CHECKING:
    import pyarrow as pa

_SPOOL_BYTES = 64 << 20


class ExcelConnector:
    """One Excel endpoint: a workbook to write, a workbook or pattern to read.

    Args:
        endpoint: as the mapping declares it.
        root: what its path is relative to.
        clock: tells how old a file is.

    Raises:
        MappingError: the path leads outside the root.
    """

    def __init__(self, endpoint: ExcelEndpoint, root: FileRoot, clock: Clock) -> None:
        self._endpoint = endpoint
        self._root = root
        self._clock = clock
        self._location = root.resolve(endpoint.path)
        self._works: list[_Work] = []

    @property
    def capabilities(self) -> Capabilities:
        """A workbook is one file: mappings that write to different sheets of it take the same lease."""
        place = self._location.path if self._root.is_local else f"{self._root.url}/{self._location.name}"
        return Capabilities(
            modes=frozenset({"append", "replace", "upsert", "mirror"}),
            transactional=True,
            filters_cursor=False,
            resource=f"file:{place}",
        )

    def test(self, columns: Sequence[str], *, write: bool) -> list[Probe]:
        try:
            files = [] if write and not self._root.exists(self._location) else self._select(frozenset()).files
        except SyncError as error:
            return [Probe.failed("reach", error)]
        probes = [Probe(aspect="reach", ok=True, detail=f"{len(files)} file(s) match {self._endpoint.path}")]
        request = ReadRequest(columns=tuple(ColumnRequest(name=name, type=STRING) for name in columns))
        try:
            for found in files:
                with closing(_Work(self._root, self._endpoint, found, request)) as work:
                    work.open()
            probes.append(Probe(aspect="header", ok=True, detail=f"{len(columns)} column(s) found"))
        except SyncError as error:
            # The writer adds a sheet that is not there yet, and the header of an empty one.
            if not (write and error.code in ("sheet_missing", "sheet_empty")):
                aspect = "header" if isinstance(error, SyncDataError) else "read"
                probes.append(Probe.failed(aspect, error))
        if write:
            probes.append(self._root.probe_write(self._location))
        return probes

    def describe(self) -> list[ColumnInfo]:
        files = self._root.glob(self._endpoint.path)
        if not files:
            return []
        found = FoundFile(files[0], self._root.state(files[0]))
        with closing(_Work(self._root, self._endpoint, found, ReadRequest())) as work:
            try:
                work.open()
            except SyncDataError as error:
                if error.code == "sheet_missing":
                    return []
                raise
            headers = [plan.header for plan in work.plans]
        names = headers[0].names if headers else {}
        infos = [ColumnInfo(name=name, type=STRING, position=column_letters(at)) for at, name in names.items()]
        if infos and self._endpoint.sheet_field:
            infos.append(ColumnInfo(name=self._endpoint.sheet_field, type=STRING))
        return infos

    def token(self) -> str | None:
        """Digest of the names and bytes of all files; None while there is none, or one is still being written."""
        found = self._root.glob(self._endpoint.path)
        if not found or self._select(frozenset()).deferred:
            return None
        return content_token(SourceFile(name=f.name, sha256=hash_file(self._root, f), size_bytes=0) for f in found)

    def read(self, request: ReadRequest) -> Reading:
        selection = self._select(request.known_files)
        works = [_Work(self._root, self._endpoint, found, request) for found in selection.files]
        for index, work in enumerate(works):
            # The columns of every file are checked first; only the first one stays open meanwhile.
            work.open()
            if index:
                work.close()
        self._works += works[:1]
        reading = Reading(batches=iter(()), files=list(selection.deferred))
        reading.batches = _batches(reading, works, selection.known, request)
        return reading

    def write(self, request: WriteRequest, changes: Iterator[pa.RecordBatch]) -> WriteResult:
        from sync_provider.connectors.files.excel_write import write_changes

        return write_changes(self._root, self._location, self._endpoint, request, changes)

    def close(self) -> None:
        for work in self._works:
            work.close()
        self._works.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _select(self, known: frozenset[str]) -> Selection:
        return select_files(self._root, self._endpoint, known, self._clock)


class _Work:
    """One workbook to be read: open, with its columns found, from `open` to `close`."""

    def __init__(self, root: FileRoot, endpoint: ExcelEndpoint, found: FoundFile, request: ReadRequest) -> None:
        self._root, self._endpoint, self._request = root, endpoint, request
        self.found = found
        self.name = found.location.name
        self._open: ExitStack | None = None
        self._tracked: TrackedFile | None = None
        self.plans: list[SheetPlan] = []

    def open(self) -> None:
        """Open the workbook and find the columns wanted; nothing if it is open.

        Raises:
            SyncDataError: it is no sound workbook, or lacks a sheet or column.
        """
        if self._open is not None:
            return
        with ExitStack() as stack, _at(self.name):
            self._tracked = TrackedFile(self._root, self.found)
            stack.callback(self._tracked.close)
            file: BinaryIO
            if self._root.is_local:
                file = stack.enter_context(self._root.open_read(self.found.location))
            else:  # archives are not read from front to back, which costs a request for each piece
                file = cast("BinaryIO", stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES)))
                while chunk := self._tracked.read(1 << 20):
                    file.write(chunk)
            book = open_book(file, self._endpoint)
            stack.callback(book.close)
            self.plans = self._find(book)
            self._open = stack.pop_all()

    def finish(self) -> SourceFile:
        """Prove that the file stayed as it was; see `TrackedFile.finish`."""
        assert self._tracked is not None
        return self._tracked.finish()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open, self.plans = None, []

    def _find(self, book: OpenBook) -> list[SheetPlan]:
        sheets = [book.sheet(sheet) for sheet in select_sheets(book.sheets, self._endpoint.sheet)]
        plans = [plan_sheet(sheet, self.name, self._endpoint, self._request) for sheet in sheets]
        if plans == [None] and self._request.columns and not is_pattern(self._endpoint.sheet):
            raise SyncDataError(
                "the sheet is empty: it has no header",
                where=Where(sheet=sheets[0].name),
                hint="A sheet without records still needs its header row; declare header_row: 0 if it has none.",
                code="sheet_empty",
            )
        return [plan for plan in plans if plan is not None]


def _batches(reading: Reading, works: list[_Work], known: list[SourceFile], request: ReadRequest) -> Iterator[RawBatch]:
    left = request.limit
    seen = list(known)
    for work in works:
        work.open()
        try:
            with _at(work.name):
                for batch in (batch for plan in work.plans for batch in read_sheet(plan, request.batch_rows)):
                    if left is not None and batch.records.num_rows >= left:
                        yield RawBatch(batch.records.slice(0, left), batch.rejections)
                        # What was cut short has not been read: `only_new` must find it again.
                        size = work.found.state.size_bytes
                        reading.files.append(SourceFile(name=work.name, sha256="", size_bytes=size, deferred=True))
                        return
                    left = None if left is None else left - batch.records.num_rows
                    yield batch
            seen.append(work.finish())
        finally:
            work.close()
        reading.files.append(seen[-1])
    reading.token = content_token(seen) if seen and len(seen) == len(works) + len(known) else None


@contextmanager
def _at(name: str) -> Iterator[None]:
    """Name the file in whatever goes wrong."""
    try:
        yield
    except SyncError as error:
        raise error.at(file=name) from error.__cause__
