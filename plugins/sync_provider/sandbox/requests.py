"""What the requests of a batch share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sync_provider.sandbox.a1 import clamp, grid_bounds
from sync_provider.sandbox.calls import Call
from sync_provider.sandbox.errors import invalid
from sync_provider.sandbox.masks import Mask, parse_mask
from sync_provider.sandbox.model import Area, Json, Sheet, Spreadsheet


class Work(NamedTuple):
    """The batch's call, and the draft it works on."""

    call: Call
    book: Spreadsheet


Handler = Callable[[Work, Json], Json]
REQUESTS: dict[str, Handler] = {}


def request(kind: str) -> Callable[[Handler], Handler]:
    """Enter the handler of a kind of request into the table."""

    def entered(handler: Handler) -> Handler:
        REQUESTS[kind] = handler
        return handler

    return entered


def area_of(book: Spreadsheet, held: Json) -> tuple[Sheet, Area]:
    """The sheet and the cells of a GridRange, clamped to the grid.

    Raises:
        ApiError: it starts outside.
    """
    sheet, bounds = grid_bounds(book, held)
    return sheet, clamp(sheet, bounds)


def mask_of(body: Json) -> Mask:
    """The request's update mask.

    Raises:
        ApiError: there is none.
    """
    if not body.get("fields"):
        raise invalid("At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)")
    mask: Mask = parse_mask(body["fields"])
    return mask


def dimension_of(book: Spreadsheet, held: Json) -> tuple[Sheet, str, int, int]:
    """Sheet, ``ROWS`` or ``COLUMNS``, start and end of a DimensionRange.

    Raises:
        ApiError: it is empty, or outside the grid.
    """
    sheet = book.sheet(held.get("sheetId", 0))
    axis = held.get("dimension", "DIMENSION_UNSPECIFIED")
    if axis not in {"ROWS", "COLUMNS"}:
        raise invalid("No dimension specified.")
    size = sheet.row_count if axis == "ROWS" else sheet.column_count
    start, end = held.get("startIndex", 0), held.get("endIndex", size)
    if not 0 <= start < end:
        raise invalid(f"range.endIndex[{end}] must be greater than range.startIndex[{start}].")
    return sheet, axis, start, end


def check_inside(sheet: Sheet, axis: str, start: int, most: int) -> None:
    """Refuse a start beyond `most`."""
    if start > most:
        size = sheet.row_count if axis == "ROWS" else sheet.column_count
        raise invalid(f"range.startIndex[{start}] is too large: the sheet has {size} {axis.lower()}.")
