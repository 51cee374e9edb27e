"""Forgetting: old runs go, what somebody still needs stays."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sync_provider.core.report import Rejection
from sync_provider.engine.ledger.tables import runs


def ended(ledger, new_run, *, mapping_id="clients", **end):
    run = new_run(mapping_id, phases=("extract",))
    ledger.runs.finish(run.id, end.pop("state", "succeeded"), event="run.succeeded", **end)
    return run


def ids(ledger) -> set[str]:
    return {run.id for run in ledger.runs.list()}


def test_old_runs_go_with_all_that_hangs_on_them(ledger, new_run, clock):
    old = ended(ledger, new_run)
    ledger.rejections.replace(old.id, "extract", [Rejection(rule="r", message="m")])
    ledger.rejections.dismiss([r.id for r in ledger.rejections.list()], "marie")
    clock.sleep(86400 * 40)
    recent, newest = ended(ledger, new_run), ended(ledger, new_run)
    purged = ledger.purge(clock.time - timedelta(days=30))
    assert (purged.run_ids, purged.rejections, purged.events) == ((old.id,), 1, 1)
    assert ids(ledger) == {recent.id, newest.id}
    assert ledger.runs.phases(old.id) == []
    assert ledger.rejections.count(run_id=old.id) == 0
    assert {e.run_id for e in ledger.runs.events()} == {recent.id, newest.id}
    assert ledger.runs.mapping_text(newest.id) == "id: clients"
    assert ledger.audit.verify() is None
    assert ledger.purge(clock.time - timedelta(days=30)).run_ids == ()


def test_the_last_run_of_each_integration_stays(ledger, new_run, clock):
    ended(ledger, new_run)
    clock.sleep(1)
    last, other = ended(ledger, new_run, state="failed"), ended(ledger, new_run, mapping_id="orders")
    clock.sleep(86400 * 400)
    ledger.purge(clock.time)
    assert ids(ledger) == {last.id, other.id}


def test_runs_with_open_or_corrected_rejections_stay(ledger, new_run, clock):
    one, two, three = (ended(ledger, new_run) for _ in range(3))
    clock.sleep(1)
    last = ended(ledger, new_run)
    for run in (one, two, three):
        ledger.rejections.replace(run.id, "extract", [Rejection(rule="r", message="m")])
    corrected, dismissed = (next(ledger.rejections.list(run_id=run.id)).id for run in (two, three))
    ledger.rejections.correct(corrected, None, "marie")
    ledger.rejections.dismiss([dismissed], "marie")
    clock.sleep(86400 * 400)
    assert ledger.purge(clock.time).run_ids == (three.id,)
    assert ids(ledger) == {one.id, two.id, last.id}
    assert ledger.rejections.count() == 2


def test_runs_that_cursors_baselines_or_the_last_load_come_from_stay(ledger, new_run, clock):
    cursor = ended(ledger, new_run, cursor=("clients", "5", "integer"))
    baseline = ended(ledger, new_run, baselines={"clients:tracked": "baselines/x"})
    earlier, loaded = ended(ledger, new_run), ended(ledger, new_run)
    for run in (earlier, loaded):
        ledger.loads.begin(run.id, "d" * 64)
        ledger.loads.done(run.id, "d" * 64, {})
    clock.sleep(1)
    last = ended(ledger, new_run)
    clock.sleep(86400 * 400)
    assert ledger.purge(clock.time).run_ids == (earlier.id,)
    assert ids(ledger) == {cursor.id, baseline.id, loaded.id, last.id}


def test_runs_that_are_not_over_stay(ledger, new_run, clock):
    running = new_run(phases=("extract",))
    clock.sleep(1)
    last = ended(ledger, new_run)
    clock.sleep(86400 * 400)
    assert ledger.purge(clock.time).run_ids == ()
    assert ids(ledger) == {running.id, last.id}


def test_a_run_cleared_while_others_are_removed_stays(ledger, new_run, clock, monkeypatch):
    from sync_provider.engine.ledger import retention

    cleared, gone = ended(ledger, new_run), ended(ledger, new_run)
    clock.sleep(1)
    ended(ledger, new_run)
    clock.sleep(86400 * 400)
    # Both were chosen when one of them was cleared.
    both = sa.select(runs.c.id).where(runs.c.id.in_([cleared.id, gone.id]))
    monkeypatch.setattr(retention, "_removable", lambda _: both)
    ledger.runs.start_phase(cleared.id, "extract")
    assert ledger.purge(clock.time).run_ids == (gone.id,)
    assert ledger.runs.phase(cleared.id, "extract").state == "running"


def test_many_runs_are_removed_in_several_steps(ledger, new_run, clock, monkeypatch):
    from sync_provider.engine.ledger import retention

    monkeypatch.setattr(retention, "_BATCH", 3)
    for _ in range(8):
        ended(ledger, new_run)
        clock.sleep(1)
    last = ended(ledger, new_run)
    clock.sleep(1)
    assert len(ledger.purge(clock.time).run_ids) == 8
    assert ids(ledger) == {last.id}
