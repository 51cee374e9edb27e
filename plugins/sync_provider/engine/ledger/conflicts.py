"""The conflict log: what two sides could not both have, recorded before the loser is overwritten, and what people decide.

What a conflict is about (key, values, times) is encrypted; integration, field, policy and status can be searched. While no run has closed
it, there is one conflict of the same key, field and values: a run that is repeated after a crash finds it again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
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
hold what a person decided; ``superseded``: a side or the policy changed, a newer conflict stands for it; ``agreed``: the sides came to
agree. The last three are final, and so is ``settled`` once a run has closed it."""

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
        source_time: when the source's record was changed, by its own data; None: it does not say.
        destination_time: the same of the destination.
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
    source_time: Text = None
    destination_time: Text = None

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
            source_time=_text(conflict.source_time),
            destination_time=_text(conflict.destination_time),
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
        value: the third value, as canonical text, if that was chosen; None: null.
        closed_run_id: the run that brought it to an end.
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
    closed_run_id: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, values included: for people who may see them, never for logs."""
        times = {
            name: getattr(self, name).isoformat() if getattr(self, name) else None
            for name in ("created_at", "decided_at")
        }
        names = ("id", "mapping_id", "run_id", "status", "choice", "value", "decided_by", "closed_run_id")
        return {**{name: getattr(self, name) for name in names}, **self.conflict.as_dict(), **times}


class Conflicts:
    """The conflicts of all integrations."""

    def __init__(self, database: Database, cipher: Cipher, audit: Audit) -> None:
        self._database = database
        self._cipher = cipher
        self._audit = audit
        self._digest_key = cipher.derive(b"sync_provider conflict")

    def record(self, mapping_id: str, run_id: str, found: Iterable[LoggedConflict]) -> int:
        """Record what a run is about to settle or leave open; returns how many are new. Audited as numbers.

        A conflict that stands there already and is not closed is the same one. If the policy has something else in store for it
        now, a new one takes its place. One that carries out a decision is the decided one.
        """
        rest = (item for item in found if item.decision is None)
        new = 0
        while batch := list(islice(rest, _BATCH)):
            rows = {row["fingerprint"]: row for row in (self._row(mapping_id, run_id, item) for item in batch)}
            with self._database.write() as connection:
                new += self._insert(connection, mapping_id, run_id, rows)
        return new

    def _insert(self, connection: sa.Connection, mapping_id: str, run_id: str, rows: dict[str, dict[str, Any]]) -> int:
        query = sa.select(conflicts.c.number, conflicts.c.fingerprint, conflicts.c.winner)
        known = query.where(_live(mapping_id), conflicts.c.fingerprint.in_(list(rows)))
        for row in connection.execute(known).all():
            if row.winner == rows[row.fingerprint]["winner"]:
                del rows[row.fingerprint]
            else:
                self._close(connection, run_id, row.number, "superseded")
        if not rows:
            return 0
        now = self._database.now(connection)
        statement = self._database.insert(conflicts).on_conflict_do_nothing(
            index_elements=[conflicts.c.mapping_id, conflicts.c.fingerprint],
            index_where=conflicts.c.closed_run_id.is_(None),
        )
        statement = statement.values([{**row, "created_at": now} for row in rows.values()])
        added = Counter(connection.scalars(statement.returning(conflicts.c.status)))
        if added:
            self._audit.record(
                connection, f"run:{run_id}", "conflict.recorded", f"mapping:{mapping_id}", None, dict(added)
            )
        return added.total()

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

        Returns:
            It. Whoever decided may decide again until a run has applied it.

        Raises:
            SyncDataError: it is unknown; somebody else has decided otherwise (``conflict_decided``); it is not open any more
                (``conflict_closed``); or it is about whole records, which have no third value (``conflict_choice``).
        """
        with self._database.write() as connection:
            row = _one(connection, number, lock=True)
            stored = self._stored(row)
            if row.status not in PENDING:
                raise SyncDataError(f"Conflict {number} is {row.status}, not open", code="conflict_closed")
            if choice == "value" and stored.conflict.field is None:
                raise SyncDataError(
                    f"Conflict {number} is about whole records: choose a side",
                    hint="Correct the record on that side afterwards.",
                    code="conflict_choice",
                )
            if row.status == "decided" and (stored.choice, stored.value) == (choice, value):
                return stored
            if row.status == "decided" and row.decided_by != actor:
                chosen = "a third value" if stored.choice == "value" else f"the {stored.choice}"
                raise SyncDataError(
                    f"{row.decided_by} decided conflict {number} for {chosen} at {row.decided_at:%Y-%m-%d %H:%M} UTC",
                    hint="Let the next run apply it, or talk to them.",
                    code="conflict_decided",
                )
            decision = json.dumps({"choice": choice, "value": value}, ensure_ascii=False).encode(
                "utf-8", "surrogatepass"
            )
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
            before, after = {"status": row.status, "choice": stored.choice}, {"status": "decided", "choice": choice}
            decided = self._stored(_one(connection, number))
            self._audit.record(connection, actor, "conflict.resolved", f"conflict:{number}", before, after)
        return decided

    def conclude(
        self, mapping_id: str, run_id: str, found: Iterable[LoggedConflict], left_alone: Collection[str] = ()
    ) -> None:
        """Close what a run that has written has brought to an end. Doing it again changes nothing.

        Args:
            mapping_id: the integration.
            run_id: the run.
            found: all conflicts that it found.
            left_alone: texts of keys that it did not look at or could not write; their conflicts stay as they are.
        """
        ending = _Ending(((self._fingerprint(mapping_id, item), item) for item in found), left_alone)
        last = 0
        while True:
            with self._database.write() as connection:
                query = sa.select(conflicts).where(_live(mapping_id), conflicts.c.number > last)
                rows = connection.execute(query.order_by(conflicts.c.number).limit(_BATCH).with_for_update()).all()
                ended = [(row, status) for row in rows if (status := ending.status(row, self._stored)) is not None]
                for row, status in ended:
                    self._close(connection, run_id, row.number, status)
                for row, status in ended:
                    if row.status in PENDING:
                        subject, states = f"conflict:{row.number}", ({"status": row.status}, {"status": status})
                        self._audit.record(connection, f"run:{run_id}", f"conflict.{status}", subject, *states)
            if len(rows) < _BATCH:
                return
            last = rows[-1].number

    def _close(self, connection: sa.Connection, run_id: str, number: int, status: str) -> None:
        closed = conflicts.update().where(conflicts.c.number == number, conflicts.c.closed_run_id.is_(None))
        connection.execute(closed.values(status=status, closed_run_id=run_id))

    def _fingerprint(self, mapping_id: str, item: LoggedConflict) -> str:
        facts = {name: getattr(item, name) for name in ("key", "field", "base", "source", "destination", "has_base")}
        identity = json.dumps([mapping_id, facts], sort_keys=True).encode()
        return hmac.new(self._digest_key, identity, hashlib.sha256).hexdigest()[:32]

    def _row(self, mapping_id: str, run_id: str, item: LoggedConflict) -> dict[str, Any]:
        content = json.dumps(item.as_dict(), ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
        fingerprint = self._fingerprint(mapping_id, item)
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
            closed_run_id=row.closed_run_id,
            **decision,
        )


class _Ending:
    """Which conflicts a run has brought to an end.

    Args:
        found: fingerprint and content of every conflict that it found.
        left_alone: texts of keys about which it says nothing.
    """

    def __init__(self, found: Iterable[tuple[str, LoggedConflict]], left_alone: Collection[str]) -> None:
        self._left_alone = left_alone
        self._found: set[str] = set()
        self._places: set[tuple[str, str | None]] = set()
        self._decisions: dict[int, LoggedConflict] = {}
        for fingerprint, item in found:
            if item.key not in left_alone:
                self._found.add(fingerprint)
                self._places.add((item.key, item.field))
                if item.decision is not None:
                    self._decisions[item.decision] = item

    def status(self, row: sa.Row[Any], stored: Callable[[sa.Row[Any]], StoredConflict]) -> str | None:
        """The final status of a conflict that no run has closed yet; None: it stays."""
        if (item := self._decisions.get(row.number)) is not None:
            decided = stored(row)
            # Whoever decided may have decided again after the run had planned.
            carried_out = decided.choice == item.winner and decided.value == (
                item.chosen if item.winner == "value" else None
            )
            return "applied" if carried_out else "superseded"
        if row.fingerprint in self._found:
            return "settled" if row.status == "settled" else None
        conflict = stored(row).conflict
        if conflict.key in self._left_alone:
            return None
        if (conflict.key, conflict.field) in self._places:
            return "superseded"
        return "settled" if row.status == "settled" else "agreed"


def _live(mapping_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(conflicts.c.mapping_id == mapping_id, conflicts.c.closed_run_id.is_(None))


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
