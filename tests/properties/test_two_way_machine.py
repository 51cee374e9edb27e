"""No history of edits, runs and crashes loses a write: over unlike pairs of sides, for every policy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from two_way_machine import TwoWayMachine
from two_way_sides import CsvSide, ExcelSide, SqliteSide

POLICIES = ["merge", "source_wins", "destination_wins", "keep_both"]


def machine(**options: Any) -> type[TwoWayMachine]:
    return type("Machine", (TwoWayMachine,), options)


def run(kind: type[TwoWayMachine], examples: int, steps: int = 14) -> None:
    run_state_machine_as_test(
        kind, settings=settings(settings.default, max_examples=examples, stateful_step_count=steps, print_blob=False)
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_csv_and_sqlite(policy: str) -> None:
    run(machine(policy=policy), 6)


@pytest.mark.parametrize("deletes", ["none", "to_destination"])
def test_deletions_that_may_not_travel(deletes: str) -> None:
    run(machine(deletes=deletes), 5)


def test_whole_records() -> None:
    run(machine(granularity="row", policy="manual"), 5)


def test_excel_and_csv() -> None:
    run(machine(source_side=ExcelSide, destination_side=CsvSide), 4)


def test_two_databases() -> None:
    run(machine(source_side=SqliteSide, destination_side=SqliteSide), 4)


@pytest.mark.long
@pytest.mark.parametrize("granularity", ["cell", "row"])
@pytest.mark.parametrize("deletes", ["none", "propagate"])
@pytest.mark.parametrize("policy", [*POLICIES, "manual"])
def test_thousands_of_histories(policy: str, deletes: str, granularity: str) -> None:
    run(machine(policy=policy, deletes=deletes, granularity=granularity), 120, 25)
