"""What a person's typing becomes: the rules of USER_ENTERED, in the spreadsheet's locale."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sync_provider.sandbox.formats import DATE_TYPES
from sync_provider.sandbox.locales import Locale
from sync_provider.sandbox.model import EMPTY, Cell, Scalar, checked_text
from sync_provider.sandbox.serials import to_serial

_TIME = r"(?P<h>\d{1,3}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?P<f>[.,]\d{1,6})?)?(?:\s*(?P<ap>[AaPp])\.?[Mm]\.?)?"
_ISO = r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})"
_DIGITS = r"(?P<a>\d{1,2})(?P<sep>[-/.])(?P<b>\d{1,2})(?:(?P=sep)(?P<c>\d{4}|\d{2}))?"
_NAMED = r"(?:(?P<d1>\d{1,2})(?:er)?[ -](?P<n1>[^\W\d]+\.?)|(?P<n2>[^\W\d]+\.?) (?P<d2>\d{1,2}))(?:(?:, ?| |-)(?P<ny>\d{4}|\d{2}))?"
_CENTURY_SPLIT = 30


class Parsed(NamedTuple):
    """A typed value, and the number format that typing it gives (type and pattern)."""

    value: Scalar
    kind: str = ""
    pattern: str = ""


def raw_cell(old: Cell, value: Any) -> Cell:
    """The cell after a value was written as it is; its format stays."""
    if isinstance(value, str):
        kept: Scalar | None = checked_text(value) or None
    else:
        kept = value if isinstance(value, bool) else float(value)
    # A million blank cells are written at once: making one anew is much faster than replacing parts of the old.
    return Cell(kept) if old is EMPTY else old._replace(value=kept, formula=None)


def entered_cell(old: Cell, value: Any, locale: Locale, today: date) -> Cell:
    """The cell after a person typed the value."""
    if not isinstance(value, str):
        return raw_cell(old, value)
    checked_text(value)
    if old.pattern and old.pattern[0] == "TEXT":
        return old._replace(value=value.removeprefix("'") or None, formula=None)
    if value.startswith("=") and len(value) > 1:
        return old._replace(value=None, formula=value)
    parsed = parse_entry(value, locale, today)
    if not parsed.kind or _fits(old, parsed.kind):
        return old._replace(value=parsed.value if parsed.value != "" else None, formula=None)
    number = {"type": parsed.kind, "pattern": parsed.pattern}
    return old._replace(value=parsed.value, formula=None, format={**(old.format or {}), "numberFormat": number})


def _fits(old: Cell, kind: str) -> bool:
    """Whether the cell's own format already shows such a value."""
    if old.pattern is None:
        return False
    return (old.pattern[0] in DATE_TYPES) == (kind in DATE_TYPES)


def parse_entry(text: str, locale: Locale, today: date) -> Parsed:
    """Read what was typed; text that is nothing else stays text. A leading apostrophe forces text.

    Args:
        text: as typed, no formula.
        locale: of the spreadsheet.
        today: gives the year to dates typed without one.
    """
    if text.startswith("'"):
        return Parsed(text[1:])
    trimmed = text.strip()
    upper = trimmed.upper()
    if upper in {"TRUE", locale.true}:
        return Parsed(True)
    if upper in {"FALSE", locale.false}:
        return Parsed(False)
    return _number(trimmed, locale) or _moment(trimmed, locale, today) or Parsed(text)


def _number(text: str, locale: Locale) -> Parsed | None:
    decimal = re.escape(locale.decimal)
    groups = f"[{re.escape(locale.groups)}]"
    money = f"(?:{re.escape(locale.currency)}|[$€£])"
    match = re.fullmatch(
        rf"(?P<open>\()?(?P<s1>[+-])?\s?(?P<m1>{money})?\s?(?P<s2>[+-])?(?P<n>\d{{1,3}}(?:{groups}\d{{3}})+|\d+|(?={decimal}\d))"
        rf"(?:{decimal}(?P<f>\d*))?(?P<e>[eE][+-]?\d{{1,3}})?\s?(?P<m2>{money})?(?P<p>\s?%)?(?P<close>\))?",
        text,
    )
    if match is None or bool(match["open"]) != bool(match["close"]) or (match["m1"] and match["m2"]):
        return None
    if match["s1"] and (match["s2"] or match["open"]):
        return None
    grouped = re.search(groups, match["n"]) is not None
    fraction = match["f"] or ""
    number = float(f"{re.sub(r'[^0-9]', '', match['n']) or '0'}.{fraction or '0'}{match['e'] or ''}")
    if "-" in {match["s1"], match["s2"]} or match["open"]:
        number = -number
    if number in {float("inf"), float("-inf")}:
        return None
    digits = "#,##0" + (".00" if fraction else "")
    if symbol := match["m1"] or match["m2"]:
        pattern = locale.currency_pattern if symbol == locale.currency else f'"{symbol}"{{}}'
        return Parsed(number, "CURRENCY", pattern.format(digits))
    if match["p"]:
        return Parsed(
            float(f"{number!r}e-2") if "e" not in repr(number) else number / 100,
            "PERCENT",
            "0.00%" if fraction else "0%",
        )
    if match["e"]:
        return Parsed(number, "SCIENTIFIC", "0.00E+00")
    return Parsed(number, "NUMBER", digits) if grouped else Parsed(number)


def _moment(text: str, locale: Locale, today: date) -> Parsed | None:
    if not any(character.isdigit() for character in text):
        return None
    if match := re.fullmatch(_TIME, text):
        fraction = _day_fraction(match)
        return None if fraction is None else Parsed(fraction, "TIME", locale.time)
    for shape in (_ISO, _DIGITS, _NAMED):
        match = re.fullmatch(rf"{shape}(?:,?\s+{_TIME})?", text)
        if match is None:
            continue
        day = _day(match, shape, locale, today)
        if day is None:
            return None
        iso = shape == _ISO and text[4] == "-"
        pattern = "yyyy-mm-dd" if iso else locale.date
        serial = to_serial(datetime(day.year, day.month, day.day))  # noqa: DTZ001
        if match["h"] is None:
            return Parsed(serial, "DATE", pattern)
        fraction = _day_fraction(match)
        if fraction is None or fraction >= 1:
            return None
        return Parsed(serial + fraction, "DATE_TIME", "yyyy-mm-dd hh:mm:ss" if iso else locale.date_time)
    return None


def _day(match: re.Match[str], shape: str, locale: Locale, today: date) -> date | None:
    if shape == _ISO:
        parts = {"y": match["y"], "m": match["m"], "d": match["d"]}
    elif shape == _DIGITS:
        order = locale.order if match["c"] else locale.order.replace("y", "")
        parts = dict(zip(order, (match["a"], match["b"], match["c"]), strict=False))
    else:
        month = _month(match["n1"] or match["n2"], locale)
        if month is None:
            return None
        parts = {"d": match["d1"] or match["d2"], "m": str(month), "y": match["ny"]}
    year = parts.get("y")
    number = int(year) if year else today.year
    if year and len(year) == 2:
        number += 1900 if number >= _CENTURY_SPLIT else 2000
    try:
        return date(number, int(parts["m"]), int(parts["d"]))
    except ValueError:
        return None


def _month(name: str, locale: Locale) -> int | None:
    wanted = name.lower().rstrip(".")
    for number, names in enumerate(zip(locale.months, locale.months_short, strict=True), 1):
        if wanted in {known.lower().rstrip(".") for known in names}:
            return number
    return None


def _day_fraction(match: re.Match[str]) -> float | None:
    hour, minute, second = int(match["h"]), int(match["mi"]), int(match["s"] or 0)
    if minute > 59 or second > 59:
        return None
    if match["ap"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["ap"] in "pP" else 0)
    fraction = float("0." + match["f"][1:]) if match["f"] else 0.0
    return timedelta(hours=hour, minutes=minute, seconds=second + fraction) / timedelta(days=1)
