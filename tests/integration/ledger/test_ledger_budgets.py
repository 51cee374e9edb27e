"""Shared budgets: no minute ever holds more requests than its quota, however many processes ask."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.core.errors import SyncConnectionError
from sync_provider.engine.budget import LocalGrants, RequestBudget, quotas_for
from sync_provider.engine.ledger.budgets import WAY_S, WINDOW_S, next_moment
from sync_provider.engine.settings import load_settings

WINDOW = WINDOW_S + WAY_S


@given(
    asks=st.lists(st.tuples(st.sampled_from(["a", "b", "ab"]), st.integers(0, 30), st.integers(1, 3)), max_size=60),
    quota_a=st.integers(1, 5),
    quota_b=st.integers(1, 9),
)
def test_no_window_holds_more_than_the_quota(asks, quota_a, quota_b):
    quotas, given_, now = {"a": quota_a, "b": quota_b}, {"a": [], "b": []}, 0.0
    for names, pause, wanted in asks:
        now += pause
        cost = min(wanted, *(quotas[name] for name in names))
        moment = next_moment(given_, {name: quotas[name] for name in names}, now, cost, 60.0)
        assert moment >= now
        for name in names:
            given_[name] = sorted([*given_[name], *[moment] * cost])
    for name, moments in given_.items():
        for first, beyond in zip(moments, moments[quotas[name] :], strict=False):
            assert beyond - first >= 60.0


def test_a_quota_is_given_at_once_and_again_a_window_later(ledger, clock):
    waits = [ledger.budgets.reserve({"r": 3}, longest_s=600) for _ in range(7)]
    assert waits == pytest.approx([0, 0, 0, WINDOW, WINDOW, WINDOW, 2 * WINDOW])
    clock.sleep(2 * WINDOW + 1)
    assert ledger.budgets.reserve({"r": 3}, longest_s=600) == 0


def test_resources_are_reserved_together_or_not_at_all(ledger):
    assert ledger.budgets.reserve({"account": 1, "project": 2}, longest_s=600) == 0
    assert ledger.budgets.reserve({"account": 1, "project": 2}, longest_s=5) == pytest.approx(WINDOW)
    # Nothing was taken from the project by the one that would not wait.
    assert ledger.budgets.reserve({"other": 1, "project": 2}, longest_s=5) == 0
    assert ledger.budgets.reserve({"third": 1, "project": 2}, longest_s=5) == pytest.approx(WINDOW)


RESERVE = """
    import sys
    from sync_provider.engine.clock import SystemClock
    from sync_provider.engine.crypto import Cipher
    from sync_provider.engine.ledger import Ledger

    with Ledger.open(sys.argv[1], Cipher([sys.argv[2]]), SystemClock()) as ledger:
        sys.stdin.readline()
        for _ in range(25):
            ledger.budgets.reserve({"account": 10, "project": 1000}, longest_s=1e9)
"""


def test_processes_that_ask_at_once_share_one_quota(url, ledger):
    from sync_provider.engine.crypto import new_key
    from sync_provider.engine.ledger.tables import budgets

    asking = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(RESERVE), url, new_key()], stdin=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in asking:
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in asking:
        process.communicate(timeout=120)
        assert process.returncode == 0
    with ledger._database.read() as connection:
        grants = {row.resource: row.grants for row in connection.execute(budgets.select())}
    assert len(grants["account"]) == len(grants["project"]) == 100
    for first, beyond in zip(grants["account"], grants["account"][10:], strict=False):
        assert beyond - first >= WINDOW - 1e-3


def test_waiting_longer_than_a_run_may_is_an_error_that_says_how_long(ledger, clock):
    budget = RequestBudget(ledger.budgets, clock, lambda name: {name: 1}, total_wait_s=2 * WINDOW)
    started = clock.now()
    for _ in range(3):
        budget.acquire("google-sheets:read:a@b")
    assert (clock.now() - started).total_seconds() == pytest.approx(2 * WINDOW)
    with pytest.raises(SyncConnectionError) as caught:
        budget.acquire("google-sheets:read:a@b")
    assert caught.value.code == "budget_wait"
    assert caught.value.retryable
    assert caught.value.retry_after_s == pytest.approx(WINDOW)


def test_without_a_ledger_a_process_keeps_its_own_budget(clock):
    grants = LocalGrants(clock)
    assert [grants.reserve({"r": 2}, longest_s=600) for _ in range(3)] == pytest.approx([0, 0, WINDOW])


@pytest.fixture
def settings(tmp_path):
    return load_settings({"AIRFLOW_HOME": str(tmp_path)}, tmp_path)


def test_a_service_account_counts_for_itself_and_for_its_project(settings):
    quotas = quotas_for(replace(settings, google_requests_per_account=40))
    assert quotas("google-sheets:read:robot@shop.iam.gserviceaccount.com") == {
        "google-sheets:read:robot@shop.iam.gserviceaccount.com": 40,
        "google-sheets:read:project shop": 300,
    }
    assert quotas("google-sheets:write:marie@example.org") == {"google-sheets:write:marie@example.org": 40}
    assert quotas("google-drive:drive:marie@example.org") == {}


def test_an_integration_may_ask_for_less_for_all_its_requests(settings):
    quotas = quotas_for(settings, "clients", 10)
    assert quotas("google-drive:drive:x@y") == {"integration:clients": 10}
    assert quotas("google-sheets:read:x@y") == {"google-sheets:read:x@y": 60, "integration:clients": 10}
