"""The machine's own clock. Tests pass another."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """`connectors.base.Clock` over the operating system."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
