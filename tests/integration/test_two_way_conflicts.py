"""Conflicts from the sides to the log and back: recorded once, decided once, carried out even by a run that was killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sync_provider.engine import steps
from sync_provider.engine.bidirectional.baseline import pointer
from sync_provider.engine.ledger.conflicts import StoredConflict
from workspace import Workspace

START = "code,name,note\na,Anne,n1\nb,Ben,n2\nc,Chloé,n3\n"


class Pair:
    """A CSV file and a SQLite table in step."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.rules: dict[str, Any] = {}
        self.declare()
        self.csv = START

    def declare(self, note: dict[str, Any] | None = None, **keys: Any) -> None:
        self.rules = {**self.rules, **keys}
        names = ("code", "name", "note")
        fields: list[dict[str, Any]] = [{"source": name, "destination": name} for name in names]
        self.workspace.mapping(mode="bidirectional", fields=[*fields[:2], {**fields[2], **(note or {})}], **self.rules)

    @property
    def csv(self) -> str:
        return (self.workspace.files / "in.csv").read_text(encoding="utf-8")

    @csv.setter
    def csv(self, text: str) -> None:
        self.workspace.csv(text)

    def set(self, note: str | None, code: str = "a", column: str = "note") -> None:
        self.workspace.execute(f"UPDATE target SET {column} = ? WHERE code = ?", note, code)

    def edit(self, before: str, after: str) -> None:
        assert before in self.csv
        self.csv = self.csv.replace(before, after)

    def run(self, **options: Any) -> dict[str, Any]:
        return self.workspace.run(**options)

    def killed_at(self, step: str) -> None:
        def kill(reached: str) -> None:
            if reached == step:
                raise KeyboardInterrupt

        steps.listener = kill
        try:
            with pytest.raises(KeyboardInterrupt):
                self.run()
        finally:
            steps.listener = None

    def resolve(self, choice: str, value: str | None = None) -> None:
        with self.workspace.environment() as env:
            (stored,) = env.ledger.conflicts.list(statuses=("open",))
            env.ledger.conflicts.resolve(stored.id, choice, "marie", value)  # type: ignore[arg-type]

    @property
    def log(self) -> list[StoredConflict]:
        with self.workspace.environment() as env:
            return list(env.ledger.conflicts.list())

    @property
    def baseline(self) -> str:
        with self.workspace.environment() as env:
            return env.ledger.baselines.get(pointer("sample")).path  # type: ignore[union-attr]

    @property
    def notes(self) -> tuple[str, str]:
        """The note of record a in the file and in the table."""
        line = next(line for line in self.csv.splitlines() if line.startswith("a,"))
        return line.split(",")[2], next(row[2] for row in self.workspace.rows() if row[0] == "a")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    yield Pair(Workspace(tmp_path))
    steps.listener = None


def clash(pair: Pair) -> None:
    pair.run()
    pair.edit("n1", "ours")
    pair.set("theirs")


def test_an_open_conflict_is_one_however_often_it_is_found_and_costs_no_new_baseline(pair: Pair) -> None:
    clash(pair)
    pair.run()
    before = pair.baseline
    for _ in range(2):
        result = pair.run()
        assert (result["inserted"], result["updated"], result["conflicts_open"]) == (0, 0, 1)
    assert pair.baseline == before
    assert [stored.status for stored in pair.log] == ["open"]
    assert pair.notes == ("ours", "theirs")


@pytest.mark.parametrize("step", ["conflicts_logged", "source_written", "destination_written", "baseline_staged"])
@pytest.mark.parametrize("value", ["third", "n1"])  # n1: back to what it was
def test_a_killed_run_leaves_a_decision_to_the_next(pair: Pair, step: str, value: str) -> None:
    clash(pair)
    pair.run()
    pair.resolve("value", value)
    pair.killed_at(step)
    pair.run()
    assert pair.notes == (value, value)
    assert [stored.status for stored in pair.log] in (["applied"], ["agreed"])


@pytest.mark.parametrize("step", ["conflicts_logged", "source_written", "destination_written", "baseline_staged"])
@pytest.mark.parametrize("policy", ["source_wins", "destination_wins", "keep_both"])
def test_a_killed_run_and_the_next_record_the_loser_once(pair: Pair, step: str, policy: str) -> None:
    pair.declare(conflicts={"policy": policy})
    clash(pair)
    pair.killed_at(step)
    pair.run()
    (stored,) = pair.log
    assert (stored.status, stored.conflict.source, stored.conflict.destination) == ("settled", "ours", "theirs")
    assert stored.closed_run_id is not None
    winner = "theirs" if policy == "destination_wins" else "ours"
    assert pair.notes == (winner, winner)
    assert len(pair.workspace.rows()) == len(pair.csv.splitlines()) - 1 == (4 if policy == "keep_both" else 3)


def test_by_row_a_conflict_of_the_first_run_can_be_decided_at_once_or_later(pair: Pair) -> None:
    pair.run()
    pair.declare({"direction": "to_destination"}, conflicts={"granularity": "row", "policy": "manual"})
    pair.edit("Anne,n1", "Anna,n9")
    pair.set("Annie", column="name")
    pair.run(new_baseline=True)
    pair.run()
    # The note was not agreed on either, and its owner's holds.
    (stored, note) = pair.log
    assert (stored.status, stored.conflict.field, stored.conflict.source) == ("open", None, {"name": "Anna"})
    assert (note.status, note.conflict.field, note.conflict.destination) == ("settled", "note", "n1")
    assert pair.notes == ("n9", "n9")
    pair.resolve("destination")
    pair.run()
    assert [stored.status for stored in pair.log] == ["applied", "settled"]
    assert "a,Annie,n9" in pair.csv


def test_a_changed_policy_settles_what_was_open(pair: Pair) -> None:
    clash(pair)
    pair.run()
    pair.declare(conflicts={"policy": "destination_wins"})
    pair.run()
    assert [(stored.status, stored.conflict.winner) for stored in pair.log] == [
        ("superseded", None), ("settled", "destination"),
    ]  # fmt: skip
    assert pair.notes == ("theirs", "theirs")


def test_what_a_null_holds_up_is_not_recorded_again_and_again(pair: Pair) -> None:
    pair.declare({"nulls": "skip"}, conflicts={"policy": "source_wins"})
    pair.run()
    pair.edit("Anne,n1", "Anna,")
    pair.set("Annie", column="name")
    for _ in range(2):
        assert pair.run()["updated"] == 0
    assert pair.log == []
    assert pair.workspace.rows()[0] == ("a", "Annie", "n1")


def test_a_record_comes_back_with_what_its_owner_had(pair: Pair) -> None:
    pair.declare({"direction": "to_destination"})
    pair.run()
    pair.edit("a,Anne,n1\n", "")
    assert pair.run()["restored"] == 1
    assert pair.notes == ("n1", "n1")
    assert pair.run()["updated"] == 0
    assert pair.log == []


def test_what_cannot_be_written_back_stays_where_it_is_and_in_the_log(pair: Pair) -> None:
    pair.declare({"direction": "to_destination", "to_destination": "upper(value)"})
    pair.run()
    pair.edit("a,Anne,n1\n", "")
    assert pair.run()["restored"] == 1
    assert pair.run()["updated"] == 0
    assert pair.notes == ("", "N1")
    (stored,) = pair.log
    assert (stored.conflict.policy, stored.conflict.destination) == (
        "restored",
        {"code": "a", "name": "Anne", "note": "N1"},
    )


@pytest.mark.parametrize("deletes", ["none", "propagate"])
def test_a_record_whose_key_became_unreadable_is_neither_deleted_nor_doubled(pair: Pair, deletes: str) -> None:
    pair.declare(deletes=deletes, guards={"max_deletes": "100%", "max_deletes_in_window": "100%"})
    pair.run()
    pair.edit("a,Anne", ",Anne")
    result = pair.run()
    assert (result["inserted"], result["deleted"], result["restored"]) == (0, 0, 0)
    assert result["sides"]["destination"]["deferred"] == 1
    pair.edit(",Anne", "a,Anne")
    assert pair.run()["updated"] == 0
    assert pair.notes == ("n1", "n1")


def test_a_conflict_tells_when_each_record_was_changed(pair: Pair) -> None:
    pair.declare(conflicts={"policy": "newest", "change_time": {"source": "seen", "destination": "seen"}})
    pair.csv = "code,name,note,seen\na,Anne,n1,2025-01-01T00:00:00Z\n"
    pair.workspace.execute("CREATE TABLE target (code TEXT PRIMARY KEY, name TEXT, note TEXT, seen TEXT)")
    pair.run()
    pair.edit("n1,2025-01-01", "ours,2025-01-02")
    pair.set("theirs")
    pair.set("2025-01-03T00:00:00Z", column="seen")
    pair.run()
    assert pair.notes == ("theirs", "theirs")
    (stored,) = pair.log
    assert (stored.conflict.source_time, stored.conflict.destination_time) == (
        "2025-01-02T00:00:00Z",
        "2025-01-03T00:00:00Z",
    )
