"""When a failed task tries again: decided by the error's category, not by a count alone.

Connection errors wait longer each time and at least as long as the other system asked; authentication, data and
validation errors fail at once, because the same try would fail again. Anything else keeps Airflow's own rule.
"""

from __future__ import annotations

import zlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import RetryDecision, RetryPolicy

from sync_provider.core.errors import SyncError

if TYPE_CHECKING:
    from airflow.sdk import Context

MAX_BACKOFF_S = 900.0
MAX_ASKED_S = 86_400.0
"""A longer Retry-After is cut to this: the scheduler's next run is the better retry."""
SPREAD = 0.2
"""Share of the delay by which tasks are spread, so that those that failed together do not all return together."""


class SyncRetryPolicy(RetryPolicy):
    """Retry by category.

    Args:
        delay_s: seconds before the second try; doubles with each further try, up to 15 minutes.
    """

    def __init__(self, delay_s: float = 60.0) -> None:
        self.delay_s = delay_s

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002  # Airflow's signature; the count is Airflow's to keep
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide about one failure; ``try_number`` is the 1-based try that just failed."""
        if not isinstance(exception, SyncError):
            return RetryDecision.default()
        if not exception.retryable:
            return RetryDecision.fail(reason=f"{exception.category}: trying again would not help")
        delay_s = self._delay_s(try_number, exception.retry_after_s, _seed(context))
        return RetryDecision.retry(
            delay=timedelta(seconds=delay_s), reason=f"{exception.category}: next try in {delay_s:.0f} s"
        )

    def _delay_s(self, try_number: int, asked_s: float | None, seed: int) -> float:
        backoff = min(self.delay_s * 2.0 ** min(try_number - 1, 20), MAX_BACKOFF_S)
        wait = max(backoff, min(asked_s or 0.0, MAX_ASKED_S))
        return wait * (1 + SPREAD * (seed % 1000) / 1000)

    def serialize(self) -> dict[str, Any]:
        return {"__type": type(self).__name__, "delay_s": self.delay_s}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> SyncRetryPolicy:
        return cls(delay_s=data["delay_s"])


def _seed(context: Context | None) -> int:
    """The same number for the same task instance, so that a delay can be explained afterwards."""
    instance = context.get("ti") if context else None
    return 0 if instance is None else zlib.crc32(f"{instance.dag_id}/{instance.task_id}/{instance.run_id}".encode())
