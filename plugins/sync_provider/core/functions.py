"""The functions that expressions may call, and a bound on what each call can produce. No I/O.

An allow-list: what is not here is refused. DuckDB's memory limit does not bound one expression (`repeat('a', 3000000000)`
took 5.9 GB under `memory_limit=200MB`), so growth is bounded here, before anything runs: every value that an expression
computes is at most ``factor`` times the size of its record plus ``constant`` bytes. Arguments that decide growth, patterns
and formats must be literals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sync_provider.core.macros import MACROS, NUMBER_STYLES

MAX_FACTOR = 64
MAX_CONSTANT = 65_536
_SLACK = 64  # bytes that a number, date or boolean takes as text


class Growth(NamedTuple):
    """A value of at most ``factor`` × size of the record + ``constant`` bytes."""

    factor: float
    constant: float


Literals = Sequence[str | None]
"""Text of each argument that is a literal; None for any other argument."""

Check = Callable[[str, Literals], str | None]
"""Why a literal is refused, or None; sees the other literals of the call too."""


@dataclass(frozen=True, slots=True)
class Function:
    """How a function may be called.

    Args:
        arguments: fewest and most arguments.
        literals: position → check, for arguments that must be literals.
        growth: bound on the result, from the bounds and literals of the arguments.
        copies: how often the most repeated argument stands in the definition (1 unless it is a macro).
    """

    arguments: tuple[int, int] = (1, 9)
    literals: Mapping[int, Check] = field(default_factory=dict)
    growth: Callable[[Sequence[Growth], Literals], Growth] = lambda args, _literals: total(args)
    copies: int = 1


def total(args: Sequence[Growth]) -> Growth:
    """All arguments end to end."""
    return Growth(sum(a.factor for a in args), sum(a.constant for a in args) + _SLACK)


def largest(args: Sequence[Growth]) -> Growth:
    """Any one of the arguments."""
    return Growth(max((a.factor for a in args), default=0), max((a.constant for a in args), default=0))


def scaled(arg: Growth, by: float) -> Growth:
    """The argument, ``by`` times as large."""
    return Growth(arg.factor * by, arg.constant * by + _SLACK)


def _times(by: float) -> Callable[[Sequence[Growth], Literals], Growth]:
    return lambda args, _: scaled(total(args), by)


def _repeat(args: Sequence[Growth], literals: Literals) -> Growth:
    return scaled(args[0], int(literals[1] or 0))


def _pad(_args: Sequence[Growth], literals: Literals) -> Growth:
    return Growth(0, 4 * int(literals[1] or 0))


def _replace(args: Sequence[Growth], literals: Literals) -> Growth:
    old, new = ((literals[i] or "").encode() for i in (1, 2))
    return scaled(args[0], max(1.0, len(new) / max(1, len(old))))


def _regexp_replace(args: Sequence[Growth], literals: Literals) -> Growth:
    return scaled(args[0], 1 + len((literals[2] or "").encode()))


def _join(args: Sequence[Growth], literals: Literals) -> Growth:
    return scaled(args[0], 1 + len((literals[1] or "").encode()))


def _dated(_args: Sequence[Growth], literals: Literals) -> Growth:
    return Growth(0, 32 * max(len(text or "") for text in literals))


def _whole(most: int) -> Check:
    def check(text: str, _literals: Literals) -> str | None:
        whole = text.isascii() and text.isdecimal() and len(text) < 9 and int(text) <= most
        return None if whole else f"must be a whole number from 0 to {most}"

    return check


def _any_text(_text: str, _literals: Literals) -> str | None:
    return None


def _json_path(text: str, _literals: Literals) -> str | None:
    return "must not hold * or .. (they multiply)" if "*" in text or ".." in text else None


def _pattern(text: str, _literals: Literals) -> str | None:
    return "is longer than 500 characters" if len(text) > 500 else None


def _number_style(text: str, _literals: Literals) -> str | None:
    return None if text in NUMBER_STYLES else f"must be one of {', '.join(map(repr, NUMBER_STYLES))}"


_DIRECTIVE = re.compile(r"%(-?[a-zA-Z%])")
_DIRECTIVES = frozenset(
    [
        "d",
        "-d",
        "m",
        "-m",
        "b",
        "B",
        "y",
        "-y",
        "Y",
        "H",
        "-H",
        "I",
        "-I",
        "M",
        "-M",
        "S",
        "-S",
        "f",
        "p",
        "z",
        "j",
        "-j",
        "a",
        "A",
        "%",
    ]
)


def _directives(text: str) -> set[str]:
    return {name.lstrip("-") for name in _DIRECTIVE.findall(text)}


def _time_format(text: str, _literals: Literals) -> str | None:
    """A format that names a whole date: what it left out would silently become 1 January 1900."""
    unknown = [name for name in _DIRECTIVE.findall(text) if name not in _DIRECTIVES]
    if unknown or "%" in _DIRECTIVE.sub("", text):
        return f"holds %{''.join(unknown[:1])}, which is no directive; use %d %m %Y %y %b %B %H %I %M %S %f %p %z %j"
    names = _directives(text)
    if not names & {"Y", "y"} or not ("j" in names or ("d" in names and names & {"m", "b", "B"})):
        return "must name the day, the month and the year, such as %d/%m/%Y"
    if "I" in names and "p" not in names:
        return "holds %I (1 to 12) without %p (AM, PM)"
    return None


def _date_format(text: str, literals: Literals) -> str | None:
    if _directives(text) & set("HIMSfpz"):
        return "holds a time of day, which a date would lose; use parse_timestamp"
    return _time_format(text, literals)


def _zone_name(text: str, literals: Literals) -> str | None:
    if "z" in _directives(literals[1] or ""):
        return "cannot be given where the format reads an offset (%z)"
    return None if re.fullmatch(r"[A-Za-z0-9_+/-]{1,64}", text) else "must be a time zone such as 'Europe/Paris'"


_PATTERN = {1: _pattern}
_UNIT = {0: _any_text}

FUNCTIONS: dict[str, Function] = {
    # Operators, by the names the parser gives them.
    **dict.fromkeys(("+", "-", "*", "/", "//", "%", "**", "^", "@", "||"), Function((1, 2))),
    **dict.fromkeys(("~~", "!~~", "~~*", "!~~*", "^@"), Function((2, 2))),
    # Text.
    **dict.fromkeys(("lower", "upper", "lcase", "ucase"), Function((1, 1), growth=_times(1.5))),
    **dict.fromkeys(("trim", "ltrim", "rtrim", "substring", "substr", "left", "right"), Function((1, 3), growth=lambda a, _: largest(a))),
    **dict.fromkeys(("length", "len", "strlen", "reverse", "strip_accents", "nfc_normalize", "md5", "sha256", "ascii", "unicode"), Function((1, 1))),
    **dict.fromkeys(("concat", "concat_ws"), Function((1, 32))),
    **dict.fromkeys(("contains", "starts_with", "ends_with", "prefix", "suffix", "instr", "strpos", "position"), Function((2, 2))),
    "chr": Function((1, 1), {0: _whole(0x10FFFF)}),
    "translate": Function((3, 3), {1: _any_text, 2: _any_text}, growth=_times(4)),
    "replace": Function((3, 3), {1: _any_text, 2: _any_text}, growth=_replace),
    "repeat": Function((2, 2), {1: _whole(1000)}, growth=_repeat),
    **dict.fromkeys(("lpad", "rpad"), Function((3, 3), {1: _whole(1000), 2: _any_text}, growth=_pad)),
    "split_part": Function((3, 3), {1: _any_text}, copies=3),
    **dict.fromkeys(("regexp_matches", "regexp_full_match"), Function((2, 3), {**_PATTERN, 2: _any_text})),
    "regexp_extract": Function((2, 4), {**_PATTERN, 2: _whole(9), 3: _any_text}),
    "regexp_replace": Function((3, 4), {**_PATTERN, 2: _any_text, 3: _any_text}, growth=_regexp_replace),
    # Lists, as pieces of a text.
    **dict.fromkeys(("string_split", "str_split", "split"), Function((2, 2), {1: _any_text}, growth=_times(17))),
    "list_value": Function((1, 200), growth=_times(1)),
    **dict.fromkeys(("list_contains", "list_has", "list_extract", "array_extract", "list_element", "array_length"), Function((1, 2))),
    **dict.fromkeys(("list_sort", "list_distinct"), Function((1, 1))),
    "array_to_string": Function((2, 2), {1: _any_text}, growth=_join, copies=2),
    # Choices.
    "nullif": Function((2, 2), growth=lambda a, _: largest(a), copies=2),
    "if": Function((3, 3), growth=lambda a, _: largest(a)),
    **dict.fromkeys(("greatest", "least"), Function((1, 32), growth=lambda a, _: largest(a))),
    # Numbers.
    **dict.fromkeys(("abs", "ceil", "ceiling", "floor", "sign", "sqrt", "exp", "ln", "log10", "isnan", "isfinite"), Function((1, 1))),
    **dict.fromkeys(("round", "round_even", "trunc", "mod", "pow", "power", "log", "gcd", "lcm"), Function((1, 2))),
    # Dates and times.
    **dict.fromkeys(("year", "month", "day", "hour", "minute", "second", "quarter", "week", "isodow", "dayofweek", "dayofyear", "isoyear", "last_day", "epoch", "monthname", "dayname"), Function((1, 1))),
    "days_in_month": Function((1, 1)),
    **dict.fromkeys(("date_part", "datepart", "date_trunc", "datetrunc"), Function((2, 2), _UNIT)),
    **dict.fromkeys(("date_diff", "datediff", "date_sub", "datesub"), Function((3, 3), _UNIT)),
    "date_add": Function((2, 2)),
    "strftime": Function((2, 2), {1: _any_text}, growth=_dated),
    **dict.fromkeys(("strptime", "try_strptime"), Function((2, 2), {1: _time_format})),
    "make_date": Function((3, 3)),
    "make_timestamp": Function((6, 6)),
    "epoch_ms": Function((1, 1)),
    **dict.fromkeys(("to_years", "to_quarters", "to_months", "to_weeks", "to_days", "to_hours", "to_minutes", "to_seconds", "to_milliseconds"), Function((1, 1))),
    # JSON.
    **dict.fromkeys(("->>", "json_extract", "json_extract_string", "json_exists"), Function((2, 2), {1: _json_path})),
    **dict.fromkeys(("json_valid", "json_type", "json_array_length"), Function((1, 1))),
    **dict.fromkeys(("to_json", "json_quote", "json_object", "json_array"), Function((1, 64), growth=_times(6))),
    # Our own: see core.macros.
    "parse_number": Function((2, 2), {1: _number_style}, growth=_dated, copies=MACROS["parse_number"].copies),
    "parse_date": Function((2, 2), {1: _date_format}, growth=_dated, copies=MACROS["parse_date"].copies),
    "parse_timestamp": Function((2, 3), {1: _time_format, 2: _zone_name}, growth=_dated, copies=MACROS["parse_timestamp"].copies),
    "parse_boolean": Function((3, 3), {1: _any_text, 2: _any_text}, growth=_dated, copies=MACROS["parse_boolean"].copies),
    "slug": Function((1, 1), growth=_times(2), copies=MACROS["slug"].copies),
    "title": Function((1, 1), growth=_times(34), copies=MACROS["title"].copies),
    **dict.fromkeys(("clean_spaces", "empty_to_null", "digits"), Function((1, 1), copies=MACROS["empty_to_null"].copies)),
}  # fmt: skip

# Why well-known functions are missing; anything else is just not on the list.
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("count", "count_star", "sum", "avg", "min", "max", "string_agg", "list", "array_agg", "first", "last", "median", "mode", "any_value"),
        "it looks at many records; an expression sees one",
    ),
    **dict.fromkeys(
        ("random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "setseed", "nextval", "currval"),
        "it gives something else each time, so nothing could be compared",
    ),
    **dict.fromkeys(
        ("now", "today", "current_date", "current_time", "current_timestamp", "get_current_timestamp", "get_current_time", "localtime", "localtimestamp", "transaction_timestamp", "age", "ago"),
        "it depends on when the run takes place",
    ),
    **dict.fromkeys(
        ("current_user", "user", "session_user", "current_role", "current_schema", "current_catalog", "current_database", "current_setting", "getenv", "getvariable", "variable", "version"),
        "it depends on where the run takes place",
    ),
    **dict.fromkeys(
        ("read_csv", "read_csv_auto", "read_parquet", "read_json", "read_json_auto", "read_text", "read_blob", "parquet_scan", "glob", "query", "query_table"),
        "expressions read nothing but their record",
    ),
    **dict.fromkeys(("error", "assert_true"), "use a validation rule, which names the record"),
    **dict.fromkeys(("timezone", "to_timestamp", "make_timestamptz"), "it shifts times that clocks skip or show twice; use parse_timestamp, or the mapping's timezone"),
    **dict.fromkeys(("range", "generate_series", "format", "printf"), "its result has no bound"),
    "row": "write one expression, not several",
    "unnest": "one record stays one record",
}  # fmt: skip
