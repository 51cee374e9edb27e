"""Faults on purpose, and the log of what was asked."""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

_KEPT = 10_000


@dataclass
class Fault:
    """One fault, given to the next requests that match.

    Args:
        method: regular expression found in the method's name (``sheets.spreadsheets.values.update``, ``oauth.token``).
        path: regular expression found in the decoded path.
        user: e-mail of the caller.
        skip: matching requests let through first.
        times: requests it is given to; None for all.
        status: refuse with this status, before anything is applied.
        message: the refusal's text.
        headers: added to the refusal, for instance Retry-After.
        body: answered instead of anything of the API's, with `status` or 200, as HTML unless `headers` name a Content-Type.
        delay_s: wait before anything is applied.
        cut: close the connection without an answer, before or after the request is applied.
    """

    method: str = ""
    path: str = ""
    user: str | None = None
    skip: int = 0
    times: int | None = 1
    status: int | None = None
    message: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None
    delay_s: float = 0
    cut: Literal["before", "after"] | None = None

    def matches(self, method: str, path: str, user: str | None) -> bool:
        return bool(re.search(self.method, method) and re.search(self.path, path) and self.user in {None, user})


class Faults:
    """The faults that wait, first come first served."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def waiting(self) -> list[Fault]:
        with self._lock:
            return self._waiting.copy()

    def take(self, method: str, path: str, user: str | None) -> Fault | None:
        """The fault for this request, used up by it."""
        with self._lock:
            for fault in self._waiting:
                if not fault.matches(method, path, user):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        self._waiting.remove(fault)
                return fault
        return None


class RequestLog:
    """The last requests, and counts of all since the last clearing."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._methods: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()

    def add(self, entry: dict[str, Any]) -> None:
        with self._lock:
            self._entries.append(entry)
            self._methods[entry["method"]] += 1
            self._statuses[str(entry["status"])] += 1
            for name in ("request_bytes", "response_bytes"):
                self._sums[name] += entry[name]
            if entry["kind"]:
                self._sums[f"{entry['kind']}s"] += 1

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            for counter in (self._methods, self._statuses, self._sums):
                counter.clear()

    def report(self) -> dict[str, Any]:
        """Counts, and the requests in order."""
        with self._lock:
            return {
                "total": sum(self._methods.values()),
                "reads": self._sums["reads"],
                "writes": self._sums["writes"],
                "request_bytes": self._sums["request_bytes"],
                "response_bytes": self._sums["response_bytes"],
                "by_method": dict(self._methods),
                "by_status": dict(self._statuses),
                "requests": list(self._entries),
            }
