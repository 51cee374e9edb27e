"""Reads tabs in blocks of rows: few requests, each of a bounded size, and never a torn or a shortened sheet taken for the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sync_provider.connectors.base import FILE, ROW, SHEET, ColumnRequest, RawBatch
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.api import SheetsApi, Tab
from sync_provider.connectors.sheets.cells import ERRORS, column_texts, verbatim
from sync_provider.core.endpoints import GoogleSheetsEndpoint
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

REPLY_BYTES = 1_700_000  # aimed at: Google advises 2 MB
_FIRST_ROWS_CELLS = 100_000  # cells of the first block, before their size is known


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a tab as the API gives them: the 0-based number of the first, and their cells from ``column`` on."""

    first: int
    column: int
    cells: list[list[Any]]


def read_rows(api: SheetsApi, tab: Tab, first_row: int, columns: Sequence[int]) -> Iterator[Rows]:
    """All rows of a tab from one on, in blocks; rows at the end without any cell are left out.

    Args:
        api: of the spreadsheet.
        tab: its grid tells how many rows there are.
        first_row: 0-based.
        columns: the 0-based columns wanted; what stands between them is read too.
    """
    start, end = min(columns), max(columns) + 1
    rows = max(1, _FIRST_ROWS_CELLS // (end - start))
    at = first_row
    while at < tab.rows:
        stop = min(tab.rows, at + rows)
        (cells,) = api.values([a1.block(tab.title, at, stop, start, end)])
        yield Rows(at, start, cells)
        if cells:
            size = sum(len(str(cell)) + 3 for row in cells for cell in row) / len(cells)
            rows = max(1, int(REPLY_BYTES / max(size, 1.0)))
        at = stop


def zone_of(name: str) -> ZoneInfo:
    """The spreadsheet's time zone; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def raw_batch(
    api: SheetsApi,
    rows: Rows,
    places: Sequence[tuple[int, ColumnRequest]],
    tab: Tab,
    zone: ZoneInfo,
    endpoint: GoogleSheetsEndpoint,
) -> RawBatch:
    """The records of a block: blank rows are none, and those with a formula's error are refused with the cell."""
    import pyarrow as pa

    formulas = _formulas(api, rows, tab) if any(_shows_error(cell) for row in rows.cells for cell in row) else None

    columns = [at - rows.column for at, _ in places]
    numbers, kept, rejections = [], [], []
    for offset, cells in enumerate(rows.cells):
        held = [cells[at] if at < len(cells) else None for at in columns]
        if all(cell is None or cell == "" for cell in held):
            continue
        number = rows.first + offset
        wrong = None
        if formulas is not None:
            failed = [
                _shows_error(cell) and _at(formulas, offset, at).startswith("=")
                for cell, at in zip(held, columns, strict=True)
            ]
            wrong = failed.index(True) if True in failed else None
        if wrong is None:
            numbers.append(number + 1)
            kept.append(held)
        else:
            rejections.append(_error_cell(held, wrong, number, places, tab))
    arrays: dict[str, pa.Array] = {}
    for index, (_, column) in enumerate(places):
        texts = (
            [verbatim(row[index]) for row in kept]
            if column.verbatim
            else column_texts(kept, index, column.type, zone, endpoint.decimal, endpoint.date_order)
        )
        arrays[column.name] = pa.array(texts, pa.string())
    if endpoint.sheet_field is not None:
        arrays[endpoint.sheet_field] = pa.array([tab.title] * len(kept), pa.string())
    arrays[FILE] = pa.nulls(len(kept), pa.string())
    arrays[SHEET] = pa.array([tab.title] * len(kept), pa.string())
    arrays[ROW] = pa.array(numbers, pa.int64())
    return RawBatch(pa.RecordBatch.from_pydict(arrays), rejections)


def _shows_error(cell: Any) -> bool:
    return isinstance(cell, str) and cell in ERRORS


def _formulas(api: SheetsApi, rows: Rows, tab: Tab) -> list[list[Any]]:
    """The same block with formulas instead of their results: tells a formula that failed from a text that looks so."""
    width = max(map(len, rows.cells))
    (found,) = api.values(
        [a1.block(tab.title, rows.first, rows.first + len(rows.cells), rows.column, rows.column + width)], formulas=True
    )
    return found


def _at(cells: list[list[Any]], row: int, column: int) -> str:
    return str(cells[row][column]) if row < len(cells) and column < len(cells[row]) else ""


def _error_cell(
    held: list[Any], wrong: int, number: int, places: Sequence[tuple[int, ColumnRequest]], tab: Tab
) -> Rejection:
    at, column = places[wrong]
    return Rejection(
        rule="error_cell",
        field=column.name,
        value=str(held[wrong]),
        message=f"the formula in this cell failed: {held[wrong]}",
        where=Where(sheet=tab.title, cell=a1.cell(number, at)),
        record={each.name: verbatim(cell) for cell, (_, each) in zip(held, places, strict=True)},
    )
