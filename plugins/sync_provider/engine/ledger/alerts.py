"""Whether an integration is well, so that people hear of a change once and not of every run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from sync_provider.engine.ledger.tables import alerts

if TYPE_CHECKING:
    from sync_provider.engine.ledger.database import Database

OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """``state`` is ``ok`` or what is wrong; ``fingerprint`` tells one trouble from another."""

    mapping_id: str
    state: str
    fingerprint: str | None
    since: datetime


class Alerts:
    """The last known state of every integration."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def transition(
        self, mapping_id: str, state: str, fingerprint: str | None = None
    ) -> Literal["failed", "recovered"] | None:
        """Set the state; says what people must be told, to exactly one caller per change.

        Args:
            mapping_id: the integration.
            state: ``ok``, or any other name for what is wrong (``failing``, ``blocked``).
            fingerprint: of the trouble (such as category and code); another one is another trouble, and told again.

        Returns:
            ``failed`` when trouble begins or becomes another one, ``recovered`` when it ends, None when nothing changed.
        """
        if state == OK:
            fingerprint = None
        with self._database.write() as connection:
            mine = alerts.c.mapping_id == mapping_id
            fresh = {"state": state, "fingerprint": fingerprint, "since": self._database.now(connection)}
            # The row must exist before it can be locked; an integration without history is well.
            connection.execute(
                self._database.insert(alerts)
                .values(mapping_id=mapping_id, state=OK, fingerprint=None, since=fresh["since"])
                .on_conflict_do_nothing()
            )
            before = connection.execute(sa.select(alerts).where(mine).with_for_update()).one()
            if (before.state, before.fingerprint) == (state, fingerprint):
                return None
            connection.execute(alerts.update().where(mine).values(**fresh))
        return "recovered" if state == OK else "failed"

    def get(self, mapping_id: str) -> AlertState | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(alerts).where(alerts.c.mapping_id == mapping_id)).one_or_none()
        return AlertState(**row._asdict()) if row else None

    def list(self) -> list[AlertState]:
        """Every integration with history, by id."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(alerts).order_by(alerts.c.mapping_id))
            return [AlertState(**row._asdict()) for row in rows]
