"""One write to SQLite.

The change stream goes by ADBC (C, column by column) into a private SQLite file, which is then attached and applied by set-based
statements. So the destination is locked for the apply alone, not while records are still being made; and a crash leaves
at most the private file, whose name is gone as soon as it is attached.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self
from urllib.parse import quote

from sync_provider.connectors.sql.catalog import Column, Table
from sync_provider.connectors.sql.faults import RowFault, classify
from sync_provider.connectors.sql.sqlite_types import affinity
from sync_provider.connectors.sql.statements import quoted

if TYPE_CHECKING:
    import pyarrow as pa


class SqliteSession:
    """`database.Session` over one connection to the destination."""

    STAGE: ClassVar[str] = "staged.changes"

    def __init__(self, db: sqlite3.Connection, run_id: str) -> None:
        self._db = db
        self._run_id = run_id

    @classmethod
    @contextmanager
    def open(cls, db: sqlite3.Connection, run_id: str) -> Iterator[Self]:
        """A session; closing the connection rolls back whatever was not committed."""
        with closing(db):
            db.execute("PRAGMA foreign_keys = ON")
            yield cls(db, run_id)

    def stage(self, schema: pa.Schema, columns: Sequence[Column], batches: Iterator[pa.RecordBatch]) -> None:
        # The same affinities as the destination's: then both spell a value alike, and plain comparison is right.
        affinities = [affinity(column.declared) for column in columns]
        folder = Path(tempfile.mkdtemp(prefix="sync-stage-"))
        try:
            path = folder / f"{self._run_id or 'stage'}.db"
            _fill(path, schema, affinities, batches)
            self._db.execute("ATTACH DATABASE ? AS staged", [f"file:{quote(str(path))}?mode=rw"])
            self._db.execute("PRAGMA staged.journal_mode = MEMORY")
        finally:
            shutil.rmtree(folder)

    def begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def create(self, table: Table, key: Sequence[str]) -> None:
        parts = [
            f"{quoted(column.name)} {column.declared}{'' if column.nullable else ' NOT NULL'}"
            for column in table.columns
        ]
        if key:
            parts.append(f"PRIMARY KEY ({', '.join(quoted(name) for name in key)})")
        self.execute(f"CREATE TABLE main.{quoted(table.name.name)} ({', '.join(parts)})")

    def lock(self, table: Table) -> None:
        """The whole database is locked already (`begin`)."""

    def execute(self, sql: str) -> int:
        try:
            return self._db.execute(sql).rowcount
        except sqlite3.Error as error:
            _raise(error)

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        yield from self._db.execute(sql)

    def put(self, table: Table, names: Sequence[str], batch: pa.RecordBatch) -> int:
        raise NotImplementedError("SQLite is written through the stage")

    def unstage(self) -> None:
        self._db.execute("DETACH DATABASE staged")

    def commit(self) -> None:
        self._db.execute("COMMIT")


def _raise(error: sqlite3.Error) -> NoReturn:
    fault = classify(error)
    if isinstance(fault, RowFault):
        raise fault from error
    raise error


def _fill(path: Path, schema: pa.Schema, affinities: Sequence[str], batches: Iterator[pa.RecordBatch]) -> None:
    import adbc_driver_sqlite.dbapi as adbc
    import pyarrow as pa

    failure: list[BaseException] = []

    def guarded() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except BaseException as error:
            # The driver would wrap it into an error of its own.
            failure.append(error)
            raise

    declared = ["n INTEGER PRIMARY KEY", "op INTEGER"]
    # New values, and after them the old ones if the stream has any.
    declared += [f"{name} {kind}" for name, kind in zip(schema.names[2:], cycle(affinities), strict=False)]
    with adbc.connect(f"file:{quote(str(path))}", autocommit=True) as db, db.cursor() as cursor:
        for statement in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"):
            cursor.execute(statement)
            cursor.fetchall()
        cursor.execute(f"CREATE TABLE changes ({', '.join(declared)})")
        try:
            cursor.adbc_ingest("changes", pa.RecordBatchReader.from_batches(schema, guarded()), mode="append")
        except adbc.Error:
            if failure:
                raise failure[0] from None
            raise
