"""Great Expectations on the records about to be written; those that fail are written to neither side.

Rules about single records look at the records that this run writes. A rule about many (uniqueness, the batch) looks at everything as it would
be in step afterwards; it rejects records of this run only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import FILE, ROW, SHEET
from sync_provider.core.conflicts import SIDES
from sync_provider.core.expectations import RECORD
from sync_provider.engine.bidirectional import baseline
from sync_provider.engine.bidirectional.merging import BASE, DOES, DROP, HERE, KEY
from sync_provider.engine.phases.validate import REPORT, refuse_batch
from sync_provider.engine.quality import Quality, assess
from sync_provider.engine.rejection_spool import RejectionSpool
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import stage, staged_schema, unstage
from sync_provider.engine.steps import reached

if TYPE_CHECKING:
    import pyarrow as pa

STREAMS = ("source", "destination", "actions")


def validate(ctx: RunContext) -> dict[str, Any]:
    """Check every rule of the mapping; leave failing records out of what is written.

    Returns:
        Counters checked, accepted, rejected, expectations, failed, warnings.

    Raises:
        SyncValidationError: the batch as a whole is refused; nothing has been written.
    """
    with phase(ctx, "validate") as result:
        planned = ctx.artifact("plan")
        streams = {name: planned[name]["path"] for name in STREAMS}
        checked = sum(batch.num_rows for batch in _written(ctx, None))
        keys: list[str] = []
        result.counters = {
            "checked": checked,
            "accepted": checked,
            "rejected": 0,
            "expectations": 0,
            "failed": 0,
            "warnings": 0,
        }
        report = None
        if checked:
            quality, keys = _judge(ctx, planned, checked)
            report = ctx.path(REPORT)
            result.counters = {
                "checked": checked,
                "accepted": checked - len(keys),
                "rejected": len(keys),
                "expectations": quality.expectations,
                "failed": quality.failed,
                "warnings": quality.warnings,
            }
            refuse_batch(ctx, quality, refused=len(keys), read=checked)
        if keys:
            streams = {name: _restage(ctx, name, path, keys) for name, path in streams.items()}
        # The digest stays the plan's: leaving records out of it needs no new approval.
        result.artifact = {**streams, "refused": _refused(ctx, planned, keys), "report": report, "rejected": len(keys)}
        reached("validated")
    return result.counters


def _judge(ctx: RunContext, planned: dict[str, Any], checked: int) -> tuple[Quality, list[str]]:
    """All rules; and the keys of this run's records that fail."""
    mapping, store = ctx.mapping, ctx.env.store
    whole = any(rule.type not in RECORD for rule in mapping.validation.expectations)

    def others(columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        return _others(ctx, planned, columns) if whole else iter(())

    def records(columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        yield from others(columns)
        yield from _written(ctx, columns)

    before = sum(batch.num_rows for batch in others(list(mapping.key)))
    quality = assess(mapping, records, rows=before + checked)
    with store.open_write(ctx.path(REPORT)) as sink:
        sink.write(quality.html.encode())
    keys: list[str] = []
    start = before
    for batch in unstage(store, planned["actions"]["path"], [KEY, *(DOES + side for side in SIDES), DROP]):
        written = _is_written(batch)
        for key in batch.filter(written).column(KEY).to_pylist():
            if start in quality.rejected_rows:
                keys.append(key)
            start += 1
    refused = set(keys)
    with RejectionSpool(store, ctx.path("validate.rejections")) as spool:
        spool.add(rejection for rejection in quality.rejections if rejection.key in refused)
        spool.commit(ctx.env.ledger, ctx.id, "validate")
    return quality, keys


def _written(ctx: RunContext, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    """The records that this run writes, as they will be in step."""
    path = ctx.artifact("plan")["actions"]["path"]
    for batch in unstage(ctx.env.store, path):
        yield _shaped(ctx, batch.filter(_is_written(batch)), columns)


def _others(ctx: RunContext, planned: dict[str, Any], columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    """The records in step that this run does not write."""
    import numpy as np

    replaced = [
        batch.column(BASE).drop_null().to_numpy()
        for batch in unstage(ctx.env.store, planned["actions"]["path"], [BASE])
    ]
    positions = np.sort(np.concatenate(replaced)) if replaced else np.empty(0, dtype=np.int64)
    before = baseline.Baseline(**planned["baseline"])
    for batch in baseline.kept(before.records(ctx), positions):
        yield _shaped(ctx, batch, columns)


def _is_written(batch: pa.RecordBatch) -> Any:
    import pyarrow.compute as pc

    written = pc.is_valid(batch.column(DOES + SIDES[0]))
    for side in SIDES[1:]:
        written = pc.or_(written, pc.is_valid(batch.column(DOES + side)))
    return pc.and_(written, pc.invert(batch.column(DROP)))


def _shaped(ctx: RunContext, batch: pa.RecordBatch, columns: list[str] | None) -> pa.RecordBatch:
    """The columns that rules are judged on; a merged record has no single place."""
    import pyarrow as pa

    types = {FILE: pa.string(), SHEET: pa.string(), ROW: pa.int64()}
    names = columns if columns is not None else [*(f.destination for f in ctx.mapping.fields), *types]
    arrays = [pa.nulls(batch.num_rows, types[name]) if name in types else batch.column(name) for name in names]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _restage(ctx: RunContext, name: str, path: str, keys: list[str]) -> str:
    """A stream without the records of some keys; returns its path."""
    import pyarrow as pa
    import pyarrow.compute as pc

    refused = pa.array(keys, pa.string())
    kept = (
        batch.filter(pc.invert(pc.fill_null(pc.is_in(batch.column(KEY), value_set=refused), False)))
        for batch in unstage(ctx.env.store, path)
    )
    accepted = ctx.path(f"accepted.{name}.parquet")
    stage(ctx.env.store, accepted, staged_schema(ctx.env.store, path), kept)
    return accepted


def _refused(ctx: RunContext, planned: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """How many records of each side were left out, and what of the conflicts goes with them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    counts = dict.fromkeys(SIDES, 0)
    if keys:
        refused = pa.array(keys, pa.string())
        for batch in unstage(ctx.env.store, planned["actions"]["path"], [KEY, *(HERE + side for side in SIDES)]):
            mine = batch.filter(pc.fill_null(pc.is_in(batch.column(KEY), value_set=refused), False))
            for side in SIDES:
                counts[side] += pc.sum(mine.column(HERE + side)).as_py() or 0
    return {"counts": counts, "keys": sorted(keys)}
