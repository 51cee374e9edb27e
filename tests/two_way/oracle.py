"""What must hold while sides are edited and runs go on, and in the end."""

from __future__ import annotations

from sync_provider.engine.bidirectional.baseline import NAME_SEPARATOR, UNAGREED
from sync_provider.engine.staging import unstage
from two_way.options import FIELDS, OUT_OF_SCOPE, SIDES
from two_way.stage import Stage


class LostError(AssertionError):
    """A value that nobody replaced is neither on a side nor in the log."""


class Oracle(Stage):
    """Looks at the stage."""

    def observe(self, when: str, step: str | None = None) -> None:
        """Note what stands on the sides, and that nothing is lost (I1), invented (I6) or ahead of the data (I2)."""
        shown: set[str | None] = set()
        for side in SIDES:
            if step == f"{side}_writing" and self.sides[side].kind == "postgres":
                continue
            for row in self.rows(side):
                for field in FIELDS:
                    value = row[field]
                    assert value in self.written, f"{when}: {value!r} was made up"
                    self.held[side, str(row["code"]), field].add(value)
                    shown.add(value)
        self.check_lost(shown, when)
        if step in (None, "reported"):
            self.check_base(when)

    def check_lost(self, shown: set[str | None], when: str) -> None:
        missing = {value: what for value, what in self.live.items() if value not in shown}
        if not missing:
            return
        for stored in self.conflicts():
            for part in (stored.conflict.source, stored.conflict.destination, stored.value):
                for value in part.values() if isinstance(part, dict) else (part,):
                    missing.pop(str(value), None)
        if missing:
            raise LostError(f"{when}: lost {missing}")

    def check_base(self, when: str) -> None:
        path = self.baseline_path()
        if path is None or not self.baseline_readable():
            return
        for batch in unstage(self.env.store, path):
            for row in batch.to_pylist():
                unagreed = (row[UNAGREED] or "").split(NAME_SEPARATOR)
                for side in SIDES:
                    for field in FIELDS:
                        seen = self.held[side, row["code"], field]
                        assert field in unagreed or row[field] in seen, (
                            f"{when}: the baseline has {row[field]!r} for {row['code']}.{field}, the {side} never had"
                        )

    def check_agreement(self) -> None:
        """Both sides hold the same, but for what is declared to stay different."""
        held = {side: self.view(side) for side in SIDES}
        excused = {c.conflict.key for c in self.conflicts("open", "decided")}
        for side in SIDES:
            keys = [str(row["code"]) for row in self.rows(side)]
            excused |= {key for key in keys if keys.count(key) > 1}
            if self.filter:
                excused |= {key for key, row in held[side].items() if (row["name"] or "").endswith(OUT_OF_SCOPE)}
        one, two = (held[side].keys() - excused for side in SIDES)
        assert one == two, f"only on one side: {one ^ two}"
        for key in one:
            source, destination = held["source"][key], held["destination"][key]
            if self.options.nulls == "skip" and None in [row[f] for row in (source, destination) for f in FIELDS]:
                continue
            for field in FIELDS:
                pair = (source[field], destination[field])
                owner = {"to_destination": 0, "to_source": 1}.get(self.options.owned) if field == "note" else None
                if (self.options.nulls == "keep" and None in pair) or (owner is not None and pair[owner] is None):
                    continue
                assert pair[0] == pair[1], f"{key}.{field} differs: {pair}"
