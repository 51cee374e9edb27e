"""Guards trip on numbers alone, and say which."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.core.guards import GuardFacts, evaluate, share
from sync_provider.core.mapping import Guards


def facts(**values: Any) -> GuardFacts:
    plain = {
        "write": "mirror",
        "incoming": 100,
        "existing": 100,
        "deletable": 100,
        "deletes": 0,
        "deleted_in_window": 0,
    }
    return GuardFacts(**{**plain, **values})


@pytest.mark.parametrize(
    ("given_facts", "tripped"),
    [
        ({}, []),
        ({"deletes": 20}, []),
        ({"deletes": 21}, ["max_deletes"]),
        ({"deletes": 20, "deleted_in_window": 34}, ["max_deletes_in_window"]),
        ({"deletes": 0, "deleted_in_window": 99}, []),
        ({"incoming": 0}, ["empty_source"]),
        ({"incoming": 0, "existing": 0}, []),
        ({"incoming": 0, "write": "upsert"}, []),
        ({"incoming": 0, "write": "replace", "deletes": 100}, ["empty_source", "max_deletes", "max_deletes_in_window"]),
    ],
)
def test_each_guard_trips_at_its_own_limit(given_facts: dict[str, Any], tripped: list[str]) -> None:
    assert [trip.guard for trip in evaluate(Guards(), facts(**given_facts))] == tripped


def test_a_trip_tells_the_numbers_and_the_way_out() -> None:
    (trip,) = evaluate(Guards(max_deletes=5), facts(deletes=6))
    assert trip.message.startswith("6 of 100 records would be deleted (guards.max_deletes: 5)")
    assert "allow_deletes_once" in trip.message


def test_an_empty_source_can_be_allowed() -> None:
    assert evaluate(Guards(empty_source="allow"), facts(incoming=0)) == []


@given(st.integers(0, 10**6), st.integers(0, 100))
def test_a_share_is_exact_for_percentages_and_counts(base: int, limit: int) -> None:
    assert share(limit, base) == limit
    assert share(f"{limit}%", base) * 100 == pytest.approx(limit * base)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_more_deletions_never_trip_fewer_guards(fewer: int, more: int) -> None:
    fewer, more = sorted((fewer, more))
    trips = [{t.guard for t in evaluate(Guards(), facts(deletes=n))} for n in (fewer, more)]
    assert trips[0] <= trips[1]
