"""Forgetting old runs, so that the ledger stays small. What somebody may still need stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sync_provider.engine.ledger.runs import FINAL_STATES
from sync_provider.engine.ledger.tables import (
    baselines,
    conflicts,
    cursors,
    events,
    loads,
    mapping_versions,
    phases,
    rejections,
    runs,
)

if TYPE_CHECKING:
    from sync_provider.engine.ledger.database import Database

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What was removed: ids of the runs, and how many rejections, conflicts and events went with them."""

    run_ids: tuple[str, ...]
    rejections: int
    conflicts: int
    events: int


def purge(database: Database, before: datetime) -> Purged:
    """Remove runs that ended before then, with their phases, decided rejections, closed conflicts and events.

    Kept: the newest run of each integration, the newest that has begun to load, those that a cursor or a baseline comes from, and
    those with rejections that are open or wait to be replayed. A conflict goes when it is closed and neither the run that recorded it
    nor the one that closed it is kept. Audit, leases, cursors and files seen are never removed.
    """
    with database.read() as connection:
        chosen = list(connection.scalars(_removable(before)))
    rest = iter(chosen)
    gone: list[str] = []
    gone_rejections = gone_events = 0
    # Short transactions, for others may write in between; a run that was cleared meanwhile is not old any more.
    while chunk := list(islice(rest, _BATCH)):
        with database.write() as connection:
            still_old = sa.and_(runs.c.id.in_(chunk), runs.c.state.in_(FINAL_STATES), runs.c.finished_at < before)
            batch = list(connection.scalars(runs.delete().where(still_old).returning(runs.c.id)))
            gone += batch
            connection.execute(phases.delete().where(phases.c.run_id.in_(batch)))
            connection.execute(loads.delete().where(loads.c.run_id.in_(batch)))
            gone_rejections += connection.execute(rejections.delete().where(rejections.c.run_id.in_(batch))).rowcount
            gone_events += connection.execute(events.delete().where(events.c.run_id.in_(batch))).rowcount
    with database.write() as connection:
        used = sa.select(runs.c.mapping_sha256)
        connection.execute(mapping_versions.delete().where(mapping_versions.c.sha256.not_in(used)))
        kept = sa.select(runs.c.id)
        forgotten = conflicts.delete().where(conflicts.c.closed_run_id.not_in(kept), conflicts.c.run_id.not_in(kept))
        gone_conflicts = connection.execute(forgotten).rowcount
    return Purged(run_ids=tuple(gone), rejections=gone_rejections, conflicts=gone_conflicts, events=gone_events)


def _removable(before: datetime) -> sa.Select[Any]:
    other, later = runs.alias(), loads.alias()
    newer_run = sa.exists().where(
        other.c.mapping_id == runs.c.mapping_id,
        sa.tuple_(other.c.created_at, other.c.id) > sa.tuple_(runs.c.created_at, runs.c.id),
    )
    only_load = sa.exists().where(
        loads.c.run_id == runs.c.id,
        ~sa.exists().where(later.c.mapping_id == loads.c.mapping_id, later.c.read_number > loads.c.read_number),
    )
    undecided = sa.exists().where(rejections.c.run_id == runs.c.id, rejections.c.status.in_(("open", "corrected")))
    return (
        sa.select(runs.c.id)
        .where(
            runs.c.state.in_(FINAL_STATES),
            runs.c.finished_at < before,
            newer_run,
            ~only_load,
            ~undecided,
            runs.c.id.not_in(sa.select(cursors.c.run_id)),
            runs.c.id.not_in(sa.select(baselines.c.run_id)),
        )
        .order_by(runs.c.created_at)
    )
