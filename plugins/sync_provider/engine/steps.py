"""Named points of a run between which nothing is half done, for tests that stop it there. No I/O of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

STOP_AT = "SYNC_PROVIDER_STOP_AT"
"""Environment variable: the step at which the process kills itself, ``name`` or ``name:3`` for the third time."""

_seen: dict[str, int] = {}
listener: Callable[[str], None] | None = None
"""Told each step; tests set it to edit a side between two steps, or to fail."""


def reached(step: str) -> None:
    """Note that a step has been reached."""
    if listener is not None:
        listener(step)
    wanted = os.environ.get(STOP_AT)
    if wanted is None:
        return
    name, _, times = wanted.partition(":")
    _seen[step] = _seen.get(step, 0) + 1
    if step == name and _seen[step] == int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)
