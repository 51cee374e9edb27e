"""Guards trip on numbers alone, and say which."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.core.guards import GuardFacts, SideFacts, evaluate, evaluate_two_way, share
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


# Two-way.


def side(name: str = "source", **values: Any) -> SideFacts:
    plain = {"existing": 100, "tracked": 100, "present": 100, "changed": 0, "deletes": 0}
    return SideFacts(side=name, **{**plain, **values})


def two_way(
    source: dict[str, Any], destination: dict[str, Any], guards: Guards | None = None, **counts: int
) -> list[str]:
    found = evaluate_two_way(
        guards or Guards(),
        [side("source", **source), side("destination", **destination)],
        **{"deleted_in_window": 0, "flipping": 0, **counts},
    )
    return [trip.guard for trip in found]


@pytest.mark.parametrize(
    ("source", "destination", "counts", "tripped"),
    [
        ({}, {}, {}, []),
        # Deletions count for each side by itself, and together within the window.
        ({"deletes": 20}, {"deletes": 20}, {}, []),
        ({"deletes": 21}, {}, {}, ["max_deletes"]),
        ({}, {"deletes": 21}, {}, ["max_deletes"]),
        ({"deletes": 21}, {"deletes": 21}, {}, ["max_deletes", "max_deletes", "max_deletes_in_window"]),
        ({"deletes": 20}, {"deletes": 20}, {"deleted_in_window": 1}, ["max_deletes_in_window"]),
        ({}, {}, {"deleted_in_window": 99}, []),
        # A side without a record, though some were in step; refused records are records.
        ({"existing": 0, "present": 0}, {}, {}, ["emptied_side"]),
        ({}, {"existing": 0, "present": 0}, {}, ["emptied_side"]),
        ({"existing": 1, "present": 0}, {}, {}, []),
        ({"existing": 0, "tracked": 0, "present": 0}, {"tracked": 0, "present": 0}, {}, []),
        # All changed, where that is remarkable.
        ({"changed": 100}, {}, {}, ["everything_changed"]),
        ({"changed": 99}, {"changed": 99}, {}, []),
        ({"changed": 100}, {"changed": 100}, {}, ["everything_changed", "everything_changed"]),
        ({"tracked": 20, "present": 20, "changed": 20}, {}, {}, ["everything_changed"]),
        ({"tracked": 19, "present": 19, "changed": 19}, {}, {}, []),
        ({"present": 30, "changed": 30}, {}, {}, ["everything_changed"]),
        ({}, {}, {"flipping": 2}, ["flipping"]),
    ],
)
def test_each_two_way_guard_trips_at_its_own_limit(
    source: dict[str, Any], destination: dict[str, Any], counts: dict[str, int], tripped: list[str]
) -> None:
    assert two_way(source, destination, **counts) == tripped


def test_two_way_guards_can_be_allowed_one_by_one() -> None:
    emptied, changed = {"existing": 0, "present": 0}, {"changed": 100}
    assert two_way(emptied, changed, Guards(empty_source="allow")) == ["everything_changed"]
    assert two_way(emptied, changed, Guards(all_changed="allow")) == ["emptied_side"]


def test_a_two_way_trip_tells_the_side_the_numbers_and_the_way_out() -> None:
    facts = [side(deletes=30, tracked=120), side("destination", existing=0, tracked=120, present=0)]
    trips = evaluate_two_way(Guards(), facts, deleted_in_window=40, flipping=3)
    assert {trip.guard: trip.message.split(". ")[0] for trip in trips} == {
        "max_deletes": "30 of 120 records would be deleted from the source (guards.max_deletes: 20%)",
        "emptied_side": "the destination holds no record; 120 were in step before",
        "max_deletes_in_window": "70 records would be deleted within P1D, 40 of them already are (guards.max_deletes_in_window: 40%)",
        "flipping": "3 records go back and forth for the third run in a row: something undoes what is written",
    }
    assert all("allow_deletes_once" in trip.message for trip in trips if trip.guard != "flipping")


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_more_deletions_never_trip_fewer_two_way_guards(fewer: int, more: int, others: int) -> None:
    fewer, more = sorted((fewer, more))
    trips = [set(two_way({"deletes": n}, {"deletes": others})) for n in (fewer, more)]
    assert trips[0] <= trips[1]
