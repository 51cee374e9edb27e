"""Raw batches from result columns. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import (
    FILE,
    ROW,
    SHEET,
    ColumnRequest,
    CursorRange,
    ReadRequest,
)
from sync_provider.connectors.sql.catalog import Column, pick
from sync_provider.connectors.sql.database import Selection
from sync_provider.connectors.sql.values import cell_text, names_no_zone
from sync_provider.core.canonical import read_text
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa


def selection_for(request: ReadRequest, relation: str, columns: Sequence[Column], table: str) -> Selection:
    """Check what is asked for against the columns that are there.

    Raises:
        SyncDataError: a wanted column is missing or stands there twice.
    """
    if request.columns:
        known = {column.name for column in columns}
        wanted = [each for each in request.columns if not each.optional or each.name in known]
    else:
        wanted = [ColumnRequest(name=column.name, type=column.type, verbatim=True) for column in columns]
    picked = pick(columns, [each.name for each in wanted], table)
    return Selection(
        relation=relation,
        columns=tuple(zip(picked, wanted, strict=True)),
        cursor=_cursor(request.cursor, wanted, columns, table),
        limit=request.limit,
        batch_rows=request.batch_rows,
    )


def _cursor(
    cursor: CursorRange | None, wanted: Sequence[ColumnRequest], columns: Sequence[Column], table: str
) -> tuple[CursorRange, Column, LogicalType] | None:
    if cursor is None:
        return None
    (column,) = pick(columns, [cursor.column], table)
    declared = next((each.type for each in wanted if each.name == cursor.column), column.type)
    return cursor, column, declared


def raw_records(names: Sequence[str], arrays: Sequence[pa.Array], rows: pa.Array) -> pa.RecordBatch:
    """Records with their coordinates: a query has record numbers only."""
    import pyarrow as pa

    nothing = pa.nulls(len(rows), pa.string())
    return pa.RecordBatch.from_arrays([nothing, nothing, rows, *arrays], names=[FILE, SHEET, ROW, *names])


def wrapped(query: str) -> str:
    """A query as something that can stand after FROM; the database itself makes sure that it is one statement.

    Raises:
        SyncDataError: it does not begin as a SELECT does.
    """
    text = query.strip().rstrip(";").rstrip()
    if not _begins_as_select(text):
        raise SyncDataError(
            "the query is no SELECT",
            where=Where(field="query"),
            hint="Give one SELECT (or WITH … SELECT) statement; it can only read.",
            code="query_refused",
        )
    # The line breaks keep a comment at the query's end from swallowing the bracket.
    return f"(\n{text}\n) AS q"


def _begins_as_select(text: str) -> bool:
    rest = text
    while True:
        rest = rest.lstrip(" \t\r\n(")
        if rest.startswith("--"):
            rest = rest.partition("\n")[2]
        elif rest.startswith("/*"):
            rest = rest.partition("*/")[2]
        else:
            return rest[:6].upper() in ("SELECT", "VALUES") or rest[:4].upper() == "WITH"


def literal(text: str) -> str:
    """A text as a SQL literal.

    Raises:
        SyncDataError: it holds a NUL, which no database takes.
    """
    if "\0" in text:
        raise SyncDataError("a cursor value holds the NUL character", code="cursor_refused")
    return "'" + text.replace("'", "''") + "'"


def cursor_value(text: str, kind: LogicalType) -> Any:
    """A cursor's bound as a value of its type.

    Raises:
        SyncDataError: it is none.
    """
    try:
        return read_text(text, kind, UTC)
    except ValueError as error:
        raise SyncDataError(f"the cursor value is no {kind}", code="cursor_refused") from error


class Bound:
    """Exact bounds, on what a cell means. A cell that means nothing under the type passes, for the transform to refuse."""

    def __init__(self, cursor: CursorRange, kind: LogicalType) -> None:
        self._kind = kind
        self._since = None if cursor.since is None else cursor_value(cursor.since, kind)
        self._until = None if cursor.until is None else cursor_value(cursor.until, kind)
        self._unbounded = cursor.since is None and cursor.until is None

    def holds(self, cell: Any) -> bool:
        if self._unbounded:
            return True
        value: Any = self._value(cell)
        if value is _UNREADABLE:
            return True
        if value is None:
            return False
        return (self._since is None or value >= self._since) and (self._until is None or value < self._until)

    def _value(self, cell: Any) -> Any:
        if self._kind.kind == "integer" and type(cell) is int:
            return cell
        if self._kind.kind == "timestamp" and names_no_zone(cell):
            # What it means is the mapping's to say, and the engine's to bound.
            return _UNREADABLE
        text = cell_text(cell, self._kind.kind)
        if text is None:
            return None
        try:
            return read_text(text, self._kind, UTC)
        except ValueError:
            return _UNREADABLE


_UNREADABLE = object()
