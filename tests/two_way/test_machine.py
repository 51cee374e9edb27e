"""No history of edits, runs, crashes and faults loses a write: between unlike sides, under every policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from sync_provider.sandbox.server import Sandbox
from two_way.machine import TwoWayMachine
from two_way.sides import PostgresSide, SheetsSide

CSV_SQLITE = ("csv", "sqlite")
EXCEL_CSV = ("excel", "csv")
SQLITE_POSTGRES = ("sqlite", "postgres")
SHEETS_SQLITE = ("sheets", "sqlite")


@pytest.fixture
def postgres(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresSide, "url", postgres_url)


@pytest.fixture
def sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        # People here look at the sheet at every step: more often than Google lets anybody.
        for name in vars(sandbox.service.limits):
            setattr(sandbox.service.limits, name, 10**9)
        monkeypatch.setattr(SheetsSide, "sandbox", sandbox)
        yield


def live_through(pair: tuple[str, str], examples: int, steps: int) -> None:
    machine = type("Machine", (TwoWayMachine,), {"source": pair[0], "destination": pair[1]})
    run_state_machine_as_test(
        machine,
        settings=settings(settings.default, max_examples=examples, stateful_step_count=steps, print_blob=False),
    )


@pytest.mark.parametrize(("pair", "examples"), [(CSV_SQLITE, 12), (EXCEL_CSV, 4)])
def test_files_and_tables(pair: tuple[str, str], examples: int) -> None:
    live_through(pair, examples, 12)


@pytest.mark.postgres
@pytest.mark.usefixtures("postgres")
def test_two_databases() -> None:
    live_through(SQLITE_POSTGRES, 6, 12)


@pytest.mark.usefixtures("sheets")
def test_a_sheet_and_a_table() -> None:
    live_through(SHEETS_SQLITE, 4, 12)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("pair", "examples"), [(CSV_SQLITE, 2000), (EXCEL_CSV, 300)])
def test_thousands_of_files_and_tables(pair: tuple[str, str], examples: int) -> None:
    live_through(pair, examples, 25)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.postgres
@pytest.mark.usefixtures("postgres")
def test_hundreds_of_two_databases() -> None:
    live_through(SQLITE_POSTGRES, 500, 25)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("sheets")
def test_hundreds_of_a_sheet_and_a_table() -> None:
    live_through(SHEETS_SQLITE, 300, 25)
