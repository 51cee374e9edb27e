"""What a quiet run leaves to the next: whether three sets are in step depends on their content alone, which their digests name.

So a run that finds the snapshots and the baseline of the run before it, in which nothing differed, has nothing to compare.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from sync_provider.core.conflicts import SIDES, Side
from sync_provider.engine.bidirectional.baseline import Baseline
from sync_provider.engine.bidirectional.differ import SideCounts
from sync_provider.engine.run import RunContext


@dataclass(frozen=True, slots=True)
class InStep:
    """Two sides and a baseline of which no record differs, is refused, or waits for a decision.

    Args:
        tracked: records of the baseline.
        counts: how each side compares with it.
    """

    tracked: int
    counts: dict[Side, SideCounts]

    @classmethod
    def seen_before(cls, ctx: RunContext, before: Baseline) -> Self | None:
        """What the run before found in just these sets; None if it did not see them, or they were not in step."""
        runs = ctx.env.ledger.runs
        now = [_content(ctx, ctx.id, side) for side in SIDES]
        # Which records are asked for or refused stands in no snapshot.
        if before.path is None or ctx.params.keys or None in now:
            return None
        earlier = next((run.id for run in runs.list(ctx.mapping.id, limit=2) if run.id != ctx.id), None)
        if earlier is None or [_content(ctx, earlier, side) for side in SIDES] != now:
            return None
        plan = runs.phase(earlier, "plan")
        artifact = (plan and plan.state == "succeeded" and plan.artifact) or {}
        found = artifact.get("in_step")
        if not found or artifact["baseline"]["path"] != before.path:
            return None
        return cls(found["tracked"], {side: SideCounts(**found["counts"][side]) for side in SIDES})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _content(ctx: RunContext, run_id: str, side: Side) -> str | None:
    """Digest of a run's snapshot; None if it has none, or if records are missing in it."""
    row = ctx.env.ledger.runs.phase(run_id, f"snapshot_{side}")
    if row is None or row.state != "succeeded" or row.artifact is None:
        return None
    whole = not (row.artifact["rejected"] or row.artifact["without_id"])
    return str(row.artifact["digest"]) if whole else None
