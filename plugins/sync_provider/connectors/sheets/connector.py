"""A tab of a Google spreadsheet as an endpoint: the connector protocol over reading and writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from sync_provider.connectors.base import (
    Budget,
    Capabilities,
    Clock,
    ColumnInfo,
    ColumnRequest,
    ConnectionInfo,
    Probe,
    RawBatch,
    Reading,
    ReadRequest,
    TabMemory,
    TokenStore,
    WriteRequest,
    WriteResult,
)
from sync_provider.connectors.files.excel_address import column_letters
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.access import probe_access
from sync_provider.connectors.sheets.api import Book, SheetsApi, Tab
from sync_provider.connectors.sheets.credentials import extra, google_credentials, token_name
from sync_provider.connectors.sheets.layout import Header, find_tabs, missing_tab, read_header
from sync_provider.connectors.sheets.reading import conventions_of, raw_batch, read_rows
from sync_provider.core.endpoints import GoogleSheetsEndpoint, is_pattern
from sync_provider.core.errors import SyncConnectionError, SyncDataError, SyncError, Where
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_provider.connectors.sheets.inspecting import TabInspection
    from sync_provider.connectors.sheets.rejects import RejectsTab

_STRING = LogicalType("string")


class SheetsConnector:
    """One tab, or for reading several, of one spreadsheet.

    Args:
        endpoint: as the mapping declares it.
        connection: the Airflow connection of that id, of type `google_cloud_platform`.
        clock: waits for quota.
        budget: allowance of requests shared with other processes; None: none but Google's.
        total_wait_s: longest time to wait for Google in all.
        memory: of the tabs' numbers, by which a renamed tab is followed; None: titles only.
        tokens: access tokens shared with other processes; None: this connector gets its own.

    Raises:
        SyncAuthenticationError: the connection holds no usable key.
    """

    def __init__(
        self,
        endpoint: GoogleSheetsEndpoint,
        connection: ConnectionInfo,
        clock: Clock,
        *,
        budget: Budget | None = None,
        total_wait_s: float = 1800.0,
        memory: TabMemory | None = None,
        tokens: TokenStore | None = None,
    ) -> None:
        self._endpoint, self._connection, self._clock = endpoint, connection, clock
        self._budget, self._total_wait_s = budget, total_wait_s
        self._memory, self._tokens = memory, tokens
        self._apis: dict[bool, SheetsApi] = {}
        self._book: Book | None = None
        self._headers: list[Header] | None = None
        self._token: str | None = None

    @property
    def capabilities(self) -> Capabilities:
        """A spreadsheet is one resource: what changes its grid moves the cells of every tab's neighbours."""
        return Capabilities(
            modes=frozenset()
            if self._endpoint.range is not None or is_pattern(self._endpoint.sheet)
            else frozenset({"append", "replace", "upsert", "mirror"}),
            transactional=False,
            filters_cursor=False,
            tells_version=not self._endpoint.always_read,
            resource=f"google-sheets:{self._endpoint.spreadsheet}",
        )

    def test(self, columns: Sequence[str], *, write: bool) -> list[Probe]:
        edits = write or self._endpoint.rejects_tab is not None or self._endpoint.id_column is not None
        probes = self.access(write=edits)
        passed = [probe for probe in probes if edits or probe.aspect != "write"]
        if self._book is None or not all(probe.ok for probe in passed if probe.aspect != "write"):
            return passed
        return [*passed, self._test_header(self._api(write=edits), columns, write=write)]

    def access(self, *, write: bool = False) -> list[Probe]:
        """Whether Google is reached, the key accepted, the spreadsheet readable and editable; see `probe_access`.

        Args:
            write: with the right to edit spreadsheets; whether the account may edit this one is told either way.
        """
        return probe_access(lambda: self._api(write=write), self._load_book)

    def inspect(self, header_row: int | None = None) -> TabInspection:
        """What the tab holds, found out from its first rows; see `inspect_tab`.

        Raises:
            SyncDataError: there is no such tab.
        """
        from sync_provider.connectors.sheets.inspecting import inspect_tab

        api = self._api(write=False)
        tabs = self._tabs(api)
        if not tabs:
            raise missing_tab(self._endpoint, self._load_book(api))
        return inspect_tab(api, self._load_book(api), tabs[0], self._endpoint, header_row)

    def _test_header(self, api: SheetsApi, columns: Sequence[str], *, write: bool) -> Probe:
        added = False
        try:
            if not self._tabs(api):
                if write and self._endpoint.create:
                    return Probe(aspect="header", ok=True, detail=f"the tab {self._endpoint.sheet!r} will be created")
                raise missing_tab(self._endpoint, self._load_book(api))
            for header in self._load_headers(api):
                if not (write and not header.names):
                    header.find(self._cells_of([ColumnRequest(name=name, type=_STRING) for name in columns]))
                    added |= bool(header.names) and self._endpoint.id_column not in header.names.values()
        except SyncError as error:
            return Probe.failed("header", error)
        if self._endpoint.id_column is not None and added:
            found = f"{len(columns) - 1} column(s) found; {self._endpoint.id_column!r} will be added, for ids"
            return Probe(aspect="header", ok=True, detail=found)
        return Probe(aspect="header", ok=True, detail=f"{len(columns)} column(s) found")

    def describe(self) -> list[ColumnInfo]:
        headers = self._load_headers(self._api(write=False))
        names = headers[0].names if headers else {}
        infos = [ColumnInfo(name=name, type=_STRING, position=column_letters(at)) for at, name in names.items()]
        if infos and self._endpoint.sheet_field:
            infos.append(ColumnInfo(name=self._endpoint.sheet_field, type=_STRING))
        return infos

    def token(self) -> str | None:
        """Drive's version of the spreadsheet: one request, and the same one for the whole life of this connector."""
        if self._token is None:
            self._token = self._api(write=False).version()
        return self._token or None

    def read(self, request: ReadRequest) -> Reading:
        api = self._api(write=False)
        headers = self._load_headers(api)
        if not headers:
            raise missing_tab(self._endpoint, self._load_book(api))
        wanted = self._cells_of(request.columns)
        plans = [(header, self._places(header, wanted)) for header in headers]
        return Reading(batches=self._batches(api, plans, request), token=self._token)

    def _places(self, header: Header, wanted: Sequence[ColumnRequest]) -> list[tuple[int, ColumnRequest]]:
        if not header.names:
            raise SyncDataError(
                "the tab has no header",
                where=Where(sheet=header.tab.title, cell=a1.cell(header.row, 0)),
                hint="Write the column names into its header row, or correct header_row.",
                code="sheet_empty",
            )
        if not wanted:
            wanted = [
                ColumnRequest(name=name, type=_STRING, verbatim=True) for name in dict.fromkeys(header.names.values())
            ]
        return header.find(wanted)

    def lacks_ids(self, columns: Sequence[ColumnRequest]) -> bool:
        from sync_provider.connectors.sheets.identities import lacks_ids

        api, wanted = self._api(write=False), self._cells_of(columns)
        headers = [header for header in self._load_headers(api) if header.names]
        return any(lacks_ids(api, header, self._id_column, wanted) for header in headers)

    def give_ids(self, columns: Sequence[ColumnRequest], fence: Callable[[], None]) -> int:
        from sync_provider.connectors.sheets.identities import Identities

        api, wanted = self._api(write=True), self._cells_of(columns)
        self._forget()
        headers = [header for header in self._load_headers(api) if header.names]
        for header in headers:
            header.find(wanted)  # nothing is added to a tab that cannot be read then
        given = sum(Identities(api, self._endpoint, header, wanted, fence).give() for header in headers)
        self._forget()
        return given

    def _cells_of(self, columns: Sequence[ColumnRequest]) -> list[ColumnRequest]:
        """The columns that stand in the tab; that of ids need not be there yet."""
        return [
            replace(column, optional=True) if column.name == self._endpoint.id_column else column
            for column in columns
            if column.name != self._endpoint.sheet_field
        ]

    @property
    def _id_column(self) -> str:
        assert self._endpoint.id_column is not None
        return self._endpoint.id_column

    def _forget(self) -> None:
        """What was known of the spreadsheet, which is about to change, or has."""
        self._book = self._headers = self._token = None

    def _batches(
        self, api: SheetsApi, plans: list[tuple[Header, list[tuple[int, ColumnRequest]]]], request: ReadRequest
    ) -> Iterator[RawBatch]:
        conventions = conventions_of(self._load_book(api), self._endpoint)
        left = request.limit
        blocks, before = 0, self._token
        for header, places in plans:
            constants = self._constants(header, places, request)
            for rows in read_rows(api, header.tab, header.row + 1, [at for at, _ in places], left):
                blocks += 1
                if blocks == 2 and before is None and left is None:
                    # A sheet of several blocks may change in between: then it is read again as a whole.
                    before = api.version()
                batch = raw_batch(api, rows, places, header.tab, conventions, constants)
                if left is not None:
                    batch = RawBatch(batch.records.slice(0, left), batch.rejections)
                    left -= batch.records.num_rows
                yield from _cut(batch, request.batch_rows)
                if left == 0:
                    return
        if blocks > 1 and before is not None and api.version() != before:
            raise SyncConnectionError(
                "the spreadsheet changed while it was read: its parts may not fit together",
                where=Where(endpoint=f"spreadsheet {self._endpoint.spreadsheet}"),
                hint="It will be read again.",
                code="sheet_moved",
            )

    def _constants(
        self, header: Header, places: Sequence[tuple[int, ColumnRequest]], request: ReadRequest
    ) -> dict[str, str | None]:
        """Columns that are no cells: the tab's title, and ids where it has no column of them yet."""
        title, ids = self._endpoint.sheet_field, self._endpoint.id_column
        found: dict[str, str | None] = {} if title is None else {title: header.tab.title}
        if ids in {column.name for column in request.columns} - {column.name for _, column in places}:
            found[self._id_column] = None
        return found

    def write(self, request: WriteRequest, changes: Iterator[pa.RecordBatch]) -> WriteResult:
        from sync_provider.connectors.sheets.writing import write_changes

        api = self._api(write=True)
        self._book = self._headers = None
        return write_changes(api, self._endpoint, self._memory, request, changes)

    def rejects(self, columns: Sequence[str], *, write: bool) -> RejectsTab:
        """The tab of refused records beside this source: one request if the tab is there.

        Raises:
            SyncDataError: a tab of that title holds something else.
        """
        from sync_provider.connectors.sheets.rejects import RejectsTab

        api = self._api(write=write)
        return RejectsTab(api, self._load_book(api), self._endpoint, columns)

    def close(self) -> None:
        for api in self._apis.values():
            api.close()
        self._apis.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _api(self, *, write: bool) -> SheetsApi:
        # Rights to read are enough to read, and rights to write are enough for both.
        if not write and True in self._apis:
            return self._apis[True]
        if write not in self._apis:
            self._apis[write] = SheetsApi(
                self._endpoint.spreadsheet,
                google_credentials(self._connection, write=write),
                base_url=extra(self._connection, "base_url"),
                clock=self._clock,
                budget=self._budget,
                total_wait_s=self._total_wait_s,
                tokens=self._tokens,
                token_name=token_name(self._connection, write=write),
            )
        return self._apis[write]

    def _load_book(self, api: SheetsApi) -> Book:
        if self._book is None:
            self._book = api.book()
        return self._book

    def _tabs(self, api: SheetsApi) -> list[Tab]:
        return find_tabs(self._load_book(api), self._endpoint, self._memory)

    def _load_headers(self, api: SheetsApi) -> list[Header]:
        if self._headers is None:
            self._headers = [read_header(api, tab, self._endpoint) for tab in self._tabs(api)]
        return self._headers


def _cut(batch: RawBatch, rows: int) -> Iterator[RawBatch]:
    """Batches of at most some rows; the refused records go with the first."""
    yield RawBatch(batch.records.slice(0, rows), batch.rejections)
    for start in range(rows, batch.records.num_rows, rows):
        yield RawBatch(batch.records.slice(start, rows))
