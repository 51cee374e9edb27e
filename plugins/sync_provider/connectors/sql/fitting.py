"""Which values fit which columns: found before the database sees them, a column at a time. No I/O.

A database may round, pad or truncate in silence, or refuse a whole statement for one value. So whatever would not read
back as it was is refused here, record by record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.sql.catalog import Column
from sync_provider.connectors.sql.values import local_time, not_telling
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_MAX_EXACT_INTEGER = 2**53
_DAY_US = 86_400_000_000.0
_DAYS = (-719162, 2932896)  # 0001-01-01 and 9999-12-31, counted from 1970-01-01


@dataclass(frozen=True, slots=True)
class Misfit:
    """The records (a mask; null counts as fitting) that a column cannot hold, and why."""

    mask: pa.Array
    rule: str
    message: str


def misfits(array: pa.Array, column: Column, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002 - the word of the mapping
    """Values that the column would refuse or change. Yields only misfits that some record has."""
    import pyarrow.compute as pc

    for found in _misfits(array, column, type):
        if pc.any(found.mask, min_count=0).as_py():
            yield found


def _misfits(array: pa.Array, column: Column, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
    import pyarrow.compute as pc

    storage = column.storage
    if not column.nullable:
        yield Misfit(pc.is_null(array), "constraint", "the column takes no null")
    if type.kind == "date":
        days = array.cast("int32")
        yield Misfit(_outside(days, *_DAYS), "constraint", "the date is outside the years 1 to 9999")
    if type.kind == "timestamp":
        seconds = pc.floor(pc.divide(array.cast("int64").cast("float64", safe=False), _DAY_US))
        yield Misfit(_outside(seconds, *_DAYS), "constraint", "the time is outside the years 1 to 9999")
        if storage.fraction < 6:
            step = 10 ** (6 - storage.fraction)
            micros = array.cast("int64")
            off = pc.not_equal(pc.multiply(pc.divide(micros, step), step), micros)
            yield Misfit(off, "constraint", f"the column keeps {storage.fraction} digits of a second")
        if storage.zone is not None:
            yield Misfit(
                not_telling(array, storage.zone),
                "constraint",
                f"clocks in {storage.zone} show this time twice, and the column keeps no zone",
            )
            local = pc.floor(
                pc.divide(local_time(array, storage.zone).cast("int64").cast("float64", safe=False), _DAY_US)
            )
            yield Misfit(_outside(local, *_DAYS), "constraint", "the local time is outside the years 1 to 9999")
    if storage.family in ("text", "enum", "uuid") and type.kind in ("string", "json"):
        yield from _text(array, column)
    elif storage.family == "integer":
        yield from _integer(array, storage.bits, type)
    elif storage.family == "numeric" and type.kind in ("integer", "decimal"):
        yield from _numeric(array, storage.precision, storage.scale, type)
    elif storage.family == "float":
        yield from _float(array, storage.bits, type)


def _outside(array: pa.Array, low: Any, high: Any) -> pa.Array:
    import pyarrow.compute as pc

    return pc.or_(pc.less(array, low), pc.greater(array, high))


def _text(array: pa.Array, column: Column) -> Iterator[Misfit]:
    import pyarrow as pa
    import pyarrow.compute as pc

    storage = column.storage
    if storage.length is not None:
        yield Misfit(
            pc.greater(pc.utf8_length(array), storage.length),
            "too_long",
            f"the column holds {storage.length} characters",
        )
    if storage.padded:
        yield Misfit(pc.ends_with(array, " "), "constraint", "the column drops spaces at the end")
    if storage.family == "enum":
        known = pc.is_in(array, value_set=pa.array(storage.labels, pa.string()))
        unknown = pc.and_(pc.is_valid(array), pc.invert(known))
        yield Misfit(unknown, "constraint", "the column's enumeration has no such label")
    if storage.family == "uuid":
        yield Misfit(pc.invert(pc.match_substring_regex(array, _UUID)), "constraint", "this is no UUID")


def _integer(array: pa.Array, bits: int, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
    import pyarrow as pa
    import pyarrow.compute as pc

    limit = Decimal(2 ** (bits - 1))
    places = (type.scale or 0) if type.kind == "decimal" else 0
    if bits == 64 and type.kind == "integer":
        return
    wide = array.cast(pa.decimal256(60, places))
    if places:
        kept = pc.round(wide, ndigits=0, round_mode="towards_zero")
        yield Misfit(pc.not_equal(kept, wide), "constraint", "the column holds whole numbers only")
    low, high = (pa.scalar(bound, wide.type) for bound in (-limit, limit - 1))
    yield Misfit(_outside(wide, low, high), "constraint", f"the column holds {bits}-bit integers")


def _numeric(array: pa.Array, precision: int | None, scale: int | None, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
    import pyarrow as pa
    import pyarrow.compute as pc

    if precision is None:
        return
    scale = scale or 0
    digits, places = (type.precision or 0, type.scale or 0) if type.kind == "decimal" else (19, 0)
    wide = array.cast(pa.decimal256(60, places))
    if places > scale:
        kept = pc.round(wide, ndigits=scale, round_mode="towards_zero")
        yield Misfit(pc.not_equal(kept, wide), "constraint", f"the column keeps {scale} digits after the point")
    if digits - places > precision - scale:
        limit = pa.scalar(Decimal(10) ** max(precision - scale, 0), pa.decimal256(60, places))
        beyond = pc.greater_equal(pc.abs(wide), limit)
        yield Misfit(beyond, "constraint", f"the column holds {precision - scale} digits before the point")


def _float(array: pa.Array, bits: int, type: LogicalType) -> Iterator[Misfit]:  # noqa: A002
    import pyarrow as pa
    import pyarrow.compute as pc

    if type.kind == "integer":
        limit = _MAX_EXACT_INTEGER if bits == 64 else 2**24
        yield Misfit(_outside(array, -limit, limit), "constraint", f"a {bits}-bit float would round the number")
    if type.kind == "double" and bits == 32:
        narrow = array.cast(pa.float32(), safe=False).cast(pa.string()).cast(pa.float64())
        changed = pc.and_(pc.not_equal(narrow, array), pc.invert(pc.is_nan(array)))
        yield Misfit(changed, "constraint", "a 32-bit float would round the number")
