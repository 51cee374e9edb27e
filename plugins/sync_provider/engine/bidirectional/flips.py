"""Records that go back and forth: what the last runs wrote, key by key, as long as they wrote it again and again.

A row that two systems keep rewriting (one trims, the other pads) would be written for ever, each run a success. A record that returns to
a state which it had before our last writes is a *flip*; the third in consecutive runs trips a guard.

A state is the record's fingerprint, 0 for no record. Another version of DuckDB may give others: that delays an alert, no more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sync_provider.core.conflicts import Side
from sync_provider.core.errors import SyncDataError
from sync_provider.engine.run import RunContext

LIMIT = 3
_REMEMBERED = 4


def pointer(mapping_id: str) -> str:
    """Name under which the ledger keeps the current file."""
    return f"{mapping_id}:flips"


@dataclass(slots=True)
class Flips:
    """What consecutive runs wrote: key → returns so far, the last states, sides written last."""

    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    after: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, ctx: RunContext) -> Flips:
        """As the last run left it; nothing where its file is gone, for it only ever delays an alert."""
        current = ctx.env.ledger.baselines.get(pointer(ctx.mapping.id))
        if current is None or ctx.params.new_baseline:
            return cls()
        try:
            with ctx.env.store.open_read(current.path) as source:
                return cls(before=json.load(source))
        except SyncDataError:
            return cls()

    def wrote(self, key: str, side: Side) -> bool:
        """Whether the last run wrote this key on that side."""
        return key in self.before and side in self.before[key]["sides"]

    def writes(self, key: str, sides: Sequence[Side], base: int, state: int) -> None:
        """Note that this run writes the key.

        Args:
            key: its text.
            sides: where.
            base: the state that both sides agreed on.
            state: the one that is written.
        """
        last = self.before.get(key)
        seen = last["seen"] if last else [base]
        returns = last["returns"] + 1 if last and state in seen else 0
        self.after[key] = {"returns": returns, "seen": [*seen, state][-_REMEMBERED:], "sides": list(sides)}

    @property
    def flipping(self) -> int:
        """How many keys have gone back and forth too often."""
        return sum(entry["returns"] >= LIMIT for entry in self.after.values())

    def save(self, ctx: RunContext) -> str | None:
        """Write what the next run has to know; returns its path, None where nothing changes."""
        if not self.before and not self.after:
            return None
        path = f"baselines/{ctx.mapping.id}/{ctx.id}.flips.json"
        with ctx.env.store.open_write(path) as sink:
            sink.write(json.dumps(self.after).encode())
        return path
