"""CSV files as an endpoint: the connector protocol over the reader and the writer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from sync_provider.connectors.base import (
    FILE,
    ROW,
    SHEET,
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
from sync_provider.connectors.files.csv_columns import conventional
from sync_provider.connectors.files.csv_dialect import Dialect
from sync_provider.connectors.files.csv_header import Header, find_columns
from sync_provider.connectors.files.csv_read import CsvReader, TextColumns
from sync_provider.connectors.files.discovery import (
    FoundFile,
    TrackedFile,
    content_token,
    hash_file,
    select_files,
)
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.errors import SyncDataError, SyncError, Where
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

_STRING = LogicalType("string")
_HEADER_BLOCK_BYTES = 1 << 16


class CsvConnector:
    """One CSV endpoint: a file to write, a file or pattern to read.

    Args:
        endpoint: as the mapping declares it.
        root: what its path is relative to.
        clock: tells how old a file is.

    Raises:
        MappingError: encoding, delimiter or quote cannot be, or the path leads outside the root.
    """

    def __init__(self, endpoint: CsvEndpoint, root: FileRoot, clock: Clock) -> None:
        self._endpoint = endpoint
        self._root = root
        self._clock = clock
        self._dialect = Dialect.of(endpoint)
        self._location = root.resolve(endpoint.path)

    @property
    def capabilities(self) -> Capabilities:
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
        wanted = [ColumnRequest(name=name, type=_STRING) for name in columns]
        try:
            self._check_headers(files, wanted)
            probes.append(Probe(aspect="header", ok=True, detail=f"{len(columns)} column(s) found"))
        except SyncError as error:
            aspect = "header" if isinstance(error, SyncDataError) else "read"
            probes.append(Probe.failed(aspect, error))
        if write:
            probes.append(self._root.probe_write(self._location))
        return probes

    def describe(self) -> list[ColumnInfo]:
        files = self._root.glob(self._endpoint.path)
        if not files:
            return []
        header = self._header(FoundFile(files[0], self._root.state(files[0])))
        names = header.names if header else ()
        return [ColumnInfo(name=name, type=_STRING, position=str(n)) for n, name in enumerate(names, 1)]

    def token(self) -> str | None:
        """Digest of the names and bytes of all files; None while there is none, or one is still being written."""
        found = self._root.glob(self._endpoint.path)
        if not found or self._select(frozenset()).deferred:
            return None
        return content_token(SourceFile(name=f.name, sha256=hash_file(self._root, f), size_bytes=0) for f in found)

    def read(self, request: ReadRequest) -> Reading:
        selection = self._select(request.known_files)
        self._check_headers(selection.files, request.columns)
        reading = Reading(batches=iter(()), files=list(selection.deferred))
        reading.batches = self._batches(reading, selection.files, selection.known, request)
        return reading

    def write(self, request: WriteRequest, changes: Iterator[pa.RecordBatch]) -> WriteResult:
        from sync_provider.connectors.files.csv_write import write_changes

        return write_changes(self._root, self._location, self._endpoint, request, changes)

    def close(self) -> None:
        """Nothing stays open between calls."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _select(self, known: frozenset[str]) -> Any:
        return select_files(self._root, self._endpoint, known, self._clock)

    def _header(self, found: FoundFile) -> Header | None:
        tracked = TrackedFile(self._root, found)
        try:
            return self._reader(tracked, _HEADER_BLOCK_BYTES).header
        finally:
            tracked.close()

    def _reader(self, tracked: TrackedFile, block_bytes: int | None = None) -> CsvReader:
        options = {} if block_bytes is None else {"block_bytes": block_bytes}
        return CsvReader(tracked, self._dialect, unescape=self._endpoint.formulas == "escape", **options)

    def _check_headers(self, files: list[FoundFile], wanted: Sequence[ColumnRequest]) -> None:
        """Every file must have the wanted columns before anything of the first one is given."""
        for found in files:
            header = self._header(found)
            name = found.location.name
            if header is not None:
                find_columns(header, wanted or _all_columns(header), name)
            elif self._dialect.header_row:
                raise SyncDataError(
                    "the file is empty: it has no header",
                    where=Where(file=name),
                    hint="A file without records still needs its header row; declare header_row: 0 if it has none.",
                    code="csv_empty",
                )

    def _batches(
        self, reading: Reading, files: list[FoundFile], known: list[SourceFile], request: ReadRequest
    ) -> Iterator[RawBatch]:
        left = request.limit
        seen = list(known)
        for found in files:
            tracked = TrackedFile(self._root, found)
            try:
                for batch in self._file_batches(tracked, request):
                    if left is not None and batch.records.num_rows >= left:
                        yield RawBatch(batch.records.slice(0, left), batch.rejections)
                        # What was cut short has not been read: `only_new` must find it again.
                        reading.files.append(_unread(found))
                        return
                    left = None if left is None else left - batch.records.num_rows
                    yield batch
                seen.append(tracked.finish())
            finally:
                tracked.close()
            reading.files.append(seen[-1])
        reading.token = content_token(seen) if seen and len(seen) == len(files) + len(known) else None

    def _file_batches(self, tracked: TrackedFile, request: ReadRequest) -> Iterator[RawBatch]:
        reader = self._reader(tracked)
        if reader.header is None:
            return
        places = find_columns(reader.header, request.columns or _all_columns(reader.header), tracked.name)
        for taken in reader.records([position for position, _ in places]):
            columns = [
                conventional(array, column.type, self._endpoint, verbatim=column.verbatim)
                for array, (_, column) in zip(taken.columns, places, strict=True)
            ]
            yield from _as_batches(taken, columns, [c.name for _, c in places], tracked.name, request.batch_rows)


def _all_columns(header: Header) -> list[ColumnRequest]:
    return [ColumnRequest(name=name, type=_STRING, verbatim=True) for name in header.names if name]


def _unread(found: FoundFile) -> SourceFile:
    return SourceFile(name=found.location.name, sha256="", size_bytes=found.state.size_bytes, deferred=True)


def _as_batches(
    taken: TextColumns, columns: list[pa.Array], names: list[str], file: str, batch_rows: int
) -> Iterator[RawBatch]:
    """Batches of at most `batch_rows` rows, with coordinates; rejections go with the first."""
    import pyarrow as pa

    rows = len(taken.lines)
    coordinates = [pa.repeat(pa.scalar(file), rows), pa.nulls(rows, pa.string()), taken.lines]
    whole = pa.RecordBatch.from_arrays([*columns, *coordinates], names=[*names, FILE, SHEET, ROW])
    rejections = taken.rejections
    for start in range(0, rows, batch_rows):
        yield RawBatch(whole.slice(start, batch_rows), rejections)
        rejections = []
    if rejections:
        yield RawBatch(whole.slice(0, 0), rejections)
