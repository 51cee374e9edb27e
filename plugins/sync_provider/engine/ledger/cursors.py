"""How far each integration has read: cursors, files seen, and pointers to baselines. They only move forward."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sync_provider.connectors.base import SourceFile
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.engine.ledger.tables import baselines, cursors, files

if TYPE_CHECKING:
    from sync_provider.engine.ledger.audit import Audit
    from sync_provider.engine.ledger.database import Database

_NUMBERS = ("integer", "decimal", "double")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The highest value committed.

    Args:
        value: canonical text.
        type: declared type (``timestamp``, ``decimal(12,2)``…).
        run_id: the run that moved it there.
    """

    mapping_id: str
    value: str
    type: str
    run_id: str
    moved_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A pointer to a file of the store, moved together with the run that wrote it."""

    name: str
    path: str
    sha256: str | None
    run_id: str
    moved_at: datetime


class Cursors:
    """One cursor per integration, moved by `Runs.finish` only."""

    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit

    def get(self, mapping_id: str) -> str | None:
        """The committed value, canonical text; None before the first commit."""
        cursor = self.peek(mapping_id)
        return cursor.value if cursor else None

    def peek(self, mapping_id: str) -> Cursor | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(cursors).where(cursors.c.mapping_id == mapping_id)).one_or_none()
        return Cursor(**row._asdict()) if row else None

    def reset(self, mapping_id: str, actor: str) -> bool:
        """Forget the cursor, so that the next run reads everything; False if there was none. Audited."""
        with self._database.write() as connection:
            row = connection.execute(
                cursors.delete().where(cursors.c.mapping_id == mapping_id).returning(cursors.c.value)
            ).one_or_none()
            if row is not None:
                self._audit.record(connection, actor, "cursor.reset", mapping_id, before=row.value)
        return row is not None

    def advance(self, connection: sa.Connection, mapping_id: str, value: str, type: str, run_id: str) -> bool:  # noqa: A002
        """Move the cursor if that is forward; False if it stays. Part of a write transaction.

        Raises:
            SyncDataError: the stored value is of another type, so that "forward" has no meaning.
        """
        order_of(value, type)
        now = self._database.now(connection)
        fresh = {"value": value, "type": type, "run_id": run_id, "moved_at": now}
        first = (
            self._database.insert(cursors)
            .values(mapping_id=mapping_id, **fresh)
            .on_conflict_do_nothing()
            .returning(cursors.c.mapping_id)
        )
        if connection.execute(first).one_or_none() is not None:
            return True
        mine = cursors.c.mapping_id == mapping_id
        stored = connection.execute(sa.select(cursors).where(mine).with_for_update()).one()
        if _family(stored.type) != _family(type):
            raise SyncDataError(
                f"The stored cursor is a {stored.type}, and the mapping now declares a {type}",
                where=Where(field="incremental.cursor"),
                hint="Reset the cursor; the next run then reads everything.",
                code="cursor_type",
            )
        if order_of(value, type) <= order_of(stored.value, stored.type):
            return False
        connection.execute(cursors.update().where(mine).values(**fresh))
        return True


def order_of(value: str, type: str) -> Any:  # noqa: A002
    """What a cursor's text is compared by: numbers exactly, times as instants (UTC where no zone is given), texts by code point.

    Raises:
        SyncDataError: the text does not fit the type.
    """
    try:
        match _family(type):
            case "number":
                return _finite(Decimal(value))
            case "date":
                return date.fromisoformat(value)
            case "timestamp":
                moment = datetime.fromisoformat(value)
                return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            case _:
                return value
    except (ValueError, InvalidOperation) as exc:
        raise SyncDataError(
            f"A cursor value does not fit its type {type}", where=Where(field="incremental.cursor"), code="cursor_value"
        ) from exc


def _finite(number: Decimal) -> Decimal:
    if not number.is_finite():
        raise InvalidOperation
    return number


def _family(type: str) -> str:  # noqa: A002
    kind = type.partition("(")[0]
    return "number" if kind in _NUMBERS else kind


class Files:
    """Files that an integration has read, by content."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, mapping_id: str) -> frozenset[str]:
        """SHA-256 (hex) of every content read and committed."""
        with self._database.read() as connection:
            return frozenset(connection.scalars(sa.select(files.c.sha256).where(files.c.mapping_id == mapping_id)))

    def forget(self, mapping_id: str) -> int:
        """Read them all again at the next run; returns how many there were."""
        with self._database.write() as connection:
            return connection.execute(files.delete().where(files.c.mapping_id == mapping_id)).rowcount

    def add(self, connection: sa.Connection, mapping_id: str, seen: Iterable[SourceFile], run_id: str) -> int:
        """Remember contents; deferred files are not yet read. Part of a write transaction; returns how many are new."""
        now = self._database.now(connection)
        rows = {
            file.sha256: {
                "mapping_id": mapping_id,
                "sha256": file.sha256,
                "name": file.name,
                "size_bytes": file.size_bytes,
                "run_id": run_id,
                "read_at": now,
            }
            for file in seen
            if not file.deferred
        }
        before = connection.scalar(_count_files(mapping_id)) or 0
        if rows:
            connection.execute(self._database.insert(files).on_conflict_do_nothing(), list(rows.values()))
        return (connection.scalar(_count_files(mapping_id)) or 0) - before


def _count_files(mapping_id: str) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(files).where(files.c.mapping_id == mapping_id)


class Baselines:
    """Which file of the store is current, by name; `Runs.finish` moves them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Baseline | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(baselines).where(baselines.c.name == name)).one_or_none()
        return _baseline(row) if row else None

    def list(self) -> list[Baseline]:
        with self._database.read() as connection:
            return [_baseline(row) for row in connection.execute(sa.select(baselines).order_by(baselines.c.name))]

    def move(
        self,
        connection: sa.Connection,
        name: str,
        path: str,
        *,
        run_id: str,
        read_number: int,
        sha256: str | None = None,
    ) -> bool:
        """Point to another file, unless a run that has read later has already done so. Part of a write transaction.

        Args:
            connection: the transaction.
            name: of the pointer.
            path: in the store.
            run_id: the run that wrote the file.
            read_number: `PhaseRow.number` of that run's reading phase.
            sha256: of the file's plain bytes, if known.
        """
        fresh = {
            "path": path,
            "sha256": sha256,
            "run_id": run_id,
            "read_number": read_number,
            "moved_at": self._database.now(connection),
        }
        statement = (
            self._database.insert(baselines)
            .values(name=name, **fresh)
            .on_conflict_do_update(
                index_elements=[baselines.c.name], set_=fresh, where=baselines.c.read_number <= read_number
            )
            .returning(baselines.c.name)
        )
        return connection.execute(statement).one_or_none() is not None


def _baseline(row: sa.Row[Any]) -> Baseline:
    return Baseline(name=row.name, path=row.path, sha256=row.sha256, run_id=row.run_id, moved_at=row.moved_at)
