"""Our tasks as Airflow runs them: tries, skips, answers, links, logs. The engine's phases are scripted here."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow_samples import write_mapping
from sync_provider import engine, hooks, notify
from sync_provider.core.errors import (
    MappingError,
    SyncAuthenticationError,
    SyncConnectionError,
    SyncDataError,
    Where,
)
from sync_provider.core.guards import Trip
from sync_provider.dag_factory import build_dag
from sync_provider.engine import run
from sync_provider.engine.loader import load_file
from sync_provider.operators import ApplyOperator, SqlLoadOperator
from sync_provider.operators.base import LogGroup, backfill_interval
from sync_provider.retry import SyncRetryPolicy

PHASES = ("extract", "validate", "plan", "backup", "load", "report")
TWO_WAY = ("snapshot_source", "snapshot_destination", "plan", "validate", "backup", "apply", "report")


@dataclass
class Script:
    """What each phase does when called for the nth time: counters to return or an error to raise."""

    outcomes: dict[str, list[Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    opened: list[dict[str, Any]] = field(default_factory=list)
    trips: list[Trip] = field(default_factory=list)
    alerts: list[tuple[str, str]] = field(default_factory=list)

    def phase(self, name: str) -> Callable[[Any], dict[str, Any]]:
        def call(ctx: Any) -> dict[str, Any]:
            self.calls.append(name)
            pending = self.outcomes.get(name, [])
            outcome = pending.pop(0) if pending else {"read": 3, "rejected": 0}
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome() if callable(outcome) else outcome

        return call


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, airflow_home: Any) -> Iterator[Script]:
    made = Script()
    phases = SimpleNamespace(**{name: made.phase(name) for name in {*PHASES, *TWO_WAY}})
    monkeypatch.setattr(engine, "pipeline", phases, raising=False)
    monkeypatch.setattr("sync_provider.engine.phases.approve.trips", lambda _: made.trips)

    def transition(mapping_id: str, state: str, fingerprint: str | None = None) -> None:
        made.alerts.append((mapping_id, state))

    settings = SimpleNamespace(approvers=("marie",))
    ledger = SimpleNamespace(alerts=SimpleNamespace(transition=transition))
    environment = SimpleNamespace(settings=settings, ledger=ledger)
    monkeypatch.setattr(hooks, "environment", lambda: nullcontext(environment))

    def open_run(env: Any, source: Any, **arguments: Any) -> Any:
        made.opened.append(arguments)
        return SimpleNamespace(
            id="01J00000000000000000000000",
            mapping=source.mapping,
            params=arguments["params"],
            env=env,
            artifact=lambda _: {"inserts": 1, "updates": None, "deletes": 9, "unchanged": 0},
        )

    monkeypatch.setattr(run, "open_run", open_run)
    yield made
    for path in (airflow_home / "mappings").iterdir():
        path.unlink()


def build(home: Any, mapping_id: str, **changes: str) -> DAG:
    path = write_mapping(home / "mappings", mapping_id, **changes)
    dag = build_dag(load_file(path))
    dag.fileloc = str(home / "dags" / "sync_integrations.py")
    return dag


def states(dag_run: Any) -> dict[str, tuple[str, int]]:
    return {ti.task_id: (str(ti.state), ti.try_number) for ti in dag_run.get_task_instances()}


def test_a_run_calls_every_phase_once_in_order(airflow_home, script):
    dag_run = build(airflow_home, "plain").test()
    assert dag_run.state == "success"
    assert script.calls == list(PHASES)
    assert {state for state, _ in states(dag_run).values()} == {"success"}
    assert script.opened[0]["dag_id"] == "sync__plain"
    assert script.opened[0]["airflow_run_id"] == dag_run.run_id
    assert script.opened[0]["trigger"] == "manual"
    assert script.opened[0]["interval"] is None
    assert script.alerts == [("plain", "ok")]


def test_a_two_way_run_calls_its_own_phases_once_in_order(airflow_home, script):
    dag_run = build(airflow_home, "both", mode="bidirectional").test(run_conf={"new_baseline": True, "keys": ["a"]})
    assert dag_run.state == "success"
    assert sorted(script.calls[:2]) == sorted(TWO_WAY[:2])
    assert script.calls[2:] == list(TWO_WAY[2:])
    assert {(one["params"].new_baseline, one["params"].keys) for one in script.opened} == {(True, ("a",))}
    apply = next(ti for ti in dag_run.get_task_instances() if ti.task_id == "apply")
    for link, page in (("PlanLink", "plan"), ("RejectionsLink", "rejets")):
        address = apply.xcom_pull(task_ids="apply", key=f"_link_{link}")
        assert address == f"/synchronisation/{page}/01J00000000000000000000000/"


def test_a_two_way_dry_run_stops_after_the_validation_and_still_reports(airflow_home, script):
    dag_run = build(airflow_home, "both_dry", mode="bidirectional").test(run_conf={"dry_run": True})
    assert dag_run.state == "success"
    assert script.calls[2:] == ["plan", "validate", "report"]
    assert states(dag_run)["backup"][0] == states(dag_run)["apply"][0] == "skipped"


@pytest.mark.parametrize(("mode", "operator"), [("bidirectional", SqlLoadOperator), ("import", ApplyOperator)])
def test_an_operator_of_the_other_mode_says_so_and_calls_nothing(airflow_home, script, mode, operator):
    path = write_mapping(airflow_home / "mappings", "mixed", mode=mode)
    task = operator(task_id="write", mapping_file=str(path))
    instance = SimpleNamespace(dag_id="mixed", try_number=1)
    context = {"ti": instance, "dag_run": SimpleNamespace(run_id="r", run_type="manual"), "params": {}}
    with pytest.raises(MappingError, match=f"{operator.__name__} does not fit mode: {mode}"):
        task.execute.__wrapped__(task, context)
    assert script.calls == []


def test_a_connection_error_is_tried_again_until_the_tries_are_used_up(airflow_home, script):
    script.outcomes["extract"] = [SyncConnectionError("no answer") for _ in range(5)]
    dag_run = build(airflow_home, "unreachable").test()
    assert states(dag_run)["extract"] == ("failed", 3)
    assert script.calls == ["extract"] * 3
    assert [one["attempt"] for one in script.opened] == [1, 2, 3]
    assert script.alerts == [("unreachable", "failure")]


def test_a_connection_error_that_passes_costs_one_try(airflow_home, script):
    script.outcomes["load"] = [SyncConnectionError("no answer")]
    dag_run = build(airflow_home, "wobbly").test()
    assert dag_run.state == "success"
    assert states(dag_run)["load"] == ("success", 2)


@pytest.mark.parametrize("error", [SyncAuthenticationError("refused"), SyncDataError("malformed")])
def test_an_error_that_a_retry_cannot_help_fails_at_once(airflow_home, script, error):
    script.outcomes["extract"] = [error]
    dag_run = build(airflow_home, "hopeless").test()
    assert states(dag_run)["extract"] == ("failed", 1)
    assert states(dag_run)["report"][0] == "upstream_failed"
    assert dag_run.state == "failed"


def test_a_dry_run_stops_after_the_plan_and_still_reports(airflow_home, script):
    dag_run = build(airflow_home, "dry").test(run_conf={"dry_run": True})
    assert dag_run.state == "success"
    assert script.calls == ["extract", "validate", "plan", "report"]
    assert states(dag_run)["backup"][0] == states(dag_run)["load"][0] == "skipped"
    assert script.opened[0]["params"].dry_run is True


def test_the_form_reaches_the_run(airflow_home, script):
    conf = {"limit": 5, "keys": ["a", "b|c"], "since": "2025-01-01", "full_refresh": True, "allow_deletes_once": True}
    build(airflow_home, "asked", incremental="{cursor: vu}").test(run_conf=conf)
    params = script.opened[0]["params"].as_dict()
    assert {name: params[name] for name in conf} == conf
    assert params["until"] is None


def test_counters_are_the_xcom_and_links_lead_to_the_run(airflow_home, script):
    script.outcomes["validate"] = [{"accepted": 2, "rejected": 1}]
    dag_run = build(airflow_home, "linked").test()
    ti = next(ti for ti in dag_run.get_task_instances() if ti.task_id == "validate")
    assert ti.xcom_pull(task_ids="validate", key="return_value") == {"accepted": 2, "rejected": 1}
    link = ti.xcom_pull(task_ids="validate", key="_link_RejectionsLink")
    assert link == "/synchronisation/rejets/01J00000000000000000000000/"


def test_the_last_sentence_of_a_failed_log_says_what_where_and_how_to_fix_it(airflow_home, script, caplog):
    where = Where(file="include/mappings/x.yaml", line=7, column=3)
    script.outcomes["extract"] = [SyncDataError("the column Code is missing", where=where, hint="Rename it back.")]
    with caplog.at_level(logging.INFO):
        build(airflow_home, "sentence").test()
    messages = [record.getMessage() for record in caplog.records]
    sentence = "include/mappings/x.yaml:7:3: the column Code is missing. Rename it back."
    assert sentence in messages
    assert messages[messages.index(sentence) - 1] == "::endgroup::"
    groups = [text for text in messages if text.startswith(("::group::extract", "::endgroup::"))]
    assert groups[:2] == ["::group::extract", "::endgroup::"]


def test_our_errors_leave_without_the_trail_and_others_keep_it():
    def engine(error: Exception) -> None:
        raise error

    for error, kept in ((SyncDataError("x"), False), (ValueError("x"), True)):
        with pytest.raises(type(error)) as caught, LogGroup("extract"):
            engine(error)
        assert ("engine" in [entry.name for entry in caught.traceback]) is kept


def test_rows_and_duration_are_logged(airflow_home, script, caplog):
    script.outcomes["extract"] = [{"read": 1200, "rejected": 3}]
    with caplog.at_level(logging.INFO):
        build(airflow_home, "counted").test()
    assert any(
        message.startswith("extract in ") and message.endswith("s: read 1,200, rejected 3")
        for message in (record.getMessage() for record in caplog.records)
    )


def test_sigterm_stops_the_work_unwinds_it_and_leaves_a_retry(airflow_home, script):
    unwound = []

    def terminated() -> dict[str, Any]:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            unwound.append("lease released")
        return {}

    script.outcomes["load"] = [terminated]
    previous = signal.getsignal(signal.SIGTERM)
    try:
        dag_run = build(airflow_home, "stopped").test()
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert unwound == ["lease released"]
    assert states(dag_run)["load"] == ("success", 2)


def test_a_kill_between_phases_raises_nothing():
    SqlLoadOperator(task_id="load", mapping_id="m").on_kill()


def test_a_backfill_loads_its_slice_and_other_runs_follow_the_cursor():
    start, end = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
    slices = {
        kind: backfill_interval(SimpleNamespace(run_type=kind, data_interval_start=start, data_interval_end=end))
        for kind in DagRunType
    }
    assert slices.pop(DagRunType.BACKFILL) == (start, end)
    assert set(slices.values()) == {None}


def test_an_operator_takes_an_id_or_a_file(tmp_path, monkeypatch):
    path = write_mapping(tmp_path, "one")
    assert SqlLoadOperator(task_id="x", mapping_file=str(path)).mapping_source().mapping.id == "one"
    monkeypatch.setattr(hooks, "mappings_dir", lambda: tmp_path)
    assert SqlLoadOperator(task_id="x", mapping_id="one").mapping_source().mapping.id == "one"
    with pytest.raises(MappingError, match="either mapping_id or mapping_file"):
        SqlLoadOperator(task_id="x").mapping_source()


def test_callbacks_and_policies_of_a_hand_written_dag_are_kept():
    mine: list[Any] = []
    policy = SyncRetryPolicy(7)
    task = SqlLoadOperator(
        task_id="x",
        mapping_id="m",
        default_args={"retry_policy": policy, "on_failure_callback": mine.append},
    )
    assert task.retry_policy is policy
    assert task.on_failure_callback == [mine.append, notify.on_failure]
