"""SQL endpoints in the conformance suite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import psycopg
import pytest
from contract.harness import Harness, Record
from psycopg import sql
from sync_provider.connectors.base import ConnectionInfo, Connector, TargetColumn
from sync_provider.connectors.sql.connector import SqlConnector
from sync_provider.core.endpoints import SqlEndpoint

_SQLITE = {"string": "TEXT", "decimal": "DECIMAL(12,2)", "integer": "INTEGER", "boolean": "BOOLEAN", "date": "DATE", "timestamp": "TIMESTAMP"}  # fmt: skip
_POSTGRES = {"string": "text", "decimal": "numeric(12,2)", "integer": "bigint", "boolean": "boolean", "date": "date", "timestamp": "timestamptz"}  # fmt: skip


class SqliteHarness(Harness):
    name: ClassVar[str] = "sqlite"

    def __init__(self, directory: Path, request: pytest.FixtureRequest) -> None:
        super().__init__(directory, request)
        self.path = directory / "target.db"

    def open(self) -> Connector:
        connection = ConnectionInfo(id="app_db", type="sqlite", host=str(self.path))
        return SqlConnector(SqlEndpoint(type="sql", connection="app_db", table="clients"), connection, self.clock)

    def seed(self, columns: Sequence[TargetColumn], records: Sequence[Record]) -> None:
        with closing(sqlite3.connect(self.path)) as db:
            parts = ", ".join(f'"{c.name}" {_SQLITE[c.type.kind]}' for c in columns)
            db.execute(f"CREATE TABLE clients ({parts}, PRIMARY KEY (code))")
            marks = ", ".join("?" for _ in columns)
            for each in records:
                db.execute(f"INSERT INTO clients VALUES ({marks})", [_to_sqlite(each[c.name]) for c in columns])
            db.commit()

    def holds(self, columns: Sequence[TargetColumn]) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path)) as db:
            names = ", ".join(f'"{c.name}"' for c in columns)
            rows = db.execute(f"SELECT {names} FROM clients ORDER BY rowid").fetchall()
        return [
            {c.name: _from_sqlite(value, c.type.kind) for c, value in zip(columns, row, strict=True)} for row in rows
        ]


def _to_sqlite(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(" ").removesuffix("+00:00")
    return value.isoformat() if isinstance(value, date) else value


def _from_sqlite(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "timestamp":
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    if kind == "decimal":
        return Decimal(repr(value)).quantize(Decimal("0.01"))
    return {"date": date.fromisoformat, "boolean": bool}.get(kind, lambda same: same)(value)


class PostgresHarness(Harness):
    name: ClassVar[str] = "postgres"
    needs_postgres: ClassVar[bool] = True
    extra: ClassVar[dict[str, Any]] = {}

    def __init__(self, directory: Path, request: pytest.FixtureRequest) -> None:
        super().__init__(directory, request)
        self.url: str = request.getfixturevalue("postgres_url")

    def open(self) -> Connector:
        url = urlsplit(self.url)
        connection = ConnectionInfo(
            id="app_db",
            type="postgres",
            host=url.hostname,
            port=url.port,
            login=url.username,
            schema=url.path.removeprefix("/"),
            extra=self.extra,
        )
        return SqlConnector(SqlEndpoint(type="sql", connection="app_db", table="clients"), connection, self.clock)

    def seed(self, columns: Sequence[TargetColumn], records: Sequence[Record]) -> None:
        with psycopg.connect(self.url) as db:
            parts = ", ".join(f'"{c.name}" {_POSTGRES[c.type.kind]}' for c in columns)
            db.execute(f"CREATE TABLE clients ({parts}, PRIMARY KEY (code))")  # type: ignore[arg-type]
            marks = sql.SQL(", ").join(sql.Placeholder() for _ in columns)
            with db.cursor() as cursor:
                cursor.executemany(
                    sql.SQL("INSERT INTO clients VALUES ({})").format(marks),
                    [[each[c.name] for c in columns] for each in records],
                )

    def holds(self, columns: Sequence[TargetColumn]) -> list[dict[str, Any]]:
        with psycopg.connect(self.url) as db:
            db.execute("SET timezone = 'UTC'")
            names = sql.SQL(", ").join(sql.Identifier(c.name) for c in columns)
            rows = db.execute(sql.SQL('SELECT {} FROM clients ORDER BY code COLLATE "C"').format(names)).fetchall()
        return [{c.name: value for c, value in zip(columns, row, strict=True)} for row in rows]


class PortablePostgresHarness(PostgresHarness):
    """PostgreSQL as if it were any other database of SQLAlchemy's."""

    name: ClassVar[str] = "sqlalchemy-postgres"
    extra: ClassVar[dict[str, Any]] = {"bulk": False}


HARNESSES = [SqliteHarness, PostgresHarness, PortablePostgresHarness]
