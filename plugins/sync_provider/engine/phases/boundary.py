"""Append with a cursor: which records at the cursor's edge have been appended already.

A cursor is read again inclusively (and further back with a look-back), for a record with an equal timestamp may have come
since. An upsert recognises the repeats by key; an append must remember them. Only the records at the edge are kept: a
digest each, with how often it was seen, for equal records are allowed in an append.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sync_provider.core.canonical import write_text
from sync_provider.core.durations import parse_duration
from sync_provider.engine.phases.bounds import parse_canonical
from sync_provider.engine.run import RunContext
from sync_provider.engine.staging import Staged, unstage

if TYPE_CHECKING:
    import pyarrow as pa


def pointer(mapping_id: str) -> str:
    """Name under which the ledger keeps the current boundary."""
    return f"{mapping_id}:boundary"


@dataclass(slots=True)
class Boundary:
    """Digests at the edge, as (cursor value, digest) → times appended."""

    field: Any
    names: list[str]
    known: Counter[tuple[str, str]] = field(default_factory=Counter)
    _left: Counter[tuple[str, str]] = field(default_factory=Counter)
    _latest: Any = None

    @classmethod
    def load(cls, ctx: RunContext) -> Boundary:
        """The boundary committed by the last run; empty before the first."""
        incremental = ctx.mapping.incremental
        assert incremental is not None
        cursor = next(f for f in ctx.mapping.fields if f.destination == incremental.cursor)
        boundary = cls(field=cursor, names=[f.destination for f in ctx.mapping.fields])
        baseline = ctx.env.ledger.baselines.get(pointer(ctx.mapping.id))
        if baseline is not None and not ctx.params.full_refresh:
            with ctx.env.store.open_read(baseline.path) as source:
                boundary.known = Counter({(at, digest): n for at, digest, n in json.load(source)})
            boundary._left = boundary.known.copy()
        if boundary.known:
            boundary._latest = max(parse_canonical(at, cursor.logical_type) for at, _ in boundary.known)
        return boundary

    def drop_known(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch without records that an earlier run has appended."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._left or batch.num_rows == 0:
            return batch
        column = batch.column(self.field.destination)
        old = pc.fill_null(pc.less_equal(column, pa.scalar(self._latest, column.type)), fill_value=False)
        fresh = [True] * batch.num_rows
        for index in pc.indices_nonzero(old).to_pylist():
            entry = self._entry({name: batch.column(name)[index].as_py() for name in self.names})
            if self._left[entry] > 0:
                self._left[entry] -= 1
                fresh[index] = False
        return batch.filter(pa.array(fresh, pa.bool_()))

    def save(self, ctx: RunContext, staged: Staged, cursor: str | None) -> str | None:
        """Write the edge as it will be once this run is committed; returns its path in the store."""
        if cursor is None:
            return None
        import pyarrow as pa
        import pyarrow.compute as pc

        logical = self.field.logical_type
        lower = max(v for v in (parse_canonical(cursor, logical), self._latest) if v is not None)
        incremental = ctx.mapping.incremental
        lookback = parse_duration(incremental.lookback) if incremental else timedelta(0)
        if lookback and logical.kind in ("date", "timestamp"):
            lower -= lookback
        edge = Counter({e: n for e, n in self.known.items() if parse_canonical(e[0], logical) >= lower})
        for batch in unstage(ctx.env.store, staged.path, self.names):
            column = batch.column(self.field.destination)
            for row in batch.filter(pc.greater_equal(column, pa.scalar(lower, column.type))).to_pylist():
                edge[self._entry(row)] += 1
        path = f"boundaries/{ctx.mapping.id}/{ctx.id}.json"
        with ctx.env.store.open_write(path) as sink:
            sink.write(json.dumps([[at, digest, n] for (at, digest), n in sorted(edge.items())]).encode())
        return path

    def _entry(self, row: dict[str, Any]) -> tuple[str, str]:
        values = [None if row[name] is None else write_text(row[name]) for name in self.names]
        digest = hashlib.sha256(json.dumps(values).encode()).hexdigest()
        return write_text(row[self.field.destination]), digest
