"""Loads: a cleared one neither repeats nor overtakes."""

from __future__ import annotations

import pytest
from sync_provider.core.errors import SyncDataError

ONE, TWO = "1" * 64, "2" * 64


def load(ledger, run, digest=ONE):
    ledger.loads.begin(run.id, digest)
    ledger.loads.done(run.id, digest, {"inserted": 3})


def test_a_finished_load_stays_finished_when_its_plan_is_begun_again(ledger, new_run):
    run = new_run(phases=("extract", "plan"))
    assert ledger.loads.get(run.id) is None
    ledger.loads.begin(run.id, ONE)
    assert not ledger.loads.get(run.id).done
    ledger.loads.done(run.id, ONE, {"inserted": 3})
    ledger.loads.begin(run.id, ONE)
    found = ledger.loads.get(run.id)
    assert (found.done, found.plan_digest, found.result) == (True, ONE, {"inserted": 3})


def test_another_plan_of_the_same_run_is_another_load(ledger, new_run):
    run = new_run(phases=("extract", "plan"))
    load(ledger, run)
    ledger.loads.begin(run.id, TWO)
    found = ledger.loads.get(run.id)
    assert (found.done, found.plan_digest, found.result) == (False, TWO, None)
    with pytest.raises(SyncDataError) as caught:
        ledger.loads.done(run.id, ONE, {})
    assert caught.value.code == "load_replaced"


def test_a_run_that_read_earlier_is_superseded_by_one_that_has_begun_to_load(ledger, new_run):
    old, new = new_run(phases=("extract",)), new_run(phases=("extract",))
    assert ledger.loads.superseded("clients", old.id) is None
    ledger.loads.begin(new.id, ONE)
    assert ledger.loads.superseded("clients", old.id) == new.id
    assert ledger.loads.superseded("clients", new.id) is None


def test_an_old_run_that_has_read_anew_is_not_superseded(ledger, new_run):
    old, new = new_run(phases=("extract", "validate")), new_run(phases=("extract",))
    load(ledger, new)
    ledger.runs.start_phase(old.id, "validate")
    assert ledger.loads.superseded("clients", old.id) == new.id
    ledger.runs.start_phase(old.id, "extract")
    assert ledger.loads.superseded("clients", old.id) is None
    load(ledger, old)
    assert ledger.loads.superseded("clients", new.id) == old.id


def test_integrations_do_not_supersede_each_other(ledger, new_run):
    old = new_run("clients", phases=("extract",))
    load(ledger, new_run("orders", phases=("extract",)))
    assert ledger.loads.superseded("clients", old.id) is None


def test_a_backfill_is_superseded_only_by_the_same_interval(ledger, new_run, clock):
    from datetime import timedelta

    january = (clock.time, clock.time + timedelta(days=31))
    february = (january[1], january[1] + timedelta(days=28))
    old = new_run(phases=("extract",), interval=january)
    load(ledger, new_run(phases=("extract",), interval=february))
    load(ledger, new_run(phases=("extract",)))
    assert ledger.loads.superseded("clients", old.id) is None
    same = new_run(phases=("extract",), interval=january)
    load(ledger, same)
    assert ledger.loads.superseded("clients", old.id) == same.id


@pytest.mark.parametrize(
    ("mine", "newer", "superseded"),
    [
        ({}, {"limit": 5}, False),
        ({}, {"keys": ["1"]}, False),
        ({"keys": ["1"]}, {"keys": ["1"]}, True),
        ({"keys": ["1"]}, {}, True),
        ({"limit": 5}, {"full_refresh": True}, True),
        ({"since": "2024"}, {}, False),
        ({"since": "2024"}, {"full_refresh": True}, True),
        ({"full_refresh": True}, {}, False),
        ({}, {"full_refresh": True, "since": "2024"}, False),
    ],
)
def test_a_run_is_superseded_only_by_one_that_read_all_it_did(ledger, new_run, mine, newer, superseded):
    old = new_run(phases=("extract",), **mine)
    later = new_run(phases=("extract",), **newer)
    load(ledger, later)
    assert ledger.loads.superseded("clients", old.id) == (later.id if superseded else None)
    assert ledger.loads.superseded("clients", old.id, any_scope=True) == later.id
