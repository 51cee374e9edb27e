"""Canonical text of values: the one grammar in which connectors hand text over, and what each text means. No I/O.

`read_text` is the definition. The vectorised conversions of `engine.casts` must agree with it on every text, and use
it for the rare values they cannot decide and to say why a value was refused.

Numbers have no exponent unless they are doubles: ``1.23457E+17`` in a column of integers is what a spreadsheet leaves of
a longer number, whose digits are gone.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sync_provider.core.schema import MAX_PRECISION, LogicalType

INTEGER = r"[+-]?[0-9]+(\.0*)?"
DECIMAL = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"
DOUBLE = DECIMAL + r"([eE][+-]?[0-9]+)?"
DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
TIME = r"([01][0-9]|2[0-3])(:[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?)?"
OFFSET = r"(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)"
ZONE = r"\[[A-Za-z0-9_+/-]{1,64}\]"

# Deeper documents exhaust the stack of readers that recurse, Python's and PostgreSQL's among them.
MAX_JSON_DEPTH = 200

_INTEGER = re.compile(INTEGER)
_DECIMAL = re.compile(DECIMAL)
_DOUBLE = re.compile(DOUBLE)
_DATE = re.compile(DATE)
_TIMESTAMP = re.compile(rf"(?P<date>{DATE})([T ](?P<time>{TIME})(?P<offset>{OFFSET})?)?(?P<zone>{ZONE})?")
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


def read_text(text: str, type: LogicalType, zone: tzinfo) -> Any:  # noqa: A002 - the word of the mapping
    """The value that a canonical text means.

    Args:
        text: any text; empty means null for every type but ``string``.
        type: the declared type.
        zone: the zone of timestamps that name none.

    Returns:
        None, str, int, Decimal, float, bool, date, or a datetime in UTC.

    Raises:
        ValueError: the text is no such value; the error's text says why in a few words, or is empty where nothing
            more helpful than "is not a …" can be said. It never holds the text.
    """
    if type.kind == "string":
        return text
    if text == "":
        return None
    match type.kind:
        case "integer":
            return _read_integer(text)
        case "decimal":
            return _read_decimal(text, type.precision or MAX_PRECISION, type.scale or 0)
        case "double":
            return _read_double(text)
        case "boolean":
            return _read_boolean(text)
        case "date":
            return _read_date(text)
        case "timestamp":
            return _read_timestamp(text, zone)
        case _:
            return _read_json(text)


def write_text(value: Any) -> str:
    """The canonical text of one value; `read_text` gives the value back. Instants are written in UTC.

    >>> write_text(datetime(2025, 1, 31, 12, 0, 0, 500000, tzinfo=UTC))
    '2025-01-31T12:00:00.5Z'
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f") if math.isfinite(value) else repr(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        local = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        text = local.isoformat()
        text = text.rstrip("0") if local.microsecond else text
        return text if value.tzinfo is None else f"{text}Z"
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _read_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        if _DECIMAL.fullmatch(text):
            raise ValueError("it has digits after the point")
        raise ValueError(_exponent_reason(text))
    sign = "-" if text[0] == "-" else ""
    digits = text.partition(".")[0].lstrip("+-").lstrip("0") or "0"
    if len(digits) > 19 or not -(2**63) <= int(sign + digits) < 2**63:
        raise ValueError("it is beyond 64 bits")
    return int(sign + digits)


def _read_decimal(text: str, precision: int, scale: int) -> Decimal:
    if not _DECIMAL.fullmatch(text):
        raise ValueError(_exponent_reason(text))
    sign = "-" if text[0] == "-" else ""
    whole, _, fraction = text.lstrip("+-").partition(".")
    whole, fraction = whole.lstrip("0"), fraction.rstrip("0")
    if len(fraction) > scale:
        raise ValueError(f"it has more than {scale} digits after the point")
    if len(whole) > precision - scale:
        raise ValueError(f"it has more than {precision - scale} digits before the point")
    return Decimal(f"{sign}{whole or 0}.{fraction.ljust(scale, '0')}" if scale else f"{sign}{whole or 0}")


def _exponent_reason(text: str) -> str:
    return "numbers with an exponent may have lost digits" if _DOUBLE.fullmatch(text) else ""


def _read_double(text: str) -> float:
    if not _DOUBLE.fullmatch(text):
        raise ValueError
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("it is beyond the range of doubles")
    return number


def _read_boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("write true or false")
    return text == "true"


def _read_date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError("dates are days of the calendar, written 2024-12-31 or as date_order says")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("the calendar has no such day") from None


def _read_timestamp(text: str, zone: tzinfo) -> datetime:
    match = _TIMESTAMP.fullmatch(text)
    if match is None or (match["offset"] and match["zone"]):
        raise ValueError("timestamps are written 2024-12-31T23:59:59, with Z or an offset such as +01:00 where known")
    time, fraction = match["time"] or "00:00", ""
    if "." in time:
        time, _, fraction = time.partition(".")
        fraction = fraction.rstrip("0")
        if len(fraction) > 6:
            raise ValueError("it has more than 6 digits after the seconds")
    try:
        local = datetime.fromisoformat(f"{match['date']}T{time}").replace(microsecond=int(fraction.ljust(6, "0")))
    except ValueError:
        raise ValueError("the calendar has no such day") from None
    if match["offset"]:
        return _within_calendar(local, _offset(match["offset"]))
    return to_instant(local, named_zone(match["zone"][1:-1]) if match["zone"] else zone)


def _offset(text: str) -> timedelta:
    if text == "Z":
        return timedelta(0)
    digits = text[1:].replace(":", "").ljust(4, "0")
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -size if text[0] == "-" else size


@lru_cache(maxsize=64)
def named_zone(name: str) -> tzinfo:
    """The time zone of an IANA name.

    Raises:
        ValueError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name} is no time zone") from None


def to_instant(local: datetime, zone: tzinfo) -> datetime:
    """The instant, in UTC, at which clocks in ``zone`` show ``local`` (which has no zone).

    Raises:
        ValueError: they never show it (clocks went forward), or show it twice (clocks went back).
    """
    try:
        first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    except OverflowError:
        raise ValueError("it is outside the years 1 to 9999") from None
    first, second = first or timedelta(0), second or timedelta(0)
    if first < second:
        raise ValueError(f"clocks in {zone} skip this time")
    if first > second:
        raise ValueError(f"clocks in {zone} show this time twice; add an offset such as +01:00")
    return _within_calendar(local, first)


def _within_calendar(local: datetime, offset: timedelta) -> datetime:
    try:
        return (local - offset).replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("it is outside the years 1 to 9999") from None


def _read_json(text: str) -> str:
    nesting = deepest = 0
    for mark in re.findall(r"[\[{\]}]", _JSON_STRING.sub("", text)) if _may_nest(text) else ():
        nesting += 1 if mark in "[{" else -1
        deepest = max(deepest, nesting)
    if deepest > MAX_JSON_DEPTH:
        raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} levels deep")
    try:
        # Numbers stay text: their size must cost nothing.
        json.loads(text, parse_constant=_no_constant, parse_int=str, parse_float=str)
        text.encode("utf-8")
        _no_lone_surrogates(text)
    except ValueError:
        raise ValueError from None
    return text


def _may_nest(text: str) -> bool:
    return text.count("[") + text.count("{") > MAX_JSON_DEPTH


def _no_constant(name: str) -> None:
    raise ValueError(name)


_SURROGATES = re.compile(r"(?<!\\)(?:\\\\)*\\u[dD]([89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|[c-fC-F][0-9a-fA-F]{2})")
_PAIRS = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


def _no_lone_surrogates(text: str) -> None:
    # Half a surrogate pair is no character: no database would store it.
    if "\\u" in text and _SURROGATES.search(_PAIRS.sub("", text)):
        raise ValueError
