"""Swaps all records of a tab at once: nobody ever sees it empty or half new.

What does not fit into one request is first put into a hidden tab beside it, which one request then copies over the records and deletes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import WriteRequest, WriteResult
from sync_provider.connectors.sheets.edits import BODY_BYTES, Batcher, Cell, append_rows, update_rows
from sync_provider.connectors.sheets.encoding import Encoder
from sync_provider.connectors.sheets.limits import check_room
from sync_provider.connectors.sheets.reading import zone_of

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_provider.connectors.sheets.writing import Target

PREFIX = "sync_provider temporary "
_ROWS = 500  # to a request part


def replace_all(target: Target, request: WriteRequest, changes: Iterator[pa.RecordBatch]) -> WriteResult:
    """Swap the tab's records for those given; see `Connector.write`."""
    result = WriteResult()
    encoder = Encoder(request.columns, request.key, zone_of(target.book.time_zone), target.endpoint.decimal)
    records: list[list[Cell]] = []
    for batch in changes:
        encoded, rejections = encoder.rows(batch, formats=True)
        result.rejections += rejections
        records += [record for record in encoded if record is not None]
    tab, first = target.tab, target.header.row + 1
    grown = max(0, first + len(records) - tab.rows)
    if grown:
        check_room(target.book, tab, grown)
    direct = [
        *([append_rows(tab.sheet_id, grown)] if grown else []),
        *_blocks(tab.sheet_id, first, target.positions, records),
        *_surplus(target, first + len(records)),
    ]
    stale = [{"deleteSheet": {"sheetId": each.sheet_id}} for each in target.book.tabs if each.title.startswith(PREFIX)]
    calls = list(Batcher(direct, BODY_BYTES))
    request.fence()
    if len(calls) <= 1:
        if calls or stale:
            target.api.batch_update([*(calls[0] if calls else []), *stale])
    else:
        _through_a_hidden_tab(target, request, records, grown, stale)
    result.inserted = len(records)
    return result


def _through_a_hidden_tab(
    target: Target, request: WriteRequest, records: list[list[Cell]], grown: int, stale: list[dict[str, Any]]
) -> None:
    tab, first = target.tab, target.header.row + 1
    hidden = secrets.randbelow(2**31 - 2) + 1
    width = len(request.columns)
    grid = {"rowCount": len(records), "columnCount": width}
    properties = {"sheetId": hidden, "title": f"{PREFIX}{hidden}", "hidden": True, "gridProperties": grid}
    target.api.batch_update([*stale, {"addSheet": {"properties": properties}}])
    for call in Batcher(_blocks(hidden, 0, list(range(width)), records), BODY_BYTES):
        request.fence()
        target.api.batch_update(call)
    request.fence()
    target.api.batch_update(
        [
            *([append_rows(tab.sheet_id, grown)] if grown else []),
            *(
                {
                    "copyPaste": {
                        "source": _area(hidden, 0, len(records), column, column + 1),
                        "destination": _area(tab.sheet_id, first, first + len(records), position, position + 1),
                        "pasteType": "PASTE_NORMAL",
                    }
                }
                for column, position in enumerate(target.positions)
            ),
            *_surplus(target, first + len(records)),
            {"deleteSheet": {"sheetId": hidden}},
        ]
    )


def _blocks(sheet_id: int, first: int, positions: list[int], records: list[list[Cell]]) -> Iterator[dict[str, Any]]:
    """Blocks of rows; columns that stand beside each other go together."""
    runs: list[list[int]] = []
    for column in sorted(range(len(positions)), key=positions.__getitem__):
        if runs and positions[runs[-1][-1]] + 1 == positions[column]:
            runs[-1].append(column)
        else:
            runs.append([column])
    for start in range(0, len(records), _ROWS):
        part = records[start : start + _ROWS]
        for run in runs:
            rows = [[record[column] for column in run] for record in part]
            yield update_rows(sheet_id, first + start, positions[run[0]], rows, formats=True)


def _surplus(target: Target, end: int) -> list[dict[str, Any]]:
    """Empty the mapped cells below the new records; other columns, and the rows themselves, stay."""
    tab = target.tab
    if end >= tab.rows:
        return []
    return [
        {"updateCells": {"range": _area(tab.sheet_id, end, tab.rows, at, at + 1), "fields": "userEnteredValue"}}
        for at in target.positions
    ]


def _area(sheet_id: int, first_row: int, end_row: int, first_column: int, end_column: int) -> dict[str, int]:
    return {
        "sheetId": sheet_id,
        "startRowIndex": first_row,
        "endRowIndex": end_row,
        "startColumnIndex": first_column,
        "endColumnIndex": end_column,
    }
