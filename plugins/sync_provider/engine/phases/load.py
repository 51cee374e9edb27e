"""Fourth phase: write exactly the plan, under a lease, once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import KEY_SEPARATOR, OP, Connector, TargetColumn, WriteRequest, WriteResult
from sync_provider.engine.keys import key_texts
from sync_provider.engine.lease import HeldLease, held_lease
from sync_provider.engine.phases import tracking
from sync_provider.engine.phases.approve import check_approved
from sync_provider.engine.phases.unchanged import source_unchanged
from sync_provider.engine.planning import as_inserts
from sync_provider.engine.rejection_spool import RejectionSpool
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import unstage

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

INTENT = "append.intent"


def load(ctx: RunContext) -> dict[str, Any]:
    """Apply the plan. A plan that this run has loaded already is not loaded again.

    Returns:
        Counters inserted, updated, deleted, unchanged (found as planned already, after an interrupted try), deferred
        (the destination moved since the plan, or a newer run has loaded), rejected (refused by the destination).

    Raises:
        SyncValidationError: a guard stopped the plan and nobody approved it.
        SyncConnectionError: another writer holds the destination (``lease_held``), or it cannot be reached.
        SyncDataError: the staged records are gone, or the lease was lost before the commit.
    """
    loads = ctx.env.ledger.loads
    with phase(ctx, "load") as result:
        check_approved(ctx)
        plan = ctx.artifact("plan")
        if source_unchanged(ctx):
            result.counters = dict(_NOTHING)
            return result.counters
        earlier = loads.get(ctx.id)
        if earlier is not None and earlier.result is not None and earlier.plan_digest == plan["digest"]:
            log.info("this plan is loaded already; nothing to do")
            result.counters, result.artifact = dict(earlier.result["counters"]), dict(earlier.result["artifact"])
        else:
            result.counters, result.artifact = _load(ctx, plan)
    return result.counters


_NOTHING = {"inserted": 0, "updated": 0, "deleted": 0, "unchanged": 0, "deferred": 0, "rejected": 0}


def _load(ctx: RunContext, plan: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write under the lease; whether a newer run has loaded is asked, and that we have is noted, while nobody else can."""
    mapping, loads = ctx.mapping, ctx.env.ledger.loads
    with (
        ctx.connect("destination") as destination,
        held_lease(ctx.env.ledger, destination.capabilities.resource, ctx.id) as lease,
    ):
        if newer := loads.superseded(mapping.id, ctx.id, any_scope=mapping.write == "replace"):
            log.warning("run %s has loaded newer data; this plan is left alone", newer)
            return {**_NOTHING, "deferred": plan["writes"]}, {"superseded_by": newer}
        loads.begin(ctx.id, plan["digest"])
        counters, artifact = _write(ctx, plan, destination, lease)
        loads.done(ctx.id, plan["digest"], {"counters": counters, "artifact": artifact})
    return counters, artifact


def _write(
    ctx: RunContext, plan: dict[str, Any], destination: Connector, lease: HeldLease
) -> tuple[dict[str, Any], dict[str, Any]]:
    mapping, env = ctx.mapping, ctx.env
    request = WriteRequest(
        mode=mapping.write,
        columns=tuple(
            TargetColumn(name=f.destination, type=f.logical_type, nullable=f.destination not in mapping.key)
            for f in mapping.fields
        ),
        key=mapping.key,
        run_id=ctx.id,
        marker=f"{ctx.id}:{plan['digest']}",
        intent=lambda sha256: _note_intent(ctx, plan, sha256),
        intended=_intended(ctx, plan),
        timezone=mapping.timezone,
        fence=lease.check,
    )
    written = destination.write(request, _followed(ctx, _changes(ctx, plan)))
    deferred = frozenset(key.replace(KEY_SEPARATOR, "|") for key in written.deferred_keys)
    with RejectionSpool(env.store, ctx.path("load.rejections")) as spool:
        spool.add(written.rejections)
        spool.commit(env.ledger, ctx.id, "load")
    artifact: dict[str, Any] = {"deferred": sorted(deferred)[:100]}
    if mapping.write == "mirror":
        unwritten = deferred | {r.key for r in written.rejections if r.key is not None}
        artifact["tracked"] = tracking.save(ctx, plan["path"], unwritten)
    return _counters(written, plan["writes"], _undeleted(ctx, plan, deferred)), artifact


def _note_intent(ctx: RunContext, plan: dict[str, Any], sha256: str) -> None:
    if ctx.mapping.write == "append":
        with ctx.env.store.open_write(ctx.path(INTENT)) as sink:
            sink.write(json.dumps({"plan": plan["digest"], "sha256": sha256}).encode())


def _intended(ctx: RunContext, plan: dict[str, Any]) -> str | None:
    """What an interrupted try of this very append was about to swap in, if any."""
    if ctx.mapping.write != "append" or not ctx.env.store.exists(ctx.path(INTENT)):
        return None
    with ctx.env.store.open_read(ctx.path(INTENT)) as source:
        intent = json.load(source)
    return str(intent["sha256"]) if intent["plan"] == plan["digest"] else None


def _changes(ctx: RunContext, plan: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    batches = unstage(ctx.env.store, plan["path"])
    if ctx.mapping.write in ("upsert", "mirror"):
        return batches
    import pyarrow as pa

    names = [f.destination for f in ctx.mapping.fields]
    schema = pa.schema([pa.field(f.destination, f.logical_type.to_arrow()) for f in ctx.mapping.fields])
    return as_inserts(batches, names, schema)


def _followed(ctx: RunContext, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, telling how many records have gone to the destination when the next is asked for."""
    sent = 0
    for batch in batches:
        yield batch
        sent += batch.num_rows
        ctx.env.progress("load", sent)


def _undeleted(ctx: RunContext, plan: dict[str, Any], deferred: frozenset[str]) -> int:
    """How many of the deferred keys were to be deleted: nobody read these, so they are in no count of records read."""
    if not deferred or plan["rows"] == plan["writes"]:
        return 0
    return sum(
        operation == "delete" and text in deferred
        for batch in unstage(ctx.env.store, plan["path"], [OP, *ctx.mapping.key])
        for operation, text in zip(
            batch.column(OP).to_pylist(), key_texts(batch, ctx.mapping.key, separator="|"), strict=True
        )
    )


def _counters(written: WriteResult, upserts: int, undeleted: int) -> dict[str, Any]:
    deferred = len(written.deferred_keys) - undeleted
    rejected = len(written.rejections)
    return {
        "inserted": written.inserted,
        "updated": written.updated,
        "deleted": written.deleted,
        "unchanged": upserts - written.inserted - written.updated - deferred - rejected,
        "deferred": deferred,
        "rejected": rejected,
    }
