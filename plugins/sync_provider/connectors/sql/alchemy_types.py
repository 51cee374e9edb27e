"""How databases without a bulk path hold our types, as SQLAlchemy describes them. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.sql.catalog import Column, Storage
from sync_provider.connectors.sql.fitting import Misfit, misfits
from sync_provider.connectors.sql.values import array_text, local_time
from sync_provider.core.schema import MAX_PRECISION, LogicalType

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy.types import TypeEngine

# Some databases index no text of unknown length.
KEY_LENGTH = 255
_FITS = {
    "string": {"text"},
    "integer": {"integer", "numeric", "text"},
    "decimal": {"numeric", "text"},
    "double": {"float", "text"},
    "boolean": {"boolean", "text"},
    "date": {"date", "text"},
    "timestamp": {"timestamptz", "timestamp", "text"},
    "json": {"text"},
}


def storage_of(type_: TypeEngine[Any]) -> Storage:
    """What a reflected column can hold; ``other`` for what we only read."""
    import sqlalchemy as sa

    if isinstance(type_, sa.Enum | sa.Uuid | sa.JSON | sa.LargeBinary | sa.ARRAY):
        return Storage(family="other")
    if isinstance(type_, sa.String):
        return Storage(family="text", length=type_.length, padded=isinstance(type_, sa.CHAR))
    # TINYINT(1) is what MySQL makes of BOOLEAN.
    if isinstance(type_, sa.Boolean) or (type(type_).__name__ == "TINYINT" and getattr(type_, "display_width", 0) == 1):
        return Storage(family="boolean")
    if isinstance(type_, sa.Integer):
        # A dialect's own small integers (MySQL's TINYINT, MEDIUMINT) would wrap or refuse: the database says so itself.
        bits = 16 if isinstance(type_, sa.SmallInteger) else 64 if isinstance(type_, sa.BigInteger) else 32
        return Storage(family="integer", bits=bits)
    if isinstance(type_, sa.Float):
        single = isinstance(type_, sa.REAL) or type(type_).__name__ == "FLOAT"
        return Storage(family="float", bits=32 if single and (type_.precision or 0) <= 24 else 64)
    if isinstance(type_, sa.Numeric):
        return Storage(family="numeric", precision=type_.precision, scale=type_.scale)
    if isinstance(type_, sa.DateTime):
        # MySQL keeps whole seconds unless the column says otherwise.
        fraction = getattr(type_, "fsp", 6)
        return Storage(family="timestamptz" if type_.timezone else "timestamp", fraction=fraction or 0)
    return Storage(family="date" if isinstance(type_, sa.Date) else "other")


def type_of(storage: Storage) -> LogicalType:
    """The type that a mapping would declare for a column."""
    if storage.family == "numeric":
        precision = min(storage.precision or MAX_PRECISION, MAX_PRECISION)
        return LogicalType("decimal", precision, min(9 if storage.precision is None else storage.scale or 0, precision))
    by_family = {
        "integer": "integer",
        "float": "double",
        "boolean": "boolean",
        "date": "date",
        "timestamp": "timestamp",
        "timestamptz": "timestamp",
    }
    return LogicalType(by_family.get(storage.family, "string"))


def created_type(type: LogicalType, *, in_key: bool) -> TypeEngine[Any]:  # noqa: A002 - the word of the mapping
    """The SQLAlchemy type of a column that we create."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    match type.kind:
        case "decimal":
            return sa.Numeric(type.precision, type.scale)
        case "string":
            binary = (
                mysql.VARCHAR(KEY_LENGTH, collation="utf8mb4_bin")
                if in_key
                else mysql.LONGTEXT(collation="utf8mb4_bin")
            )
            return (sa.String(KEY_LENGTH) if in_key else sa.Text()).with_variant(binary, "mysql", "mariadb")
        case "integer":
            return sa.BigInteger()
        case "double":
            return sa.Double()
        case "boolean":
            return sa.Boolean()
        case "date":
            return sa.Date()
        case "timestamp":
            return sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
        case _:
            return sa.Text().with_variant(mysql.LONGTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")


def refusal(column: Column, type: LogicalType) -> str | None:  # noqa: A002
    """Why a column cannot hold a type at all; None if it can."""
    family = column.storage.family
    return None if family in _FITS[type.kind] else f"the column is {column.declared}, the field {type}"


def refused(array: pa.Array, column: Column, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
    """Values that the column would refuse or change."""
    import pyarrow as pa
    import pyarrow.compute as pc

    yield from misfits(array, column, type)
    if pa.types.is_string(array.type):
        nul = pc.match_substring(array, "\0")
        if pc.any(nul, min_count=0).as_py():
            yield Misfit(nul, "constraint", "most databases cannot store the NUL character")
    if pa.types.is_floating(array.type):
        odd = pc.invert(pc.is_finite(array))
        if pc.any(odd, min_count=0).as_py():
            yield Misfit(odd, "constraint", "most databases cannot store infinities and NaN")


def stored(array: pa.Array, column: Column, type: LogicalType) -> pa.Array:  # noqa: A002
    """A typed column as the driver is given it."""
    if column.storage.family == "text" and type.kind not in ("string", "json"):
        return array_text(array, type)
    if column.storage.family == "timestamp":
        return local_time(array, column.storage.zone or "UTC")
    return array
