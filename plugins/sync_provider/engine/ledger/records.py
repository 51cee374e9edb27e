"""What the ledger gives back about runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One DAG run of one integration.

    Args:
        id: ULID; kept by retries and clears.
        mapping_sha256: of the mapping's text that the run uses.
        trigger: what started it: ``schedule``, ``manual``, ``backfill``, ``asset``, ``cli``…
        params: what a person asked for (`core.changes.RunParams`).
        interval: data interval of a backfill, UTC.
        state: one of `core.report.RUN_STATES`.
        started_at: first start of a phase; None while queued.
        finished_at: None while queued or running.
        counters: `core.report.Counters` as a dict; None until known.
        error: `SyncError.as_dict()` of what stopped it.
    """

    id: str
    mapping_id: str
    mapping_sha256: str
    dag_id: str
    airflow_run_id: str
    trigger: str
    params: dict[str, Any]
    interval: tuple[datetime, datetime] | None
    state: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    counters: dict[str, Any] | None
    error: dict[str, Any] | None

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first phase's start to the end; None while there is no end."""
        return _between(self.started_at, self.finished_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRow:
    """The newest start of one phase of a run.

    Args:
        number: grows with every start of any phase of any run; later starts have higher ones.
        attempt: 1-based try number of the task.
        state: ``running``, or what `finish_phase` was given (``succeeded``, ``failed``, ``skipped``), or ``stale`` when an
            earlier phase has started anew since.
        counters: for people.
        artifact: for later phases: paths in the store, digests.
    """

    number: int
    run_id: str
    phase: str
    attempt: int
    state: str
    started_at: datetime
    finished_at: datetime | None
    counters: dict[str, Any]
    artifact: dict[str, Any] | None
    error: dict[str, Any] | None

    @property
    def duration_s(self) -> float | None:
        """Seconds; None while it runs."""
        return _between(self.started_at, self.finished_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a run, for outbound notifications; ``number`` grows."""

    number: int
    at: datetime
    type: str
    mapping_id: str
    run_id: str
    payload: dict[str, Any]


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None
