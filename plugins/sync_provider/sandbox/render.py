"""Cells as answers show them: the three value renders, and CellData."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from sync_provider.sandbox.colors import is_color, shown_colors
from sync_provider.sandbox.evaluate import Calculator
from sync_provider.sandbox.formats import DATE_TYPES, default_pattern, format_number, plain_number
from sync_provider.sandbox.functions import Result
from sync_provider.sandbox.model import Area, Cell, CellError, Json, Sheet, Spreadsheet

_EXACT = 2**53
DEFAULT_FORMAT: Json = {
    "backgroundColor": {"red": 1, "green": 1, "blue": 1},
    "padding": {"top": 2, "right": 3, "bottom": 2, "left": 3},
    "verticalAlignment": "BOTTOM",
    "wrapStrategy": "OVERFLOW_CELL",
    "textFormat": {
        "foregroundColor": {},
        "fontFamily": "arial,sans,sans-serif",
        "fontSize": 10,
        "bold": False,
        "italic": False,
        "strikethrough": False,
        "underline": False,
        "foregroundColorStyle": {"rgbColor": {}},
    },
    "backgroundColorStyle": {"rgbColor": {"red": 1, "green": 1, "blue": 1}},
}


def json_number(number: float) -> float | int:
    """A double as JSON writes it: whole numbers without a fraction."""
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


class Renderer:
    """Shows the cells of one state of a spreadsheet.

    Args:
        book: the spreadsheet.
        now: the time that volatile formulas see.
        option: ValueRenderOption.
        dates: DateTimeRenderOption.
    """

    def __init__(
        self, book: Spreadsheet, now: datetime, option: str = "FORMATTED_VALUE", dates: str = "SERIAL_NUMBER"
    ) -> None:
        self.calculator = Calculator(book, now)
        self.locale = self.calculator.locale
        self.option = option
        self.dates_as_text = dates == "FORMATTED_STRING"

    def values(self, sheet: Sheet, area: Area, *, columns: bool = False) -> list[list[Any]]:
        """The values of an area, rows (or columns) trimmed at the end; ``""`` and ``[]`` fill holes."""
        grid = [self._row(sheet, row, area) for row in range(area.top, min(area.bottom, len(sheet.rows)))]
        if columns:
            width = max(map(len, grid), default=0)
            grid = [[row[column] if column < len(row) else "" for row in grid] for column in range(width)]
            for line in grid:
                while line and line[-1] == "":
                    line.pop()
        while grid and not grid[-1]:
            grid.pop()
        return grid

    def _row(self, sheet: Sheet, row: int, area: Area) -> list[Any]:
        line = []
        for column, cell in enumerate(sheet.part(row, area.left, area.right), area.left):
            value = cell.value
            if cell.formula is None and (value is None or isinstance(value, str)):
                line.append(value or "")
            else:
                line.append(self.value(sheet, row, column, cell))
        while line and line[-1] == "":
            line.pop()
        return line

    def value(self, sheet: Sheet, row: int, column: int, cell: Cell) -> Any:
        """One cell under the chosen render; ``""`` if it is empty."""
        if cell.formula is not None:
            if self.option == "FORMULA":
                return cell.formula
            value = self.calculator.formula(sheet, row, column, cell)
        else:
            value = cell.value
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, CellError):
            return value.text
        if self.option == "FORMATTED_VALUE":
            return self.shown(value, cell)
        if isinstance(value, bool):
            return value
        if self.dates_as_text and cell.pattern and cell.pattern[0] in DATE_TYPES:
            return self.shown(value, cell)
        return json_number(value)

    def shown(self, value: Result, cell: Cell) -> str:
        """The text a person sees."""
        if isinstance(value, CellError):
            return value.text
        if isinstance(value, bool):
            return self.locale.true if value else self.locale.false
        if value is None or isinstance(value, str):
            return value or ""
        if cell.pattern is None:
            return plain_number(value, self.locale)
        return format_number(value, *cell.pattern, self.locale)

    def cell_data(self, sheet: Sheet, row: int, column: int) -> Json:
        """The CellData of one cell, ``{}`` if nothing was ever put there."""
        cell = sheet.cell(row, column)
        data: Json = {}
        value = self.calculator.value(sheet, row, column)
        if cell.formula is not None:
            data["userEnteredValue"] = {"formulaValue": cell.formula}
        elif cell.filled:
            data["userEnteredValue"] = extended_value(value)
        if value is not None and value != "":
            data["effectiveValue"] = extended_value(value)
            data["formattedValue"] = self.shown(value, cell)
        if cell.format is not None:
            data["userEnteredFormat"] = shown_colors(dict(cell.format))
        if data:
            data["effectiveFormat"] = self._effective(cell)
        if cell.note:
            data["note"] = cell.note
        data.update(copy.deepcopy(dict(cell.extra or {})))
        return data

    def _effective(self, cell: Cell) -> Json:
        effective = merged(copy.deepcopy(DEFAULT_FORMAT), shown_colors(dict(cell.format or {})))
        if cell.pattern:
            kind, pattern = cell.pattern
            effective["numberFormat"] = {"type": kind, "pattern": pattern or default_pattern(kind, self.locale)}
        return effective


def extended_value(value: Result) -> Json:
    """A value as ExtendedValue."""
    if isinstance(value, CellError):
        return {"errorValue": {"type": value.kind, **({"message": value.message} if value.message else {})}}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"numberValue": json_number(float(value or 0))}


def merged(base: Json, over: Json) -> Json:
    """`base` with what `over` sets, message by message; a colour is one whole."""
    for name, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict) and not is_color(name):
            merged(base[name], value)
        else:
            base[name] = copy.deepcopy(value)
    return base
