"""Requests of ``spreadsheets.batchUpdate``: cells, rows and how many fit into one call. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sync_provider.connectors.sheets import a1

BODY_BYTES = 1_900_000  # Google advises 2 MB a request
BLOCK_BYTES = 200_000  # of one request in it, so that calls are filled well

T = TypeVar("T")

Cell = dict[str, Any]
"""A ``CellData`` of the API: ``userEnteredValue``, and ``userEnteredFormat`` where one is to be set."""

_INDEX = re.compile(r"(?:requests|data)\[(\d+)\]")


def compact(value: Any) -> bytes:
    """JSON as it is sent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def area(sheet_id: int, first_row: int, end_row: int, first_column: int, end_column: int) -> dict[str, int]:
    """A ``GridRange``; the ends are exclusive."""
    return {
        "sheetId": sheet_id,
        "startRowIndex": first_row,
        "endRowIndex": end_row,
        "startColumnIndex": first_column,
        "endColumnIndex": end_column,
    }


def update_rows(sheet_id: int, row: int, column: int, rows: list[list[Cell]], *, formats: bool) -> dict[str, Any]:
    """Set a block of cells, its upper left corner at row and column (0-based). ``formats``: number formats too."""
    fields = "userEnteredValue,userEnteredFormat.numberFormat" if formats else "userEnteredValue"
    return {
        "updateCells": {
            "start": {"sheetId": sheet_id, "rowIndex": row, "columnIndex": column},
            "rows": [{"values": cells} for cells in rows],
            "fields": fields,
        }
    }


def joined(sheet_id: int, cells: Mapping[tuple[int, int], Cell]) -> Iterator[dict[str, Any]]:
    """Few requests that set just these cells, (row, column) → cell: runs within a row, and equal runs below each other.

    A cell that brings no number format never shares a request with one that does: its own format stays.

    >>> [len(r["updateCells"]["rows"]) for r in joined(0, {(1, 2): {}, (2, 2): {}, (4, 2): {}})]
    [2, 1]
    """
    open_blocks: dict[tuple[int, int, bool], tuple[int, list[list[Cell]], list[int]]] = {}
    for row, column, run, formats in _runs(cells):
        shape = (column, column + len(run), formats)
        start, rows, size = open_blocks.get(shape, (row, [], [0]))
        if start + len(rows) != row or size[0] > BLOCK_BYTES:
            yield update_rows(sheet_id, start, column, rows, formats=formats)
            start, rows, size = row, [], [0]
        rows.append(run)
        size[0] += len(compact(run))
        open_blocks[shape] = (start, rows, size)
    for (column, _, formats), (start, rows, _) in sorted(open_blocks.items(), key=lambda item: (item[1][0], item[0])):
        yield update_rows(sheet_id, start, column, rows, formats=formats)


def _runs(cells: Mapping[tuple[int, int], Cell]) -> Iterator[tuple[int, int, list[Cell], bool]]:
    """Cells beside each other: row, first column, cells, whether they bring formats. By rows."""
    first, run, at = 0, list[Cell](), (-1, -1, False)
    for (row, column), cell in sorted(cells.items(), key=lambda item: item[0]):
        formats = "userEnteredFormat" in cell
        if run and at != (row, column, formats):
            yield at[0], first, run, at[2]
            run = []
        if not run:
            first = column
        run.append(cell)
        at = (row, column + 1, formats)
    if run:
        yield at[0], first, run, at[2]


def row_runs(rows: Iterable[int]) -> list[tuple[int, int]]:
    """Rows that follow each other, as (first, exclusive end), in order.

    >>> row_runs([5, 1, 2])
    [(1, 3), (5, 6)]
    """
    runs: list[tuple[int, int]] = []
    for row in sorted(set(rows)):
        if runs and runs[-1][1] == row:
            runs[-1] = (runs[-1][0], row + 1)
        else:
            runs.append((row, row + 1))
    return runs


def delete_rows(sheet_id: int, rows: Collection[int], *, grid: int, frozen: int) -> Iterator[dict[str, Any]]:
    """Delete rows, the last first, so that no number moves before its turn.

    Google keeps a row that is not frozen: if there would be none, a blank one is added.

    Args:
        sheet_id: the tab's.
        rows: 0-based.
        grid: rows that there are by then.
        frozen: how many of them are frozen.
    """
    if rows and sum(row >= frozen for row in rows) >= grid - frozen:
        yield append_rows(sheet_id, 1)
    for start, end in reversed(row_runs(rows)):
        yield {
            "deleteDimension": {
                "range": {"sheetId": sheet_id, "dimension": "ROWS", "startIndex": start, "endIndex": end}
            }
        }


def append_rows(sheet_id: int, rows: int) -> dict[str, Any]:
    """Make the grid longer."""
    return {"appendDimension": {"sheetId": sheet_id, "dimension": "ROWS", "length": rows}}


def number_format(where: dict[str, int], pattern: dict[str, str]) -> dict[str, Any]:
    """Give all cells of a grid range a number format; what else they look like stays."""
    cell = {"userEnteredFormat": {"numberFormat": pattern}}
    return {"repeatCell": {"range": where, "cell": cell, "fields": "userEnteredFormat.numberFormat"}}


def header_cells(sheet_id: int, row: int, column: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """Bold column names beside each other, from a row and column (0-based) on."""
    cells = [{"userEnteredValue": {"stringValue": name}} for name in names]
    where = area(sheet_id, row, row + 1, column, column + len(cells))
    bold = {"repeatCell": {"range": where, "cell": {"userEnteredFormat": {"textFormat": {"bold": True}}}, "fields": "userEnteredFormat.textFormat.bold"}}  # fmt: skip
    return [update_rows(sheet_id, row, column, [cells], formats=False), bold]


def protect_column(sheet_id: int, column: int, description: str) -> dict[str, Any]:
    """Have people warned before they change a column.

    Only warned: under hard protection nobody else could sort the tab or delete one of its rows.
    """
    where = {"sheetId": sheet_id, "startColumnIndex": column, "endColumnIndex": column + 1}
    return {"addProtectedRange": {"protectedRange": {"range": where, "description": description, "warningOnly": True}}}


def place_of(message: str, requests: Sequence[Any]) -> str | None:
    """The cell that a refusal is about: Google names the request by its number. None if it cannot be told."""
    match = _INDEX.search(message)
    if match is None or int(match[1]) >= len(requests):
        return None
    request = requests[int(match[1])]
    if "range" in request:
        return str(request["range"]).rpartition("!")[2]
    (body,) = request.values()
    if "start" in body:
        return a1.cell(body["start"]["rowIndex"], body["start"]["columnIndex"])
    found = body.get("range", {})
    row = found.get("startRowIndex", found.get("startIndex"))
    return None if row is None else a1.cell(row, found.get("startColumnIndex", 0))


def by_size(items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Items in order, as many together as fit into one body; a single one always does.

    >>> list(by_size(["a", "b"], lambda _: 1_000_000))
    [['a'], ['b']]
    """
    held: list[T] = []
    size = 0
    for item in items:
        added = size_of(item)
        if held and size + added > BODY_BYTES:
            yield held
            held, size = [], 0
        held.append(item)
        size += added
    if held:
        yield held


def bodies(requests: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Requests in order, as many to a body as fit into it."""
    return by_size(requests, lambda request: len(compact(request)) + 1)
