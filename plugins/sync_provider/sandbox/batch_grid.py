"""Requests about rows, columns, and the size of the grid."""

from __future__ import annotations

from sync_provider.sandbox import dimensions
from sync_provider.sandbox.cells import overlay
from sync_provider.sandbox.errors import invalid
from sync_provider.sandbox.model import EMPTY, Json, Row, Sheet, Spreadsheet
from sync_provider.sandbox.render import Renderer
from sync_provider.sandbox.requests import Work, area_of, check_inside, dimension_of, mask_of, request

_PIXELS_A_LETTER, _MARGIN_PIXELS = 8.48, 7
"""A recorded column of 1,024 letters A became 8,691 pixels wide; other letters are taken to be as wide."""


def fit_grid(book: Spreadsheet, sheet: Sheet, rows: int, columns: int) -> None:
    """Give a sheet another size; what falls outside is gone.

    Raises:
        ApiError: no row or no column would be left, or the workbook would be too large.
    """
    if rows < 1 or columns < 1:
        raise invalid("A sheet must have at least one row and one column.")
    if rows < sheet.row_count:
        dimensions.delete(book, sheet, "ROWS", rows, sheet.row_count)
    if columns < sheet.column_count:
        dimensions.delete(book, sheet, "COLUMNS", columns, sheet.column_count)
    sheet.row_count, sheet.column_count = rows, columns
    book.check_size()


@request("insertDimension")
def _insert(work: Work, body: Json) -> Json:
    sheet, axis, start, end = dimension_of(work.book, body.get("range", {}))
    size = sheet.row_count if axis == "ROWS" else sheet.column_count
    inherit = bool(body.get("inheritFromBefore"))
    if inherit and start == 0:
        raise invalid("inheritFromBefore can't be true when inserting at the start of the sheet.")
    check_inside(sheet, axis, start, size if inherit else size - 1)
    dimensions.insert(work.book, sheet, axis, start, end - start, inherit=inherit)
    return {}


@request("deleteDimension")
def _delete(work: Work, body: Json) -> Json:
    sheet, axis, start, end = dimension_of(work.book, body.get("range", {}))
    check_inside(sheet, axis, start, (sheet.row_count if axis == "ROWS" else sheet.column_count) - 1)
    dimensions.delete(work.book, sheet, axis, start, end)
    return {}


@request("appendDimension")
def _append(work: Work, body: Json) -> Json:
    sheet = work.book.sheet(body.get("sheetId", 0))
    length = body.get("length", 0)
    if length < 1:
        raise invalid("length must be greater than 0.")
    if body.get("dimension") == "COLUMNS":
        sheet.column_count += length
    elif body.get("dimension") == "ROWS":
        sheet.row_count += length
    else:
        raise invalid("No dimension specified.")
    work.book.check_size()
    return {}


@request("moveDimension")
def _move(work: Work, body: Json) -> Json:
    sheet, axis, start, end = dimension_of(work.book, body.get("source", {}))
    to = body.get("destinationIndex", 0)
    size = sheet.row_count if axis == "ROWS" else sheet.column_count
    if end > size or not 0 <= to <= size:
        raise invalid("Cannot move outside the bounds of the sheet.")
    if start < to < end:
        raise invalid("The destination index cannot be inside the moved range.")
    dimensions.move(work.book, sheet, axis, start, end, to)
    return {}


@request("updateDimensionProperties")
def _properties(work: Work, body: Json) -> Json:
    sheet, axis, start, end = dimension_of(work.book, body.get("range", {}))
    mask = mask_of(body)
    held = sheet.row_properties if axis == "ROWS" else sheet.column_properties
    for index in range(start, end):
        changed = overlay(held.get(index, {}), body.get("properties", {}), mask)
        held[index] = {name: value for name, value in changed.items() if value is not False}
    return {}


@request("autoResizeDimensions")
def _resize(work: Work, body: Json) -> Json:
    sheet, axis, start, end = dimension_of(work.book, body.get("dimensions", {}))
    renderer = Renderer(work.book, work.call.now)
    if axis == "ROWS":
        return {}
    for column in range(start, min(end, sheet.column_count)):
        texts = renderer.values(sheet, sheet.whole()._replace(left=column, right=column + 1))
        longest = max((len(row[0]) for row in texts if row), default=0)
        if longest:
            sheet.column_properties[column] = {
                **sheet.column_properties.get(column, {}),
                "pixelSize": round(longest * _PIXELS_A_LETTER) + _MARGIN_PIXELS,
            }
    return {}


@request("insertRange")
def _insert_range(work: Work, body: Json) -> Json:
    sheet, area = area_of(work.book, body.get("range", {}))
    if body.get("shiftDimension") == "ROWS":
        moved = [sheet.part(row, area.left, area.right) for row in range(area.top, len(sheet.rows))]
        sheet.row_count = max(sheet.row_count, area.top + len(moved) + area.rows)
        _place(sheet, area.top, area.left, area.columns, [()] * area.rows + moved)
    else:
        for row in range(area.top, min(area.bottom, len(sheet.rows))):
            moved_cells = sheet.rows[row][area.left :]
            sheet.column_count = max(sheet.column_count, area.right + len(moved_cells))
            line = (*[EMPTY] * area.columns, *moved_cells)
            sheet.put(row, dict(enumerate(line, area.left)))
    work.book.check_size()
    return {}


@request("deleteRange")
def _delete_range(work: Work, body: Json) -> Json:
    sheet, area = area_of(work.book, body.get("range", {}))
    if body.get("shiftDimension") == "ROWS":
        moved = [sheet.part(row, area.left, area.right) for row in range(area.bottom, len(sheet.rows))]
        rest = max(len(sheet.rows) - area.top, 0)
        _place(sheet, area.top, area.left, area.columns, (moved + [()] * area.rows)[:rest])
    else:
        for row in range(area.top, min(area.bottom, len(sheet.rows))):
            line = (*sheet.rows[row][area.right :], *[EMPTY] * area.columns)
            sheet.put(row, dict(enumerate(line[: max(len(sheet.rows[row]) - area.left, 0)], area.left)))
    return {}


def _place(sheet: Sheet, top: int, left: int, width: int, rows: list[Row]) -> None:
    for row, cells in enumerate(rows, top):
        line = list(cells) + [EMPTY] * (width - len(cells))
        sheet.put(row, dict(enumerate(line, left)))
