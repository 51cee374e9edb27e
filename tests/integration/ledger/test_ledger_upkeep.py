"""Upkeep of ledger and store together."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sync_provider.engine.retention import Upkeep, clean
from sync_provider.engine.store import Store

WEEK, YEAR = timedelta(days=7), timedelta(days=365)


@pytest.fixture
def store(tmp_path: Path, cipher, clock) -> Store:
    return Store(str(tmp_path / "store"), cipher)


def put(store: Store, clock, *paths: str) -> None:
    for path in paths:
        with store.open_write(path) as file:
            file.write(b"x")
        at = clock.time.timestamp()
        os.utime(Path(store.url, path), (at, at))


def tidy(ledger, store, clock) -> Upkeep:
    return clean(ledger, store, clock, staging_retention=WEEK, history_retention=YEAR)


def test_staged_files_go_when_their_run_has_been_over_for_the_retention(ledger, new_run, store, clock):
    over, failed = new_run(phases=("extract",)), new_run(phases=("extract",))
    for run in (over, failed):
        put(store, clock, f"staging/clients/{run.id}/extracted.parquet", f"staging/clients/{run.id}/changes.parquet")
    ledger.runs.finish(over.id, "succeeded")
    clock.sleep(3600)
    ledger.runs.finish(failed.id, "failed")
    clock.sleep(WEEK.total_seconds() - 1800)
    assert tidy(ledger, store, clock).staged_files == 2
    assert store.list() == [
        f"staging/clients/{failed.id}/changes.parquet",
        f"staging/clients/{failed.id}/extracted.parquet",
    ]
    clock.sleep(3600)
    assert tidy(ledger, store, clock).staged_files == 2
    assert store.list() == []


def test_files_of_a_run_at_work_or_cleared_lately_stay(ledger, new_run, store, clock):
    at_work, cleared = new_run(phases=("extract",)), new_run(phases=("extract",))
    for run in (at_work, cleared):
        put(store, clock, f"staging/clients/{run.id}/a")
    ledger.runs.finish(cleared.id, "succeeded")
    clock.sleep(WEEK.total_seconds() * 2)
    ledger.runs.start_phase(cleared.id, "load")
    ledger.runs.start_phase(at_work.id, "load")
    ledger.runs.finish(cleared.id, "succeeded")
    assert tidy(ledger, store, clock).staged_files == 0
    assert len(store.list()) == 2


def test_files_of_runs_that_the_ledger_does_not_know_go_by_their_own_age(ledger, store, clock):
    put(store, clock, "staging/clients/01M82FVJ0ZA86QCGVNJ8TAWVYR/a")
    clock.sleep(WEEK.total_seconds() + 1)
    put(store, clock, "staging/clients/01M82FVJ0ZA86QCGVNJ8TAWVYS/a")
    assert tidy(ledger, store, clock).staged_files == 1
    assert store.list() == ["staging/clients/01M82FVJ0ZA86QCGVNJ8TAWVYS/a"]


def test_old_baselines_go_and_the_current_and_unsettled_ones_stay(ledger, new_run, store, clock):
    old, current, unsettled = (new_run(phases=("extract",)) for _ in range(3))
    for run in (old, current, unsettled):
        put(store, clock, f"baselines/clients/{run.id}.tracked.parquet")
    for run in (old, current):
        ledger.runs.finish(
            run.id, "succeeded", baselines={"clients:tracked": f"baselines/clients/{run.id}.tracked.parquet"}
        )
    ledger.runs.finish(unsettled.id, "failed")
    assert tidy(ledger, store, clock).baseline_files == 0
    clock.sleep(WEEK.total_seconds() + 1)
    assert tidy(ledger, store, clock).baseline_files == 1
    assert store.list() == sorted(f"baselines/clients/{run.id}.tracked.parquet" for run in (current, unsettled))


def test_backups_are_left_to_their_own_rule(ledger, store, clock):
    put(store, clock, "backups/clients/1.parquet")
    clock.sleep(YEAR.total_seconds() * 3)
    tidy(ledger, store, clock)
    assert store.list() == ["backups/clients/1.parquet"]


def test_lost_runs_are_closed_once_with_a_reason(ledger, new_run, store, clock):
    silent = new_run(phases=("extract",))
    clock.sleep(3 * 86400)
    alive = new_run(phases=("extract",))
    assert tidy(ledger, store, clock).lost_runs == 1
    assert tidy(ledger, store, clock).lost_runs == 0
    closed = ledger.runs.get(silent.id)
    assert (closed.state, closed.error["code"]) == ("failed", "run_lost")
    assert ledger.runs.get(alive.id).state == "running"
    assert [e.actor for e in ledger.audit.list(subject=silent.id)] == ["sync_provider"]


def test_a_run_that_waits_for_approval_is_not_lost_for_a_month(ledger, new_run, store, clock):
    asked = new_run(phases=("extract", "validate", "plan"))
    clock.sleep(20 * 86400)
    assert tidy(ledger, store, clock).lost_runs == 0
    assert ledger.runs.get(asked.id).state == "running"
    clock.sleep(11 * 86400)
    assert tidy(ledger, store, clock).lost_runs == 1


def test_old_history_goes_and_everything_is_counted(ledger, new_run, store, clock):
    ledger.runs.finish(new_run(phases=("extract",)).id, "succeeded", event="run.succeeded")
    clock.sleep(YEAR.total_seconds() + 1)
    ledger.runs.finish(new_run(phases=("extract",)).id, "succeeded", event="run.succeeded")
    done = tidy(ledger, store, clock)
    assert (done.runs, done.events) == (1, 1)
    assert done.as_dict()["runs"] == 1
