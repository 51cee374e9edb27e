"""Streams a PostgreSQL table or query in one read-only snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import ROW, CursorRange, RawBatch
from sync_provider.connectors.sql.catalog import Column
from sync_provider.connectors.sql.database import Selection
from sync_provider.connectors.sql.reading import literal, raw_records
from sync_provider.connectors.sql.statements import quoted
from sync_provider.connectors.sql.values import cell_text
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection
from sync_provider.core.schema import MAX_PRECISION, LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_BYTES = 4 * 1024 * 1024
_FIRST, _LAST = "0001-01-01", "9999-12-31"


def select(conninfo: str, selection: Selection, lock_timeout_s: float) -> Iterator[RawBatch]:
    """Read in one transaction, which waits so long for a table that somebody has locked whole (ALTER, VACUUM FULL…)."""
    import adbc_driver_postgresql.dbapi as adbc

    with adbc.connect(conninfo, autocommit=True) as link, link.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute(f"SET LOCAL lock_timeout = {int(lock_timeout_s * 1000)}")
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
        cursor.execute(_query(selection))
        read = 0
        for chunk in cursor.fetch_record_batch():
            for start in range(0, chunk.num_rows, selection.batch_rows):
                part = chunk.slice(start, selection.batch_rows)
                yield _raw(part, selection, read)
                read += part.num_rows


def _query(selection: Selection) -> str:
    picks = [f"{_expression(column)} AS c{i}" for i, (column, _) in enumerate(selection.columns)]
    doubts = [test for column, _ in selection.columns if (test := _doubt(column))]
    cases = " ".join(f"WHEN {test} THEN {i}" for i, test in enumerate(_doubts(selection)) if test)
    picks.append(f"CASE {cases} END AS bad" if doubts else "NULL::int4 AS bad")
    query = f"SELECT {', '.join(picks)} FROM {selection.relation}"  # noqa: S608
    if selection.cursor is not None:
        cursor, column, kind = selection.cursor
        name = quoted(column.name) + (' COLLATE "C"' if column.storage.family == "text" else "")
        bounds = list(_bounds(name, cursor, column, kind))
        if bounds:
            query += " WHERE " + " AND ".join(bounds)
        query += f" ORDER BY {name}"
    return query if selection.limit is None else f"{query} LIMIT {int(selection.limit)}"


def _bounds(name: str, cursor: CursorRange, column: Column, kind: LogicalType) -> Iterator[str]:
    for text, sign in ((cursor.since, ">="), (cursor.until, "<")):
        if text is None:
            continue
        family = column.storage.family
        if family == "timestamp":
            # What it means is the mapping's to say: every zone is within these hours of UTC, and the engine looks again.
            slack = "- interval '12 hours'" if sign == ">=" else "+ interval '14 hours'"
            yield f"{name} {sign} (CAST({literal(text)} AS timestamptz) AT TIME ZONE 'UTC') {slack}"
        elif family == "timestamptz" or (family == "date" and kind.kind == "timestamp"):
            yield f"{name} {sign} CAST({literal(text)} AS timestamptz)"
        elif family == "text" and kind.kind != "string":
            # The text is read as what it means; one that means nothing must be seen, to be refused.
            yield f"{name} IS NOT NULL"
        elif family == "numeric" or family in ("integer", "float"):
            yield f"{name} {sign} CAST({literal(text)} AS numeric)"
        else:
            yield f"{name} {sign} CAST({literal(text)} AS {column.declared})"


def _expression(column: Column) -> str:
    """A column as something that arrives in Arrow exactly; what has no exact Arrow form comes as text."""
    name = quoted(column.name)
    doubt = _doubt(column)
    storage = column.storage
    shown = name
    match storage.family:
        case "float" if storage.bits == 32:
            # The double that is spelt alike: 0.1, not 0.10000000149011612.
            shown = f"CAST(CAST({name} AS text) AS float8)"
        case "text" | "json" | "jsonb" | "uuid" | "enum":
            shown = f"CAST({name} AS text)"
        case "other":
            shown = f"CAST(to_json({name}) AS text)" if column.declared.endswith("[]") else f"CAST({name} AS text)"
    return f"CASE WHEN NOT ({doubt}) THEN {shown} END" if doubt else shown


def _doubt(column: Column) -> str | None:
    """Whether a value has no canonical form: PostgreSQL's infinities, NaN, and years that no calendar here has."""
    name = quoted(column.name)
    if column.storage.family in ("date", "timestamp", "timestamptz"):
        return f"{name} IS NOT NULL AND ({name} < '{_FIRST}' OR {name} >= '{_LAST}'::date + 1)"
    if column.storage.family == "numeric":
        return f"{name} IS NOT NULL AND {name} IN ('NaN', 'Infinity', '-Infinity')"
    return None


def _doubts(selection: Selection) -> list[str | None]:
    return [_doubt(column) for column, _ in selection.columns]


def _raw(chunk: pa.RecordBatch, selection: Selection, read: int) -> RawBatch:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = pa.array(range(read + 1, read + chunk.num_rows + 1), pa.int64())
    names = [column.name for column, _ in selection.columns]
    arrays = [_array(chunk.column(i), column) for i, (column, _) in enumerate(selection.columns)]
    records = raw_records(names, arrays, rows)
    bad = chunk.column(len(names))
    if bad.null_count == chunk.num_rows:
        return RawBatch(records)
    refused = records.filter(pc.is_valid(bad))
    rejections = [
        _rejection(names[position], record)
        for position, record in zip(bad.drop_null().to_pylist(), refused.to_pylist(), strict=True)
    ]
    return RawBatch(records.filter(pc.is_null(bad)), rejections)


def _rejection(name: str, record: dict[str, Any]) -> Rejection:
    return Rejection(
        rule="convert",
        message="the value is infinite, not a number, or outside the years 1 to 9999",
        field=name,
        where=Where(row=record[ROW], field=name),
        record={
            key: cell_text(value, "string") for key, value in record.items() if not key.startswith("__") and key != name
        },
    )


def _array(array: pa.Array, column: Column) -> pa.Array:
    import pyarrow as pa

    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    storage = column.storage
    if storage.family == "numeric" and storage.precision is not None:
        scale = max(storage.scale or 0, 0)
        precision = max(storage.precision, scale, 1)
        if precision <= MAX_PRECISION and (storage.scale or 0) >= 0:
            return array.cast(pa.decimal128(precision, scale))
    if pa.types.is_integer(array.type) and array.type != pa.int64():
        return array.cast(pa.int64())
    return array
