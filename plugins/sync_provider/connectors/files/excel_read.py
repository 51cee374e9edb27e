"""Reading sheets as raw batches: the columns wanted, coordinates, and rejections for cells that hold no value.

A row is a record if any of the columns wanted has a value in it; rows that are blank there are passed over. Only the first
cell of merged cells has a value, as in the file; the others are null.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from sync_provider.connectors.base import FILE, ROW, SHEET, ColumnRequest, RawBatch, ReadRequest
from sync_provider.connectors.files.excel_address import address, column_letters
from sync_provider.connectors.files.excel_sheets import Chunk, Header, OpenSheet, read_header
from sync_provider.connectors.files.excel_values import STRING, Column
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa


_CELLS_AT_ONCE = 4_000_000
_REJECTIONS_AT_ONCE = 10_000


@dataclass(slots=True)
class SheetPlan:
    """Which columns of one sheet to read.

    Args:
        columns: the sheet's 0-based column for each request; None is the sheet's own name.
    """

    sheet: OpenSheet
    file: str
    header: Header
    columns: list[tuple[ColumnRequest, int | None]]


def plan_sheet(sheet: OpenSheet, file: str, endpoint: ExcelEndpoint, request: ReadRequest) -> SheetPlan | None:
    """Find the columns wanted; None if the sheet has no cells at all.

    Where every column is wanted, those without a name are left out, and the second of two with the same name is called
    after its letters, too (``Total [F]``).

    Raises:
        SyncDataError: a column is missing, or stands there twice.
    """
    header, chunk = read_header(sheet.chunks(), endpoint.header_row)
    if chunk is None and not header.names and _is_blank(sheet):
        return None
    plan = SheetPlan(sheet, file, header, [])
    if not request.columns:
        plan.columns = _all_columns(header, endpoint)
    for column in request.columns:
        if column.name == endpoint.sheet_field:
            plan.columns.append((column, None))
            continue
        at = _position(plan, column, endpoint)
        if at is not None:
            plan.columns.append((column, at))
    return plan


def missing_column(name: str, header: Header, where: Where) -> SyncDataError:
    """The error for a column that a sheet does not have."""
    near = get_close_matches(name, header.names.values(), n=3, cutoff=0.5)
    if near:
        hint = f"Did you mean {', '.join(map(repr, near))}?"
    elif header.names:
        hint = f"Its columns are {', '.join(map(repr, list(header.names.values())[:20]))}."
    else:
        hint = "That row is empty; set header_row to the row that holds the column names."
    return SyncDataError(f"the sheet has no column {name!r}", where=where, hint=hint, code="column_missing")


def _is_blank(sheet: OpenSheet) -> bool:
    return not any(chunk.width for chunk in sheet.chunks())


def _all_columns(header: Header, endpoint: ExcelEndpoint) -> list[tuple[ColumnRequest, int | None]]:
    columns: dict[str, int | None] = {}
    for at, name in header.names.items():
        columns[name if name not in columns else f"{name} [{column_letters(at)}]"] = at
    if endpoint.sheet_field:
        columns[endpoint.sheet_field] = None
    return [(ColumnRequest(name=name, type=STRING, verbatim=True), at) for name, at in columns.items()]


def _position(plan: SheetPlan, column: ColumnRequest, endpoint: ExcelEndpoint) -> int | None:
    where = Where(file=plan.file, sheet=plan.sheet.name, cell=f"A{plan.header.row}" if plan.header.row else None)
    if endpoint.header_row == 0:
        prefix, _, number = column.name.rpartition("_")
        if prefix == "column" and number.isdecimal() and 0 < int(number) <= 16_384:
            return int(number) - 1
        raise missing_column(column.name, plan.header, where)
    at = plan.header.positions(column.name)
    if len(at) > 1:
        cells = " and ".join(address(plan.header.row, each) for each in at)
        raise SyncDataError(
            f"column {column.name!r} stands there {len(at)} times, in {cells}",
            where=Where(file=plan.file, sheet=plan.sheet.name, cell=address(plan.header.row, at[1])),
            hint="Give each column that is read a name of its own.",
            code="column_twice",
        )
    if not at and not column.optional:
        raise missing_column(column.name, plan.header, where)
    return at[0] if at else None


def read_sheet(plan: SheetPlan, batch_rows: int) -> Iterator[RawBatch]:
    """The records of one sheet.

    Args:
        plan: the sheet and its columns.
        batch_rows: most rows in a batch, > 0.
    """
    # A sheet may have thousands of columns: what is bounded is the number of cells.
    gathered = _Gathered(min(batch_rows, max(1, _CELLS_AT_ONCE // max(1, len(plan.columns)))))
    for chunk in plan.sheet.chunks():
        if chunk.number[-1] > plan.header.row:
            gathered.add(*_records(plan, chunk))
            yield from gathered.full()
    yield from gathered.rest()


def _records(plan: SheetPlan, chunk: Chunk) -> tuple[pa.RecordBatch, list[Rejection]]:
    import pyarrow as pa

    columns = [
        None if at is None else chunk.column(at, request.type, verbatim=request.verbatim)
        for request, at in plan.columns
    ]
    above = chunk.number <= plan.header.row
    present = np.zeros(len(chunk.number), bool)
    refused = np.zeros(len(chunk.number), bool)
    for column in columns:
        if column is not None:
            present |= column.texts.is_valid().to_numpy(zero_copy_only=False)
            refused[column.errors] = refused[column.unvalued] = True
    refused &= ~above
    kept = np.flatnonzero(present & ~refused & ~above)
    rejections = list(_rejections(plan, chunk, columns, np.flatnonzero(refused).tolist()))
    index = None if len(kept) == len(chunk.number) else pa.array(kept)
    blank = pa.nulls(len(kept), pa.string())
    arrays: dict[str, Any] = {
        FILE: pa.array([plan.file], pa.string()).take(pa.array(np.zeros(len(kept), np.int32))),
        SHEET: pa.array([plan.sheet.name], pa.string()).take(pa.array(np.zeros(len(kept), np.int32))),
        ROW: pa.array(chunk.number[kept], pa.int64()),
    }
    for (request, _), column in zip(plan.columns, columns, strict=True):
        if column is None:
            arrays[request.name] = arrays[SHEET]
        elif column.texts.null_count == len(column.texts):
            arrays[request.name] = blank
        else:
            arrays[request.name] = column.texts if index is None else column.texts.take(index)
    return pa.RecordBatch.from_pydict(arrays), rejections


def _rejections(plan: SheetPlan, chunk: Chunk, columns: list[Column | None], rows: list[int]) -> Iterator[Rejection]:
    """One rejection for each of these rows."""
    errors = [set() if column is None else set(column.errors.tolist()) for column in columns]
    unvalued = [set() if column is None else set(column.unvalued.tolist()) for column in columns]
    for row in rows:
        at = next(at for at in range(len(columns)) if row in errors[at] or row in unvalued[at])
        yield _rejection(plan, chunk, columns, row, at, is_error=row in errors[at])


def _rejection(
    plan: SheetPlan, chunk: Chunk, columns: list[Column | None], row: int, fault: int, *, is_error: bool
) -> Rejection:
    """The rejection of a row, for the first of its cells at fault."""
    record = {
        request.name: plan.sheet.name if column is None else column.texts[row].as_py()
        for (request, _), column in zip(plan.columns, columns, strict=True)
    }
    request, at = plan.columns[fault]
    value = record[request.name] or ""
    number = int(chunk.number[row])
    cell = address(number, at or 0)
    if is_error:
        message = f"cell {cell} holds the error {value[:20]}. Correct its formula or clear it"
    else:
        message = f"cell {cell} holds a formula without a value. Open the workbook in Excel or LibreOffice and save it"
    return Rejection(
        rule="error_cell" if is_error else "formula_without_value",
        message=message,
        field=request.name,
        value=value if is_error else None,
        where=Where(file=plan.file, sheet=plan.sheet.name, cell=cell, row=number),
        record=record,
    )


@dataclass(slots=True)
class _Gathered:
    """Joins small pieces into batches of the size asked for."""

    batch_rows: int
    pieces: list[pa.RecordBatch] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    rows: int = 0

    def add(self, piece: pa.RecordBatch, rejections: list[Rejection]) -> None:
        self.pieces.append(piece)
        self.rejections.extend(rejections)
        self.rows += piece.num_rows

    def full(self) -> Iterator[RawBatch]:
        if self.rows < self.batch_rows:
            if len(self.rejections) >= _REJECTIONS_AT_ONCE:
                yield from self.rest()
                self.pieces, self.rows, self.rejections = [], 0, []
            return
        joined = self._join()
        whole = joined.num_rows // self.batch_rows * self.batch_rows
        for start in range(0, whole, self.batch_rows):
            yield RawBatch(joined.slice(start, self.batch_rows), self.rejections)
            self.rejections = []
        rest = joined.slice(whole)
        self.pieces, self.rows = [rest], rest.num_rows

    def rest(self) -> Iterator[RawBatch]:
        if self.rows or self.rejections:
            yield RawBatch(self._join(), self.rejections)

    def _join(self) -> pa.RecordBatch:
        import pyarrow as pa

        return self.pieces[0] if len(self.pieces) == 1 else pa.concat_batches(self.pieces)
