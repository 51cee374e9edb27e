"""The benchmarks' own machinery: ratios, goals, and outputs that are compared. How fast anything is, is asked nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench import harness
from bench.harness import Goal


def sample(work_s: float, *, wall_s: float = 1.0, peak_mb: float = 10.0) -> dict[str, float]:
    return {"work_s": work_s, "wall_s": wall_s, "peak_mb": peak_mb}


@pytest.fixture
def results() -> dict[str, dict[str, Any]]:
    samples = {
        "ours": [sample(3.0), sample(1.0, peak_mb=40.0), sample(2.0, peak_mb=30.0)],
        "fast": [sample(1.0, peak_mb=20.0)],
        "slow": [sample(8.0)],
    }
    return harness.summarize(samples, {"ours"}, {"ours": "a", "fast": "a", "slow": "b"})


def test_medians_are_taken_and_compared_with_the_fastest_peer(results: dict[str, dict[str, Any]]) -> None:
    assert results["ours"]["work_s"] == 2.0
    assert {name: each["ratio"] for name, each in results.items()} == {"ours": 2.0, "fast": 1.0, "slow": 8.0}


def test_an_output_other_than_ours_is_told(results: dict[str, dict[str, Any]]) -> None:
    assert {name: each["same"] for name, each in results.items()} == {"ours": True, "fast": True, "slow": False}


def test_without_fingerprints_nothing_is_called_the_same() -> None:
    found = harness.summarize({"ours": [sample(1.0)], "peer": [sample(1.0)]}, {"ours"}, {})
    assert [each["same"] for each in found.values()] == [None, None]


@pytest.mark.parametrize(
    ("goal", "measured", "met"),
    [
        (Goal("fastest", 2.0), 2.0, True),
        (Goal("fastest", 1.9), 2.0, False),
        (Goal("named", 0.25, against="slow"), 0.25, True),
        (Goal("least memory", 2.9, measure="peak_mb"), 3.0, False),
        (Goal("memory", 30, measure="peak_mb", absolute=True), 30.0, True),
    ],
)
def test_a_goal_is_judged_by_what_it_names(
    results: dict[str, dict[str, Any]], goal: Goal, measured: float, met: bool
) -> None:
    judged = harness.judge(goal, results)
    assert judged is not None
    assert (judged["measured"], judged["met"]) == (measured, met)


def test_a_goal_against_what_did_not_run_is_not_judged(results: dict[str, dict[str, Any]]) -> None:
    assert harness.judge(Goal("absent", 1.0, against="absent"), results) is None


def test_every_benchmark_has_a_name_of_its_own_and_one_of_ours() -> None:
    names = harness.names()
    assert len(set(names)) == len(names) > 0
    for name in names:
        assert any(candidate.ours for candidate in harness.load(name).candidates)


def test_candidates_run_in_processes_of_their_own_and_their_tables_are_compared() -> None:
    benchmark = harness.load("csv-sqlite")
    named = {candidate.name: candidate for candidate in benchmark.candidates}
    plain, adbc = named["csv + executemany"], named["pyarrow.csv + ADBC"]
    small = replace(
        benchmark,
        candidates=(
            replace(plain, ours=True),
            adbc,
            replace(adbc, name="absent", missing=lambda: "not installed"),
            replace(adbc, name="no such candidate"),
        ),
    )
    result = harness.run(small, rows=60, runs=1)
    assert {name: each["same"] for name, each in result["candidates"].items()} == {plain.name: True, adbc.name: True}
    assert all(
        run[m] > 0 for each in result["candidates"].values() for run in each["runs"] for m in run if m != "above_mb"
    )
    assert result["skipped"]["absent"] == "not installed"
    assert result["skipped"]["no such candidate"].startswith("failed: ")
    shown = harness.table(result)
    assert "- Left out: absent: not installed" in shown
    assert f"**{plain.name}**" in shown
