"""First phase of a two-way run, once per side: read everything, convert, stage. Nothing is compared yet."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import Connector, ReadRequest
from sync_provider.core.conflicts import Side
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.engine.bidirectional import sides
from sync_provider.engine.fingerprints import stamped
from sync_provider.engine.identity import Unidentified, give_ids
from sync_provider.engine.phases.tracking import RefusedKeys
from sync_provider.engine.phases.unchanged import version_of
from sync_provider.engine.phases.unsettled import refuse_unsettled
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

    A side that tells its version, such as a spreadsheet, is not read where an earlier run has read that version already: its snapshot is
    taken over.

    Returns:
        Counters read, rejected (records that do not fit the mapping; they are left alone on both sides); unchanged_side, which is 1,
        where an earlier snapshot was taken over; of a side with an ``id_column`` also ids_given, and without_id: rows that have none
        and wait.

    Raises:
        SyncDataError: a mapped column is missing, or the read was cut short: a part is no snapshot.
        SyncConnectionError: a file of it is still being written; may be tried again.
    """
    name = f"snapshot_{side}"
    with phase(ctx, name) as result:
        _refuse_parts(ctx)
        with ctx.connect(side) as connector:
            version = version_of(connector)
            taken_over = _take_over(ctx, name, version)
            if taken_over is None:
                result.artifact = _read(ctx, side, name, connector)
            else:
                result.artifact = taken_over
        told = ("read", "rejected", *(("ids_given", "without_id") if ctx.mapping.id_column(side) else ()))
        result.counters = {key: result.artifact[key] for key in told}
        if taken_over is not None:
            result.counters["unchanged_side"] = 1
        reached(name)
    return result.counters


def _read(ctx: RunContext, side: Side, name: str, connector: Connector) -> dict[str, Any]:
    with (
        sides.conversion(ctx.mapping, side, connector) as conversion,
        sides.fingerprints(ctx.mapping) as fingerprints,
        RejectionSpool(ctx.env.store, ctx.path(f"{name}.rejections")) as spool,
    ):
        absent = not connector.describe()
        given = 0 if absent else give_ids(ctx, side, connector, conversion.columns)
        version = version_of(connector)  # our own change is none that the next run has to look at
        unidentified = Unidentified(ctx.mapping, side)
        counters = {"read": 0}
        records = () if absent else _records(ctx, name, connector, conversion, spool, counters, unidentified)
        # Compared by their fingerprints, the records need not be read again before it is known which of them differ.
        schema, marked = stamped(conversion.schema), map(fingerprints.stamp, records)
        staged = stage(ctx.env.store, ctx.path(f"{name}.parquet"), schema, marked)
        spool.commit(ctx.env.ledger, ctx.id, name)
    unidentified.tell()
    if absent:
        log.info("the %s does not exist yet: it counts as empty", side)
    return {
        **staged.as_dict(),
        "read": counters["read"],
        "rejected": spool.count,
        "absent": absent,
        "version": version,
        "ids_given": given,
        "without_id": unidentified.count,
    }


def _take_over(ctx: RunContext, name: str, version: str | None) -> dict[str, Any] | None:
    """Copy the snapshot that an earlier run made of this version; None if there is none.

    One with rejections is not: they belong to the run that found them; nor one without the rows that waited for ids.
    """
    store = ctx.env.store
    earlier = None if version is None or ctx.params.full_refresh else ctx.env.ledger.runs.earlier_phase(ctx.id, name)
    if earlier is None or earlier.state != "succeeded" or earlier.artifact is None:
        return None
    found = dict(earlier.artifact)
    if found.get("version") != version or found["rejected"] or found["without_id"] or not store.exists(found["path"]):
        return None
    path = ctx.path(f"{name}.parquet")
    with store.open_read(found["path"]) as held, store.open_write(path) as kept:
        shutil.copyfileobj(held, kept)
    ctx.env.ledger.rejections.replace(ctx.id, name, ())
    log.info("not changed since run %s read it", earlier.run_id)
    return found | {"path": path, "ids_given": 0}


def _records(
    ctx: RunContext,
    name: str,
    connector: Connector,
    conversion: Conversion,
    spool: RejectionSpool,
    counters: dict[str, int],
    unidentified: Unidentified,
) -> Iterator[pa.RecordBatch]:
    reading = connector.read(ReadRequest(columns=conversion.columns))
    for raw in reading:
        counters["read"] += raw.records.num_rows + len(raw.rejections)
        converted = conversion.convert(unidentified.leave_out(raw))
        spool.add(raw.rejections)
        spool.add(converted.rejections)
        ctx.env.progress(name, counters["read"])
        yield converted.records
    refuse_unsettled(reading, "a two-way run compares whole sides")


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
