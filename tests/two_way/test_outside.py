"""Histories driven from outside alone: the program in processes that are killed, a spreadsheet's server that fails, people who go on editing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sync_provider.sandbox.server import Sandbox
from two_way.options import Options
from two_way.outside import Outside
from two_way.sides import PostgresSide, SheetsSide

POLICIES = ("merge", "source_wins", "destination_wins")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        # People here look at the sheet after every action: more often than Google lets anybody.
        for name in vars(running.service.limits):
            setattr(running.service.limits, name, 10**9)
        yield running


@pytest.fixture
def sheets(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SheetsSide, "sandbox", sandbox)


@pytest.fixture
def postgres(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PostgresSide, "url", postgres_url)


def live_through(source: str, destination: str, seed: int, length: int, *, warm: bool = True) -> None:
    options = Options(source=source, destination=destination, policy=POLICIES[seed % len(POLICIES)])
    with Outside(options, seed, warm=warm) as outside:
        try:
            outside.live_through(length)
            outside.settle()
        except AssertionError as error:
            error.add_note(str(outside))
            raise


@pytest.mark.usefixtures("sheets")
def test_a_sheet_and_a_table_with_the_program_as_a_shell_starts_it() -> None:
    live_through("sheets", "sqlite", seed=2, length=3, warm=False)


@pytest.mark.usefixtures("sheets")
@pytest.mark.parametrize(("source", "destination"), [("csv", "sheets"), ("sheets", "sqlite")])
def test_a_sheet_and_what_it_is_paired_with(source: str, destination: str) -> None:
    live_through(source, destination, seed=7, length=10)


@pytest.mark.postgres
@pytest.mark.usefixtures("sheets", "postgres")
def test_a_sheet_and_postgresql() -> None:
    live_through("sheets", "postgres", seed=4, length=10)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("sheets")
@pytest.mark.parametrize(("source", "destination"), [("csv", "sheets"), ("sheets", "sqlite"), ("sqlite", "csv")])
def test_hundreds_of_histories(source: str, destination: str) -> None:
    for seed in range(300):
        live_through(source, destination, seed, length=14)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.postgres
@pytest.mark.usefixtures("sheets", "postgres")
def test_hundreds_of_histories_of_a_sheet_and_postgresql() -> None:
    for seed in range(300):
        live_through("sheets", "postgres", seed, length=14)
