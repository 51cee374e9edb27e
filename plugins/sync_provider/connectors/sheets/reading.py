"""Reads tabs in blocks of rows: few requests, each of a bounded size, and never a torn or a shortened sheet taken for the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sync_provider.connectors.base import FILE, ROW, SHEET, ColumnRequest, RawBatch
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.api import Book, SheetsApi, Tab
from sync_provider.connectors.sheets.blocks import Block, Conventions, Rows
from sync_provider.connectors.sheets.cells import ERRORS, EXACT, verbatim
from sync_provider.core.endpoints import GoogleSheetsEndpoint
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

REPLY_BYTES = 1_900_000  # aimed at: Google advises 2 MB
_FIRST_ROWS_CELLS = 100_000  # cells of the first block, before their size is known

_BLANK_ROWS_CELLS = 1_000_000  # of a block below a blank one


def read_rows(
    api: SheetsApi, tab: Tab, first_row: int, columns: Sequence[int], limit: int | None = None
) -> Iterator[Rows]:
    """All rows of a tab from one on, in blocks; rows at the end without any cell are left out.

    Args:
        api: of the spreadsheet.
        tab: its grid tells how many rows there are.
        first_row: 0-based.
        columns: the 0-based columns wanted; what stands between them is read too.
        limit: records wanted: no more rows are asked for at first.
    """
    start, end = min(columns), max(columns) + 1
    rows = max(1, min(_FIRST_ROWS_CELLS // (end - start), limit or tab.rows))
    at = first_row
    while at < tab.rows:
        stop = min(tab.rows, at + rows)
        (cells,) = api.values([a1.block(tab.title, at, stop, start, end)])
        yield Rows(at, start, cells)
        if cells:
            rows = max(1, int(REPLY_BYTES * len(cells) / api.reply_bytes))
        else:  # the end of a grid is often blank; records may stand below all the same
            rows = min(2 * rows, max(rows, _BLANK_ROWS_CELLS // (end - start)))
        at = stop


def free_row(api: SheetsApi, tab: Tab, row: int, count: int, columns: Sequence[int]) -> int:
    """The first row from ``row`` on (0-based) that begins so many without anything in their columns: one request, as a rule.

    Not even a formula that shows nothing, which values do not tell from a blank cell.
    """
    start, end = min(columns), max(columns) + 1
    while row < tab.rows:
        (cells,) = api.values([a1.block(tab.title, row, min(tab.rows, row + count), start, end)], formulas=True)
        filled = [at for at in range(len(cells)) if any(_at(cells, at, column - start) for column in columns)]
        if not filled:
            break
        row += filled[-1] + 1
    return row


def zone_of(name: str) -> ZoneInfo:
    """The spreadsheet's time zone; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def conventions_of(book: Book, endpoint: GoogleSheetsEndpoint) -> Conventions:
    """How the endpoint's cells are read."""
    return Conventions(zone_of(book.time_zone), endpoint.decimal, endpoint.date_order)


def raw_batch(
    api: SheetsApi,
    rows: Rows,
    places: Sequence[tuple[int, ColumnRequest]],
    tab: Tab,
    conventions: Conventions,
    constants: Mapping[str, str | None],
) -> RawBatch:
    """The records of a block: blank rows are none, and those with a formula's error or a rounded number are refused with the cell.

    Args:
        api: of the spreadsheet, for the formulas behind errors.
        rows: as read.
        places: where the wanted columns stand (0-based).
        tab: that the rows are of.
        conventions: how its cells are read.
        constants: further columns, which hold the same in every record.
    """
    import pyarrow as pa

    block = Block(rows, [at for at, _ in places])
    refused: dict[int, tuple[int, str, str]] = {}
    for index, (_, column) in enumerate(places):
        _refuse_rounded(block, index, column, refused)
    _refuse_errors(api, block, rows, tab, refused)
    arrays: dict[str, pa.Array] = {
        column.name: block.verbatim(index) if column.verbatim else block.texts(index, column.type, conventions)
        for index, (_, column) in enumerate(places)
    }
    count = len(block)
    arrays |= {name: pa.repeat(pa.scalar(text, pa.string()), count) for name, text in constants.items()}
    arrays[FILE] = pa.nulls(count, pa.string())
    arrays[SHEET] = pa.repeat(pa.scalar(tab.title), count)
    arrays[ROW] = pa.array(block.numbers + 1, pa.int64())
    records = pa.RecordBatch.from_pydict(arrays)
    rejections = []
    for row in sorted(refused):
        # What is right in such a record is given as others have it, so that correcting the wrong cell is enough.
        texts = {column.name: arrays[column.name][row].as_py() for _, column in places}
        rejections.append(_rejection(block, row, places, tab, texts, *refused[row]))
    if refused:
        records = records.take(pa.array([row for row in range(count) if row not in refused], pa.int64()))
    return RawBatch(records, rejections)


def _refuse_rounded(block: Block, index: int, column: ColumnRequest, refused: dict[int, tuple[int, str, str]]) -> None:
    """Numbers that may have been rounded when they were typed, where they are to be text: a number field refuses them by itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type.kind != "string":
        return
    array = block.array(index)
    if array is not None:
        if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
            return
        low, high = pc.min_max(array).as_py().values()
        if low > -EXACT and high < EXACT:
            return
    for row, cell in enumerate(block.cells[index]):
        if isinstance(cell, (int, float)) and not isinstance(cell, bool) and abs(cell) >= EXACT:
            why = "the number in this cell has more digits than a spreadsheet keeps: it was rounded when it was typed"
            refused.setdefault(row, (index, "rounded_number", why))


def _refuse_errors(
    api: SheetsApi, block: Block, rows: Rows, tab: Tab, refused: dict[int, tuple[int, str, str]]
) -> None:
    """Formulas that failed. Unformatted values do not tell them from the same text: the formulas are read where there is one."""
    suspects = [
        (row, index)
        for index in range(len(block.cells))
        for row in _showing_errors(block.array(index), block.cells[index])
    ]
    if not suspects:
        return
    first, last = (int(block.numbers[pick(row for row, _ in suspects)]) for pick in (min, max))
    width = max(map(len, rows.cells))
    (formulas,) = api.values([a1.block(tab.title, first, last + 1, rows.column, rows.column + width)], formulas=True)
    for row, index in sorted(suspects):
        if _at(formulas, int(block.numbers[row]) - first, block.columns[index] - rows.column).startswith("="):
            refused.setdefault(
                row, (index, "error_cell", f"the formula in this cell failed: {block.cells[index][row]}")
            )


def _showing_errors(array: pa.Array | None, cells: list[Any]) -> list[int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if array is None:
        return [row for row, cell in enumerate(cells) if isinstance(cell, str) and cell in ERRORS]
    if not pa.types.is_string(array.type):
        return []
    return list(pc.indices_nonzero(pc.is_in(array, value_set=pa.array(sorted(ERRORS)))).to_pylist())


def _at(cells: list[list[Any]], row: int, column: int) -> str:
    return str(cells[row][column]) if row < len(cells) and column < len(cells[row]) else ""


def _rejection(
    block: Block,
    row: int,
    places: Sequence[tuple[int, ColumnRequest]],
    tab: Tab,
    texts: dict[str, str | None],
    wrong: int,
    rule: str,
    why: str,
) -> Rejection:
    at, column = places[wrong]
    value = verbatim(block.cells[wrong][row])
    return Rejection(
        rule=rule,
        field=column.name,
        value=value,
        message=why,
        where=Where(sheet=tab.title, cell=a1.cell(int(block.numbers[row]), at)),
        record=texts | {column.name: value},
    )
