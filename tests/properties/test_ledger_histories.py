"""Random histories of runs, cleared and retried in any order, against a model of the destination."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sync_provider.engine.crypto import Cipher, new_key
from sync_provider.engine.ledger import Ledger

CIPHER = Cipher([new_key()])


class Ticking:
    def __init__(self) -> None:
        self.time = datetime(2025, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def do_not_sync(ledger: Ledger) -> None:
    """Nobody cuts the power in these tests, and waiting for the disk is most of their time."""
    engine = ledger._database.engine
    sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    engine.dispose()


@cache
def empty_ledger() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        with Ledger.open(f"sqlite:///{file}", CIPHER, Ticking()):
            pass
        return file.read_bytes()


class Histories(RuleBasedStateMachine):
    """The source is a counter that only grows; a run reads its value, and loading writes that value over everything.

    What must hold: the destination never goes back to an older value, nor does the cursor; every end that is news leaves
    exactly one event; the audit chain holds.
    """

    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "ledger.db"
        file.write_bytes(empty_ledger())
        self.ledger = Ledger.open(f"sqlite:///{file}", CIPHER, Ticking())
        do_not_sync(self.ledger)
        self.source = 8  # soon 10, which comes before 9 as text
        self.destination = 0
        self.read: dict[str, int] = {}
        self.news = 0
        self.cursors: list[int] = []
        self.numbers = iter(range(10_000))

    @rule(target=runs)
    def open(self) -> str:
        number = next(self.numbers)
        return self.ledger.runs.open(
            mapping_id="m",
            mapping_text="",
            mapping_sha256="",
            dag_id="d",
            airflow_run_id=f"r{number}",
            trigger="manual",
            params={},
        ).id

    @rule(run=runs)
    def extract(self, run: str) -> None:
        self.source += 1
        number = self.ledger.runs.start_phase(run, "extract")
        self.read[run] = self.source
        self.ledger.runs.finish_phase(run, "extract", "succeeded", number=number)

    @rule(run=runs, killed=st.booleans())
    def load(self, run: str, killed: bool) -> None:
        if run not in self.read:
            return
        self.ledger.runs.start_phase(run, "load")
        value, digest = self.read[run], str(self.read[run])
        done = self.ledger.loads.get(run)
        if done and done.done and done.plan_digest == digest:
            return
        if self.ledger.loads.superseded("m", run):
            return
        self.ledger.loads.begin(run, digest)
        assert value >= self.destination
        self.destination = value
        if not killed:
            self.ledger.loads.done(run, digest, {})
            self.ledger.runs.finish_phase(run, "load", "succeeded")

    @rule(run=runs, state=st.sampled_from(["succeeded", "partial", "failed"]))
    def finish(self, run: str, state: str) -> None:
        cursor = ("m", str(self.read[run]), "integer") if run in self.read else None
        self.news += self.ledger.runs.finish(
            run, state, event=f"run.{state}", cursor=cursor, baselines={"m:tracked": str(self.read.get(run, 0))}
        )
        assert self.ledger.runs.get(run).state == state

    @rule(run=runs)
    def retry_report(self, run: str) -> None:
        state = self.ledger.runs.get(run).state
        self.ledger.runs.start_phase(run, "report")
        if state in ("succeeded", "partial", "failed"):
            assert not self.ledger.runs.finish(run, state, event="again")

    @invariant()
    def the_cursor_never_goes_back(self) -> None:
        self.cursors.append(int(self.ledger.cursors.get("m") or 0))
        assert self.cursors == sorted(self.cursors)

    @invariant()
    def the_baseline_is_of_the_latest_reading_that_ended(self) -> None:
        if cursor := self.ledger.cursors.get("m"):
            assert self.ledger.baselines.get("m:tracked").path == cursor

    @invariant()
    def every_news_is_one_event(self) -> None:
        assert len(self.ledger.runs.events()) == self.news

    def teardown(self) -> None:
        assert self.ledger.audit.verify() is None
        self.ledger.close()
        self.folder.cleanup()


def test_no_history_of_runs_goes_back() -> None:
    run_state_machine_as_test(Histories, settings=settings(max_examples=25, stateful_step_count=25))


@pytest.mark.long
def test_no_long_history_of_runs_goes_back() -> None:
    run_state_machine_as_test(Histories, settings=settings(max_examples=2000, stateful_step_count=60))
