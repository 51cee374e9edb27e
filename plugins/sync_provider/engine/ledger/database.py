"""One database, SQLite or PostgreSQL: connections, transactions, time, and the translation of its errors."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from sync_provider.connectors.base import Clock
from sync_provider.core.errors import SyncAuthenticationError, SyncConnectionError, SyncDataError, SyncError, Where
from sync_provider.engine.clock import SystemClock

BUSY_TIMEOUT_S = 30
_WRITE = "sync_provider_write"
# PostgreSQL's codes for a deadlock, a serialisation failure and a lock that was not available.
_OVERTAKEN = ("40P01", "40001", "55P03")
# PostgreSQL's codes for lacking a right, or any schema to work in; a refused login comes without a code, as text.
_NO_RIGHT = ("42501", "3F000")
_NO_LOGIN = ("authentication failed", "no password supplied", "permission denied", "no pg_hba.conf entry")


class Database:
    """Transactions on the ledger's database. One instance may be used by several threads.

    Args:
        url: SQLAlchemy URL; a bare ``postgresql://`` means psycopg 3.
        clock: gives the time. PostgreSQL's own clock takes its place where it is the system's, for the workers' clocks may
            differ.

    Raises:
        SyncDataError: the URL is none, or of a database that the ledger cannot use.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._clock = clock
        try:
            parsed = sa.make_url(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url))
            backend = parsed.get_backend_name()
        except sa.exc.ArgumentError as exc:
            raise SyncDataError("[sync_provider] ledger_url is no SQLAlchemy URL", code="settings_ledger_url") from exc
        if backend not in ("sqlite", "postgresql"):
            raise SyncDataError(
                f"The ledger cannot live in {backend}",
                hint="Set [sync_provider] ledger_url to sqlite:///… or postgresql://….",
                code="settings_ledger_url",
            )
        self.is_sqlite = backend == "sqlite"
        # Without the password: this is what errors show.
        self.name = parsed.database or "" if self.is_sqlite else parsed.render_as_string(hide_password=True)
        self.engine = self._sqlite(parsed) if self.is_sqlite else self._postgresql(parsed)
        _survive_forks(self.engine)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state and changes nothing."""
        with self._translated(), self.engine.connect() as connection:
            if not self.is_sqlite:
                # One snapshot for all statements, as SQLite's read transactions have by themselves.
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is committed whole when the block ends without an error.

        SQLite admits one writer at a time and takes its lock at the start, so that a writer never acts on what it read
        before another's commit. On PostgreSQL the statements lock the rows they decide upon.
        """
        with self._translated(), self.engine.connect() as connection:
            connection.execution_options(**{_WRITE: True})
            with connection.begin():
                yield connection

    def now(self, connection: sa.Connection) -> datetime:
        """The time that all processes of this ledger share, UTC."""
        if self.is_sqlite or not isinstance(self._clock, SystemClock):
            return self._clock.now()
        found: datetime = connection.scalar(sa.select(sa.func.clock_timestamp()))  # type: ignore[assignment]
        return found.astimezone(UTC)

    def insert(self, table: sa.Table) -> Any:
        """An INSERT with ``on_conflict_do_nothing`` and ``on_conflict_do_update``, which both databases know."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        self.engine.dispose()

    def _sqlite(self, url: sa.URL) -> sa.Engine:
        if not url.database or url.database == ":memory:":
            raise SyncDataError("The ledger needs a file, for several processes share it", code="settings_ledger_url")
        _create_private(Path(url.database))
        engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S})

        @sa.event.listens_for(engine, "connect")
        def prepare(connection: sqlite3.Connection, _: Any) -> None:
            # The driver would begin transactions late and by guessing; `begin` below says when and how.
            connection.isolation_level = None
            connection.execute("PRAGMA foreign_keys = ON")
            _enter_wal(connection)

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            immediate = connection.get_execution_options().get(_WRITE)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

        return engine

    def _postgresql(self, url: sa.URL) -> sa.Engine:
        return sa.create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=2,
            connect_args={"connect_timeout": 10, "application_name": "sync_provider"},
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SyncError:
            raise
        except sa.exc.SQLAlchemyError as exc:
            raise self._translate(exc) from exc

    def _translate(self, exc: sa.exc.SQLAlchemyError) -> SyncError:
        where = Where(endpoint=f"ledger {self.name}")
        text = str(getattr(exc, "orig", exc)).lower()
        state = getattr(getattr(exc, "orig", None), "sqlstate", None) or ""
        if "database is locked" in text or "database is busy" in text or state in _OVERTAKEN:
            return SyncConnectionError(
                "Too many others were writing to the ledger at the same time",
                where=where,
                hint="Try again; many workers need PostgreSQL, see [sync_provider] ledger_url.",
                code="ledger_busy",
            )
        if "malformed" in text or "not a database" in text:
            return SyncDataError(
                "The ledger's file is damaged; nothing was written",
                where=where,
                hint="Stop Airflow, save what `sqlite3 FILE .recover` gives, and put a backup of the file in its place.",
                code="ledger_damaged",
            )
        if "disk is full" in text or "no space left" in text:
            return SyncConnectionError(
                "There is no room for the ledger to grow; nothing was written",
                where=where,
                hint="Free space on its disk, then run again.",
                code="ledger_full",
            )
        if state.startswith("28") or state in _NO_RIGHT or any(words in text for words in _NO_LOGIN):
            return SyncAuthenticationError(
                "The ledger refuses access",
                where=where,
                hint="Check user, password and rights in [sync_provider] ledger_url.",
                code="ledger_refused",
            )
        if isinstance(exc, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError):
            return SyncConnectionError(
                "The ledger cannot be reached",
                where=where,
                hint="Check [sync_provider] ledger_url and that the database runs.",
                code="ledger_unreachable",
            )
        return SyncDataError(f"The ledger refused a statement: {type(exc).__name__}", where=where, code="ledger_error")


def _create_private(path: Path) -> None:
    """The file, readable by its user only; SQLite gives its companions the same mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as exc:
        raise SyncConnectionError(
            f"The ledger's file cannot be opened: {exc.strerror}",
            where=Where(file=str(path)),
            hint="Let the user that runs Airflow write there, or set [sync_provider] ledger_url.",
            code="ledger_unreachable",
            retryable=False,
        ) from exc


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Write-ahead logging, so that readers and the writer do not wait for each other. It stays with the file."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            # Changing the mode needs the file alone and does not wait by itself.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _survive_forks(engine: sa.Engine) -> None:
    """A connection belongs to the process that made it: a forked child makes its own."""

    @sa.event.listens_for(engine, "connect")
    def remember(_: Any, record: Any) -> None:
        record.info["pid"] = os.getpid()

    @sa.event.listens_for(engine, "checkout")
    def check(_: Any, record: Any, proxy: Any) -> None:
        if record.info["pid"] != os.getpid():
            record.dbapi_connection = proxy.dbapi_connection = None
            raise sa.exc.DisconnectionError("connection of the parent process")
