"""What an integration between two sides declares, and the words that histories use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from two_way.sides import CHANGED, MAPPED, Driver

SIDES = ("source", "destination")
FIELDS = MAPPED[1:]
KEYS = ("a", "b", "c", "d")
STEPS = (
    "snapshot_source", "snapshot_destination", "planned", "validated", "backed_up", "conflicts_logged", "source_writing",
    "source_written", "destination_writing", "destination_written", "baseline_staged", "reported",
)  # fmt: skip
OUT_OF_SCOPE = "7"  # what a name ends in that the filter leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One integration.

    Args:
        source: kind of side.
        lens: the note is written ``p:…`` on the source, and expressions translate it.
        owned: direction of the note.
        guarded: deletions beyond half of the records stop a run.
        grace: ``delete_grace``.
    """

    source: str = "csv"
    destination: str = "sqlite"
    policy: str = "merge"
    granularity: str = "cell"
    deletes: str = "propagate"
    nulls: str = "clear"
    lens: bool = False
    owned: str = "both"
    guarded: bool = False
    grace: str = "P0D"

    def mapping(self, source: Driver, destination: Driver, filter_: str | None) -> dict[str, Any]:
        note: dict[str, Any] = {"direction": self.owned}
        if self.lens:
            note["to_destination"] = "replace(value, 'p:', '')"
            if self.owned != "to_destination":
                note["to_source"] = "'p:' || value"
        conflicts: dict[str, Any] = {"policy": self.policy, "granularity": self.granularity}
        if self.policy == "newest":
            conflicts["change_time"] = dict.fromkeys(SIDES, CHANGED)
        limit = "50%" if self.guarded else "100%"
        return {
            "mode": "bidirectional",
            "write": None,
            "source": source.endpoint,
            "destination": destination.endpoint,
            "fields": [
                {"source": "code", "destination": "code"},
                {"source": "name", "destination": "name", "nulls": self.nulls},
                {"source": "note", "destination": "note", "nulls": self.nulls, **note},
            ],
            "filter": filter_,
            "conflicts": conflicts,
            "deletes": self.deletes,
            "delete_grace": self.grace,
            "guards": {
                "max_deletes": limit,
                "max_deletes_in_window": "100%",
                "empty_source": "trip" if self.guarded else "allow",
                "on_trip": "fail",
            },
        }


class Ticking:
    """A clock that goes on when it is looked at, and when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2025, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
