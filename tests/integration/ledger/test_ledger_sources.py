"""Versions of sources, numbers of tabs, shared access tokens."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sync_provider.engine.crypto import Cipher, new_key
from sync_provider.engine.ledger.tables import tokens
from sync_provider.engine.ledger.tokens import Tokens


def test_a_version_is_that_of_the_run_that_read_last(ledger, new_run):
    first, second = new_run(phases=("extract",)), new_run(phases=("extract",))
    ledger.runs.finish(second.id, "succeeded", source_token="8")
    ledger.runs.finish(first.id, "succeeded", source_token="7")
    asking = new_run()
    assert ledger.sources.unchanged_since(asking.id, "8") == second.id
    assert ledger.sources.unchanged_since(asking.id, "7") is None


def test_a_run_that_leaves_a_remainder_makes_the_next_one_read(ledger, new_run):
    ledger.runs.finish(new_run(phases=("extract",)).id, "succeeded", source_token="7")
    ledger.runs.finish(new_run(phases=("extract",)).id, "partial")
    assert ledger.sources.unchanged_since(new_run().id, "7") is None


def test_a_version_holds_for_its_mapping_and_for_runs_that_are_not_over(ledger, new_run):
    run = new_run(phases=("extract",))
    ledger.runs.finish(run.id, "succeeded", source_token="7")
    assert ledger.sources.unchanged_since(run.id, "7") is None
    edited = new_run()
    assert ledger.sources.unchanged_since(edited.id, "7") == run.id
    ledger.runs.use_mapping(edited.id, "id: clients # edited", "e" * 64)
    assert ledger.sources.unchanged_since(edited.id, "7") is None
    assert ledger.sources.unchanged_since(new_run("orders").id, "7") is None


def test_tabs_are_remembered_for_a_side_and_a_spreadsheet(ledger):
    source = ledger.tabs.of("clients", "source", "book")
    source.remember("Clients", 5)
    source.remember("Clients", 6)
    assert source.number("Clients") == 6
    for other in (("clients", "destination", "book"), ("clients", "source", "other"), ("orders", "source", "book")):
        assert ledger.tabs.of(*other).number("Clients") is None


def test_a_token_is_shared_encrypted_until_it_expires(ledger, clock):
    ledger.tokens.put("google:a", "secret-token", clock.now() + timedelta(hours=1))
    assert ledger.tokens.get("google:a") == ("secret-token", clock.now() + timedelta(hours=1))
    assert ledger.tokens.get("google:b") is None
    with ledger._database.read() as connection:
        assert b"secret-token" not in connection.scalar(sa.select(tokens.c.token))
    assert Tokens(ledger._database, Cipher([new_key()])).get("google:a") is None, "another key"
    clock.sleep(3600)
    assert ledger.tokens.get("google:a") is None
    ledger.tokens.put("google:b", "next", clock.now() + timedelta(hours=1))
    with ledger._database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(tokens)) == 1
