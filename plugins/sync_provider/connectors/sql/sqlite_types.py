"""How SQLite holds our types. No I/O.

SQLite types cells, not columns; a column only has an *affinity* that turns texts into numbers where "nothing is lost" — by
which SQLite means the first 15 digits (https://www.sqlite.org/datatype3.html). So:

=============  =======================  =============================================================================
declared       column we create         cell
=============  =======================  =============================================================================
string         TEXT                     text
integer        INTEGER                  integer
decimal(p,s)   DECIMAL(p,s), p ≤ 15     number: compares and sums as one, and every value of 15 digits reads back exactly
decimal(p,s)   DECIMAL_TEXT(p,s)        canonical text: exact, but compares as text
double         REAL                     float
boolean        BOOLEAN                  0 or 1
date           DATE                     text ``2024-12-31``
timestamp      TIMESTAMP                text ``2024-12-31 23:59:59+00:00``, with ``.123456`` where there is a fraction: sorts as
                                        text, and SQLite's own functions and Python read it
json           JSON_TEXT                text
=============  =======================  =============================================================================

Where the times that a column holds already name no zone, ours name none either, and are local to the mapping's zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sync_provider.connectors.sql.catalog import Column, Storage
from sync_provider.connectors.sql.fitting import Misfit, misfits
from sync_provider.connectors.sql.values import array_text, local_time, plain_time
from sync_provider.core.schema import MAX_PRECISION, LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

EXACT_DIGITS = 15
# An INTEGER column keeps fractions too: its affinity differs from NUMERIC in casts only.
_FAMILIES = {"TEXT": "text", "INTEGER": "numeric", "NUMERIC": "numeric", "REAL": "float", "BLOB": "any"}
_SCALED = re.compile(r"(?:DECIMAL|NUMERIC|DECIMAL_TEXT)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", re.IGNORECASE)


def affinity(declared: str) -> str:
    """A declared type's affinity, by SQLite's own five rules."""
    name = declared.upper()
    if "INT" in name:
        return "INTEGER"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not name or "BLOB" in name:
        return "BLOB"
    return "REAL" if any(part in name for part in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def storage_of(declared: str) -> Storage:
    """What a column of this declared type can hold."""
    return Storage(family=_FAMILIES[affinity(declared)])


def type_of(declared: str) -> LogicalType:
    """The type that a mapping would declare for a column of this declared type."""
    name = declared.upper()
    if (match := _SCALED.fullmatch(name)) and 1 <= int(match[1]) <= MAX_PRECISION:
        return LogicalType("decimal", int(match[1]), min(int(match[2] or 0), int(match[1])))
    for word, kind in (
        ("BOOL", "boolean"),
        ("DATETIME", "timestamp"),
        ("TIMESTAMP", "timestamp"),
        ("DATE", "date"),
        ("JSON", "json"),
    ):
        if name.startswith(word):
            return LogicalType(kind)
    by_affinity = {"INTEGER": "integer", "REAL": "double", "NUMERIC": "double"}
    return LogicalType(by_affinity.get(affinity(declared), "string"))


def declared_for(type: LogicalType) -> str:  # noqa: A002 - the word of the mapping
    """The declared type of a column that we create."""
    if type.kind == "decimal":
        name = "DECIMAL" if (type.precision or 0) <= EXACT_DIGITS else "DECIMAL_TEXT"
        return f"{name}({type.precision},{type.scale})"
    return {
        "string": "TEXT",
        "integer": "INTEGER",
        "double": "REAL",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "timestamp": "TIMESTAMP",
        "json": "JSON_TEXT",
    }[type.kind]


def refusal(column: Column, type: LogicalType) -> str | None:  # noqa: A002
    """Why a column cannot hold a type at all; None if it can."""
    family = column.storage.family
    if family in ("text", "any"):
        return None
    if type.kind == "string":
        return f"SQLite would turn the text 001 into the number 1 in a column declared {column.declared or 'so'}; declare it TEXT"
    return None


def refused(array: pa.Array, column: Column, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
    """Values that the column would refuse or change."""
    import pyarrow.compute as pc

    yield from misfits(array, column, type)
    family = column.storage.family
    if type.kind == "double":
        not_a_number = pc.is_nan(array)
        if pc.any(not_a_number, min_count=0).as_py():
            yield Misfit(not_a_number, "constraint", "SQLite has no NaN and would store null")
    if type.kind == "decimal" and family not in ("text", "any") and (type.precision or 0) > EXACT_DIGITS:
        digits = pc.replace_substring(array_text(array, type), ".", "")
        significant = pc.utf8_length(pc.utf8_trim(digits, "-0"))
        beyond = pc.greater(significant, EXACT_DIGITS)
        if pc.any(beyond, min_count=0).as_py():
            message = f"SQLite keeps {EXACT_DIGITS} digits in a column declared {column.declared}; declare it TEXT"
            yield Misfit(beyond, "constraint", message)


def stored(array: pa.Array, column: Column, type: LogicalType) -> pa.Array:  # noqa: A002
    """A typed column as integers, floats and texts that the column keeps unchanged."""
    import pyarrow as pa
    import pyarrow.compute as pc

    family = column.storage.family
    match type.kind:
        case "boolean":
            return array.cast(pa.string()) if family == "text" else array.cast(pa.int64())
        case "timestamp":
            zone = column.storage.zone
            if zone is not None:
                return plain_time(local_time(array, zone))
            return pc.binary_join_element_wise(plain_time(array), "+00:00", "")
        case "decimal":
            return array_text(array, type)
        case "double":
            return array_text(array, type) if family == "text" else array
        case "integer":
            return array.cast(pa.string()) if family == "text" else array
        case "date":
            return array.cast(pa.string())
        case _:
            return array
