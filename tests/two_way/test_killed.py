"""Really killed, at every step of a run over twenty records, it ends as if nothing had happened: by the next run, and by its own retry."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sync_provider.engine import steps
from sync_provider.engine.clock import SystemClock
from two_way.options import STEPS, Options
from two_way.sides import CsvSide, Driver, SqliteSide
from workspace import Workspace

KEYS = [f"k{number:02}" for number in range(20)]
RUN = "the run"


class Pair:
    """A file and a table of twenty records in step, then edited: on one side, on both, deleted, added, and deleted against an edit."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.workspace = Workspace(folder)
        self.sides: dict[str, Driver] = {
            "source": CsvSide(self.workspace, "left"),
            "destination": SqliteSide(self.workspace, "right"),
        }
        options = Options(policy="source_wins")
        declared = options.mapping(self.sides["source"], self.sides["destination"], None)
        declared["conflicts"]["fields"] = {"note": "manual"}
        self.workspace.mapping(**declared)

    def fill(self) -> None:
        for key in KEYS:
            for side in self.sides.values():
                side.add(key, name=f"name of {key}", note=f"note of {key}")
        self.workspace.run(run="before")
        left, right = self.sides.values()
        for number in range(3):
            left.edit(KEYS[number], "name", f"left {number}")
            right.edit(KEYS[number + 3], "note", f"right {number}")
            for name, side in self.sides.items():
                side.edit(KEYS[number + 6], "name", f"{name} {number}")
                side.edit(KEYS[number + 9], "note", f"{name} {number}")
                side.add(f"{name}{number}", name=f"new {name} {number}", note=f"new note {name} {number}")
        left.delete(KEYS[12])
        right.delete(KEYS[13])
        left.edit(KEYS[14], "name", "edited")
        right.delete(KEYS[14])

    def copy(self, folder: Path) -> Pair:
        other = Pair(folder)
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return other

    def end(self) -> Any:
        """What stands on both sides, and in the conflict log."""
        with self.workspace.environment() as env:
            log = [(c.conflict.as_dict(), c.status) for c in env.ledger.conflicts.list()]
        rows = [side.by_key() for side in self.sides.values()]
        return rows, sorted(log, key=repr)


def run_until(workspace: Workspace, step: str) -> None:
    os.environ[steps.STOP_AT] = step
    workspace.run(run=RUN)


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    pair = Pair(tmp_path_factory.mktemp("edited") / "pair")
    pair.fill()
    return pair


@pytest.fixture(scope="module")
def unkilled(edited: Pair, tmp_path_factory: pytest.TempPathFactory) -> Any:
    pair = edited.copy(tmp_path_factory.mktemp("unkilled") / "pair")
    pair.workspace.run(run=RUN)
    rows, log = end = pair.end()
    assert (
        rows[0].keys() == rows[1].keys() == {*KEYS, *(f"{s}{n}" for s in pair.sides for n in range(3))} - {*KEYS[12:14]}
    )
    assert len(log) == 7
    return end


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Makes processes from one that has imported the engine already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sync_provider.engine.pipeline", "great_expectations", "two_way.sides"])
    return context


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(
    step: str,
    edited: Pair,
    unkilled: Any,
    processes: multiprocessing.context.ForkServerContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = edited.copy(tmp_path / "dead")
    process = processes.Process(target=run_until, args=(dead.workspace, step))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    # The dead process gives its leases back to nobody: they run out.
    monkeypatch.setattr(SystemClock, "now", lambda _: datetime.now(UTC) + timedelta(minutes=3))
    retried = dead.copy(tmp_path / "retried")
    retried.workspace.run(run=RUN)
    assert retried.end() == unkilled
    dead.workspace.run(run="the next run")
    assert dead.end() == unkilled
    quiet = dead.workspace.run(run="a quiet run")
    assert quiet["inserted"] == quiet["updated"] == quiet["deleted"] == 0
    assert dead.end() == unkilled
