"""Records appended to a sheet: batches in, XML of rows out, rejections for what no cell can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from sync_provider.connectors.base import WriteRequest, WriteResult
from sync_provider.connectors.files.csv_changes import INSERT, UPDATE, ChangeSet, key_texts
from sync_provider.connectors.files.excel_cells import BLANK, Cells, encode
from sync_provider.connectors.files.excel_guard import MAX_ROWS, malformed
from sync_provider.connectors.files.excel_new import column_widths, header_cells, sheet_head, sheet_tail, text_columns
from sync_provider.connectors.files.excel_rows import new_rows
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 16_384


class Inserter:
    """Appends records below the last row of a sheet.

    Args:
        request: its columns, key and zone.
        where: file and sheet, for rejections.
        positions: 0-based column of the sheet for each column of the request.
        result: is filled.
        date1904: the workbook's calendar.
    """

    def __init__(
        self, request: WriteRequest, where: Where, positions: Sequence[int], result: WriteResult, *, date1904: bool
    ) -> None:
        self._request, self._where, self._result = request, where, result
        self._date1904 = date1904
        self._zone = ZoneInfo(request.timezone)
        self._order = sorted(range(len(positions)), key=lambda at: positions[at])
        self._positions = positions
        self.style: Callable[[int, int], int] = lambda _column, _kind: 0
        """Cell format for a column of the request (index) and a kind of cell; asked for only when one is written."""
        self.next_row = 1

    def encoded(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[Cells]]:
        """The cells of the records that can be written, column by column; the others are rejected."""
        import pyarrow as pa

        cells = self._encode(batch)
        refused: dict[int, tuple[int, str, str]] = {}
        for at, column in enumerate(cells):
            for row, rule, message in column.problems:
                refused.setdefault(row, (at, rule, message))
        if refused:
            self._reject(batch, refused)
            kept = np.setdiff1d(np.arange(batch.num_rows), list(refused))
            batch = batch.take(pa.array(kept))
            cells = self._encode(batch)
        return batch, cells

    def rows(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """The XML of a batch's records, as the next rows.

        Raises:
            SyncDataError: the sheet is full.
        """
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            piece, cells = self.encoded(batch.slice(start, _ROWS_AT_ONCE))
            if self.next_row + piece.num_rows - 1 > MAX_ROWS:
                raise malformed(
                    f"the sheet is full: it would have more than {MAX_ROWS} rows",
                    hint="Write to several sheets or to another format.",
                    code="sheet_full",
                    where=self._where,
                )
            if piece.num_rows:
                columns = [(self._positions[at], cells[at], self._styles(at, cells[at])) for at in self._order]
                yield new_rows(self.next_row, columns, piece.num_rows)
                self.next_row += piece.num_rows
                self._result.inserted += piece.num_rows

    def _styles(self, column: int, cells: Cells) -> dict[int, int]:
        return {kind: self.style(column, kind) for kind in np.unique(cells.kinds).tolist() if kind != BLANK}

    def _encode(self, batch: pa.RecordBatch) -> list[Cells]:
        return [
            encode(batch.column(column.name), column.type, self._zone, date1904=self._date1904)
            for column in self._request.columns
        ]

    def _reject(self, batch: pa.RecordBatch, refused: dict[int, tuple[int, str, str]]) -> None:
        types = {column.name: column.type for column in self._request.columns}
        names = self._request.key
        keys = key_texts([batch.column(name) for name in names], [types[name] for name in names]) if names else None
        for row, (at, rule, message) in sorted(refused.items()):
            column = self._request.columns[at].name
            value = None if rule == "too_long" else str(batch.column(column)[row].as_py())
            key = keys[row].as_py() if keys is not None else None
            self._result.rejections.append(
                Rejection(rule=rule, message=message, field=column, value=value, where=self._where, key=key)
            )


def write_new_sheet(
    put: Callable[[bytes], None],
    endpoint: ExcelEndpoint,
    request: WriteRequest,
    inserts: Iterator[pa.RecordBatch],
    inserter: Inserter,
    formats: list[int],
    header_style: int,
) -> None:
    """Write a sheet that was not there.

    Args:
        put: takes the sheet's XML.
        endpoint: its style and header row.
        request: its columns.
        inserts: the records.
        inserter: turns them into rows.
        formats: cell format of each column.
        header_style: cell format of the header.
    """
    names = [column.name for column in request.columns]
    table = endpoint.style == "table"
    first = next(inserts, None)
    widths: list[float] = []
    if table:
        zone = ZoneInfo(request.timezone)
        sample = first.slice(0, 1000) if first is not None else _empty(request)
        widths = column_widths(names, [encode(sample.column(c.name), c.type, zone) for c in request.columns])
    put(sheet_head(widths, formats, header_row=endpoint.header_row, frozen=table))
    if endpoint.header_row:
        put(header_cells(names, endpoint.header_row, header_style))
    inserter.next_row = endpoint.header_row + 1
    inserter.style = lambda column, _kind: formats[column]
    for batch in _chained(first, inserts):
        for rows in inserter.rows(batch):
            put(rows)
    ignored = text_columns(request.columns) if table else []
    put(sheet_tail(ignored, endpoint.header_row + 1, inserter.next_row - 1))


def only_inserts(changes: ChangeSet, result: WriteResult) -> Iterator[pa.RecordBatch]:
    """The inserts of a change stream whose target is empty; updates are deferred, deletes are done already."""
    import pyarrow as pa

    for start, batch in changes.batches():
        operations = changes.operations[start : start + batch.num_rows]
        result.deferred_keys.extend(
            changes.keys[start + at].as_py() for at, operation in enumerate(operations) if operation == UPDATE
        )
        yield batch.filter(pa.array(operations == INSERT))


def _empty(request: WriteRequest) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_pydict({c.name: pa.array([], c.type.to_arrow()) for c in request.columns})


def _chained(first: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if first is not None:
        yield first
        yield from rest
