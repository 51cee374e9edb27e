"""One run of one integration: its identity, its bookkeeping per phase, its end.

The ledger holds what a run has done, the store what it has staged; nothing passes between phases otherwise. So a phase
can run in another process, be retried, or be cleared and run again a week later, and the command line and Airflow behave
alike.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sync_provider.core.changes import RunParams
from sync_provider.core.conflicts import Side
from sync_provider.core.errors import SyncConnectionError, SyncDataError, SyncError
from sync_provider.core.mapping import Mapping
from sync_provider.engine.environment import Environment
from sync_provider.engine.loader import MappingSource
from sync_provider.engine.scratch import interrupted
from sync_provider.engine.staging import run_folder

if TYPE_CHECKING:
    from sync_provider.connectors.base import Connector

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """One run, as every phase sees it.

    Args:
        id: ULID, kept by retries and clears.
        mapping: the integration, in the version this run was started with.
        params: what a person asked for.
        interval: data interval of a backfill, UTC; None otherwise.
        attempt: 1-based try number of the present task.
        env: the outside.
    """

    id: str
    mapping: Mapping
    params: RunParams
    interval: tuple[datetime, datetime] | None
    attempt: int
    env: Environment

    def path(self, name: str) -> str:
        """Where this run stages something."""
        return f"{run_folder(self.mapping.id, self.id)}/{name}"

    def connect(self, side: Side) -> Connector:
        """Open the connector of a side; use it as a context manager. See `environment.connect`."""
        return self.env.connect_side(self.mapping, side)

    def artifact(self, phase: str) -> dict[str, Any]:
        """What an earlier phase of this run left behind.

        Raises:
            SyncDataError: that phase has not succeeded.
        """
        row = self.env.ledger.runs.phase(self.id, phase)
        if row is None or row.state != "succeeded" or row.artifact is None:
            raise SyncDataError(
                f"{phase} has not succeeded in this run",
                hint=f"Clear the run from its {phase} task on.",
                code="phase_missing",
            )
        return dict(row.artifact)


@dataclass(slots=True)
class Phase:
    """What a phase reports when it ends: counters (for people and XCom) and an artifact (for later phases)."""

    counters: dict[str, Any] = field(default_factory=dict)
    artifact: dict[str, Any] = field(default_factory=dict)


def open_run(
    env: Environment,
    source: MappingSource,
    *,
    dag_id: str,
    airflow_run_id: str,
    trigger: str,
    params: RunParams,
    interval: tuple[datetime, datetime] | None = None,
    attempt: int = 1,
) -> RunContext:
    """Find or create the run; the same (dag_id, airflow_run_id) is the same run."""
    run = env.ledger.runs.open(
        mapping_id=source.mapping.id,
        mapping_text=source.text,
        mapping_sha256=source.sha256,
        dag_id=dag_id,
        airflow_run_id=airflow_run_id,
        trigger=trigger,
        params=params.as_dict(),
        interval=interval,
    )
    return RunContext(id=run.id, mapping=source.mapping, params=params, interval=interval, attempt=attempt, env=env)


@contextmanager
def phase(ctx: RunContext, name: str) -> Iterator[Phase]:
    """Keep the books of one phase: start, counters, artifact, or the error and the run's failure.

    Raises:
        SyncError: whatever the body raised, located; SyncConnectionError (``stopped``) after a signal. Other exceptions pass as they are,
            recorded as ``unexpected``.
    """
    runs = ctx.env.ledger.runs
    number = runs.start_phase(ctx.id, name, ctx.attempt)
    result = Phase()
    try:
        yield result
    except SyncError as error:
        _failed(ctx, name, number, error)
        raise
    except Exception as error:
        if interrupted(error):
            stopped = _stopped()
            _failed(ctx, name, number, stopped)
            raise stopped from error
        # Its text may hold anything, a record or a secret included: the type is all that is kept.
        _failed(ctx, name, number, SyncDataError(f"unexpected {type(error).__name__}", code="unexpected"))
        raise
    except KeyboardInterrupt:
        _failed(ctx, name, number, _stopped())
        raise
    runs.finish_phase(ctx.id, name, "succeeded", result.counters, result.artifact, number=number)


def _stopped() -> SyncConnectionError:
    return SyncConnectionError("stopped by a person or the machine", hint="Start it again.", code="stopped")


def _failed(ctx: RunContext, name: str, number: int, error: SyncError) -> None:
    runs = ctx.env.ledger.runs
    runs.finish_phase(ctx.id, name, "failed", error=error.as_dict(), number=number)
    state = "blocked" if error.needs_decision else "failed"
    runs.finish(ctx.id, state, error=error.as_dict(), event=f"run.{state}")
