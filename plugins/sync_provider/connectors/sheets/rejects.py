"""A tab that shows refused records beside their source: a row each, with the reason and the record's texts, which people correct there.

Rows are known by the number in their first column. Every other row, column and format is somebody else's and stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sync_provider.connectors.base import TargetColumn, WriteRequest
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.api import Book, SheetsApi, Tab
from sync_provider.connectors.sheets.cells import text_of, verbatim
from sync_provider.connectors.sheets.edits import Cell, append_rows, delete_rows, joined
from sync_provider.connectors.sheets.layout import Header, header_of
from sync_provider.connectors.sheets.limits import check_room
from sync_provider.connectors.sheets.new_tab import new_tab, with_columns
from sync_provider.connectors.sheets.reading import zone_of
from sync_provider.core.endpoints import GoogleSheetsEndpoint
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.schema import LogicalType

NUMBER, REASON, FIELD, CELL, RULE = HEAD = ("N°", "Motif", "Champ", "Cellule", "Règle")
"""Our columns; those of the source follow."""

_STRING = LogicalType("string")
_MAX_REASON = 1_000  # characters shown
_AS_TYPED = {"numberFormat": {"type": "TEXT"}}  # what a person types into such a cell stays the text that it is


@dataclass(frozen=True, slots=True)
class Refused:
    """One refused record as the tab shows it. ``record``: source column → raw text, empty where there is none."""

    number: int
    reason: str
    field: str
    cell: str
    rule: str
    record: dict[str, str]

    @property
    def head(self) -> tuple[str, ...]:
        return (str(self.number), self.reason[:_MAX_REASON], self.field, self.cell, self.rule)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the tab that carries a number. ``at``: 0-based; ``cells``: source column → cell as the API gives it."""

    at: int
    number: int
    cells: dict[str, Any]


class RejectsTab:
    """The tab, as it is now.

    Args:
        api: of the spreadsheet; needs the right to write for `update` only.
        book: the spreadsheet as it is now.
        endpoint: the source; names the tab.
        columns: the source's columns shown, in order.

    Raises:
        SyncDataError: a tab of that title holds something else (``rejects_tab_taken``).
    """

    def __init__(self, api: SheetsApi, book: Book, endpoint: GoogleSheetsEndpoint, columns: Sequence[str]) -> None:
        assert endpoint.rejects_tab is not None
        self._api, self._endpoint, self._title = api, endpoint, endpoint.rejects_tab
        # A source's column may have the name of one of ours.
        self._names = {column: f"{column} (source)" if column in HEAD else column for column in columns}
        self._book = book
        self._zone = zone_of(self._book.time_zone)
        self._header: Header | None = None
        self._end = 1
        self.rows: list[Row] = []
        tab = next((tab for tab in self._book.tabs if tab.title.casefold() == self._title.casefold()), None)
        if tab is not None:
            self._load(tab)

    def text(self, cell: Any, type_: LogicalType) -> str:
        """A cell's text as the source would write it; a number or a date that a person made of it too."""
        if isinstance(cell, (int, float)) and not isinstance(cell, bool):
            if type_.kind in ("date", "timestamp"):
                return text_of(cell, type_, self._zone, self._endpoint.decimal, self._endpoint.date_order) or ""
            return (verbatim(cell) or "").replace(".", self._endpoint.decimal)
        return verbatim(cell) or ""

    def update(self, *, renumbered: dict[int, int], removed: Iterable[int], added: Sequence[Refused]) -> None:
        """Change just these rows, all at once.

        Args:
            renumbered: row → its number now.
            removed: rows to delete.
            added: records to show below the last row.
        """
        gone = list(removed)
        if not (renumbered or gone or added):
            return
        header = self._writable_header()
        tab, places = header.tab, {name: at for at, name in header.names.items()}
        cells: dict[tuple[int, int], Cell] = {(row, places[NUMBER]): _text(str(n)) for row, n in renumbered.items()}
        for offset, refused in enumerate(added):
            row = self._end + offset
            cells |= {(row, places[name]): _text(text) for name, text in zip(HEAD, refused.head, strict=True)}
            for column, name in self._names.items():
                cells[row, places[name]] = {**_text(refused.record.get(column, "")), "userEnteredFormat": _AS_TYPED}
        requests: list[dict[str, Any]] = []
        if missing := max(0, self._end + len(added) - tab.rows):
            check_room(self._book, tab, missing)
            requests.append(append_rows(tab.sheet_id, missing))
        # The last first: no deletion moves a row that another request means.
        deleted = delete_rows(tab.sheet_id, gone, grid=tab.rows + missing, frozen=tab.frozen_rows)
        self._api.batch_update([*requests, *joined(tab.sheet_id, cells), *deleted])

    def _load(self, tab: Tab) -> None:
        (values,) = self._api.values([a1.block(tab.title, 0, tab.rows, 0, tab.columns)])
        self._header = header_of(tab, 0, values[:1])
        self._end = max(1, len(values))
        if not self._header.names:
            return
        places = {name: at for at, name in reversed(self._header.names.items())}
        if absent := [name for name in HEAD if name not in places]:
            raise SyncDataError(
                f"this tab is not one of refused records: its first row lacks {', '.join(absent)}",
                where=Where(endpoint=f"spreadsheet {self._endpoint.spreadsheet}", sheet=tab.title, cell="A1"),
                hint="Give rejects_tab another title, or put the columns back.",
                code="rejects_tab_taken",
            )
        for at, row in enumerate(values[1:], start=1):
            number = str(_at(row, places[NUMBER]))
            if number.isascii() and number.isdigit():
                cells = {c: _at(row, places[name]) for c, name in self._names.items() if name in places}
                self.rows.append(Row(at, int(number), cells))

    def _writable_header(self) -> Header:
        names = [*HEAD, *self._names.values()]
        request = WriteRequest(mode="append", columns=tuple(TargetColumn(name=name, type=_STRING) for name in names))
        if self._header is None:
            self._header = new_tab(self._api, self._book, self._title, 0, request)
        elif not self._header.names:
            self._header = with_columns(self._api, self._header, request)
        elif absent := [name for name in names if name not in self._header.names.values()]:
            self._header = self._widened(self._header, absent)
        return self._header

    def _widened(self, header: Header, absent: list[str]) -> Header:
        """The header with more columns at its right end, as when a mapping has got a field more."""
        first = max(header.names) + 1
        grown = first + len(absent) - header.tab.columns
        grow = {"appendDimension": {"sheetId": header.tab.sheet_id, "dimension": "COLUMNS", "length": grown}}
        cells = {(0, first + offset): _text(name) for offset, name in enumerate(absent)}
        self._api.batch_update([*([grow] if grown > 0 else []), *joined(header.tab.sheet_id, cells)])
        return Header(header.tab, 0, header.names | {first + offset: name for offset, name in enumerate(absent)})


def _text(text: str) -> Cell:
    return {"userEnteredValue": {"stringValue": text}} if text else {}


def _at(row: Sequence[Any], column: int) -> Any:
    return row[column] if column < len(row) else ""
