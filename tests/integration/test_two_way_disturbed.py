"""Two-way runs whose ground moves: a changed mapping, an emptied side, clocks that jump, nulls of different kinds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sync_provider.core.errors import SyncValidationError
from sync_provider.engine.clock import SystemClock
from workspace import Workspace

FIELDS = [
    {"source": "Code", "destination": "code"},
    {"source": "Autre", "destination": "other"},
    {"source": "Note", "destination": "note"},
]
START = "Code,Autre,Note\n001,A1,a\n002,A2,b\n003,A3,c\n"


class Pair:
    """A file and a table in step, whose deletions travel."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.declare()
        workspace.csv(START)
        workspace.run()

    def declare(self, **keys: Any) -> None:
        loose = {"max_deletes": "100%", "max_deletes_in_window": "100%", "on_trip": "fail"}
        plain = {"mode": "bidirectional", "write": None, "fields": FIELDS, "deletes": "propagate", "guards": loose}
        self.workspace.mapping(**{**plain, **keys})

    @property
    def file(self) -> str:
        return (self.workspace.files / "in.csv").read_text(encoding="utf-8")

    def everything(self) -> Any:
        return self.file, self.workspace.rows()

    def refused(self, **params: Any) -> str:
        """A run that is blocked and writes nothing; what it says."""
        before = self.everything()
        with pytest.raises(SyncValidationError) as stopped:
            self.workspace.run(**params)
        assert stopped.value.needs_decision
        assert self.everything() == before
        with self.workspace.environment() as env:
            assert env.ledger.runs.list()[0].state == "blocked"
        return str(stopped.value)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(Workspace(tmp_path))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"key": ["other"]}, "key"),
        ({"fields": [*FIELDS[:2], {**FIELDS[2], "direction": "to_destination"}]}, "fields (note)"),
        ({"fields": FIELDS[:2]}, "fields (note)"),
        ({"filter": "code <> '001'"}, "filter"),
        ({"destination": {"type": "sql", "connection": "db", "table": "moved"}}, "destination"),
    ],
    ids=["key", "direction", "field", "filter", "end"],
)
def test_a_changed_mapping_asks_for_a_new_baseline_and_deletes_nothing(
    pair: Pair, changed: dict[str, Any], named: str
) -> None:
    """Filter, key or direction of a mapping changed: what is missing since is no deletion of anybody's."""
    pair.workspace.execute("CREATE TABLE moved (code TEXT PRIMARY KEY, other TEXT, note TEXT)")
    pair.workspace.execute("DELETE FROM target WHERE code = '002'")
    pair.declare(**changed)
    said = pair.refused()
    assert f"the mapping's {named} changed" in said
    assert "--new-baseline" in said
    result = pair.workspace.run(new_baseline=True)
    assert (result["baseline"], result["deleted"]) == ("new", 0)
    assert pair.file == START
    assert pair.workspace.run()["baseline"] == "kept"
    pair.declare()
    assert "changed since both sides last agreed" in pair.refused()


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_side_that_came_back_empty_deletes_nothing(pair: Pair, side: str) -> None:
    """A side answers with an empty list although the baseline has records."""
    if side == "source":
        pair.workspace.csv("Code,Autre,Note\n")
    else:
        pair.workspace.execute("DELETE FROM target")
    said = pair.refused()
    assert f"the {side} holds no record; 3 were in step before" in said
    result = pair.workspace.run(allow_deletes_once=True)
    assert result["deleted"] == 3


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_jumps_changes_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """The worker's clock is an hour off between two runs: edits meet, conflicts are told, deletions wait no less."""
    pair.declare(delete_grace="PT30M")
    pair.workspace.csv(pair.file.replace("A1", "A1 here").replace("003,A3,c\n", "003,A3,here\n"))
    pair.workspace.execute("UPDATE target SET note = 'there' WHERE code IN ('001', '003')")
    pair.workspace.execute("DELETE FROM target WHERE code = '002'")
    pair.workspace.run()
    started = datetime.now(UTC)
    monkeypatch.setattr(SystemClock, "now", lambda _: started + timedelta(hours=hours))
    result = pair.workspace.run()
    assert pair.workspace.rows()[0] == ("001", "A1 here", "there")
    assert result["conflicts_open"] == 1
    assert pair.workspace.rows()[-1] == ("003", "A3", "there")
    assert result["deleted"] == (1 if hours > 0 else 0)
    monkeypatch.setattr(SystemClock, "now", lambda _: started + timedelta(hours=2))
    pair.workspace.run()
    assert pair.file == "Code,Autre,Note\n001,A1 here,there\n003,A3,here\n"
    assert pair.workspace.run()["written"] == 0


def test_null_and_an_empty_text_are_two_values_and_each_travels(pair: Pair) -> None:
    """An empty text is no null, and neither blanks the other side by itself."""
    pair.workspace.execute("UPDATE target SET note = '' WHERE code = '001'")
    pair.workspace.execute("UPDATE target SET note = NULL WHERE code = '002'")
    pair.workspace.run()
    assert pair.file == 'Code,Autre,Note\n001,A1,""\n002,A2,\n003,A3,c\n'
    assert pair.workspace.run()["written"] == 0
    pair.workspace.csv('Code,Autre,Note\n001,A1,\n002,A2,""\n003,A3,c\n')
    pair.workspace.run()
    assert pair.workspace.rows() == [("001", "A1", None), ("002", "A2", ""), ("003", "A3", "c")]
    assert pair.workspace.run()["written"] == 0
