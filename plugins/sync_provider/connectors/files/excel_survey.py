"""What an existing sheet looks like before it is edited.

Where its records end, how its cells are formatted, and which rows hold the keys that changes concern.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sync_provider.connectors.base import WriteRequest
from sync_provider.connectors.files.csv_changes import ChangeSet, key_texts, typed
from sync_provider.connectors.files.excel_address import address
from sync_provider.connectors.files.excel_guard import malformed
from sync_provider.connectors.files.excel_scan import Bools, Ints, IrregularError, Rows, SheetMarkup, scan_rows
from sync_provider.connectors.files.excel_values import CellReader
from sync_provider.connectors.files.excel_workbook import Sheet, Workbook
from sync_provider.core.errors import Where
from sync_provider.core.schema import LogicalType


@dataclass(slots=True)
class Survey:
    """Facts about a sheet.

    Args:
        last_row: number of the last row with a value or formula in it; 0 if there is none.
        styles: 0-based column → cell format of its last filled cell below the header.
        foreign: address of a cell below the header that has content and is in no mapped column; None without one.
        formulas: whether any cell holds a formula.
        matches: for each chunk of rows, the number of the change each row's key belongs to, or -1.
        repeated: change → numbers of the rows that hold its key, where there are several.
    """

    last_row: int = 0
    styles: dict[int, int] = field(default_factory=dict)
    foreign: str | None = None
    formulas: bool = False
    matches: list[Ints] = field(default_factory=list)
    repeated: dict[int, list[int]] = field(default_factory=dict)


def regular_rows(book: Workbook, sheet: Sheet, markup: SheetMarkup) -> Iterator[Rows]:
    """The rows of a sheet that is to be edited.

    Raises:
        SyncDataError: its markup is such that editing could lose something.
    """
    try:
        with book.package.open(sheet.part) as part:
            yield from scan_rows(part, markup)
    except IrregularError as irregular:
        raise malformed(
            "the sheet's XML is written in an unusual way, and editing it could lose something",
            where=Where(sheet=sheet.name, cell=f"A{irregular.after_row + 1}"),
            hint="Open it in Excel, save it, and run again.",
            code="excel_irregular",
        ) from irregular


def survey(
    book: Workbook,
    sheet: Sheet,
    header_row: int,
    positions: dict[str, int],
    request: WriteRequest,
    changes: ChangeSet | None,
    cells: CellReader,
    markup: SheetMarkup,
) -> Survey:
    """Look at every row of a sheet once.

    Args:
        book: the workbook.
        sheet: one of its sheets.
        header_row: 1-based, 0 for none.
        positions: 0-based column of each column of the request.
        request: its columns and key.
        changes: whose keys are looked for; None to look for none.
        cells: reads the sheet's cells.
        markup: filled with what stands around the rows.
    """
    found = Survey()
    mapped = np.array(sorted(positions.values()), np.int64)
    first_row: dict[int, int] = {}
    for rows in regular_rows(book, sheet, markup):
        filled = rows.has_value | rows.has_formula
        if filled.any():
            found.last_row = int(rows.number[rows.cell_row[np.flatnonzero(filled)[-1]]])
        found.formulas = found.formulas or bool(rows.has_formula.any())
        below = filled & (rows.number[rows.cell_row] > header_row)
        _note_styles(found, rows, below, mapped)
        if found.foreign is None:
            foreign = np.flatnonzero(below & ~np.isin(rows.cell_column, mapped))
            if len(foreign):
                row, column = rows.number[rows.cell_row[foreign[0]]], rows.cell_column[foreign[0]]
                found.foreign = address(int(row), int(column))
        if changes is not None:
            numbers = match_keys(rows, header_row, positions, request, changes, cells)
            _note_rows(found, first_row, numbers, rows.number)
            found.matches.append(numbers)
    return found


def match_keys(
    rows: Rows,
    header_row: int,
    positions: dict[str, int],
    request: WriteRequest,
    changes: ChangeSet,
    cells: CellReader,
) -> Ints:
    """For each row, the number of the change its key belongs to, or -1."""
    from zoneinfo import ZoneInfo

    types: dict[str, LogicalType] = {column.name: column.type for column in request.columns}
    zone = ZoneInfo(request.timezone)
    parts = []
    for name in request.key:
        texts = cells.column(rows, positions[name], types[name], verbatim=False).texts
        parts.append(typed(texts, types[name], zone)[0])
    numbers: Ints = changes.find(key_texts(parts, [types[name] for name in request.key])).astype(np.int64)
    return np.where(rows.number > header_row, numbers, -1)


def _note_styles(found: Survey, rows: Rows, below: Bools, mapped: Ints) -> None:
    for column in mapped.tolist():
        at = np.flatnonzero(below & (rows.cell_column == column))
        if len(at):
            found.styles[column] = int(rows.cell_style[at[-1]])


def _note_rows(found: Survey, first_row: dict[int, int], numbers: Ints, rows: Ints) -> None:
    for at in np.flatnonzero(numbers >= 0).tolist():
        change, row = int(numbers[at]), int(rows[at])
        if change in first_row:
            found.repeated.setdefault(change, [first_row[change]]).append(row)
        else:
            first_row[change] = row
