"""Several processes on the same sides, and one that is paused or asked to stop: there is never a second writer."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sync_provider.sandbox.server import Sandbox
from two_way.options import Options
from two_way.outside import RETRY_MAY_HELP
from two_way.program import Ended, Invocation, Program, until
from two_way.sides import SheetsSide, SqliteSide
from workspace import Workspace

SLOW: dict[str, Any] = {"method": "sheets", "delay_s": 1.0, "times": 1000}


class Desk:
    """A spreadsheet and a table kept in step by two mappings, and the program; on both sides something has been edited since."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.workspace = Workspace(folder)
        self.sheet, self.table = SheetsSide(self.workspace, "left"), SqliteSide(self.workspace, "right")
        self.workspace.sync.database("right")
        self.program = Program(self.workspace, warm=True)
        for name in ("sample", "other"):
            self.workspace.mapping(**{**Options().mapping(self.sheet, self.table, None), "id": name})
        for key in ("a", "b", "c"):
            self.sheet.add(key, name=f"{key} name", note=f"{key} note")
        assert [self.run(name).code for name in ("sample", "other")] == [0, 0]
        self.sheet.edit("a", "name", "from the sheet")
        self.table.edit("b", "note", "from the table")

    def run(self, name: str = "sample") -> Ended:
        return self.program("run", name)

    def fault(self, **fault: Any) -> None:
        self.sheet.client.control("POST", "faults", fault)

    def heal(self) -> None:
        self.sheet.client.control("DELETE", "faults")

    @contextmanager
    def paused(self, name: str = "sample") -> Iterator[Invocation]:
        """A run that is suspended while it holds the leases, before it has written anything: its server is too slow for it to get on."""
        self.fault(**SLOW)
        invocation = self.program.start("run", name)
        until(lambda: self.holders() or invocation.over, "a run that writes")
        asked = self.asked()
        until(lambda: self.asked() > asked or invocation.over, "what it asks before it writes")
        invocation.send(signal.SIGSTOP)
        try:
            self.heal()
            assert not invocation.over, invocation.end().text
            yield invocation
        finally:
            invocation.send(signal.SIGCONT)

    def holders(self) -> set[str]:
        """Runs that hold a lease."""
        with self.workspace.environment() as env:
            return {lease.holder for lease in env.ledger.leases.held()}

    def asked(self) -> int:
        """Slow requests that have arrived."""
        return SLOW["times"] - sum(fault["times"] for fault in self.sheet.client.control("GET", "faults"))

    def writes(self) -> int:
        return int(self.sheet.client.control("GET", "requests")["writes"])

    def in_step(self) -> None:
        """Both sides hold the edits, and a further run writes nothing."""
        self.program.expire()
        assert self.run().code == 0
        before = self.writes(), self.sheet.rows(), self.table.rows()
        quiet = self.run()
        assert (quiet.code, self.writes(), self.sheet.rows(), self.table.rows()) == (0, *before)
        counters = quiet.answer["counters"]
        assert (counters["written"], counters["conflicts_open"], counters["unchanged"]) == (0, 0, 6)
        for side in (self.sheet, self.table):
            rows = side.by_key()
            assert len(side.rows()) == 3
            assert (rows["a"]["name"], rows["b"]["note"]) == ("from the sheet", "from the table")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        for name in vars(sandbox.service.limits):
            setattr(sandbox.service.limits, name, 10**9)
        monkeypatch.setattr(SheetsSide, "sandbox", sandbox)
        yield Desk(tmp_path / "desk")


def test_of_two_runs_at_once_one_writes_and_the_other_names_it(desk: Desk) -> None:
    """The same mapping started twice at once."""
    with desk.paused() as first:
        (holder,) = desk.holders()
        second = desk.run()
        assert (second.code, second.error) == (RETRY_MAY_HELP, "lease_held")
        assert holder in second.answer["error"]["message"]
        assert desk.sheet.by_key()["b"]["note"] == "b note"
    ended = first.end()
    assert (ended.code, ended.answer["run"]) == (0, holder)
    desk.in_step()


def test_two_mappings_on_the_same_sides_take_turns(desk: Desk) -> None:
    """Two mappings share a sheet and a table."""
    with desk.paused("other") as first:
        second = desk.run()
        assert (second.code, second.error) == (RETRY_MAY_HELP, "lease_held")
        assert desk.table.by_key()["a"]["name"] == "a name"
    assert first.end().code == 0
    assert desk.table.by_key()["a"]["name"] == "from the sheet"
    desk.in_step()


def test_a_run_that_was_paused_past_its_lease_writes_nothing_more(desk: Desk) -> None:
    """The lease holder is suspended until its lease is over; another run writes; then the first one goes on."""
    with desk.paused() as first:
        desk.program.expire()
        desk.sheet.edit("c", "name", "later")
        assert desk.run().code == 0
        assert desk.table.by_key()["c"]["name"] == "later"
        left = desk.writes(), desk.sheet.rows(), desk.table.rows()
    ended = first.end()
    assert (ended.code, ended.error) == (RETRY_MAY_HELP, "lease_lost")
    assert (desk.writes(), desk.sheet.rows(), desk.table.rows()) == left
    desk.in_step()


@pytest.mark.parametrize("slow", [SLOW, {"method": "batchUpdate", "delay_s": 2.0}], ids=["before", "while"])
def test_a_run_that_is_asked_to_stop_gives_its_leases_back_and_says_that_a_retry_helps(
    desk: Desk, slow: dict[str, Any]
) -> None:
    """SIGTERM before a write, and while its request is on its way."""
    desk.fault(**slow)
    invocation = desk.program.start("run", "sample")
    until(lambda: desk.holders() or invocation.over, "a run that writes")
    if slow is not SLOW:
        until(lambda: not desk.sheet.client.control("GET", "faults"), "its request to write")
    invocation.send(signal.SIGTERM)
    ended = invocation.end()
    assert (ended.code, ended.error, ended.answer["state"]) == (RETRY_MAY_HELP, "stopped", "failed")
    assert ended.answer["error"]["retryable"]
    assert desk.holders() == set()
    desk.heal()
    # What was on its way arrives all the same; nobody could tell when.
    until(lambda: slow is SLOW or desk.sheet.by_key()["b"]["note"] == "from the table", "the request that was sent")
    desk.in_step()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_write_whose_answer_is_lost_is_neither_doubled_nor_taken_for_an_edit(desk: Desk, cut: str) -> None:
    """The answer to a write of a two-way run is lost, its request being applied or not."""
    desk.table.add("d", name="new", note="here")
    desk.fault(method="batchUpdate", cut=cut)
    ended = desk.run()
    assert ended.code == 0, ended.text
    assert (ended.answer["counters"]["inserted"], ended.answer["counters"]["conflicts_open"]) == (1, 0)
    assert [row["code"] for row in desk.sheet.rows()] == ["a", "b", "c", "d"]
    desk.sheet.delete("d")
    assert desk.run().answer["counters"]["deleted"] == 1
    desk.in_step()


def test_nothing_is_deleted_for_rows_that_could_not_be_read(desk: Desk) -> None:
    """A part of the sheet is refused for good: whichever request it is, nothing is written anywhere."""
    before = desk.sheet.rows(), desk.table.rows()
    desk.sheet.client.control("DELETE", "requests")
    assert desk.program("plan", "sample").code == 0
    reads = desk.sheet.client.control("GET", "requests")["reads"]
    assert reads > 0
    for number in range(reads):
        desk.fault(method="sheets|drive", skip=number, status=400, times=None)
        ended = desk.run()
        assert ended.code != 0
        assert (desk.sheet.rows() if desk.heal() is None else (), desk.table.rows()) == before
    desk.in_step()
