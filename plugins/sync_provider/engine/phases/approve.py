"""Between plan and load, only where a guard tripped: a person's decision, kept in the ledger."""

from __future__ import annotations

from typing import Any

from sync_provider.core.errors import SyncValidationError
from sync_provider.core.guards import Trip
from sync_provider.engine.run import RunContext, phase


def trips(ctx: RunContext) -> list[Trip]:
    """The guards that stopped this run's plan; empty: nobody need be asked."""
    return [Trip(**trip) for trip in ctx.artifact("plan")["trips"]]


def approve(ctx: RunContext, *, actor: str, approved: bool) -> dict[str, Any]:
    """Record the decision about the present plan.

    Args:
        ctx: the run.
        actor: who decided; the caller has checked that this person may.
        approved: whether the plan is to be loaded.

    Raises:
        SyncValidationError: refused; the run is blocked and nothing has been written.
    """
    digest = ctx.artifact("plan")["digest"]
    ctx.env.ledger.audit.append(
        actor=actor,
        action="plan.approved" if approved else "plan.refused",
        subject=ctx.id,
        before=None,
        after={"plan": digest, "trips": [trip.as_dict() for trip in trips(ctx)]},
    )
    with phase(ctx, "approve") as result:
        if not approved:
            raise SyncValidationError(f"{actor} refused the plan; nothing was written", code="approval_refused")
        result.counters = {"approved": 1}
        result.artifact = {"digest": digest, "actor": actor}
    return result.counters


def check_approved(ctx: RunContext) -> None:
    """Let a plan pass that no guard stopped, or that a person approved as it stands.

    Raises:
        SyncValidationError: a guard tripped and nobody has approved this very plan.
    """
    tripped = trips(ctx)
    if not tripped:
        return
    row = ctx.env.ledger.runs.phase(ctx.id, "approve")
    decided = row.artifact if row is not None and row.state == "succeeded" else None
    if decided is None or decided["digest"] != ctx.artifact("plan")["digest"]:
        raise SyncValidationError(
            "nothing was written: " + " ".join(trip.message for trip in tripped), code="approval_missing"
        )
