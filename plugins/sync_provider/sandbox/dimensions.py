"""Rows and columns inserted, deleted, moved: what lies on the grid follows."""

from __future__ import annotations

from collections.abc import Callable

from sync_provider.sandbox.errors import invalid
from sync_provider.sandbox.formulas import move_columns, move_rows
from sync_provider.sandbox.model import EMPTY, Cell, Json, Row, Sheet, Spreadsheet

Place = Callable[[int, bool], int]
"""New index of a row or column; the flag says whether it is the last of a range. One that is gone becomes the next, or
the one before for a last."""
GROUPS = {"ROWS": "rowGroups", "COLUMNS": "columnGroups"}
"""The part of a sheet that holds the groups of an axis."""


def insert(book: Spreadsheet, sheet: Sheet, axis: str, start: int, count: int, *, inherit: bool = False) -> None:
    """Insert blank rows or columns before `start`; with `inherit` they look like those before."""
    model = start - 1 if inherit else start
    if axis == "ROWS":
        sheet.row_count += count
        if start < len(sheet.rows):
            like = sheet.rows[model] if 0 <= model < len(sheet.rows) else ()
            sheet.rows[start:start] = [_looks(like)] * count
    else:
        sheet.column_count += count
        sheet.rows = [_widened(row, start, count, model) for row in sheet.rows]
    _follow(book, sheet, axis, lambda place, _: place + count if place >= start else place)
    book.check_size()


def insert_rows(book: Spreadsheet, sheet: Sheet, start: int, count: int) -> None:
    """Insert rows as `values.append` does: they look like the row before."""
    insert(book, sheet, "ROWS", start, count, inherit=True)


def _looks(row: Row) -> Row:
    looks = [cell if cell == EMPTY else Cell(format=cell.format) for cell in row]
    while looks and looks[-1] == EMPTY:
        looks.pop()
    return tuple(looks)


def _widened(row: Row, start: int, count: int, model: int) -> Row:
    if start >= len(row):
        return row
    like = Cell(format=row[model].format) if 0 <= model < len(row) else EMPTY
    return (*row[:start], *[like] * count, *row[start:])


def delete(book: Spreadsheet, sheet: Sheet, axis: str, start: int, end: int) -> None:
    """Delete rows or columns [start, end[.

    Raises:
        ApiError: none would be left.
    """
    size = sheet.row_count if axis == "ROWS" else sheet.column_count
    end = min(end, size)
    if end - start >= size:
        raise invalid(f"You can't delete all the {axis.lower()} on the sheet.")
    held = "frozenRowCount" if axis == "ROWS" else "frozenColumnCount"
    if frozen := sheet.grid.get(held, 0):
        left = frozen - max(0, min(end, frozen) - start)
        if size - (end - start) <= left:
            raise invalid(f"Sorry, it is not possible to delete all non-frozen {axis.lower()}.")
        sheet.grid[held] = left
    if axis == "ROWS":
        sheet.row_count -= end - start
        del sheet.rows[start:end]
    else:
        sheet.column_count -= end - start
        sheet.rows = [(*row[:start], *row[end:]) for row in sheet.rows]

    def place(index: int, last: bool) -> int:
        if index < start:
            return index
        if index >= end:
            return index - (end - start)
        return start - 1 if last else start

    _follow(book, sheet, axis, place, range(start, end))


def move(book: Spreadsheet, sheet: Sheet, axis: str, start: int, end: int, to: int) -> None:
    """Move rows or columns [start, end[ before the one that is now at `to`."""
    size = sheet.row_count if axis == "ROWS" else sheet.column_count
    order = [index for index in range(size) if not start <= index < end]
    at = to - (end - start) if to >= end else min(to, start)
    order[at:at] = range(start, end)
    where = {old: new for new, old in enumerate(order)}
    if axis == "ROWS":
        rows = [sheet.rows[index] if index < len(sheet.rows) else () for index in order]
        while rows and not rows[-1]:
            rows.pop()
        sheet.rows = rows
    else:
        sheet.rows = [tuple(row[index] if index < len(row) else EMPTY for index in order) for row in sheet.rows]
    _follow(book, sheet, axis, lambda place, _: where.get(place, place))


def _follow(book: Spreadsheet, sheet: Sheet, axis: str, place: Place, gone: range = range(0)) -> None:
    """Let formulas, ranges, metadata and properties follow the cells."""
    rows = axis == "ROWS"
    rewrite = move_rows if rows else move_columns
    for other in book.sheets:

        def shift(title: str | None, index: int, role: str, other: Sheet = other) -> int | None:
            mine = other is sheet if title is None else title.casefold() == sheet.title.casefold()
            if not mine:
                return index
            return None if role == "only" and index in gone else place(index, role == "last")

        for number, row in enumerate(other.rows):
            if any(cell.formula for cell in row):
                other.rows[number] = tuple(
                    cell._replace(formula=rewrite(cell.formula, shift)) if cell.formula else cell for cell in row
                )
    for held in book.grid_ranges():
        _follow_range(held, sheet, "Row" if rows else "Column", place)
    _drop_empty(book, sheet)
    groups = [_moved_group(group, place) for group in sheet.parts.get(GROUPS[axis], [])]
    sheet.parts[GROUPS[axis]] = [item for item in groups if item["range"]["startIndex"] < item["range"]["endIndex"]]
    properties = sheet.row_properties if rows else sheet.column_properties
    kept = {place(index, False): value for index, value in properties.items() if index not in gone}
    if rows:
        sheet.row_properties = kept
    else:
        sheet.column_properties = kept
    _follow_metadata(book, sheet, axis, place, gone)


def _follow_range(held: Json, sheet: Sheet, axis: str, place: Place) -> None:
    if held.get("sheetId", 0) != sheet.sheet_id:
        return
    start, end = held.get(f"start{axis}Index"), held.get(f"end{axis}Index")
    if start is not None:
        held[f"start{axis}Index"] = place(start, False)
    if end is not None:
        held[f"end{axis}Index"] = place(end - 1, True) + 1


def _moved_group(group: Json, place: Place) -> Json:
    held = group["range"]
    start, end = place(held["startIndex"], False), place(held["endIndex"] - 1, True) + 1
    return {**group, "range": {**held, "startIndex": start, "endIndex": end}}


def _empty(held: Json) -> bool:
    return any(
        held.get(f"end{axis}Index") is not None and held[f"end{axis}Index"] <= held.get(f"start{axis}Index", 0)
        for axis in ("Row", "Column")
    )


def _drop_empty(book: Spreadsheet, sheet: Sheet) -> None:
    for name, items in sheet.parts.items():
        sheet.parts[name] = [item for item in items if not _empty(item.get("range", item))]
    book.named_ranges = [item for item in book.named_ranges if not _empty(item["range"])]


def _follow_metadata(book: Spreadsheet, sheet: Sheet, axis: str, place: Place, gone: range) -> None:
    kept = []
    for item in book.metadata:
        held = item["location"].get("dimensionRange")
        if held and held["dimension"] == axis and held.get("sheetId", 0) == sheet.sheet_id:
            index = held.get("startIndex", 0)
            if index in gone:
                continue
            new = place(index, False)
            held |= {"startIndex": new, "endIndex": new + 1}
        kept.append(item)
    book.metadata = kept
