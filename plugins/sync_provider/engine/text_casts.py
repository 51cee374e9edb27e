"""Canonical text to declared types, a whole Arrow column at a time; `core.canonical.read_text` is the definition.

Each conversion tries the column as it is; only where that fails does it look for the values at fault by pattern, and only
what patterns cannot decide (30 February, a 40-digit decimal) is read value by value.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import tzinfo
from typing import Any

from sync_provider.core import canonical
from sync_provider.core.canonical import MAX_JSON_DEPTH, read_text
from sync_provider.core.schema import MAX_PRECISION, LogicalType
from sync_provider.engine.zones import LocalClock, within_calendar

_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31 in days since 1970
_HAS_TIME = r"[T ][0-9]{2}"
_ENDS_WITH_OFFSET = rf"{_HAS_TIME}.*{canonical.OFFSET}$"
_TIMESTAMP = rf"^{canonical.DATE}([T ]{canonical.TIME}{canonical.OFFSET}?)?({canonical.ZONE})?$"
# What DuckDB's reader lets pass and JSON does not: NaN and infinity, a comma after the last item. Matches inside strings
# are harmless: whatever matches is read again, strictly.
_LAX_JSON = r"(?i)(^|[:\[,\s-])(nan|inf)|,\s*[\]}]"


class TextCasts:
    """Casts from text.

    Args:
        zone: zone of timestamps that name none.
        is_json: says for each text of a column whether it is one JSON document, perhaps too generously.
    """

    def __init__(self, zone: tzinfo, is_json: Callable[[Any], Any]) -> None:
        self._zone = zone
        self._clocks: dict[str | None, LocalClock] = {None: LocalClock(zone)}
        self._is_json = is_json
        self._casts: dict[str, Callable[[Any, LogicalType], Any]] = {
            "integer": self._integer,
            "decimal": self._decimal,
            "double": self._double,
            "boolean": self._boolean,
            "date": self._date,
            "timestamp": self._timestamp,
            "json": self._json,
        }

    def cast(self, texts: Any, type: LogicalType) -> Any:  # noqa: A002 - the word of the mapping
        """Values of the declared type; null where the text is null, empty, or no such value. ``string`` stays as it is."""
        import pyarrow.compute as pc

        if type.kind == "string":
            return texts
        if pc.min(pc.binary_length(texts)).as_py() == 0:
            texts = _only(texts, pc.not_equal(texts, ""))
        return self._casts[type.kind](texts, type)

    def _one_by_one(self, texts: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa

        def read(text: str | None) -> Any:
            try:
                return None if text is None else read_text(text, type, self._zone)
            except ValueError:
                return None

        return pa.array(map(read, texts.to_pylist()), type.to_arrow())

    def _integer(self, texts: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa
        import pyarrow.compute as pc

        if not _contains(texts, "x", "X"):  # Arrow reads 0x1F as 31
            with suppress(pa.ArrowInvalid):
                return texts.cast(pa.int64())
        shaped = pc.replace_substring_regex(_matching(texts, canonical.INTEGER), r"^\+|\.0*$", "")
        try:
            return shaped.cast(pa.int64())
        except pa.ArrowInvalid:
            return self._one_by_one(texts, type)

    def _decimal(self, texts: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa
        import pyarrow.compute as pc

        precision, scale = type.precision or MAX_PRECISION, type.scale or 0
        target = pa.decimal128(precision, scale)
        # Arrow's arithmetic wraps around silently beyond 38 digits: 30 digits to decimal(38,10) give another number.
        safe = (pc.max(pc.binary_length(texts)).as_py() or 0) + scale <= MAX_PRECISION
        if safe and not _contains(texts, "e", "E"):
            with suppress(pa.ArrowInvalid):
                return texts.cast(target)
        whole = f"0*[0-9]{{0,{precision - scale}}}"
        fraction = f"[0-9]{{0,{scale}}}0*"
        shaped = _matching(_matching(texts, canonical.DECIMAL), rf"[+-]?{whole}(\.{fraction})?")
        if not safe:
            for zeros, kept in ((r"(\.[0-9]*?)0+$", r"\1"), (r"^([+-]?)0*", r"\10")):
                shaped = pc.replace_substring_regex(shaped, zeros, kept)
        return shaped.cast(target)

    def _double(self, texts: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa
        import pyarrow.compute as pc

        for pattern in (None, canonical.DOUBLE):
            with suppress(pa.ArrowInvalid):
                numbers = _matching(texts, pattern).cast(pa.float64())
                if pc.all(pc.is_finite(numbers)).as_py() is not False:
                    return numbers
        return self._one_by_one(texts, type)

    def _boolean(self, texts: Any, _type: LogicalType) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        return pc.index_in(texts, value_set=pa.array(["false", "true"])).cast(pa.bool_())

    def _date(self, texts: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa
        import pyarrow.compute as pc

        for pattern in (None, canonical.DATE):
            with suppress(pa.ArrowInvalid):
                days = _matching(texts, pattern).cast(pa.date32())
                ends = pc.min_max(days.cast(pa.int32())).as_py()
                if ends["min"] is None or (ends["min"] >= _FIRST_DAY and ends["max"] <= _LAST_DAY):
                    return days
        return self._one_by_one(texts, type)

    def _timestamp(self, texts: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow as pa
        import pyarrow.compute as pc

        if texts.null_count == len(texts):
            return pa.nulls(len(texts), type.to_arrow())
        for read in (self._with_offsets, self._local):
            with suppress(pa.ArrowInvalid):
                return read(texts, None)
        shaped = _matching(texts, _TIMESTAMP[1:-1])
        if _contains(shaped, "["):
            return self._with_named_zones(shaped, type)
        offset = pc.match_substring_regex(shaped, _ENDS_WITH_OFFSET)
        try:
            return pc.coalesce(
                self._with_offsets(_only(shaped, offset), None),
                self._local(_only(shaped, pc.invert(offset)), None),
            )
        except pa.ArrowInvalid:
            return self._one_by_one(shaped, type)

    def _with_offsets(self, texts: Any, _name: str | None) -> Any:
        import pyarrow as pa

        micros = texts.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        return within_calendar(micros).cast(pa.timestamp("us", tz="UTC"))

    def _local(self, texts: Any, name: str | None) -> Any:
        import pyarrow as pa

        local = texts.cast(pa.timestamp("us")).cast(pa.int64())
        return self._clock(name).to_utc(within_calendar(local).cast(pa.timestamp("us")))

    def _clock(self, name: str | None) -> LocalClock:
        if name not in self._clocks:
            self._clocks[name] = LocalClock(canonical.named_zone(str(name)))
        return self._clocks[name]

    def _with_named_zones(self, texts: Any, type: LogicalType) -> Any:  # noqa: A002
        """Texts such as ``2024-12-31T23:59:59[Europe/Paris]``, as the macro ``parse_timestamp`` gives them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        parts = pc.extract_regex(texts, r"^(?P<local>[^\[]*)\[(?P<zone>[^\]]*)\]$")
        zones = pc.struct_field(parts, "zone")
        names = pc.unique(zones.drop_null()).to_pylist()
        if zones.null_count > texts.null_count or len(names) > 8:
            return self._one_by_one(texts, type)
        result = pa.nulls(len(texts), type.to_arrow())
        try:
            for name in names:
                result = pc.coalesce(
                    result, self._local(_only(pc.struct_field(parts, "local"), pc.equal(zones, name)), name)
                )
        except (pa.ArrowInvalid, ValueError):
            return self._one_by_one(texts, type)
        return result

    def _json(self, texts: Any, type: LogicalType) -> Any:  # noqa: A002
        import pyarrow.compute as pc

        documents = _only(texts, self._is_json(texts))
        nested = pc.add(pc.count_substring(documents, "["), pc.count_substring(documents, "{"))
        doubtful = pc.or_(pc.match_substring_regex(documents, _LAX_JSON), pc.greater(nested, MAX_JSON_DEPTH))
        doubtful = pc.fill_null(doubtful, False)
        if not pc.any(doubtful).as_py():
            return documents
        return pc.replace_with_mask(documents, doubtful, self._one_by_one(documents.filter(doubtful), type))


def _only(values: Any, keep: Any) -> Any:
    """The same values, null where ``keep`` is not true."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(keep, values, pa.scalar(None, values.type))


def _matching(texts: Any, pattern: str | None) -> Any:
    """The same texts, null where they do not match as a whole."""
    import pyarrow.compute as pc

    if pattern is None:
        return texts
    return _only(texts, pc.match_substring_regex(texts, f"^(?:{pattern})$"))


def _contains(texts: Any, *marks: str) -> bool:
    import pyarrow.compute as pc

    return any(pc.any(pc.match_substring(texts, mark)).as_py() for mark in marks)
