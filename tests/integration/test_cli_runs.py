"""The command line over real files, SQLite, ledger and store: run, plan, status, rejects, test, init."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from pwd import getpwuid
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sync_provider.cli.main import main
from workspace import Workspace, deployment

MIRROR = {"write": "mirror", "guards": {"max_deletes": 0, "max_deletes_in_window": "100%"}}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A deployment that this process's environment leads to, as a shell's would."""
    made = Workspace(tmp_path)
    deployment(made, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return made


def sync(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def answer(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = sync(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_run_tells_each_phase_and_what_became_of_the_run(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,1.50\n002,x\n")
    result = sync("run", "sample")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["extract", "validate", "plan", "backup", "load", "report"]
    assert lines[0].endswith("read 2, staged 1, rejected 1")
    assert lines[6].startswith("sample partial in ")
    assert lines[6].endswith(": read 2, inserted 1, rejected 1")
    assert "airflow-sync rejects list --run " in lines[7]
    assert [row[:2] for row in workspace.rows()] == [("001", 1.5)]


def test_run_answers_programs_in_one_document(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,1\n002,2\n003,3\n")
    data = answer("run", "sample", "--limit", "2", "--key", "001")
    assert (data["mapping"], data["state"]) == ("sample", "succeeded")
    assert {name: data["counters"][name] for name in ("read", "inserted", "filtered")} == {
        "read": 2,
        "inserted": 1,
        "filtered": 1,
    }
    assert [entry["phase"] for entry in data["phases"]][-1] == "report"
    assert all(entry["duration_s"] >= 0 for entry in data["phases"])
    with workspace.environment() as env:
        (run,) = env.ledger.runs.list()
    assert (run.id, run.dag_id, run.trigger) == (data["run"], "cli", "cli")
    assert run.params["keys"] == ["001"]


def test_a_failed_run_exits_by_the_kind_of_its_error_and_names_the_run(workspace: Workspace) -> None:
    workspace.mapping()
    data = answer("run", "sample", code=4)
    assert (data["state"], data["error"]["category"]) == ("failed", "données")
    assert sync("run", "nothing").exit_code == 2
    assert sync("run", "sample", "--limit", "0").exit_code == 2


def test_a_lease_held_elsewhere_exits_with_3_and_names_its_holder(workspace: Workspace) -> None:
    from datetime import timedelta

    workspace.mapping()
    workspace.csv("code,amount\n001,1\n")
    with workspace.environment() as env, env.connect(_destination(workspace)) as connector:
        env.ledger.leases.acquire(connector.capabilities.resource, "ANOTHER", timedelta(minutes=5))
    data = answer("run", "sample", code=3)
    assert (data["error"]["code"], data["error"]["retryable"]) == ("lease_held", True)
    assert "ANOTHER" in data["error"]["message"]


def _destination(workspace: Workspace) -> Any:
    return workspace.sync.load("sample").mapping.destination


@pytest.fixture
def tripping(workspace: Workspace) -> Workspace:
    """A mirror whose next run would delete a record, which its guard forbids."""
    workspace.mapping(**MIRROR)
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    workspace.csv("code,amount\n001,1\n")
    return workspace


def test_a_tripped_guard_exits_with_7_the_numbers_and_how_to_go_on(tripping: Workspace) -> None:
    result = sync("run", "sample")
    assert result.exit_code == 7
    assert "1 of 2 records would be deleted (guards.max_deletes: 0)" in result.stderr
    assert "--approve" in result.stderr
    assert "--allow-deletes-once" in result.stderr
    assert len(tripping.rows()) == 2
    assert answer("status", "sample")["state"] == "blocked"
    assert answer("run", "sample", "--allow-deletes-once")["counters"]["deleted"] == 1
    assert len(tripping.rows()) == 1


def test_plan_shows_what_a_guard_would_stop_and_exits_with_7(tripping: Workspace) -> None:
    data = answer("plan", "sample", code=7)
    assert data["summary"]["deletes"] == 1
    assert [trip["guard"] for trip in data["trips"]] == ["max_deletes"]
    assert data["changes"] == [
        {"side": "destination", "op": "delete", "key": {"code": "002"}, "cells": {"amount": {"old": "2.00"}}}
    ]
    result = sync("plan", "sample")
    assert result.exit_code == 7
    assert "Guard max_deletes would stop the run: 1 of 2 records would be deleted" in result.stdout


def test_a_guard_that_fails_at_once_still_lets_plan_show_the_changes(workspace: Workspace) -> None:
    guards = {"max_deletes": 0, "max_deletes_in_window": "100%", "on_trip": "fail"}
    workspace.mapping(write="mirror", guards=guards)
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    workspace.csv("code,amount\n001,1\n")
    assert len(answer("plan", "sample", code=7)["changes"]) == 1
    error = answer("run", "sample", code=7)["error"]
    assert (error["code"], "--approve" in error["hint"]) == ("guard_tripped", False)


def test_approve_needs_a_terminal(tripping: Workspace) -> None:
    result = sync("run", "sample", "--approve")
    assert (result.exit_code, "needs a terminal" in result.stderr) == (2, True)


@pytest.mark.parametrize(("said", "code", "state"), [("y\n", 0, "succeeded"), ("n\n", 7, "blocked")])
def test_a_person_at_the_terminal_decides_and_is_audited_by_the_systems_name(
    tripping: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: str,
    code: int,
    state: str,
) -> None:
    # Who decides is the operating system's user: the environment may say what it likes.
    monkeypatch.setenv("LOGNAME", "somebody")
    assert _at_terminal(monkeypatch, said, "run", "sample", "--approve") == code
    assert "1 of 2 records would be deleted" in capsys.readouterr().err
    with tripping.environment() as env:
        last = env.ledger.runs.list(limit=1)[0]
        (decision,) = [row for row in env.ledger.audit.list(subject=last.id) if row.action.startswith("plan.")]
    assert (last.state, decision.actor) == (state, f"cli:{getpwuid(os.getuid()).pw_name}")
    assert decision.action == ("plan.approved" if code == 0 else "plan.refused")


def test_a_person_who_is_no_approver_is_not_asked(
    tripping: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__SYNC_PROVIDER__APPROVERS", "7:somebody-else")
    assert _at_terminal(monkeypatch, "y\n", "run", "sample", "--approve") == 7
    assert "may not approve; nothing was written" in capsys.readouterr().err
    assert len(tripping.rows()) == 2


def _at_terminal(monkeypatch: pytest.MonkeyPatch, said: str, *arguments: str) -> int | str | None:
    """Run the program with a terminal as its input, at which somebody types."""
    ours, theirs = pty.openpty()
    os.write(ours, said.encode())
    with os.fdopen(theirs, encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(SystemExit) as end:
            main(arguments)
    os.close(ours)
    return end.value.code


def test_plan_shows_old_and_new_of_each_cell_and_writes_nothing(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    workspace.csv("code,amount\n001,1\n002,2.5\n003,\n004,x\n")
    data = answer("plan", "sample")
    assert data["summary"] == {
        "read": 4,
        "inserts": 1,
        "updates": 1,
        "deletes": 0,
        "unchanged": 1,
        "existing": 2,
        "rejected": 1,
        "filtered": 0,
    }
    assert data["changes"] == [
        {
            "side": "destination",
            "op": "update",
            "key": {"code": "002"},
            "cells": {"amount": {"old": "2.00", "new": "2.50"}},
        },
        {"side": "destination", "op": "insert", "key": {"code": "003"}, "cells": {"amount": {"new": None}}},
    ]
    lines = sync("plan", "sample").stdout.splitlines()
    assert ["~", "002", "amount", "2.00", "2.50"] in [line.split() for line in lines]
    assert ["+", "003", "amount:", "null"] in [line.split() for line in lines]
    assert len(workspace.rows()) == 2


def test_plan_says_unknown_where_a_replace_cannot_know(workspace: Workspace) -> None:
    workspace.mapping(write="replace", guards={"max_deletes": "100%", "max_deletes_in_window": "100%"})
    workspace.csv("code,amount\n001,1\n")
    workspace.run()
    summary = answer("plan", "sample")["summary"]
    assert (summary["unchanged"], summary["updates"], summary["existing"]) == (None, None, 1)
    assert ["unchanged", "unknown"] in [line.split() for line in sync("plan", "sample").stdout.splitlines()]


def test_plan_shows_the_first_changes_and_all_on_request(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n" + "".join(f"{number:04},1\n" for number in range(1_100)))
    few = sync("plan", "sample", "--limit-shown", "3").stdout
    assert few.count("\n+ ") == 3
    assert "3 of 1,100 changes shown; --all shows every one." in few
    assert sync("plan", "sample", "--all").stdout.count("\n+ ") == 1_100
    assert len(answer("plan", "sample")["changes"]) == 1_100


def test_a_value_cannot_steer_the_terminal(workspace: Workspace) -> None:
    workspace.mapping(fields=[{"source": "code", "destination": "code"}, {"source": "n", "destination": "n"}])
    workspace.csv('code,n\n001,"\x1b]0;owned\x07\u202eabc"\n')
    shown = sync("plan", "sample").stdout
    assert "\x1b" not in shown
    assert r"n: \x1b]0;owned\x07\u202eabc" in shown


def test_status_lists_every_integration_by_its_last_run_and_one_run_in_full(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.mapping(id="idle")
    (workspace.mappings / "broken.yaml").write_text("version: 1\n", encoding="utf-8")
    first = answer("run", "sample", code=4)["run"]
    workspace.csv("code,amount\n001,x\n")
    second = answer("run", "sample")["run"]
    data = answer("status")
    assert [entry["mapping"] for entry in data["integrations"]] == ["idle", "sample"]
    assert data["integrations"][0]["last_run"] is None
    assert data["integrations"][1]["last_run"]["run"] == second
    assert [Path(name).name for name in data["broken_mappings"]] == ["broken.yaml"]
    listed = sync("status")
    assert "idle         never run" in listed.stdout
    assert "broken.yaml" in listed.stderr
    failed = answer("status", first.lower())
    assert (failed["state"], failed["error"]["category"]) == ("failed", "données")
    assert [(entry["phase"], entry["state"]) for entry in failed["phases"]] == [("extract", "failed")]
    shown = sync("status", second).stdout
    assert "rejected by convert on amount: 1" in shown
    assert answer("status", "0", code=4)["error"]["message"] == "several runs start with '0'"
    assert answer("status", "zzz", code=4)["error"]["code"] == "run_unknown"


def test_a_refused_record_is_listed_corrected_and_replayed(workspace: Workspace) -> None:
    workspace.mapping(source={"type": "csv", "path": "in.csv", "decimal": ","})
    workspace.csv('code,amount\n001,"1,50"\n002,"12,5a"\n')
    answer("plan", "sample")
    for _ in range(2):
        answer("run", "sample")
    listed = answer("rejects", "list", "sample")
    # Two runs and a plan have refused it; it is one record.
    assert listed["total"] == 1
    (rejection,) = listed["rejections"]
    assert (rejection["rule"], rejection["field"], rejection["value"]) == ("convert", "amount", "12,5a")
    assert rejection["record"] == {"amount": "12,5a", "code": "002"}
    assert "in.csv:3" in sync("rejects", "list").stdout
    number = str(rejection["id"])
    assert "12,5a" in sync("rejects", "show", number).stdout
    unknown = answer("rejects", "correct", number, "amont=1", code=4)
    assert "its columns are amount, code" in unknown["error"]["hint"]
    answer("rejects", "correct", number, "amount=12,50")
    workspace.csv('code,amount\n001,"1,50"\n')
    assert answer("rejects", "replay", "sample")["counters"]["inserted"] == 1
    assert [row[:2] for row in workspace.rows()] == [("001", 1.5), ("002", 12.5)]
    assert answer("rejects", "list", "--status", "replayed")["total"] == 1
    assert answer("rejects", "replay", "sample") == {"mapping": "sample", "replayed": 0, "open": 0}


def test_replay_of_all_takes_each_open_record_once_as_it_is(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,1\n002,1.234\n003,2.345\n")
    for _ in range(2):
        answer("run", "sample")
    workspace.mapping(
        fields=[
            {"source": "code", "destination": "code"},
            {"source": "amount", "destination": "amount", "type": "decimal(12,3)"},
        ],
        destination={"type": "sql", "connection": "db", "table": "finer"},
    )
    workspace.csv("code,amount\n001,1\n")
    assert answer("rejects", "replay", "sample", "--all")["counters"]["inserted"] == 3
    assert [row[0] for row in workspace.rows("finer")] == ["001", "002", "003"]


def test_dismissed_records_leave_the_list(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,x\n002,y\n")
    answer("run", "sample")
    numbers = [str(each["id"]) for each in answer("rejects", "list")["rejections"]]
    assert answer("rejects", "dismiss", numbers[0]) == {"dismissed": 1}
    assert answer("rejects", "list")["total"] == 1
    assert answer("rejects", "list", "--status", "all")["total"] == 2
    assert answer("rejects", "dismiss", "999999", code=4)["error"]["code"] == "rejection_unknown"


def test_an_export_holds_every_column_and_no_live_formula(workspace: Workspace, tmp_path: Path) -> None:
    workspace.mapping()
    workspace.csv('code,amount\n001,"=cmd()"\n002,\'\n')
    answer("run", "sample")
    target = tmp_path / "refused.csv"
    assert answer("rejects", "export", "sample", "--output", str(target))["file"] == str(target)
    assert target.stat().st_mode & 0o077 == 0
    rows = list(csv.DictReader(io.StringIO(sync("rejects", "export", "sample").stdout)))
    assert [(row["rule"], row["code"], row["amount"]) for row in rows] == [
        ("convert", "001", "'=cmd()"),
        ("convert", "002", "'"),
    ]
    assert rows[0]["place"] == "in.csv:2: amount"
    lines = sync("rejects", "export", "sample", "--format", "json").stdout.splitlines()
    assert [json.loads(line)["value"] for line in lines] == ["=cmd()", "'"]
    assert sync("rejects", "export", "sample", "--output", str(tmp_path / "no" / "x.csv")).exit_code == 4


def test_test_tells_what_works_and_shows_the_source_converted(workspace: Workspace) -> None:
    workspace.mapping(filter="amount > 1")
    workspace.csv("code,amount\n001,1\n002,2\n003,x\n")
    data = answer("test", "sample")
    assert {probe["aspect"] for probe in data["source"]} == {"reach", "header"}
    assert all(probe["ok"] for probe in data["source"] + data["destination"])
    assert data["sample"]["rows"] == [["002", "2.00"]]
    assert (data["sample"]["read"], data["sample"]["filtered"]) == (3, 1)
    assert data["sample"]["refused"][0].startswith("in.csv:4: amount: ")
    assert "1 of the first 3 records left out by the filter" in sync("test", "sample").stdout
    assert not (workspace.settings.home / "sync").exists()  # neither ledger nor store


def test_test_says_what_is_wrong_and_exits_by_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.mapping()
    workspace.csv("kode,amount\n001,1\n")
    data = answer("test", "sample", code=4)
    assert [probe["aspect"] for probe in data["source"] if not probe["ok"]] == ["header"]
    assert "header       FAILED" in sync("test", "sample").stdout
    monkeypatch.delenv("AIRFLOW_CONN_DB")
    monkeypatch.setenv("PATH", "")
    data = answer("test", "sample", code=4)
    assert data["destination"][0]["aspect"] == "connect"
    assert "AIRFLOW_CONN_DB is not set" in data["destination"][0]["detail"]


def test_a_deployment_that_is_not_there_is_said_and_not_made(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workspace.mapping()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "nowhere"))
    for command in (["run", "sample"], ["status"], ["rejects", "list"]):
        result = sync(*command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "there is no AIRFLOW_HOME at" in result.stderr
        assert "make run" in result.stderr
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_lease_back_undoes_the_load_and_says_so(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, signal_: int
) -> None:
    # Tests that are started in the background ignore SIGINT, as a terminal's user does not.
    request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    workspace.mapping()
    workspace.csv("code,amount\n001,1\n")
    from sync_provider.engine.ledger.leases import Lease, Leases

    check = Leases.check

    def interrupted(leases: Leases, lease: Lease) -> None:
        # The fence is asked at the worst moment: records are written, and about to be committed.
        check(leases, lease)
        os.kill(os.getpid(), signal_)

    with monkeypatch.context() as patch:
        patch.setattr(Leases, "check", interrupted)
        data = answer("run", "sample", code=3)
    assert (data["state"], data["error"]["code"]) == ("failed", "stopped")
    assert data["error"]["message"].startswith("stopped during load: what was not yet committed is undone")
    assert workspace.rows("sqlite_master") == []
    with workspace.environment() as env:
        assert env.ledger.leases.held() == []
    assert answer("run", "sample")["counters"]["inserted"] == 1


def test_running_imports_no_airflow(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,1\n")
    code = """
import sys
from functools import partial
from sync_provider.cli import main
for arguments in (["run", "sample"], ["plan", "sample"], ["status"], ["rejects", "list"], ["test", "sample"]):
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
print([name for name in sys.modules if name.split(".")[0] == "airflow"], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "[]")
