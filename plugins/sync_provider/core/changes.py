"""What a run was asked to do, and what its plan says will change. No I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

ONE_WAY = ("extract", "validate", "plan", "approve", "backup", "load", "report")
TWO_WAY = ("snapshot_source", "snapshot_destination", "plan", "validate", "approve", "backup", "apply", "report")
SNAPSHOTS = TWO_WAY[:2]
PHASES = tuple(dict.fromkeys((*ONE_WAY, *TWO_WAY)))
"""Every phase there is; `ONE_WAY` and `TWO_WAY` are the orders in which they run."""


def later_phases(phase: str, *, two_way: bool) -> tuple[str, ...]:
    """The phases that build on this one. Both snapshots are taken side by side, and neither builds on the other.

    >>> later_phases("backup", two_way=False)
    ('load', 'report')
    """
    order = TWO_WAY if two_way else ONE_WAY
    return order[len(SNAPSHOTS) if phase in SNAPSHOTS else order.index(phase) + 1 :]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParams:
    """What a person may ask of one run; Airflow's DAG Params and the command line's options.

    Args:
        dry_run: stop after the plan; write nothing.
        full_refresh: ignore the cursor, the files already read and the versions of spreadsheets; the cursor still only moves forward.
        since: read records at or after this cursor value (canonical text); overrides the stored cursor.
        until: read records before this cursor value.
        limit: at most this many records, > 0.
        keys: only these keys, as canonical text; composite keys join their parts with ``|``.
        allow_deletes_once: let this run pass the deletion guards.
        new_baseline: two-way: forget what was agreed, and begin as on the first run: nothing is deleted.
    """

    dry_run: bool = False
    full_refresh: bool = False
    since: str | None = None
    until: str | None = None
    limit: int | None = None
    keys: tuple[str, ...] = ()
    allow_deletes_once: bool = False
    new_baseline: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "keys": list(self.keys)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """A plan in numbers. A number that cannot be known without writing is None, never 0.

    Args:
        digest: SHA-256, hex, of the change set; equal plans have equal digests.
        existing: records in the destination now; None where the mode does not look (append).
    """

    digest: str
    inserts: int | None
    updates: int | None
    deletes: int | None
    unchanged: int | None
    existing: int | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
