"""Requests a minute, per user and per project, as Sheets counts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from sync_provider.sandbox.errors import quota_exceeded

_READS_THAT_POST = (
    ".getByDataFilter",
    ".batchGetByDataFilter",
    ".developerMetadata.search",
)
_MINUTE = timedelta(minutes=1)


@dataclass
class Limits:
    """Requests a minute."""

    reads_per_user: int = 60
    writes_per_user: int = 60
    reads_per_project: int = 300
    writes_per_project: int = 300


def is_read(method: str, verb: str) -> bool:
    """Whether a Sheets method counts as a read."""
    return verb == "GET" or method.endswith(_READS_THAT_POST)


class Quotas:
    """Counts in minutes that begin with the first request; a refused request does not count."""

    def __init__(self, clock: Callable[[], datetime], limits: Limits) -> None:
        self.limits = limits
        self._clock = clock
        self._lock = Lock()
        self._windows: dict[tuple[str, str], tuple[datetime, int]] = {}

    def spend(self, kind: str, user: str, project: str) -> None:
        """Count one request; `kind` is ``Read`` or ``Write``.

        Raises:
            ApiError: 429.
        """
        name = f"{kind.lower()}s"
        limits = (
            (f"user {user}", getattr(self.limits, f"{name}_per_user")),
            ("", getattr(self.limits, f"{name}_per_project")),
        )
        with self._lock:
            now = self._clock()
            for who, limit in limits:
                started, used = self._windows.get((kind, project + who), (now, 0))
                if now - started >= _MINUTE:
                    started, used = now, 0
                self._windows[kind, project + who] = (started, used)
                if used >= limit:
                    raise quota_exceeded(kind, bool(who), limit, project)
            for who, _ in limits:
                started, used = self._windows[kind, project + who]
                self._windows[kind, project + who] = (started, used + 1)

    def refill(self) -> None:
        """Start every minute anew."""
        with self._lock:
            self._windows.clear()
