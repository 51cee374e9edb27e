"""Values of any Arrow type to declared types and to canonical text, exactly or not at all.

Nothing is rounded, truncated or guessed: what the declared type cannot hold exactly comes out null, for the caller to
refuse. Decimals never pass through a float; a float becomes a decimal by its shortest text.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import tzinfo
from decimal import Decimal
from typing import Any

from sync_provider.core.schema import MAX_PRECISION, LogicalType
from sync_provider.engine.text_casts import TextCasts
from sync_provider.engine.zones import LocalClock, within_calendar

_DAY_US = 86_400_000_000
_MAX_EXACT_FLOAT = 2.0**53
_NOT_A_NUMBER = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class Casts:
    """Casts of whole Arrow columns.

    Args:
        zone: zone of timestamps that have none.
        is_json: says for each text of a column whether it is one JSON document.
    """

    def __init__(self, zone: tzinfo, is_json: Callable[[Any], Any]) -> None:
        self._text = TextCasts(zone, is_json)
        self._clock = LocalClock(zone)

    def cast(self, values: Any, type: LogicalType) -> Any:  # noqa: A002 - the word of the mapping
        """Values of the declared type; null where the value is null, an empty text, or does not convert.

        Args:
            values: as `plain` gives them.
            type: the declared type.
        """
        import pyarrow as pa
        import pyarrow.types as kinds

        target = type.to_arrow()
        if kinds.is_null(values.type):
            return pa.nulls(len(values), target)
        if kinds.is_string(values.type):
            return self._text.cast(values, type)
        if type.kind in ("string", "json"):
            return self._text.cast(to_text(values), type)
        convert: Callable[[Any, LogicalType], Any] | None = {
            "integer": self._number,
            "decimal": self._number,
            "double": self._double,
            "boolean": self._boolean,
            "date": self._date,
            "timestamp": self._timestamp,
        }[type.kind]
        return convert(values, type) if convert else pa.nulls(len(values), target)

    def refused(self, values: Any, result: Any, type: LogicalType) -> Any | None:  # noqa: A002
        """Which values `cast` could not convert, as booleans; None where it converted all."""
        import pyarrow.compute as pc
        import pyarrow.types as kinds

        if result.null_count == values.null_count:
            return None
        lost = pc.and_(pc.is_null(result), pc.is_valid(values))
        if kinds.is_string(values.type) and type.kind != "string":
            lost = pc.and_(lost, pc.fill_null(pc.not_equal(values, ""), False))
        return lost if pc.any(lost).as_py() else None

    def _number(self, values: Any, type: LogicalType) -> Any:  # noqa: A002
        """Numbers to integer or decimal."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.types as kinds

        target = type.to_arrow()
        if kinds.is_floating(values.type):
            # Beyond 2^53 a float stands for several whole numbers: which one was meant is lost.
            exact = pc.less_equal(pc.abs(values), _MAX_EXACT_FLOAT)
            values = pc.if_else(exact, values, pa.scalar(None, values.type))
            if type.kind == "integer":
                with suppress(pa.ArrowInvalid):
                    return values.cast(target)
            return self._text.cast(to_text(values), type)
        if not (kinds.is_integer(values.type) or kinds.is_decimal(values.type)):
            return pa.nulls(len(values), target)
        with suppress(pa.ArrowInvalid):
            if kinds.is_decimal(values.type) and values.type.precision == MAX_PRECISION:
                values.validate(full=True)  # DuckDB hands out HUGEINTs of 39 digits as decimals of 38
            if kinds.is_decimal(target):
                values = _below(values.cast(pa.decimal128(20, 0)) if kinds.is_integer(values.type) else values, target)
            return values.cast(target)
        return self._text.cast(to_text(values), type)

    def _double(self, values: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.types as kinds

        target = type.to_arrow()
        if kinds.is_floating(values.type):
            numbers = values.cast(target)
            return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, target))
        if kinds.is_decimal(values.type):
            return self._text.cast(to_text(values), type)
        if not kinds.is_integer(values.type):
            return pa.nulls(len(values), target)
        with suppress(pa.ArrowInvalid):
            return values.cast(target)
        numbers = values.cast(target, safe=False)
        back = numbers.cast(pa.decimal128(38, 0))
        return pc.if_else(pc.equal(back, values.cast(pa.decimal128(38, 0))), numbers, pa.scalar(None, target))

    def _boolean(self, values: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.types as kinds

        if kinds.is_boolean(values.type):
            return values
        if kinds.is_integer(values.type):  # databases without booleans, SQLite among them, store 0 and 1
            return pc.index_in(values, value_set=pa.array([0, 1], values.type)).cast(pa.bool_())
        return pa.nulls(len(values), type.to_arrow())

    def _date(self, values: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.types as kinds

        target = type.to_arrow()
        if kinds.is_date(values.type):
            local = values.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
            local = pc.multiply(pc.if_else(pc.less(pc.abs(local), 10**7), local, pa.scalar(None, pa.int64())), _DAY_US)
        elif kinds.is_timestamp(values.type) and values.type.tz is None:
            # A time of day would be lost; an instant is a different day in different places.
            local = _microseconds(values)
            midnight = pc.equal(pc.subtract(local, pc.multiply(pc.divide(local, _DAY_US), _DAY_US)), 0)
            local = pc.if_else(midnight, local, pa.scalar(None, pa.int64()))
        else:
            return pa.nulls(len(values), target)
        return within_calendar(local).cast(pa.timestamp("us")).cast(target)

    def _timestamp(self, values: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa
        import pyarrow.types as kinds

        target = type.to_arrow()
        if kinds.is_date(values.type):
            values = self._date(values, LogicalType("date")).cast(pa.timestamp("us"))
        if not kinds.is_timestamp(values.type):
            return pa.nulls(len(values), target)
        micros = within_calendar(_microseconds(values))
        if values.type.tz is None:
            return self._clock.to_utc(micros.cast(pa.timestamp("us")))
        return micros.cast(target)


def _below(values: Any, target: Any) -> Any:
    """Decimals, null where they have too many digits before the point: Arrow would silently wrap them around."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = target.precision - target.scale
    if values.type.precision - values.type.scale <= whole:
        return values
    limit = pa.scalar(Decimal(10) ** whole, pa.decimal128(MAX_PRECISION, values.type.scale))
    return pc.if_else(pc.less(pc.abs(values), limit), values, pa.scalar(None, values.type))


def plain(values: Any) -> Any:
    """One contiguous array without dictionaries, extension types, or the several kinds of string that Arrow has."""
    import pyarrow as pa
    import pyarrow.types as kinds

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if kinds.is_dictionary(values.type) or kinds.is_run_end_encoded(values.type):
        values = values.dictionary_decode() if kinds.is_dictionary(values.type) else values.cast(values.type.value_type)
    if kinds.is_large_string(values.type) or kinds.is_string_view(values.type):
        values = values.cast(pa.string())
    return values


def to_text(values: Any) -> Any:
    """Canonical text of a column (see `connectors.base`); null where the value is null or has no text form (bytes, lists).

    Numbers have no exponent, timestamps are in UTC with ``Z`` or, without zone, as they stand.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    kind = values.type
    if kinds.is_string(kind):
        return values
    if kinds.is_boolean(kind) or kinds.is_integer(kind):
        return values.cast(pa.string())
    if kinds.is_decimal(kind):
        texts = values.cast(pa.string())
        scientific = pc.fill_null(pc.match_substring(texts, "E"), False)
        if pc.any(scientific).as_py():
            exact = pa.array([format(value, "f") for value in values.filter(scientific).to_pylist()], pa.string())
            texts = pc.replace_with_mask(texts, scientific, exact)
        return texts
    if kinds.is_floating(kind):
        return _float_text(values)
    if kinds.is_date(kind):
        return values.cast(pa.date32()).cast(pa.string())
    if kinds.is_time(kind):
        return _without_trailing_zeros(values.cast(pa.string()))
    if kinds.is_timestamp(kind):
        local = values.cast(pa.timestamp(kind.unit)) if kind.tz else values
        texts = _without_trailing_zeros(pc.replace_substring(local.cast(pa.string()), " ", "T", max_replacements=1))
        return pc.binary_join_element_wise(texts, "Z", "") if kind.tz else texts
    return pa.nulls(len(values), pa.string())


def _without_trailing_zeros(texts: Any) -> Any:
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring(texts, ".")).as_py():
        return texts
    return pc.replace_substring_regex(pc.replace_substring_regex(texts, r"\.0*$", ""), r"(\.[0-9]*[1-9])0+$", r"\1")


def _float_text(values: Any) -> Any:
    """The shortest text that reads back as the same float, which is what people see in their database, without exponent."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = values.cast(pa.string())
    odd = pc.fill_null(pc.match_substring_regex(texts, "[en]"), False)
    if not pc.any(odd).as_py():
        return texts
    rewritten = [_NOT_A_NUMBER.get(text) or format(Decimal(text), "f") for text in texts.filter(odd).to_pylist()]
    return pc.replace_with_mask(texts, odd, pa.array(rewritten, pa.string()))


def _microseconds(values: Any) -> Any:
    """µs since 1970; null where a finer unit holds a fraction of one, or a coarser one is out of range."""
    import pyarrow as pa
    import pyarrow.compute as pc

    naive = values.cast(pa.timestamp(values.type.unit))
    with suppress(pa.ArrowInvalid):
        return naive.cast(pa.timestamp("us")).cast(pa.int64())
    ticks = naive.cast(pa.int64())
    if values.type.unit == "ns":
        whole = pc.divide(ticks, 1000)
        return pc.if_else(pc.equal(pc.multiply(whole, 1000), ticks), whole, pa.scalar(None, pa.int64()))
    factor = 1_000_000 if values.type.unit == "s" else 1000
    inside = pc.and_(pc.greater(ticks, -(2**63) // factor), pc.less(ticks, 2**63 // factor))
    return pc.multiply(pc.if_else(inside, ticks, pa.scalar(None, pa.int64())), factor)
