"""Child processes: started each in a session of its own, and stopped to the last descendant.

Airflow's tasks put themselves into process groups of their own, so a group does not hold them; none leaves its session.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from local.signals import Stop

_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> Callable[[], None] | None:
    """On Linux, what makes a child receive SIGTERM should its parent be killed outright."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Component:
    """One running part: its process, and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def last_lines(self, count: int = 15) -> str:
        """The end of its log."""
        with self.log.open("rb") as stream:
            stream.seek(max(0, self.log.stat().st_size - 64 * 1024))
            lines = stream.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-count:])


class Processes:
    """The parts that one start launched."""

    def __init__(self, stop: Stop, log_dir: Path, env: dict[str, str], cwd: Path) -> None:
        self._stop = stop
        self._log_dir = log_dir
        self._env = env
        self._cwd = cwd
        self._components: list[Component] = []

    def start(self, name: str, command: Sequence[str]) -> Component:
        """Start one part; its output goes to ``<log_dir>/<name>.log``, begun anew."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        log = self._log_dir / f"{name}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
                preexec_fn=_end_with_parent(),  # noqa: PLW1509  # one system call, no Python lock
            )
        component = Component(name, process, log)
        self._components.append(component)
        return component

    def ended(self) -> Component | None:
        """The first part that is no longer running, if any."""
        return next((c for c in self._components if c.process.poll() is not None), None)

    def forget(self, component: Component) -> None:
        """Drop a part that ended as it should."""
        self._components.remove(component)

    def survivors(self, names: Iterable[str] | None = None) -> list[int]:
        """Ids of the processes that descend from the named parts, or from any, and still run."""
        chosen = None if names is None else set(names)
        sessions = {c.process.pid for c in self._components if chosen is None or c.name in chosen}
        return [pid for pid in psutil.pids() if _session(pid) in sessions and _runs(pid)]

    def stop(self, stages: Sequence[tuple[Sequence[str], float]]) -> list[int]:
        """Stop the parts stage by stage, then whatever is left.

        Args:
            stages: names of parts, and the seconds they get to end by themselves after SIGTERM.

        Returns:
            Ids of processes that outlived even SIGKILL: none, unless the kernel holds them.
        """
        for names, grace_s in stages:
            for component in self._components:
                if component.name in names and component.process.poll() is None:
                    component.process.terminate()
            self._wait_gone(names, grace_s)
            self._signal_all(names, signal.SIGTERM)
            self._wait_gone(names, min(5, grace_s))
            self._signal_all(names, signal.SIGKILL)
            self._wait_gone(names, 5, patient=True)
        left = self.survivors()
        self._components.clear()
        return left

    def _signal_all(self, names: Sequence[str], number: signal.Signals) -> None:
        for pid in self.survivors(names):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait_gone(self, names: Sequence[str], grace_s: float, *, patient: bool = False) -> None:
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and (patient or not self._stop.hurry):
            for component in self._components:
                component.process.poll()
            if not self.survivors(names):
                return
            time.sleep(0.1)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
