"""The phases of a run, as rows. Every start adds one, with a number that grows over all runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from sync_provider.core.changes import ONE_WAY, PHASES, SNAPSHOTS, TWO_WAY, later_phases
from sync_provider.core.errors import SyncDataError
from sync_provider.engine.ledger.records import PhaseRow
from sync_provider.engine.ledger.tables import phases, runs

STALE = "stale"
READING = ("extract", *SNAPSHOTS)
PHASE_STATES = ("succeeded", "failed", "skipped")


def start(connection: sa.Connection, run_id: str, phase: str, attempt: int, now: datetime) -> int:
    """Add a start; what later phases have left behind does not count any more. Returns the start's number."""
    if phase not in PHASES:
        raise ValueError(f"{phase!r} is no phase; known are {', '.join(PHASES)}")
    later = later_phases(phase, two_way=_is_two_way(connection, run_id, phase))
    connection.execute(
        phases.update().where(phases.c.run_id == run_id, phases.c.phase.in_(later)).values(stale=True),
    )
    number: int | None = connection.scalar(
        phases.insert()
        .values(run_id=run_id, phase=phase, attempt=attempt, state="running", stale=False, started_at=now)
        .returning(phases.c.number)
    )
    assert number is not None
    return number


def _is_two_way(connection: sa.Connection, run_id: str, phase: str) -> bool:
    if (phase in TWO_WAY) != (phase in ONE_WAY):
        return phase in TWO_WAY
    seen = sa.select(phases.c.number).where(phases.c.run_id == run_id, phases.c.phase.in_(SNAPSHOTS)).limit(1)
    return connection.scalar(seen) is not None


def finish(connection: sa.Connection, run_id: str, phase: str, number: int | None, values: dict[str, Any]) -> None:
    """End the newest start of a phase.

    Raises:
        SyncDataError: the phase was not started, or started anew since (``phase_restarted``).
    """
    newest = connection.scalar(
        sa.select(sa.func.max(phases.c.number)).where(phases.c.run_id == run_id, phases.c.phase == phase)
    )
    if newest is None or number not in (None, newest):
        raise SyncDataError(
            f"{phase} was started anew since; this try's result does not count",
            hint="Look at the newer try's log.",
            code="phase_restarted",
        )
    connection.execute(phases.update().where(phases.c.number == newest).values(**values))


def current(connection: sa.Connection, run_id: str) -> list[PhaseRow]:
    """The newest start of each phase, in the order in which they run."""
    newest = (
        sa.select(sa.func.max(phases.c.number))
        .where(phases.c.run_id == run_id)
        .group_by(phases.c.phase)
        .scalar_subquery()
    )
    rows = [_row(row) for row in connection.execute(sa.select(phases).where(phases.c.number.in_(newest)))]
    order = TWO_WAY if any(row.phase in SNAPSHOTS for row in rows) else ONE_WAY
    return sorted(rows, key=lambda row: order.index(row.phase))


def earlier(connection: sa.Connection, run_id: str, phase: str) -> PhaseRow | None:
    """The newest start of a phase in any other run of the same mapping in the same version."""
    mine = sa.select(runs.c.mapping_id, runs.c.mapping_sha256).where(runs.c.id == run_id).subquery()
    query = (
        sa.select(phases)
        .join(runs, runs.c.id == phases.c.run_id)
        .join(mine, sa.and_(*(mine.c[name] == runs.c[name] for name in ("mapping_id", "mapping_sha256"))))
        .where(phases.c.run_id != run_id, phases.c.phase == phase)
        .order_by(phases.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _row(row)


def read_number(connection: sa.Connection, run_id: str) -> int:
    """When the run last began to read, as a number: the newest start of its reading phase. 0 if it has not begun."""
    return min((row.number for row in current(connection, run_id) if row.phase in READING), default=0)


def _row(row: sa.Row[Any]) -> PhaseRow:
    return PhaseRow(
        number=row.number,
        run_id=row.run_id,
        phase=row.phase,
        attempt=row.attempt,
        state=STALE if row.stale else row.state,
        started_at=row.started_at,
        finished_at=row.finished_at,
        counters=row.counters or {},
        artifact=row.artifact,
        error=row.error,
    )
