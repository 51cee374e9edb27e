"""How PostgreSQL holds our types. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sync_provider.connectors.sql.catalog import Column, Storage
from sync_provider.connectors.sql.fitting import Misfit, misfits
from sync_provider.connectors.sql.values import array_text, local_time
from sync_provider.core.schema import MAX_PRECISION, LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGERS = {"int2": 16, "int4": 32, "int8": 64}
_FAMILIES = {
    "text": "text", "varchar": "text", "bpchar": "text", "citext": "text", "numeric": "numeric", "float4": "float", "float8": "float",
    "bool": "boolean", "date": "date", "timestamp": "timestamp", "timestamptz": "timestamptz", "json": "json", "jsonb": "jsonb",
    "uuid": "uuid",
}  # fmt: skip
# Kind → families that hold every value of it, or refuse one by one what they do not hold (see `fitting`).
_FITS = {
    "string": {"text", "uuid", "enum"},
    "integer": {"integer", "numeric", "float", "text"},
    "decimal": {"numeric", "integer", "text"},
    "double": {"float", "text"},
    "boolean": {"boolean", "text"},
    "date": {"date", "text"},
    "timestamp": {"timestamptz", "timestamp", "text"},
    "json": {"json", "jsonb", "text"},
}


def storage_of(base: str, typmod: int, labels: tuple[str, ...] = ()) -> Storage:
    """What a column can hold.

    Args:
        base: the catalogue's name of its base type (``int4``, ``bpchar``…).
        typmod: the catalogue's type modifier; -1 for none.
        labels: of an enum.
    """
    if labels:
        return Storage(family="enum", labels=labels)
    if base in _INTEGERS:
        return Storage(family="integer", bits=_INTEGERS[base])
    family = _FAMILIES.get(base, "other")
    if family == "text":
        return Storage(family="text", length=typmod - 4 if typmod >= 4 else None, padded=base == "bpchar")
    if family == "numeric" and typmod >= 4:
        # Precision in the upper half; the scale is an 11-bit signed number in the lower one.
        precision, scale = ((typmod - 4) >> 16) & 0xFFFF, (((typmod - 4) & 0x7FF) ^ 1024) - 1024
        return Storage(family="numeric", precision=precision, scale=scale)
    if family == "float":
        return Storage(family="float", bits=32 if base == "float4" else 64)
    if family in ("timestamp", "timestamptz"):
        return Storage(family=family, fraction=typmod if typmod >= 0 else 6)
    return Storage(family=family)


def type_of(storage: Storage) -> LogicalType:
    """The type that a mapping would declare for a column."""
    if storage.family == "numeric":
        if storage.precision is not None and storage.precision <= MAX_PRECISION:
            scale = storage.scale or 0
            return LogicalType("decimal", max(storage.precision, scale, 1), max(scale, 0))
        return LogicalType("decimal", MAX_PRECISION, 9)
    by_family = {
        "integer": "integer",
        "float": "double",
        "boolean": "boolean",
        "date": "date",
        "timestamp": "timestamp",
        "timestamptz": "timestamp",
        "json": "json",
        "jsonb": "json",
    }
    return LogicalType(by_family.get(storage.family, "string"))


def declared_for(type: LogicalType) -> str:  # noqa: A002 - the word of the mapping
    """The SQL type of a column that we create."""
    if type.kind == "decimal":
        return f"numeric({type.precision},{type.scale})"
    return {
        "string": "text",
        "integer": "bigint",
        "double": "double precision",
        "boolean": "boolean",
        "date": "date",
        "timestamp": "timestamp with time zone",
        "json": "jsonb",
    }[type.kind]


def refusal(column: Column, type: LogicalType) -> str | None:  # noqa: A002
    """Why a column cannot hold a type at all; None if it can."""
    family = column.storage.family
    if family in _FITS[type.kind]:
        return None
    if family == "numeric" and type.kind == "double" and column.storage.precision is None:
        return None
    return f"the column is {column.declared}, the field {type}"


def refused(array: pa.Array, column: Column, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
    """Values that the column would refuse or change."""
    import pyarrow as pa
    import pyarrow.compute as pc

    yield from misfits(array, column, type)
    if pa.types.is_string(array.type):
        # A jsonb cannot hold the escape either; in json and text it is four harmless characters.
        pattern = r"\x00|(^|[^\\])(\\\\)*\\u0000" if column.storage.family == "jsonb" else r"\x00"
        nul = pc.match_substring_regex(array, pattern)
        if pc.any(nul, min_count=0).as_py():
            yield Misfit(nul, "constraint", "PostgreSQL cannot store the NUL character")


def stored(array: pa.Array, column: Column, type: LogicalType) -> pa.Array:  # noqa: A002
    """A typed column in the Arrow type that is staged for the column."""
    family = column.storage.family
    if family == "text" and type.kind not in ("string", "json"):
        return array_text(array, type)
    if family == "numeric" and type.kind == "double":
        return array_text(array, type)
    if family == "timestamp":
        return local_time(array, column.storage.zone or "UTC")
    return array


_STAGED = {"string": "text", "int64": "bigint", "double": "double precision", "bool": "boolean", "date32[day]": "date"}


def staged_type(array_type: pa.DataType) -> str:
    """The SQL type that a staged column gets."""
    import pyarrow as pa

    if pa.types.is_decimal(array_type):
        return "numeric"
    if pa.types.is_timestamp(array_type):
        return "timestamp with time zone" if array_type.tz else "timestamp without time zone"
    return _STAGED[str(array_type)]


_DIRECT = re.compile(
    r"text|character varying(\(\d+\))?|numeric(\(\d+,-?\d+\))?|double precision|boolean|date|bigint|timestamp(\(\d\))? with(out)? time zone"
)


def is_direct(column: Column, array_type: pa.DataType) -> bool:
    """Whether a binary COPY may put the staged form straight into the column."""
    if not _DIRECT.fullmatch(column.declared):
        return False
    staged = staged_type(array_type)
    bare = re.sub(r"\(.*?\)", "", column.declared)
    return bare == staged or (bare, staged) == ("character varying", "text")
