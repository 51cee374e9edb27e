"""Cells, sheets and spreadsheets. Cells and rows never change: an edit makes new ones.

So a copy of a spreadsheet costs one list per sheet, whatever its size, and a batch that fails halfway is undone by
dropping its copy.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sync_provider.sandbox.errors import invalid

Json = dict[str, Any]
Scalar = bool | float | str

MAX_CELLS = 10_000_000
MAX_CHARACTERS = 50_000


@dataclass(frozen=True, slots=True)
class CellError:
    """What a formula that fails shows; `kind` is the name of the API's ErrorType."""

    text: str
    kind: str
    message: str = ""


class Cell(NamedTuple):
    """One cell: what was entered, and how it looks.

    Args:
        value: the constant entered; None if the cell is empty or holds a formula.
        formula: the formula with its ``=``.
        format: the userEnteredFormat.
        note: its note.
        extra: the other parts of CellData that are kept as given (dataValidation, textFormatRuns…).
    """

    value: Scalar | None = None
    formula: str | None = None
    format: Mapping[str, Any] | None = None
    note: str | None = None
    extra: Mapping[str, Any] | None = None

    @property
    def filled(self) -> bool:
        return self.formula is not None or (self.value is not None and self.value != "")

    @property
    def pattern(self) -> tuple[str, str] | None:
        """Type and pattern of the number format."""
        number = (self.format or {}).get("numberFormat")
        return (number.get("type", ""), number.get("pattern", "")) if number else None


EMPTY = Cell()
Row = tuple[Cell, ...]


class Area(NamedTuple):
    """Cells of one sheet: rows [top, bottom[ and columns [left, right[, 0-based and inside the grid."""

    sheet_id: int
    top: int
    bottom: int
    left: int
    right: int

    @property
    def rows(self) -> int:
        return self.bottom - self.top

    @property
    def columns(self) -> int:
        return self.right - self.left

    def meets(self, other: Area) -> bool:
        return (
            self.sheet_id == other.sheet_id
            and self.top < other.bottom
            and other.top < self.bottom
            and self.left < other.right
            and other.left < self.right
        )


@dataclass
class Sheet:
    """A tab. `rows` may be shorter than the grid, and each row shorter than the grid is wide.

    Args:
        properties: what SheetProperties holds besides id, title, index and the grid's size.
        grid: what GridProperties holds besides the size.
        parts: lists of what lies on the sheet (merges, protectedRanges, conditionalFormats…), as the API shows them.
        row_properties: DimensionProperties that were set, by row; `column_properties` by column.
    """

    sheet_id: int
    title: str
    row_count: int = 1000
    column_count: int = 26
    rows: list[Row] = field(default_factory=list)
    properties: Json = field(default_factory=dict)
    grid: Json = field(default_factory=dict)
    parts: dict[str, list[Json]] = field(default_factory=dict)
    row_properties: dict[int, Json] = field(default_factory=dict)
    column_properties: dict[int, Json] = field(default_factory=dict)

    def copy(self) -> Sheet:
        """A sheet that can be changed while this one stays."""
        return Sheet(
            self.sheet_id,
            self.title,
            self.row_count,
            self.column_count,
            self.rows.copy(),
            *copy.deepcopy((self.properties, self.grid, self.parts, self.row_properties, self.column_properties)),
        )

    def cell(self, row: int, column: int) -> Cell:
        if row < len(self.rows) and column < len(self.rows[row]):
            return self.rows[row][column]
        return EMPTY

    def part(self, row: int, left: int, right: int | None) -> Row:
        """The stored cells of a row between two columns; may be shorter than asked."""
        return self.rows[row][left:right] if row < len(self.rows) else ()

    def put(self, row: int, cells: Mapping[int, Cell]) -> None:
        """Replace some cells of one row."""
        if not cells:
            return
        while len(self.rows) <= row:
            self.rows.append(())
        line = list(self.rows[row])
        missing = max(cells) + 1 - len(line)
        if missing > 0:
            line.extend([EMPTY] * missing)
        for column, cell in cells.items():
            line[column] = cell
        while line and line[-1] == EMPTY:
            line.pop()
        self.rows[row] = tuple(line)

    def change(self, area: Area, edit: Callable[[Cell], Cell], *, everywhere: bool = False) -> None:
        """Edit the stored cells of an area; with `everywhere` the cells never touched before too."""
        bottom = area.bottom if everywhere else min(area.bottom, len(self.rows))
        for row in range(area.top, bottom):
            right = area.right if everywhere else min(area.right, len(self.rows[row]))
            self.put(row, {column: edit(self.cell(row, column)) for column in range(area.left, right)})

    def whole(self) -> Area:
        return Area(self.sheet_id, 0, self.row_count, 0, self.column_count)

    def extent(self) -> tuple[int, int]:
        """Rows and columns that the filled cells span."""
        height = width = 0
        for number, row in enumerate(self.rows, 1):
            for column in range(len(row), 0, -1):
                if row[column - 1].filled:
                    height, width = number, max(width, column)
                    break
        return height, width


@dataclass
class Spreadsheet:
    """A workbook. `sheets` is in the order of the tabs. `cache` keeps what formulas gave until the next change."""

    spreadsheet_id: str
    properties: Json
    sheets: list[Sheet]
    named_ranges: list[Json] = field(default_factory=list)
    metadata: list[Json] = field(default_factory=list)
    cache: dict[Any, Any] = field(default_factory=dict)

    @property
    def locale(self) -> str:
        return str(self.properties["locale"])

    @property
    def time_zone(self) -> str:
        return str(self.properties["timeZone"])

    def copy(self) -> Spreadsheet:
        """A draft to work on."""
        return Spreadsheet(
            self.spreadsheet_id,
            copy.deepcopy(self.properties),
            [sheet.copy() for sheet in self.sheets],
            copy.deepcopy(self.named_ranges),
            copy.deepcopy(self.metadata),
        )

    def sheet(self, sheet_id: int) -> Sheet:
        """The sheet of that id.

        Raises:
            ApiError: there is none.
        """
        for sheet in self.sheets:
            if sheet.sheet_id == sheet_id:
                return sheet
        raise invalid(f"No grid with id: {sheet_id}")

    def titled(self, title: str) -> Sheet | None:
        """The sheet of that title, in any case."""
        wanted = title.casefold()
        return next((sheet for sheet in self.sheets if sheet.title.casefold() == wanted), None)

    def check_size(self) -> None:
        """Refuse a workbook of more than ten million cells."""
        if sum(sheet.row_count * sheet.column_count for sheet in self.sheets) > MAX_CELLS:
            raise invalid(
                f"This action would increase the number of cells in the workbook above the limit of {MAX_CELLS} cells."
            )

    def grid_ranges(self) -> Iterator[Json]:
        """Every GridRange that something on the grid holds."""
        yield from _grid_ranges(self.named_ranges)
        for sheet in self.sheets:
            yield from _grid_ranges(sheet.parts)


_GRID_RANGE = {"startRowIndex", "endRowIndex", "startColumnIndex", "endColumnIndex"}


def _grid_ranges(held: Any) -> Iterator[Json]:
    if isinstance(held, list):
        for item in held:
            yield from _grid_ranges(item)
    elif isinstance(held, dict):
        if _GRID_RANGE & held.keys():
            yield held
        else:
            yield from _grid_ranges(list(held.values()))


def checked_text(text: str) -> str:
    """The text, unless it is longer than a cell can hold.

    Raises:
        ApiError: more than 50,000 characters.
    """
    if len(text) > MAX_CHARACTERS:
        raise invalid(f"Your input contains more than the maximum of {MAX_CHARACTERS} characters in a single cell.")
    return text
