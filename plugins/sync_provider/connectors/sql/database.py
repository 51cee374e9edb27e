"""What a kind of database offers to reading and writing. One module per kind implements it. No I/O here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sync_provider.connectors.base import ColumnRequest, CursorRange, RawBatch, TargetColumn, WriteRequest, WriteResult
from sync_provider.connectors.sql.catalog import Column, Table, TableName
from sync_provider.connectors.sql.fitting import Misfit
from sync_provider.connectors.sql.statements import Statements
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to read.

    Args:
        relation: SQL that can stand after FROM, names already checked and quoted.
        columns: the columns wanted, with what is asked of each.
        cursor: bounds, with the column they bound; None reads everything.
        limit: at most this many records.
        batch_rows: rows per batch, > 0.
    """

    relation: str
    columns: tuple[tuple[Column, ColumnRequest], ...]
    cursor: tuple[CursorRange, Column, LogicalType] | None
    limit: int | None
    batch_rows: int


@dataclass(frozen=True, slots=True)
class Right:
    """Whether something is allowed, in words."""

    ok: bool
    detail: str


class Session(Protocol):
    """One write: everything from `begin` to `commit` happens wholly or not at all.

    Row-level refusals are raised as `faults.RowFault`; the session stays usable after rolling back to a savepoint.
    """

    def stage(self, schema: pa.Schema, columns: Sequence[Column], batches: Iterator[pa.RecordBatch]) -> None:
        """Make the staged table for these destination columns and fill it; every value must arrive as it is."""
        ...

    def begin(self) -> None: ...

    def create(self, table: Table, key: Sequence[str]) -> None: ...

    def lock(self, table: Table) -> None:
        """Keep other writers off the table until the end; readers go on."""
        ...

    def execute(self, sql: str) -> int:
        """Run one statement; returns how many records it touched."""
        ...

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]: ...

    def put(self, table: Table, names: Sequence[str], batch: pa.RecordBatch) -> int:
        """Bulk-load a staged batch straight into the table (only where `BulkDatabase.is_direct`)."""
        ...

    def unstage(self) -> None:
        """Drop the staged table, so that another can be made."""
        ...

    def commit(self) -> None: ...


class Database(Protocol):
    """One database. `close` ends whatever is open; every method may raise the driver's errors, translated by the caller."""

    label: str
    default_schema: str

    def check(self) -> None:
        """Connect; raises if that fails."""
        ...

    def find(self, name: TableName) -> Table | None: ...

    def tables(self) -> list[str]:
        """Names of all tables and views, as a mapping would give them."""
        ...

    def relation(self, name: TableName) -> str: ...

    def query_columns(self, query: str) -> tuple[Column, ...]: ...

    def may_read(self, table: Table) -> Right: ...

    def may_write(self, name: TableName, table: Table | None) -> Right: ...

    def select(self, selection: Selection) -> Iterator[RawBatch]:
        """One consistent snapshot, streamed."""
        ...

    def new_table(self, name: TableName, columns: Sequence[TargetColumn], key: Sequence[str]) -> Table:
        """The table that we would create."""
        ...

    def write(
        self, name: TableName, request: WriteRequest, changes: Iterator[pa.RecordBatch], *, create: bool
    ) -> WriteResult:
        """Apply a change stream in one transaction."""
        ...

    def is_local(self, table: Table, column: Column) -> bool:
        """Whether the times that a column holds name no zone."""
        ...

    def refusal(self, column: Column, type: LogicalType) -> str | None: ...  # noqa: A002 - the word of the mapping

    def refused(self, array: pa.Array, column: Column, type: LogicalType) -> Iterator[Misfit]: ...  # noqa: A002

    def stored(self, array: pa.Array, column: Column, type: LogicalType) -> pa.Array: ...  # noqa: A002

    def close(self) -> None: ...


class BulkDatabase(Database, Protocol):
    """A database with a bulk path (`writing`)."""

    def writer(self, run_id: str) -> AbstractContextManager[Session]:
        """A session; leaving it without `commit` rolls everything back."""
        ...

    def statements(
        self, table: Table, columns: Sequence[Column], schema: pa.Schema, key: Sequence[str]
    ) -> Statements: ...

    def is_direct(self, columns: Sequence[Column], schema: pa.Schema) -> bool: ...
