"""Requests of ``spreadsheets.batchUpdate``: cells, rows and how many fit into one call. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

BODY_BYTES = 1_900_000  # Google advises 2 MB a request

Cell = dict[str, Any]
"""A ``CellData`` of the API: ``userEnteredValue``, and ``userEnteredFormat`` where one is to be set."""


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


def joined(sheet_id: int, cells: dict[tuple[int, int], Cell]) -> Iterator[dict[str, Any]]:
    """The fewest requests that set just these cells, (row, column) → cell: runs within a row, and equal runs below each other.

    >>> [len(r["updateCells"]["rows"]) for r in joined(0, {(1, 2): {}, (2, 2): {}, (4, 2): {}})]
    [2, 1]
    """
    runs: dict[tuple[int, int, int], list[Cell]] = {}
    at: tuple[int, int, int] | None = None
    for (row, column), cell in sorted(cells.items()):
        if at is not None and at[0] == row and at[2] == column:
            run = runs.pop(at)
            at = (row, at[1], column + 1)
        else:
            run, at = [], (row, column, column + 1)
        runs[at] = [*run, cell]
    blocks: dict[tuple[int, int], tuple[int, list[list[Cell]]]] = {}
    for (row, first, end), run in sorted(runs.items()):
        start, rows = blocks.get((first, end), (row, []))
        if start + len(rows) != row:
            yield _block(sheet_id, start, first, rows)
            start, rows = row, []
        blocks[first, end] = (start, [*rows, run])
    for (first, _), (start, rows) in sorted(blocks.items()):
        yield _block(sheet_id, start, first, rows)


def _block(sheet_id: int, row: int, column: int, rows: list[list[Cell]]) -> dict[str, Any]:
    formats = any("userEnteredFormat" in cell for cells in rows for cell in cells)
    return update_rows(sheet_id, row, column, rows, formats=formats)


def delete_rows(sheet_id: int, rows: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Delete rows (0-based), the last first, so that no number moves before its turn."""
    runs: list[tuple[int, int]] = []
    for row in sorted(rows):
        if runs and runs[-1][1] == row:
            runs[-1] = (runs[-1][0], row + 1)
        else:
            runs.append((row, row + 1))
    for start, end in reversed(runs):
        yield {
            "deleteDimension": {
                "range": {"sheetId": sheet_id, "dimension": "ROWS", "startIndex": start, "endIndex": end}
            }
        }


def append_rows(sheet_id: int, rows: int) -> dict[str, Any]:
    """Make the grid longer."""
    return {"appendDimension": {"sheetId": sheet_id, "dimension": "ROWS", "length": rows}}


class Batcher:
    """Requests in order, as many to a call as fit into its body."""

    def __init__(self, requests: Iterable[dict[str, Any]], body_bytes: int = BODY_BYTES) -> None:
        self._requests, self._body_bytes = requests, body_bytes

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        batch: list[dict[str, Any]] = []
        size = 0
        for request in self._requests:
            added = len(json.dumps(request, ensure_ascii=False).encode())
            if batch and size + added > self._body_bytes:
                yield batch
                batch, size = [], 0
            batch.append(request)
            size += added
        if batch:
            yield batch
