"""The pure parts of the sandbox: ranges, typing, patterns, formulas, tables, inserted rows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.sandbox import dimensions
from sync_provider.sandbox.a1 import Bounds, column_name, column_number, format_range, parse_bounds, split_title
from sync_provider.sandbox.calls import Call
from sync_provider.sandbox.entry import parse_entry
from sync_provider.sandbox.evaluate import Calculator
from sync_provider.sandbox.formats import format_number
from sync_provider.sandbox.formulas import FormulaError, offset, parse, tokens
from sync_provider.sandbox.locales import find_locale
from sync_provider.sandbox.model import Area, Cell, Sheet, Spreadsheet
from sync_provider.sandbox.serials import from_serial, to_serial
from sync_provider.sandbox.spreadsheets import new_spreadsheet
from sync_provider.sandbox.tables import find_tables

NOW = datetime(2026, 7, 4, 12, tzinfo=UTC)
TODAY = date(2026, 7, 4)


def book_of(rows: list[list[object]], locale: str = "en_US") -> Spreadsheet:
    call = Call("", "", {}, {}, NOW, Random(1))
    book = new_spreadsheet(call, "id", {"properties": {"locale": locale}})
    for row, values in enumerate(rows):
        cells = {}
        for column, value in enumerate(values):
            formula = isinstance(value, str) and value.startswith("=")
            cells[column] = Cell(formula=value) if formula else Cell(value)
        book.sheets[0].put(row, cells)
    return book


def result(formula: str, rows: list[list[object]] | None = None, locale: str = "en_US") -> object:
    book = book_of([*(rows or []), [formula]], locale)
    value = Calculator(book, NOW).value(book.sheets[0], len(rows or []), 0)
    return getattr(value, "text", value)


@given(st.integers(0, 18_277))
def test_column_names_are_read_back(column):
    assert column_number(column_name(column)) == column


@given(st.integers(0, 999), st.integers(1, 50), st.integers(0, 99), st.integers(1, 50), st.text(min_size=1, max_size=9))
def test_a_canonical_range_is_read_back(top, height, left, width, title):
    bounds = Bounds(top, top + height, left, left + width)
    found, cells = split_title(format_range(title, bounds))
    assert (found, parse_bounds(cells)) == (title, bounds)


@given(st.datetimes(datetime(1, 1, 1), datetime(9998, 12, 31)))  # noqa: DTZ001
def test_serials_keep_a_time_to_the_millisecond(moment):
    rounded = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert from_serial(to_serial(rounded)) == rounded


@given(st.dates(date(1930, 1, 1), date(2100, 1, 1)), st.sampled_from(["en_US", "en_GB", "fr_FR", "de_DE"]))
def test_a_date_shown_in_a_locale_is_typed_back(day, name):
    locale = find_locale(name)
    serial = to_serial(datetime(day.year, day.month, day.day))  # noqa: DTZ001
    assert parse_entry(format_number(serial, "DATE", "", locale), locale, TODAY).value == serial


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(["en_US", "en_GB", "fr_FR", "de_DE"]))
def test_a_number_shown_in_a_locale_is_typed_back(amount, name):
    locale = find_locale(name)
    shown = format_number(float(amount), "NUMBER", "#,##0.00", locale)
    assert parse_entry(shown, locale, TODAY).value == float(amount)


@pytest.mark.parametrize(
    ("typed", "locale", "value"),
    [
        ("13/1/2026", "en_US", "13/1/2026"),
        ("13/1/2026", "fr_FR", 46035),
        ("4 juillet 2026", "fr_FR", 46207),
        ("Jul 4, 2026", "en_US", 46207),
        ("3/4", "en_US", 46085),
        ("12:30 PM", "en_US", 12.5 / 24),
        ("25:61", "en_US", "25:61"),
        ("2026-02-30", "en_US", "2026-02-30"),
        ("1,5", "en_US", "1,5"),
        ("1.5.2", "en_US", "1.5.2"),
        ("(5)", "en_US", -5),
        ("1e5", "en_US", 100_000),
        ("-$1.50", "en_US", -1.5),
        ("  7 ", "en_US", 7),
        ("true", "en_US", True),
        ("true story", "en_US", "true story"),
    ],
)
def test_what_is_typed_becomes_a_value_of_the_locale(typed, locale, value):
    assert parse_entry(typed, find_locale(locale), TODAY).value == pytest.approx(value) or value == typed


@pytest.mark.parametrize(
    ("value", "pattern", "shown"),
    [
        (1234.5, "#,##0.00", "1,234.50"),
        (-3.2, "0.0;(0.0)", "(3.2)"),
        (0.125, "0%", "13%"),
        (1.5, '"$"#,##0.00" each"', "$1.50 each"),
        (0.00123, "0.00E+00", "1.23E-03"),
        (7, "000", "007"),
    ],
)
def test_a_pattern_shows_a_number(value, pattern, shown):
    assert format_number(value, "NUMBER", pattern, find_locale("en_US")) == shown


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("=1+2*3^2", 19),
        ("=-2^2", 4),
        ("=50%", 0.5),
        ('="a"&1.5&TRUE', "a1.5TRUE"),
        ('="a"="A"', True),
        ("=1/0", "#DIV/0!"),
        ("=NOPE(1)", "#NAME?"),
        ('=1+"x"', "#VALUE!"),
        ('=1+"2"', 3),
        ("=IFERROR(1/0,7)", 7),
        ("=IF(FALSE,1/0,2)", 2),
        ("=SUM(1", "#ERROR!"),
        ("=ROUND(2.345,2)", 2.35),
        ("=DATE(2020,1,1)", 43831),
        ("=YEAR(TODAY())", 2026),
        ('=TEXT(43831,"yyyy-mm-dd")', "2020-01-01"),
        ("=Z9999", "#REF!"),
        ("=Nope!A1", "#REF!"),
    ],
)
def test_a_formula_gives_its_value(formula, value):
    assert result(formula) == pytest.approx(value)


def test_functions_over_ranges_pass_over_text():
    rows = [[1, "x", True], [2, None, 3]]
    assert result("=SUM(A1:C2)", rows) == 6
    assert result("=COUNT(A1:C2)", rows) == 3
    assert result("=COUNTA(A1:C2)", rows) == 5
    assert result("=AVERAGE(A1:A2)", rows) == 1.5
    assert result('=SUMIF(A1:A2,">1")', rows) == 2
    assert result('=COUNTIF(A1:C2,"X")', rows) == 1


def test_a_french_formula_separates_by_semicolons():
    assert result("=IF(1>0;1,5;2)", locale="fr_FR") == 1.5


@given(st.text(alphabet="ABab12$:!+-*/(),;.'\" &=<>%é", max_size=20))
def test_any_text_is_a_formula_or_none(text):
    try:
        assert "=" + "".join(token.text for token in tokens(f"={text}")) == f"={text}"
        parse(f"={text}", ",")
    except FormulaError:
        pass


def test_a_copied_formula_moves_what_has_no_dollar():
    assert offset("=A1+$A1+A$1+$A$1+SUM(B:B)", 2, 1) == "=B3+$A3+B$1+$A$1+SUM(C:C)"
    assert offset("=A1", -1, 0) == "=#REF!"


@given(st.lists(st.lists(st.booleans(), max_size=6), max_size=8))
def test_tables_do_not_touch_and_hold_every_filled_cell(grid):
    sheet = Sheet(0, "S")
    for row, line in enumerate(grid):
        sheet.put(row, {column: Cell("x") for column, full in enumerate(line) if full})
    tables = find_tables(sheet)
    for row, line in enumerate(grid):
        for column, full in enumerate(line):
            cell = Area(0, row, row + 1, column, column + 1)
            assert not full or sum(table.meets(cell) for table in tables) == 1
    assert not any(first.meets(second) for first in tables for second in tables if first is not second)


@given(st.integers(0, 6), st.integers(1, 3), st.sampled_from(["ROWS", "COLUMNS"]))
def test_inserting_and_deleting_the_same_lines_changes_nothing(start, count, axis):
    rows: list[list[object]] = [[1, 2, "=SUM(A1:B3)"], ["=C1", "=$A$1+B2", None], [None, 5, "=A:A"], ["=2:2"]]
    book = book_of(rows)
    sheet = book.sheets[0]
    before = [row for row in sheet.rows if row]
    dimensions.insert(book, sheet, axis, start, count)
    dimensions.delete(book, sheet, axis, start, start + count)
    assert [row for row in sheet.rows if row] == before
    assert (sheet.row_count, sheet.column_count) == (1000, 26)


def test_a_long_chain_of_formulas_is_worked_out_from_its_end():
    rows: list[list[object]] = [[1], *[[f"=A{number}+1"] for number in range(1, 3000)]]
    book = book_of([])
    sheet = book.sheets[0]
    sheet.row_count = 3000
    for row, (value,) in enumerate(rows):
        sheet.put(row, {0: Cell(formula=value) if isinstance(value, str) else Cell(1.0)})
    assert Calculator(book, NOW).value(sheet, 2999, 0) == 3000
