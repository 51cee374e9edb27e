"""Applies keyed changes to the records of a CSV file as they pass by, comparing before it changes anything.

Per change: what the file holds is already as wanted → nothing to do; it is what the plan saw → applied; anything else → the
record moved since, and the change is deferred. Only the fields that change are written anew where a file has columns outside the mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sync_provider.connectors.base import OLD, TargetColumn, WriteRequest, WriteResult
from sync_provider.connectors.files.csv_changes import DELETE, INSERT, UPDATE, ChangeSet, key_texts, typed, value_texts
from sync_provider.connectors.files.csv_columns import conventional
from sync_provider.connectors.files.csv_dialect import Dialect, split_record
from sync_provider.connectors.files.csv_read import TextColumns
from sync_provider.connectors.files.csv_render import Renderer
from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa


class Merger:
    """One pass over one file.

    Args:
        file: its name, for rejections.
        positions: where each of the request's columns stands in a record.
        width: fields of a record.
        result: is filled while records pass.
    """

    def __init__(
        self,
        changes: ChangeSet,
        request: WriteRequest,
        endpoint: CsvEndpoint,
        dialect: Dialect,
        renderer: Renderer,
        file: str,
        positions: Sequence[int],
        width: int,
        result: WriteResult,
    ) -> None:
        import numpy as np

        self._changes, self._request, self._result = changes, request, result
        self._endpoint, self._dialect, self._renderer = endpoint, dialect, renderer
        self._file, self._positions, self._width = file, positions, width
        self._zone = ZoneInfo(request.timezone)
        self._first_line = np.zeros(len(changes), dtype=np.int64)
        self.repeated: dict[int, list[int]] = {}
        """Changes whose key the file holds more than once → the lines."""

    def merged(self, taken: TextColumns) -> bytes:
        """The block that these records stand in, with the changes applied."""
        import numpy as np

        by_name = dict(zip((c.name for c in self._request.columns), taken.columns, strict=True))
        parts = [
            self._typed(by_name[name], type_)[0]
            for name, type_ in zip(self._request.key, self._changes.key_types, strict=True)
        ]
        numbers = self._changes.find(key_texts(parts, self._changes.key_types))
        rows = np.flatnonzero(numbers >= 0)
        if self._changes.ambiguous:
            rows = rows[~np.isin(numbers[rows], list(self._changes.ambiguous))]
        if not len(rows):
            return taken.block
        self._note_lines(numbers[rows], taken.lines.to_numpy()[rows])
        found = [
            self._typed(array.take(rows), c.type) for array, c in zip(taken.columns, self._request.columns, strict=True)
        ]
        return self._apply(taken, rows, numbers[rows], found)

    def remaining(self) -> Iterator[pa.RecordBatch]:
        """Inserts whose key the file does not hold, in stream order. Updates without their record are deferred."""
        import numpy as np
        import pyarrow as pa

        skipped = np.zeros(len(self._changes), dtype=bool)
        skipped[list(self._changes.ambiguous)] = True
        absent = (self._first_line == 0) & ~skipped
        for start, batch in self._changes.batches():
            part = slice(start, start + batch.num_rows)
            operations = self._changes.operations[part]
            vanished = np.flatnonzero(absent[part] & (operations == UPDATE)) + start
            self._result.deferred_keys.extend(self._changes.keys[int(n)].as_py() for n in vanished)
            inserts = absent[part] & (operations == INSERT)
            if inserts.any():
                yield batch.filter(pa.array(inserts))
        for number in sorted(self._changes.ambiguous):
            self._result.rejections.append(self._repeated_key(number))

    def _typed(self, texts: pa.Array, type_: LogicalType) -> tuple[pa.Array, Any]:
        return typed(conventional(texts, type_, self._endpoint), type_, self._zone)

    def _note_lines(self, numbers: Any, lines: Any) -> None:
        import numpy as np

        seen_before = self._first_line[numbers] > 0
        _, first = np.unique(numbers, return_index=True)
        again = np.ones(len(numbers), dtype=bool)
        again[first] = False
        for at in np.flatnonzero(seen_before | again):
            number = int(numbers[at])
            earlier = self._first_line[number] or lines[numbers == number][0]
            self.repeated.setdefault(number, [int(earlier)]).append(int(lines[at]))
        self._first_line[numbers] = np.where(seen_before, self._first_line[numbers], lines)

    def _apply(self, taken: TextColumns, rows: Any, numbers: Any, found: list[tuple[pa.Array, Any]]) -> bytes:
        import numpy as np

        wanted = self._changes.rows(numbers)
        operations = self._changes.operations[numbers]
        as_planned = np.ones(len(rows), dtype=bool)
        as_wanted = np.ones(len(rows), dtype=bool)
        differing = []
        for (array, unfit), column in zip(found, self._request.columns, strict=True):
            fits = ~unfit.to_numpy(zero_copy_only=False)
            as_planned &= fits & _same(array, wanted.column(OLD + column.name), column)
            same = fits & _same(array, wanted.column(column.name), column)
            as_wanted &= same
            differing.append(~same)
        done = as_wanted & (operations != DELETE)
        updates = as_planned & (operations == UPDATE) & ~done
        deletes = as_planned & (operations == DELETE)
        self._result.deferred_keys.extend(
            self._changes.keys[int(n)].as_py() for n in numbers[~(done | updates | deletes)]
        )
        self._result.deleted += int(deletes.sum())
        edits = dict.fromkeys(rows[deletes].tolist(), b"")
        chosen = np.flatnonzero(updates)
        if len(chosen):
            edits |= self._updated(
                taken, rows[chosen], numbers[chosen], wanted.take(chosen), [d[chosen] for d in differing]
            )
        return _edited(taken, edits)

    def _updated(
        self, taken: TextColumns, rows: Any, numbers: Any, wanted: pa.RecordBatch, differing: list[Any]
    ) -> dict[int, bytes]:
        """Row → its new bytes: written anew if all its columns are mapped, else only the fields that differ."""
        columns = self._request.columns
        texts = self._renderer.texts(wanted, columns)
        problems = self._renderer.problems(texts, columns)
        fields = [self._renderer.fields(text) for text in texts]
        for at, problem in sorted(problems.items()):
            key = self._changes.keys[int(numbers[at])].as_py()
            where = Where(file=self._file, line=taken.lines[int(rows[at])].as_py(), field=problem.field)
            self._result.rejections.append(replace(problem, key=key, where=where))
        self._result.updated += len(rows) - len(problems)
        if sorted(self._positions) == list(range(self._width)):
            by_position = [fields[self._positions.index(position)] for position in range(self._width)]
            whole = self._renderer.lines(by_position).to_pylist()
            return {row: whole[at].encode() for at, row in enumerate(rows.tolist()) if at not in problems}
        values = [column.to_pylist() for column in fields]
        edits = {}
        for at, row in enumerate(rows.tolist()):
            if at not in problems:
                parts = zip(self._positions, values, differing, strict=True)
                new = {position: column[at] for position, column, differs in parts if differs[at]}
                record = taken.block[taken.starts[row] : taken.nexts[row]].decode()
                edits[row] = self._with_fields(record, new).encode()
        return edits

    def _with_fields(self, text: str, new: dict[int, str]) -> str:
        """A record's text with some of its fields replaced; the rest keeps its bytes."""
        record = split_record(text, 0, self._dialect, line=1, final=True)
        assert record is not None  # final
        fields = [text[f.start : f.end] for f in record.fields]
        fields += [""] * (max(new) + 1 - len(fields))
        for position, field in new.items():
            fields[position] = field
        return self._dialect.delimiter.join(fields) + text[record.end :]

    def _repeated_key(self, number: int) -> Rejection:
        lines = self._changes.lines.get(number, [])
        holder = f"lines {', '.join(map(str, lines))} of the file" if lines else "several of the changes"
        return Rejection(
            rule="duplicate_key",
            message=f"{holder} hold this key; none of them was changed",
            where=Where(file=self._file, line=lines[0] if lines else None),
            key=self._changes.keys[number].as_py(),
        )


def _same(one: pa.Array, other: pa.Array, column: TargetColumn) -> Any:
    """Row by row: equal values, or both null (numpy boolean array)."""
    import pyarrow.compute as pc

    if column.type.kind == "double":  # by text, so that NaN equals NaN
        one, other = value_texts(one, column.type), value_texts(other, column.type)
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(both_null, pc.fill_null(pc.equal(one, other), False)).to_numpy(zero_copy_only=False)


def _edited(taken: TextColumns, edits: dict[int, bytes]) -> bytes:
    pieces, position = [], 0
    for row in sorted(edits):
        pieces += [taken.block[position : int(taken.starts[row])], edits[row]]
        position = int(taken.nexts[row])
    return b"".join([*pieces, taken.block[position:]])
