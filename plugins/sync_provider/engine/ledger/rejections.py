"""Quarantine: records that were refused, until somebody corrects, replays or dismisses them.

What a record holds (value, key, message, place, the record itself) is encrypted; only rule, field and status can be
searched.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.report import Rejection
from sync_provider.engine.ledger.tables import rejections, runs

if TYPE_CHECKING:
    from sync_provider.engine.crypto import Cipher
    from sync_provider.engine.ledger.audit import Audit
    from sync_provider.engine.ledger.database import Database

STATUSES = ("open", "corrected", "replayed", "dismissed")
_BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRejection:
    """One refused record.

    Args:
        id: number; stays the same when its phase is retried and refuses it again.
        record: source column → raw text, as corrected if it was.
        original: the same as it was read.
        status: ``open``; ``corrected``, waiting to be replayed; ``replayed`` by ``replayed_run_id``; ``dismissed``.
    """

    id: int
    run_id: str
    mapping_id: str
    phase: str
    rule: str
    field: str | None
    message: str
    value: str | None
    key: str | None
    where: Where
    record: dict[str, str | None]
    original: dict[str, str | None]
    status: str
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    replayed_run_id: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, values included: for people who may see them, never for logs."""
        return {
            "id": self.id,
            "run_id": self.run_id,
            "mapping_id": self.mapping_id,
            "phase": self.phase,
            "rule": self.rule,
            "field": self.field,
            "message": self.message,
            "value": self.value,
            "key": self.key,
            "where": self.where.as_dict(),
            "record": self.record,
            "original": self.original,
            "status": self.status,
            "created_at": self.created_at.isoformat(),
            "decided_at": self.decided_at.isoformat() if self.decided_at else None,
            "decided_by": self.decided_by,
            "replayed_run_id": self.replayed_run_id,
        }


class Rejections:
    """The quarantine of all integrations."""

    def __init__(self, database: Database, cipher: Cipher, audit: Audit) -> None:
        self._database = database
        self._cipher = cipher
        self._audit = audit
        self._digest_key = cipher.derive(b"sync_provider rejection")

    def replace(self, run_id: str, phase: str, found: Iterable[Rejection]) -> int:
        """Make these the rejections of this run and phase; returns how many there are.

        What was found before and is found again stays, with its number and status; what is not found again goes, unless
        somebody has decided about it. The rows are written in short transactions, so that others need not wait; after a
        crash in between, the phase is retried and ends the same.
        """
        from ulid import ULID

        pass_id = str(ULID())
        with self._database.read() as connection:
            mapping_id = connection.scalar(sa.select(runs.c.mapping_id).where(runs.c.id == run_id))
        if mapping_id is None:
            raise SyncDataError(f"There is no run {run_id}", code="run_unknown")
        rest = iter(found)
        while batch := list(islice(rest, _BATCH)):
            # Two rules may say exactly the same of one record: that is one rejection, and one statement takes no row twice.
            rows = {row["fingerprint"]: row for row in (self._row(run_id, phase, item) for item in batch)}
            with self._database.write() as connection:
                common = {
                    "run_id": run_id,
                    "mapping_id": mapping_id,
                    "phase": phase,
                    "pass_id": pass_id,
                    "status": "open",
                    "created_at": self._database.now(connection),
                }
                statement = self._database.insert(rejections).on_conflict_do_update(
                    index_elements=[rejections.c.run_id, rejections.c.phase, rejections.c.fingerprint],
                    set_={"pass_id": pass_id},
                )
                connection.execute(statement, [{**common, **row} for row in rows.values()])
        mine = sa.and_(rejections.c.run_id == run_id, rejections.c.phase == phase)
        with self._database.write() as connection:
            connection.execute(
                rejections.delete().where(mine, rejections.c.pass_id != pass_id, rejections.c.status == "open")
            )
            counted = sa.select(sa.func.count()).where(mine, rejections.c.pass_id == pass_id)
            return connection.scalar(counted) or 0

    def list(
        self,
        *,
        run_id: str | None = None,
        mapping_id: str | None = None,
        phase: str | None = None,
        rule: str | None = None,
        field: str | None = None,
        status: str | None = None,
        current: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[StoredRejection]:
        """Rejections in the order in which they were found, decrypted one page at a time.

        Args:
            run_id: of this run only.
            mapping_id: of this integration only.
            phase: found by this phase only.
            rule: by this rule only.
            field: for this destination field only.
            status: in this status only.
            current: of records that several runs have refused for the same reason the newest only, and none of dry runs.
            limit: at most so many; None is all.
            offset: skip so many.

        Raises:
            SyncDataError: one was altered, or its key is not configured.
        """
        conditions = _filters(run_id, mapping_id, phase, rule, field, status, current=current)
        left, last = limit, 0
        while left is None or left > 0:
            query = sa.select(rejections).where(*conditions, rejections.c.number > last).order_by(rejections.c.number)
            with self._database.read() as connection:
                page = connection.execute(query.limit(min(_BATCH, left or _BATCH)).offset(offset)).all()
            if not page:
                return
            yield from (self._stored(row) for row in page)
            left = None if left is None else left - len(page)
            last, offset = page[-1].number, 0

    def get(self, number: int) -> StoredRejection:
        """One rejection.

        Raises:
            SyncDataError: there is none of that number (``rejection_unknown``).
        """
        with self._database.read() as connection:
            return self._stored(_one(connection, number))

    def count(
        self,
        *,
        run_id: str | None = None,
        mapping_id: str | None = None,
        phase: str | None = None,
        rule: str | None = None,
        field: str | None = None,
        status: str | None = None,
        current: bool = False,
    ) -> int:
        """How many `list` would give."""
        conditions = _filters(run_id, mapping_id, phase, rule, field, status, current=current)
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(rejections).where(*conditions)) or 0

    def by_rule(self, run_id: str) -> Sequence[tuple[str, str | None, int]]:
        """Rule, field and number of rejections of one run, the most frequent first."""
        amount = sa.func.count()
        query = (
            sa.select(rejections.c.rule, rejections.c.field, amount)
            .where(rejections.c.run_id == run_id)
            .group_by(rejections.c.rule, rejections.c.field)
            .order_by(amount.desc(), rejections.c.rule, rejections.c.field)
        )
        with self._database.read() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(query)]

    def correct(self, number: int, record: dict[str, str | None] | None, actor: str) -> None:
        """Have the record brought in by the next run, as given, or as it was (None: what refused it has been mended).

        Raises:
            SyncDataError: it is unknown, already replayed, or a column is given that the record does not have.
        """
        with self._database.write() as connection:
            row = _one(connection, number, lock=True)
            if row.status == "replayed":
                raise SyncDataError(
                    f"Rejection {number} was replayed by run {row.replayed_run_id} already", code="rejection_closed"
                )
            original = self._payload(row)["record"]
            if unknown := sorted(set(record or {}) - set(original)):
                raise SyncDataError(
                    f"The refused record has no column {', '.join(unknown)}",
                    hint=f"Its columns are {', '.join(original)}.",
                    code="rejection_column",
                )
            corrected = {**original, **(record or {})}
            sealed = self._cipher.encrypt(json.dumps(corrected, ensure_ascii=False).encode(), _aad(row, "correction"))
            self._decide(connection, row, "corrected", actor, correction=sealed)

    def dismiss(self, numbers: Iterable[int], actor: str) -> int:
        """Set aside, not to be replayed; returns how many were open or corrected."""
        with self._database.write() as connection:
            rows = [_one(connection, number, lock=True) for number in numbers]
            mine = [row for row in rows if row.status in ("open", "corrected")]
            for row in mine:
                self._decide(connection, row, "dismissed", actor)
        return len(mine)

    def pending_replays(self, mapping_id: str) -> Iterator[StoredRejection]:
        """Corrected records that wait for the next run; `StoredRejection.record` is what to bring in."""
        return self.list(mapping_id=mapping_id, status="corrected")

    def mark_replayed(self, connection: sa.Connection, numbers: Iterable[int], run_id: str) -> int:
        """Note that a run has brought them in. Part of a write transaction; returns how many were waiting."""
        rest, changed = iter(numbers), 0
        while batch := list(islice(rest, _BATCH)):
            waiting = sa.and_(rejections.c.number.in_(batch), rejections.c.status == "corrected")
            statement = rejections.update().where(waiting).values(status="replayed", replayed_run_id=run_id)
            changed += connection.execute(statement).rowcount
        return changed

    def _decide(self, connection: sa.Connection, row: sa.Row[Any], status: str, actor: str, **values: Any) -> None:
        connection.execute(
            rejections.update()
            .where(rejections.c.number == row.number)
            .values(status=status, decided_at=self._database.now(connection), decided_by=actor, **values)
        )
        subject = f"rejection:{row.number}"
        self._audit.record(
            connection, actor, f"rejection.{status}", subject, {"status": row.status}, {"status": status}
        )

    def _row(self, run_id: str, phase: str, item: Rejection) -> dict[str, Any]:
        content = item.as_dict()
        text = json.dumps(content, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
        digest = hmac.new(self._digest_key, text, hashlib.sha256).hexdigest()[:32]
        aad = f"rejection\0{run_id}\0{phase}\0{digest}".encode()
        return {
            "fingerprint": digest,
            "rule": item.rule,
            "field": item.field,
            "payload": self._cipher.encrypt(text, aad),
        }

    def _payload(self, row: sa.Row[Any]) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(
            self._cipher.decrypt(row.payload, _aad(row, "rejection")).decode("utf-8", "surrogatepass")
        )
        return payload

    def _stored(self, row: sa.Row[Any]) -> StoredRejection:
        try:
            payload = self._payload(row)
            record = payload["record"]
            if row.correction is not None:
                record = json.loads(self._cipher.decrypt(row.correction, _aad(row, "correction")))
        except SyncDataError as error:
            raise error.at(key=f"rejection {row.number}") from None
        return StoredRejection(
            id=row.number,
            run_id=row.run_id,
            mapping_id=row.mapping_id,
            phase=row.phase,
            rule=row.rule,
            field=row.field,
            message=payload["message"],
            value=payload["value"],
            key=payload["key"],
            where=Where(**payload["where"]),
            record=record,
            original=payload["record"],
            status=row.status,
            created_at=row.created_at,
            decided_at=row.decided_at,
            decided_by=row.decided_by,
            replayed_run_id=row.replayed_run_id,
        )


def _aad(row: sa.Row[Any], part: str) -> bytes:
    return f"{part}\0{row.run_id}\0{row.phase}\0{row.fingerprint}".encode()


def _one(connection: sa.Connection, number: int, *, lock: bool = False) -> sa.Row[Any]:
    query = sa.select(rejections).where(rejections.c.number == number)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise SyncDataError(
            f"There is no rejection {number}", hint="See `airflow-sync rejects list`.", code="rejection_unknown"
        )
    return row


def _filters(
    run_id: str | None,
    mapping_id: str | None,
    phase: str | None,
    rule: str | None,
    field: str | None,
    status: str | None,
    *,
    current: bool,
) -> list[sa.ColumnElement[bool]]:
    wanted = {
        rejections.c.run_id: run_id,
        rejections.c.mapping_id: mapping_id,
        rejections.c.phase: phase,
        rejections.c.rule: rule,
        rejections.c.field: field,
        rejections.c.status: status,
    }
    found = [column == value for column, value in wanted.items() if value is not None]
    if current:
        # What differs is the run: the fingerprint is of the record, its place and the reason.
        newest = (
            sa.select(sa.func.max(rejections.c.number))
            .join(runs, runs.c.id == rejections.c.run_id)
            .where(sa.func.coalesce(runs.c.params["dry_run"].as_boolean(), sa.false()).is_(False))
            .group_by(rejections.c.mapping_id, rejections.c.phase, rejections.c.fingerprint)
        )
        found.append(rejections.c.number.in_(newest))
    return found
