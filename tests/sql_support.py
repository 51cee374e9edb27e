"""What the SQL tests share: connectors on real databases, change streams, and typed reading."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
from sync_provider.connectors.base import (
    OLD,
    OP,
    ColumnRequest,
    ConnectionInfo,
    CursorRange,
    ReadRequest,
    Secret,
    TargetColumn,
    WriteRequest,
    WriteResult,
)
from sync_provider.connectors.sql.connector import SqlConnector
from sync_provider.core.canonical import read_text
from sync_provider.core.endpoints import SqlEndpoint
from sync_provider.core.schema import parse_type

RUN_ID = "01J00000000000000000000000"


class Clock:
    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing here waits, least of all {seconds} s")


def sqlite_connection(path: Path, **extra: Any) -> ConnectionInfo:
    return ConnectionInfo(id="app_db", type="sqlite", host=str(path), extra=extra)


def postgres_connection(
    url: str, *, login: str | None = None, password: str | None = None, **extra: Any
) -> ConnectionInfo:
    parts = urlsplit(url)
    return ConnectionInfo(
        id="app_db",
        type="postgres",
        host=parts.hostname,
        port=parts.port,
        login=login or parts.username,
        password=Secret(password) if password else None,
        schema=parts.path.removeprefix("/"),
        extra=extra,
    )


def table(connection: ConnectionInfo, name: str = "clients", **options: Any) -> SqlConnector:
    return SqlConnector(SqlEndpoint(type="sql", connection="app_db", table=name, **options), connection, Clock())


def query(connection: ConnectionInfo, text: str) -> SqlConnector:
    return SqlConnector(SqlEndpoint(type="sql", connection="app_db", query=text), connection, Clock())


def columns(**types: str) -> tuple[TargetColumn, ...]:
    """Target columns by name; the first one is the key of `put`."""
    return tuple(
        TargetColumn(name=name, type=parse_type(text), nullable=position > 0)
        for position, (name, text) in enumerate(types.items())
    )


def stream(
    target: Sequence[TargetColumn],
    *rows: tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None],
    size: int = 1000,
) -> Iterator[pa.RecordBatch]:
    """A change stream from (operation, new, old); a delete has no new record, an insert no old one."""
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        arrays = {OP: pa.array([operation for operation, _, _ in part])}
        for each in target:
            arrays[each.name] = pa.array(
                [(new or old or {}).get(each.name) for _, new, old in part], each.type.to_arrow()
            )
        for each in target:
            arrays[OLD + each.name] = pa.array([(old or {}).get(each.name) for _, _, old in part], each.type.to_arrow())
        yield pa.RecordBatch.from_pydict(arrays)


def inserts(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any], None]]:
    return [("insert", row, None) for row in rows]


def put(
    connector: SqlConnector,
    target: Sequence[TargetColumn],
    *rows: tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None],
    mode: Any = "upsert",
    key: tuple[str, ...] | None = None,
    **options: Any,
) -> WriteResult:
    size = options.pop("size", 1000)
    request = WriteRequest(
        mode=mode, columns=tuple(target), key=(target[0].name,) if key is None else key, run_id=RUN_ID, **options
    )
    with connector:
        return connector.write(request, stream(target, *rows, size=size))


def get(
    connector: SqlConnector,
    target: Sequence[TargetColumn],
    *,
    cursor: CursorRange | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Records as typed Python values, by the rules of canonical text."""
    request = ReadRequest(
        columns=tuple(ColumnRequest(name=each.name, type=each.type) for each in target), cursor=cursor, limit=limit
    )
    with connector:
        raw = [row for batch in connector.read(request) for row in batch.records.to_pylist()]
    return [{each.name: typed(row[each.name], each) for each in target} for row in raw]


def typed(raw: Any, column: TargetColumn) -> Any:
    if isinstance(raw, datetime) and raw.tzinfo is None:
        return raw.replace(tzinfo=UTC)
    if isinstance(raw, str) and column.type.kind not in ("string", "json"):
        return read_text(raw, column.type, UTC)
    return raw


class Sqlite:
    """A SQLite file, and a way to look into it that is not ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite_connection(path)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as db:
            rows: list[tuple[Any, ...]] = []
            for statement in statements:
                rows = db.execute(statement).fetchall()
            db.commit()
            return rows


class Postgres:
    """A PostgreSQL database, and a way to look into it that is not ours."""

    def __init__(self, url: str, **extra: Any) -> None:
        self.url = url
        self.connection = postgres_connection(url, **extra)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as db:
            rows: list[tuple[Any, ...]] = []
            for statement in statements:
                cursor = db.execute(statement)  # type: ignore[arg-type]
                rows = cursor.fetchall() if cursor.description else []
            return rows
