"""The SQL connector: one table or query of one database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sync_provider.connectors.base import (
    Capabilities,
    Clock,
    ColumnInfo,
    ConnectionInfo,
    Probe,
    RawBatch,
    Reading,
    ReadRequest,
    WriteRequest,
    WriteResult,
)
from sync_provider.connectors.sql.catalog import Column, Table, TableName, nearest, pick
from sync_provider.connectors.sql.database import Database
from sync_provider.connectors.sql.engine_url import kind_of, secrets_of
from sync_provider.connectors.sql.faults import translated
from sync_provider.connectors.sql.reading import selection_for, wrapped
from sync_provider.core.endpoints import SqlEndpoint
from sync_provider.core.errors import SyncAuthenticationError, SyncDataError, SyncError, Where

if TYPE_CHECKING:
    import pyarrow as pa


class SqlConnector:
    """A table or query, through the connection's database.

    Args:
        endpoint: what the mapping declares.
        connection: the Airflow connection of that id.
        clock: unused here: databases keep their own time.
    """

    def __init__(self, endpoint: SqlEndpoint, connection: ConnectionInfo, clock: Clock) -> None:
        del clock
        self._endpoint = endpoint
        self._connection = connection
        self._database = _database(connection, endpoint)
        self._where = f"sql, connection {connection.id}"
        self._name = None if endpoint.table is None else _split(endpoint.table)

    @property
    def capabilities(self) -> Capabilities:
        if self._name is None:
            digest = hashlib.sha256((self._endpoint.query or "").encode()).hexdigest()[:16]
            return self._capabilities(frozenset(), f"query:{digest}")
        name = TableName(self._name.schema or self._database.default_schema, self._name.name)
        # Names differ in case only by mistake: then the same lease is the safe answer.
        return self._capabilities(frozenset({"append", "replace", "upsert", "mirror"}), str(name).casefold())

    def _capabilities(self, modes: frozenset[str], what: str) -> Capabilities:
        return Capabilities(
            modes=modes, transactional=True, filters_cursor=True, resource=f"sql:{self._connection.id}:{what}"
        )

    def test(self, columns: Sequence[str], *, write: bool) -> list[Probe]:
        try:
            with self._translated():
                self._database.check()
        except SyncAuthenticationError as error:
            return [
                Probe(aspect="reach", ok=True, detail=f"{self._database.label} answers"),
                Probe.failed("authenticate", error),
            ]
        except SyncError as error:
            return [Probe.failed("reach", error)]
        probes = [
            Probe(aspect="reach", ok=True, detail=f"{self._database.label} answers"),
            Probe(aspect="authenticate", ok=True, detail="the login is accepted"),
        ]
        try:
            with self._translated():
                probes += self._test_table(columns, write=write)
        except SyncError as error:
            probes.append(Probe.failed("read", error))
        return probes

    def _test_table(self, columns: Sequence[str], *, write: bool) -> Iterator[Probe]:
        table = None
        if self._name is not None:
            table = self._database.find(self._name)
            if table is None and not (write and self._endpoint.create):
                yield Probe(
                    aspect="read",
                    ok=False,
                    detail=f"there is no table {self._name}",
                    hint=nearest(str(self._name), self._database.tables()),
                )
                return
            if table is not None:
                right = self._database.may_read(table)
                yield Probe(aspect="read", ok=right.ok, detail=right.detail)
            if write:
                right = self._database.may_write(self._name, table)
                yield Probe(aspect="write", ok=right.ok, detail=right.detail)
        if table is None and self._name is not None:
            yield Probe(aspect="header", ok=True, detail=f"{self._name} will be created")
            return
        known = self._columns(table)
        try:
            pick(known, columns, self._shown)
        except SyncDataError as error:
            yield Probe.failed("header", error)
        else:
            yield Probe(aspect="header", ok=True, detail=f"all {len(columns)} columns are there")

    def describe(self) -> list[ColumnInfo]:
        with self._translated():
            if self._name is None:
                columns: Sequence[Column] = self._columns(None)
            else:
                table = self._database.find(self._name)
                columns = () if table is None else table.columns
        return [ColumnInfo(name=each.name, type=each.type, nullable=each.nullable) for each in columns]

    def token(self) -> str | None:
        """None: no database offers a cheap mark of one table's content."""
        return None

    def read(self, request: ReadRequest) -> Reading:
        with self._translated():
            if self._name is None:
                relation, columns = wrapped(self._endpoint.query or ""), self._columns(None)
            else:
                table = self._found(self._name)
                relation, columns = self._database.relation(table.name), table.columns
            selection = selection_for(request, relation, columns, self._shown)
        return Reading(batches=self._batches(self._database.select(selection)))

    def _batches(self, batches: Iterator[RawBatch]) -> Iterator[RawBatch]:
        with self._translated():
            yield from batches

    def write(self, request: WriteRequest, changes: Iterator[pa.RecordBatch]) -> WriteResult:
        if self._name is None:
            raise SyncDataError("a query can only be read", where=Where(endpoint=self._where), code="query_refused")
        with self._translated():
            return self._database.write(self._name, request, changes, create=self._endpoint.create)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _shown(self) -> str:
        return "the query" if self._name is None else str(self._name)

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._where, secrets_of(self._connection))

    def _found(self, name: TableName) -> Table:
        table = self._database.find(name)
        if table is None:
            raise SyncDataError(
                f"there is no table {name}",
                where=Where(field="table"),
                hint=nearest(str(name), self._database.tables()),
                code="table_missing",
            )
        return table

    def _columns(self, table: Table | None) -> tuple[Column, ...]:
        if table is not None:
            return table.columns
        return self._database.query_columns(wrapped(self._endpoint.query or ""))


def _database(connection: ConnectionInfo, endpoint: SqlEndpoint) -> Database:
    kind = kind_of(connection)
    if kind == "sqlite":
        from sync_provider.connectors.sql.sqlite_database import SqliteDatabase

        return SqliteDatabase(connection, create=endpoint.table is not None and endpoint.create)
    if kind == "postgresql":
        from sync_provider.connectors.sql.postgres_database import PostgresDatabase

        return PostgresDatabase(connection)
    from sync_provider.connectors.sql.alchemy_database import AlchemyDatabase

    return AlchemyDatabase(connection)


def _split(text: str) -> TableName:
    schema, dot, name = text.partition(".")
    return TableName(schema, name) if dot and schema and name else TableName(None, text)
