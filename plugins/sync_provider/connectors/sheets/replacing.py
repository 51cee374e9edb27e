"""Swaps all records of a tab at once: nobody ever sees it empty or half new.

What does not fit into one request is first put into a hidden tab beside it, which one request then copies over the records and deletes.
Values only are copied: how cells look, notes and rules of the tab stay as they are.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import WriteRequest, WriteResult
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.api import Tab
from sync_provider.connectors.sheets.bulk import RawRows
from sync_provider.connectors.sheets.date_formats import DateFormats
from sync_provider.connectors.sheets.edits import BODY_BYTES, Cell, append_rows, area, bodies, joined, update_rows
from sync_provider.connectors.sheets.encoding import Encoder
from sync_provider.connectors.sheets.layout import TEMPORARY
from sync_provider.connectors.sheets.limits import check_room
from sync_provider.connectors.sheets.reading import zone_of
from sync_provider.connectors.sheets.settling import settle

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_provider.connectors.sheets.writing import Target

_ROWS = 500  # to a request part
_SMALL_CELLS = 100_000  # more of them never fit into one request


def replace_all(target: Target, request: WriteRequest, changes: Iterator[pa.RecordBatch]) -> WriteResult:
    """Swap the tab's records for those given; see `Connector.write`."""
    return _Replacement(target, request).run(changes)


class _Replacement:
    def __init__(self, target: Target, request: WriteRequest) -> None:
        self._target, self._request = target, request
        self._first = target.header.row + 1
        self._encoder = Encoder(request.columns, request.key, zone_of(target.book.time_zone), target.endpoint.decimal)
        self._stale = [
            {"deleteSheet": {"sheetId": each.sheet_id}}
            for each in target.book.tabs
            if each.title.startswith(TEMPORARY) and each.sheet_id != target.tab.sheet_id
        ]

    def run(self, changes: Iterator[pa.RecordBatch]) -> WriteResult:
        result = WriteResult()
        rows = RawRows(len(self._request.columns))
        for batch in changes:
            encoded, rejections = self._encoder.rows(batch)
            result.rejections += rejections
            rows.add([record for record in encoded if record is not None])
        count = len(rows)
        self._grown = max(0, self._first + count - self._target.tab.rows)
        formats = DateFormats(self._target, self._request, self._first).requests(self._first, self._first + count)
        calls = [] if count * rows.width > _SMALL_CELLS else list(bodies(self._at_once(rows, formats))) or [[]]
        check_room(self._target.book, self._target.tab, self._grown, spare=0 if calls else count * rows.width)
        if len(calls) == 1:
            self._swap(calls[0], None)
        else:
            self._through_a_hidden_tab(rows, formats)
        result.inserted = count
        return result

    def _at_once(self, rows: RawRows, formats: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        sheet_id, positions = self._target.tab.sheet_id, self._target.positions
        yield from self._stale
        if self._grown:
            yield append_rows(sheet_id, self._grown)
        for start, part in rows.cells(_ROWS):
            for run in _neighbours(positions):
                cells = [[record[column] for column in run] for record in part]
                yield update_rows(sheet_id, self._first + start, positions[run[0]], cells, formats=False)
        yield from formats
        yield from self._surplus(self._first + len(rows))

    def _through_a_hidden_tab(self, rows: RawRows, formats: list[dict[str, Any]]) -> None:
        target, count = self._target, len(rows)
        number = secrets.randbelow(2**31 - 2) + 1
        hidden = Tab(sheet_id=number, title=f"{TEMPORARY}{number}", index=0, rows=count, columns=rows.width)
        grid = {"rowCount": count, "columnCount": rows.width}
        properties = {"sheetId": number, "title": hidden.title, "hidden": True, "gridProperties": grid}
        self._request.fence()
        settle(
            lambda: target.api.batch_update([*self._stale, {"addSheet": {"properties": properties}}]),
            lambda: self._exists(number),
        )
        awkward: dict[tuple[int, int], Cell] = {}
        for start, values, left_out in rows.blocks(BODY_BYTES):
            self._request.fence()
            end = start + len(values)
            target.api.write_values([(a1.block(hidden.title, start, end, 0, rows.width), values)])
            awkward |= left_out
        copies = [
            {
                "copyPaste": {
                    "source": area(number, 0, count, run[0], run[-1] + 1),
                    "destination": area(
                        target.tab.sheet_id,
                        self._first,
                        self._first + count,
                        target.positions[run[0]],
                        target.positions[run[-1]] + 1,
                    ),
                    "pasteType": "PASTE_VALUES",
                }
            }
            for run in _neighbours(target.positions)
        ]
        swap = [
            *([append_rows(target.tab.sheet_id, self._grown)] if self._grown else []),
            *copies,
            *formats,
            *self._surplus(self._first + count),
            {"deleteSheet": {"sheetId": number}},
        ]
        *before, last = list(bodies(joined(number, awkward))) or [[]]
        for call in before:
            self._request.fence()
            settle(lambda call=call: target.api.batch_update(call), lambda: False)  # type: ignore[misc]
        self._swap([*last, *swap], number)

    def _swap(self, requests: list[dict[str, Any]], hidden: int | None) -> None:
        """Send the request that makes the tab new. It may be sent twice, but must let the tab grow only once."""
        api, tab = self._target.api, self._target.tab
        grow = append_rows(tab.sheet_id, self._grown)

        def stands() -> bool:
            now = next((each for each in api.book().tabs if each.sheet_id == tab.sheet_id), tab)
            if hidden is not None:
                return not self._exists(hidden)
            if now.rows > tab.rows and grow in requests:
                requests.remove(grow)
            for gone in [each for each in requests if each in self._stale]:
                requests.remove(gone)
            self._stale = []
            return not requests

        def send() -> None:
            self._request.fence()
            if requests:
                api.batch_update(requests, tab=tab.title)

        settle(send, stands)

    def _exists(self, sheet_id: int) -> bool:
        return any(tab.sheet_id == sheet_id for tab in self._target.api.book().tabs)

    def _surplus(self, end: int) -> list[dict[str, Any]]:
        """Empty the mapped cells below the new records; other columns, and the rows themselves, stay."""
        tab = self._target.tab
        if end >= tab.rows:
            return []
        return [
            {"updateCells": {"range": area(tab.sheet_id, end, tab.rows, at, at + 1), "fields": "userEnteredValue"}}
            for at in self._target.positions
        ]


def _neighbours(positions: list[int]) -> list[list[int]]:
    """The request's columns, those that stand beside each other in its order together."""
    runs: list[list[int]] = []
    for column in range(len(positions)):
        if runs and positions[runs[-1][-1]] + 1 == positions[column]:
            runs[-1].append(column)
        else:
            runs.append([column])
    return runs
