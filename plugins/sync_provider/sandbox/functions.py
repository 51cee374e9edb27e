"""Functions and operators of formulas."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from sync_provider.sandbox.formats import DATE_TYPES, format_number
from sync_provider.sandbox.locales import Locale
from sync_provider.sandbox.model import CellError, Scalar
from sync_provider.sandbox.serials import from_serial, to_serial

Result = Scalar | CellError | None
Matrix = list[list[Result]]
Value = Any
"""A result or a matrix of them: arguments are told apart where they are used."""

ERRORS = {
    text: CellError(text, kind)
    for text, kind in (
        ("#REF!", "REF"),
        ("#N/A", "N_A"),
        ("#VALUE!", "VALUE"),
        ("#DIV/0!", "DIVIDE_BY_ZERO"),
        ("#NAME?", "NAME"),
        ("#NUM!", "NUM"),
    )
}


class Context(NamedTuple):
    """What functions need to know: the local time, how numbers are written and typed here."""

    now: datetime
    text: Callable[[float], str]
    parse: Callable[[str], Scalar]
    locale: Locale


class FormulaFailedError(Exception):
    """A function gives an error."""

    def __init__(self, error: CellError) -> None:
        super().__init__(error.text)
        self.error = error


Function = Callable[[Context, list[Value]], Value]
FUNCTIONS: dict[str, Function] = {}
LAZY: dict[str, Callable[[Context, list[Callable[[], Value]]], Value]] = {}


def _fail(text: str, message: str) -> FormulaFailedError:
    return FormulaFailedError(CellError(text, ERRORS[text].kind, message))


def function(*names: str, least: int = 0, most: int = 255) -> Callable[[Function], Function]:
    """Register a function; it gets its arguments and may raise FormulaFailedError."""

    def register(body: Function) -> Function:
        def called(context: Context, arguments: list[Value]) -> Value:
            if not least <= len(arguments) <= most:
                return CellError("#N/A", "N_A", f"Wrong number of arguments to {names[0]}.")
            try:
                return body(context, arguments)
            except FormulaFailedError as failed:
                return failed.error
            except (OverflowError, ValueError):
                return ERRORS["#NUM!"]

        for name in names:
            FUNCTIONS[name] = called
        return body

    return register


def single(value: Value) -> Result:
    """The one value of an argument.

    Raises:
        FormulaFailedError: it is an error.
    """
    if isinstance(value, list):
        value = value[0][0] if value and value[0] else None
    if isinstance(value, CellError):
        raise FormulaFailedError(value)
    result: Result = value
    return result


def number(context: Context, value: Value) -> float:
    """The argument as a number.

    Raises:
        FormulaFailedError: it is none.
    """
    value = single(value)
    if value is None or value == "":
        return 0.0
    if isinstance(value, bool | int | float):
        return float(value)
    parsed = context.parse(str(value))
    if isinstance(parsed, str):
        raise _fail("#VALUE!", f"'{value}' is a text and cannot be coerced to a number.")
    return float(parsed)


def text(context: Context, value: Value) -> str:
    """The argument as text."""
    value = single(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return context.locale.true if value else context.locale.false
    return context.text(value) if isinstance(value, int | float) else str(value)


def truth(value: Value) -> bool:
    """The argument as a condition."""
    value = single(value)
    if isinstance(value, str):
        if value.upper() in {"TRUE", "FALSE"}:
            return value.upper() == "TRUE"
        raise _fail("#VALUE!", f"'{value}' is a text and cannot be coerced to a boolean.")
    return bool(value)


def flat(arguments: Iterable[Value]) -> Iterator[Result]:
    """All values of all arguments."""
    for argument in arguments:
        if isinstance(argument, list):
            for row in argument:
                yield from row
        else:
            yield argument


def numbers(context: Context, arguments: list[Value]) -> list[float]:
    """The numbers of the arguments: text and booleans in ranges are passed over, given directly they count."""
    found: list[float] = []
    for argument in arguments:
        if not isinstance(argument, list):
            found.append(number(context, argument))
            continue
        for value in flat([argument]):
            if isinstance(value, CellError):
                raise FormulaFailedError(value)
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.append(float(value))
    return found


def _rank(value: Result) -> tuple[int, Any]:
    """Order across kinds: numbers, then text, then booleans."""
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, str):
        return (1, value.casefold())
    return (0, value or 0)


def _compare(test: Callable[[Any, Any], bool]) -> Function:
    def compared(_: Context, arguments: list[Value]) -> bool:
        left, right = single(arguments[0]), single(arguments[1])
        if left is None:
            left = "" if isinstance(right, str) else (False if isinstance(right, bool) else 0.0)
        if right is None:
            right = "" if isinstance(left, str) else (False if isinstance(left, bool) else 0.0)
        return test(_rank(left), _rank(right))

    return compared


for _name, _test in {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}.items():
    function(f"binary {_name}")(_compare(_test))

function("binary +")(lambda c, a: number(c, a[0]) + number(c, a[1]))
function("binary -")(lambda c, a: number(c, a[0]) - number(c, a[1]))
function("binary *")(lambda c, a: number(c, a[0]) * number(c, a[1]))
function("binary &")(lambda c, a: text(c, a[0]) + text(c, a[1]))
function("unary +")(lambda _, a: single(a[0]))
function("unary -")(lambda c, a: -number(c, a[0]))
function("unary %")(lambda c, a: number(c, a[0]) / 100)


@function("binary /", "DIVIDE", least=2, most=2)
def _divide(context: Context, arguments: list[Value]) -> float:
    above, below = number(context, arguments[0]), number(context, arguments[1])
    if below == 0:
        raise _fail("#DIV/0!", "Function DIVIDE parameter 2 cannot be zero.")
    return above / below


@function("binary ^", "POWER", least=2, most=2)
def _power(context: Context, arguments: list[Value]) -> float:
    result = number(context, arguments[0]) ** number(context, arguments[1])
    if isinstance(result, complex):
        raise _fail("#NUM!", "POWER of a negative number is not real.")
    return float(result)


@function("MOD", least=2, most=2)
def _mod(context: Context, arguments: list[Value]) -> float:
    below = number(context, arguments[1])
    if below == 0:
        raise _fail("#DIV/0!", "Function MOD parameter 2 cannot be zero.")
    return number(context, arguments[0]) % below


@function("AVERAGE", least=1)
def _average(context: Context, arguments: list[Value]) -> float:
    found = numbers(context, arguments)
    if not found:
        raise _fail("#DIV/0!", "Evaluation of function AVERAGE caused a divide by zero error.")
    return sum(found) / len(found)


def _product(context: Context, arguments: list[Value]) -> float:
    result = 1.0
    for factor in numbers(context, arguments):
        result *= factor
    return result


function("SUM", least=1)(lambda c, a: sum(numbers(c, a)))
function("PRODUCT", least=1)(_product)
function("MIN", least=1)(lambda c, a: min(numbers(c, a), default=0.0))
function("MAX", least=1)(lambda c, a: max(numbers(c, a), default=0.0))
function("COUNT", least=1)(
    lambda _, a: float(sum(isinstance(v, int | float) and not isinstance(v, bool) for v in flat(a)))
)
function("COUNTA", least=1)(lambda _, a: float(sum(v is not None and v != "" for v in flat(a))))
function("COUNTBLANK", least=1)(lambda _, a: float(sum(v is None or v == "" for v in flat(a))))
function("ABS", least=1, most=1)(lambda c, a: abs(number(c, a[0])))
function("INT", least=1, most=1)(lambda c, a: float(number(c, a[0]) // 1))
function("NOT", least=1, most=1)(lambda _, a: not truth(a[0]))
function("AND", least=1)(lambda _, a: all(truth(v) for v in flat(a) if v is not None))
function("OR", least=1)(lambda _, a: any(truth(v) for v in flat(a) if v is not None))
function("CONCATENATE", least=1)(lambda c, a: "".join(text(c, v) for v in flat(a)))
function("CONCAT", least=2, most=2)(lambda c, a: text(c, a[0]) + text(c, a[1]))
function("LEN", least=1, most=1)(lambda c, a: float(len(text(c, a[0]))))
function("UPPER", least=1, most=1)(lambda c, a: text(c, a[0]).upper())
function("LOWER", least=1, most=1)(lambda c, a: text(c, a[0]).lower())
function("PROPER", least=1, most=1)(lambda c, a: text(c, a[0]).title())
function("TRIM", least=1, most=1)(lambda c, a: " ".join(text(c, a[0]).split()))
function("LEFT", least=1, most=2)(lambda c, a: text(c, a[0])[: int(number(c, a[1])) if len(a) > 1 else 1])
function("MID", least=3, most=3)(lambda c, a: text(c, a[0])[int(number(c, a[1])) - 1 :][: int(number(c, a[2]))])
function("SUBSTITUTE", least=3, most=3)(lambda c, a: text(c, a[0]).replace(text(c, a[1]), text(c, a[2])))
function("VALUE", least=1, most=1)(lambda c, a: number(c, a[0]))
function("TODAY", most=0)(lambda c, _: float(to_serial(c.now) // 1))
function("NOW", most=0)(lambda c, _: to_serial(c.now))
function("ISBLANK", least=1, most=1)(lambda _, a: next(flat(a), None) is None)
function("ISNUMBER", least=1, most=1)(
    lambda _, a: isinstance(v := next(flat(a), None), int | float) and not isinstance(v, bool)
)
function("ISTEXT", least=1, most=1)(lambda _, a: isinstance(next(flat(a), None), str))
function("ISERROR", least=1, most=1)(lambda _, a: isinstance(next(flat(a), None), CellError))
function("NA", most=0)(lambda _, __: ERRORS["#N/A"])
function("TRUE", most=0)(lambda _, __: True)
function("FALSE", most=0)(lambda _, __: False)
function("HYPERLINK", least=1, most=2)(lambda _, a: single(a[-1]))


@function("RIGHT", least=1, most=2)
def _right(context: Context, arguments: list[Value]) -> str:
    length = int(number(context, arguments[1])) if len(arguments) > 1 else 1
    return text(context, arguments[0])[-length:] if length else ""


@function("ROUND", least=1, most=2)
def _round(context: Context, arguments: list[Value]) -> float:
    places = int(number(context, arguments[1])) if len(arguments) > 1 else 0
    amount = Decimal(repr(number(context, arguments[0])))
    return float(amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


@function("DATE", least=3, most=3)
def _date(context: Context, arguments: list[Value]) -> float:
    year, month, day = (int(number(context, argument)) for argument in arguments)
    more, month = divmod(month - 1, 12)
    return to_serial(datetime(year + more, month + 1, 1)) + day - 1  # noqa: DTZ001


@function("EDATE", least=2, most=2)
def _edate(context: Context, arguments: list[Value]) -> float:
    start = _moment(context, arguments[0])
    more, month = divmod(start.month - 1 + int(number(context, arguments[1])), 12)
    last = calendar.monthrange(start.year + more, month + 1)[1]
    return to_serial(datetime(start.year + more, month + 1, min(start.day, last)))  # noqa: DTZ001


def _moment(context: Context, value: Value) -> datetime:
    moment = from_serial(number(context, value))
    if moment is None:
        raise _fail("#NUM!", "No such date.")
    return moment


function("YEAR", least=1, most=1)(lambda c, a: float(_moment(c, a[0]).year))
function("MONTH", least=1, most=1)(lambda c, a: float(_moment(c, a[0]).month))
function("DAY", least=1, most=1)(lambda c, a: float(_moment(c, a[0]).day))
function("WEEKDAY", least=1, most=1)(lambda c, a: float(date.isoweekday(_moment(c, a[0])) % 7 + 1))


@function("TEXT", least=2, most=2)
def _text(context: Context, arguments: list[Value]) -> str:
    value, pattern = single(arguments[0]), text(context, arguments[1])
    if isinstance(value, str):
        return value
    kind = "DATE_TIME" if re.search("[ymdhs]", pattern.lower()) else "NUMBER"
    return format_number(number(context, value), kind if kind in DATE_TYPES else "NUMBER", pattern, context.locale)


@function("VLOOKUP", least=3, most=4)
def _vlookup(context: Context, arguments: list[Value]) -> Result:
    wanted, table, column = single(arguments[0]), arguments[1], int(number(context, arguments[2]))
    near = len(arguments) < 4 or truth(arguments[3])
    if not isinstance(table, list) or not 1 <= column <= len(table[0]):
        raise _fail("#REF!", "VLOOKUP evaluates to an out of bounds range.")
    found: Result = None
    hit = False
    for row in table:
        if _rank(row[0]) == _rank(wanted) or (near and row[0] is not None and _rank(row[0]) <= _rank(wanted)):
            found, hit = row[column - 1], True
            if not near:
                break
    if not hit:
        raise _fail("#N/A", f"Did not find value '{text(context, wanted)}' in VLOOKUP evaluation.")
    return found


def _matches(context: Context, criterion: Result) -> Callable[[Result], bool]:
    match = re.fullmatch(r"(<>|<=|>=|=|<|>)?(.*)", str(criterion) if isinstance(criterion, str) else "", re.DOTALL)
    operator, operand = (
        (match[1] or "=", context.parse(match[2])) if isinstance(criterion, str) and match else ("=", criterion)
    )
    pattern = None
    if isinstance(operand, str) and operator in {"=", "<>"}:
        escaped = re.escape(operand).replace(r"\*", ".*").replace(r"\?", ".")
        pattern = re.compile(escaped, re.IGNORECASE | re.DOTALL)

    def test(value: Result) -> bool:
        if pattern is not None:
            return (bool(pattern.fullmatch(value)) if isinstance(value, str) else False) == (operator == "=")
        if value is None or isinstance(value, CellError):
            return operator == "<>"
        same_kind = _rank(value)[0] == _rank(operand)[0]
        return bool(FUNCTIONS[f"binary {operator}"](context, [value, operand])) and (same_kind or operator == "<>")

    return test


@function("COUNTIF", least=2, most=2)
def _countif(context: Context, arguments: list[Value]) -> float:
    test = _matches(context, single(arguments[1]))
    return float(sum(test(value) for value in flat(arguments[:1])))


@function("SUMIF", least=2, most=3)
def _sumif(context: Context, arguments: list[Value]) -> float:
    test = _matches(context, single(arguments[1]))
    added = list(flat(arguments[2:] or arguments[:1]))
    kept = [number for value, number in zip(flat(arguments[:1]), added, strict=False) if test(value)]
    return sum(value for value in kept if isinstance(value, int | float) and not isinstance(value, bool))


def _if(_: Context, arguments: list[Callable[[], Value]]) -> Value:
    if not 2 <= len(arguments) <= 3:
        return CellError("#N/A", "N_A", "Wrong number of arguments to IF.")
    try:
        chosen = truth(arguments[0]())
    except FormulaFailedError as failed:
        return failed.error
    if chosen:
        return arguments[1]()
    return arguments[2]() if len(arguments) > 2 else False


def _iferror(_: Context, arguments: list[Callable[[], Value]]) -> Value:
    value = arguments[0]()
    first = value[0][0] if isinstance(value, list) else value
    if isinstance(first, CellError):
        return arguments[1]() if len(arguments) > 1 else None
    return value


LAZY |= {"IF": _if, "IFERROR": _iferror}
