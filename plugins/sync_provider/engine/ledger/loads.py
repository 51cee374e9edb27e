"""Which plan each run has begun and finished writing, so that a cleared load neither repeats nor overtakes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sync_provider.core.errors import SyncDataError
from sync_provider.engine.ledger.phases import read_number
from sync_provider.engine.ledger.tables import loads, runs

if TYPE_CHECKING:
    from sync_provider.engine.ledger.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The newest load of one run. Begun and not done: a try was interrupted, and may have written a part."""

    run_id: str
    plan_digest: str
    done: bool
    result: dict[str, Any] | None
    begun_at: datetime
    done_at: datetime | None


class Loads:
    """Loads, one per run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, run_id: str) -> Load | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(loads).where(loads.c.run_id == run_id)).one_or_none()
        if row is None:
            return None
        return Load(
            run_id=row.run_id,
            plan_digest=row.plan_digest,
            done=row.done,
            result=row.result,
            begun_at=row.begun_at,
            done_at=row.done_at,
        )

    def begin(self, run_id: str, plan_digest: str) -> None:
        """Note, before the first write, which plan is about to be written. A load of the same plan that is done stays done."""
        with self._database.write() as connection:
            mapping_id = connection.scalar(sa.select(runs.c.mapping_id).where(runs.c.id == run_id))
            fresh = {
                "plan_digest": plan_digest,
                "done": False,
                "read_number": read_number(connection, run_id),
                "result": None,
                "begun_at": self._database.now(connection),
                "done_at": None,
            }
            connection.execute(
                self._database.insert(loads)
                .values(run_id=run_id, mapping_id=mapping_id, **fresh)
                .on_conflict_do_update(
                    index_elements=[loads.c.run_id],
                    set_=fresh,
                    where=sa.or_(loads.c.plan_digest != plan_digest, loads.c.done.is_(False)),
                )
            )

    def done(self, run_id: str, plan_digest: str, result: dict[str, Any]) -> None:
        """Note, after the last commit, that the plan is written.

        Args:
            run_id: the run.
            plan_digest: as given to `begin`.
            result: what `get` is to give back when the load is cleared; JSON-ready.

        Raises:
            SyncDataError: another plan of this run was begun meanwhile (``load_replaced``).
        """
        with self._database.write() as connection:
            statement = (
                loads.update()
                .where(loads.c.run_id == run_id, loads.c.plan_digest == plan_digest)
                .values(done=True, result=result, done_at=self._database.now(connection))
            )
            if connection.execute(statement).rowcount != 1:
                raise SyncDataError("Another plan of this run was begun meanwhile", code="load_replaced")

    def superseded(self, mapping_id: str, run_id: str, *, any_scope: bool = False) -> str | None:
        """The newest run that has read later than this one and has begun to load; None: this one may load.

        A load that was begun and not finished counts: it may have written all but the note that it did.

        "Later" is when the run last began to read, not when it was created: an old run cleared from `extract` has read the
        newest data. A run supersedes another only if it was asked for the same slice (interval, since, until) and not for
        less of it (limit, keys): a backfill of January is not made obsolete by that of February.

        Args:
            mapping_id: the integration.
            run_id: the run that wants to load.
            any_scope: count every later load, whatever slice it was of (``write: replace``, which swaps everything).
        """
        with self._database.read() as connection:
            mine = connection.execute(sa.select(runs.c.params, *_INTERVAL).where(runs.c.id == run_id)).one_or_none()
            if mine is None:
                return None
            later = connection.execute(
                sa.select(runs.c.id, runs.c.params, *_INTERVAL)
                .join(loads, loads.c.run_id == runs.c.id)
                .where(
                    loads.c.mapping_id == mapping_id,
                    loads.c.run_id != run_id,
                    loads.c.read_number > read_number(connection, run_id),
                )
                .order_by(loads.c.read_number.desc())
            )
            return next((row.id for row in later if any_scope or _covers(row, mine)), None)


_INTERVAL = (runs.c.interval_start, runs.c.interval_end)


def _covers(newer: Any, mine: Any) -> bool:
    """Whether what the newer run read holds all that this one read."""
    if newer.params.get("limit") or newer.params.get("keys"):
        subset = (newer.params.get("limit"), newer.params.get("keys"))
        if subset != (mine.params.get("limit"), mine.params.get("keys")):
            return False
    if _slice(newer) == _slice(mine):
        return bool(newer.params.get("full_refresh")) >= bool(mine.params.get("full_refresh"))
    # A full refresh reads everything there is.
    return bool(newer.params.get("full_refresh")) and not any(_slice(newer))


def _slice(run: Any) -> tuple[Any, ...]:
    return (run.interval_start, run.interval_end, run.params.get("since"), run.params.get("until"))
