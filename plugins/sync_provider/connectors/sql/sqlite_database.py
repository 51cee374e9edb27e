"""SQLite: its catalogue, and reading.

All access to the database file goes through Python's own SQLite library. A second copy of SQLite in one process (ADBC brings one)
would drop the first one's locks when it closes the file (https://www.sqlite.org/howtocorrupt.html), so ADBC only ever
sees a private file of ours (`sqlite_session`).
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sync_provider.connectors.base import ConnectionInfo, RawBatch, TargetColumn, WriteRequest, WriteResult
from sync_provider.connectors.sql import sqlite_types
from sync_provider.connectors.sql.catalog import Column, Table, TableName
from sync_provider.connectors.sql.database import Right, Selection
from sync_provider.connectors.sql.engine_url import sqlite_path
from sync_provider.connectors.sql.fitting import Misfit
from sync_provider.connectors.sql.sqlite_reading import select
from sync_provider.connectors.sql.sqlite_session import SqliteSession
from sync_provider.connectors.sql.sqlite_statements import SqliteStatements
from sync_provider.connectors.sql.statements import Statements, quoted
from sync_provider.connectors.sql.values import names_no_zone
from sync_provider.connectors.sql.writing import write
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

BUSY_TIMEOUT_S = 30.0
_NUMBERED = re.compile(r":\d+$")


class SqliteDatabase:
    """One SQLite file.

    Args:
        connection: names the file; ``extra.busy_timeout`` in seconds, how long to wait for other writers.
        create: whether a missing file may be made when something is written.
    """

    def __init__(self, connection: ConnectionInfo, *, create: bool) -> None:
        self.path = sqlite_path(connection)
        self.label = f"SQLite database {self.path.name}"
        self.default_schema = "main"
        self._create = create
        self._timeout = float(connection.extra.get("busy_timeout") or BUSY_TIMEOUT_S)

    def check(self) -> None:
        if self._absent():
            return
        with closing(self._open()) as db:
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def find(self, name: TableName) -> Table | None:
        if self._absent():
            return None
        with closing(self._open()) as db:
            # SQLite's own names ignore case, in ASCII.
            row = db.execute(
                "SELECT name, type, sql FROM sqlite_schema WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE",
                [name.name],
            ).fetchone()
            if row is None or (name.schema or "main").lower() != "main":
                return None
            found, kind, sql = row
            columns = tuple(_columns(db, found))
            unique = tuple(_unique(db, found)) if kind == "table" else ()
            ordinary = kind == "table" and not (sql or "").upper().startswith("CREATE VIRTUAL")
            return Table(name=TableName("main", found), columns=columns, unique=unique, writable=ordinary)

    def tables(self) -> list[str]:
        if self._absent():
            return []
        with closing(self._open()) as db:
            rows = db.execute(
                "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
            )
            return [name for (name,) in rows]

    def relation(self, name: TableName) -> str:
        return f"main.{quoted(name.name)}"

    def query_columns(self, query: str) -> tuple[Column, ...]:
        with closing(self._open()) as db:
            names = [each[0] for each in db.execute(f"SELECT * FROM {query} LIMIT 0").description]  # noqa: S608
            # Inside brackets SQLite tells columns of one name apart as x and x:1.
            names = [
                name.rpartition(":")[0] if _NUMBERED.search(name) and _NUMBERED.sub("", name) in names else name
                for name in names
            ]
            if len(set(names)) < len(names):
                return tuple(_result_column(name, "text") for name in names)
            # A query's columns have no type of their own: the first records tell.
            picks = ", ".join(f"max(typeof({quoted(name)}))" for name in names)
            kinds = db.execute(f"SELECT {picks} FROM (SELECT * FROM {query} LIMIT 1000)").fetchone()  # noqa: S608
            return tuple(_result_column(name, kind) for name, kind in zip(names, kinds, strict=True))

    def may_read(self, table: Table) -> Right:
        with closing(self._open()) as db:
            db.execute(f"SELECT * FROM {self.relation(table.name)} LIMIT 1").fetchone()  # noqa: S608
        return Right(ok=True, detail=f"{table.name.name} can be read")

    def may_write(self, name: TableName, table: Table | None) -> Right:
        folder = self.path.parent
        if table is not None and not table.writable:
            return Right(ok=False, detail=f"{table.name.name} is a view")
        if self.path.exists() and not _allowed(self.path, os.W_OK):
            return Right(ok=False, detail=f"{self.path.name} may only be read")
        # SQLite keeps its journal beside the file.
        if not _allowed(folder, os.W_OK | os.X_OK):
            return Right(ok=False, detail=f"the folder of {self.path.name} may not be written")
        return Right(ok=True, detail=f"{name.name} can be written")

    def select(self, selection: Selection) -> Iterator[RawBatch]:
        with closing(self._open()) as db:
            yield from select(db, selection)

    def new_table(self, name: TableName, columns: Sequence[TargetColumn], key: Sequence[str]) -> Table:
        made = []
        for each in columns:
            declared = sqlite_types.declared_for(each.type)
            storage = sqlite_types.storage_of(declared)
            nullable = each.nullable and each.name not in key
            made.append(Column(name=each.name, declared=declared, type=each.type, storage=storage, nullable=nullable))
        unique = (frozenset(key),) if key else ()
        return Table(name=TableName("main", name.name), columns=tuple(made), unique=unique, exists=False)

    def write(
        self, name: TableName, request: WriteRequest, changes: Iterator[pa.RecordBatch], *, create: bool
    ) -> WriteResult:
        return write(self, name, request, changes, create=create)

    def writer(self, run_id: str) -> AbstractContextManager[SqliteSession]:
        return SqliteSession.open(self._open(write=True), run_id)

    def statements(self, table: Table, columns: Sequence[Column], schema: pa.Schema, key: Sequence[str]) -> Statements:
        del schema  # SQLite converts by affinity, not by the staged type
        names = [column.name for column in columns]
        return SqliteStatements(
            target=self.relation(table.name),
            stage=SqliteSession.STAGE,
            columns=tuple(columns),
            key=tuple(names.index(name) for name in key),
            indexed=table.is_unique(key),
        )

    def is_local(self, table: Table, column: Column) -> bool:
        if not table.exists:
            return False
        name = quoted(column.name)
        statement = f"SELECT {name} FROM {self.relation(table.name)} WHERE typeof({name}) = 'text' LIMIT 1"  # noqa: S608
        with closing(self._open()) as db:
            row = db.execute(statement).fetchone()
        return row is not None and names_no_zone(row[0])

    def refusal(self, column: Column, type: LogicalType) -> str | None:  # noqa: A002 - the word of the mapping
        return sqlite_types.refusal(column, type)

    def refused(self, array: pa.Array, column: Column, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
        return sqlite_types.refused(array, column, type)

    def stored(self, array: pa.Array, column: Column, type: LogicalType) -> pa.Array:  # noqa: A002
        return sqlite_types.stored(array, column, type)

    def is_direct(self, columns: Sequence[Column], schema: pa.Schema) -> bool:
        del columns, schema
        return False

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _absent(self) -> bool:
        # Where a file may be created, a missing one is an empty database; elsewhere opening it says what is wrong.
        return self._create and not self.path.exists() and self.path.parent.is_dir()

    def _open(self, *, write: bool = False) -> sqlite3.Connection:
        mode = "rw"
        if write and self._create:
            mode = "rwc"
        elif not write and not _allowed(self.path, os.W_OK):
            # Only where it must be: a reader that may not write cannot roll back a journal that a crash left.
            mode = "ro"
        path = Path(os.path.abspath(self.path))  # noqa: PTH100 - resolve() would follow links that SQLite follows itself
        db = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        if not write:
            db.execute("PRAGMA query_only = ON")
        return db


def _allowed(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _columns(db: sqlite3.Connection, table: str) -> Iterator[Column]:
    rows = db.execute(f"PRAGMA main.table_xinfo({quoted(table)})").fetchall()
    keys = [row for row in rows if row[5]]
    for _, name, declared, not_null, default, key, hidden in rows:
        if hidden == 1:
            continue
        # A lone INTEGER PRIMARY KEY is the row's number and fills itself in.
        row_number = bool(key) and len(keys) == 1 and declared.upper() == "INTEGER"
        yield Column(
            name=name,
            declared=declared,
            type=sqlite_types.type_of(declared),
            storage=sqlite_types.storage_of(declared),
            nullable=not not_null and not key,
            has_default=default is not None or row_number,
            generated=hidden in (2, 3),
        )


def _unique(db: sqlite3.Connection, table: str) -> Iterator[frozenset[str]]:
    key = [row[1] for row in db.execute(f"PRAGMA main.table_xinfo({quoted(table)})") if row[5]]
    if key:
        yield frozenset(key)
    for _, index, unique, _, partial in db.execute(f"PRAGMA main.index_list({quoted(table)})").fetchall():
        if unique and not partial:
            columns = [row[2] for row in db.execute(f"PRAGMA main.index_info({quoted(index)})")]
            if None not in columns:
                yield frozenset(columns)


def _result_column(name: str, cell_type: str | None) -> Column:
    declared = {"integer": "INTEGER", "real": "REAL"}.get(cell_type or "", "")
    return Column(
        name=name, declared=declared, type=sqlite_types.type_of(declared), storage=sqlite_types.storage_of(declared)
    )
