"""Retry by category, and how long to wait."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk import RetryAction
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.core.errors import (
    MappingError,
    SyncAuthenticationError,
    SyncConnectionError,
    SyncDataError,
    SyncValidationError,
)
from sync_provider.retry import MAX_ASKED_S, MAX_BACKOFF_S, SPREAD, SyncRetryPolicy


def delay(policy: SyncRetryPolicy, error: SyncConnectionError, try_number: int = 1, task: str = "a") -> float:
    context = {"ti": SimpleNamespace(dag_id="d", task_id=task, run_id="r")}
    decision = policy.evaluate(error, try_number, 9, context)
    assert decision.action is RetryAction.RETRY
    return decision.retry_delay.total_seconds()


@pytest.mark.parametrize("error_class", [SyncAuthenticationError, SyncDataError, SyncValidationError, MappingError])
def test_what_a_retry_cannot_help_fails_at_once(error_class):
    decision = SyncRetryPolicy().evaluate(error_class("x"), 1, 3)
    assert decision.action is RetryAction.FAIL
    assert error_class.category in decision.reason


def test_an_error_may_say_otherwise_than_its_category():
    assert SyncRetryPolicy().evaluate(SyncConnectionError("x", retryable=False), 1, 3).action is RetryAction.FAIL
    assert SyncRetryPolicy().evaluate(SyncDataError("x", retryable=True), 1, 3).action is RetryAction.RETRY


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), TimeoutError()])
def test_errors_that_are_not_ours_keep_airflows_rule(error):
    assert SyncRetryPolicy().evaluate(error, 1, 3).action is RetryAction.DEFAULT


@given(
    delay_s=st.floats(0.1, 3600),
    try_number=st.integers(1, 10_000),
    asked=st.none() | st.floats(0, 1e9),
    task=st.text(max_size=8),
)
def test_the_wait_is_bounded_and_at_least_what_was_asked(delay_s, try_number, asked, task):
    waited = delay(SyncRetryPolicy(delay_s), SyncConnectionError("x", retry_after_s=asked), try_number, task)
    assert waited >= min(asked or 0, MAX_ASKED_S)
    assert waited <= max(MAX_BACKOFF_S, min(asked or 0, MAX_ASKED_S)) * (1 + SPREAD)


@given(delay_s=st.floats(1, 100), try_number=st.integers(1, 30))
def test_the_wait_grows_until_its_bound_and_is_the_same_for_the_same_task(delay_s, try_number):
    policy, error = SyncRetryPolicy(delay_s), SyncConnectionError("x")
    now, later = delay(policy, error, try_number), delay(policy, error, try_number + 1)
    assert later >= now
    assert later == pytest.approx(min(now * 2, delay(policy, error, 10_000)))
    assert delay(policy, error, try_number) == now


def test_tasks_that_failed_together_do_not_return_together():
    waits = {delay(SyncRetryPolicy(60), SyncConnectionError("x"), task=f"t{n}") for n in range(20)}
    assert len(waits) > 10


def test_a_policy_survives_serialisation():
    policy = SyncRetryPolicy(12.5)
    assert SyncRetryPolicy.deserialize(policy.serialize()).delay_s == 12.5
