"""Brakes on destructive plans. Pure: numbers in, verdicts out.

A guard that trips means that nothing has been written and nothing will be until a person agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        partial: the source may have more than was read; then what is missing means nothing.
    """

    write: str
    incoming: int
    existing: int
    deletable: int
    deletes: int
    deleted_in_window: int
    partial: bool = False


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
        and not facts.partial
        and guards.empty_source == "trip"
    ):
        trips.append(
            Trip(
                guard="empty_source",
                message=f"the source gave no record that can be written, the destination holds {facts.existing}. {WAY_OUT}.",
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


ALL_CHANGED_FROM = 20
"""Records from which on it is remarkable that every one of them changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFacts:
    """What the guards of a two-way run look at, for one side; all counts are records ≥ 0.

    Args:
        side: ``source`` or ``destination``.
        existing: records there now, refused ones included.
        tracked: records of the baseline that are in scope: the base of percentages.
        present: of these, how many are there.
        changed: of those that are there, how many differ from the baseline.
        deletes: deletions that the plan holds for this side.
    """

    side: str
    existing: int
    tracked: int
    present: int
    changed: int
    deletes: int


def evaluate_two_way(
    guards: Guards, sides: Sequence[SideFacts], *, deleted_in_window: int, flipping: int
) -> list[Trip]:
    """Every guard that a two-way plan trips, in a fixed order.

    Args:
        guards: the mapping's.
        sides: both.
        deleted_in_window: deletions that earlier runs made on both sides within ``guards.window``.
        flipping: records that go back and forth for the third time in a row.
    """
    trips: list[Trip] = []
    for facts in sides:
        if facts.tracked and not facts.existing and guards.empty_source == "trip":
            trips.append(
                Trip(
                    guard="emptied_side",
                    message=f"the {facts.side} holds no record; {facts.tracked} were in step before. {WAY_OUT}.",
                )
            )
        all_changed = facts.present >= ALL_CHANGED_FROM and facts.changed == facts.present
        if all_changed and guards.all_changed == "trip":
            trips.append(
                Trip(
                    guard="everything_changed",
                    message=f"every one of the {facts.present} records of the {facts.side} changed since the last run. {WAY_OUT}.",
                )
            )
        if facts.deletes > share(guards.max_deletes, facts.tracked):
            trips.append(
                Trip(
                    guard="max_deletes",
                    message=f"{facts.deletes} of {facts.tracked} records would be deleted from the {facts.side} "
                    f"(guards.max_deletes: {guards.max_deletes}). {WAY_OUT}.",
                )
            )
    deletes = sum(facts.deletes for facts in sides)
    tracked = max((facts.tracked for facts in sides), default=0)
    in_window = deletes + deleted_in_window
    if deletes and in_window > share(guards.max_deletes_in_window, tracked + deleted_in_window):
        trips.append(
            Trip(
                guard="max_deletes_in_window",
                message=f"{in_window} records would be deleted within {guards.window}, {deleted_in_window} of them already are "
                f"(guards.max_deletes_in_window: {guards.max_deletes_in_window}). {WAY_OUT}.",
            )
        )
    return trips + ([_flips(flipping)] if flipping else [])


def _flips(records: int) -> Trip:
    return Trip(
        guard="flipping",
        message=f"{records} records go back and forth for the third run in a row: something undoes what is written. "
        "See the plan for them; make one side the owner of the field (direction), or stop what else writes it.",
    )
