"""Any database that SQLAlchemy has a dialect for: portable, exact, and slow.

It also serves PostgreSQL where the connection's ``extra.bulk`` is false, for databases that speak its language but lack its COPY.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import (
    ColumnRequest,
    ConnectionInfo,
    CursorRange,
    RawBatch,
    TargetColumn,
    WriteRequest,
    WriteResult,
)
from sync_provider.connectors.sql import alchemy_types
from sync_provider.connectors.sql.alchemy_writing import write
from sync_provider.connectors.sql.catalog import Column, Storage, Table, TableName
from sync_provider.connectors.sql.database import Right, Selection
from sync_provider.connectors.sql.engine_url import sqlalchemy_url
from sync_provider.connectors.sql.fitting import Misfit
from sync_provider.connectors.sql.reading import Bound, cursor_value, literal, raw_records
from sync_provider.connectors.sql.values import column_text
from sync_provider.core.canonical import write_text
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Engine, TextClause

_SAMPLE = 1000
_MOST_ROWS = 16_384


class AlchemyDatabase:
    """One database.

    Args:
        connection: its type is the dialect's name, or ``extra.sqlalchemy_url`` tells all.
    """

    def __init__(self, connection: ConnectionInfo) -> None:
        import sqlalchemy as sa

        url = sqlalchemy_url(connection)
        # No pool: a connector lives for one task, and connections do not survive a fork.
        self._engine: Engine = sa.create_engine(url, poolclass=sa.NullPool)
        self.label = f"{url.get_backend_name()} database {url.database or ''}".rstrip()
        # The default is known only once connected, and a lease's name must not depend on that.
        self.default_schema = ""

    def check(self) -> None:
        with self._engine.connect():
            pass

    def find(self, name: TableName) -> Table | None:
        import sqlalchemy as sa

        inspector = sa.inspect(self._engine)
        known = inspector.get_table_names(schema=name.schema)
        views = [] if name.name in known else inspector.get_view_names(schema=name.schema)
        if name.name not in (*known, *views):
            return None
        key = set(inspector.get_pk_constraint(name.name, schema=name.schema)["constrained_columns"])
        unique = [each["column_names"] for each in inspector.get_unique_constraints(name.name, schema=name.schema)]
        return Table(
            name=name,
            columns=tuple(self._column(each, key) for each in inspector.get_columns(name.name, schema=name.schema)),
            unique=tuple(frozenset(names) for names in (key, *unique) if names),
            writable=name.name in known,
        )

    def _column(self, reflected: Any, key: set[str]) -> Column:
        storage = alchemy_types.storage_of(reflected["type"])
        return Column(
            name=reflected["name"],
            declared=reflected["type"].compile(self._engine.dialect),
            type=alchemy_types.type_of(storage),
            storage=storage,
            nullable=bool(reflected["nullable"]) and reflected["name"] not in key,
            has_default=reflected.get("default") is not None or bool(reflected.get("autoincrement") is True),
            generated=bool(reflected.get("computed")) or bool((reflected.get("identity") or {}).get("always")),
        )

    def tables(self) -> list[str]:
        import sqlalchemy as sa

        inspector = sa.inspect(self._engine)
        return sorted([*inspector.get_table_names(), *inspector.get_view_names()])

    def relation(self, name: TableName) -> str:
        return f"{self._quoted(name.schema)}.{self._quoted(name.name)}" if name.schema else self._quoted(name.name)

    def _quoted(self, name: str) -> str:
        # Not the preparer's own method: that doubles percent signs, which `sa.text` does again.
        marks = self._engine.dialect.identifier_preparer
        return marks.initial_quote + name.replace(marks.escape_quote, marks.escape_quote * 2) + marks.final_quote

    def query_columns(self, query: str) -> tuple[Column, ...]:
        with self._engine.connect() as link:
            names = list(link.execute(_text(f"SELECT * FROM {query} WHERE 1 = 0")).keys())  # noqa: S608
        other = Storage(family="other")
        return tuple(Column(name=name, declared="", type=LogicalType("string"), storage=other) for name in names)

    def may_read(self, table: Table) -> Right:
        with self._engine.connect() as link:
            link.execute(_text(f"SELECT 1 FROM {self.relation(table.name)} WHERE 1 = 0"))  # noqa: S608
        return Right(ok=True, detail=f"{table.name} can be read")

    def may_write(self, name: TableName, table: Table | None) -> Right:
        if table is not None and not table.writable:
            return Right(ok=False, detail=f"{table.name} is a view")
        return Right(
            ok=True, detail=f"whether {name} can be written shows only when it is: this database cannot be asked"
        )

    def select(self, selection: Selection) -> Iterator[RawBatch]:
        import pyarrow as pa

        names = [column.name for column, _ in selection.columns]
        picks = [self._quoted(name) for name in names]
        query = f"FROM {selection.relation}"
        bound = None
        if selection.cursor is not None:
            bound = Bound(selection.cursor[0], selection.cursor[2])
            cursor = self._quoted(selection.cursor[1].name)
            picks.append(cursor)
            query = f"{query} {_where(cursor, *selection.cursor)} ORDER BY {cursor}"
        size = min(selection.batch_rows, _MOST_ROWS)
        read, left = 0, selection.limit
        with self._engine.connect().execution_options(stream_results=True, max_row_buffer=size) as link:
            result = link.execute(_text(f"SELECT {', '.join(picks)} {query}"))
            while left is None or left > 0:
                rows = result.fetchmany(size if left is None else min(size, left))
                if not rows:
                    return
                kept = [(n, row) for n, row in enumerate(rows, read + 1) if bound is None or bound.holds(row[-1])]
                read += len(rows)
                if not kept:
                    continue
                left = None if left is None else left - len(kept)
                columns = list(zip(*(row for _, row in kept), strict=True))
                arrays = [_array(columns[i], column, request) for i, (column, request) in enumerate(selection.columns)]
                yield RawBatch(raw_records(names, arrays, pa.array([n for n, _ in kept], pa.int64())))

    def new_table(self, name: TableName, columns: Sequence[TargetColumn], key: Sequence[str]) -> Table:
        made = []
        for each in columns:
            type_ = alchemy_types.created_type(each.type, in_key=each.name in key)
            storage = alchemy_types.storage_of(type_.dialect_impl(self._engine.dialect))
            nullable = each.nullable and each.name not in key
            declared = type_.compile(self._engine.dialect)
            made.append(Column(name=each.name, declared=declared, type=each.type, storage=storage, nullable=nullable))
        return Table(name=name, columns=tuple(made), unique=(frozenset(key),) if key else (), exists=False)

    def write(
        self, name: TableName, request: WriteRequest, changes: Iterator[pa.RecordBatch], *, create: bool
    ) -> WriteResult:
        return write(self, self._engine, name, request, changes, create=create)

    def is_local(self, table: Table, column: Column) -> bool:
        del table
        return column.storage.family == "timestamp"

    def refusal(self, column: Column, type: LogicalType) -> str | None:  # noqa: A002 - the word of the mapping
        if type.kind == "decimal" and column.storage.family == "numeric" and self._floats_decimals():
            return "the driver would pass decimals through floats"
        return alchemy_types.refusal(column, type)

    def _floats_decimals(self) -> bool:
        import sqlalchemy as sa

        dialect = self._engine.dialect
        process = sa.Numeric(38, 10).dialect_impl(dialect).bind_processor(dialect)
        return process is not None and isinstance(process(Decimal(1)), float)

    def refused(self, array: pa.Array, column: Column, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
        return alchemy_types.refused(array, column, type)

    def stored(self, array: pa.Array, column: Column, type: LogicalType) -> pa.Array:  # noqa: A002
        return alchemy_types.stored(array, column, type)

    def close(self) -> None:
        self._engine.dispose()


def _escaped(sql: str) -> str:
    """SQL in which no colon is taken for a parameter."""
    return sql.replace("\\", "\\\\").replace(":", "\\:")


def _text(sql: str) -> TextClause:
    import sqlalchemy as sa

    return sa.text(_escaped(sql))


def _where(name: str, bounds: CursorRange, column: Column, kind: LogicalType) -> str:
    """Bounds where database and type order the column alike; `Bound` looks at every record again anyway."""
    if bounds.since is None and bounds.until is None:
        return ""
    parts = [f"{name} IS NOT NULL"]
    if kind.kind in ("integer", "decimal") and column.storage.family in ("integer", "numeric"):
        for text, sign in ((bounds.since, ">="), (bounds.until, "<")):
            if text is not None:
                parts.append(f"{name} {sign} {write_text(cursor_value(text, kind))}")
    if kind.kind == "date" and column.storage.family == "date":
        for text, sign in ((bounds.since, ">="), (bounds.until, "<")):
            if text is not None:
                parts.append(f"{name} {sign} {literal(write_text(cursor_value(text, kind)))}")
    return "WHERE " + " AND ".join(parts)


def _array(cells: Sequence[Any], column: Column, request: ColumnRequest) -> pa.Array:
    import pyarrow as pa

    native = {"integer": pa.int64(), "boolean": pa.bool_(), "float": pa.float64()}.get(column.storage.family)
    if native is not None:
        try:
            return pa.array(cells, native)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
    return column_text(cells, "string" if request.verbatim else request.type.kind)
