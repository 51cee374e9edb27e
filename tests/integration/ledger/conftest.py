"""Every ledger test runs on both databases, with a clock that the test moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sync_provider.engine.crypto import Cipher, new_key
from sync_provider.engine.ledger import Ledger, Run

CIPHER = Cipher([new_key()])


class MovableClock:
    def __init__(self) -> None:
        self.time = datetime(2025, 3, 30, 0, 30, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{request.getfixturevalue('tmp_path')}/ledger.db"


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def cipher() -> Cipher:
    return CIPHER


@pytest.fixture
def ledger(url: str, clock: MovableClock, cipher: Cipher) -> Iterator[Ledger]:
    with Ledger.open(url, cipher, clock) as opened:
        if url.startswith("sqlite"):
            # Nobody cuts the power in these tests, and waiting for the disk is most of their time.
            engine = opened._database.engine
            sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
            engine.dispose()
        yield opened


@pytest.fixture
def new_run(ledger: Ledger) -> Callable[..., Run]:
    """Opens one run more; phases named in ``phases`` are started and succeed."""
    numbers = itertools.count(1)

    def make(mapping_id: str = "clients", phases: tuple[str, ...] = (), interval=None, **params) -> Run:
        run = ledger.runs.open(
            mapping_id=mapping_id,
            mapping_text=f"id: {mapping_id}",
            mapping_sha256=mapping_id.ljust(64, "0"),
            dag_id=f"sync__{mapping_id}",
            airflow_run_id=f"manual__{next(numbers)}",
            trigger="manual",
            params=params,
            interval=interval,
        )
        for phase in phases:
            ledger.runs.start_phase(run.id, phase)
            ledger.runs.finish_phase(run.id, phase, "succeeded")
        return run

    return make
