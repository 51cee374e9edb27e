"""Numbers, dates and truth values as people write them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from sync_provider.connectors.files.text_values import canonical, canonical_text
from sync_provider.core.schema import parse_type

NNBSP, NBSP = "\u202f", "\u00a0"


@pytest.mark.parametrize(
    ("text", "decimal", "expected"),
    [
        ("1234.50", ".", "1234.50"),
        ("1234,50", ",", "1234.50"),
        ("1 234,56", ",", "1234.56"),
        (f"1{NBSP}234{NBSP}567,8", ",", "1234567.8"),
        (f"1{NNBSP}234,56", ",", "1234.56"),
        ("1.234,56", ",", "1234.56"),
        ("1,234.56", ".", "1234.56"),
        ("1.234", ",", "1234"),
        ("1.234", ".", "1.234"),
        ("+5", ".", "5"),
        ("-5", ".", "-5"),
        ("−5,5", ",", "-5.5"),
        (" 7 ", ".", "7"),
        (",5", ",", "0.5"),
        ("5.", ".", "5"),
        ("007", ".", "007"),
        ("12345678901234567890.123456789", ".", "12345678901234567890.123456789"),
    ],
)
def test_numbers_follow_the_declared_decimal_mark(text: str, decimal: str, expected: str) -> None:
    assert canonical_text(text, parse_type("decimal(38,10)"), decimal, "ymd") == expected


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("12 34", ","),  # no group of three
        ("1 2345", ","),
        ("1.23", ","),  # a decimal point where a comma was declared
        ("12,5", "."),
        ("0,123", "."),  # more likely a decimal comma than 123
        ("1 234.567,8", ","),  # two kinds of separators
        ("5-", "."),
        ("(5)", "."),
        ("--5", "."),
        ("1.2.3", "."),
        ("1,2,3", ","),
        ("12 €", ","),
        ("1e5", "."),
        ("", "."),
        (" ", "."),
        ("٣", "."),  # a digit, but not one of ours
        ("0x1F", "."),
        ("NaN", "."),
    ],
)
def test_what_the_conventions_do_not_cover_stays_as_it_was(text: str, decimal: str) -> None:
    assert canonical_text(text, parse_type("decimal(12,2)"), decimal, "ymd") == text


def test_exponents_are_for_doubles_only() -> None:
    assert canonical_text("1,5E+3", parse_type("double"), ",", "ymd") == "1.5E+3"
    assert canonical_text("1,5E+3", parse_type("integer"), ",", "ymd") == "1,5E+3"


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("31/12/2024", "dmy", "2024-12-31"),
        ("1.2.2024", "dmy", "2024-02-01"),
        ("12-31-2024", "mdy", "2024-12-31"),
        ("2024/2/1", "ymd", "2024-02-01"),
        ("2024-02-01", "dmy", "2024-02-01"),
        ("31/12/2024 00:00:00", "dmy", "2024-12-31"),
        ("31/12/2024 08:00", "dmy", "31/12/2024 08:00"),
        ("31/12/24", "dmy", "31/12/24"),
        ("12/31/2024", "dmy", "12/31/2024"),
        ("00/01/2024", "dmy", "00/01/2024"),
        ("demain", "dmy", "demain"),
    ],
)
def test_dates_follow_the_declared_order(text: str, order: str, expected: str) -> None:
    assert canonical_text(text, parse_type("date"), ".", order) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("31/12/2024 23:59", "2024-12-31T23:59:00"),
        ("31/12/2024 8:05:09,25", "2024-12-31T08:05:09.25"),
        ("31/12/2024", "2024-12-31T00:00:00"),
        ("31/12/2024 23:59:58 Z", "2024-12-31T23:59:58Z"),
        ("31/12/2024T23:59:58+0200", "2024-12-31T23:59:58+02:00"),
        ("2024-12-31 23:59:58+01", "2024-12-31T23:59:58+01:00"),
        ("2024-12-31T23:59:58.5Z", "2024-12-31T23:59:58.5Z"),
        ("31/12/2024 24:00", "31/12/2024 24:00"),
        ("31/12/2024 midi", "31/12/2024 midi"),
    ],
)
def test_timestamps_follow_the_declared_order_and_keep_their_zone(text: str, expected: str) -> None:
    assert canonical_text(text, parse_type("timestamp"), ".", "dmy") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("VRAI", "true"),
        ("oui", "true"),
        ("True", "true"),
        ("1", "true"),
        ("faux", "false"),
        (" Non ", "false"),
        ("0", "false"),
        ("ouais", "ouais"),
    ],
)
def test_truth_values_in_both_languages(text: str, expected: str) -> None:
    assert canonical_text(text, parse_type("boolean"), ".", "ymd") == expected


@pytest.mark.parametrize("text", ["001", "1 234,5", "31/12/2024", "vrai", " x "])
def test_text_stays_exactly_as_it_is(text: str) -> None:
    assert canonical_text(text, parse_type("string"), ",", "dmy") == text


@pytest.mark.parametrize("text", ["31/02/2021", "29/02/2023", "31/4/2021 10:00", "30.02.2024"])
def test_a_day_of_no_calendar_stays_as_it_was_typed(text: str) -> None:
    kind = parse_type("timestamp" if ":" in text else "date")
    assert canonical_text(text, kind, ",", "dmy") == text
    assert canonical(pa.array([text, "29/02/2024", None]), kind, ",", "dmy")[0].as_py() == text
