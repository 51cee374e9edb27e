"""Types, decimal mark and date order of columns of text, from every value of the sample. No I/O.

A column gets a type other than ``string`` only if all its values have it: ``string`` is never wrong. What stood in the way is said.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.files.inspect_encoding import Finding
from sync_provider.connectors.files.text_values import SPACES, TRUTH, number_pattern

if TYPE_CHECKING:
    import pyarrow as pa

NULL_TEXTS = (
    "NULL",
    "null",
    "Null",
    r"\N",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "None",
    "none",
    "nan",
    "NaN",
    "-",
    "--",
    "?",
    "(null)",
)
_DATE = re.compile(r"([0-9]{1,4})([/.-])([0-9]{1,2})\2([0-9]{1,4})")
_DATE_SHAPE = r"[0-9]{1,4}[/.-][0-9]{1,2}[/.-][0-9]{1,4}"
_SHORT_YEAR = r"[0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{1,2}"
_TIME_SHAPE = r"(?:T| +)[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?: ?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?))?"
_TIMED = f"[{SPACES}]*{_DATE_SHAPE}(?:{_TIME_SHAPE})?[{SPACES}]*"
_NUMBER_LIKE = f"[{SPACES}]*[+−-]?[0-9.,][0-9{SPACES}.,]*(?:[eE][+-]?[0-9]+)?"
_CODE = rf"\+[0-9{SPACES}]{{7,}}|-?0[0-9]+|-?[0-9]{{16,}}"
_NEARLY, _ALL_BUT = 0.9, 0.99
_CLEARLY = 10
_MAX_MONEY_SCALE = 10
_MAX_PRECISION = 38


@dataclass(frozen=True, slots=True)
class ColumnFinding:
    """One column: its name, type as a mapping declares it, how sure that is and why."""

    name: str
    type: str
    confidence: float
    why: str

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "confidence": round(self.confidence, 2), "why": self.why}


@dataclass(frozen=True, slots=True)
class Types:
    """What the values of a file say together."""

    columns: list[ColumnFinding]
    decimal: Finding
    date_order: Finding
    null_values: Finding
    ambiguities: list[str]
    notes: list[str]


class _Column:
    """One column's distinct values, nulls and texts that mean null left out, with the line of each value's first record."""

    def __init__(self, name: str, array: pa.Array, lines: pa.Array, nulls: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.name = name
        kept = pc.and_(pc.is_valid(array), pc.not_equal(array, ""))
        kept = pc.and_(kept, pc.invert(pc.is_in(array, value_set=pa.array(nulls, pa.string()))))
        self.values = array.filter(kept)
        self.lines = lines.filter(kept)
        self.distinct = pc.unique(self.values)

    def __bool__(self) -> bool:
        return len(self.values) > 0

    def share(self, pattern: str) -> float:
        """Share of the values that match as a whole."""
        import pyarrow.compute as pc

        return float(pc.mean(pc.match_substring_regex(self.values, f"^(?:{pattern})$").cast("int8")).as_py() or 0.0)

    def all(self, pattern: str) -> bool:
        import pyarrow.compute as pc

        return bool(self) and bool(pc.all(pc.match_substring_regex(self.distinct, f"^(?:{pattern})$")).as_py())

    def some(self, pattern: str) -> str | None:
        """A value that matches as a whole."""
        import pyarrow.compute as pc

        found = self.distinct.filter(pc.match_substring_regex(self.distinct, f"^(?:{pattern})$"))
        return found[0].as_py() if len(found) else None

    def matching(self, pattern: str, other: str) -> Any:
        """Distinct values that match the one pattern as a whole and not the other."""
        import pyarrow.compute as pc

        fits = pc.match_substring_regex(self.distinct, f"^(?:{pattern})$")
        return self.distinct.filter(pc.and_not(fits, pc.match_substring_regex(self.distinct, f"^(?:{other})$")))

    def date_orders(self) -> list[str]:
        """Orders in which the values are days of the calendar: all of them, or else nearly all in one order only."""
        texts = self.matching(_TIMED, "x").to_pylist()
        shares = {order: sum(_is_day(text, order) for text in texts) / len(texts) for order in ("ymd", "dmy", "mdy")}
        whole = [order for order, share in shares.items() if share == 1.0]
        nearly = [order for order, share in shares.items() if share >= _NEARLY]
        return whole or (nearly if len(nearly) == 1 else [])

    def first_unlike(self, pattern: str) -> tuple[str, int]:
        """The first value that does not match, and its line."""
        import pyarrow.compute as pc

        unlike = pc.invert(pc.match_substring_regex(self.values, f"^(?:{pattern})$"))
        at = pc.index(unlike, True).as_py()
        return self.values[at].as_py(), self.lines[at].as_py()


def find_types(
    names: Sequence[str], arrays: Sequence[pa.Array], lines: pa.Array, *, null_texts: bool = True, place: str = "line"
) -> Types:
    """Types and conventions of columns of text.

    Args:
        names: column names.
        arrays: one string array for each; null where nothing stands.
        lines: line of the file of each record.
        null_texts: whether the endpoint can be told which texts mean null.
        place: what ``lines`` counts.
    """
    nulls = _null_texts(arrays) if null_texts else []
    columns = [_Column(name, array, lines, nulls) for name, array in zip(names, arrays, strict=True)]
    decimal, doubts = _decimal(columns)
    order, order_doubts = _date_order(columns)
    doubts += order_doubts
    notes: list[str] = []
    found = [_type(column, decimal.value, order.value, doubts, notes, place) for column in columns]
    why = f"{', '.join(map(repr, nulls))} among values of another kind" if nulls else "no text stands for null"
    return Types(found, decimal, order, Finding(nulls, 0.8 if nulls else 0.9, why), doubts, notes)


def find_number_type(name: str, numbers: pa.Array) -> ColumnFinding:
    """The type of a column of numbers, given as canonical text."""
    import pyarrow as pa

    column = _Column(name, numbers, pa.nulls(len(numbers), pa.int64()), ())
    return _number(column, ".", [], "row") or ColumnFinding(name, "string", 0.5, "numbers of many kinds")


def _null_texts(arrays: Sequence[pa.Array]) -> list[str]:
    """Texts that stand for null: in some column all other values are numbers or dates."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = []
    for array in arrays:
        distinct = pc.unique(array.filter(pc.fill_null(pc.not_equal(array, ""), False)))
        among = pc.is_in(distinct, value_set=pa.array(NULL_TEXTS))
        if not pc.any(among).as_py() or pc.all(among).as_py():
            continue
        others = distinct.filter(pc.invert(among))
        shapes = (
            number_pattern(".", exponent=True),
            number_pattern(",", exponent=True),
            f"{_DATE_SHAPE}(?:{_TIME_SHAPE})?",
        )
        if any(pc.all(pc.match_substring_regex(others, f"^(?:{shape})$")).as_py() for shape in shapes):
            found += distinct.filter(among).to_pylist()
    return sorted(set(found))


def _decimal(columns: Sequence[_Column]) -> tuple[Finding, list[str]]:
    """The mark by which values are numbers that are none by the other mark."""
    point, comma = number_pattern(".", exponent=True), number_pattern(",", exponent=True)
    decided: dict[str, tuple[str, str]] = {}
    open_: list[tuple[str, str]] = []
    for column in columns:
        if not column or column.share(_NUMBER_LIKE) < _NEARLY:
            continue
        only_point, only_comma = column.matching(point, comma), column.matching(comma, point)
        if len(only_point) > _CLEARLY * len(only_comma):
            decided.setdefault(".", (column.name, only_point[0].as_py()))
        elif len(only_comma) > _CLEARLY * len(only_point):
            decided.setdefault(",", (column.name, only_comma[0].as_py()))
        elif len(only_point):
            decided |= {".": (column.name, only_point[0].as_py()), ",": (column.name, only_comma[0].as_py())}
        elif (value := column.some(f"(?:{point})") and column.some("[^.,]*[.,][^.,]*")) is not None:
            open_.append((column.name, value))
    if len(decided) > 1:
        places = " and ".join(f"{mark} ({value}) in column {name!r}" for mark, (name, value) in decided.items())
        doubt = f"decimal: {places}; declare one, and give the other columns an expression"
        return Finding(None, 0.5, doubt), [doubt]
    if decided:
        ((mark, (name, value)),) = decided.items()
        return Finding(mark, 0.98, f"{value} in column {name!r}"), []
    if open_:
        name, value = open_[0]
        mark = "," if "," in value else "."
        doubt = f"{value} in column {name!r}: is {mark} the decimal mark, or does it group thousands? no value decides"
        return Finding(None, 0.5, doubt), [doubt]
    return Finding(".", 0.9, "no number has a decimal mark"), []


def _date_order(columns: Sequence[_Column]) -> tuple[Finding, list[str]]:
    """The order in which the dates of every column are days of the calendar."""
    decided: dict[str, str] = {}
    open_: list[tuple[str, str]] = []
    for column in columns:
        if not column or column.share(_TIMED) < _NEARLY:
            continue
        orders = column.date_orders()
        if len(orders) == 1:
            decided.setdefault(orders[0], column.name)
        elif orders:
            open_.append((column.name, str(column.some(_TIMED))))
    written = [order for order in decided if order != "ymd"]
    if len(written) > 1:
        doubt = f"date_order: column {decided['dmy']!r} is dmy, column {decided['mdy']!r} mdy; give one an expression"
        return Finding(None, 0.5, doubt), [doubt]
    if written:
        return Finding(written[0], 0.9 if open_ else 0.98, f"decided by column {decided[written[0]]!r}"), []
    if open_:
        doubt = f"{open_[0][1]} in column {open_[0][0]!r}: dmy or mdy? no value decides"
        return Finding(None, 0.5, doubt), [doubt]
    return Finding("ymd", 0.98 if decided else 0.9, "ISO dates" if decided else "no dates"), []


def _is_day(text: str, order: str) -> bool:
    match = _DATE.match(text.strip(SPACES))
    if match is None:
        return False
    parts = dict(zip(order, (match[1], match[3], match[4]), strict=True))
    if len(parts["y"]) != 4:
        return False
    year, month, day = int(parts["y"]), int(parts["m"]), int(parts["d"])
    return year >= 1 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def _type(
    column: _Column, decimal: str | None, order: str | None, doubts: list[str], notes: list[str], place: str
) -> ColumnFinding:
    if not column:
        return ColumnFinding(column.name, "string", 0.3, "no value")
    if column.all("(?i)" + "|".join(text for text in TRUTH if not text.isdigit())):
        return ColumnFinding(column.name, "boolean", 0.97, "truth values")
    return (
        _number(column, decimal, doubts, place)
        or _date(column, order, doubts, notes, place)
        or ColumnFinding(column.name, "string", 0.95, "texts")
    )


def _number(column: _Column, decimal: str | None, doubts: list[str], place: str) -> ColumnFinding | None:
    if column.share(_NUMBER_LIKE) < _NEARLY:
        return None
    if (code := column.some(_CODE)) is not None:
        reason = "more than 15 digits" if len(code.lstrip("+-")) > 15 else "a leading zero or plus sign"
        return ColumnFinding(column.name, "string", 0.95, f"digits with {reason}: {code}")
    if decimal is None and column.some(".*[.,].*"):
        return ColumnFinding(column.name, "string", 0.4, "numbers; the decimal mark is not decided")
    mark = decimal or "."
    pattern = number_pattern(mark, exponent=True)
    share = column.share(pattern)
    # Codes such as 12A are common among whole numbers, and rare among amounts.
    if share < (_NEARLY if column.some(f".*[{mark}].*") else _ALL_BUT):
        return None
    found = _number_type(column, column.matching(pattern, "x"), mark)
    return found if share == 1.0 else _doubtful(column, found, pattern, share, doubts, place)


def _number_type(column: _Column, numbers: Any, mark: str) -> ColumnFinding:
    import pyarrow.compute as pc

    if pc.any(pc.match_substring_regex(numbers, "[eE]")).as_py():
        marked = pc.any(pc.match_substring(numbers, mark)).as_py()
        if not marked:
            return ColumnFinding(column.name, "string", 0.6, "digits around an e: numbers with exponents, or codes")
        return ColumnFinding(column.name, "double", 0.9, "numbers with exponents")
    plain = pc.replace_substring_regex(numbers, f"[^0-9{mark}]", "")
    parts = pc.extract_regex(plain, f"^(?P<whole>[0-9]*)[{mark}]?(?P<fraction>[0-9]*)$")
    whole = pc.max(pc.binary_length(pc.struct_field(parts, "whole"))).as_py() or 0
    scale = pc.max(pc.binary_length(pc.struct_field(parts, "fraction"))).as_py() or 0
    if scale == 0:
        return ColumnFinding(column.name, "integer", 0.6 if column.all("[01]") else 0.95, "whole numbers")
    if whole + scale > _MAX_PRECISION:
        return ColumnFinding(column.name, "string", 0.9, f"numbers of {whole + scale} digits")
    if scale > _MAX_MONEY_SCALE:
        return ColumnFinding(column.name, "double", 0.7, f"up to {scale} digits after the mark")
    # Room to grow: what follows the sample may be larger by some digits.
    precision = min(_MAX_PRECISION, max(12, whole + scale + 4))
    why = f"up to {whole} digits before and {scale} after the mark"
    return ColumnFinding(column.name, f"decimal({precision},{scale})", 0.95, why)


def _date(column: _Column, order: str | None, doubts: list[str], notes: list[str], place: str) -> ColumnFinding | None:
    share = column.share(_TIMED)
    if share < _NEARLY:
        return None
    orders = column.date_orders()
    if not orders:
        notes.append(f"column {column.name!r}: {_no_days(column)}")
        return ColumnFinding(column.name, "string", 0.6, "like dates, but not days of the calendar in one order")
    if orders != ["ymd"] and (order is None or order not in orders):
        return ColumnFinding(column.name, "string", 0.4, "dates whose order is not decided")
    kind = "date" if column.some(f".*{_TIME_SHAPE}[{SPACES}]*") is None else "timestamp"
    found = ColumnFinding(column.name, kind, 0.95, f"{kind}s written {'ymd' if orders == ['ymd'] else order}")
    return found if share == 1.0 else _doubtful(column, found, _TIMED, share, doubts, place)


def _no_days(column: _Column) -> str:
    """Why no order of day, month and year reads the column."""
    if (short := column.some(f"[{SPACES}]*{_SHORT_YEAR}(?:[^0-9].*)?")) is not None:
        return (
            f"{short} looks like a date, but its year has not four digits; use an expression such as "
            "parse_date(value, '%d/%m/%y')"
        )
    texts = column.matching(_TIMED, "x").to_pylist()
    told = (
        f"{next(text for text in texts if not _is_day(text, order))} is no {words}"
        for order, words in (("dmy", "day/month/year"), ("mdy", "month/day/year"))
    )
    return f"these look like dates, but {' and '.join(told)}; correct them where they come from, or use an expression"


def _doubtful(
    column: _Column, found: ColumnFinding, pattern: str, share: float, doubts: list[str], place: str
) -> ColumnFinding:
    """The type of nearly all values, and the question whether the others are errors."""
    value, line = column.first_unlike(pattern)
    shown = repr(value if len(value) <= 30 else value[:30] + "…")
    doubts.append(
        f"column {column.name!r}: {share:.1%} of the values are of type {found.type}, but not {shown} on {place} {line}; "
        "keep the type and reject such records, or declare string?"
    )
    return ColumnFinding(column.name, found.type, 0.6, f"{share:.1%} of the values")
