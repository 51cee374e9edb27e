"""Brakes on destructive plans. Pure: numbers in, verdicts out.

A guard that trips means that nothing has been written and nothing will be until a person agrees.
"""

from __future__ import annotations

from dataclasses import dataclass

from sync_provider.core.mapping import Guards


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFacts:
    """What the guards look at; all counts are records ≥ 0.

    Args:
        write: the mapping's write mode.
        incoming: records the source gave and validation accepted.
        existing: records in the destination now.
        deletable: records in the destination that we may delete, being tracked; the base of percentages.
        deletes: deletions the plan holds (for `replace`: existing records that the new content lacks).
        deleted_in_window: deletions that earlier runs made within ``guards.window``.
    """

    write: str
    incoming: int
    existing: int
    deletable: int
    deletes: int
    deleted_in_window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A tripped guard: its name, and one sentence with the numbers and the way out."""

    guard: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"guard": self.guard, "message": self.message}


WAY_OUT = "Approve the run, start it with allow_deletes_once, or correct the source"


def share(limit: int | str, base: int) -> float:
    """The number of records that a limit allows.

    >>> share("20%", 50)
    10.0
    >>> share(3, 50)
    3.0
    """
    if isinstance(limit, int):
        return float(limit)
    return float(limit.rstrip(" %")) * base / 100


def evaluate(guards: Guards, facts: GuardFacts) -> list[Trip]:
    """Every guard that trips, in a fixed order; empty means go."""
    trips: list[Trip] = []
    if (
        facts.incoming == 0
        and facts.existing > 0
        and facts.write in ("mirror", "replace")
        and guards.empty_source == "trip"
    ):
        trips.append(
            Trip(
                guard="empty_source",
                message=f"the source gave no record, the destination holds {facts.existing}. {WAY_OUT}.",
            )
        )
    if facts.deletes > share(guards.max_deletes, facts.deletable):
        trips.append(
            Trip(
                guard="max_deletes",
                message=f"{facts.deletes} of {facts.deletable} records would be deleted "
                f"(guards.max_deletes: {guards.max_deletes}). {WAY_OUT}.",
            )
        )
    in_window = facts.deletes + facts.deleted_in_window
    # The base is what stood there when the window began.
    if facts.deletes and in_window > share(guards.max_deletes_in_window, facts.deletable + facts.deleted_in_window):
        trips.append(
            Trip(
                guard="max_deletes_in_window",
                message=f"{in_window} records would be deleted within {guards.window}, "
                f"{facts.deleted_in_window} of them already are "
                f"(guards.max_deletes_in_window: {guards.max_deletes_in_window}). {WAY_OUT}.",
            )
        )
    return trips
