"""Appends records once: each request carries a mark beside its rows, so that a try whose answer was lost is not repeated."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import WriteRequest, WriteResult
from sync_provider.connectors.sheets.cells import Scalar, entered
from sync_provider.connectors.sheets.date_formats import DateFormats
from sync_provider.connectors.sheets.edits import append_rows, by_size, compact, joined
from sync_provider.connectors.sheets.encoding import Encoder
from sync_provider.connectors.sheets.limits import check_room
from sync_provider.connectors.sheets.reading import free_row, read_rows, zone_of
from sync_provider.connectors.sheets.settling import settle

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_provider.connectors.sheets.writing import Target

log = logging.getLogger(__name__)

MARK = "sync_provider.append"
KEPT_MARKS = 50
_CELL_BYTES = 40  # of one cell in a request, beside its value


class Appender:
    """One append to one tab. Its parts are cut the same way each time it is tried."""

    def __init__(self, target: Target, request: WriteRequest) -> None:
        self._target, self._request = target, request
        self._first = target.header.row + 1
        self._known: dict[str, int] | None = None
        self._encoder = Encoder(request.columns, request.key, zone_of(target.book.time_zone), target.endpoint.decimal)

    def append(self, changes: Iterator[pa.RecordBatch]) -> WriteResult:
        """Put the records below the last one."""
        result = WriteResult()
        row = self._last_row() + 1
        rows_there = self._target.tab.rows
        formats = DateFormats(self._target, self._request, max(row - 1, self._first))
        for part, records in enumerate(by_size(self._records(changes, result), _bytes_of)):
            mark = f"{self._request.marker}/{part}"
            if self._request.marker and mark in self._marks():
                log.info("Part %d of this append stands there already", part)
                continue
            row = free_row(self._target.api, self._target.tab, row, len(records), self._target.positions)
            cells = {
                (row + offset, position): entered(value)
                for offset, record in enumerate(records)
                for position, value in zip(self._target.positions, record, strict=True)
                if value is not None
            }
            requests: list[dict[str, Any]] = []
            if (missing := row + len(records) - rows_there) > 0:
                check_room(self._target.book, self._target.tab, missing)
                requests.append(append_rows(self._target.tab.sheet_id, missing))
                rows_there += missing
            requests += joined(self._target.tab.sheet_id, cells)
            requests += formats.requests(row, row + len(records))
            if self._request.marker:
                requests += self._marking(mark)
            self._send(requests, mark)
            row += len(records)
            result.inserted += len(records)
        return result

    def _send(self, requests: list[dict[str, Any]], mark: str) -> None:
        def write() -> None:
            self._request.fence()
            self._target.api.batch_update(requests, tab=self._target.tab.title)

        if self._request.marker:
            settle(write, lambda: mark in self._marks(fresh=True))
        else:
            write()

    def _records(self, changes: Iterator[pa.RecordBatch], result: WriteResult) -> Iterator[list[Scalar]]:
        for batch in changes:
            encoded, rejections = self._encoder.rows(batch)
            result.rejections += rejections
            yield from (record for record in encoded if record is not None)

    def _last_row(self) -> int:
        target = self._target
        last = target.header.row
        for rows in read_rows(target.api, target.tab, target.header.row + 1, target.positions):
            filled = [at for at, cells in enumerate(rows.cells) if any(cell not in (None, "") for cell in cells)]
            last = rows.first + filled[-1] if filled else last
        return last

    def _marks(self, *, fresh: bool = False) -> dict[str, int]:
        """Marks of appends on this tab → number of the metadata."""
        if fresh or self._known is None:
            self._known = {}
            for sheet in self._target.api.metadata().get("sheets", []):
                if int(sheet.get("properties", {}).get("sheetId", 0)) == self._target.tab.sheet_id:
                    for item in sheet.get("developerMetadata", []):
                        if item.get("metadataKey") == MARK:
                            self._known[str(item.get("metadataValue"))] = int(item["metadataId"])
        return self._known

    def _marking(self, mark: str) -> list[dict[str, Any]]:
        """Leave the mark, and take away the oldest ones of ours."""
        location = {"sheetId": self._target.tab.sheet_id}
        create = {
            "createDeveloperMetadata": {
                "developerMetadata": {
                    "metadataKey": MARK,
                    "metadataValue": mark,
                    "location": location,
                    "visibility": "DOCUMENT",
                }
            }
        }
        marks = self._marks()
        ours = f"{self._request.marker}/"
        old = [marks.pop(name) for name in [name for name in marks if not name.startswith(ours)][:-KEPT_MARKS]]
        return [
            create,
            *({"deleteDeveloperMetadata": {"dataFilter": {"developerMetadataLookup": {"metadataId": n}}}} for n in old),
        ]


def _bytes_of(record: list[Scalar]) -> int:
    return len(compact(record)) + _CELL_BYTES * len(record)
