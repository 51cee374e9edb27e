"""Applies keyed changes to the rows of a sheet as they pass by, comparing before it changes anything.

Per change: what the sheet holds is already as wanted → nothing to do; it is what the plan saw → applied; anything else → the
record moved since, and the change is deferred. Only cells whose value differs are written anew, with the format they had.
A cell that holds a formula is never overwritten: its record is rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from sync_provider.connectors.base import OLD, WriteRequest, WriteResult
from sync_provider.connectors.files.csv_changes import DELETE, INSERT, UPDATE, ChangeSet, key_texts, typed, value_texts
from sync_provider.connectors.files.excel_address import address
from sync_provider.connectors.files.excel_cells import BLANK, Cells
from sync_provider.connectors.files.excel_insert import Inserter
from sync_provider.connectors.files.excel_rows import cell_xml, cells_of, changed_row
from sync_provider.connectors.files.excel_scan import Bools, Ints, Rows
from sync_provider.connectors.files.excel_styles import StyleSheet
from sync_provider.connectors.files.excel_values import CellReader
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa


class Merger:
    """One pass over one sheet.

    Args:
        changes: to apply.
        request: its columns and zone.
        positions: 0-based column of the sheet for each column of the request.
        codes: number format of each column of the request, for cells whose own does not suit.
        cells: reads the sheet's cells.
        styles: of the workbook.
        inserter: encodes records.
        where: file and sheet, for rejections.
        result: is filled while rows pass.
    """

    def __init__(
        self,
        changes: ChangeSet,
        request: WriteRequest,
        positions: list[int],
        codes: list[str | int],
        cells: CellReader,
        styles: StyleSheet,
        inserter: Inserter,
        where: Where,
        result: WriteResult,
    ) -> None:
        self._changes, self._request, self.positions, self._codes = changes, request, positions, codes
        self._cells, self._styles, self._inserter, self._where, self._result = cells, styles, inserter, where, result
        self._zone = ZoneInfo(request.timezone)
        self._seen = np.zeros(len(changes), bool)

    def edits(self, rows: Rows, numbers: Ints) -> tuple[dict[int, bytes], list[int]]:
        """What becomes of some rows: row (index) → its new XML, and the rows whose record is deleted.

        Args:
            rows: a chunk of the sheet.
            numbers: for each row, its change or -1.
        """
        at = np.flatnonzero(numbers >= 0)
        if self._changes.ambiguous:
            at = at[~np.isin(numbers[at], list(self._changes.ambiguous))]
        if not len(at):
            return {}, []
        numbers = numbers[at]
        self._seen[numbers] = True
        wanted = self._changes.rows(numbers)
        operations = self._changes.operations[numbers]
        as_planned, as_wanted, differing = self._compare(rows, at, wanted)
        done = as_wanted & (operations != DELETE)
        updates = as_planned & (operations == UPDATE) & ~done
        deletes = as_planned & (operations == DELETE)
        self._result.deferred_keys.extend(
            self._changes.keys[int(n)].as_py() for n in numbers[~(done | updates | deletes)]
        )
        new: dict[int, bytes] = {}
        chosen = np.flatnonzero(updates)
        if len(chosen):
            new = self._updated(rows, at[chosen], wanted, chosen, numbers, differing)
        return new, [int(row) for row in at[deletes]]

    def cleared(self, rows: Rows, row: int) -> bytes | None:
        """A row without the values of its mapped cells; None if one of them is a formula, which rejects the deletion."""
        cells = cells_of(rows, row)
        new: dict[int, bytes] = {}
        for at in range(cells.start, cells.stop):
            column = int(rows.cell_column[at])
            if column in self.positions:
                if rows.has_formula[at]:
                    return None
                new[column] = cell_xml(address(int(rows.number[row]), column), int(rows.cell_style[at]), BLANK, None)
        return changed_row(rows, row, cells, new)

    def reject_formula(self, rows: Rows, row: int, column: int, number: int) -> None:
        """Reject the change of a record one of whose cells holds a formula."""
        cell = address(int(rows.number[row]), column)
        self._result.rejections.append(
            Rejection(
                rule="formula_cell",
                message=f"cell {cell} holds a formula, which is not overwritten. Map the column one-way, or clear the cell",
                field=self._request.columns[self.positions.index(column)].name,
                where=Where(file=self._where.file, sheet=self._where.sheet, cell=cell),
                key=self._changes.keys[number].as_py(),
            )
        )

    def remaining(self) -> Any:
        """Inserts whose key the sheet does not hold, in stream order. Updates without their record are deferred."""
        import pyarrow as pa

        skipped = np.zeros(len(self._changes), bool)
        skipped[list(self._changes.ambiguous)] = True
        absent = ~self._seen & ~skipped
        for start, batch in self._changes.batches():
            part = slice(start, start + batch.num_rows)
            operations = self._changes.operations[part]
            vanished = np.flatnonzero(absent[part] & (operations == UPDATE)) + start
            self._result.deferred_keys.extend(self._changes.keys[int(n)].as_py() for n in vanished)
            inserts = absent[part] & (operations == INSERT)
            if inserts.any():
                yield batch.filter(pa.array(inserts))

    def reject_repeated(self) -> None:
        """Reject the changes whose key stands several times in the sheet or in the stream."""
        for number in sorted(self._changes.ambiguous):
            rows = self._changes.lines.get(number, [])
            holder = f"rows {', '.join(map(str, rows))} of the sheet" if rows else "several of the changes"
            self._result.rejections.append(
                Rejection(
                    rule="duplicate_key",
                    message=f"{holder} hold this key; none of them was changed",
                    where=Where(file=self._where.file, sheet=self._where.sheet, row=rows[0] if rows else None),
                    key=self._changes.keys[number].as_py(),
                )
            )

    def _compare(self, rows: Rows, at: Ints, wanted: pa.RecordBatch) -> tuple[Bools, Bools, list[Bools]]:
        import pyarrow as pa

        as_planned, as_wanted = np.ones(len(at), bool), np.ones(len(at), bool)
        differing: list[Bools] = []
        for position, column in zip(self.positions, self._request.columns, strict=True):
            found = self._cells.column(rows, position, column.type, verbatim=False)
            values, unfit = typed(found.texts.take(pa.array(at)), column.type, self._zone)
            fits = ~unfit.to_numpy(zero_copy_only=False) & ~np.isin(at, found.errors) & ~np.isin(at, found.unvalued)
            as_planned &= fits & _same(values, wanted.column(OLD + column.name), column.type)
            same = fits & _same(values, wanted.column(column.name), column.type)
            as_wanted &= same
            differing.append(~same)
        return as_planned, as_wanted, differing

    def _updated(
        self, rows: Rows, at: Ints, wanted: pa.RecordBatch, chosen: Ints, numbers: Ints, differing: list[Bools]
    ) -> dict[int, bytes]:
        """New XML of the rows whose record is updated."""
        import pyarrow as pa

        batch, encoded = self._inserter.encoded(wanted.take(pa.array(chosen)))
        if batch.num_rows < len(chosen):  # some were rejected: find out which, by key
            parts = [batch.column(name) for name in self._request.key]
            kept = self._changes.find(key_texts(parts, self._changes.key_types))
            stays = np.isin(numbers[chosen], kept)
            at, chosen = at[stays], chosen[stays]
        payloads = [column.payloads.to_pylist() for column in encoded]
        new: dict[int, bytes] = {}
        for index, row in enumerate(at.tolist()):
            columns = [c for c, differs in enumerate(differing) if differs[chosen[index]]]
            changed = self._changed(rows, row, columns, int(numbers[chosen[index]]), encoded, payloads, index)
            if changed is not None:
                new[row] = changed
        self._result.updated += len(new)
        return new

    def _changed(
        self,
        rows: Rows,
        row: int,
        columns: list[int],
        number: int,
        encoded: list[Cells],
        payloads: list[Any],
        index: int,
    ) -> bytes | None:
        cells = cells_of(rows, row)
        places = dict(zip(rows.cell_column[cells].tolist(), range(cells.start, cells.stop), strict=True))
        new: dict[int, bytes] = {}
        for column in columns:
            position = self.positions[column]
            place = places.get(position)
            if place is not None and rows.has_formula[place]:
                self.reject_formula(rows, row, position, number)
                return None
            kind = int(encoded[column].kinds[index])
            own = int(rows.cell_style[place]) if place is not None else self._inserter.style(column, kind)
            style = self._styles.suited(own, kind, self._codes[column])
            new[position] = cell_xml(address(int(rows.number[row]), position), style, kind, payloads[column][index])
        return changed_row(rows, row, cells, new)


def _same(one: pa.Array, other: pa.Array, logical: LogicalType) -> Bools:
    """Row by row: equal values, or both null."""
    import pyarrow.compute as pc

    if logical.kind == "double":  # by text, so that NaN equals NaN
        one, other = value_texts(one, logical), value_texts(other, logical)
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    same: Bools = pc.or_(both_null, pc.fill_null(pc.equal(one, other), False)).to_numpy(zero_copy_only=False)
    return same
