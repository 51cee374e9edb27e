"""What a tab holds, found out from its first rows: values and number formats, in few and small requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import Reading, ReadRequest
from sync_provider.connectors.files.inspect_cells import (
    BOOLEAN,
    CLOCK,
    DATE,
    ERROR,
    NUMBER,
    SAMPLE_ROWS,
    TEXT,
    TIMESTAMP,
    Cells,
    Grid,
    SheetInspection,
    inspect_grid,
)
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.api import Book, SheetsApi, Tab
from sync_provider.connectors.sheets.blocks import Rows
from sync_provider.connectors.sheets.cells import EXACT, plain_number, verbatim
from sync_provider.connectors.sheets.layout import header_of
from sync_provider.connectors.sheets.reading import REPLY_BYTES, conventions_of, raw_batch
from sync_provider.core.endpoints import is_pattern

if TYPE_CHECKING:
    from sync_provider.core.endpoints import GoogleSheetsEndpoint

_FIELDS = "effectiveValue,effectiveFormat.numberFormat"
_FIRST_ROWS, _LEAST_FIRST_ROWS, _FIRST_CELLS = 100, 10, 20_000  # asked for before it is known what a row weighs
_ERRORS = {
    "NULL_VALUE": "#NULL!",
    "DIVIDE_BY_ZERO": "#DIV/0!",
    "VALUE": "#VALUE!",
    "REF": "#REF!",
    "NAME": "#NAME?",
    "NUM": "#NUM!",
    "N_A": "#N/A",
}
"""Source: sheets-api, ErrorType; anything else is shown as #ERROR!."""

_PLACES = re.compile(r"^[^;]*?[0#?]\.([0#?]+)")

Values = dict[tuple[int, int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TabInspection:
    """One tab of a spreadsheet: what it holds, and its first rows, which can be read again without a request."""

    book: Book
    tab: Tab
    sheet: SheetInspection
    _api: SheetsApi
    _rows: list[list[Any]]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "spreadsheet": {
                "id": self.book.id,
                "title": self.book.title,
                "locale": self.book.locale,
                "time_zone": self.book.time_zone,
            },
            "tabs": [
                {"title": tab.title, "gid": tab.sheet_id, "rows": tab.rows, "columns": tab.columns}
                for tab in self.book.tabs
            ],
            "named_ranges": self.named_ranges(),
            "sheet": self.tab.title,
            **self.sheet.as_dict(),
        }

    def named_ranges(self) -> dict[str, str]:
        """Name → A1 range."""
        tabs = {tab.sheet_id: tab for tab in self.book.tabs}
        return {name: _address(place, tabs) for name, place in self.book.named_ranges.items()}

    def as_read_by(self, endpoint: GoogleSheetsEndpoint) -> TabSample:
        """The first rows as a source with the endpoint's header row and conventions."""
        return TabSample(self._api, self.book, self.tab, self._rows, endpoint)


@dataclass(frozen=True, slots=True)
class TabSample:
    """The first rows of a tab, read as the connector reads them."""

    api: SheetsApi
    book: Book
    tab: Tab
    rows: list[list[Any]]
    endpoint: GoogleSheetsEndpoint

    def read(self, request: ReadRequest) -> Reading:
        """The records among them; a request only if a formula seems to have failed."""
        row = self.endpoint.header_row
        places = header_of(self.tab, row - 1, self.rows[row - 1 : row]).find(request.columns)
        below = Rows(row, 0, self.rows[row:])
        conventions = conventions_of(self.book, self.endpoint)
        title = self.endpoint.sheet_field
        constants: dict[str, str | None] = {} if title is None else {title: self.tab.title}
        batch = raw_batch(self.api, below, places, self.tab, conventions, constants)
        if request.limit is not None:
            batch.records = batch.records.slice(0, request.limit)
        return Reading(batches=iter([batch]))


def inspect_tab(
    api: SheetsApi, book: Book, tab: Tab, endpoint: GoogleSheetsEndpoint, header_row: int | None
) -> TabInspection:
    """Inspect the first rows of a tab, of less than 2 MB: one request, or two if the tab is longer.

    Args:
        api: of the spreadsheet.
        book: its description.
        tab: one of its tabs.
        endpoint: names the connection.
        header_row: 1-based; None: to be found.
    """
    values, asked = _sample(api, tab)
    end = max((row + 1 for (row, _), cell in values.items() if cell.get("effectiveValue")), default=0)
    width = max((at + 1 for (_, at), cell in values.items() if cell.get("effectiveValue")), default=0)
    columns = [_cells(values, at, end) for at in range(width)]
    grid = Grid(list(range(1, end + 1)), columns, complete=asked >= tab.rows, serial_dates=True)
    source = {
        "type": "google_sheets",
        "connection": endpoint.connection,
        "spreadsheet": book.id,
        # A title that reads as a pattern would mean several tabs.
        "sheet": {"gid": tab.sheet_id} if is_pattern(tab.title) else tab.title,
    }
    found = inspect_grid(grid, source, header_row, lowest_header=1)
    rows = [[_value(values.get((row, at), {})) for at in range(width)] for row in range(end)]
    return TabInspection(book, tab, found, api, rows)


def _sample(api: SheetsApi, tab: Tab) -> tuple[Values, int]:
    """Cells of the first rows, and how many rows were asked for."""
    if not tab.rows or not tab.columns:
        return {}, tab.rows
    first = min(tab.rows, _FIRST_ROWS, max(_LEAST_FIRST_ROWS, _FIRST_CELLS // tab.columns))
    values = api.block(a1.block(tab.title, 0, first, 0, tab.columns), _FIELDS)
    filled = max((row + 1 for (row, _), cell in values.items() if cell), default=0)
    # Half of what is left of one answer's size, at the weight that rows have had so far: those that follow may be heavier.
    more = (REPLY_BYTES - api.reply_bytes) // 2 * filled // max(1, api.reply_bytes) if filled else SAMPLE_ROWS
    asked = min(tab.rows, SAMPLE_ROWS, first + max(0, more))
    if asked > first:
        values |= api.block(a1.block(tab.title, first, asked, 0, tab.columns), _FIELDS)
    return values, asked


def _value(cell: dict[str, Any]) -> Any:
    """What `SheetsApi.values` gives for the cell."""
    value = cell.get("effectiveValue", {})
    if "errorValue" in value:
        return _ERRORS.get(value["errorValue"].get("type", ""), "#ERROR!")
    return next(iter(value.values()), "")


def _cells(values: Values, at: int, end: int) -> Cells:
    cells = Cells()
    for row in range(end):
        cell = values.get((row, at), {})
        kind = _kind(cell)
        value = _value(cell)
        cells.kinds.append(kind)
        shown = cell.get("effectiveFormat", {}).get("numberFormat", {})
        if kind == NUMBER and abs(value) >= EXACT and shown.get("type") != "SCIENTIFIC":
            cells.texts.append(
                plain_number(value, exact=False)
            )  # a code of so many digits, and not a number with an exponent
        else:
            cells.texts.append(verbatim(value))
        if kind == NUMBER:
            cells.places = max(cells.places, _places(shown))
            remark = _remark(shown, value)
            if remark and remark not in cells.remarks:
                cells.remarks.append(remark)
    return cells


def _kind(cell: dict[str, Any]) -> str | None:
    value = cell.get("effectiveValue", {})
    if "errorValue" in value:
        return ERROR
    if "boolValue" in value:
        return BOOLEAN
    if "numberValue" not in value:
        return TEXT if value.get("stringValue") else None
    shown = cell.get("effectiveFormat", {}).get("numberFormat", {}).get("type")
    if shown == "DATE":
        return DATE if float(value["numberValue"]).is_integer() else TIMESTAMP
    return {"DATE_TIME": TIMESTAMP, "TIME": CLOCK}.get(str(shown), NUMBER)


def _places(shown: dict[str, str]) -> int:
    """Decimal places that a number format shows, of the value itself."""
    found = _PLACES.search(shown.get("pattern", ""))
    return (len(found[1]) if found else 0) + (2 if _is_percent(shown) else 0)


def _is_percent(shown: dict[str, str]) -> bool:
    return shown.get("type") == "PERCENT" or shown.get("pattern", "").endswith("%")


def _remark(shown: dict[str, str], value: Any) -> str | None:
    """What a number's format shows that its value is not."""
    pattern = shown.get("pattern", "")
    if abs(value) >= EXACT:
        return "numbers of more digits than a cell keeps were rounded when they were typed; such records are rejected"
    if _is_percent(shown):
        return "shown as percentages; read as fractions, 0.25 for 25%"
    if pattern.startswith("00") and len(str(value)) < len(pattern.partition(".")[0]):
        return f"shown with leading zeros by the format {pattern}; the numbers are read without"
    return None


def _address(place: dict[str, int], tabs: dict[int, Tab]) -> str:
    """The A1 range of a grid range; one without ends takes whole rows or columns."""
    tab = tabs.get(place.get("sheetId", 0))
    if tab is None:
        return "#REF!"
    return a1.block(
        tab.title,
        place.get("startRowIndex", 0),
        place.get("endRowIndex", tab.rows),
        place.get("startColumnIndex", 0),
        place.get("endColumnIndex", tab.columns),
    )
