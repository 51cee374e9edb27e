"""Ctrl-C and SIGTERM as a flag, so that no half-started process is ever forgotten."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequestedError(Exception):
    """A person or a supervisor asked to stop."""


class Stop:
    """Counts the requests to stop. A signal handler that raised could lose a child between its start and its listing."""

    def __init__(self) -> None:
        self.requests = 0

    @property
    def hurry(self) -> bool:
        """Whether a second request came: kill instead of waiting."""
        return self.requests > 1

    def wait_until(self, condition: Callable[[], bool], *, timeout_s: float, step_s: float = 0.2) -> bool:
        """Poll until the condition holds.

        Args:
            condition: cheap, called every ``step_s`` seconds.
            timeout_s: seconds, > 0.
            step_s: seconds between two calls, > 0.

        Returns:
            Whether the condition held before the deadline.

        Raises:
            StopRequestedError: a stop was requested meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self.requests:
                raise StopRequestedError
            if condition():
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(step_s)

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        """Turn the process's signals into requests for as long as the block runs."""

        def request(_signum: int, _frame: FrameType | None) -> None:
            self.requests += 1

        earlier = {number: signal.signal(number, request) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)
