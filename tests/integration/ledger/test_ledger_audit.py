"""The audit chain shows what was done to it; alerts are told once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sync_provider.engine.ledger.tables import audit, audit_head

ROWS = 6


@pytest.fixture
def chain(ledger):
    for n in range(1, ROWS + 1):
        ledger.audit.append("marie", "plan.approved", f"run {n}", before={"n": n}, after=[n, "é", None])
    return ledger.audit


def tamper(ledger, *statements) -> None:
    with ledger._database.write() as connection:
        for statement in statements:
            connection.execute(statement)


def test_entries_come_back_in_order_and_the_chain_holds(ledger, chain, clock):
    found = list(chain.list())
    assert [e.number for e in found] == list(range(1, ROWS + 1))
    assert (found[2].actor, found[2].action, found[2].subject) == ("marie", "plan.approved", "run 3")
    assert (found[2].before, found[2].after, found[2].at) == ({"n": 3}, [3, "é", None], clock.time)
    assert [e.number for e in chain.list(after=4)] == [5, 6]
    assert [e.number for e in chain.list(subject="run 2")] == [2]
    assert chain.verify() is None


def test_an_empty_chain_holds(ledger):
    assert ledger.audit.verify() is None


@pytest.mark.parametrize("column", ["at", "actor", "action", "subject", "before", "after", "hash"])
@pytest.mark.parametrize("number", [1, 4, ROWS])
def test_an_edited_row_is_named(ledger, chain, column, number):
    tamper(ledger, audit.update().where(audit.c.number == number).values({column: "x"}))
    assert chain.verify().number == number


@pytest.mark.parametrize("number", range(1, ROWS + 1))
def test_a_deleted_row_is_named_the_last_one_included(ledger, chain, number):
    tamper(ledger, audit.delete().where(audit.c.number == number))
    assert chain.verify().number == number


def test_all_rows_deleted_shows(ledger, chain):
    tamper(ledger, audit.delete())
    assert chain.verify().number == 1


def test_a_missing_end_of_the_chain_shows(ledger, chain):
    tamper(ledger, audit_head.delete())
    assert "end" in chain.verify().reason


def test_an_inserted_row_is_named(ledger, chain):
    with ledger._database.read() as connection:
        row = connection.execute(sa.select(audit).where(audit.c.number == 3)).one()._asdict()
    tamper(
        ledger,
        audit.update().where(audit.c.number == 6).values(number=7),
        audit.update().where(audit.c.number == 5).values(number=6),
        audit.update().where(audit.c.number == 4).values(number=5),
        audit.insert().values({**row, "number": 4}),
    )
    assert chain.verify().number == 4


@settings(max_examples=settings.default.max_examples // 6, suppress_health_check=list(HealthCheck))
@given(st.permutations(range(1, ROWS + 1)))
def test_moved_rows_are_named(ledger, order):
    tamper(
        ledger,
        audit.delete(),
        audit_head.update().values(number=0, hash="0" * 64),
    )
    for n in range(1, ROWS + 1):
        ledger.audit.append("marie", "x.y", f"run {n}")
    tamper(
        ledger,
        *[audit.update().where(audit.c.number == old).values(number=old + 100) for old in order],
        *[audit.update().where(audit.c.number == old + 100).values(number=new) for new, old in enumerate(order, 1)],
    )
    moved = next((new for new, old in enumerate(order, 1) if new != old), None)
    broken = ledger.audit.verify()
    assert (broken.number if broken else None) == moved


def test_content_cannot_pass_from_one_column_to_the_next(ledger):
    ledger.audit.append("a", "b", "c")
    tamper(ledger, audit.update().values(actor='a","b', action="c", subject=""))
    assert ledger.audit.verify().number == 1


def test_entries_written_at_once_form_one_chain(ledger):
    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(lambda n: ledger.audit.append("marie", "x.y", str(n)), range(40)))
    assert sorted(numbers) == list(range(1, 41))
    assert ledger.audit.verify() is None


def test_a_chain_that_grows_while_it_is_verified_holds(ledger):
    from threading import Event, Thread

    over = Event()

    def write() -> None:
        while not over.is_set():
            ledger.audit.append("marie", "x.y", "z")

    writer = Thread(target=write)
    writer.start()
    try:
        assert [ledger.audit.verify() for _ in range(30)] == [None] * 30
    finally:
        over.set()
        writer.join()


def test_people_hear_of_a_trouble_once_of_another_one_and_of_its_end(ledger):
    told = [
        ledger.alerts.transition("clients", state, fingerprint)
        for state, fingerprint in [
            ("ok", None),
            ("failing", "connexion"),
            ("failing", "connexion"),
            ("failing", "données:cursor_type"),
            ("blocked", "données:cursor_type"),
            ("ok", "whatever"),
            ("ok", None),
            ("failing", "connexion"),
        ]
    ]
    assert told == [None, "failed", None, "failed", "failed", "recovered", None, "failed"]
    assert ledger.alerts.transition("orders", "ok") is None
    assert ledger.alerts.get("clients").state == "failing"
    assert [a.mapping_id for a in ledger.alerts.list()] == ["clients", "orders"]
    assert ledger.alerts.get("nothing") is None


def test_of_many_that_see_the_same_change_one_tells(ledger):
    with ThreadPoolExecutor(8) as pool:
        for state, word in (("failing", "failed"), ("ok", "recovered")):
            told = list(pool.map(lambda _, to=state: ledger.alerts.transition("clients", to, "x"), range(16)))
            assert sorted(filter(None, told)) == [word]
