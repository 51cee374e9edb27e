"""First phase of a two-way run, once per side: read everything, convert, stage. Nothing is compared yet."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import Connector, ReadRequest
from sync_provider.core.conflicts import Side
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.engine.bidirectional import sides
from sync_provider.engine.fingerprints import stamped
from sync_provider.engine.phases.tracking import RefusedKeys
from sync_provider.engine.rejection_spool import RejectionSpool
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import stage
from sync_provider.engine.steps import reached
from sync_provider.engine.transform import Conversion

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def snapshot_source(ctx: RunContext) -> dict[str, Any]:
    """Stage the source as it is now. See `snapshot`."""
    return snapshot(ctx, "source")


def snapshot_destination(ctx: RunContext) -> dict[str, Any]:
    """Stage the destination as it is now. See `snapshot`."""
    return snapshot(ctx, "destination")


def snapshot(ctx: RunContext, side: Side) -> dict[str, Any]:
    """Read one side whole and stage it in destination space.

    Returns:
        Counters read, rejected (records that do not fit the mapping; they are left alone on both sides).

    Raises:
        SyncDataError: a mapped column is missing, or the read was cut short: a part is no snapshot.
    """
    name = f"snapshot_{side}"
    with phase(ctx, name) as result:
        _refuse_parts(ctx)
        with (
            ctx.connect(side) as connector,
            sides.conversion(ctx.mapping, side, connector) as conversion,
            sides.fingerprints(ctx.mapping) as fingerprints,
            RejectionSpool(ctx.env.store, ctx.path(f"{name}.rejections")) as spool,
        ):
            absent = not connector.describe()
            counters = {"read": 0}
            records = () if absent else _records(ctx, name, connector, conversion, spool, counters)
            # Compared by their fingerprints, the records need not be read again before it is known which of them differ.
            schema, marked = stamped(conversion.schema), map(fingerprints.stamp, records)
            staged = stage(ctx.env.store, ctx.path(f"{name}.parquet"), schema, marked)
            spool.commit(ctx.env.ledger, ctx.id, name)
        if absent:
            log.info("the %s does not exist yet: it counts as empty", side)
        result.counters = {**counters, "rejected": spool.count}
        result.artifact = {**staged.as_dict(), "read": counters["read"], "rejected": spool.count, "absent": absent}
        reached(name)
    return result.counters


def _records(
    ctx: RunContext,
    name: str,
    connector: Connector,
    conversion: Conversion,
    spool: RejectionSpool,
    counters: dict[str, int],
) -> Iterator[pa.RecordBatch]:
    for raw in connector.read(ReadRequest(columns=conversion.columns)):
        converted = conversion.convert(raw)
        spool.add(raw.rejections)
        spool.add(converted.rejections)
        counters["read"] += raw.records.num_rows + len(raw.rejections)
        ctx.env.progress(name, counters["read"])
        yield converted.records


def _refuse_parts(ctx: RunContext) -> None:
    asked = [name for name in ("limit", "since", "until") if getattr(ctx.params, name) is not None]
    if ctx.interval is not None:
        asked.append("a backfill's interval")
    if asked:
        raise SyncDataError(
            f"a two-way run compares whole sides: {', '.join(asked)} would make what is left out look deleted",
            where=Where(field="mode"),
            hint="Run it without; `keys` restricts which records are synchronised.",
            code="two_way_part",
        )


def refused_keys(ctx: RunContext, side: Side) -> RefusedKeys:
    """Keys of the records of a side that do not fit the mapping: they are there, and are left alone."""
    found = [r.key for r in ctx.env.ledger.rejections.list(run_id=ctx.id, phase=f"snapshot_{side}")]
    return RefusedKeys(keys=frozenset(key for key in found if key is not None), complete=None not in found)
