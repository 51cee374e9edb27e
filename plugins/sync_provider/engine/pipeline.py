"""A one-way run, from end to end: the phases in order, and all of them at once for the command line."""

from __future__ import annotations

from typing import Any

from sync_provider.engine.phases.approve import approve, check_approved, trips
from sync_provider.engine.phases.backup import backup
from sync_provider.engine.phases.extract import extract
from sync_provider.engine.phases.load import load
from sync_provider.engine.phases.plan import plan
from sync_provider.engine.phases.report import report
from sync_provider.engine.phases.validate import validate
from sync_provider.engine.run import RunContext, open_run

__all__ = [
    "RunContext",
    "approve",
    "backup",
    "check_approved",
    "extract",
    "load",
    "open_run",
    "plan",
    "report",
    "run_all",
    "trips",
    "validate",
]


def run_all(ctx: RunContext) -> dict[str, Any]:
    """Every phase in this process, in order; a dry run stops after the plan.

    Returns:
        What `report` returns.

    Raises:
        SyncError: the first phase that fails; the run is closed as failed or blocked.
    """
    extract(ctx)
    validate(ctx)
    plan(ctx)
    if not ctx.params.dry_run:
        backup(ctx)
        load(ctx)
    return report(ctx)
