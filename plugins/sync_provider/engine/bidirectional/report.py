"""Last phase of a two-way run: one ledger transaction closes the run and moves the baseline."""

from __future__ import annotations

import logging
from typing import Any

from sync_provider.core.conflicts import SIDES, Side
from sync_provider.core.errors import SyncValidationError
from sync_provider.core.report import SideCounters
from sync_provider.engine.bidirectional import baseline, flips
from sync_provider.engine.bidirectional.apply import planned_conflicts
from sync_provider.engine.bidirectional.merging import DOES, HERE, KEY, STATUS
from sync_provider.engine.phases.backup import prune
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import unstage
from sync_provider.engine.steps import reached

log = logging.getLogger(__name__)

_SUMMED = (
    "read",
    "unchanged",
    "written",
    "rejected",
    "conflict",
    "deferred",
    "filtered",
    "inserted",
    "updated",
    "deleted",
)


def report(ctx: RunContext) -> dict[str, Any]:
    """Close the run: counters, state, baseline, conflicts.

    Returns:
        Totals over both sides, ``sides`` with each side's `SideCounters`, conflicts_open, conflicts_settled, restored, normalised,
        baseline (see `baseline.Baseline`), and ``state``.

    Raises:
        SyncValidationError: records were rejected and ``validation.on_partial`` is ``fail``; the run is closed all the same.
    """
    ledger, mapping = ctx.env.ledger, ctx.mapping
    with phase(ctx, "report") as result:
        planned = ctx.artifact("plan")
        validated = ctx.artifact("validate")
        applied = {} if ctx.params.dry_run else ctx.artifact("apply")
        sides = {side: _count(ctx, side, planned, validated, applied) for side in SIDES}
        totals: dict[str, Any] = {name: sum(getattr(sides[side], name) for side in SIDES) for name in _SUMMED}
        for side in SIDES:
            if not sides[side].balanced:
                # Every record read must be in exactly one count; anything else is a fault of ours that people must see.
                log.error("the counts of the %s do not add up: %s", side, sides[side].as_dict())
        superseded = "superseded_by" in applied
        written = bool(applied) and not superseded
        if written:
            _conclude(ctx, planned, validated, applied)
        counters = {
            **totals,
            "sides": {side: sides[side].as_dict() for side in SIDES},
            "conflicts_open": ledger.conflicts.count(mapping_id=mapping.id, statuses=("open", "decided")),
            "conflicts_settled": planned["settled"],
            **{name: planned["notes"].get(name, 0) for name in ("restored", "normalised")},
            "baseline": planned["baseline"]["state"],
        }
        partial = totals["rejected"] or (totals["deferred"] and not ctx.params.dry_run)
        state = "partial" if partial else "succeeded"
        moved = {}
        if written and applied.get("baseline"):
            moved[baseline.pointer(mapping.id)] = applied["baseline"]
        if written and planned["flips"]:
            moved[flips.pointer(mapping.id)] = planned["flips"]
        ledger.runs.finish(ctx.id, state, counters=counters, error=None, event=f"run.{state}", baselines=moved)
        reached("reported")
        prune(ctx)
        result.counters = {**counters, "state": state}
    if totals["rejected"] and mapping.validation.on_partial == "fail":
        raise SyncValidationError(
            f"{totals['rejected']} records were rejected, and validation.on_partial is fail",
            hint=f"The other records are in step. See airflow-sync rejects list {mapping.id}.",
            code="partial",
        )
    return result.counters


def _count(
    ctx: RunContext, side: Side, planned: dict[str, Any], validated: dict[str, Any], applied: dict[str, Any]
) -> SideCounters:
    """One side's records, each in the first count that fits."""
    known = planned["counts"][side]
    tally = applied["tally"][side] if "tally" in applied else _planned_tally(ctx, side, validated)
    counters = SideCounters(
        read=known["read"],
        rejected=known["rejected"]
        + tally.get("rejected", 0)
        + validated["refused"]["counts"][side]
        + planned["unfit"][side],
        filtered=known["filtered"],
        deferred=known["deferred"] + tally.get("deferred", 0) + tally.get("waiting", 0),
        conflict=tally.get("conflict", 0),
        written=tally.get("written", 0),
    )
    row = ctx.env.ledger.runs.phase(ctx.id, "apply") if applied else None
    if row is not None and "superseded_by" not in applied:
        for name in ("inserted", "updated", "deleted"):
            setattr(counters, name, row.counters.get(f"{side}_{name}", 0))
    counters.unchanged = (
        counters.read - counters.rejected - counters.filtered - counters.deferred - counters.conflict - counters.written
    )
    return counters


def _planned_tally(ctx: RunContext, side: Side, validated: dict[str, Any]) -> dict[str, int]:
    """What a run that writes nothing would have done: what it would have written is deferred."""
    found: dict[str, int] = {}
    for batch in unstage(ctx.env.store, validated["actions"], [KEY, STATUS, HERE + side, DOES + side]):
        for row in batch.to_pylist():
            if row[HERE + side]:
                status = "deferred" if row[STATUS] == "written" else row[STATUS]
                found[status] = found.get(status, 0) + 1
    return found


def _conclude(ctx: RunContext, planned: dict[str, Any], validated: dict[str, Any], applied: dict[str, Any]) -> None:
    """Close conflicts that this run has brought to an end; not those of keys that it did not look at, or could not write."""
    left_alone = {*planned["blocked"], *validated["refused"]["keys"], *applied["unwritten"]}
    ctx.env.ledger.conflicts.conclude(ctx.mapping.id, ctx.id, planned_conflicts(ctx), left_alone)
