"""Text as people write numbers, dates and truth values → canonical text (see `connectors.base`). No I/O.

Everything stays text: nothing passes through a float or a date object, so nothing is rounded, and what the conventions do not
cover stays exactly as it was, for the transform to reject with its coordinates. `canonical` works on whole Arrow arrays,
`canonical_text` on one value; a property test holds them equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

SPACES = " \u00a0\u2009\u202f"
"""Space, no-break space, thin space, narrow no-break space: all in use between groups of three digits."""

TRUTH = {
    **dict.fromkeys(("true", "vrai", "oui", "yes", "1"), "true"),
    **dict.fromkeys(("false", "faux", "non", "no", "0"), "false"),
}

_DAY, _MONTH, _YEAR = "(0?[1-9]|[12][0-9]|3[01])", "(0?[1-9]|1[0-2])", "([0-9]{4})"
_PARTS = {"d": _DAY, "m": _MONTH, "y": _YEAR}
_TIME = "([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:[.,]([0-9]+))?)?"
_ZONE = "([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_ZONE_STEPS = (("^([+-][0-9]{2})$", r"\1:00"), ("^([+-][0-9]{2})([0-9]{2})$", r"\1:\2"))
_MIDNIGHT = "(?:[T ]+0?0:00(?::00(?:[.,]0+)?)?)?"
_ISO_DATE = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_MAYBE_NO_DAY = "^[0-9]{4}-(?:02-(?:29|3[01])|(?:04|06|09|11)-31)"
"""Days that no year has, and 29 February."""
_ISO_TIMESTAMP = f"{_ISO_DATE}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?"


def canonical(array: pa.StringArray, type_: LogicalType, decimal: str, date_order: str) -> pa.StringArray:
    """Canonical text of a whole column, as declared by the endpoint. Nulls stay null; the length stays.

    Args:
        array: text as the file holds it.
        type_: declared type of the field.
        decimal: decimal mark, ``.`` or ``,``; spaces and the other mark are thousands separators between groups of three.
        date_order: ``ymd``, ``dmy`` or ``mdy``; a date that starts with a four-digit year is always year, month, day.
    """
    if type_.is_number:
        if _is_plain(array, decimal):
            return array
        if (swapped := _with_point(array, decimal)) is not None:
            return swapped
        return _rewrite(array, number_pattern(decimal, exponent=type_.kind == "double"), None, _number_steps(decimal))
    if type_.kind == "boolean":
        return _by_unique(array, lambda values: _map(values, _truth))
    if type_.kind == "date":
        return _by_unique(array, lambda values: _real_days(values, _dates(values, date_order)))
    if type_.kind == "timestamp":
        return _by_unique(array, lambda values: _real_days(values, _timestamps(values, date_order)))
    return array


def canonical_text(text: str, type_: LogicalType, decimal: str, date_order: str) -> str:
    """Canonical text of one value, by the same rules as `canonical`.

    >>> canonical_text("1 234,50", LogicalType("decimal", 12, 2), ",", "dmy")
    '1234.50'
    """
    if type_.is_number:
        if re.fullmatch(number_pattern(decimal, exponent=type_.kind == "double"), text) is None:
            return text
        for pattern, replacement in _number_steps(decimal):
            text = re.sub(pattern, replacement, text)
        return text
    if type_.kind == "boolean":
        return _truth(text)
    if type_.kind == "date":
        return _real_day(text, _one_date(text, date_order))
    if type_.kind == "timestamp":
        return _real_day(text, _one_timestamp(text, date_order))
    return text


@lru_cache
def number_pattern(decimal: str, *, exponent: bool) -> str:
    """Whole-text pattern (RE2 and Python) of a number written with this decimal mark.

    Thousands are grouped by one kind of separator, in threes, after a first group that does not start with zero: ``0,123``
    with a decimal point is more likely a decimal comma than 123.
    """
    other = "," if decimal == "." else "."
    grouped = "|".join(f"[1-9][0-9]{{0,2}}(?:[{mark}][0-9]{{3}})+" for mark in (SPACES, other))
    power = "(?:[eE][+-]?[0-9]+)?" if exponent else ""
    return f"[{SPACES}]*[+−-]?(?:(?:[0-9]+|{grouped})(?:[{decimal}][0-9]*)?|[{decimal}][0-9]+){power}[{SPACES}]*"


@lru_cache
def _number_steps(decimal: str) -> tuple[tuple[str, str], ...]:
    other = "," if decimal == "." else "."
    return (
        (f"[{SPACES}{other}]", ""),
        ("[,]", "."),
        ("^[+]", ""),
        ("−", "-"),
        ("^(-?)[.]", r"\g<1>0."),
        ("[.]($|[eE])", r"\g<1>"),
    )


def _is_plain(array: pa.StringArray, decimal: str) -> bool:
    """Whether every value is canonical already or no number at all, by looking at bytes only."""
    data, firsts, lasts = _bytes_of(array)
    point = b"." if decimal == "." else b""
    if data.translate(None, b"0123456789-" + point):
        return False
    return not (point in data and (b"-." in data or ord(".") in firsts or ord(".") in lasts)) if point else True


def _with_point(array: pa.StringArray, decimal: str) -> pa.StringArray | None:
    """The usual decimal-comma column, ``-?digits[,digits]``, in one pass; None if some value looks otherwise."""
    import pyarrow.compute as pc

    if decimal != ",":
        return None
    data, firsts, lasts = _bytes_of(array)
    if data.translate(None, b"0123456789-,") or b"-," in data:
        return None
    if data.count(b"-") != firsts.count(b"-") or ord(",") in firsts or ord(",") in lasts:
        return None
    if (pc.max(pc.count_substring(array, ",")).as_py() or 0) > 1:
        return None
    return pc.replace_substring(array, ",", ".")


def _bytes_of(array: pa.StringArray) -> tuple[bytes, bytes, bytes]:
    """All values end to end, the first bytes of the values, and the last ones (empty values have none)."""
    import numpy as np

    if len(array) == 0 or array.buffers()[2] is None:
        return b"", b"", b""
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    start, end = int(offsets[0]), int(offsets[-1])
    data = np.frombuffer(array.buffers()[2], dtype=np.uint8)[start:end]
    filled = offsets[:-1] < offsets[1:]
    firsts, lasts = data[offsets[:-1][filled] - start], data[offsets[1:][filled] - start - 1]
    return data.tobytes(), firsts.tobytes(), lasts.tobytes()


def _rewrite(
    array: pa.StringArray, pattern: str, done: str | None, steps: tuple[tuple[str, str], ...]
) -> pa.StringArray:
    """Apply `steps` to the values that match `pattern` as a whole and are not yet as `done` wants them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pc.match_substring_regex(array, f"^(?:{pattern})$")
    if done is not None:
        wanted = pc.and_(wanted, pc.invert(pc.match_substring_regex(array, f"^(?:{done})$")))
    wanted = pc.fill_null(wanted, False)
    if not pc.any(wanted).as_py():
        return array
    values = array.filter(wanted)
    for expression, replacement in steps:
        values = pc.replace_substring_regex(values, expression, re.sub(r"\\g<(\d)>", r"\\\1", replacement))
    return pa.array(pc.replace_with_mask(array, wanted, values))


def _by_unique(array: pa.StringArray, convert: Callable[[pa.StringArray], pa.StringArray]) -> pa.StringArray:
    """Convert each distinct value once where values repeat, as days and truth values do."""
    encoded = array.dictionary_encode()
    if len(encoded.dictionary) * 2 > len(array):
        return convert(array)
    return convert(encoded.dictionary).take(encoded.indices)


def _map(array: pa.StringArray, convert: Callable[[str], str]) -> pa.StringArray:
    import pyarrow as pa

    return pa.array([None if value is None else convert(value) for value in array.to_pylist()], pa.string())


def _truth(text: str) -> str:
    return TRUTH.get(text.strip(SPACES).lower(), text)


def _orders(date_order: str) -> tuple[str, ...]:
    return (date_order,) if date_order == "ymd" else (date_order, "ymd")


@lru_cache
def _date_pattern(order: str) -> str:
    return "[/.-]".join(_PARTS[part] for part in order)


def _group(order: str, part: str) -> str:
    return f"\\g<{order.index(part) + 1}>"


@lru_cache
def _date_steps(order: str, tail: str) -> tuple[tuple[str, str], ...]:
    """Steps that put a date at the start of the text into ISO order with two-digit parts, whatever `tail` follows."""
    year, month, day = (_group(order, part) for part in "ymd")
    return (
        (f"^[{SPACES}]*{_date_pattern(order)}{tail}[{SPACES}]*$", f"{year}-{month}-{day}"),
        ("^([0-9]{4})-([0-9])-", r"\g<1>-0\g<2>-"),
        ("^([0-9]{4}-[0-9]{2})-([0-9])$", r"\g<1>-0\g<2>"),
    )


def _real_day(text: str, iso: str) -> str:
    """``iso``, unless its day is in no calendar: then the text as it was typed, which a person will look for."""
    if re.match(_MAYBE_NO_DAY, iso):
        try:
            date.fromisoformat(iso[:10])
        except ValueError:
            return text
    return iso


def _real_days(array: pa.StringArray, iso: pa.StringArray) -> pa.StringArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    doubtful = pc.fill_null(pc.match_substring_regex(iso, _MAYBE_NO_DAY), False)
    if not pc.any(doubtful).as_py():
        return iso
    pairs = zip(array.filter(doubtful).to_pylist(), iso.filter(doubtful).to_pylist(), strict=True)
    return pa.array(pc.replace_with_mask(iso, doubtful, pa.array([_real_day(*pair) for pair in pairs], pa.string())))


def _dates(array: pa.StringArray, date_order: str) -> pa.StringArray:
    for order in _orders(date_order):
        pattern = f"[{SPACES}]*{_date_pattern(order)}{_MIDNIGHT}[{SPACES}]*"
        array = _rewrite(array, pattern, _ISO_DATE, _date_steps(order, _MIDNIGHT))
    return array


def _one_date(text: str, date_order: str) -> str:
    for order in _orders(date_order):
        match = re.fullmatch(f"[{SPACES}]*{_date_pattern(order)}{_MIDNIGHT}[{SPACES}]*", text)
        if match:
            return _iso_date(match, order)
    return text


def _iso_date(match: re.Match[str], order: str) -> str:
    year, month, day = (match[order.index(part) + 1] for part in "ymd")
    return f"{year}-{month:0>2}-{day:0>2}"


@lru_cache
def _timestamp_pattern(order: str) -> str:
    return f"[{SPACES}]*{_date_pattern(order)}(?:(?:T|[{SPACES}]+){_TIME}[{SPACES}]*{_ZONE})?[{SPACES}]*"


def _timestamps(array: pa.StringArray, date_order: str) -> pa.StringArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    other = pc.fill_null(pc.invert(pc.match_substring_regex(array, f"^(?:{_ISO_TIMESTAMP})$")), False)
    if not pc.any(other).as_py():
        return array
    values = _timestamp_columns(array.filter(other), date_order)
    return pa.array(pc.replace_with_mask(array, other, values))


def _timestamp_columns(array: pa.StringArray, date_order: str) -> Any:
    """Rewrite timestamps by their parts; RE2 numbers at most nine groups in a replacement, the pattern has eight."""
    import pyarrow as pa
    import pyarrow.compute as pc

    result = array
    for order in _orders(date_order):
        names = [*order, "hour", "minute", "second", "fraction", "zone"]
        pattern = _timestamp_pattern(order)
        for name in names:
            pattern = re.sub(r"\((?!\?)", f"(?P<{name}>", pattern, count=1)
        parts = pc.extract_regex(array, f"^(?:{pattern})$")
        matched = parts.is_valid()
        field = {name: pc.struct_field(parts, name) for name in names}
        fraction = pc.if_else(
            pc.equal(field["fraction"], ""), "", pc.binary_join_element_wise("", field["fraction"], ".")
        )
        zone = pc.utf8_upper(field["zone"])
        for expression, replacement in _ZONE_STEPS:
            zone = pc.replace_substring_regex(zone, expression, replacement)
        text = pc.binary_join_element_wise(
            field["y"], "-", _two(field["m"]), "-", _two(field["d"]), "T",
            _two(field["hour"]), ":", _two(field["minute"]), ":", _two(field["second"]), fraction, zone, "",
        )  # fmt: skip
        result = pc.if_else(pc.fill_null(matched, False), text, result)
    return pa.array(result)


def _two(values: Any) -> Any:
    import pyarrow.compute as pc

    return pc.utf8_lpad(values, 2, "0")


def _one_timestamp(text: str, date_order: str) -> str:
    if re.fullmatch(_ISO_TIMESTAMP, text):
        return text
    for order in _orders(date_order):
        if match := re.fullmatch(_timestamp_pattern(order), text):
            hour, minute, second, fraction, zone = match.groups(default="")[3:]
            zone = zone.upper()
            for expression, replacement in _ZONE_STEPS:
                zone = re.sub(expression, replacement, zone)
            time = f"{hour:0>2}:{minute:0>2}:{second:0>2}" + (f".{fraction}" if fraction else "")
            return f"{_iso_date(match, order)}T{time}{zone}"
    return text
