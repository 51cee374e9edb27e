"""Mirror: the keys of the records that we wrote. Only these may ever be deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_provider.connectors.base import OP
from sync_provider.engine.run import RunContext
from sync_provider.engine.scratch import Scratch, quote, streamed
from sync_provider.engine.staging import stage, unstage

if TYPE_CHECKING:
    import pyarrow as pa


def pointer(mapping_id: str) -> str:
    """Name under which the ledger keeps the current tracked keys."""
    return f"{mapping_id}:tracked"


def read(ctx: RunContext) -> Iterator[pa.RecordBatch]:
    """The tracked keys; none before the first run, or after their loss, and then nothing is deleted."""
    baseline = ctx.env.ledger.baselines.get(pointer(ctx.mapping.id))
    if baseline is not None:
        yield from unstage(ctx.env.store, baseline.path)


@dataclass(frozen=True, slots=True)
class RefusedKeys:
    """Keys of this run's refused records; ``complete`` is false if one of them has no readable key."""

    keys: frozenset[str]
    complete: bool


def refused_keys(ctx: RunContext) -> RefusedKeys:
    """A refused record is still in the source: its key must not be taken for deleted."""
    keys = [rejection.key for rejection in ctx.env.ledger.rejections.list(run_id=ctx.id)]
    return RefusedKeys(keys=frozenset(key for key in keys if key is not None), complete=None not in keys)


def save(ctx: RunContext, changes_path: str, deferred: frozenset[str]) -> str:
    """Write the tracked keys as they are after a load; returns their path in the store.

    Args:
        ctx: the run.
        changes_path: the change stream that was loaded.
        deferred: keys (canonical parts joined by ``|``) that were not written after all.
    """
    import pyarrow as pa

    from sync_provider.engine.keys import key_texts

    names = list(ctx.mapping.key)

    def written() -> Iterator[pa.RecordBatch]:
        for batch in unstage(ctx.env.store, changes_path, [OP, *names]):
            texts = key_texts(batch, ctx.mapping.key, separator="|")
            yield batch.filter(pa.array([text not in deferred for text in texts], pa.bool_()))

    columns = ", ".join(quote(name) for name in names)
    path = f"baselines/{ctx.mapping.id}/{ctx.id}.tracked.parquet"
    fields = {f.destination: f.logical_type.to_arrow() for f in ctx.mapping.fields}
    schema = pa.schema([pa.field(name, fields[name]) for name in names])
    with Scratch() as scratch:
        _load(scratch, "tracked", schema, read(ctx))
        _load(scratch, "changes", pa.schema([pa.field(OP, pa.string()), *schema]), written())
        reader = scratch.db.sql(
            f"SELECT DISTINCT {columns} FROM (SELECT {columns} FROM tracked "  # noqa: S608
            f"UNION ALL SELECT {columns} FROM changes WHERE {OP} <> 'delete') "
            f"WHERE ({columns}) NOT IN (SELECT ({columns}) FROM changes WHERE {OP} = 'delete') ORDER BY ALL"
        ).to_arrow_reader(65_536)
        stage(ctx.env.store, path, schema, (batch.cast(schema) for batch in reader))
    return path


def _load(scratch: Scratch, table: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    with streamed(scratch.db, "stream", schema, (batch.cast(schema) for batch in batches)):
        scratch.db.execute(f"CREATE TABLE {table} AS SELECT * FROM stream")  # noqa: S608
