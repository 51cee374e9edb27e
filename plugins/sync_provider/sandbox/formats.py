"""How a number looks under a pattern, in a locale."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

from sync_provider.sandbox.locales import Locale
from sync_provider.sandbox.serials import from_serial

DATE_TYPES = frozenset({"DATE", "TIME", "DATE_TIME"})
_DATE_TOKEN = re.compile(
    r"""\[[hms]+\]|am/pm|AM/PM|a/p|A/P|y+|Y+|M+|m+|d+|D+|h+|H+|s+|S+(?:\.0+)?|\.0+|"[^"]*"|\\.|\[[^\]]*\]|.""",
    re.DOTALL,
)
_NUMBER_TOKEN = re.compile(
    r""""[^"]*"|\\.|_.|\*.|\[\$([^\]-]*)(?:-[^\]]*)?\]|\[[^\]]*\]|[0#?][0#?,]*(?:\.[0#?]*)?|\.[0#?]+|[eE][+-]0+|.""",
    re.DOTALL,
)
_BIG = 1e15


def plain_number(number: float, locale: Locale) -> str:
    """A number in a cell without a format.

    >>> plain_number(0.1 + 0.2, find_locale("en_US"))
    '0.3'
    """
    if number != 0 and (abs(number) >= _BIG or abs(number) < 1e-9):
        mantissa, _, exponent = f"{number:.5E}".partition("E")
        mantissa = mantissa.rstrip("0").rstrip(".")
        mantissa = mantissa if "." in mantissa else f"{mantissa}.00"
        text = f"{mantissa}E{exponent}"
    elif float(number).is_integer():
        text = str(int(number))
    else:
        digits = max(10 - len(str(abs(int(number)))), 0) if abs(number) >= 1 else 10
        text = f"{number:.{digits}f}".rstrip("0").rstrip(".")
    return text.replace(".", locale.decimal)


def format_number(number: float, kind: str, pattern: str, locale: Locale) -> str:
    """A number under a number format.

    Args:
        number: the value; a serial for dates.
        kind: NumberFormat type.
        pattern: its pattern; empty for the locale's own.
        locale: of the spreadsheet.
    """
    if kind == "TEXT" or pattern == "@":
        return plain_number(number, locale)
    pattern = pattern or _default(kind, locale)
    if not pattern:
        return plain_number(number, locale)
    if kind in DATE_TYPES:
        moment = from_serial(number)
        return _date(moment, number, pattern, locale) if moment else plain_number(number, locale)
    return _number(number, pattern, locale)


def default_pattern(kind: str, locale: Locale) -> str:
    """The pattern that a number format without one stands for."""
    return _default(kind, locale)


def _default(kind: str, locale: Locale) -> str:
    return {
        "DATE": locale.date,
        "TIME": locale.time,
        "DATE_TIME": locale.date_time,
        "PERCENT": "0.00%",
        "SCIENTIFIC": "0.00E+00",
        "CURRENCY": locale.currency_pattern.format("#,##0.00"),
        "NUMBER": "#,##0.00",
    }.get(kind, "")


def _date(moment: datetime, serial: float, pattern: str, locale: Locale) -> str:
    tokens = _DATE_TOKEN.findall(pattern)
    lowered = [token.lower() for token in tokens]
    twelve = any(token in {"am/pm", "a/p"} for token in lowered)
    return "".join(
        _date_part(token, _minutes(lowered, number), moment, serial, locale, twelve=twelve)
        for number, token in enumerate(tokens)
    )


def _minutes(tokens: list[str], number: int) -> bool:
    """Whether an ``m`` is minutes: right after hours, or right before seconds."""
    if not tokens[number].startswith("m"):
        return False
    words = [(at, token[0].strip("[")) for at, token in enumerate(tokens) if token[0] in "ymdhs["]
    place = next(index for index, (at, _) in enumerate(words) if at == number)
    before = words[place - 1][1] if place else ""
    after = words[place + 1][1] if place + 1 < len(words) else ""
    return tokens[words[place - 1][0]].strip("[").startswith("h") if before in {"h", ""} and place else after == "s"


def _date_part(token: str, minutes: bool, moment: datetime, serial: float, locale: Locale, *, twelve: bool) -> str:  # noqa: C901
    width, letter = len(token), token[0].lower()
    lower = token.lower()
    if lower in {"am/pm", "a/p"}:
        text = "AM" if moment.hour < 12 else "PM"
        return text if lower == "am/pm" else text[0]
    if lower.startswith("[h"):
        return str(int(serial * 24 + 1e-9)).zfill(width - 2)
    if token[0] in '"\\[':
        return token.strip('"').removeprefix("\\") if token[0] != "[" else ""
    if letter == "y":
        return f"{moment.year % 100:02}" if width <= 2 else f"{moment.year:04}"
    if letter == "m" and minutes:
        return f"{moment.minute:0{width}}"
    if letter == "m":
        names = {3: locale.months_short, 4: locale.months}
        if width in names:
            return names[width][moment.month - 1]
        return locale.months[moment.month - 1][0].upper() if width > 4 else f"{moment.month:0{width}}"
    if letter == "d":
        if width <= 2:
            return f"{moment.day:0{width}}"
        return (locale.days_short if width == 3 else locale.days)[moment.weekday()]
    if letter == "h":
        hour = (moment.hour % 12 or 12) if twelve else moment.hour
        return f"{hour:0{width}}"
    if letter == "s":
        whole, _, fraction = token.partition(".")
        text = f"{moment.second:0{len(whole)}}"
        return text + (locale.decimal + f"{moment.microsecond:06}"[: len(fraction)] if fraction else "")
    if letter == "." and width > 1:
        return locale.decimal + f"{moment.microsecond:06}"[: width - 1]
    return token


@lru_cache(maxsize=256)
def _sections(pattern: str) -> tuple[str, ...]:
    return tuple(re.findall(r'((?:"[^"]*"|\\.|[^;"\\])*)(?:;|$)', pattern))[: pattern.count(";") + 1]


def _number(number: float, pattern: str, locale: Locale) -> str:
    sections = _sections(pattern)
    section = sections[0]
    if number < 0 and len(sections) > 1:
        section, number = sections[1], -number
    elif number == 0 and len(sections) > 2:
        section = sections[2]
    sign = "-" if number < 0 else ""
    amount = Decimal(repr(abs(number)))
    tokens = [match[0] for match in _NUMBER_TOKEN.finditer(section)]
    amount *= Decimal(100) ** tokens.count("%")
    scientific = next((token for token in tokens if re.fullmatch(r"[eE][+-]0+", token)), None)
    exponent = 0
    if scientific and amount:
        exponent = amount.adjusted()
        amount = amount.scaleb(-exponent)
    out, shown = [], False
    for token in tokens:
        if re.match(r"[0#?]|\.[0#?]", token):
            out.append("" if shown else _digits(amount, token, locale))
            shown = True
        elif token == scientific:
            out.append(f"E{'-' if exponent < 0 else '+'}{abs(exponent):0{len(token) - 2}}")
        else:
            out.append(_literal(token))
    text = "".join(out)
    return sign + text if re.search(r"[1-9]", text) or not shown else text


def _literal(token: str) -> str:
    if token[0] == '"':
        return token[1:-1]
    if token[0] == "\\":
        return token[1:]
    if token[0] == "_" and len(token) > 1:
        return " "
    if token.startswith("[$"):
        return token[2:-1].rsplit("-", 1)[0]
    return "" if token[0] in "[*" and len(token) > 1 else token


def _digits(amount: Decimal, token: str, locale: Locale) -> str:
    whole_pattern, _, fraction_pattern = token.partition(".")
    grouped = "," in whole_pattern.rstrip(",")
    amount = amount.scaleb(-3 * (len(whole_pattern) - len(whole_pattern.rstrip(","))))
    rounded = amount.quantize(Decimal(1).scaleb(-len(fraction_pattern)), ROUND_HALF_UP)
    whole, _, fraction = f"{rounded:f}".partition(".")
    least = whole_pattern.count("0")
    whole = whole.lstrip("0").zfill(least) if least else whole.lstrip("0")
    if grouped:
        whole = re.sub(r"(?<=\d)(?=(?:\d{3})+$)", locale.group, whole)
    optional = len(fraction_pattern) - len(fraction_pattern.rstrip("#?"))
    kept = len(fraction_pattern) - optional
    fraction = fraction[:kept] + fraction[kept:].rstrip("0")
    return whole + (locale.decimal + fraction if fraction else "")
