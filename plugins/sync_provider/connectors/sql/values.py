"""Cells of a database ↔ canonical text (`connectors.base`). No I/O.

A timestamp without a zone in a SQL column is taken as UTC, in both directions: a database's clock functions give UTC, and what
we write must read back as it was.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sync_provider.core.canonical import read_text
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

_ZONED = re.compile(r"(Z|[+-]\d{2}(:?\d{2})?)$")
_ISO_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\s*(Z|[+-]\d{2}(?::?\d{2})?)?")
_BOOLEANS = {"1": "true", "t": "true", "true": "true", "0": "false", "f": "false", "false": "false"}


def cell_text(cell: Any, kind: str) -> str | None:
    """One cell as canonical text of a declared kind; a text that is none is left as it was, for the transform to refuse."""
    if cell is None:
        return None
    if isinstance(cell, str):
        return _text_cell(cell, kind)
    if isinstance(cell, bytes | bytearray | memoryview):
        return "\\x" + bytes(cell).hex()
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float | Decimal):
        return _number_cell(cell, kind)
    if isinstance(cell, datetime):
        return key_text(cell.replace(tzinfo=UTC) if cell.tzinfo is None else cell.astimezone(UTC))
    if isinstance(cell, dict | list):
        return json.dumps(cell, ensure_ascii=False)
    return str(cell)


def _text_cell(cell: str, kind: str) -> str:
    if kind == "boolean":
        return _BOOLEANS.get(cell.lower(), cell)
    if kind == "timestamp" and (match := _ISO_TIME.fullmatch(cell)):
        return f"{match[1]}T{match[2]}{match[3] or 'Z'}"
    if kind == "timestamp" and re.fullmatch(r"\d{4}-\d{2}-\d{2}", cell):
        return f"{cell}T00:00:00Z"
    return cell


def _number_cell(cell: float | Decimal, kind: str) -> str:
    if kind == "boolean" and cell in (0, 1):
        return "true" if cell else "false"
    if isinstance(cell, int):
        return str(cell)
    if isinstance(cell, Decimal):
        return format(cell, "f")
    if kind == "double" or not math.isfinite(cell):
        return repr(cell)
    if kind == "integer" and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    # The shortest text that reads back as this very double: what a person sees in the database's own shell.
    return format(Decimal(repr(cell)), "f")


def key_text(value: Any) -> str:
    """One typed value of a key as the engine spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def meaning(cell: Any, type: LogicalType) -> Any:  # noqa: A002 - the word of the mapping
    """What a cell means under the declared type, so that spellings of one value compare as equal."""
    text = cell_text(cell, type.kind)
    if text is None:
        return None
    try:
        value = read_text(text, type, UTC)
    except ValueError:
        return text
    return json.dumps(json.loads(value), sort_keys=True) if type.kind == "json" and value is not None else value


def column_text(cells: Sequence[Any], kind: str) -> pa.Array:
    """A column of cells as canonical text."""
    import pyarrow as pa

    if kind == "timestamp" and (texts := _plain_times(cells)) is not None:
        return texts
    if kind == "decimal" and (texts := _plain_numbers(cells)) is not None:
        return texts
    if kind in ("string", "json", "date"):
        try:
            return pa.array(cells, pa.string())
        except (pa.ArrowTypeError, pa.ArrowInvalid):
            pass
    return pa.array([cell_text(cell, kind) for cell in cells], pa.string())


def _plain_times(cells: Sequence[Any]) -> pa.Array | None:
    """The spelling that we write to SQLite, converted all at once; None if the column holds any other."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        texts = pa.array(cells, pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None
    plain = pc.match_substring_regex(texts, r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z?$")
    if not pc.all(plain, min_count=0).as_py():
        return None
    start, rest = pc.utf8_slice_codeunits(texts, 0, 10), pc.utf8_rtrim(pc.utf8_slice_codeunits(texts, 11), "Z")
    return pc.binary_join_element_wise(start, pc.binary_join_element_wise(rest, "", "Z"), "T")


def _plain_numbers(cells: Sequence[Any]) -> pa.Array | None:
    """Numbers that a double spells without an exponent, converted all at once; None if the column holds anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        # Arrow refuses an integer that a double would round.
        texts = pa.array(cells, pa.float64()).cast(pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None
    odd = pc.match_substring_regex(texts, "[a-z]")
    return None if pc.any(odd, min_count=0).as_py() else texts


def array_text(array: pa.Array, type: LogicalType) -> pa.Array:  # noqa: A002 - the word of the mapping
    """A typed column as canonical text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if type.kind == "decimal":
        texts = array.cast(pa.string())
        if not pc.any(pc.match_substring(texts, "E"), min_count=0).as_py():
            return texts
        return pa.array([None if v is None else format(v, "f") for v in array.to_pylist()], pa.string())
    if type.kind == "timestamp":
        return pc.binary_join_element_wise(pc.replace_substring(utc_text(array), " ", "T"), "", "Z")
    if type.kind == "double":
        return pa.array([None if v is None else repr(v) for v in array.to_pylist()], pa.string())
    return array.cast(pa.string())


def utc_text(array: pa.Array) -> pa.Array:
    """Instants as ``2024-12-31 23:59:59`` in UTC, with six digits of fraction only where there is one.

    This is SQLite's own spelling: it sorts as text, and SQLite's date functions and most libraries read it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = array.cast(pa.timestamp("us")).cast(pa.string())
    return pc.if_else(pc.ends_with(texts, ".000000"), pc.utf8_slice_codeunits(texts, 0, 19), texts)
