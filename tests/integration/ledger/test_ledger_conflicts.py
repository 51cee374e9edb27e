"""The conflict log: found again, decided once, closed by the run that ends it, and never readable without the key."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sync_provider.core.conflicts import Conflict
from sync_provider.core.errors import SyncDataError
from sync_provider.engine.crypto import Cipher, new_key
from sync_provider.engine.ledger import Ledger
from sync_provider.engine.ledger.conflicts import LoggedConflict, StoredConflict
from sync_provider.engine.ledger.tables import conflicts


def found(key: str = "CANARY-key", field: str | None = "note", **changes: Any) -> LoggedConflict:
    return LoggedConflict(
        **{
            "key": key,
            "field": field,
            "base": "CANARY-base",
            "source": "CANARY-ours",
            "destination": "CANARY-theirs",
            "has_base": True,
            "policy": "merge",
            **changes,
        }
    )


def won(key: str = "CANARY-key", winner: str = "source", **changes: Any) -> LoggedConflict:
    return found(key, policy=f"{winner}_wins", winner=winner, chosen="CANARY-ours", **changes)


def only(ledger: Ledger) -> StoredConflict:
    (stored,) = ledger.conflicts.list()
    return stored


def statuses(ledger: Ledger) -> list[str]:
    return [stored.status for stored in ledger.conflicts.list()]


def test_a_conflict_comes_back_as_it_was_given(ledger, new_run, clock):
    run = new_run()
    assert ledger.conflicts.record("clients", run.id, [found()]) == 1
    stored = only(ledger)
    assert stored.conflict == found()
    assert (stored.mapping_id, stored.run_id, stored.status) == ("clients", run.id, "open")
    assert (stored.created_at, stored.choice, stored.closed_run_id) == (clock.time, None, None)
    assert ledger.conflicts.get(stored.id) == stored
    assert stored.as_dict()["destination"] == "CANARY-theirs"
    with pytest.raises(SyncDataError, match="no conflict 99"):
        ledger.conflicts.get(99)


def test_values_are_kept_so_that_they_can_be_restored_exactly(ledger, new_run):
    record = {
        "amount": Decimal("1.50"), "big": 2**62, "day": date(2024, 2, 29), "at": datetime(2025, 1, 1, 12, tzinfo=UTC),
        "text": "é 🎉\n'\0\ud800", "empty": "", "null": None, "yes": True, "half": 0.1,
    }  # fmt: skip
    conflict = Conflict(
        field=None, base=None, source=record, destination=None, has_base=False, policy="edit_beats_delete", winner="source",
        chosen=record, source_time=datetime(2025, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    ledger.conflicts.record("clients", new_run().id, [LoggedConflict.of("k", conflict)])
    logged = only(ledger).conflict
    assert logged.source == logged.chosen == {
        "amount": "1.50", "big": str(2**62), "day": "2024-02-29", "at": "2025-01-01T12:00:00Z",
        "text": "é 🎉\n'\0\ud800", "empty": "", "null": None, "yes": "true", "half": "0.1",
    }  # fmt: skip
    assert (logged.destination, logged.base, logged.has_base) == (None, None, False)
    assert (logged.source_time, logged.destination_time) == ("2025-01-02T00:00:00Z", None)


def test_what_it_is_about_is_encrypted(ledger, new_run, url, tmp_path):
    ledger.conflicts.record("clients", new_run().id, [found(), won("CANARY-other")])
    ledger.conflicts.resolve(1, "value", "marie", "CANARY-third")
    with ledger._database.read() as connection:
        rows = connection.execute(sa.select(conflicts)).all()
    assert "CANARY" not in str(rows)
    assert "CANARY" not in str(list(ledger.audit.list()))
    ledger.close()
    if url.startswith("sqlite"):
        for file in tmp_path.glob("ledger.db*"):
            assert b"CANARY" not in file.read_bytes()


def test_it_cannot_be_read_with_another_key_or_after_it_was_altered(ledger, new_run, url, clock):
    ledger.conflicts.record("clients", new_run().id, [found()])
    with Ledger.open(url, Cipher([new_key()]), clock) as other, pytest.raises(SyncDataError):
        other.conflicts.list()
    with ledger._database.write() as connection:
        connection.execute(conflicts.update().values(mapping_id="orders"))
    with pytest.raises(SyncDataError) as caught:
        ledger.conflicts.list()
    assert caught.value.where.key == "conflict 1"


def test_a_run_that_is_repeated_records_nothing_twice(ledger, new_run):
    run, again = new_run(), new_run()
    all_of_it = [found("a"), won("b"), found("c"), found("c", field="name")]
    assert ledger.conflicts.record("clients", run.id, [*all_of_it, *all_of_it]) == 4
    assert ledger.conflicts.record("clients", run.id, all_of_it) == 0
    assert ledger.conflicts.record("clients", again.id, all_of_it) == 0
    # When a policy has settled it and a run has carried that out, the same conflict can arise anew.
    ledger.conflicts.conclude("clients", again.id, all_of_it)
    assert ledger.conflicts.record("clients", new_run().id, all_of_it) == 1
    assert ledger.conflicts.record("orders", new_run("orders").id, all_of_it) == 4


def test_times_do_not_make_it_another_conflict(ledger, new_run):
    ledger.conflicts.record("clients", new_run().id, [found(source_time="2025-01-01T00:00:00Z")])
    assert ledger.conflicts.record("clients", new_run().id, [found(source_time="2025-01-02T00:00:00Z")]) == 0


@pytest.mark.parametrize(
    "change", [{"key": "other"}, {"field": "name"}, {"base": "x"}, {"source": None}, {"destination": ""}, {"has_base": False}]
)  # fmt: skip
def test_other_facts_are_another_conflict(ledger, new_run, change):
    assert ledger.conflicts.record("clients", new_run().id, [found(), found(**change)]) == 2


def test_a_changed_policy_replaces_what_no_run_has_closed(ledger, new_run):
    one, two = new_run(), new_run()
    ledger.conflicts.record("clients", one.id, [found()])
    assert ledger.conflicts.record("clients", two.id, [won()]) == 1
    assert [(c.status, c.conflict.winner) for c in ledger.conflicts.list()] == [
        ("superseded", None),
        ("settled", "source"),
    ]


def test_many_at_once_are_recorded_and_closed(ledger, new_run):
    many = [won(f"k{number}") for number in range(1201)]
    run = new_run()
    assert ledger.conflicts.record("clients", run.id, many) == 1201
    ledger.conflicts.conclude("clients", run.id, many)
    assert ledger.conflicts.count(statuses=("settled",)) == 1201
    assert {stored.closed_run_id for stored in ledger.conflicts.list()} == {run.id}


def test_lists_and_counts_by_integration_run_and_status(ledger, new_run):
    one, two = new_run(), new_run("orders")
    ledger.conflicts.record("clients", one.id, [found("a"), won("b")])
    ledger.conflicts.record("orders", two.id, [found("c")])
    for wanted, keys in (
        ({}, ["a", "b", "c"]),
        ({"mapping_id": "clients"}, ["a", "b"]),
        ({"run_id": two.id}, ["c"]),
        ({"statuses": ("open",)}, ["a", "c"]),
        ({"mapping_id": "orders", "statuses": ("settled", "decided")}, []),
    ):
        assert [stored.conflict.key for stored in ledger.conflicts.list(**wanted)] == keys
        assert ledger.conflicts.count(**wanted) == len(keys)
    assert [stored.conflict.key for stored in ledger.conflicts.list(limit=2)] == ["a", "b"]


# Decisions.


@pytest.mark.parametrize(
    ("choice", "value"), [("source", None), ("destination", None), ("value", "third"), ("value", ""), ("value", None)]
)
def test_a_decision_is_kept_and_audited(ledger, new_run, clock, choice, value):
    ledger.conflicts.record("clients", new_run().id, [found()])
    clock.sleep(60)
    decided = ledger.conflicts.resolve(1, choice, "marie", value)
    assert (decided.status, decided.choice, decided.value) == ("decided", choice, value)
    assert (decided.decided_by, decided.decided_at) == ("marie", clock.time)
    assert only(ledger) == decided
    entry = list(ledger.audit.list())[-1]
    assert (entry.actor, entry.action, entry.subject) == ("marie", "conflict.resolved", "conflict:1")


def test_a_second_person_learns_what_was_decided(ledger, new_run, clock):
    ledger.conflicts.record("clients", new_run().id, [found()])
    ledger.conflicts.resolve(1, "source", "marie")
    clock.sleep(60)
    with pytest.raises(SyncDataError) as caught:
        ledger.conflicts.resolve(1, "destination", "paul")
    assert caught.value.code == "conflict_decided"
    assert "marie decided conflict 1 for the source at 2025-03-30 00:30 UTC" in str(caught.value)
    assert "CANARY" not in str(caught.value)
    assert only(ledger).choice == "source"
    # Who says the same disturbs nobody, and is no second decision.
    assert ledger.conflicts.resolve(1, "source", "paul").decided_by == "marie"
    assert [entry.actor for entry in ledger.audit.list() if entry.action == "conflict.resolved"] == ["marie"]


def test_whoever_decided_may_think_again_until_it_is_applied(ledger, new_run):
    ledger.conflicts.record("clients", new_run().id, [found()])
    ledger.conflicts.resolve(1, "source", "marie")
    assert ledger.conflicts.resolve(1, "value", "marie", "third").value == "third"
    run = new_run()
    ledger.conflicts.conclude("clients", run.id, [found(winner="value", chosen="third", decision=1)])
    with pytest.raises(SyncDataError, match="applied") as caught:
        ledger.conflicts.resolve(1, "source", "marie")
    assert caught.value.code == "conflict_closed"


def test_whole_records_have_no_third_value(ledger, new_run):
    ledger.conflicts.record(
        "clients", new_run().id, [found(field=None, source={"note": "a"}, destination={"note": "b"})]
    )
    with pytest.raises(SyncDataError) as caught:
        ledger.conflicts.resolve(1, "value", "marie", "third")
    assert caught.value.code == "conflict_choice"
    assert ledger.conflicts.resolve(1, "destination", "marie").status == "decided"


def test_what_a_policy_settled_is_nobodys_to_decide(ledger, new_run):
    ledger.conflicts.record("clients", new_run().id, [won()])
    with pytest.raises(SyncDataError) as caught:
        ledger.conflicts.resolve(1, "destination", "marie")
    assert caught.value.code == "conflict_closed"


def test_of_people_who_decide_at_once_one_is_heard(ledger, new_run):
    ledger.conflicts.record("clients", new_run().id, [found()])

    def decide(number: int) -> str:
        try:
            return (
                f"{ledger.conflicts.resolve(1, ('source', 'destination')[number % 2], f'person {number}').decided_by}"
            )
        except SyncDataError as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        heard = set(pool.map(decide, range(8)))
    assert heard == {only(ledger).decided_by, "conflict_decided"}
    assert sum(entry.action == "conflict.resolved" for entry in ledger.audit.list()) == 1


def test_threads_that_record_the_same_record_it_once(ledger, new_run):
    run = new_run()
    same = [found(f"k{number}") for number in range(20)]
    with ThreadPoolExecutor(6) as pool:
        new = list(pool.map(lambda _: ledger.conflicts.record("clients", run.id, same), range(6)))
    assert sum(new) == 20
    assert ledger.conflicts.count() == 20
    assert ledger.audit.verify() is None


RECORD = """
    import sys
    from sync_provider.engine.clock import SystemClock
    from sync_provider.engine.crypto import Cipher
    from sync_provider.engine.ledger import Ledger
    from sync_provider.engine.ledger.conflicts import LoggedConflict

    with Ledger.open(sys.argv[1], Cipher([sys.stdin.readline().strip()]), SystemClock()) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        print(ledger.conflicts.record("clients", "RUN", (
            LoggedConflict(key=f"k{n}", field="f", base=None, source="a", destination="b", has_base=False, policy="merge")
            for n in range(700)
        )))
"""


def test_processes_that_record_the_same_record_it_once(url, clock):
    key = new_key()
    with Ledger.open(url, Cipher([key]), clock) as ledger:
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(RECORD), url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        for writer in writers:
            writer.stdin.write(f"{key}\n")
            writer.stdin.flush()
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        new = [int(writer.communicate(timeout=120)[0]) for writer in writers]
        assert sum(new) == ledger.conflicts.count() == 700
        assert ledger.audit.verify() is None


# What becomes of them.


def test_a_run_closes_what_it_brought_to_an_end(ledger, new_run):
    first = new_run()
    before = [found(key) for key in ("kept", "moved", "agreed", "applied", "elsewhere")]
    ledger.conflicts.record("clients", first.id, before)
    ledger.conflicts.resolve(4, "source", "marie")
    ledger.conflicts.resolve(5, "source", "marie")
    run = new_run()
    now = [
        found("kept"),
        found("moved", destination="later"),
        found("applied", policy="decision", winner="source", chosen="CANARY-ours", decision=4),
    ]
    assert ledger.conflicts.record("clients", run.id, now) == 1
    for _ in range(2):
        ledger.conflicts.conclude("clients", run.id, now, left_alone={"elsewhere"})
        found_now = {
            (c.conflict.key, c.conflict.destination): (c.status, c.closed_run_id) for c in ledger.conflicts.list()
        }
        assert found_now == {
            ("kept", "CANARY-theirs"): ("open", None),
            ("moved", "CANARY-theirs"): ("superseded", run.id),
            ("moved", "later"): ("open", None),
            ("agreed", "CANARY-theirs"): ("agreed", run.id),
            ("applied", "CANARY-theirs"): ("applied", run.id),
            ("elsewhere", "CANARY-theirs"): ("decided", None),
        }
    closings = [e.action for e in ledger.audit.list() if e.actor == f"run:{run.id}"]
    assert sorted(closings) == ["conflict.agreed", "conflict.applied", "conflict.recorded", "conflict.superseded"]


def test_a_decision_that_changed_after_the_run_had_planned_is_not_called_applied(ledger, new_run):
    ledger.conflicts.record("clients", new_run().id, [found()])
    ledger.conflicts.resolve(1, "source", "marie")
    planned = [found(winner="source", chosen="CANARY-ours", decision=1)]
    ledger.conflicts.resolve(1, "destination", "marie")
    ledger.conflicts.conclude("clients", new_run().id, planned)
    assert statuses(ledger) == ["superseded"]


def test_what_a_policy_settled_stays_with_a_key_that_could_not_be_written(ledger, new_run):
    one, two = new_run(), new_run()
    settled = [won("written"), won("unwritten")]
    ledger.conflicts.record("clients", one.id, settled)
    ledger.conflicts.conclude("clients", one.id, settled, left_alone={"unwritten"})
    assert [c.closed_run_id for c in ledger.conflicts.list()] == [one.id, None]
    assert ledger.conflicts.record("clients", two.id, [won("unwritten")]) == 0
    ledger.conflicts.conclude("clients", two.id, [won("unwritten")])
    assert [(c.status, c.closed_run_id) for c in ledger.conflicts.list()] == [("settled", one.id), ("settled", two.id)]


def test_what_a_killed_run_left_is_closed_by_the_next(ledger, new_run):
    killed, run = new_run(), new_run()
    ledger.conflicts.record("clients", killed.id, [won("written"), won("moved")])
    now = [won("moved", destination="later")]
    ledger.conflicts.record("clients", run.id, now)
    ledger.conflicts.conclude("clients", run.id, now)
    assert statuses(ledger) == ["settled", "superseded", "settled"]
    assert {c.closed_run_id for c in ledger.conflicts.list()} == {run.id}


def test_other_integrations_are_not_touched(ledger, new_run):
    ledger.conflicts.record("orders", new_run("orders").id, [found()])
    ledger.conflicts.conclude("clients", new_run().id, [])
    assert statuses(ledger) == ["open"]


def test_closed_conflicts_are_forgotten_with_their_runs_and_open_ones_are_not(ledger, new_run, clock):
    def ended() -> str:
        run = new_run(phases=("plan",))
        ledger.runs.finish(run.id, "succeeded", event="run.succeeded")
        return run.id

    old = ended()
    ledger.conflicts.record("clients", old, [won("settled"), found("open"), found("decided"), found("later")])
    ledger.conflicts.resolve(3, "source", "marie")
    kept = [found("open"), found("decided"), found("later")]
    ledger.conflicts.conclude("clients", old, [won("settled"), *kept])
    clock.sleep(86400 * 40)
    recent, _newest = ended(), ended()
    purged = ledger.purge(clock.time - timedelta(days=30))
    assert (purged.run_ids, purged.conflicts) == ((old,), 1)
    assert [c.conflict.key for c in ledger.conflicts.list()] == ["open", "decided", "later"]
    # One that is closed after its run was forgotten goes with the run that closed it.
    ledger.conflicts.conclude("clients", recent, kept[:2])
    assert ledger.purge(clock.time - timedelta(days=30)).conflicts == 0
    clock.sleep(86400 * 40)
    ended()
    assert ledger.purge(clock.time - timedelta(days=30)).conflicts == 1
    assert [c.conflict.key for c in ledger.conflicts.list()] == ["open", "decided"]
