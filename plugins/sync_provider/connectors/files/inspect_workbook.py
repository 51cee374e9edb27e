"""What a sheet of a workbook is, found out from the workbook itself, by the very reader that will read it."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sync_provider.connectors.files.excel_sheets import Chunk, OpenSheet, open_book, select_sheets
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
from sync_provider.connectors.files.root import FileRoot, Location
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.errors import SyncDataError, SyncError, Where

_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
_SUFFIXES = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
_SAMPLE_CELLS = 500_000
_KINDS = (
    (re.compile(r"\d{4}-\d{2}-\d{2}"), DATE),
    (re.compile(r"\d{4}-\d{2}-\d{2}T.*"), TIMESTAMP),
    (re.compile(r"-?\d+:\d{2}:\d{2}(\.\d+)?"), CLOCK),
    (re.compile("true|false"), BOOLEAN),
)


def is_workbook(path: Path) -> bool:
    """Whether a file is to be read as a workbook: by its content, or by its name, so that what is wrong with it is said."""
    if not path.is_file():
        return False  # a FIFO would never be opened; what is wrong with the path is said where it is read
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(_STARTS) or path.suffix.lower() in _SUFFIXES
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class WorkbookInspection:
    """The sheets of a workbook, each with its name and whether it is hidden, and what one of them holds."""

    sheets: list[dict[str, Any]]
    sheet: SheetInspection


def inspect_workbook(
    root: FileRoot, location: Location, *, sheet: str | None = None, header_row: int | None = None
) -> WorkbookInspection:
    """Inspect the first rows of a sheet.

    Args:
        root: that the file lies below.
        location: of the file.
        sheet: its name; None: the first.
        header_row: 1-based; None: to be found.

    Raises:
        SyncDataError: it is no sound workbook, has no such sheet, or nothing is in the sheet.
    """
    endpoint = ExcelEndpoint(type="excel", path=location.name, sheet=0 if sheet is None else sheet)
    try:
        with root.open_read(location) as file, closing(open_book(file, endpoint)) as book:
            chosen = select_sheets(book.sheets, endpoint.sheet)[0]
            grid = _grid(book.sheet(chosen))
            sheets = [{"name": each.name, "hidden": each.hidden} for each in book.sheets if each.is_grid]
    except SyncError as error:
        raise error.at(file=location.name) from error.__cause__
    if not grid.numbers:
        raise SyncDataError(
            "there is nothing in this sheet",
            where=Where(file=location.name, sheet=chosen.name),
            hint="Name another with --sheet." if len(sheets) > 1 else None,
            code="excel_empty",
        )
    source = {"type": "excel", "path": location.name, "sheet": chosen.name}
    return WorkbookInspection(sheets, inspect_grid(grid, source, header_row, lowest_header=0))


def _grid(sheet: OpenSheet) -> Grid:
    grid = Grid([], [])
    with closing(sheet.chunks()) as chunks:  # type: ignore[type-var]  # generators, which read ahead
        for chunk in chunks:
            if len(grid.numbers) >= min(SAMPLE_ROWS, _SAMPLE_CELLS // max(1, len(grid.columns))):
                grid.complete = False
                break
            _add(grid, chunk)
    return grid


def _add(grid: Grid, chunk: Chunk) -> None:
    rows = min(len(chunk.number), SAMPLE_ROWS - len(grid.numbers), max(1, _SAMPLE_CELLS // max(1, chunk.width)))
    before = len(grid.numbers)
    for _ in range(len(grid.columns), chunk.width):
        grid.columns.append(Cells([None] * before, [None] * before))
    for at, cells in enumerate(grid.columns):
        column = chunk.column(at)
        texts = column.texts.slice(0, rows).to_pylist()
        failed = {*column.errors.tolist(), *column.unvalued.tolist()}
        literal = set(chunk.text_rows(at).tolist())
        cells.texts += texts
        cells.kinds += [
            ERROR if index in failed else TEXT if index in literal and text is not None else _kind(text)
            for index, text in enumerate(texts)
        ]
    grid.numbers += chunk.number[:rows].tolist()
    grid.complete = grid.complete and rows == len(chunk.number)


def _kind(text: str | None) -> str | None:
    """The kind of a cell that holds no text, by the canonical text that is made of it."""
    if text is None:
        return None
    return next((kind for shape, kind in _KINDS if shape.fullmatch(text)), NUMBER)
