"""Two-way integrations on the command line: plan, apply, run, conflicts; what is printed, what is written, how it exits."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from sync_provider.cli.main import main
from workspace import Workspace, deployment

MAPPING = {
    "version": 1,
    "id": "pair",
    "mode": "bidirectional",
    "source": {"type": "csv", "path": "in.csv"},
    "destination": {"type": "sql", "connection": "db", "table": "target"},
    "key": ["code"],
    "fields": [
        {"source": "code", "destination": "code"},
        {"source": "Montant", "destination": "amount", "type": "decimal(12,2)"},
        {"source": "Note", "destination": "note"},
    ],
    "deletes": "propagate",
}
START = "code,Montant,Note\n001,1.50,a\n002,2.00,b\n003,3.00,c\n"


class Pair:
    """A CSV file and a SQLite table, and the program beside them."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        deployment(workspace, monkeypatch)
        self.declare()
        workspace.csv(START)

    def declare(self, **keys: Any) -> None:
        (self.workspace.mappings / "pair.yaml").write_text(
            yaml.safe_dump({**MAPPING, **keys}, allow_unicode=True), encoding="utf-8"
        )

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == code, result.output
        return result

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return json.loads(self(*arguments, "--json", code=code).stdout)  # type: ignore[no-any-return]

    def file(self) -> str:
        return (self.workspace.files / "in.csv").read_text(encoding="utf-8")

    def rows(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.workspace.database)) as database:
            return database.execute("SELECT code, amount, note FROM target ORDER BY code").fetchall()


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(Workspace(tmp_path), monkeypatch)


def conflict(pair: Pair) -> None:
    """Both sides in step, then the note of 001 edited on both, and the amount of 002 on one."""
    pair("run", "pair")
    pair.workspace.execute("UPDATE target SET note = 'theirs' WHERE code = '001'")
    pair.workspace.csv(START.replace("1.50,a", "1.50,ours").replace("2.00", "2.50"))


def test_a_first_plan_shows_what_would_be_copied_and_writes_nothing(pair: Pair) -> None:
    plan = pair.json("plan", "pair")
    assert [(c["side"], c["op"]) for c in plan["changes"]] == [("destination", "insert")] * 3
    assert plan["summary"]["destination"]["inserts"] == 3
    assert not pair.workspace.database.exists() or pair.rows() == []


def test_a_plan_shows_old_and_new_of_both_sides_and_the_conflicts(pair: Pair) -> None:
    conflict(pair)
    pair.workspace.execute("UPDATE target SET note = 'b2' WHERE code = '002'")
    plan = pair.json("plan", "pair")
    assert {(c["side"], c["op"], json.dumps(c["cells"])) for c in plan["changes"]} == {
        ("source", "update", '{"Note": {"old": "b", "new": "b2"}}'),
        ("destination", "update", '{"amount": {"old": "2.00", "new": "2.50"}}'),
    }
    (found,) = plan["conflicts"]
    assert (found["key"], found["field"], found["base"], found["source"], found["destination"]) == (
        "001", "note", "a", "ours", "theirs",
    )  # fmt: skip
    text = pair("plan", "pair").stdout
    assert "← ~" in text
    assert "theirs" in text
    assert pair.json("conflicts", "list")["conflicts"] == []


def test_an_applied_plan_is_exactly_the_one_that_was_shown(pair: Pair) -> None:
    conflict(pair)
    plan = pair.json("plan", "pair")
    done = pair.json("apply", plan["digest"][:12])
    assert (done["counters"]["updated"], done["counters"]["conflicts_open"]) == (1, 1)
    assert pair.rows()[1] == ("002", 2.5, "b")


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_plan_is_refused_once_a_side_has_moved(pair: Pair, side: str) -> None:
    conflict(pair)
    plan = pair.json("plan", "pair")
    before = pair.rows()
    if side == "source":
        pair.workspace.csv(pair.file().replace("3.00", "3.33"))
    else:
        pair.workspace.execute("UPDATE target SET amount = 9 WHERE code = '003'")
        before = pair.rows()
    refused = pair.json("apply", plan["run"], code=4)
    assert refused["error"]["code"] == "plan_stale"
    assert refused["state"] == "failed"
    assert pair.rows() == before


def test_a_plan_is_refused_once_its_mapping_has_changed(pair: Pair) -> None:
    conflict(pair)
    plan = pair.json("plan", "pair")
    pair.declare(description="changed")
    assert pair.json("apply", plan["run"], code=4)["error"]["code"] == "plan_stale"
    assert pair.json("apply", "ffff", code=4)["error"]["code"] == "plan_unknown"


def test_a_start_that_fits_several_plans_is_refused_with_their_names(pair: Pair) -> None:
    conflict(pair)
    first = pair.json("plan", "pair")
    again = pair.json("plan", "pair")
    assert again["digest"] == first["digest"]
    pair.workspace.execute("UPDATE target SET amount = 9 WHERE code = '003'")
    other = pair.json("plan", "pair")
    refused = pair.json("apply", other["run"][:3], code=4)["error"]
    assert refused["code"] == "plan_unknown"
    assert "fits 2 plans" in refused["message"]
    assert f"{other['run']} of pair, digest {other['digest'][:12]}" in refused["message"]
    assert pair.json("apply", "", code=4)["error"]["code"] == "plan_unknown"
    assert pair.json("apply", other["digest"][:12].upper())["counters"]["updated"] == 2
    assert pair.file().splitlines()[3] == "003,9.00,c"


def test_an_approval_on_the_command_line_needs_a_terminal(pair: Pair) -> None:
    plan = pair.json("plan", "pair")
    assert "needs a terminal" in pair("apply", plan["run"], "--approve", code=2).output


def test_a_plan_that_a_guard_stops_is_not_applied_without_a_word(pair: Pair) -> None:
    pair("run", "pair")
    pair.workspace.csv(START.splitlines()[0] + "\n001,1.50,a\n")
    plan = pair.json("plan", "pair", code=7)
    assert pair.json("apply", plan["digest"], code=7)["state"] == "blocked"
    assert len(pair.rows()) == 3
    assert pair.json("apply", plan["digest"], "--allow-deletes-once")["counters"]["deleted"] == 2
    assert len(pair.rows()) == 1


def test_a_one_way_plan_is_applied_too(pair: Pair) -> None:
    pair.declare(mode="import", deletes="none")
    plan = pair.json("plan", "pair")
    assert pair.json("apply", plan["digest"])["counters"]["inserted"] == 3
    assert pair.json("apply", plan["digest"], code=4)["error"]["code"] == "plan_stale"


@pytest.mark.parametrize(
    ("options", "holds"), [(["--source"], "ours"), (["--destination"], "theirs"), (["--value", "both"], "both"), (["--null"], None)]
)  # fmt: skip
def test_a_person_decides_and_the_next_run_applies_it(pair: Pair, options: list[str], holds: str | None) -> None:
    conflict(pair)
    assert "wait for a decision: 1," in pair("run", "pair").stdout
    (found,) = pair.json("conflicts", "list", "pair")["conflicts"]
    pair("conflicts", "resolve", str(found["id"]), *options)
    assert pair.json("run", "pair")["counters"]["conflicts_open"] == 0
    assert pair.rows()[0] == ("001", 1.5, holds)
    assert (f"001,1.50,{holds or ''}\n") in pair.file()
    assert pair.json("conflicts", "show", str(found["id"]))["status"] == "applied"


def test_a_decision_is_not_applied_to_values_that_moved(pair: Pair) -> None:
    conflict(pair)
    pair("run", "pair")
    pair("conflicts", "resolve", "1", "--source")
    pair.workspace.execute("UPDATE target SET note = 'later' WHERE code = '001'")
    assert pair.json("run", "pair")["counters"]["conflicts_open"] == 1
    found = pair.json("conflicts", "list", "--all")["conflicts"]
    assert [(c["status"], c["destination"]) for c in found] == [("superseded", "theirs"), ("open", "later")]


def test_a_second_person_learns_that_it_is_decided(pair: Pair) -> None:
    conflict(pair)
    pair("run", "pair")
    with pair.workspace.environment() as env:
        env.ledger.conflicts.resolve(1, "source", "cli:paul")
    pair("conflicts", "resolve", "1", "--source")
    refused = pair.json("conflicts", "resolve", "1", "--destination", code=4)
    assert refused["error"]["code"] == "conflict_decided"
    assert "cli:paul decided conflict 1 for the source" in refused["error"]["message"]


def test_whoever_decided_may_think_again_before_the_next_run(pair: Pair) -> None:
    conflict(pair)
    pair("run", "pair")
    pair("conflicts", "resolve", "1", "--source")
    pair("conflicts", "resolve", "1", "--destination")
    pair("run", "pair")
    assert pair.rows()[0] == ("001", 1.5, "theirs")


def test_a_decision_for_a_key_that_validation_refuses_waits(pair: Pair) -> None:
    conflict(pair)
    pair("run", "pair")
    pair("conflicts", "resolve", "1", "--value", "nobody")
    rule = {"type": "expect_column_values_to_not_be_in_set", "kwargs": {"column": "note", "value_set": ["nobody"]}}
    pair.declare(validation={"expectations": [rule]})
    assert pair.json("run", "pair")["counters"]["rejected"] == 2
    assert pair.json("conflicts", "show", "1")["status"] == "decided"
    assert pair.rows()[0] == ("001", 1.5, "theirs")
    pair.declare()
    pair("run", "pair")
    assert pair.json("conflicts", "show", "1")["status"] == "applied"
    assert pair.rows()[0] == ("001", 1.5, "nobody")


def test_what_is_no_value_of_the_field_is_refused(pair: Pair) -> None:
    pair("run", "pair")
    pair.workspace.execute("UPDATE target SET amount = 7 WHERE code = '001'")
    pair.workspace.csv(START.replace("1.50", "8.00"))
    pair("run", "pair")
    assert "no decimal(12,2)" in pair("conflicts", "resolve", "1", "--value", "many", code=2).output
    pair("conflicts", "resolve", "1", "--value", "")
    assert pair.json("conflicts", "show", "1")["value"] is None
    pair("conflicts", "resolve", "1", "--value", "9")
    pair("run", "pair")
    assert pair.rows()[0] == ("001", 9, "a")


def test_a_mass_deletion_waits_for_a_person_and_writes_nothing(pair: Pair) -> None:
    pair("run", "pair")
    pair.workspace.csv(START.splitlines()[0] + "\n001,1.50,a\n")
    stopped = pair.json("run", "pair", code=7)
    assert stopped["state"] == "blocked"
    assert "2 of 3 records would be deleted from the destination" in stopped["error"]["message"]
    assert len(pair.rows()) == 3
    assert pair.json("run", "pair", "--allow-deletes-once")["counters"]["deleted"] == 2
    assert len(pair.rows()) == 1


def test_an_emptied_side_deletes_nothing(pair: Pair) -> None:
    pair("run", "pair")
    pair.workspace.csv(START.splitlines()[0] + "\n")
    assert "the source holds no record; 3 were in step before" in pair.json("run", "pair", code=7)["error"]["message"]
    assert len(pair.rows()) == 3


def test_a_changed_filter_asks_for_a_new_baseline(pair: Pair) -> None:
    pair("run", "pair")
    pair.declare(filter="amount > 1.75")
    stopped = pair.json("run", "pair", code=7)
    assert stopped["error"]["code"] == "baseline_changed"
    assert "filter" in stopped["error"]["message"]
    assert pair.json("plan", "pair", code=7)["error"]["code"] == "baseline_changed"
    plan = pair.json("plan", "pair", "--new-baseline")
    assert (plan["summary"]["source"]["filtered"], plan["changes"]) == (1, [])
    done = pair.json("apply", plan["run"])
    assert (done["counters"]["baseline"], done["counters"]["deleted"], done["counters"]["filtered"]) == ("new", 0, 2)
    assert len(pair.rows()) == 3


def test_a_part_is_refused_in_words(pair: Pair) -> None:
    assert pair.json("run", "pair", "--limit", "1", code=4)["error"]["code"] == "two_way_part"
    assert pair.json("run", "pair", "--key", "002")["counters"]["inserted"] == 1


def test_both_sides_are_tested_for_writing(pair: Pair) -> None:
    pair("run", "pair")
    tested = pair.json("test", "pair")
    assert all("write" in {probe["aspect"] for probe in tested[side]} for side in ("source", "destination"))


def test_status_tells_of_open_conflicts(pair: Pair) -> None:
    conflict(pair)
    pair("run", "pair")
    lines = pair("status").stdout.splitlines()
    assert lines[1][lines[0].index("conflicts") :].split()[0] == "1"
    told = pair.json("status", "pair")
    assert told["conflicts_open"] == 1
    assert "airflow-sync conflicts list --run" in pair("status", "pair").stdout
    pair("conflicts", "resolve", "1", "--source")
    assert pair.json("status")["integrations"][0]["conflicts_open"] == 0


def test_a_run_tells_what_it_did_on_each_side(pair: Pair) -> None:
    conflict(pair)
    pair.workspace.execute("INSERT INTO target VALUES ('004', 4, 'new')")
    told = [line.split() for line in pair("run", "pair").stdout.splitlines()]
    assert ["read", "unchanged", "written", "conflict", "inserted", "updated"] in told
    assert ["source", "3", "1", "1", "1", "1", "0"] in told
    assert ["destination", "4", "1", "2", "1", "0", "1"] in told
    sides = pair.json("status", "pair")["counters"]["sides"]
    assert (sides["source"]["inserted"], sides["destination"]["updated"]) == (1, 1)


def test_lint_names_the_place_of_what_two_ways_cannot_do(pair: Pair) -> None:
    pair.declare(source={"type": "csv", "path": "*.csv"})
    text = (pair.workspace.mappings / "pair.yaml").read_text(encoding="utf-8").splitlines()
    line = next(number for number, each in enumerate(text, 1) if "*.csv" in each)
    found = pair("lint", code=2).output
    assert f"pair.yaml:{line}:" in found
    assert "source.path: mode: bidirectional writes to the source too" in found
