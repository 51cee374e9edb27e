"""Writes a change stream to a CSV file: old content and changes stream into a temporary file that then takes its place.

Upsert and mirror compare before they write: a record changes only where the file still holds what the plan saw. Records,
columns, preamble and line ends that no change concerns keep their very bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from sync_provider.connectors.base import ColumnRequest, WriteRequest, WriteResult
from sync_provider.connectors.files.atomic import atomic_write
from sync_provider.connectors.files.csv_changes import ChangeSet, key_texts
from sync_provider.connectors.files.csv_dialect import Dialect
from sync_provider.connectors.files.csv_header import Header, find_columns
from sync_provider.connectors.files.csv_merge import Merger
from sync_provider.connectors.files.csv_read import CsvReader
from sync_provider.connectors.files.csv_render import Renderer
from sync_provider.connectors.files.csv_text import new_file_codec
from sync_provider.connectors.files.discovery import FoundFile, TrackedFile, appended_already, hash_file
from sync_provider.connectors.files.root import FileRoot, Location
from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa


class _RepeatedKeysError(Exception):
    """The file holds some changed keys more than once, which shows only when it has passed by."""


def write_changes(
    root: FileRoot,
    location: Location,
    endpoint: CsvEndpoint,
    request: WriteRequest,
    changes: Iterator[pa.RecordBatch],
) -> WriteResult:
    """Apply a change stream to one file; nothing has changed unless this returns.

    Raises:
        SyncDataError: the file lacks a mapped column, or changed while it was being rewritten (retryable).
        SyncConnectionError: the disk is full, or the file system failed.
    """
    if appended_already(root, location, request):
        return WriteResult()
    if request.mode in ("append", "replace"):
        return _rewrite(root, location, endpoint, request, lambda target: target.insert_all(changes))
    with ChangeSet(request, changes) as change_set:
        try:
            return _rewrite(root, location, endpoint, request, lambda target: target.merge(change_set))
        except _RepeatedKeysError:  # now they are known, and left out
            return _rewrite(root, location, endpoint, request, lambda target: target.merge(change_set))


def _rewrite(
    root: FileRoot,
    location: Location,
    endpoint: CsvEndpoint,
    request: WriteRequest,
    apply: Callable[[_Target], WriteResult],
) -> WriteResult:
    old = TrackedFile(root, FoundFile(location, root.state(location))) if root.exists(location) else None
    written = hashlib.sha256()

    def check_still_ours() -> None:
        request.fence()
        if old is not None:
            old.finish()  # somebody else's edit since we read it must not be lost
        elif root.exists(location):
            raise _changed(location, "the file appeared while it was being written")
        request.intent(written.hexdigest())

    try:
        with atomic_write(root, location, before_commit=check_still_ours) as file:
            result = apply(_Target(file, written.update, old, location.name, endpoint, request))
    finally:
        if old is not None:
            old.close()
    if hash_file(root, location) != written.hexdigest():
        raise _changed(location, "the file does not hold what was written")
    return result


def _changed(location: Location, message: str) -> SyncDataError:
    return SyncDataError(
        f"{message}; somebody else writes to it",
        where=Where(file=location.name),
        hint="Run again; let only this integration write there.",
        code="file_changed",
        retryable=True,
    )


class _Target:
    """The new file being written, with the old one, if any, behind it.

    Args:
        file: takes the bytes.
        seen: is told of all bytes.
        old: the file as it was.
        name: the file's, for messages.
    """

    def __init__(
        self,
        file: BinaryIO,
        seen: Callable[[bytes], None],
        old: TrackedFile | None,
        name: str,
        endpoint: CsvEndpoint,
        request: WriteRequest,
    ) -> None:
        self._file, self._seen, self._name = file, seen, name
        self._endpoint, self._request = endpoint, request
        self._dialect = Dialect.of(endpoint)
        self._bom, self._codec = new_file_codec(self._dialect.codec)
        self._reader: CsvReader | None = None
        self._header: Header | None = None
        self._last = "\n"
        if old is not None:
            reader = CsvReader(old, self._dialect, unescape=endpoint.formulas == "escape")
            self._header = reader.header
            if request.mode != "replace" and reader.header is not None:
                self._reader = reader
                self._bom, self._codec = reader.blocks.bom, reader.blocks.written_codec
        self._renderer = Renderer(endpoint, self._dialect, self._codec)
        self._positions, self._width = self._layout()

    def insert_all(self, changes: Iterator[pa.RecordBatch]) -> WriteResult:
        """Append or replace: every change is an insert."""
        result = WriteResult()
        self._start()
        if self._reader is not None:
            for taken in self._reader.records([]):
                self._write(taken.block)
        for batch in changes:
            self._insert(batch, result)
        return result

    def merge(self, changes: ChangeSet) -> WriteResult:
        """Upsert or mirror: rewrite the records that changes concern, then append the new ones.

        Raises:
            _RepeatedKeysError: try once more; `changes` knows now which keys to leave out.
        """
        result = WriteResult()
        merger = Merger(
            changes,
            self._request,
            self._endpoint,
            self._dialect,
            self._renderer,
            self._name,
            self._positions,
            self._width,
            result,
        )
        self._start()
        if self._reader is not None:
            for taken in self._reader.records(self._positions):
                self._write(merger.merged(taken))
        if merger.repeated:
            changes.leave_out(merger.repeated)
            raise _RepeatedKeysError
        for batch in merger.remaining():
            self._insert(batch, result)
        return result

    def _layout(self) -> tuple[list[int], int]:
        """Where the mapped columns stand in a record, and how many fields records have."""
        names = [column.name for column in self._request.columns]
        if self._reader is None or self._header is None:
            return list(range(len(names))), len(names)
        header = self._header
        if not header.line and self._request.mode == "append" and not set(names) <= set(header.names):
            # Without names in the file, columns are told by their order.
            if len(names) != len(header.names):
                raise SyncDataError(
                    f"the file has {len(header.names)} columns without names, the mapping {len(names)}",
                    where=Where(file=self._name),
                    hint="Map every column, or name them column_1, column_2…",
                    code="column_count",
                )
            return list(range(len(names))), header.row_width
        wanted = [ColumnRequest(name=column.name, type=column.type) for column in self._request.columns]
        return [position for position, _ in find_columns(header, wanted, self._name)], header.row_width

    def _start(self) -> None:
        """Mark, preamble and header: the old ones where records are kept, else new ones."""
        self._put(self._bom)
        old, rows = self._header, self._dialect.header_row
        if old is not None and self._reader is not None:
            self._write((old.preamble + old.text).encode())
        elif rows:
            self._write((old.preamble if old else self._endpoint.line_end * (rows - 1)).encode())
            try:
                self._write(self._renderer.header([column.name for column in self._request.columns]))
            except UnicodeEncodeError as exc:
                raise SyncDataError(
                    f"{exc.object[exc.start]!r} in a column name does not exist in {self._codec}",
                    where=Where(file=self._name),
                    hint="Rename the column, or declare encoding: utf-8.",
                    code="unencodable",
                ) from exc

    def _insert(self, batch: pa.RecordBatch, result: WriteResult) -> None:
        import pyarrow as pa

        columns = self._request.columns
        texts = self._renderer.texts(batch, columns)
        problems = self._renderer.problems(texts, columns)
        if problems:
            result.rejections.extend(self._placed(batch, row, problems[row]) for row in sorted(problems))
            good = pa.array([row not in problems for row in range(batch.num_rows)])
            texts = [text.filter(good) for text in texts]
        rows = batch.num_rows - len(problems)
        if not rows:
            return
        fields: list[Any] = [pa.repeat(pa.scalar(""), rows)] * self._width
        for position, text in zip(self._positions, texts, strict=True):
            fields[position] = self._renderer.fields(text)
        if self._last not in "\r\n":
            self._write(self._endpoint.line_end.encode())
        self._write(self._renderer.records(fields))
        result.inserted += rows

    def _placed(self, batch: pa.RecordBatch, row: int, problem: Rejection) -> Rejection:
        key = None
        if self._request.key:
            types = {column.name: column.type for column in self._request.columns}
            one = batch.slice(row, 1)
            parts = [one.column(name) for name in self._request.key]
            key = key_texts(parts, [types[name] for name in self._request.key])[0].as_py()
        return replace(problem, key=key, where=Where(file=self._name, field=problem.field))

    def _write(self, text: bytes) -> None:
        """UTF-8 into the file's own encoding."""
        if text:
            self._last = chr(text[-1])
            self._put(text if self._codec == "utf-8" else text.decode().encode(self._codec))

    def _put(self, data: bytes) -> None:
        self._seen(data)
        self._file.write(data)
