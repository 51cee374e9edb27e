"""The program `airflow-sync` in processes of its own, as a shell or a scheduler starts it, and as a machine may end it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sync_provider.engine.steps import STOP_AT
from workspace import Workspace


class Process(Protocol):
    """What both kinds of processes have in common."""

    pid: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """How an invocation ended.

    Args:
        code: exit code; minus the signal that killed it.
        answer: what it printed, as JSON; empty if it was killed first.
        text: what it printed on both channels.
    """

    code: int
    answer: dict[str, Any]
    text: str

    @property
    def error(self) -> str | None:
        """Code of the error that it ended with."""
        return (self.answer.get("error") or {}).get("code")


class Invocation:
    """The program while it runs."""

    def __init__(self, process: Any, out: Path) -> None:
        self._process, self._out = process, out
        self.pid: int = process.pid

    @property
    def over(self) -> bool:
        poll: Callable[[], Any] = getattr(self._process, "poll", None) or (lambda: self._process.exitcode)
        return poll() is not None

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if not self.over:
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(self.pid, number)

    def end(self, timeout_s: float = 120) -> Ended:
        """Wait for its end."""
        if isinstance(self._process, subprocess.Popen):
            code = self._process.wait(timeout_s)
        else:
            self._process.join(timeout_s)
            code = self._process.exitcode
            assert code is not None, "it does not end"
        said = self._out.read_text(encoding="utf-8")
        start, end = said.find("{\n"), said.rfind("\n}")
        answer = json.loads(said[start : end + 2]) if 0 <= start < end else {}
        return Ended(code, answer, said + self._out.with_suffix(".err").read_text(encoding="utf-8"))


class Program:
    """Starts `airflow-sync` on a workspace.

    Args:
        workspace: its deployment.
        warm: fork it from a process that has imported everything, which saves most of a second; else start it as a shell does.
    """

    def __init__(self, workspace: Workspace, *, warm: bool = False) -> None:
        self.workspace, self._warm = workspace, warm
        self._number = 0

    @property
    def environment(self) -> dict[str, str]:
        """Of the program: leads to the workspace."""
        settings = self.workspace.settings
        kept = {name: text for name, text in os.environ.items() if not name.startswith("AIRFLOW_") and name != STOP_AT}
        connections = {}
        for name, info in self.workspace.connections.items():
            known = {key: value for key, value in asdict(info).items() if value and key not in ("id", "type")}
            connections[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps({"conn_type": info.type, **known})
        return {
            **kept,
            "AIRFLOW_HOME": str(settings.home),
            "AIRFLOW__SYNC_PROVIDER__DEMO": "true",
            "AIRFLOW__SYNC_PROVIDER__FILES_ROOT": settings.files_root,
            "AIRFLOW__SYNC_PROVIDER__MAPPINGS_DIR": str(settings.mappings_dir),
            **connections,
        }

    def start(self, *arguments: str, stop_at: str | None = None) -> Invocation:
        """Start it with ``--json``; ``stop_at`` names the step at which it kills itself."""
        self._number += 1
        out = self.workspace.sync.folder / f"said-{self._number}"
        for path in (out, out.with_suffix(".err")):
            path.touch()
        environment = self.environment | ({STOP_AT: stop_at} if stop_at else {})
        if not self._warm:
            command = [str(Path(sys.executable).with_name("airflow-sync")), *arguments, "--json"]
            with out.open("wb") as said, out.with_suffix(".err").open("wb") as errors:
                return Invocation(subprocess.Popen(command, env=environment, stdout=said, stderr=errors), out)
        process: Any = _warm().Process(target=_invoke, args=([*arguments, "--json"], environment, out))
        process.start()
        return Invocation(process, out)

    def __call__(self, *arguments: str, stop_at: str | None = None) -> Ended:
        """Start it and wait for its end."""
        return self.start(*arguments, stop_at=stop_at).end()

    def expire(self) -> None:
        """Minutes pass: leases of the dead run out."""
        file = sa.make_url(self.workspace.settings.ledger_url).database
        assert file is not None
        if Path(file).exists():
            with closing(sqlite3.connect(file, timeout=30)) as ledger, ledger:
                ledger.execute("UPDATE sync_leases SET expires_at = '2000-01-01 00:00:00.000000'")


@cache
def _warm() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["sync_provider.engine.pipeline", "sync_provider.cli.main", "great_expectations", "two_way.program"]
    )
    return context


def _invoke(arguments: Sequence[str], environment: dict[str, str], out: Path) -> None:
    """What the script `airflow-sync` does, in a process that has been told its environment late."""
    from sync_provider.cli.main import main

    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, out.with_suffix(".err"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    main(list(arguments))


def until(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> None:
    """Wait until something is true."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)
