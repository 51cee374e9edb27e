"""Who did what, when, before and after: rows chained by hashes, so that changing, removing, adding or moving one shows.

Each row's hash covers its content and the hash before it; one more row keeps the chain's end, so that missing last rows show
too. Somebody who can rewrite the whole database can rewrite the chain: it is tamper-evident up to the last copy kept
elsewhere, not tamper-proof.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sync_provider.engine.ledger.tables import audit, audit_head

if TYPE_CHECKING:
    from sync_provider.engine.ledger.database import Database
    from sync_provider.engine.ledger.redaction import Redactor

GENESIS = "0" * 64
_PAGE = 1000
_HASHED = ("number", "at", "actor", "action", "subject", "before", "after")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One entry. ``before`` and ``after`` are JSON values, None where there is nothing to tell."""

    number: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: Any
    after: Any
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditBreak:
    """The first place where the chain does not hold: the number expected there, and what is wrong."""

    number: int
    reason: str


class Audit:
    """The chain. Rows are never changed and never purged."""

    def __init__(self, database: Database, redact: Redactor) -> None:
        self._database = database
        self._redact = redact

    def append(self, actor: str, action: str, subject: str, before: Any = None, after: Any = None) -> int:
        """Add one entry, in a transaction of its own; returns its number.

        Args:
            actor: user name, or ``run:<id>`` for the engine's own deeds.
            action: what was done, ``object.verb`` (``plan.approved``, ``rejection.corrected``).
            subject: what it was done to.
            before: JSON value as it was; no records, no secrets.
            after: JSON value as it is now.
        """
        with self._database.write() as connection:
            return self.record(connection, actor, action, subject, before, after)

    def record(
        self,
        connection: sa.Connection,
        actor: str,
        action: str,
        subject: str,
        before: Any = None,
        after: Any = None,
    ) -> int:
        """Like `append`, as part of a transaction; the last thing to do in it, for all other writers wait meanwhile."""
        head = connection.execute(sa.select(audit_head).where(audit_head.c.id == 1).with_for_update()).one()
        row = {
            "number": head.number + 1,
            "at": self._database.now(connection).isoformat(timespec="microseconds"),
            "actor": self._redact(actor),
            "action": action,
            "subject": self._redact(subject),
            "before": _text(self._redact(before)),
            "after": _text(self._redact(after)),
        }
        digest = _hash(head.hash, row)
        connection.execute(audit.insert().values(**row, hash=digest))
        connection.execute(
            audit_head.update().where(audit_head.c.id == 1).values(number=row["number"], hash=digest),
        )
        return int(row["number"])

    def verify(self) -> AuditBreak | None:
        """Walk the whole chain; None if it holds, else the first break."""
        previous, expected, last = GENESIS, 1, 0
        with self._database.read() as connection:
            while page := _page(connection, last):
                for row in page:
                    if row.number != expected:
                        return AuditBreak(number=expected, reason=f"row {expected} is missing")
                    if row.hash != _hash(previous, {name: getattr(row, name) for name in _HASHED}):
                        return AuditBreak(number=expected, reason=f"row {expected} does not fit the one before it")
                    previous, expected = row.hash, expected + 1
                last = page[-1].number
            head = connection.execute(sa.select(audit_head).where(audit_head.c.id == 1)).one_or_none()
        if head is None or (head.number, head.hash) != (expected - 1, previous):
            return AuditBreak(number=expected, reason="the last rows are missing, or the chain's end was changed")
        return None

    def list(self, *, subject: str | None = None, after: int = 0) -> Iterator[AuditRow]:
        """Entries with a number above ``after``, in order; read one page at a time."""
        while True:
            with self._database.read() as connection:
                page = _page(connection, after, subject)
            if not page:
                return
            yield from (_entry(row) for row in page)
            after = page[-1].number


def _page(connection: sa.Connection, after: int, subject: str | None = None) -> Sequence[sa.Row[Any]]:
    query = sa.select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(_PAGE)
    return connection.execute(query if subject is None else query.where(audit.c.subject == subject)).all()


def _entry(row: sa.Row[Any]) -> AuditRow:
    return AuditRow(
        number=row.number,
        at=datetime.fromisoformat(row.at),
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        before=json.loads(row.before) if row.before else None,
        after=json.loads(row.after) if row.after else None,
        hash=row.hash,
    )


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _hash(previous: str, row: dict[str, Any]) -> str:
    # A JSON list: unlike joined text, no content can pass for another by moving a separator.
    content = json.dumps([previous, *row.values()], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
