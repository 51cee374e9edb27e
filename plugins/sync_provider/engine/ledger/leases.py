"""One live writer per resource, across DAGs, workers and the command line.

Every acquisition gets a higher *fencing number*. A holder that was paused past its expiry finds, when it looks right before it
commits, that its number is no longer the current one, and stops. Between that look and the commit a pause can still slip in,
unless the target compares numbers itself: the time to live should be long against one commit.

Time is the database's own on PostgreSQL and the machine's on SQLite, whose users share one machine: no holder's clock decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sync_provider.core.errors import SyncConnectionError, SyncDataError, Where
from sync_provider.engine.ledger.tables import leases

if TYPE_CHECKING:
    from sync_provider.engine.ledger.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease as it was given. ``number`` is the fencing number; ``expires_at`` moves on with `Leases.renew`."""

    resource: str
    holder: str
    number: int
    expires_at: datetime


class Leases:
    """Leases, given and taken back by compare-and-set."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, resource: str, holder: str, ttl: timedelta) -> Lease:
        """Take the lease if it is free, expired, or held by the same holder.

        A holder that comes back (the retry of a task whose process died) gets a new number at once, which fences off its own
        former self.

        Args:
            resource: `Capabilities.resource`.
            holder: the run's id; others see it in their error.
            ttl: how long the lease lasts without `renew`.

        Raises:
            SyncConnectionError: somebody else holds it (``lease_held``); retryable, with the time left as retry_after_s.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            fresh = {"holder": holder, "number": leases.c.number + 1, "expires_at": now + ttl}
            statement = (
                self._database.insert(leases)
                .values(resource=resource, holder=holder, number=1, expires_at=now + ttl)
                .on_conflict_do_update(
                    index_elements=[leases.c.resource],
                    set_=fresh,
                    where=sa.or_(leases.c.holder.is_(None), leases.c.holder == holder, leases.c.expires_at <= now),
                )
                .returning(leases.c.number)
            )
            number = connection.scalar(statement)
            if number is not None:
                return Lease(resource=resource, holder=holder, number=number, expires_at=now + ttl)
            current = connection.execute(sa.select(leases).where(leases.c.resource == resource)).one()
        raise SyncConnectionError(
            f"Run {current.holder} is writing there, until {current.expires_at:%H:%M:%S} UTC unless it goes on",
            where=Where(endpoint=resource),
            hint="It will be tried again; one run at a time may write.",
            code="lease_held",
            retry_after_s=max(0.0, (current.expires_at - now).total_seconds()),
        )

    def renew(self, lease: Lease, ttl: timedelta) -> Lease:
        """Make it last ``ttl`` from now.

        Raises:
            SyncDataError: it is not ours any more (``lease_lost``).
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            statement = leases.update().where(_ours(lease), leases.c.expires_at > now).values(expires_at=now + ttl)
            if connection.execute(statement).rowcount != 1:
                raise _lost(lease)
        return Lease(resource=lease.resource, holder=lease.holder, number=lease.number, expires_at=now + ttl)

    def check(self, lease: Lease) -> None:
        """Return if the lease is ours and has not expired: to be called right before a commit.

        Raises:
            SyncDataError: it is not (``lease_lost``); nothing may be written.
        """
        with self._database.read() as connection:
            now = self._database.now(connection)
            query = sa.select(leases.c.number).where(_ours(lease), leases.c.expires_at > now)
            if connection.scalar(query) is None:
                raise _lost(lease)

    def release(self, lease: Lease) -> bool:
        """Give it back; False if it was not ours any more. The number stays, so that it only ever grows."""
        with self._database.write() as connection:
            statement = leases.update().where(_ours(lease)).values(holder=None)
            return connection.execute(statement).rowcount == 1

    def held(self) -> list[Lease]:
        """The leases that are in force now, by resource."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            query = sa.select(leases).where(leases.c.holder.is_not(None), leases.c.expires_at > now)
            return [Lease(**row._asdict()) for row in connection.execute(query.order_by(leases.c.resource))]


def _ours(lease: Lease) -> Any:
    return sa.and_(
        leases.c.resource == lease.resource, leases.c.number == lease.number, leases.c.holder == lease.holder
    )


def _lost(lease: Lease) -> SyncDataError:
    return SyncDataError(
        "The right to write was lost: it expired, or another run took over; nothing more is written",
        where=Where(endpoint=lease.resource),
        hint="Run again; if this repeats, the machine is overloaded or was suspended.",
        code="lease_lost",
        retryable=True,
    )
