"""Number formats of dates and times: a date is a number in a sheet, and only its format shows a person that it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import WriteRequest
from sync_provider.connectors.sheets.cells import FORMATS
from sync_provider.connectors.sheets.edits import area, number_format

if TYPE_CHECKING:
    from sync_provider.connectors.sheets.writing import Target

_DATES = ("DATE", "DATE_TIME", "TIME")
FORMAT_FIELD = "userEnteredFormat.numberFormat"


def pattern_of(cell: dict[str, Any], kind: str) -> dict[str, str]:
    """The format of a date or time cell: its own if it shows dates, else ISO 8601's."""
    own: dict[str, str] = cell.get("userEnteredFormat", {}).get("numberFormat", {})
    return own if own.get("type") in _DATES else FORMATS[kind]


class DateFormats:
    """Lets the date columns of new rows look as those of a row that stands there: one reading, none without such columns.

    Args:
        target: the tab.
        request: tells the columns' types.
        model: 0-based row to look at; it may lie beyond the grid.
    """

    def __init__(self, target: Target, request: WriteRequest, model: int) -> None:
        self._sheet_id = target.tab.sheet_id
        columns = [
            (position, column.type.kind)
            for position, column in zip(target.positions, request.columns, strict=True)
            if column.type.kind in FORMATS
        ]
        held: dict[tuple[int, int], dict[str, Any]] = {}
        if columns and target.header.row < model < target.tab.rows:
            wanted = [area(self._sheet_id, model, model + 1, position, position + 1) for position, _ in columns]
            held = target.api.cells(wanted, FORMAT_FIELD)
        self._patterns = {position: pattern_of(held.get((model, position), {}), kind) for position, kind in columns}

    def requests(self, first: int, end: int) -> list[dict[str, Any]]:
        """For rows from first to end (0-based, exclusive)."""
        if first >= end:
            return []
        return [
            number_format(area(self._sheet_id, first, end, position, position + 1), pattern)
            for position, pattern in self._patterns.items()
        ]
