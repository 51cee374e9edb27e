"""Runs, phases, and the one transaction that ends a run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sync_provider.connectors.base import SourceFile
from sync_provider.core.errors import SyncDataError
from sync_provider.engine.ledger.tables import metadata
from ulid import ULID

ASKED = {
    "mapping_id": "clients",
    "mapping_text": "id: clients",
    "mapping_sha256": "a" * 64,
    "dag_id": "sync__clients",
    "trigger": "manual",
    "params": {"limit": 3},
}


def whole_ledger(ledger) -> str:
    with ledger._database.read() as connection:
        return str([list(connection.execute(sa.select(table))) for table in metadata.sorted_tables])


def test_a_dag_run_is_one_run_whoever_asks_and_keeps_what_it_was_asked(ledger):
    first = ledger.runs.open(**ASKED, airflow_run_id="manual__1")
    again = ledger.runs.open(**{**ASKED, "params": {}, "mapping_sha256": "b" * 64}, airflow_run_id="manual__1")
    assert again == first
    assert first.params == {"limit": 3}
    assert first.state == "queued"
    assert ULID.from_str(first.id)
    assert ledger.runs.open(**ASKED, airflow_run_id="manual__2").id != first.id
    assert ledger.runs.get(first.id) == first


def test_a_run_started_by_us_keeps_its_ulid(ledger):
    assert (
        ledger.runs.open(**ASKED, airflow_run_id="sync__01M82FVJ0ZA86QCGVNJ8TAWVYR").id == "01M82FVJ0ZA86QCGVNJ8TAWVYR"
    )


def test_tasks_that_open_the_same_run_at_once_get_the_same_one(ledger):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: ledger.runs.open(**ASKED, airflow_run_id="manual__1"), range(24)))
    assert len({run.id for run in runs}) == 1
    assert ledger.runs.count() == 1


def test_an_interval_and_times_come_back_with_their_zone(ledger, clock):
    interval = (clock.time - timedelta(days=1), clock.time)
    run = ledger.runs.open(**ASKED, airflow_run_id="backfill__1", interval=interval)
    assert ledger.runs.get(run.id).interval == interval
    assert run.created_at == clock.time


def test_runs_are_listed_newest_first_by_integration_state_and_time(ledger, new_run, clock):
    old = new_run("clients")
    ledger.runs.finish(old.id, "succeeded")
    clock.sleep(86400)
    failed, other = new_run("clients"), new_run("orders")
    ledger.runs.finish(failed.id, "failed")
    clock.sleep(60)
    newest = new_run("clients")
    assert [r.id for r in ledger.runs.list("clients")] == [newest.id, failed.id, old.id]
    assert [r.id for r in ledger.runs.list(state="failed")] == [failed.id]
    assert {r.id for r in ledger.runs.list(since=clock.time - timedelta(hours=1))} == {newest.id, failed.id, other.id}
    assert [r.id for r in ledger.runs.list("clients", until=clock.time - timedelta(hours=1))] == [old.id]
    assert [r.id for r in ledger.runs.list("clients", limit=1, offset=1)] == [failed.id]
    assert ledger.runs.count("clients") == 3


def test_a_run_goes_from_queued_to_running_to_its_end_with_durations(ledger, new_run, clock):
    run = new_run()
    clock.sleep(10)
    number = ledger.runs.start_phase(run.id, "extract", 2)
    assert ledger.runs.get(run.id).state == "running"
    clock.sleep(2.5)
    ledger.runs.finish_phase(run.id, "extract", "succeeded", {"read": 7}, {"path": "staging/x"}, None, number=number)
    phase = ledger.runs.phase(run.id, "extract")
    assert (phase.state, phase.attempt, phase.duration_s, phase.counters, phase.artifact) == (
        "succeeded",
        2,
        2.5,
        {"read": 7},
        {"path": "staging/x"},
    )
    clock.sleep(1)
    assert ledger.runs.finish(run.id, "partial", counters={"read": 7})
    ended = ledger.runs.get(run.id)
    assert (ended.state, ended.duration_s, ended.counters) == ("partial", 3.5, {"read": 7})


def test_a_cleared_phase_starts_anew_and_later_results_no_longer_count(ledger, new_run):
    run = new_run(phases=("extract", "validate", "plan"))
    ledger.runs.start_phase(run.id, "validate")
    assert [(p.phase, p.state) for p in ledger.runs.phases(run.id)] == [
        ("extract", "succeeded"),
        ("validate", "running"),
        ("plan", "stale"),
    ]


def test_a_try_that_was_given_up_cannot_end_the_phase_of_its_successor(ledger, new_run):
    run = new_run()
    first = ledger.runs.start_phase(run.id, "load", 1)
    second = ledger.runs.start_phase(run.id, "load", 2)
    with pytest.raises(SyncDataError) as caught:
        ledger.runs.finish_phase(run.id, "load", "failed", number=first)
    assert caught.value.code == "phase_restarted"
    assert ledger.runs.phase(run.id, "load").state == "running"
    ledger.runs.finish_phase(run.id, "load", "succeeded", number=second)
    assert ledger.runs.phase(run.id, "load").state == "succeeded"


def test_the_end_of_a_run_is_kept_whole(ledger, new_run):
    run = new_run(phases=("extract", "load"))
    file = SourceFile(name="in/a.csv", sha256="f" * 64, size_bytes=3)
    late = SourceFile(name="in/b.csv", sha256="e" * 64, size_bytes=3, deferred=True)
    news = ledger.runs.finish(
        run.id,
        "succeeded",
        counters={"read": 2},
        event="run.succeeded",
        cursor=("clients", "41", "integer"),
        files=[file, late],
        baselines={"clients:tracked": "baselines/clients/1"},
    )
    assert news
    assert ledger.cursors.get("clients") == "41"
    assert ledger.files.known("clients") == {"f" * 64}
    assert ledger.baselines.get("clients:tracked").path == "baselines/clients/1"
    assert [(e.type, e.run_id, e.payload["counters"]) for e in ledger.runs.events()] == [
        ("run.succeeded", run.id, {"read": 2})
    ]
    entry = list(ledger.audit.list(subject=run.id))[-1]
    assert (entry.action, entry.before, entry.after["state"]) == ("run.finished", {"state": "running"}, "succeeded")
    assert ledger.audit.verify() is None


def test_an_end_that_fails_half_way_leaves_nothing(ledger, new_run):
    before = new_run(phases=("extract",))
    ledger.runs.finish(before.id, "succeeded", cursor=("clients", "2025-01-01", "date"))
    run = new_run(phases=("extract",))
    kept = whole_ledger(ledger)
    with pytest.raises(SyncDataError) as caught:
        ledger.runs.finish(
            run.id,
            "succeeded",
            counters={"read": 1},
            event="run.succeeded",
            cursor=("clients", "7", "integer"),
            files=[SourceFile(name="a", sha256="f" * 64, size_bytes=1)],
        )
    assert caught.value.code == "cursor_type"
    assert whole_ledger(ledger) == kept


def test_concluding_the_same_again_leaves_one_event_and_one_audit_entry(ledger, new_run):
    run = new_run(phases=("extract", "load"))

    def report() -> bool:
        ledger.runs.start_phase(run.id, "report")
        return ledger.runs.finish(run.id, "succeeded", counters={"read": 1}, event="run.succeeded")

    assert report()
    assert not report()
    assert ledger.runs.get(run.id).state == "succeeded"
    assert len(ledger.runs.events()) == 1
    assert len(list(ledger.audit.list(subject=run.id))) == 1


def test_a_run_cleared_and_done_again_is_news(ledger, new_run):
    run = new_run(phases=("extract",))
    ledger.runs.finish(run.id, "failed", error={"message": "no"}, event="run.failed")
    ledger.runs.start_phase(run.id, "extract", 2)
    assert ledger.runs.get(run.id).finished_at is None
    assert ledger.runs.get(run.id).error is None
    assert ledger.runs.finish(run.id, "succeeded", counters={"read": 1}, event="run.succeeded")
    assert [e.type for e in ledger.runs.events()] == ["run.failed", "run.succeeded"]
    assert [e.type for e in ledger.runs.events(after=ledger.runs.events()[0].number)] == ["run.succeeded"]


def test_a_later_failure_does_not_forget_what_was_counted(ledger, new_run):
    run = new_run(phases=("extract",))
    ledger.runs.finish(run.id, "succeeded", counters={"deleted": 5})
    ledger.runs.start_phase(run.id, "extract")
    ledger.runs.finish(run.id, "failed", counters={}, error={"message": "x"})
    assert ledger.runs.get(run.id).counters == {"deleted": 5}


def test_runs_without_a_sign_of_life_are_lost(ledger, new_run, clock):
    silent = new_run(phases=("extract",))
    clock.sleep(1)
    queued, over = new_run(), new_run()
    ledger.runs.finish(over.id, "succeeded")
    clock.sleep(7200)
    alive = new_run(phases=("extract",))
    assert [r.id for r in ledger.runs.lost(timedelta(hours=1))] == [silent.id, queued.id]
    ledger.runs.start_phase(silent.id, "validate")
    assert [r.id for r in ledger.runs.lost(timedelta(hours=1))] == [queued.id]
    assert alive.id not in {r.id for r in ledger.runs.lost(timedelta(seconds=1))}


def test_a_run_keeps_its_mapping_until_told_otherwise(ledger):
    run = ledger.runs.open(**ASKED, airflow_run_id="manual__1")
    ledger.runs.open(
        **{**ASKED, "mapping_text": "id: clients # edited", "mapping_sha256": "b" * 64}, airflow_run_id="manual__1"
    )
    assert ledger.runs.mapping_text(run.id) == "id: clients"
    assert ledger.runs.use_mapping(run.id, "id: clients # edited", "b" * 64)
    assert not ledger.runs.use_mapping(run.id, "id: clients # edited", "b" * 64)
    assert ledger.runs.mapping_text(run.id) == "id: clients # edited"
    assert ledger.runs.get(run.id).mapping_sha256 == "b" * 64


def test_an_unknown_run_is_said_so(ledger):
    for attempt in (
        lambda: ledger.runs.get("nope"),
        lambda: ledger.runs.start_phase("nope", "extract"),
        lambda: ledger.runs.finish("nope", "failed"),
        lambda: ledger.runs.mapping_text("nope"),
        lambda: ledger.rejections.replace("nope", "extract", []),
    ):
        with pytest.raises(SyncDataError) as caught:
            attempt()
        assert caught.value.code == "run_unknown"


@pytest.mark.parametrize("state", ["running", "queued", "done"])
def test_only_final_states_end_a_run(ledger, new_run, state):
    with pytest.raises(ValueError, match=state):
        ledger.runs.finish(new_run().id, state)


def test_known_secrets_are_stored_nowhere(ledger, new_run):
    ledger.protect("hunter2/secret", 'p@ss"word')
    error = {"message": "could not open postgres://u:hunter2%2Fsecret@db", "hint": ['p@ss"word', "hunter2/secret"]}
    run = ledger.runs.open(**{**ASKED, "params": {"since": "hunter2/secret"}}, airflow_run_id="manual__1")
    ledger.runs.start_phase(run.id, "extract")
    ledger.runs.finish_phase(run.id, "extract", "failed", {}, None, error)
    ledger.runs.finish(run.id, "failed", error=error, event="run.failed")
    ledger.audit.append("marie", "x.y", "z", before=error, after='p@ss"word')
    kept = whole_ledger(ledger)
    assert "hunter2" not in kept
    assert "word" not in kept.replace("password", "")
    assert ledger.runs.get(run.id).error["message"] == "could not open postgres://u:***@db"
