"""Streams a SQLite table or query.

Any cell may hold anything, whatever its column declares. So one pass over the snapshot tells which number columns hold numbers
only; those come out natively, and every other column as canonical text of exactly what each cell holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import ColumnRequest, RawBatch
from sync_provider.connectors.sql.catalog import Column
from sync_provider.connectors.sql.database import Selection
from sync_provider.connectors.sql.reading import Bound, cursor_value, literal, raw_records
from sync_provider.connectors.sql.sqlite_types import affinity
from sync_provider.connectors.sql.statements import quoted
from sync_provider.connectors.sql.values import column_text
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

_EXACT = 2**53
# Cells pass through Python objects: more of them at once cost memory and are no faster.
_MOST_ROWS = 16_384


def select(db: sqlite3.Connection, selection: Selection) -> Iterator[RawBatch]:
    """Read in one transaction."""
    import pyarrow as pa

    db.execute("BEGIN")
    where = _where(selection)
    natives = _natives(db, selection, where)
    names = [column.name for column, _ in selection.columns]
    picked = [quoted(name) for name in names]
    bound = None if selection.cursor is None else Bound(selection.cursor[0], selection.cursor[2])
    if selection.cursor is not None:
        picked.append(quoted(selection.cursor[1].name))
    order = "" if selection.cursor is None else f" ORDER BY {_order(*selection.cursor[1:])}"
    cells = db.execute(f"SELECT {', '.join(picked)} FROM {selection.relation}{where}{order}")  # noqa: S608
    read, left = 0, selection.limit
    while left is None or left > 0:
        size = min(selection.batch_rows, _MOST_ROWS, _MOST_ROWS if left is None else left)
        rows = _fetch(cells, size)
        if not rows:
            return
        numbers: Sequence[int] = range(read + 1, read + len(rows) + 1)
        read += len(rows)
        if bound is not None:
            kept = [(n, row) for n, row in zip(numbers, rows, strict=True) if bound.holds(row[-1])]
            numbers, rows = [n for n, _ in kept], [row for _, row in kept]
            if not rows:
                continue
        if left is not None:
            left -= len(rows)
        columns = list(zip(*rows, strict=True))
        arrays = [
            _array(columns[i], request, native)
            for i, ((_, request), native) in enumerate(zip(selection.columns, natives, strict=True))
        ]
        yield RawBatch(raw_records(names, arrays, pa.array(numbers, pa.int64())))


def _fetch(cells: sqlite3.Cursor, size: int) -> list[tuple[Any, ...]]:
    try:
        return cells.fetchmany(size)
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
        # The driver's message quotes the text.
        column = str(error).partition("column '")[2].partition("'")[0] or None
        raise SyncDataError(
            "a cell holds bytes that are no UTF-8 text",
            where=Where(field=column),
            hint="Correct the cell, or read hex(column) in a query.",
            code="not_text",
        ) from None


def _array(cells: Sequence[Any], request: ColumnRequest, native: str | None) -> pa.Array:
    import pyarrow as pa

    if native == "integer":
        return pa.array(cells, pa.int64())
    if native == "double":
        return pa.array(cells, pa.float64())
    if native == "boolean":
        return pa.array([None if cell is None else cell == 1 for cell in cells], pa.bool_())
    # Verbatim text is what stands there; numbers among it are spelt as SQLite's shell would.
    return column_text(cells, "string" if request.verbatim else request.type.kind)


def _natives(db: sqlite3.Connection, selection: Selection, where: str) -> list[str | None]:
    """For each column the kind in which its cells can be handed over natively, or None for text."""
    wanted = [_native(column, request) for column, request in selection.columns]
    tests = {
        "integer": "typeof({0}) NOT IN ('integer', 'null')",
        "boolean": "{0} NOT IN (0, 1) OR typeof({0}) NOT IN ('integer', 'null')",
        # A column of doubles may hold whole numbers as integers, which a double spells alike up to 2^53.
        "double": f"typeof({{0}}) NOT IN ('real', 'integer', 'null') OR (typeof({{0}}) = 'integer' AND {{0}} NOT BETWEEN -{_EXACT} AND {_EXACT})",
    }
    picks = [
        "0" if kind is None else f"max({tests[kind].format(quoted(column.name))})"
        for kind, (column, _) in zip(wanted, selection.columns, strict=True)
    ]
    if not any(wanted):
        return wanted
    odd = db.execute(f"SELECT {', '.join(picks)} FROM {selection.relation}{where}").fetchone()  # noqa: S608
    return [None if is_odd else kind for kind, is_odd in zip(wanted, odd, strict=True)]


def _native(column: Column, request: ColumnRequest) -> str | None:
    if not request.verbatim:
        return request.type.kind if request.type.kind in ("integer", "double", "boolean") else None
    return {"INTEGER": "integer", "REAL": "double"}.get(affinity(column.declared))


def _order(column: Column, kind: LogicalType) -> str:
    name = quoted(column.name)
    # Wide decimals are kept as text, which sorts 10 before 9.
    return (
        f"CAST({name} AS NUMERIC), {name}" if kind.kind == "decimal" and affinity(column.declared) == "TEXT" else name
    )


def _where(selection: Selection) -> str:
    """Bounds that an index can serve. They may let more records through than asked for, never fewer (see `Bound`)."""
    if selection.cursor is None:
        return ""
    cursor, column, kind = selection.cursor
    name = quoted(column.name)
    parts = []
    for text, sign, days in ((cursor.since, ">=", -2), (cursor.until, "<", 2)):
        if text is not None and (edge := _edge(text, kind, days)) is not None:
            # Numbers sort before all texts: a number in a column of dates must be seen, to be refused.
            odd = f" OR {name} < ''" if kind.kind in ("date", "timestamp") else ""
            parts.append(f"({name} {sign} {edge}{odd})")
    bounded = cursor.since is not None or cursor.until is not None
    return f" WHERE {name} IS NOT NULL" + "".join(f" AND {part}" for part in parts) if bounded else ""


def _edge(text: str, kind: LogicalType, days: int) -> str | None:
    value = cursor_value(text, kind)
    if kind.kind == "integer":
        return str(value)
    if kind.kind == "date":
        return literal(text)
    if kind.kind == "timestamp":
        try:
            # The day is spelt alike by every ISO form; offsets move it by a day at most.
            return literal((value + timedelta(days=days)).strftime("%Y-%m-%d").zfill(10))
        except OverflowError:
            return None
    return None
