"""Third phase: what would change in the destination, and whether that is safe. Writes nothing there."""

from __future__ import annotations

from typing import Any

from sync_provider.connectors.base import FILE, SHEET
from sync_provider.core.changes import PlanSummary
from sync_provider.core.durations import parse_duration
from sync_provider.core.errors import SyncValidationError, Where
from sync_provider.core.guards import GuardFacts, Trip, evaluate
from sync_provider.core.report import Rejection
from sync_provider.engine.coordinates import place_of
from sync_provider.engine.phases import destination, tracking
from sync_provider.engine.phases.unchanged import source_unchanged
from sync_provider.engine.planning import Planner, change_schema
from sync_provider.engine.rejection_spool import RejectionSpool
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import stage, unstage
from sync_provider.engine.transform import Conversion

CHANGES = "changes.parquet"


def plan(ctx: RunContext) -> dict[str, Any]:
    """Compare the accepted records with the destination and stage the changes.

    Returns:
        Counters inserts, updates, deletes, unchanged, existing (None where the mode does not look), rejected, tripped.

    Raises:
        SyncValidationError: a guard tripped, ``guards.on_trip`` is ``fail``, and this is no dry run, which only tells.
    """
    with phase(ctx, "plan") as result:
        accepted = ctx.artifact("validate")
        if source_unchanged(ctx):
            summary, facts, extra = _nothing(accepted)
        elif ctx.mapping.write in ("upsert", "mirror"):
            summary, facts, extra = _by_key(ctx, accepted)
        else:
            summary, facts, extra = _whole(ctx, accepted)
        trips = [] if facts is None or ctx.params.allow_deletes_once else evaluate(ctx.mapping.guards, facts)
        result.counters = {**summary.as_dict(), "rejected": extra["rejected"], "tripped": len(trips)}
        result.artifact = {**extra, **summary.as_dict(), "trips": [trip.as_dict() for trip in trips]}
        if trips and ctx.mapping.guards.on_trip == "fail" and not ctx.params.dry_run:
            raise guard_error(trips)
    return result.counters


def guard_error(trips: list[Trip]) -> SyncValidationError:
    """The error of a plan that guards stopped."""
    return SyncValidationError("nothing was written: " + " ".join(trip.message for trip in trips), code="guard_tripped")


def _nothing(accepted: dict[str, Any]) -> tuple[PlanSummary, None, dict[str, Any]]:
    """The source has not changed: no guard has anything to judge by, for the destination is not looked at."""
    summary = PlanSummary(digest=accepted["digest"], inserts=0, updates=0, deletes=0, unchanged=0, existing=None)
    return summary, None, {"path": accepted["path"], "rows": 0, "writes": 0, "rejected": 0}


def _whole(ctx: RunContext, accepted: dict[str, Any]) -> tuple[PlanSummary, GuardFacts, dict[str, Any]]:
    """Append adds to what is there, replace swaps it: neither needs a comparison by key."""
    replace = ctx.mapping.write == "replace"
    existing = destination.count(ctx) if replace else None
    summary = PlanSummary(
        digest=accepted["digest"],
        inserts=accepted["rows"],
        updates=0,
        deletes=existing,
        unchanged=None if replace else 0,
        existing=existing,
    )
    # The guard asks how many records would be gone; under replace, at least as many as the content shrinks by.
    gone = max(0, (existing or 0) - accepted["rows"])
    facts = _facts(ctx, accepted["rows"], existing or 0, deletable=existing or 0, deletes=gone)
    return (
        summary,
        facts,
        {
            "path": accepted["path"],
            "rows": accepted["rows"],
            "writes": accepted["rows"],
            "rejected": 0,
        },
    )


def _by_key(ctx: RunContext, accepted: dict[str, Any]) -> tuple[PlanSummary, GuardFacts, dict[str, Any]]:
    mapping, env = ctx.mapping, ctx.env
    with Conversion.for_destination(mapping) as conversion, Planner(mapping, conversion.schema) as planner:
        planner.load_existing(destination.mapped_records(ctx, conversion))
        refused = _refuse_ambiguous(ctx, planner, accepted)
        deletes = mapping.write == "mirror" and not ctx.artifact("extract")["partial"]
        if deletes:
            planner.load_tracked(tracking.read(ctx))
            kept = tracking.refused_keys(ctx)
            planner.load_kept(kept.keys)
            # A refused record without a readable key may be any of ours: then none is deleted.
            deletes = kept.complete
        counts = planner.counts(deletes=deletes)
        staged = stage(
            env.store,
            ctx.path(CHANGES),
            change_schema(conversion.schema, planner.names),
            planner.changes(deletes=deletes),
        )
    summary = PlanSummary(
        digest=staged.digest,
        inserts=counts["inserts"],
        updates=counts["updates"],
        deletes=counts["deletes"],
        unchanged=counts["unchanged"],
        existing=counts["existing"],
    )
    facts = _facts(
        ctx, accepted["rows"] - refused, counts["existing"], deletable=counts["deletable"], deletes=counts["deletes"]
    )
    return (
        summary,
        facts,
        {
            "path": staged.path,
            "rows": staged.rows,
            "writes": staged.rows - counts["deletes"],
            "rejected": refused,
        },
    )


def _refuse_ambiguous(ctx: RunContext, planner: Planner, accepted: dict[str, Any]) -> int:
    """Load the incoming records; those whose key the destination holds twice are rejected, for none may be guessed."""
    rejections = 0
    planner.load_incoming(unstage(ctx.env.store, accepted["path"]))
    with RejectionSpool(ctx.env.store, ctx.path("plan.rejections")) as spool:
        for key, count, coordinates in planner.ambiguous():
            # The number of a database's record leads nobody to it.
            places = [place_of(each) for each in coordinates if each[SHEET] or each[FILE]]
            shown = f": {', '.join(map(str, places))}" if places else ""
            spool.add(
                [
                    Rejection(
                        rule="duplicate_key",
                        message=f"the destination holds {count} records with this key{shown}. Delete the surplus there",
                        key=key,
                        where=places[0] if places else Where(),
                    )
                ]
            )
            rejections += 1
        spool.commit(ctx.env.ledger, ctx.id, "plan")
    planner.drop_ambiguous()
    return rejections


def _facts(ctx: RunContext, incoming: int, existing: int, *, deletable: int, deletes: int) -> GuardFacts:
    return GuardFacts(
        write=ctx.mapping.write,
        incoming=incoming,
        existing=existing,
        deletable=deletable,
        deletes=deletes,
        deleted_in_window=deleted_in_window(ctx),
        partial=ctx.artifact("extract")["partial"],
    )


def deleted_in_window(ctx: RunContext) -> int:
    """Deletions that earlier runs made within ``guards.window``."""
    since = ctx.env.clock.now() - parse_duration(ctx.mapping.guards.window)
    earlier = ctx.env.ledger.runs.list(mapping_id=ctx.mapping.id, since=since)
    return sum(int((run.counters or {}).get("deleted", 0)) for run in earlier if run.id != ctx.id)
