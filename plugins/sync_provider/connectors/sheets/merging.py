"""Keyed changes against the tab as it is now: what is to be written, and after the write, whether it stands there.

Per change: what the tab holds is already as wanted → nothing to do; it is what the plan saw → applied; anything else → the record moved since,
and the change is deferred. A cell that holds a formula is never overwritten: its record is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from sync_provider.connectors.base import OLD, WriteRequest, WriteResult
from sync_provider.connectors.files.csv_changes import DELETE, INSERT, UPDATE, ChangeSet, key_texts, typed, value_texts
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.cells import FORMATS, column_texts
from sync_provider.connectors.sheets.edits import Cell, append_rows, delete_rows, joined
from sync_provider.connectors.sheets.encoding import Encoder
from sync_provider.connectors.sheets.limits import check_room
from sync_provider.connectors.sheets.reading import Rows, read_rows, zone_of
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_provider.connectors.sheets.writing import Target

_RANGES = 200  # in one request: they stand in its address


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
        self._sheet_zone, self._zone = zone_of(target.book.time_zone), ZoneInfo(request.timezone)
        self._encoder = Encoder(request.columns, request.key, self._sheet_zone, target.endpoint.decimal)
        self._tried: set[int] = set()
        self._done: set[int] = set()
        self._deferred: set[int] = set()
        self._rejected: dict[int, Rejection] = {}
        self._last_row = target.header.row
        self._resized = False

    def compare(self) -> list[dict[str, Any]]:
        """Read the tab, and give the requests that bring it to what is planned; none where it stands there."""
        found = self._locate()
        cells: dict[tuple[int, int], Cell] = {}
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
                self._edit(number, row, differing, cells)
            elif as_planned and operation == DELETE:
                deleted.append(row)
                self._tried.add(number)
            else:
                self._deferred.add(number)
        cells = self._without_formulas(cells)
        inserts = [
            n for n in range(len(self._planned)) if self._planned.operations[n] == INSERT and self._is_open(n, found)
        ]
        grown = self._insert(inserts, cells)
        self._resized = bool(grown or deleted)
        return [*grown, *joined(self._tab.sheet_id, cells), *delete_rows(self._tab.sheet_id, deleted)]

    def read_back(self) -> None:
        """Look whether what was written stands there; what does not was changed by somebody at once, and is deferred."""
        if self._resized:
            self.look_again()
        found = self._locate()
        for number in self._tried:
            place = found.get(number)
            gone = self._planned.operations[number] == DELETE
            arrived = place is None if gone else place is not None and place[1]
            (self._done if arrived else self._deferred).add(number)

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

    def _locate(self) -> dict[int, tuple[int, bool, bool, list[int]]]:
        """Change → row (0-based), whether it is as wanted, whether it is as planned, and the columns that differ from what is wanted."""
        target = self._target
        found: dict[int, tuple[int, bool, bool, list[int]]] = {}
        repeated: dict[int, list[int]] = {}
        self._last_row = target.header.row
        for rows in read_rows(target.api, self._tab, target.header.row + 1, target.positions):
            for number, place in self._match(rows):
                if number in found or number in repeated:
                    repeated.setdefault(number, [found[number][0] + 1] if number in found else []).append(place[0] + 1)
                found.setdefault(number, place)
        self._planned.leave_out(repeated)
        return found

    def _match(self, rows: Rows) -> Iterator[tuple[int, tuple[int, bool, bool, list[int]]]]:
        import pyarrow as pa

        target = self._target
        columns = [at - rows.column for at in target.positions]
        filled = [
            offset
            for offset, cells in enumerate(rows.cells)
            if any(at < len(cells) and cells[at] not in (None, "") for at in columns)
        ]
        if not filled:
            return
        self._last_row = rows.first + filled[-1]
        held = [rows.cells[offset] for offset in filled]
        texts = {
            column.name: pa.array(
                column_texts(
                    held, at, column.type, self._sheet_zone, target.endpoint.decimal, target.endpoint.date_order
                ),
                pa.string(),
            )
            for at, column in zip(columns, self._request.columns, strict=True)
        }
        values = {c.name: typed(texts[c.name], c.type, self._zone) for c in self._request.columns}
        parts = [values[name][0] for name in self._request.key]
        numbers = self._planned.find(key_texts(parts, self._planned.key_types))
        at = np.flatnonzero(numbers >= 0)
        if not len(at):
            return
        wanted = self._planned.rows(numbers[at])
        as_wanted, as_planned, differing = self._compare(values, at, wanted)
        for index, row in enumerate(at.tolist()):
            different = [column for column, differs in enumerate(differing) if differs[index]]
            yield (
                int(numbers[row]),
                (rows.first + filled[row], bool(as_wanted[index]), bool(as_planned[index]), different),
            )

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

    def _edit(self, number: int, row: int, differing: Sequence[int], cells: dict[tuple[int, int], Cell]) -> None:
        batch = self._planned.rows([number])
        new: dict[tuple[int, int], Cell] = {}
        for column in differing:
            value = batch.column(self._request.columns[column].name)[0].as_py()
            try:
                entered = self._encoder.cell(column, value)
            except ValueError as error:
                self._reject(number, self._encoder.rejection(column, value, error, None), row, column)
                return
            cell: Cell = {"userEnteredValue": entered} if entered else {}
            cell["__change"], cell["__column"] = number, column
            new[row, self._target.positions[column]] = cell
        cells.update(new)
        self._tried.add(number)

    def _insert(self, numbers: list[int], cells: dict[tuple[int, int], Cell]) -> list[dict[str, Any]]:
        """Put new records below the last one; returns the request that makes the grid long enough, if it is not."""
        row = self._last_row + 1
        for start in range(0, len(numbers), 1000):
            part = numbers[start : start + 1000]
            encoded, rejections = self._encoder.rows(self._planned.rows(part), formats=True)
            refused = iter(rejections)
            for number, record in zip(part, encoded, strict=True):
                if record is None:
                    self._reject(number, next(refused), None, None)
                    continue
                for position, cell in zip(self._target.positions, record, strict=True):
                    if cell:
                        cells[row, position] = cell
                self._tried.add(number)
                row += 1
        missing = row - self._tab.rows
        if missing <= 0:
            return []
        check_room(self._target.book, self._tab, missing)
        return [append_rows(self._tab.sheet_id, missing)]

    def _without_formulas(self, cells: dict[tuple[int, int], Cell]) -> dict[tuple[int, int], Cell]:
        """The cells but those of records one of whose cells holds a formula; dates get a format where theirs is none."""
        edited = {place: cell for place, cell in cells.items() if "__change" in cell}
        if not edited:
            return cells
        held = self._held(sorted(edited))
        refused = set()
        for place, cell in edited.items():
            number, column = cell.pop("__change"), cell.pop("__column")
            there = held.get(place, {})
            if "formulaValue" in there.get("userEnteredValue", {}):
                refused.add(number)
                self._reject(number, self._formula(place, column), place[0], column)
            kind = self._request.columns[column].type.kind
            own = there.get("userEnteredFormat", {}).get("numberFormat", {}).get("type")
            if kind in FORMATS and "userEnteredValue" in cell and own not in ("DATE", "DATE_TIME", "TIME"):
                cell["userEnteredFormat"] = {"numberFormat": FORMATS[kind]}
            elif own is not None and kind in FORMATS:
                cell["userEnteredFormat"] = {"numberFormat": there["userEnteredFormat"]["numberFormat"]}
            cell["__number"] = number
        self._tried -= refused
        return {
            place: {name: part for name, part in cell.items() if name != "__number"}
            for place, cell in cells.items()
            if cell.get("__number") not in refused or "__number" not in cell
        }

    def _held(self, places: list[tuple[int, int]]) -> dict[tuple[int, int], dict[str, Any]]:
        """What some cells hold: formula and number format."""
        fields = "sheets.data(startRow,startColumn,rowData.values(userEnteredValue.formulaValue,userEnteredFormat.numberFormat))"
        title = self._tab.title
        runs: list[tuple[int, int, int]] = []
        for row, column in places:
            if runs and runs[-1][0] == row and runs[-1][2] == column:
                runs[-1] = (row, runs[-1][1], column + 1)
            else:
                runs.append((row, column, column + 1))
        ranges = [a1.block(title, row, row + 1, first, end) for row, first, end in runs]
        if len(ranges) > _RANGES:
            # Too many to name: what lies between them is read too.
            columns = [column for _, column in places]
            ranges = [a1.block(title, places[0][0], places[-1][0] + 1, min(columns), max(columns) + 1)]
        found: dict[tuple[int, int], dict[str, Any]] = {}
        for sheet in self._target.api.cells(ranges, fields).get("sheets", []):
            for data in sheet.get("data", []):
                top, left = int(data.get("startRow", 0)), int(data.get("startColumn", 0))
                for down, row_data in enumerate(data.get("rowData", [])):
                    for right, cell in enumerate(row_data.get("values", [])):
                        found[top + down, left + right] = cell
        return found

    def _formula(self, place: tuple[int, int], column: int) -> Rejection:
        return Rejection(
            rule="formula_cell",
            field=self._request.columns[column].name,
            message=f"cell {a1.cell(*place)} holds a formula, which is not overwritten. Map the column one-way, or clear the cell",
        )

    def _reject(self, number: int, rejection: Rejection, row: int | None, column: int | None) -> None:
        from dataclasses import replace

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
    elif type_.kind == "double":  # by text, so that NaN equals NaN
        one, other = value_texts(one, type_), value_texts(other, type_)
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(both_null, pc.fill_null(pc.equal(one, other), False)).to_numpy(zero_copy_only=False)
