"""The conflict log: what two sides could not both have, recorded before the loser is overwritten, and what people decide.

What a conflict is about (key, values, times) is encrypted; integration, field, policy and status can be searched.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from sync_provider.core.canonical import write_text
from sync_provider.core.errors import SyncDataError
from sync_provider.engine.ledger.tables import conflicts

if TYPE_CHECKING:
    from sync_provider.core.conflicts import Conflict
    from sync_provider.engine.crypto import Cipher
    from sync_provider.engine.ledger.audit import Audit
    from sync_provider.engine.ledger.database import Database

STATUSES = ("open", "decided", "settled", "applied", "superseded", "agreed")
"""``open``: a person must decide; ``decided``: the next run applies it; ``settled``: a policy has decided; ``applied``: both sides
hold what a person decided; ``superseded``: a side moved again, a newer conflict stands for it; ``agreed``: the sides came to agree."""

PENDING = ("open", "decided")
_BATCH = 500

Text = str | dict[str, str | None] | None
"""A value as canonical text; a whole record as one text per field; None: null, or no record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedConflict:
    """One conflict, values as canonical text.

    Args:
        key: text of the record's key.
        field: its field; None: the values are whole records.
        decision: number of the conflict in the log whose decision this one carries out.
    """

    key: str
    field: str | None
    base: Text
    source: Text
    destination: Text
    has_base: bool
    policy: str
    winner: str | None = None
    chosen: Text = None
    decision: int | None = None

    @classmethod
    def of(cls, key: str, conflict: Conflict) -> LoggedConflict:
        """A conflict as the engine has it, of one key."""
        return cls(
            key=key,
            field=conflict.field,
            base=_text(conflict.base),
            source=_text(conflict.source),
            destination=_text(conflict.destination),
            has_base=conflict.has_base,
            policy=conflict.policy,
            winner=conflict.winner,
            chosen=_text(conflict.chosen),
            decision=conflict.decision,
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _text(value: Any) -> Text:
    if isinstance(value, dict):
        return {name: None if part is None else write_text(part) for name, part in value.items()}
    return None if value is None else write_text(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredConflict:
    """One conflict of the log.

    Args:
        id: its number.
        choice: what a person decided: ``source``, ``destination``, ``value``; None while nobody has.
        value: the third value, as canonical text, if that was chosen.
    """

    id: int
    mapping_id: str
    run_id: str
    status: str
    conflict: LoggedConflict
    created_at: datetime
    choice: str | None
    value: str | None
    decided_at: datetime | None
    decided_by: str | None
    applied_run_id: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, values included: for people who may see them, never for logs."""
        times = {
            name: getattr(self, name).isoformat() if getattr(self, name) else None
            for name in ("created_at", "decided_at")
        }
        names = ("id", "mapping_id", "run_id", "status", "choice", "value", "decided_by", "applied_run_id")
        return {**{name: getattr(self, name) for name in names}, **self.conflict.as_dict(), **times}


class Conflicts:
    """The conflicts of all integrations."""

    def __init__(self, database: Database, cipher: Cipher, audit: Audit) -> None:
        self._database = database
        self._cipher = cipher
        self._audit = audit
        self._digest_key = cipher.derive(b"sync_provider conflict")

    def record(self, mapping_id: str, run_id: str, found: Iterable[LoggedConflict]) -> int:
        """Record what a run is about to settle or leave open; returns how many are new.

        A conflict that stands there already, open or settled but not yet applied, is the same one: a run that is repeated after
        a crash records nothing twice. One that carries out a decision is the decided one.
        """
        rest = (item for item in found if item.decision is None)
        new = 0
        while batch := list(islice(rest, _BATCH)):
            rows = {row["fingerprint"]: row for row in (self._row(mapping_id, run_id, item) for item in batch)}
            with self._database.write() as connection:
                query = sa.select(conflicts.c.fingerprint).where(
                    conflicts.c.mapping_id == mapping_id,
                    conflicts.c.fingerprint.in_(list(rows)),
                    sa.or_(
                        conflicts.c.status.in_(PENDING),
                        sa.and_(conflicts.c.status == "settled", conflicts.c.applied_run_id.is_(None)),
                    ),
                )
                for known in connection.scalars(query):
                    del rows[known]
                if rows:
                    now = self._database.now(connection)
                    connection.execute(conflicts.insert(), [{**row, "created_at": now} for row in rows.values()])
                new += len(rows)
        return new

    def list(
        self,
        *,
        mapping_id: str | None = None,
        run_id: str | None = None,
        statuses: Sequence[str] = (),
        limit: int | None = None,
    ) -> Sequence[StoredConflict]:
        """Conflicts, oldest first.

        Args:
            mapping_id: of this integration only.
            run_id: recorded by this run only.
            statuses: in one of these only.
            limit: at most so many.

        Raises:
            SyncDataError: one was altered, or its key is not configured.
        """
        query = sa.select(conflicts).where(*_filters(mapping_id, run_id, statuses)).order_by(conflicts.c.number)
        with self._database.read() as connection:
            return [self._stored(row) for row in connection.execute(query if limit is None else query.limit(limit))]

    def count(self, *, mapping_id: str | None = None, run_id: str | None = None, statuses: Sequence[str] = ()) -> int:
        """How many `list` would give."""
        query = sa.select(sa.func.count()).select_from(conflicts).where(*_filters(mapping_id, run_id, statuses))
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def get(self, number: int) -> StoredConflict:
        """One conflict.

        Raises:
            SyncDataError: there is none of that number (``conflict_unknown``).
        """
        with self._database.read() as connection:
            return self._stored(_one(connection, number))

    def resolve(
        self, number: int, choice: Literal["source", "destination", "value"], actor: str, value: str | None = None
    ) -> StoredConflict:
        """Decide an open conflict; the next run applies it if neither side has moved since. Audited.

        Args:
            number: of the conflict.
            choice: a side, or ``value``.
            actor: who decides.
            value: the third value, as canonical text of the field's type; None for null.

        Raises:
            SyncDataError: it is unknown; somebody has decided otherwise (``conflict_decided``); it is not open any more
                (``conflict_closed``); or it is about whole records, which have no third value (``conflict_choice``).
        """
        with self._database.write() as connection:
            row = _one(connection, number, lock=True)
            stored = self._stored(row)
            if choice == "value" and stored.conflict.field is None:
                raise SyncDataError(
                    f"Conflict {number} is about whole records: choose a side",
                    hint="Correct the record on that side afterwards.",
                    code="conflict_choice",
                )
            if row.status == "decided" and (stored.choice, stored.value) != (choice, value):
                raise SyncDataError(
                    f"{stored.decided_by} decided conflict {number} for the {stored.choice} at {stored.decided_at:%Y-%m-%d %H:%M} UTC",
                    hint="Let the next run apply it, or talk to them.",
                    code="conflict_decided",
                )
            if row.status == "decided":
                return stored
            if row.status != "open":
                raise SyncDataError(f"Conflict {number} is {row.status}, not open", code="conflict_closed")
            decision = json.dumps({"choice": choice, "value": value}, ensure_ascii=False).encode()
            connection.execute(
                conflicts.update()
                .where(conflicts.c.number == number)
                .values(
                    status="decided",
                    decision=self._cipher.encrypt(decision, _aad(row, "decision")),
                    decided_at=self._database.now(connection),
                    decided_by=actor,
                )
            )
            # What was chosen, not the values: the audit may be read by people who may not see them.
            self._audit.record(
                connection, actor, "conflict.resolved", f"conflict:{number}", {"status": "open"}, {"choice": choice}
            )
        return self.get(number)

    def conclude(self, mapping_id: str, run_id: str, verdict: Callable[[StoredConflict], str | None]) -> None:
        """Close what a run that has written has brought to an end.

        Args:
            mapping_id: the integration.
            run_id: the run; settled conflicts that wait are its own or those of a try that was killed.
            verdict: the new status of a conflict that was open or decided; None: it stays.
        """
        pending = self.list(mapping_id=mapping_id, statuses=PENDING)
        verdicts = {stored.id: new for stored in pending if (new := verdict(stored)) is not None}
        with self._database.write() as connection:
            connection.execute(
                conflicts.update()
                .where(
                    conflicts.c.mapping_id == mapping_id,
                    conflicts.c.status == "settled",
                    conflicts.c.applied_run_id.is_(None),
                )
                .values(applied_run_id=run_id)
            )
            for number, status in verdicts.items():
                connection.execute(
                    conflicts.update()
                    .where(conflicts.c.number == number, conflicts.c.status.in_(PENDING))
                    .values(status=status, applied_run_id=run_id)
                )
                self._audit.record(connection, f"run:{run_id}", f"conflict.{status}", f"conflict:{number}")

    def _row(self, mapping_id: str, run_id: str, item: LoggedConflict) -> dict[str, Any]:
        content = json.dumps(item.as_dict(), ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
        facts = {name: getattr(item, name) for name in ("key", "field", "base", "source", "destination", "has_base")}
        identity = json.dumps([mapping_id, facts], sort_keys=True).encode()
        fingerprint = hmac.new(self._digest_key, identity, hashlib.sha256).hexdigest()[:32]
        return {
            "mapping_id": mapping_id,
            "run_id": run_id,
            "fingerprint": fingerprint,
            "field": item.field,
            "policy": item.policy,
            "winner": item.winner,
            "status": "open" if item.winner is None else "settled",
            "payload": self._cipher.encrypt(content, f"conflict\0{mapping_id}\0{fingerprint}".encode()),
        }

    def _stored(self, row: sa.Row[Any]) -> StoredConflict:
        try:
            content = json.loads(
                self._cipher.decrypt(row.payload, _aad(row, "conflict")).decode("utf-8", "surrogatepass")
            )
            decision = {"choice": None, "value": None}
            if row.decision is not None:
                decision = json.loads(self._cipher.decrypt(row.decision, _aad(row, "decision")))
        except SyncDataError as error:
            raise error.at(key=f"conflict {row.number}") from None
        return StoredConflict(
            id=row.number,
            mapping_id=row.mapping_id,
            run_id=row.run_id,
            status=row.status,
            conflict=LoggedConflict(**content),
            created_at=row.created_at,
            decided_at=row.decided_at,
            decided_by=row.decided_by,
            applied_run_id=row.applied_run_id,
            **decision,
        )


def _aad(row: sa.Row[Any], part: str) -> bytes:
    return f"{part}\0{row.mapping_id}\0{row.fingerprint}".encode()


def _one(connection: sa.Connection, number: int, *, lock: bool = False) -> sa.Row[Any]:
    query = sa.select(conflicts).where(conflicts.c.number == number)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise SyncDataError(
            f"There is no conflict {number}", hint="See `airflow-sync conflicts list`.", code="conflict_unknown"
        )
    return row


def _filters(mapping_id: str | None, run_id: str | None, statuses: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if mapping_id is not None:
        found.append(conflicts.c.mapping_id == mapping_id)
    if run_id is not None:
        found.append(conflicts.c.run_id == run_id)
    if statuses:
        found.append(conflicts.c.status.in_(statuses))
    return found
