"""A run, from end to end: the phases by their names, for both kinds of integration, and all of them at once.

One-way phases are in `engine.phases`, two-way ones in `engine.bidirectional`; approval and backup serve both.
"""

from __future__ import annotations

from typing import Any

from sync_provider.core.changes import ONE_WAY, TWO_WAY
from sync_provider.core.errors import SyncDataError
from sync_provider.core.mapping import Mapping
from sync_provider.engine.bidirectional import plan as two_way_plan
from sync_provider.engine.bidirectional import report as two_way_report
from sync_provider.engine.bidirectional import validate as two_way_validate
from sync_provider.engine.bidirectional.apply import apply
from sync_provider.engine.bidirectional.snapshot import snapshot_destination, snapshot_source
from sync_provider.engine.phases import plan as one_way_plan
from sync_provider.engine.phases import report as one_way_report
from sync_provider.engine.phases import validate as one_way_validate
from sync_provider.engine.phases.approve import approve, check_approved, trips
from sync_provider.engine.phases.backup import backup
from sync_provider.engine.phases.extract import extract
from sync_provider.engine.phases.load import load
from sync_provider.engine.run import RunContext, open_run

__all__ = [
    "RunContext",
    "apply",
    "approve",
    "backup",
    "check_approved",
    "extract",
    "load",
    "open_run",
    "phases_of",
    "plan",
    "report",
    "require_plan",
    "run_all",
    "snapshot_destination",
    "snapshot_source",
    "trips",
    "validate",
]


def plan(ctx: RunContext) -> dict[str, Any]:
    """What the run would write, staged; see the ``plan`` of its kind."""
    return two_way_plan.plan(ctx) if ctx.mapping.two_way else one_way_plan.plan(ctx)


def validate(ctx: RunContext) -> dict[str, Any]:
    """Great Expectations; see the ``validate`` of its kind."""
    return two_way_validate.validate(ctx) if ctx.mapping.two_way else one_way_validate.validate(ctx)


def report(ctx: RunContext) -> dict[str, Any]:
    """Close the run; see the ``report`` of its kind."""
    return two_way_report.report(ctx) if ctx.mapping.two_way else one_way_report.report(ctx)


def phases_of(mapping: Mapping, *, dry_run: bool = False) -> tuple[str, ...]:
    """The phases of a run without a person, in order; a dry run writes nothing.

    ``approve`` is left out: it happens only where a guard tripped.
    """
    order = TWO_WAY if mapping.two_way else ONE_WAY
    writing = ("backup", "load", "apply")
    return tuple(name for name in order if name != "approve" and not (dry_run and name in writing))


def require_plan(ctx: RunContext, digest: str) -> None:
    """Let a run go on only if its plan is the one of that digest, to the last cell.

    Raises:
        SyncDataError: something moved since that plan was made (``plan_stale``); the run is closed, nothing has been written.
    """
    if ctx.artifact("plan")["digest"] == digest:
        return
    error = SyncDataError(
        "a side moved since this plan was made: what would be written now is not what was shown. Nothing was written",
        hint=f"Look at a new plan: airflow-sync plan {ctx.mapping.id}.",
        code="plan_stale",
    )
    ctx.env.ledger.runs.finish(ctx.id, "failed", error=error.as_dict(), event="run.failed")
    raise error


def run_all(ctx: RunContext) -> dict[str, Any]:
    """Every phase in this process, in order; a dry run stops after the plan.

    Returns:
        What `report` returns.

    Raises:
        SyncError: the first phase that fails; the run is closed as failed or blocked.
    """
    result: dict[str, Any] = {}
    for name in phases_of(ctx.mapping, dry_run=ctx.params.dry_run):
        result = globals()[name](ctx)
    return result
