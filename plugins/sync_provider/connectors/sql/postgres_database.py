"""PostgreSQL: its catalogue (psycopg), and reading (ADBC: COPY … TO STDOUT in binary, straight into Arrow)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import ConnectionInfo, RawBatch, TargetColumn, WriteRequest, WriteResult
from sync_provider.connectors.sql import postgres_types
from sync_provider.connectors.sql.catalog import Column, Table, TableName
from sync_provider.connectors.sql.database import Right, Selection
from sync_provider.connectors.sql.engine_url import postgres_parameters
from sync_provider.connectors.sql.fitting import Misfit
from sync_provider.connectors.sql.postgres_reading import select
from sync_provider.connectors.sql.postgres_session import PostgresSession
from sync_provider.connectors.sql.postgres_statements import PostgresStatements
from sync_provider.connectors.sql.statements import Statements, quoted
from sync_provider.connectors.sql.writing import write
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

LOCK_TIMEOUT_S = 60.0

# A domain is followed to the type under it; its own NOT NULL counts.
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), b.typname,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       a.attnotnull OR t.typnotnull,
       a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
       a.attgenerated <> '' OR a.attidentity = 'a',
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.oid ORDER BY e.enumsortorder)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_UNIQUE = """
SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1]))
FROM pg_index i
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
"""
_TABLES = """
SELECT CASE WHEN n.nspname = current_schema() THEN c.relname ELSE n.nspname || '.' || c.relname END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_t%%'
ORDER BY 1
"""


class PostgresDatabase:
    """One PostgreSQL database.

    Args:
        connection: ``extra`` takes libpq's sslmode, sslrootcert, sslcert, sslkey, connect_timeout (10 s by default)…, read_timeout
            (seconds a statement may take; none by default) and lock_timeout (seconds to wait for others' locks; 60).
    """

    def __init__(self, connection: ConnectionInfo) -> None:
        self._parameters = postgres_parameters(connection)
        self.label = f"PostgreSQL database {self._parameters.get('dbname', '')}".rstrip()
        self.default_schema = "public"
        self._lock_timeout = float(connection.extra.get("lock_timeout") or LOCK_TIMEOUT_S)
        self._link: psycopg.Connection[Any] | None = None

    def check(self) -> None:
        self._catalogue().execute("SELECT 1")

    def find(self, name: TableName) -> Table | None:
        if "\0" in str(name):
            return None
        schema, table = quoted(name.schema or self.default_schema), quoted(name.name)
        # The catalogue looks a quoted name up as it is: nothing in it can be read as SQL.
        row = self._row(
            "SELECT c.oid::int8, c.relkind::text, n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.oid = to_regclass(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
            f"{schema}.{table}",
        )
        if row is None:
            return None
        oid, kind, schema, table = row
        return Table(
            name=TableName(schema, table),
            columns=tuple(_column(*each) for each in self._catalogue().execute(_COLUMNS, [oid])),
            unique=tuple(frozenset(names) for (names,) in self._catalogue().execute(_UNIQUE, [oid])),
            writable=kind in ("r", "p"),
        )

    def tables(self) -> list[str]:
        return [name for (name,) in self._catalogue().execute(_TABLES)]

    def relation(self, name: TableName) -> str:
        return f"{quoted(name.schema or self.default_schema)}.{quoted(name.name)}"

    def query_columns(self, query: str) -> tuple[Column, ...]:
        link = self._catalogue()
        with link.transaction(), link.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(f"SET LOCAL lock_timeout = {int(self._lock_timeout * 1000)}")
            # binary: only the extended protocol refuses a second statement.
            cursor.execute(f"SELECT * FROM {query} LIMIT 0", prepare=True, binary=True)  # noqa: S608
            described = [
                (each.name, each.type_code, each._fmod)  # noqa: SLF001
                for each in cursor.description or ()
            ]
            columns = []
            for name, oid, typmod in described:
                found = link.execute(
                    "SELECT format_type(%s, %s), b.typname::text, ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.oid) "
                    "FROM pg_type t JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END WHERE t.oid = %s",
                    [oid, typmod, oid],
                ).fetchone()
                assert found is not None
                columns.append(_column(name, found[0], found[1], typmod, False, False, False, found[2]))
        return tuple(columns)

    def may_read(self, table: Table) -> Right:
        return self._right("SELECT", table)

    def may_write(self, name: TableName, table: Table | None) -> Right:
        if table is None:
            schema = name.schema or self.default_schema
            allowed = self._row("SELECT has_schema_privilege(to_regnamespace(%s)::oid, 'CREATE')", quoted(schema))
            ok = bool(allowed and allowed[0])
            return Right(ok=ok, detail=f"tables {'can' if ok else 'cannot'} be created in schema {schema}")
        if not table.writable:
            return Right(ok=False, detail=f"{table.name} is no ordinary table")
        missing = [right for right in ("INSERT", "UPDATE", "DELETE", "SELECT") if not self._right(right, table).ok]
        if missing:
            return Right(ok=False, detail=f"{', '.join(missing)} on {table.name} is not granted")
        return Right(ok=True, detail=f"{table.name} can be written")

    def _right(self, right: str, table: Table) -> Right:
        row = self._row(
            "SELECT has_table_privilege(to_regclass(%s)::oid, %s) OR (%s <> 'DELETE' AND has_any_column_privilege(to_regclass(%s)::oid, %s))",
            self.relation(table.name), right, right, self.relation(table.name), right if right != "DELETE" else "SELECT",
        )  # fmt: skip
        ok = bool(row and row[0])
        return Right(ok=ok, detail=f"{right} on {table.name} is {'' if ok else 'not '}granted")

    def select(self, selection: Selection) -> Iterator[RawBatch]:
        return select(self._conninfo(), selection, self._lock_timeout)

    def new_table(self, name: TableName, columns: Sequence[TargetColumn], key: Sequence[str]) -> Table:
        made = []
        for each in columns:
            declared = postgres_types.declared_for(each.type)
            made.append(
                Column(
                    name=each.name,
                    declared=declared,
                    type=each.type,
                    storage=_created_storage(each.type),
                    nullable=each.nullable and each.name not in key,
                )
            )
        return Table(
            name=TableName(name.schema or self.default_schema, name.name),
            columns=tuple(made),
            unique=(frozenset(key),) if key else (),
            exists=False,
        )

    def write(
        self, name: TableName, request: WriteRequest, changes: Iterator[pa.RecordBatch], *, create: bool
    ) -> WriteResult:
        return write(self, name, request, changes, create=create)

    def writer(self, run_id: str) -> AbstractContextManager[PostgresSession]:
        return PostgresSession.open(self._conninfo(), run_id, self._lock_timeout)

    def statements(self, table: Table, columns: Sequence[Column], schema: pa.Schema, key: Sequence[str]) -> Statements:
        names = [column.name for column in columns]
        staged = [postgres_types.staged_type(schema.field(f"c{i}").type) for i in range(len(columns))]
        return PostgresStatements(
            target=self.relation(table.name),
            stage=PostgresSession.STAGE,
            columns=tuple(columns),
            key=tuple(names.index(name) for name in key),
            indexed=table.is_unique(key),
            staged_types=tuple(staged),
        )

    def is_local(self, table: Table, column: Column) -> bool:
        del table
        return column.storage.family == "timestamp"

    def refusal(self, column: Column, type: LogicalType) -> str | None:  # noqa: A002 - the word of the mapping
        return postgres_types.refusal(column, type)

    def refused(self, array: pa.Array, column: Column, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
        return postgres_types.refused(array, column, type)

    def stored(self, array: pa.Array, column: Column, type: LogicalType) -> pa.Array:  # noqa: A002
        return postgres_types.stored(array, column, type)

    def is_direct(self, columns: Sequence[Column], schema: pa.Schema) -> bool:
        return all(postgres_types.is_direct(column, schema.field(f"c{i}").type) for i, column in enumerate(columns))

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _conninfo(self) -> str:
        from psycopg.conninfo import make_conninfo

        return str(make_conninfo("", **self._parameters))

    def _catalogue(self) -> psycopg.Connection[Any]:
        if self._link is None or self._link.closed:
            import psycopg

            self._link = psycopg.connect(self._conninfo(), autocommit=True)
        return self._link

    def _row(self, query: str, *parameters: Any) -> tuple[Any, ...] | None:
        return self._catalogue().execute(query, parameters).fetchone()


def _column(
    name: str,
    declared: str,
    base: str,
    typmod: int,
    not_null: bool,
    has_default: bool,
    generated: bool,
    labels: Sequence[str],
) -> Column:
    storage = postgres_types.storage_of(base, typmod, tuple(labels))
    return Column(
        name=name,
        declared=declared,
        type=postgres_types.type_of(storage),
        storage=storage,
        nullable=not not_null,
        has_default=has_default,
        generated=generated,
    )


def _created_storage(type: LogicalType) -> Any:  # noqa: A002
    from sync_provider.connectors.sql.catalog import Storage

    if type.kind == "decimal":
        return Storage(family="numeric", precision=type.precision, scale=type.scale)
    by_kind = {"string": "text", "double": "float", "timestamp": "timestamptz", "json": "jsonb"}
    return Storage(family=by_kind.get(type.kind, type.kind))
