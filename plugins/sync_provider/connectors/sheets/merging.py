"""Keyed changes against the tab as it is now: what is to be written, and after the write, whether it stands there.

Per change: what the tab holds is already as wanted → nothing to do; it is what the plan saw → applied; anything else → the record moved since,
and the change is deferred. A cell that holds a formula is never overwritten: its record is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from sync_provider.connectors.base import OLD, WriteRequest, WriteResult
from sync_provider.connectors.files.csv_changes import DELETE, INSERT, UPDATE, ChangeSet, key_texts, typed, value_texts
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.blocks import Block, Rows
from sync_provider.connectors.sheets.cells import FORMATS, Scalar, entered
from sync_provider.connectors.sheets.date_formats import FORMAT_FIELD, DateFormats, pattern_of
from sync_provider.connectors.sheets.edits import Cell, append_rows, area, delete_rows, joined, row_runs
from sync_provider.connectors.sheets.encoding import Encoder
from sync_provider.connectors.sheets.limits import check_room
from sync_provider.connectors.sheets.reading import conventions_of, free_row, read_rows
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_provider.connectors.sheets.writing import Target

_RANGES = 3_000  # in one request
_CHUNK = 1_000  # records handled together

_Place = tuple[int, bool, bool, list[int]]
"""Row (0-based), whether it is as wanted, whether it is as planned, and the columns that differ from what is wanted."""
_NOWHERE: _Place = (-1, False, False, [])


class Merge:
    """One change set on its way into one tab; `compare` and `read_back` may alternate until it stands there.

    Args:
        target: the tab.
        request: what to write.
        planned: the changes.
    """

    def __init__(self, target: Target, request: WriteRequest, planned: ChangeSet) -> None:
        self._target, self._request, self._planned = target, request, planned
        self._tab = target.tab
        self._conventions, self._zone = conventions_of(target.book, target.endpoint), ZoneInfo(request.timezone)
        self._encoder = Encoder(request.columns, request.key, self._conventions.zone, target.endpoint.decimal)
        self._tried: set[int] = set()
        self._done: set[int] = set()
        self._deferred: set[int] = set()
        self._rejected: dict[int, Rejection] = {}
        self._last_row = target.header.row
        self._written: set[int] = set()
        self._resized = False

    def compare(self) -> list[dict[str, Any]]:
        """Read the tab, and give the requests that bring it to what is planned; none where it stands there."""
        found = self._locate()
        edits: dict[int, tuple[int, list[int]]] = {}
        deleted: list[int] = []
        self._deferred.clear()
        for number in range(len(self._planned)):
            if number in self._planned.ambiguous or number in self._rejected:
                continue
            operation = self._planned.operations[number]
            place = found.get(number)
            if place is None:
                self._absent(number, operation)
                continue
            row, as_wanted, as_planned, differing = place
            if as_wanted and operation != DELETE:
                self._done.add(number)
            elif as_planned and operation == UPDATE:
                edits[number] = (row, differing)
            elif as_planned and operation == DELETE:
                deleted.append(row)
                self._tried.add(number)
            else:
                self._deferred.add(number)
        cells = self._edited(edits)
        inserts = [
            n for n in range(len(self._planned)) if self._planned.operations[n] == INSERT and self._is_open(n, found)
        ]
        missing, formats = self._insert(inserts, cells)
        self._resized = bool(missing or deleted)
        self._written = {row for row, _ in cells}
        rows = self._tab.rows + missing
        gone = delete_rows(self._tab.sheet_id, deleted, grid=rows, frozen=self._tab.frozen_rows)
        grown = [append_rows(self._tab.sheet_id, missing)] if missing else []
        return [*grown, *joined(self._tab.sheet_id, cells), *formats, *gone]

    def read_back(self) -> None:
        """Look whether what was written stands there; what does not was changed by somebody at once, and is deferred."""
        found = {} if self._resized else self._found_where_written()
        if any(self._planned.operations[n] == DELETE or not found.get(n, _NOWHERE)[1] for n in self._tried):
            if self._resized:
                self.look_again()
            found = self._locate()
        for number in self._tried:
            place = found.get(number)
            gone = self._planned.operations[number] == DELETE
            arrived = place is None if gone else place is not None and place[1]
            (self._done if arrived else self._deferred).add(number)

    def _found_where_written(self) -> dict[int, _Place]:
        """Like `_locate`, in the rows just written alone."""
        runs = row_runs(self._written)
        if len(runs) > _RANGES:
            return {}
        start, end = min(self._target.positions), max(self._target.positions) + 1
        wanted = [area(self._tab.sheet_id, first, last, start, end) for first, last in runs]
        answered = self._target.api.rows(wanted) if wanted else []
        return {n: place for first, cells in answered for n, place in self._match(Rows(first, start, cells))}

    def look_again(self) -> None:
        """Learn how large the grid is now."""
        tabs = self._target.api.book().tabs
        self._tab = next((tab for tab in tabs if tab.sheet_id == self._tab.sheet_id), self._tab)

    def result(self) -> WriteResult:
        """What was done, counted once each."""
        written = self._tried & self._done
        counts = {kind: sum(self._planned.operations[n] == kind for n in written) for kind in (INSERT, UPDATE, DELETE)}
        result = WriteResult(inserted=counts[INSERT], updated=counts[UPDATE], deleted=counts[DELETE])
        result.deferred_keys = [self._planned.keys[n].as_py() for n in sorted(self._deferred - self._done)]
        result.rejections = [self._rejected[n] for n in sorted(self._rejected)]
        result.rejections += [self._repeated(n) for n in sorted(self._planned.ambiguous)]
        return result

    def _locate(self) -> dict[int, _Place]:
        """Where the tab holds each change's record now."""
        target = self._target
        found: dict[int, _Place] = {}
        repeated: dict[int, list[int]] = {}
        self._last_row = target.header.row
        for rows in read_rows(target.api, self._tab, target.header.row + 1, target.positions):
            for number, place in self._match(rows):
                if number in found or number in repeated:
                    repeated.setdefault(number, [found[number][0] + 1] if number in found else []).append(place[0] + 1)
                found.setdefault(number, place)
        self._planned.leave_out(repeated)
        return found

    def _match(self, rows: Rows) -> Iterator[tuple[int, _Place]]:
        block = Block(rows, self._target.positions)
        if not len(block):
            return
        self._last_row = max(self._last_row, int(block.numbers[-1]))
        values = {
            column.name: typed(block.texts(at, column.type, self._conventions), column.type, self._zone)
            for at, column in enumerate(self._request.columns)
        }
        parts = [values[name][0] for name in self._request.key]
        numbers = self._planned.find(key_texts(parts, self._planned.key_types))
        at = np.flatnonzero(numbers >= 0)
        if not len(at):
            return
        wanted = self._planned.rows(numbers[at])
        as_wanted, as_planned, differing = self._compare(values, at, wanted)
        for index, row in enumerate(at.tolist()):
            different = [column for column, differs in enumerate(differing) if differs[index]]
            place = (int(block.numbers[row]), bool(as_wanted[index]), bool(as_planned[index]), different)
            yield int(numbers[row]), place

    def _compare(self, values: dict[str, Any], at: Any, wanted: pa.RecordBatch) -> tuple[Any, Any, list[Any]]:
        import pyarrow as pa

        as_wanted, as_planned = np.ones(len(at), bool), np.ones(len(at), bool)
        differing = []
        for column in self._request.columns:
            array, unfit = values[column.name]
            found = array.take(pa.array(at))
            fits = ~unfit.to_numpy(zero_copy_only=False)[at]
            same = fits & _same(found, wanted.column(column.name), column.type)
            as_wanted &= same
            as_planned &= fits & _same(found, wanted.column(OLD + column.name), column.type)
            differing.append(~same)
        return as_wanted, as_planned, differing

    def _absent(self, number: int, operation: str) -> None:
        if operation == UPDATE:
            self._deferred.add(number)
        elif operation == DELETE:
            self._done.add(number)  # it is gone already; counted only if it was we who deleted it

    def _is_open(self, number: int, found: dict[int, Any]) -> bool:
        return number not in found and number not in self._planned.ambiguous and number not in self._rejected

    def _edited(self, edits: dict[int, tuple[int, list[int]]]) -> dict[tuple[int, int], Cell]:
        """The cells that bring records to what is planned; a record with a formula or an unfit value in one of them is rejected."""
        numbers = list(edits)
        values: dict[tuple[int, int], Scalar] = {}
        owners: dict[tuple[int, int], tuple[int, int]] = {}
        for start in range(0, len(numbers), _CHUNK):
            part = numbers[start : start + _CHUNK]
            batch = self._planned.rows(part)
            columns = {column for number in part for column in edits[number][1]}
            wanted = {column: batch.column(self._request.columns[column].name).to_pylist() for column in columns}
            for offset, number in enumerate(part):
                row, differing = edits[number]
                for column in differing:
                    value = wanted[column][offset]
                    try:
                        place = (row, self._target.positions[column])
                        values[place] = self._encoder.value(column, value)
                        owners[place] = (number, column)
                    except ValueError as error:
                        self._reject(number, self._encoder.rejection(column, value, error, None), row, column)
                self._tried.add(number)
        held = self._held(sorted(values))
        for place, (number, column) in owners.items():
            if "formulaValue" in held.get(place, {}).get("userEnteredValue", {}):
                self._reject(number, self._formula(place, column), place[0], column)
        self._tried -= self._rejected.keys()
        cells = {}
        for place, (number, column) in owners.items():
            if number in self._rejected:
                continue
            cells[place] = cell = entered(values[place])
            kind = self._request.columns[column].type.kind
            if kind in FORMATS and cell:
                own = held.get(place, {})
                if (pattern := pattern_of(own, kind)) != own.get("userEnteredFormat", {}).get("numberFormat"):
                    cell["userEnteredFormat"] = {"numberFormat": pattern}
        return cells

    def _insert(self, numbers: list[int], cells: dict[tuple[int, int], Cell]) -> tuple[int, list[dict[str, Any]]]:
        """Put new records below the last one: how many rows the grid lacks for them, and their formats."""
        if not numbers:
            return 0, []
        first = row = free_row(self._target.api, self._tab, self._last_row + 1, len(numbers), self._target.positions)
        for start in range(0, len(numbers), _CHUNK):
            part = numbers[start : start + _CHUNK]
            encoded, rejections = self._encoder.rows(self._planned.rows(part))
            refused = iter(rejections)
            for number, record in zip(part, encoded, strict=True):
                if record is None:
                    self._reject(number, next(refused), None, None)
                    continue
                for position, value in zip(self._target.positions, record, strict=True):
                    if value is not None:
                        cells[row, position] = entered(value)
                self._tried.add(number)
                row += 1
        if row == first:
            return 0, []
        formats = DateFormats(self._target, self._request, max(first - 1, self._target.header.row + 1))
        missing = max(0, row - self._tab.rows)
        if missing:
            check_room(self._target.book, self._tab, missing)
        return missing, formats.requests(first, row)

    def _held(self, places: list[tuple[int, int]]) -> dict[tuple[int, int], dict[str, Any]]:
        """Formula and number format of some cells."""
        dates = {
            position
            for position, column in zip(self._target.positions, self._request.columns, strict=True)
            if column.type.kind in FORMATS
        }
        runs: list[list[int]] = []
        for row, column in places:
            if runs and runs[-1][0] == row and runs[-1][2] == column:
                runs[-1][2] += 1
            else:
                runs.append([row, column, column + 1])
        ranges = [area(self._tab.sheet_id, row, row + 1, first, end) for row, first, end in runs]
        field = "userEnteredValue.formulaValue"
        fields = f"{field},{FORMAT_FIELD}" if any(column in dates for _, column in places) else field
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for start in range(0, len(ranges), _RANGES):
            found |= self._target.api.cells(ranges[start : start + _RANGES], fields)
        return found

    def _formula(self, place: tuple[int, int], column: int) -> Rejection:
        return Rejection(
            rule="formula_cell",
            field=self._request.columns[column].name,
            message=f"cell {a1.cell(*place)} holds a formula, which is not overwritten. Map the column one-way, or clear the cell",
        )

    def _reject(self, number: int, rejection: Rejection, row: int | None, column: int | None) -> None:
        at = None if row is None or column is None else a1.cell(row, self._target.positions[column])
        where = Where(sheet=self._tab.title, cell=at)
        self._rejected[number] = replace(rejection, key=self._planned.keys[number].as_py(), where=where)
        self._tried.discard(number)

    def _repeated(self, number: int) -> Rejection:
        rows = self._planned.lines.get(number, [])
        holder = f"rows {', '.join(map(str, rows))} of the tab" if rows else "several of the changes"
        return Rejection(
            rule="duplicate_key",
            message=f"{holder} hold this key; none of them was changed",
            where=Where(sheet=self._tab.title, row=rows[0] if rows else None),
            key=self._planned.keys[number].as_py(),
        )


def _same(one: pa.Array, other: pa.Array, type_: Any) -> Any:
    """Row by row: equal values, or both null; an empty text is no value in a cell."""
    import pyarrow.compute as pc

    if type_.kind in ("string", "json"):
        other = pc.if_else(pc.equal(other, ""), None, other)
    elif type_.kind == "double":  # by text, so that NaN equals NaN; a cell knows no negative zero
        one, other = (value_texts(pc.add(each, 0.0), type_) for each in (one, other))
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(both_null, pc.fill_null(pc.equal(one, other), False)).to_numpy(zero_copy_only=False)
