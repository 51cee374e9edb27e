"""Ranges: A1 and R1C1 text, grid ranges, and the canonical form that answers use."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sync_provider.sandbox.errors import ApiError, invalid
from sync_provider.sandbox.model import Area, Sheet, Spreadsheet

_A1 = re.compile(r"(?:\$?([A-Za-z]{1,3}))?(?:\$?([1-9]\d{0,7}))?")
_R1C1 = re.compile(r"[Rr]([1-9]\d*)[Cc]([1-9]\d*)(?::[Rr]([1-9]\d*)[Cc]([1-9]\d*))?")
_PLAIN_TITLE = re.compile(r"[^\W\d]\w*")


class Bounds(NamedTuple):
    """Rows and columns as asked, 0-based and half open; None where the text leaves a side open."""

    top: int | None = None
    bottom: int | None = None
    left: int | None = None
    right: int | None = None

    @property
    def single(self) -> bool:
        return (
            self.top is not None
            and self.left is not None
            and self.bottom == self.top + 1
            and self.right == self.left + 1
        )


def column_name(column: int) -> str:
    """Letters of a 0-based column.

    >>> column_name(0), column_name(26)
    ('A', 'AA')
    """
    name = ""
    column += 1
    while column:
        column, digit = divmod(column - 1, 26)
        name = chr(65 + digit) + name
    return name


def column_number(name: str) -> int:
    """0-based column of its letters."""
    number = 0
    for letter in name.upper():
        number = number * 26 + ord(letter) - 64
    return number - 1


def quoted(title: str) -> str:
    """A title as answers write it: quoted unless it is a plain identifier that does not read as a cell."""
    if _PLAIN_TITLE.fullmatch(title) and title.isascii() and parse_bounds(title) is None:
        return title
    return "'" + title.replace("'", "''") + "'"


def parse_bounds(text: str) -> Bounds | None:
    """Read cells without a title, such as ``B2``, ``$A:C``, ``1:2``, ``A2:C``, ``R1C1:R2C2``; None if it is none."""
    if match := _R1C1.fullmatch(text):
        top, left = int(match[1]), int(match[2])
        return _ordered(top - 1, int(match[3] or top) - 1, left - 1, int(match[4] or left) - 1)
    first, colon, second = text.partition(":")
    start = _A1.fullmatch(first)
    end = _A1.fullmatch(second) if colon else start
    if start is None or end is None or not (first and (second or not colon)):
        return None
    letters, rows = (start[1], end[1]), (start[2], end[2])
    if not colon and not (start[1] and start[2]):
        return None
    if not (any(letters) or any(rows)) or (not any(rows) and not all(letters)) or (not any(letters) and not all(rows)):
        return None
    columns = [column_number(name) for name in letters if name]
    numbers = [int(number) - 1 for number in rows if number]
    bounds = Bounds()
    if numbers:
        bounds = bounds._replace(top=min(numbers), bottom=max(numbers) + 1 if len(numbers) == 2 else None)
    if columns:
        bounds = bounds._replace(left=min(columns), right=max(columns) + 1 if len(columns) == 2 else None)
    return bounds


def _ordered(top: int, bottom: int, left: int, right: int) -> Bounds:
    return Bounds(min(top, bottom), max(top, bottom) + 1, min(left, right), max(left, right) + 1)


def split_title(text: str) -> tuple[str | None, str]:
    """Part before the last ``!`` outside quotes, unquoted, and part after it; None if there is no ``!``."""
    if text.startswith("'"):
        match = re.fullmatch(r"'((?:[^']|'')*)'(?:!(.*))?", text, re.DOTALL)
        if match:
            return match[1].replace("''", "'"), match[2] or ""
    title, mark, rest = text.rpartition("!")
    return (title, rest) if mark else (None, text)


def format_range(title: str, bounds: Bounds) -> str:
    """Canonical text, open sides left open: ``Sheet1!A1:B2``, ``T!A1001:B``, ``T!A3``."""
    left = column_name(bounds.left or 0)
    top = (bounds.top or 0) + 1
    start = f"{left}{top}"
    if bounds.single:
        return f"{quoted(title)}!{start}"
    right = column_name(bounds.right - 1) if bounds.right is not None else ""
    bottom = str(bounds.bottom) if bounds.bottom is not None else ""
    if not right and not bottom:
        return f"{quoted(title)}!{start}:{top}" if bounds.left is None else f"{quoted(title)}!{start}:{left}"
    return f"{quoted(title)}!{start}:{right}{bottom}"


def format_area(sheet: Sheet, area: Area) -> str:
    """The area as an answer names it."""
    return format_range(sheet.title, Bounds(area.top, area.bottom, area.left, area.right))


def grid_limits(sheet: Sheet, bounds: Bounds) -> ApiError:
    """The refusal of a range that lies outside the grid."""
    return invalid(
        f"Range ({format_range(sheet.title, bounds)}) exceeds grid limits. "
        f"Max rows: {sheet.row_count}, max columns: {sheet.column_count}"
    )


def clamp(sheet: Sheet, bounds: Bounds) -> Area:
    """The cells of the grid that are asked.

    Raises:
        ApiError: the range starts outside the grid.
    """
    top, left = bounds.top or 0, bounds.left or 0
    if top >= sheet.row_count or left >= sheet.column_count:
        raise grid_limits(sheet, bounds)
    bottom = sheet.row_count if bounds.bottom is None else min(bounds.bottom, sheet.row_count)
    right = sheet.column_count if bounds.right is None else min(bounds.right, sheet.column_count)
    return Area(sheet.sheet_id, top, max(bottom, top), left, max(right, left))


def _named(book: Spreadsheet, name: str) -> tuple[Sheet, Bounds] | None:
    for named in book.named_ranges:
        if named["name"].casefold() == name.casefold():
            return grid_bounds(book, named["range"])
    return None


def find_range(book: Spreadsheet, text: str) -> tuple[Sheet, Bounds]:
    """The sheet and the cells that a range text names.

    Raises:
        ApiError: ``Unable to parse range: …`` with the text as sent.
    """
    title, rest = split_title(text)
    if title is not None:
        sheet = book.titled(title)
        if sheet:
            if not rest:
                return sheet, Bounds()
            bounds = parse_bounds(rest)
            if bounds:
                return sheet, bounds
            if found := _named(book, rest):
                return found
    else:
        if bounds := parse_bounds(text):
            return book.sheets[0], bounds
        if found := _named(book, text):
            return found
    if sheet := book.titled(text):
        return sheet, Bounds()
    raise invalid(f"Unable to parse range: {text}")


def find_area(book: Spreadsheet, text: str) -> tuple[Sheet, Area]:
    """As `find_range`, clamped to the grid."""
    sheet, bounds = find_range(book, text)
    return sheet, clamp(sheet, bounds)


def grid_bounds(book: Spreadsheet, grid_range: dict[str, Any]) -> tuple[Sheet, Bounds]:
    """The sheet and the cells of a GridRange.

    Raises:
        ApiError: no such sheet, or an end before its start.
    """
    sheet = book.sheet(grid_range.get("sheetId", 0))
    top, bottom = grid_range.get("startRowIndex"), grid_range.get("endRowIndex")
    left, right = grid_range.get("startColumnIndex"), grid_range.get("endColumnIndex")
    for axis, start, end in (("Row", top, bottom), ("Column", left, right)):
        if end is not None and end < (start or 0):
            raise invalid(f"range.end{axis}Index must be greater than or equal to range.start{axis}Index.")
        if start is not None and start < 0:
            raise invalid(f"range.start{axis}Index must be >= 0.")
    return sheet, Bounds(top, bottom, left, right)


def grid_range(area: Area) -> dict[str, int]:
    """The GridRange of an area; as everywhere in answers, the id 0 is left out."""
    sheet = {"sheetId": area.sheet_id} if area.sheet_id else {}
    return {
        **sheet,
        "startRowIndex": area.top,
        "endRowIndex": area.bottom,
        "startColumnIndex": area.left,
        "endColumnIndex": area.right,
    }
