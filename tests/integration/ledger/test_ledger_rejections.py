"""Quarantine: found again, corrected, replayed, and never readable without the key."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.report import Rejection
from sync_provider.engine.crypto import Cipher, new_key
from sync_provider.engine.ledger import Ledger
from sync_provider.engine.ledger.tables import rejections


def refused(line: int = 7, **changes) -> Rejection:
    return Rejection(
        **{
            "rule": "convert",
            "message": "CANARY-abc is no number",
            "field": "solde",
            "value": "CANARY-abc",
            "where": Where(file="in/a.csv", line=line, key="CANARY-key"),
            "key": "CANARY-key",
            "record": {"Code": "001", "Solde": "CANARY-abc", "Note": None},
            **changes,
        }
    )


def test_a_rejection_comes_back_as_it_was_given(ledger, new_run):
    run, given_one = new_run(), refused()
    assert ledger.rejections.replace(run.id, "extract", [given_one]) == 1
    (found,) = ledger.rejections.list(run_id=run.id)
    assert (found.rule, found.field, found.message, found.value, found.where, found.key, found.record) == (
        given_one.rule,
        given_one.field,
        given_one.message,
        given_one.value,
        given_one.where,
        given_one.key,
        given_one.record,
    )
    assert (found.run_id, found.mapping_id, found.phase, found.status) == (run.id, "clients", "extract", "open")
    assert ledger.rejections.get(found.id) == found
    assert found.as_dict()["where"] == {"file": "in/a.csv", "line": 7, "key": "CANARY-key"}


def test_what_a_record_holds_is_encrypted(ledger, new_run):
    ledger.rejections.replace(new_run().id, "extract", [refused()])
    with ledger._database.read() as connection:
        row = connection.execute(sa.select(rejections)).one()
    assert b"CANARY" not in row.payload
    assert "CANARY" not in str(row)


@settings(max_examples=settings.default.max_examples // 3, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(st.integers(0, 9), max_size=12), again=st.lists(st.integers(0, 9), max_size=12))
def test_a_retried_phase_leaves_exactly_what_it_found_last(ledger, new_run, lines, again):
    run = new_run()
    ledger.rejections.replace(run.id, "extract", (refused(line) for line in lines))
    before = {r.where.line: r.id for r in ledger.rejections.list(run_id=run.id)}
    assert ledger.rejections.replace(run.id, "extract", (refused(line) for line in again)) == len(set(again))
    after = {r.where.line: r.id for r in ledger.rejections.list(run_id=run.id)}
    assert set(after) == set(again)
    assert all(after[line] == before[line] for line in set(lines) & set(again))


def test_phases_and_runs_do_not_touch_each_others_rejections(ledger, new_run):
    one, two = new_run(), new_run()
    ledger.rejections.replace(one.id, "extract", [refused(1)])
    ledger.rejections.replace(one.id, "validate", [refused(1), refused(2)])
    ledger.rejections.replace(two.id, "extract", [refused(1)])
    ledger.rejections.replace(one.id, "extract", [])
    assert ledger.rejections.count(run_id=one.id) == 2
    assert ledger.rejections.count(run_id=one.id, phase="validate") == 2
    assert ledger.rejections.count(run_id=two.id) == 1


def test_many_rejections_are_read_in_order_over_pages(ledger, new_run):
    run = new_run()
    assert ledger.rejections.replace(run.id, "extract", (refused(i) for i in range(2500))) == 2500
    lines = [r.where.line for r in ledger.rejections.list(run_id=run.id)]
    assert lines == list(range(2500))
    assert [r.where.line for r in ledger.rejections.list(run_id=run.id, limit=3, offset=1999)] == [1999, 2000, 2001]
    assert len(list(ledger.rejections.list(run_id=run.id, limit=1500))) == 1500


def test_rejections_are_filtered_and_summed_by_rule_and_field(ledger, new_run):
    run = new_run()
    found = [refused(1), refused(2), refused(3, field="nom"), refused(4, rule="ragged_row", field=None)]
    ledger.rejections.replace(run.id, "extract", found)
    assert ledger.rejections.by_rule(run.id) == [
        ("convert", "solde", 2),
        ("convert", "nom", 1),
        ("ragged_row", None, 1),
    ]
    assert [r.where.line for r in ledger.rejections.list(rule="convert", field="nom")] == [3]
    assert ledger.rejections.count(mapping_id="clients", status="open") == 4
    assert ledger.rejections.count(mapping_id="orders") == 0


def test_a_corrected_record_waits_for_the_next_run_and_is_replayed_once(ledger, new_run):
    ledger.rejections.replace(new_run().id, "extract", [refused()])
    (found,) = ledger.rejections.list()
    ledger.rejections.correct(found.id, {"Solde": "12,5"}, "marie")
    (waiting,) = ledger.rejections.pending_replays("clients")
    assert waiting.record == {"Code": "001", "Solde": "12,5", "Note": None}
    assert waiting.original["Solde"] == "CANARY-abc"
    assert (waiting.status, waiting.decided_by) == ("corrected", "marie")
    run = new_run(phases=("extract",))
    ledger.runs.finish(run.id, "succeeded", replayed=[waiting.id])
    assert list(ledger.rejections.pending_replays("clients")) == []
    assert ledger.rejections.get(found.id).status == "replayed"
    assert ledger.rejections.get(found.id).replayed_run_id == run.id
    with pytest.raises(SyncDataError) as caught:
        ledger.rejections.correct(found.id, None, "marie")
    assert caught.value.code == "rejection_closed"
    assert "CANARY" not in str(list(ledger.audit.list()))


def test_a_record_can_be_replayed_as_it_was(ledger, new_run):
    ledger.rejections.replace(new_run().id, "load", [refused()])
    (found,) = ledger.rejections.list()
    ledger.rejections.correct(found.id, None, "marie")
    assert [r.record for r in ledger.rejections.pending_replays("clients")] == [found.original]


def test_a_correction_survives_the_retry_of_its_phase(ledger, new_run):
    run = new_run()
    ledger.rejections.replace(run.id, "extract", [refused(1), refused(2)])
    first, _ = ledger.rejections.list()
    ledger.rejections.correct(first.id, {"Solde": "1"}, "marie")
    ledger.rejections.replace(run.id, "extract", [refused(1)])
    assert [(r.id, r.status) for r in ledger.rejections.list(run_id=run.id)] == [(first.id, "corrected")]
    ledger.rejections.replace(run.id, "extract", [refused(3)])
    assert {r.id for r in ledger.rejections.pending_replays("clients")} == {first.id}


def test_dismissed_rejections_are_not_replayed(ledger, new_run):
    ledger.rejections.replace(new_run().id, "extract", [refused(1), refused(2)])
    first, second = ledger.rejections.list()
    ledger.rejections.correct(first.id, None, "marie")
    assert ledger.rejections.dismiss([first.id, second.id], "paul") == 2
    assert ledger.rejections.dismiss([first.id], "paul") == 0
    assert list(ledger.rejections.pending_replays("clients")) == []
    assert [e.action for e in ledger.audit.list()] == [
        "rejection.corrected",
        "rejection.dismissed",
        "rejection.dismissed",
    ]


def test_a_correction_of_a_column_the_record_lacks_is_refused(ledger, new_run):
    ledger.rejections.replace(new_run().id, "extract", [refused()])
    (found,) = ledger.rejections.list()
    with pytest.raises(SyncDataError, match="no column Sold"):
        ledger.rejections.correct(found.id, {"Sold": "1"}, "marie")
    assert ledger.rejections.get(found.id).status == "open"


def test_an_unknown_rejection_is_said_so(ledger):
    with pytest.raises(SyncDataError) as caught:
        ledger.rejections.correct(99, None, "marie")
    assert caught.value.code == "rejection_unknown"


def test_payloads_swapped_between_rows_are_refused(ledger, new_run):
    ledger.rejections.replace(new_run().id, "extract", [refused(1), refused(2)])
    with ledger._database.write() as connection:
        one, two = connection.execute(sa.select(rejections).order_by(rejections.c.number)).all()
        for row, payload in ((one, two.payload), (two, one.payload)):
            connection.execute(rejections.update().where(rejections.c.number == row.number).values(payload=payload))
    with pytest.raises(SyncDataError) as caught:
        list(ledger.rejections.list())
    assert caught.value.code == "ciphertext_invalid"
    assert f"rejection {one.number}" in str(caught.value)


def test_records_stay_readable_after_a_new_key_and_not_without_the_old_one(url, clock):
    old, new = new_key(), new_key()
    with Ledger.open(url, Cipher([old]), clock) as ledger:
        run = ledger.runs.open(
            mapping_id="m", mapping_text="", mapping_sha256="", dag_id="d", airflow_run_id="r", trigger="cli", params={}
        )
        ledger.rejections.replace(run.id, "extract", [refused()])
    with Ledger.open(url, Cipher([new, old]), clock) as ledger:
        assert [r.value for r in ledger.rejections.list()] == ["CANARY-abc"]
    with Ledger.open(url, Cipher([new]), clock) as ledger, pytest.raises(SyncDataError) as caught:
        list(ledger.rejections.list())
    assert caught.value.code == "key_unknown"


def test_texts_that_no_encoding_knows_are_kept(ledger, new_run):
    odd = refused(value="\udcff\x00é", record={"a": "\udcff", "b": "\x00"})
    ledger.rejections.replace(new_run().id, "extract", [odd])
    (found,) = ledger.rejections.list()
    assert (found.value, found.record) == (odd.value, odd.record)
