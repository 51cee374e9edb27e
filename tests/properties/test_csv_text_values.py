"""Canonical text: whole columns and single values follow the same rules, and nothing is rounded or guessed."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st
from sync_provider.connectors.files.formulas import escape, escape_text, unescape, unescape_text
from sync_provider.connectors.files.text_values import canonical, canonical_text
from sync_provider.core.schema import parse_type

TYPES = [
    parse_type(t) for t in ("string", "integer", "decimal(12,2)", "double", "boolean", "date", "timestamp", "json")
]
NUMBERS = st.text("0123456789 .,+-−eE\u00a0\u202f", max_size=12)
DATES = st.from_regex(
    r"[ ]?([0-9]{1,2}|[0-9]{4})[-/.][0-9]{1,2}[-/.]([0-9]{1,2}|[0-9]{4})([ T][0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,3})?)?( ?(Z|z|[+-][0-9]{2}:?([0-9]{2})?))?)?",
    fullmatch=True,
)
TRUTHS = st.sampled_from(["true", "VRAI", "Oui", "non", "faux", "1", "0", " yes ", "vraiment", "İ"])
TEXTS = st.one_of(NUMBERS, DATES, TRUTHS, st.text(max_size=8))


@given(
    st.lists(st.none() | TEXTS, max_size=12),
    st.sampled_from(TYPES),
    st.sampled_from(".,"),
    st.sampled_from(["ymd", "dmy", "mdy"]),
)
@example(["-.5", ".5", "5.", "0,5"], TYPES[2], ".", "ymd")
@example(["1,5", "-2", None, ""], TYPES[2], ",", "ymd")
@example(["1,5", "-,5", "5,"], TYPES[2], ",", "ymd")
@example(["31/12/2024", "31/12/2024", "31/12/2024", "2024-1-2", None], TYPES[5], ".", "dmy")
@example(["31/12/2024 5:06", "31/12/2024"], TYPES[6], ".", "dmy")
@example(["31/02/2024", "29/02/2023 5:06", "29/2/2024", "31/04/2024"], TYPES[6], ".", "dmy")
def test_columns_and_single_values_follow_the_same_rules(texts, type_, decimal, date_order) -> None:
    array = pa.array(texts, pa.string())
    one_by_one = [None if t is None else canonical_text(t, type_, decimal, date_order) for t in texts]
    assert canonical(array, type_, decimal, date_order).to_pylist() == one_by_one
    padded = pa.array(["x", *texts, "y"], pa.string()).slice(1, len(texts))
    assert canonical(padded, type_, decimal, date_order).to_pylist() == one_by_one


@given(TEXTS, st.sampled_from(TYPES), st.sampled_from([".", ","]), st.sampled_from(["ymd", "dmy", "mdy"]))
def test_canonical_text_is_a_fixed_point_of_the_canonical_conventions(text, type_, decimal, date_order) -> None:
    once = canonical_text(text, type_, decimal, date_order)
    if once != text:
        assert canonical_text(once, type_, ".", "ymd") == once


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12),
    st.sampled_from([" ", "\u00a0", "\u202f", "."]),
)
def test_grouped_french_numbers_mean_the_same_number(number: Decimal, separator: str) -> None:
    text = f"{number:,.3f}".replace(",", "_").replace(".", ",").replace("_", separator)
    assert Decimal(canonical_text(text, TYPES[2], ",", "dmy")) == number


@given(st.dates(), st.sampled_from("/-."), st.booleans())
def test_dates_in_the_declared_order_mean_the_same_day(day, separator: str, padded: bool) -> None:
    d, m, y = (
        (f"{day.day:02}", f"{day.month:02}", f"{day.year:04}") if padded else (day.day, day.month, f"{day.year:04}")
    )
    for order, parts in {"dmy": (d, m, y), "mdy": (m, d, y), "ymd": (y, m, d)}.items():
        assert canonical_text(separator.join(map(str, parts)), TYPES[5], ".", order) == day.isoformat()


@given(st.text("'=+-@\t\rab1\n", max_size=6) | st.text(max_size=6))
def test_formula_escapes_are_inert_and_undone_exactly(text: str) -> None:
    shown = escape_text(text)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert unescape_text(shown) == text
    assert escape(pa.array([text, None])).to_pylist() == [shown, None]
    assert unescape(pa.array([shown, None])).to_pylist() == [text, None]
    assert unescape(pa.array([text])).to_pylist() == [unescape_text(text)]
