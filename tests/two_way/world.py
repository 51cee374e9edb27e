"""Two sides, the people who edit them, the runs between them, and an oracle that knows every value that anybody ever wrote.

A convergence test finds no lost edit: all wrong orders of writing converge. So every value is written once, and at every step of every run
each value that nobody knowingly replaced on its own side must stand on a side or in the conflict log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sync_provider.core.errors import SyncConnectionError
from sync_provider.engine import pipeline
from sync_provider.engine.bidirectional.baseline import pointer
from two_way.options import FIELDS, KEYS, OUT_OF_SCOPE, SIDES
from two_way.runs import Runs
from two_way.sides import CHANGED, EXTRA


class World(Runs):
    """One integration and everything that happens to it: each action of a history is a method. Use as a context manager.

    Every argument fits every state, so that a part of a history is a history.
    """

    # What people do.

    def do(self, action: str, /, **arguments: Any) -> None:
        """One action of a history; see the methods below."""
        self.log.append(f"{action} {arguments}")
        getattr(self, action)(**arguments)
        self.observe(f"after {action}")

    def start(self, count: int) -> None:
        """Both sides hold the first keys, with equal values."""
        for key in KEYS[:count]:
            if any(key in driver.by_key() for driver in self.sides.values()):
                continue
            values = {name: self.fresh(f"{key}.{name} at the start") for name in FIELDS}
            for side in SIDES:
                self.put(side, key, values)

    def edit(self, side: str, number: int, field: str, null: bool = False) -> None:
        key = self.pick(side, number)
        if key is None:
            return
        # Whoever edits here sees what stands here, and replaces just that.
        self.forget(self.view(side)[key][field])
        value = None if null else self.fresh(f"{key}.{field} on the {side}")
        self.sides[side].edit(key, field, self.spelled(side, field, value))
        self.sides[side].edit(key, CHANGED, self.side_time(side))

    def add(self, side: str, number: int) -> None:
        key = KEYS[number % len(KEYS)]
        if key in self.sides[side].by_key():
            return
        self.put(side, key, {name: self.fresh(f"{key}.{name} added on the {side}") for name in FIELDS})

    def delete(self, side: str, number: int) -> None:
        key = self.pick(side, number)
        if key is None:
            return
        for row in self.rows(side):
            if row["code"] == key:
                self.forget(*(row[name] for name in FIELDS))
        self.sides[side].delete(key)
        self.remarks.pop((side, key), None)

    def rename(self, side: str, number: int) -> None:
        """A key that changes is a record that goes and another that comes, with the same values."""
        key = self.pick(side, number)
        if key is None:
            return
        self.count += 1
        self.sides[side].edit(key, "code", f"k{self.count}")
        self.remarks.pop((side, key), None)

    def swap(self, side: str, number: int) -> None:
        """Two records exchange their keys: whoever looks at keys sees two edited records."""
        one, two = self.pick(side, number), self.pick(side, number + 1)
        if one is None or two is None or one == two or self.sides[side].unique:
            return
        for before, after in ((one, "?"), (two, one), ("?", two)):
            self.sides[side].edit(before, "code", after)
        for key in (one, two):
            self.remarks.pop((side, key), None)

    def double(self, side: str, number: int) -> None:
        """A second row of a key that stands there already, where nothing refuses that."""
        key = self.pick(side, number)
        if key is not None and not self.sides[side].unique:
            self.put(side, key, {name: self.fresh(f"second {key}.{name} on the {side}") for name in FIELDS})

    def undouble(self, side: str) -> None:
        """Somebody removes all rows whose key stands there more than once."""
        keys = [row["code"] for row in self.rows(side)]
        for number, key in enumerate(sorted({str(key) for key in keys})):
            if keys.count(key) > 1:
                self.delete(side, number)

    def remark(self, side: str, number: int) -> None:
        """Write in a column outside the mapping."""
        key = self.pick(side, number)
        if key is not None:
            self.count += 1
            self.remarks[side, key] = f"r{self.count}"
            self.sides[side].edit(key, EXTRA, f"r{self.count}")

    def reorder(self, side: str) -> None:
        self.sides[side].reorder()

    def tick(self, side: str, hours: int) -> None:
        """The people's clocks go on, and that of one side is set, forwards or back."""
        self.hour += 1
        self.skew[side] += hours

    def wait(self) -> None:
        self.clock.sleep(2400)

    def resolve(self, number: int, choice: str) -> None:
        found = self.conflicts("open", "decided")
        if not found:
            return
        conflict = found[number % len(found)]
        if choice == "value" and conflict.conflict.field is None:
            choice = "source"
        value = self.fresh("a person's decision") if choice == "value" else None
        if conflict.status == "decided":
            self.forget(conflict.value)
        self.env.ledger.conflicts.resolve(conflict.id, choice, "somebody", value)  # type: ignore[arg-type]

    def change_filter(self) -> None:
        """Another filter is another set of records: runs refuse it until a person asks for a new baseline."""
        self.filter = None if self.filter else f"coalesce(name, '') NOT LIKE '%{OUT_OF_SCOPE}'"
        self.declare()
        before = self.everything()
        kept = self.baseline_path() is not None and self.baseline_readable()
        error = self.attempt("a run under another filter")
        if kept:
            assert error is not None
            assert error.code == "baseline_changed", error
            assert self.everything() == before, "written although the filter changed"
        self.new_baseline = kept

    def lose_state(self, how: str) -> None:
        path = self.baseline_path()
        if path is None:
            return
        if how == "pointer":
            with self.env.ledger._database.write() as connection:
                connection.execute(
                    sa.text("DELETE FROM sync_baselines WHERE name = :name"), {"name": pointer("sample")}
                )
        elif how == "damage":
            with self.env.store.open_read(path) as file:
                text = file.read()
            assert text
            place = Path(self.workspace.settings.store_url.removeprefix("file://")) / path
            content = place.read_bytes()
            place.write_bytes(content[: len(content) // 2])
        else:
            self.env.store.delete(path)

    # What runs do.

    def sync(self) -> None:
        error = self.attempt("a run")
        assert error is None or self.may_stop(error), error

    def killed(self, step: str, nth: int = 1) -> None:
        self.attempt("a killed run", self.at(step, self.die, nth))

    def fails(self, step: str) -> None:
        """The network breaks, as an error that the engine knows."""

        def cut() -> None:
            raise SyncConnectionError("the line is cut", code="cut")

        self.attempt("a failing run", self.at(step, cut))

    def during(self, step: str, action: str, then: str, **arguments: Any) -> None:
        """Somebody does something while a run is at a step; then it goes on, or is killed."""

        def act() -> None:
            side = arguments.get("side")
            if self.sides[str(side)].locked and step == f"{side}_writing":
                return
            self.log.append(f"  at {step}: {action}")
            getattr(self, action)(**arguments)
            if then == "killed":
                self.die()

        error = self.attempt("an edited run", self.at(step, act))
        assert error is None or self.may_stop(error) or error.code == "file_changed", error

    def retry(self) -> None:
        """The last run that did not end goes on from its phase that did not, as Airflow retries a task."""
        if self.unfinished is not None:
            self.attempt("a retry", run=self.unfinished, retry=True)

    def clear(self, nth: int, phase: int) -> None:
        """An earlier run is cleared from one of its phases on: with what it had staged then."""
        if not self.runs:
            return
        run = self.runs[nth % len(self.runs)]
        names = pipeline.phases_of(self.mapping.mapping)
        self.attempt("a cleared run", run=run, first=names[phase % len(names)])

    def allow(self) -> None:
        """A person lets the deletions of one run pass."""
        error = self.attempt("an allowed run", allow_deletes_once=True)
        assert error is None or self.may_stop(error), error
