"""Cells of a database ↔ canonical text (`connectors.base`). No I/O.

A time without a zone stays one when it is read; the mapping's `timezone` says what it means. What we write names its zone wherever
the column can.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.local_times import local_times
from sync_provider.core.canonical import named_zone, read_text, write_text
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

_OFFSET = r"Z|[+-]\d{2}(?::?\d{2})?"
_ISO_TIME = re.compile(rf"(\d{{4}}-\d{{2}}-\d{{2}})[T ](\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d{{1,6}})?)?)\s*({_OFFSET})?")
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
        return write_text(cell)
    if isinstance(cell, dict | list):
        return json.dumps(cell, ensure_ascii=False)
    return str(cell)


def _text_cell(cell: str, kind: str) -> str:
    if kind == "boolean":
        return _BOOLEANS.get(cell.lower(), cell)
    if kind == "timestamp" and (match := _ISO_TIME.fullmatch(cell)):
        return f"{match[1]}T{match[2]}{match[3] or ''}"
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


def meaning(cell: Any, type: LogicalType, zone: str) -> Any:  # noqa: A002 - the word of the mapping
    """What a cell means under the declared type, so that spellings of one value compare as equal.

    Args:
        cell: as the driver gives it.
        type: the declared type.
        zone: IANA name of the zone of times that name none.
    """
    text = cell_text(cell, type.kind)
    if text is None:
        return None
    try:
        value = read_text(text, type, named_zone(zone))
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


def names_no_zone(cell: Any) -> bool:
    """Whether a cell is a text with a day and a time but no zone."""
    match = _ISO_TIME.fullmatch(cell) if isinstance(cell, str) else None
    return match is not None and match[3] is None


def _plain_times(cells: Sequence[Any]) -> pa.Array | None:
    """The spelling that we write to SQLite, converted all at once; None if the column holds any other."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        texts = pa.array(cells, pa.string())
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return None
    plain = pc.match_substring_regex(
        texts, rf"^\d{{4}}-\d{{2}}-\d{{2}}[T ]\d{{2}}:\d{{2}}:\d{{2}}(\.\d{{1,6}})?({_OFFSET})?$"
    )
    if not pc.all(plain, min_count=0).as_py():
        return None
    return pc.binary_join_element_wise(pc.utf8_slice_codeunits(texts, 0, 10), pc.utf8_slice_codeunits(texts, 11), "T")


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
        return pc.binary_join_element_wise(pc.replace_substring(plain_time(array), " ", "T"), "", "Z")
    if type.kind == "double":
        return pa.array([None if v is None else repr(v) for v in array.to_pylist()], pa.string())
    return array.cast(pa.string())


def plain_time(array: pa.Array) -> pa.Array:
    """Timestamps as they stand, as ``2024-12-31 23:59:59``, with six digits of fraction only where there is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = array.cast(pa.timestamp("us")).cast(pa.string())
    return pc.if_else(pc.ends_with(texts, ".000000"), pc.utf8_slice_codeunits(texts, 0, 19), texts)


def local_time(array: pa.Array, zone: str) -> pa.Array:
    """Instants as what clocks in ``zone`` show (an IANA name)."""
    return local_times(array, zone)[0]


def not_telling(array: pa.Array, zone: str) -> pa.Array:
    """Mask of the instants that clocks in ``zone`` show a second time: their local time would not lead back to them."""
    return local_times(array, zone)[1]
