# ruff: noqa: DTZ001 - local times, as files hold them
"""Casts of whole columns agree with the definition, value by value, and with Python's own reading of the same text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sync_provider.core.canonical import read_text
from sync_provider.core.schema import LogicalType, parse_type
from sync_provider.engine.casts import Casts, plain, to_text
from sync_provider.engine.evaluator import Evaluator

WIDE = Context(prec=100)
PARIS = ZoneInfo("Europe/Paris")
TYPES = [
    parse_type(name)
    for name in (
        "integer",
        "decimal(12,2)",
        "decimal(3,3)",
        "decimal(5,0)",
        "decimal(38,10)",
        "double",
        "boolean",
        "date",
        "timestamp",
        "json",
    )
]

digits = st.text("0123456789", max_size=25)
number_like = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "-", "+", "--", " "]),
        digits,
        st.sampled_from(["", ".", ".", ","]),
        digits,
        st.sampled_from(["", "", "", "e5", "E-3", "e999", " ", "0" * 40, "\n"]),
    ),
)
date_like = st.one_of(
    st.dates().map(str),
    st.builds("{:04d}-{:02d}-{:02d}".format, st.integers(0, 10000), st.integers(0, 13), st.integers(0, 32)),
)
time_like = st.one_of(
    st.just(""),
    st.times().map(lambda t: f"T{t}"),
    st.builds(
        "{}{:02d}:{:02d}:{:02d}.{}".format,
        st.sampled_from("T t"),
        st.integers(0, 25),
        st.integers(0, 61),
        st.integers(0, 61),
        digits,
    ),
    st.builds("T{:02d}:{:02d}".format, st.integers(0, 24), st.integers(0, 60)),
    st.builds("T{:02d}".format, st.integers(0, 24)),
)
offset_like = st.sampled_from(
    [
        "",
        "",
        "",
        "Z",
        "z",
        "+01:00",
        "-0530",
        "+02",
        "+24:00",
        "+23:59",
        " +01:00",
        "[Europe/Paris]",
        "[No/Where]",
        "Z[UTC]",
        "[UTC]",
    ]
)
moments = st.builds("".join, st.tuples(date_like, time_like, offset_like))
changes = st.builds(
    lambda day, minutes: str(day + timedelta(minutes=minutes)).replace(" ", "T"),
    st.sampled_from(
        [
            datetime(2024, 3, 31),
            datetime(2024, 10, 27),
            datetime(2050, 3, 27),
            datetime(1940, 6, 14),
            datetime(1911, 3, 10),
        ]
    ),
    st.integers(0, 1440),
)
json_like = st.one_of(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ).map(json.dumps),
    st.sampled_from(
        [
            "[1,]",
            "{,}",
            "NaN",
            "[-Infinity]",
            '"\\ud800"',
            '"\\ud83d\\ude00"',
            "01",
            "[1] 2",
            "[" * 300 + "]" * 300,
            '"nan, ]"',
            "{'a':1}",
            "\ufeff1",
            "1e999",
            '"\t"',
            '"\\ud800\\udc00\\udc00"',
            '"\\\\ud800"',
        ]
    ),
)
texts = st.one_of(
    st.none(),
    number_like,
    date_like,
    moments,
    changes,
    json_like,
    st.sampled_from(
        [
            "",
            "true",
            "false",
            "True",
            "1",
            "0x1F",
            "nan",
            "inf",
            "-inf",
            "Infinity",
            "1_000",
            "１２",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "\0",
            "5e-324",
            "1e-400",
            "1.7976931348623157e308",
            "1.8e308",
        ]
    ),
    st.text(max_size=12),
)


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator() as evaluator:
        yield evaluator


@pytest.fixture(scope="module")
def casts(evaluator):
    return Casts(PARIS, evaluator.is_json)


def expected(text, type_):
    try:
        return None if text is None else read_text(text, type_, PARIS)
    except ValueError:
        return None


@given(column=st.lists(texts, max_size=12), type_=st.sampled_from(TYPES))
@example(column=["2024-02-29T10:00:00."], type_=parse_type("timestamp"))
@example(column=["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"], type_=parse_type("timestamp"))
@example(column=["0001-01-01", "9999-12-31", "0000-01-01"], type_=parse_type("timestamp"))
@example(column=["12\n"], type_=parse_type("integer"))
@example(column=["-0.00", "-.5", "+5."], type_=parse_type("decimal(12,2)"))
def test_a_column_converts_as_the_definition_says_value_by_value(casts, column, type_):
    array = pa.array(column, pa.string())
    result = casts.cast(array, type_)
    assert result.type == type_.to_arrow()
    result.validate(full=True)
    assert result.to_pylist() == [expected(text, type_) for text in column]


@given(text=number_like, type_=st.sampled_from([t for t in TYPES if t.is_number]))
def test_an_accepted_number_equals_python_s_own(text, type_):
    try:
        value = read_text(text, type_, PARIS)
    except ValueError:
        return
    if value is None:
        assert text == ""
    elif type_.kind == "double":
        assert value == float(text)
    else:
        assert Decimal(value) == Decimal(text)


@given(value=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=2))
def test_every_decimal_that_fits_is_accepted_exactly(casts, value):
    assert casts.cast(pa.array([str(value)]), parse_type("decimal(12,2)")).to_pylist() == [value]


@given(value=st.integers(-(2**63), 2**63 - 1))
def test_every_64_bit_integer_is_accepted_exactly(casts, value):
    assert casts.cast(pa.array([str(value)]), LogicalType("integer")).to_pylist() == [value]


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_double_is_accepted_exactly_from_its_shortest_text(casts, value):
    assert casts.cast(pa.array([repr(value)]), LogicalType("double")).to_pylist() == [value]


@given(value=st.dates())
def test_every_day_of_the_calendar_is_accepted(casts, value):
    assert casts.cast(pa.array([value.isoformat()]), LogicalType("date")).to_pylist() == [value]


@given(
    value=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
    zone=st.sampled_from(
        ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "UTC"]
    ),
)
@example(value=datetime(2024, 3, 31, 2, 30), zone="Europe/Paris")
@example(value=datetime(2024, 10, 27, 2, 30), zone="Europe/Paris")
@example(value=datetime(2050, 7, 1), zone="Europe/Paris")
@example(value=datetime(2011, 12, 30, 12), zone="Pacific/Apia")
def test_a_local_time_is_the_one_instant_at_which_clocks_show_it_or_none(value, zone):
    tz = ZoneInfo(zone)
    instants = {
        shown
        for fold in (0, 1)
        if (shown := value.replace(tzinfo=tz, fold=fold).astimezone(UTC)).astimezone(tz).replace(tzinfo=None) == value
    }
    result = Casts(tz, lambda texts: texts).cast(pa.array([value.isoformat()]), LogicalType("timestamp")).to_pylist()
    assert result == (list(instants) if len(instants) == 1 else [None])


natives = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1).map(lambda v: pa.array(v, pa.int64())),
    st.lists(st.floats() | st.none(), min_size=1).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.floats(width=32) | st.none(), min_size=1).map(lambda v: pa.array(v, pa.float32())),
    st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=10)
        | st.none(),
        min_size=1,
    ).map(lambda v: pa.array(v, pa.decimal128(38, 10))),
    st.lists(st.booleans() | st.none(), min_size=1).map(pa.array).map(lambda v: v.cast(pa.bool_())),
    st.lists(st.dates() | st.none(), min_size=1).map(lambda v: pa.array(v, pa.date32())),
    st.lists(st.datetimes(timezones=st.just(UTC)) | st.none(), min_size=1).map(
        lambda v: pa.array(v, pa.timestamp("us", "UTC"))
    ),
    st.lists(st.datetimes() | st.none(), min_size=1).map(lambda v: pa.array(v, pa.timestamp("us"))),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1).map(lambda v: pa.array(v, pa.timestamp("ns"))),
    st.lists(st.integers(-(2**62), 2**62) | st.none(), min_size=1).map(lambda v: pa.array(v, pa.timestamp("s"))),
    st.lists(st.integers(-(2**31), 2**31 - 1) | st.none(), min_size=1).map(lambda v: pa.array(v, pa.date32())),
    st.lists(st.times() | st.none(), min_size=1).map(lambda v: pa.array(v, pa.time64("us"))),
    st.lists(st.binary() | st.none(), min_size=1).map(lambda v: pa.array(v, pa.binary())),
    st.lists(st.lists(st.integers(0, 5)) | st.none(), min_size=1).map(lambda v: pa.array(v, pa.list_(pa.int64()))),
    st.lists(st.text() | st.none(), min_size=1).map(lambda v: pa.array(v, pa.large_string())),
    st.lists(st.text() | st.none(), min_size=1).map(lambda v: pa.array(v).dictionary_encode()),
    st.integers(1, 5).map(pa.nulls),
)


@given(column=natives, type_=st.sampled_from([*TYPES, LogicalType("string")]))
def test_any_native_column_converts_or_is_refused_without_an_error(casts, column, type_):
    values = plain(column)
    result = casts.cast(values, type_)
    assert result.type == type_.to_arrow()
    result.validate(full=True)
    assert len(result) == len(values)
    assert len(to_text(values)) == len(values)


@given(
    values=st.lists(st.floats() | st.none(), min_size=1),
    type_=st.sampled_from([t for t in TYPES if t.kind in ("integer", "decimal")]),
)
def test_a_float_becomes_an_exact_number_by_its_shortest_text_or_is_refused(casts, values, type_):
    for value, got in zip(values, casts.cast(pa.array(values, pa.float64()), type_).to_pylist(), strict=True):
        if got is not None:
            assert Decimal(got) == Decimal(repr(value))


@given(
    values=st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-(10**15), max_value=10**15), min_size=1
    ),
    type_=st.sampled_from(TYPES[:5]),
)
def test_a_decimal_keeps_its_value_or_is_refused(casts, values, type_):
    native = casts.cast(pa.array(values, pa.decimal128(30, 5)), type_).to_pylist()
    from_text = casts.cast(pa.array([format(v, "f") for v in values]), type_).to_pylist()
    assert native == from_text
    assert all(got is None or Decimal(got) == value for got, value in zip(native, values, strict=True))


@given(data=st.data())
def test_no_decimal_changes_on_its_way_between_precisions_whatever_its_digits(casts, data):
    def a_type():
        precision = data.draw(st.integers(1, 38))
        return LogicalType("decimal", precision, data.draw(st.integers(0, precision)))

    held, declared = a_type(), a_type()
    digits = data.draw(st.integers(0, held.precision))
    value = Decimal(data.draw(st.integers(0, 10**digits - 1))).scaleb(-held.scale, WIDE)
    text = format(value, "f")
    for column in (
        pa.array([value], held.to_arrow()),
        pa.array([text]),
        pa.array([text + "0" * 40]) if held.scale else pa.array([text]),
    ):
        assert casts.cast(column, declared).to_pylist() == [expected(text, declared)]


@given(
    values=st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-1, max_value=1), min_size=1
    )
)
def test_numbers_become_text_without_exponent(values):
    for text, value in zip(to_text(pa.array(values, pa.decimal128(20, 10))).to_pylist(), values, strict=True):
        assert re.fullmatch(r"-?[0-9]+\.[0-9]+", text)
        assert Decimal(text) == value


@given(value=st.datetimes())
def test_a_timestamp_s_text_reads_back_as_the_same_instant(casts, value):
    text = to_text(pa.array([value.replace(tzinfo=UTC)], pa.timestamp("us", "UTC")))
    assert casts.cast(text, LogicalType("timestamp")).to_pylist() == [value.replace(tzinfo=UTC)]
    assert text[0].as_py() == value.isoformat().rstrip("0").rstrip(".") + "Z" if value.microsecond else True
