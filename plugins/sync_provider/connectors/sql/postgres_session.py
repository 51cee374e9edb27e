"""One write to PostgreSQL, over one ADBC connection: the change stream goes by binary COPY into a temporary table.

The connection is in autocommit mode and the transaction is opened in SQL: ADBC's own transactions refuse to go back to a
savepoint after an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from sync_provider.connectors.sql.catalog import Column, Table
from sync_provider.connectors.sql.faults import RowFault, classify
from sync_provider.connectors.sql.statements import quoted

if TYPE_CHECKING:
    import pyarrow as pa


class PostgresSession:
    """`database.Session`. Everything, the stage included, is one transaction."""

    STAGE: ClassVar[str] = "pg_temp.sync_stage"

    def __init__(self, link: Any) -> None:
        self._link = link

    @classmethod
    @contextmanager
    def open(cls, conninfo: str, run_id: str, lock_timeout_s: float) -> Iterator[Self]:
        """A session; closing the connection rolls back whatever was not committed."""
        import adbc_driver_postgresql.dbapi as adbc

        with adbc.connect(conninfo, autocommit=True) as link:
            session = cls(link)
            session.execute("BEGIN")
            session.execute(f"SET LOCAL lock_timeout = {int(lock_timeout_s * 1000)}")
            # The joins with the stage are as large as the stream; the default would spill every one of them.
            session.execute("SET LOCAL work_mem = '64MB'")
            session.execute("SET LOCAL datestyle = 'ISO'")
            session.execute("SET LOCAL timezone = 'UTC'")
            session.execute("SET LOCAL standard_conforming_strings = on")
            # Violations must show at the statement that makes them, not at the commit.
            session.execute("SET CONSTRAINTS ALL IMMEDIATE")
            if run_id.isalnum():
                session.execute(f"SET LOCAL application_name = 'sync_provider {run_id}'")
            try:
                yield session
            finally:
                session._end()

    def stage(self, schema: pa.Schema, columns: Sequence[Column], batches: Iterator[pa.RecordBatch]) -> None:
        del columns  # the staged columns have the types of the stream
        self._ingest("sync_stage", schema, batches, mode="create", temporary=True)

    def begin(self) -> None:
        """The transaction is open since the session is."""

    def create(self, table: Table, key: Sequence[str]) -> None:
        parts = [
            f"{quoted(column.name)} {column.declared}{'' if column.nullable else ' NOT NULL'}"
            for column in table.columns
        ]
        if key:
            parts.append(f"PRIMARY KEY ({', '.join(quoted(name) for name in key)})")
        assert table.name.schema is not None
        self.execute(f"CREATE TABLE {quoted(table.name.schema)}.{quoted(table.name.name)} ({', '.join(parts)})")

    def lock(self, table: Table) -> None:
        assert table.name.schema is not None
        self.execute(f"LOCK TABLE {quoted(table.name.schema)}.{quoted(table.name.name)} IN SHARE ROW EXCLUSIVE MODE")

    def execute(self, sql: str) -> int:
        with self._link.cursor() as cursor:
            try:
                cursor.execute(sql)
            except Exception as error:  # noqa: BLE001 - the driver's classes are known to `classify`
                _raise(error)
            return int(cursor.rowcount)

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        with self._link.cursor() as cursor:
            cursor.execute(sql)
            for batch in cursor.fetch_record_batch():
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def put(self, table: Table, names: Sequence[str], batch: pa.RecordBatch) -> int:
        import pyarrow as pa

        renamed = pa.RecordBatch.from_arrays(batch.columns, names=list(names))
        return self._ingest(
            table.name.name, renamed.schema, iter([renamed]), mode="append", db_schema_name=table.name.schema
        )

    def unstage(self) -> None:
        self.execute(f"DROP TABLE {self.STAGE}")

    def commit(self) -> None:
        self.execute("COMMIT")

    def _ingest(self, table: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch], **options: Any) -> int:
        import pyarrow as pa

        failure: list[BaseException] = []

        def guarded() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except BaseException as error:
                # The driver would wrap it into an error of its own.
                failure.append(error)
                raise

        with self._link.cursor() as cursor:
            try:
                return int(cursor.adbc_ingest(table, pa.RecordBatchReader.from_batches(schema, guarded()), **options))
            except Exception as error:  # noqa: BLE001 - the driver's classes are known to `classify`
                if failure:
                    raise failure[0] from None
                _raise(error)

    def _end(self) -> None:
        import adbc_driver_manager

        try:
            self.execute("ROLLBACK")
        except (adbc_driver_manager.Error, RowFault):
            # The connection is gone, and the transaction with it.
            return


def _raise(error: Exception) -> NoReturn:
    fault = classify(error)
    if isinstance(fault, RowFault):
        raise fault from error
    raise error
