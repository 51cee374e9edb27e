"""Random histories of people, runs and crashes on two sides, with an oracle that knows every value that anybody ever wrote.

A convergence test finds no lost edit: all wrong orders of writing converge. So every value is written once in a history, and in the end each
value that nobody knowingly replaced on its own side must stand on a side or in the conflict log.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sync_provider.core.errors import SyncError
from sync_provider.core.report import SideCounters
from sync_provider.engine.bidirectional import steps
from sync_provider.engine.bidirectional.baseline import pointer
from two_way_sides import COLUMNS, EXTRA, CsvSide, Driver, SqliteSide
from workspace import Workspace

FIELDS = COLUMNS[1:]
KEYS = ("a", "b", "c", "d")
STEPS = (
    "snapshot_source", "snapshot_destination", "planned", "validated", "conflicts_logged", "source_writing",
    "source_written", "destination_writing", "destination_written", "baseline_staged", "reported",
)  # fmt: skip


class Killed(BaseException):
    """Stops a run as nothing that the engine catches would."""


class TwoWayMachine(RuleBasedStateMachine):
    """Two sides under one integration. Subclasses choose the sides and the rules."""

    source_side: ClassVar[type[Driver]] = CsvSide
    destination_side: ClassVar[type[Driver]] = SqliteSide
    policy: ClassVar[str] = "merge"
    granularity: ClassVar[str] = "cell"
    deletes: ClassVar[str] = "propagate"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="two-way-"))
        self.workspace = Workspace(self.folder)
        self.sides = {
            "source": self.source_side(self.workspace, "left"),
            "destination": self.destination_side(self.workspace, "right"),
        }
        self.workspace.mapping(
            mode="bidirectional",
            write=None,
            source=self.sides["source"].endpoint,
            destination=self.sides["destination"].endpoint,
            fields=[{"source": name, "destination": name} for name in COLUMNS],
            conflicts={"policy": self.policy, "granularity": self.granularity},
            deletes=self.deletes,
            guards={"max_deletes": "100%", "max_deletes_in_window": "100%", "empty_source": "allow"},
        )
        self.count = 0
        self.live: dict[str, str] = {}
        """Every value that somebody wrote and nobody has knowingly replaced → what it was, for messages."""
        self.remarks: dict[tuple[str, str], str] = {}

    def fresh(self, what: str) -> str:
        self.count += 1
        value = f"v{self.count}"
        self.live[value] = what
        return value

    def forget(self, *values: Any) -> None:
        for value in values:
            self.live.pop(str(value), None)

    # What people do.

    @initialize(keys=st.lists(st.sampled_from(KEYS), unique=True, max_size=3))
    def begin(self, keys: list[str]) -> None:
        for key in keys:
            values = {name: self.fresh(f"{key}.{name} at the start") for name in FIELDS}
            for side in self.sides.values():
                side.add(key, **values)

    @rule(side=st.sampled_from(["source", "destination"]), key=st.sampled_from(KEYS), field=st.sampled_from(FIELDS))
    def edit(self, side: str, key: str, field: str) -> None:
        before = self.sides[side].by_key().get(key)
        if before is None:
            return
        # Whoever edits here sees what stands here, and replaces just that.
        self.forget(before[field])
        self.sides[side].edit(key, field, self.fresh(f"{key}.{field} on the {side}"))

    @rule(side=st.sampled_from(["source", "destination"]), key=st.sampled_from(KEYS))
    def add(self, side: str, key: str) -> None:
        if key in self.sides[side].by_key():
            return
        self.sides[side].add(key, **{name: self.fresh(f"{key}.{name} added on the {side}") for name in FIELDS})

    @rule(side=st.sampled_from(["source", "destination"]), key=st.sampled_from(KEYS))
    def delete(self, side: str, key: str) -> None:
        before = self.sides[side].by_key().get(key)
        if before is not None:
            self.forget(*(before[name] for name in FIELDS))
            self.sides[side].delete(key)
            self.remarks.pop((side, key), None)

    @rule(side=st.sampled_from(["source", "destination"]), key=st.sampled_from(KEYS))
    def rename(self, side: str, key: str) -> None:
        """A key that changes is a record that goes and another that comes, with the same values."""
        if key in self.sides[side].by_key():
            self.count += 1
            self.sides[side].edit(key, "code", f"k{self.count}")
            self.remarks.pop((side, key), None)

    @rule(side=st.sampled_from(["source", "destination"]), key=st.sampled_from(KEYS))
    def remark(self, side: str, key: str) -> None:
        if key in self.sides[side].by_key():
            self.count += 1
            self.remarks[side, key] = f"r{self.count}"
            self.sides[side].edit(key, EXTRA, self.remarks[side, key])

    @rule(side=st.sampled_from(["source", "destination"]))
    def reorder(self, side: str) -> None:
        self.sides[side].reorder()

    @rule(choice=st.sampled_from(["source", "destination", "value"]))
    @precondition(lambda self: self.open_conflicts())
    def resolve(self, choice: str) -> None:
        with self.workspace.environment() as env:
            conflict = env.ledger.conflicts.list(statuses=("open",))[0]
            if choice == "value" and conflict.conflict.field is None:
                choice = "source"
            value = self.fresh("a person's decision") if choice == "value" else None
            env.ledger.conflicts.resolve(conflict.id, choice, "somebody", value)  # type: ignore[arg-type]

    # What runs do.

    @rule()
    def synchronise(self) -> None:
        self.run()

    @rule(step=st.sampled_from(STEPS))
    def killed(self, step: str) -> None:
        def kill(reached: str) -> None:
            if reached == step:
                raise Killed

        self.run(kill)

    @rule(
        step=st.sampled_from(STEPS[1:-1]),
        side=st.sampled_from(["source", "destination"]),
        key=st.sampled_from(KEYS),
        field=st.sampled_from(FIELDS),
        then_killed=st.booleans(),
    )
    def edited_meanwhile(self, step: str, side: str, key: str, field: str, then_killed: bool) -> None:
        done = False

        def edit(reached: str) -> None:
            nonlocal done
            # A database is locked by whoever writes it: nobody edits it from within the write itself.
            if reached == step and not done and not reached.startswith(f"{side}_writing"):
                done = True
                self.edit(side, key, field)
                if then_killed:
                    raise Killed

        self.run(edit)

    @rule()
    def lose_the_baseline(self) -> None:
        with self.workspace.environment() as env:
            current = env.ledger.baselines.get(pointer("sample"))
            if current is not None:
                env.store.delete(current.path)

    def run(self, listener: Any = None) -> dict[str, Any] | None:
        steps.listener = listener
        try:
            result = self.workspace.run(allow_deletes_once=False)
        except Killed:
            return None
        finally:
            steps.listener = None
        for side in result["sides"].values():
            assert SideCounters(**side).balanced, result
            assert side["unchanged"] >= 0
        return result

    def open_conflicts(self) -> int:
        with self.workspace.environment() as env:
            return env.ledger.conflicts.count(statuses=("open",))

    # What must hold in the end.

    def teardown(self) -> None:
        try:
            self.check()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def check(self) -> None:
        for _ in range(4):
            result = self.run()
            assert result is not None
            if result["inserted"] == result["updated"] == result["deleted"] == 0:
                break
        else:
            raise AssertionError(f"still writing: {result}")
        with self.workspace.environment() as env:
            before = env.ledger.conflicts.count()
        assert self.run()["inserted"] == 0  # type: ignore[index]
        rows = {name: side.by_key() for name, side in self.sides.items()}
        with self.workspace.environment() as env:
            logged = env.ledger.conflicts.list()
        assert len(logged) == before
        pending = {c.conflict.key for c in logged if c.status in ("open", "decided")}
        shown = {row[name] for side in rows.values() for row in side.values() for name in FIELDS}
        for stored in logged:
            for part in (stored.conflict.source, stored.conflict.destination, stored.value):
                shown |= set(part.values()) if isinstance(part, dict) else {part}
        lost = {value: what for value, what in self.live.items() if value not in shown}
        assert not lost, f"lost: {lost}"
        assert rows["source"].keys() == rows["destination"].keys()
        for key, row in rows["source"].items():
            other = rows["destination"][key]
            if key not in pending:
                assert [row[n] for n in FIELDS] == [other[n] for n in FIELDS], key
        for (side, key), text in self.remarks.items():
            if key in rows[side]:
                assert rows[side][key][EXTRA] in (text, None), "a column outside the mapping changed"


__all__ = ["SyncError", "TwoWayMachine"]
