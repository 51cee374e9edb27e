"""Ids for rows that have no key of their own: a column beside the others, and an id in it for each row that holds something.

A new id means nothing before it is first read, so it may land on any row without one. It must not replace another id, nor stand on a blank
row; but people sort and move rows between our reading and our writing, and Google knows no conditional write. So the tab is read again
after each write, and what went wrong is put right: an id that was overwritten goes back to the row that holds what its row held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sync_provider.connectors.base import ColumnRequest
from sync_provider.connectors.files.csv_header import missing_column
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.api import SheetsApi, Tab
from sync_provider.connectors.sheets.cells import entered, verbatim
from sync_provider.connectors.sheets.edits import area, bodies, header_cells, joined, protect_column, row_runs
from sync_provider.connectors.sheets.faults import OutcomeUnknownError
from sync_provider.connectors.sheets.layout import Header, read_header
from sync_provider.connectors.sheets.limits import check_room
from sync_provider.connectors.sheets.new_tab import IDS
from sync_provider.connectors.sheets.reading import read_rows
from sync_provider.connectors.sheets.settling import ATTEMPTS, settle
from sync_provider.core.endpoints import GoogleSheetsEndpoint
from sync_provider.core.errors import SyncDataError, Where

log = logging.getLogger(__name__)

_RANGES = 3_000  # in one request
_WRITES = 8  # until what people moved meanwhile is put right


def lacks_ids(api: SheetsApi, header: Header, id_column: str, columns: Sequence[ColumnRequest]) -> bool:
    """Whether the column is missing, or a row has no id that holds something in one of the columns.

    Cheap where all is well: the ids alone are read, then what stands below the first row without one.
    """
    at, others = _places(header, id_column, columns)
    if at is None:
        return True
    gap = _first_gap(api, header, at)
    return any(content and held is None for _, held, content in _rows(api, header.tab, gap, at, others))


def _places(header: Header, id_column: str, columns: Sequence[ColumnRequest]) -> tuple[int | None, list[int]]:
    """Position of the column of ids, and of the others that are there."""
    found = {column.name: at for at, column in header.find(columns)}
    return found.pop(id_column, None), list(found.values())


def _first_gap(api: SheetsApi, header: Header, at: int) -> int:
    row = header.row + 1
    for rows in read_rows(api, header.tab, row, [at]):
        if rows.first > row:  # what is empty at the end of a block is left out of it
            return row
        for cells in rows.cells:
            if not cells or verbatim(cells[0]) is None:
                return row
            row += 1
    return row


def _rows(
    api: SheetsApi, tab: Tab, first: int, at: int, others: Sequence[int]
) -> Iterator[tuple[int, str | None, int]]:
    """Rows from one on (0-based): their id, and a digest of what they hold in other columns, 0 for nothing."""
    for rows in read_rows(api, tab, first, [at, *others]):
        for row, cells in enumerate(rows.cells, rows.first):
            values = tuple(_at(cells, position - rows.column) for position in others)
            content = (hash(values) or 1) if any(value is not None for value in values) else 0
            yield row, verbatim(_at(cells, at - rows.column)), content


def _at(cells: Sequence[Any], index: int) -> Any:
    return None if index >= len(cells) or cells[index] == "" else cells[index]


class Identities:
    """The ids of one tab's rows.

    Args:
        api: with the right to write.
        endpoint: names the column.
        header: the tab's, as it is now.
        columns: of which one holds something in every row that is to have an id; with that of the ids, which may be missing.
        fence: called right before each write.
    """

    def __init__(
        self,
        api: SheetsApi,
        endpoint: GoogleSheetsEndpoint,
        header: Header,
        columns: Sequence[ColumnRequest],
        fence: Callable[[], None],
    ) -> None:
        assert endpoint.id_column is not None
        self._api, self._endpoint, self._header, self._fence = api, endpoint, header, fence
        self._name, self._columns = endpoint.id_column, columns
        self._fresh: dict[int, str] = {}
        self._written: set[str] = set()
        # Ids that are not of this run, and what their rows held when they were last seen untouched.
        self._held: dict[str, int] = {}
        self._repairs = self._standing = 0

    def give(self) -> int:
        """Add the column where it is missing, and give ids to the rows without; returns to how many.

        Raises:
            SyncDataError: the spreadsheet has no room for the column, or somebody deleted it meanwhile; or rows that had ids were
                moved again and again just as we wrote (``ids_moved``).
            OutcomeUnknownError: answers are lost again and again.
        """
        if self._place(self._header) is None:
            self._add_column()
        for attempt in range(_WRITES + 1):
            wanted = self._missing()
            if not wanted:
                break
            if attempt == _WRITES:
                self._give_up(len(wanted))
                break
            try:
                self._write(wanted)
            except OutcomeUnknownError:
                if attempt >= ATTEMPTS - 1:
                    raise
                log.warning("The answer to a write was lost; the sheet is read to see what was applied")
        return self._standing

    def _give_up(self, rows: int) -> None:
        """Rows without an id may wait. What is wrong with others must not be read."""
        title = self._header.tab.title
        if self._repairs:
            raise SyncDataError(
                f"{self._repairs} ids stand in other rows than their own: these kept moving while ids were written",
                where=Where(sheet=title, field=self._name),
                hint="Restore the version before from the spreadsheet's version history, and run again when nobody sorts it.",
                code="ids_moved",
            )
        log.warning("the rows of %r keep moving: %d of them have no id yet", title, rows)

    def _place(self, header: Header) -> int | None:
        return _places(header, self._name, self._columns)[0]

    def _look(self) -> Header:
        """The header as it is now: the grid may have another size, the columns other places."""
        tab = self._header.tab
        now = next((each for each in self._api.book().tabs if each.sheet_id == tab.sheet_id), tab)
        self._header = read_header(self._api, now, self._endpoint)
        return self._header

    def _add_column(self) -> None:
        """Insert it behind the last column that has a name: an inserted column is blank whatever others do meanwhile."""
        tab, at = self._header.tab, max(self._header.names) + 1
        check_room(self._api.book(), tab, 0, spare=tab.rows)
        inserted = {"sheetId": tab.sheet_id, "dimension": "COLUMNS", "startIndex": at, "endIndex": at + 1}
        requests = [
            # Looks like the column behind it, unless there is none.
            {"insertDimension": {"range": inserted, "inheritFromBefore": at == tab.columns}},
            *header_cells(tab.sheet_id, self._header.row, at, [self._name]),
            protect_column(tab.sheet_id, at, IDS),
        ]
        if tab.filter is not None and tab.filter.get("range", {}).get("endColumnIndex") == at:
            # Whoever sorts by the filter sorts its columns only: the ids would stay behind.
            held = {**tab.filter, "range": {**tab.filter["range"], "endColumnIndex": at + 1}}
            requests.append({"setBasicFilter": {"filter": held}})

        def send() -> None:
            self._fence()
            self._api.batch_update(requests, tab=tab.title)

        settle(send, lambda: self._place(self._look()) is not None)
        log.info("the column %r was added to the tab %r", self._name, tab.title)

    def _missing(self) -> dict[int, str | None]:
        """Row (0-based) → the id that it should have; None where one of ours stands on a blank row."""
        header = self._look()
        at, others = _places(header, self._name, self._columns)
        if at is None:
            raise missing_column(self._name, list(header.names.values()), Where(sheet=header.tab.title))
        # Rows to see to: without an id, or with one that we wrote.
        ours: list[tuple[int, str | None, int]] = []
        lost = set(self._held)
        for row, found, content in _rows(self._api, header.tab, header.row + 1, at, others):
            if found is not None and found not in self._written:
                self._held[found] = content
                lost.discard(found)
            elif found is not None and self._held.get(found) == content:
                lost.discard(found)  # put back, and it stayed there
            elif found is not None or content:
                ours.append((row, found, content))
        by_content: dict[int, list[str]] = {}
        for overwritten in lost:
            by_content.setdefault(self._held[overwritten], []).append(overwritten)
        wanted: dict[int, str | None] = {}
        standing = {found for _, found, _ in ours}
        for row, found, content in ours:
            if not content:
                wanted[row] = None
            elif by_content.get(content):
                wanted[row] = by_content[content].pop()
            elif found is None or found in self._held:
                wanted[row] = self._new(row, standing)
        self._repairs = sum(found is not None or wanted[row] in self._held for row, found, _ in ours if row in wanted)
        self._standing = len(ours) - len(wanted)
        return self._without_formulas(wanted, at)

    def _new(self, row: int, standing: Collection[str | None]) -> str:
        """An id for a row; the same again where it did not arrive, so that a write that Google is late with does no harm."""
        from ulid import ULID

        given = self._fresh.get(row)
        if given is None or given in standing:
            given = self._fresh[row] = str(ULID())
        return given

    def _without_formulas(self, wanted: dict[int, str | None], at: int) -> dict[int, str | None]:
        """A cell whose formula shows nothing is somebody's all the same."""
        runs = [area(self._header.tab.sheet_id, first, end, at, at + 1) for first, end in row_runs(wanted)]
        for start in range(0, len(runs), _RANGES):
            cells = self._api.cells(runs[start : start + _RANGES], "userEnteredValue.formulaValue")
            for (row, _), cell in cells.items():
                if "formulaValue" in cell.get("userEnteredValue", {}) and wanted.pop(row, None):
                    place = f"{self._header.tab.title}!{a1.cell(row, at)}"
                    log.warning("%s holds a formula, which is not overwritten by an id; clear the cell", place)
        return wanted

    def _write(self, wanted: dict[int, str | None]) -> None:
        tab, at = self._header.tab, self._place(self._header)
        assert at is not None
        self._written.update(identity for identity in wanted.values() if identity is not None)
        cells = {(row, at): entered(identity) for row, identity in wanted.items()}
        for batch in bodies(joined(tab.sheet_id, cells)):
            self._fence()
            self._api.batch_update(batch, tab=tab.title)
