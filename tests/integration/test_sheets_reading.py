"""What the Sheets connector makes of a tab: exact values, refusals with their cell, and never a torn or shortened sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sheets_side import TAB, SheetsSide, columns
from sync_provider.connectors.base import ROW, ColumnRequest, ReadRequest
from sync_provider.connectors.sheets import reading
from sync_provider.core.errors import MappingError, SyncConnectionError, SyncDataError
from sync_provider.core.schema import parse_type

VALUES = r"values\.batchGet$"


@pytest.fixture
def side(tmp_path: Path) -> Iterator[SheetsSide]:
    made = SheetsSide(tmp_path, locale="fr_FR", timeZone="Europe/Paris")
    yield made
    made.close()


def serial(days: int, hours: float) -> float:
    return days + hours / 24


MARCH_31_2024, OCTOBER_27_2024, LEAP_DAY = 45382, 45592, 45351


# Values


def test_times_are_on_the_clocks_of_the_spreadsheet(side: SheetsSide) -> None:
    side.put(
        ["day", "at"],
        [LEAP_DAY, serial(LEAP_DAY, 12)],
        [2, serial(OCTOBER_27_2024, 4.5)],
        [-1, serial(MARCH_31_2024, 1 + 59 / 60)],
        ["", serial(MARCH_31_2024, 3)],
        [LEAP_DAY, 45351.500005787],
        [LEAP_DAY, 45351 + 12345.678 / 86400],
    )
    records, rejections = side.read(day="date", at="timestamp")
    assert not rejections
    assert [record["day"] for record in records] == [
        "2024-02-29",
        "1900-01-01",
        "1899-12-29",
        None,
        *["2024-02-29"] * 2,
    ]
    assert [record["at"] for record in records] == [
        "2024-02-29T11:00:00Z",
        "2024-10-27T03:30:00Z",
        "2024-03-31T00:59:00Z",
        "2024-03-31T01:00:00Z",
        "2024-02-29T11:00:00.5Z",
        "2024-02-29T02:25:45.678Z",
    ]


def test_a_time_that_clocks_show_twice_or_never_is_left_to_be_refused(side: SheetsSide) -> None:
    side.put(["at"], [serial(OCTOBER_27_2024, 2.5)], [serial(MARCH_31_2024, 2.5)], [serial(LEAP_DAY, 12)])
    records, _ = side.read(at="timestamp")
    assert [record["at"] for record in records] == [
        "2024-10-27T02:30:00[Europe/Paris]",
        "2024-03-31T02:30:00[Europe/Paris]",
        "2024-02-29T11:00:00Z",
    ]


def test_a_date_with_a_time_is_no_date(side: SheetsSide) -> None:
    side.put(["day"], [45351.25])
    records, _ = side.read(day="date")
    assert records == [{"day": "2024-02-29T06:00:00"}]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Etc/GMT", "Pacific/Apia"])
@pytest.mark.parametrize("first", [44197, 51136])  # 2021 and 2040: beyond what the time zone database lists
def test_every_zone_counts_as_pythons_own(tmp_path: Path, zone: str, first: int) -> None:
    from datetime import UTC, datetime, timedelta
    from zoneinfo import ZoneInfo

    side = SheetsSide(tmp_path, timeZone=zone)
    try:
        days = [first + n * 37 for n in range(40)]
        side.put(["at"], *([serial(day, 6.25)] for day in days))
        records, _ = side.read(at="timestamp")
    finally:
        side.close()
    for day, record in zip(days, records, strict=True):
        local = datetime(1899, 12, 30, 6, 15, tzinfo=ZoneInfo(zone)) + timedelta(days=day)
        assert record["at"] == local.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_numbers_are_exact_or_refused(side: SheetsSide) -> None:
    side.put(
        ["whole", "exact", "double"],
        [1, 0.1, 0.1],
        [-9007199254740991, 123456789012.34, 1e300],
        [9007199254740993, 1e-7, 1e-7],
        [1e21, 12.0, 12.0],
        ["1 234,50", "1 234,50", "1 234,50"],
        [True, False, 2],
    )
    connector = side.connector(decimal=",")
    records, rejections = side.read(connector, whole="integer", exact="decimal(20,8)", double="double")
    assert not rejections
    assert [record["whole"] for record in records] == [
        "1", "-9007199254740991", "9.007199254740992E+15", "1E+21", "1234.50", "true",
    ]  # fmt: skip
    assert [record["exact"] for record in records] == ["0.1", "123456789012.34", "0.0000001", "12", "1234.50", "false"]
    assert [float(str(record["double"])) for record in records] == [0.1, 1e300, 1e-7, 12.0, 1234.5, 2.0]


def test_texts_stay_as_they_are_and_rounded_numbers_are_no_text(side: SheetsSide) -> None:
    side.put(
        ["code", "name"],
        ["0042", "a"],
        [42, "b"],
        [4.5, "c"],
        [True, "d"],
        ["TRUE", "e"],
        ["1e5", "f"],
        ["9007199254740993", "g"],
        [9007199254740993, "h"],
        [" e\u0301 ", "i"],
    )
    records, rejections = side.read(code="string", name="string")
    assert [record["code"] for record in records] == [
        "0042", "42", "4.5", "TRUE", "TRUE", "1e5", "9007199254740993", " e\u0301 ",
    ]  # fmt: skip
    (rejection,) = rejections
    assert (rejection.rule, rejection.field, rejection.where.cell) == ("rounded_number", "code", "A9")
    assert rejection.record["name"] == "h"


def test_a_formula_that_failed_is_told_from_a_text_that_looks_so(side: SheetsSide) -> None:
    side.put(["code", "price"], ["a", "#N/A"], ["b"], ["c"], ["d", 5])
    side.put(["=1/0"], ["=B5*2"], at="B3", typed=True)
    side.forget()
    records, rejections = side.read(code="string", price="string")
    assert records == [{"code": "a", "price": "#N/A"}, {"code": "c", "price": "10"}, {"code": "d", "price": "5"}]
    (rejection,) = rejections
    assert (rejection.rule, rejection.where.sheet, rejection.where.cell) == ("error_cell", TAB, "B3")
    assert rejection.record["code"] == "b"
    assert side.log()["reads"] == 4  # book, header, values, formulas


def test_ragged_and_blank_rows(side: SheetsSide) -> None:
    side.put(["a", "b", "c"], [1], [], ["", "", 3], ["", ""], [4, 5, 6, "beyond"], ["", "x"])
    records, _ = side.read(a="integer", b="string", c="integer")
    assert records == [
        {"a": "1", "b": None, "c": None},
        {"a": None, "b": None, "c": "3"},
        {"a": "4", "b": "5", "c": "6"},
        {"a": None, "b": "x", "c": None},
    ]
    wanted = tuple(ColumnRequest(name=name, type=parse_type("string")) for name in "abc")
    batches = list(side.connector().read(ReadRequest(columns=wanted)))
    assert [number for each in batches for number in each.records.column(ROW).to_pylist()] == [2, 4, 6, 7]


# Headers


def test_a_wanted_column_that_stands_there_twice_names_both_cells(side: SheetsSide) -> None:
    side.put(["code", "name", "", "name"], ["a", "x", "no name", "y"])
    with pytest.raises(SyncDataError) as caught:
        side.read(code="string", name="string")
    assert caught.value.code == "duplicate_column"
    assert "B1 and D1" in str(caught.value)
    assert side.read(code="string")[0] == [{"code": "a"}]


def test_a_missing_column_names_the_nearest(side: SheetsSide) -> None:
    side.put(["code", "prénom"], ["a", "x"])
    with pytest.raises(SyncDataError) as caught:
        side.read(code="string", prenom="string")
    assert "prénom" in str(caught.value)
    assert caught.value.where.sheet == TAB


def test_a_column_in_another_unicode_spelling_is_told_apart(side: SheetsSide) -> None:
    side.put(["cle\u0301", "name"], ["1", "a"])
    with pytest.raises(SyncDataError) as caught:
        side.read(clé="string")
    assert "other Unicode characters" in str(caught.value.hint)


def test_a_tab_without_a_header_is_no_empty_tab(side: SheetsSide) -> None:
    with pytest.raises(SyncDataError):
        side.read(code="string")
    side.put(["code"])
    assert side.read(code="string") == ([], [])


def test_a_header_of_numbers_is_found_by_its_text(side: SheetsSide) -> None:
    side.put(["code", 2024, True], ["a", 5, "x"])
    assert side.read(**{"code": "string", "2024": "integer", "TRUE": "string"})[0] == [
        {"code": "a", "2024": "5", "TRUE": "x"}
    ]


# Tabs


def add_tabs(side: SheetsSide) -> None:
    side.put(["code"], ["first"])
    for number, title in ((21, "Ventes 2023"), (22, "Ventes 2024"), (23, "It's / «é» 😀")):
        side.client.batch(side.book, {"addSheet": {"properties": {"sheetId": number, "title": title}}})
        side.client.put(side.book, "'" + title.replace("'", "''") + "'!A1", [["code"], [title]])


@pytest.mark.parametrize(
    ("sheet", "expected"),
    [
        (0, ["first"]),
        (2, ["Ventes 2024"]),
        ({"gid": 23}, ["It's / «é» 😀"]),
        ("It's / «é» 😀", ["It's / «é» 😀"]),
        ("ventes 2023", ["Ventes 2023"]),
        ("/Ventes .*/", ["Ventes 2023", "Ventes 2024"]),
    ],
)
def test_tabs_are_found_by_index_number_title_and_pattern(side: SheetsSide, sheet: Any, expected: list[str]) -> None:
    add_tabs(side)
    connector = side.connector(sheet=sheet, sheet_field="tab")
    records, _ = side.read(connector, code="string", tab="string")
    assert [record["code"] for record in records] == expected
    assert [record["tab"] for record in records] == ([TAB] if expected == ["first"] else expected)


@pytest.mark.parametrize("sheet", [9, {"gid": 99}, "Ventes", "/Achats.*/"])
def test_a_tab_that_is_not_there_is_an_error_that_names_some(side: SheetsSide, sheet: Any) -> None:
    add_tabs(side)
    with pytest.raises(SyncDataError) as caught:
        side.read(side.connector(sheet=sheet), code="string")
    assert caught.value.code == "sheet_missing"
    assert "Ventes 2023" in str(caught.value.hint)


def test_a_pattern_that_is_none_is_an_error_of_the_mapping(side: SheetsSide) -> None:
    with pytest.raises(MappingError):
        side.read(side.connector(sheet="/(/"), code="string")


def test_a_renamed_tab_is_followed_by_its_number(side: SheetsSide, caplog: pytest.LogCaptureFixture) -> None:
    add_tabs(side)
    seen: dict[str, int] = {}
    memory = SimpleNamespace(number=seen.get, remember=seen.__setitem__)
    side.read(side.connector(sheet="Ventes 2023", memory=memory), code="string")
    assert seen == {"Ventes 2023": 21}
    change = {"updateSheetProperties": {"properties": {"sheetId": 21, "title": "Autre"}, "fields": "title"}}
    side.client.batch(side.book, change)
    followed = side.connector(sheet="Ventes 2023", memory=memory)
    assert side.read(followed, code="string")[0] == [{"code": "Ventes 2023"}]
    assert "'Autre'" in caplog.text
    with pytest.raises(SyncDataError):
        side.read(side.connector(sheet="Ventes 2023"), code="string")


# Named ranges


def name_range(side: SheetsSide, name: str, **bounds: int) -> None:
    item = {"name": name, "range": {"sheetId": 7, **bounds}}
    side.client.batch(side.book, {"addNamedRange": {"namedRange": item}})


def test_a_named_range_is_its_header_and_its_rows_and_nothing_beside_them(side: SheetsSide) -> None:
    side.put(
        ["code", "a title"],
        ["x", "code", "name", "code"],
        ["x", "a", "Anna", "z"],
        ["x", "", "", "z"],
        ["x", "b", "Bo", "z"],
        ["x", "c", "below", "z"],
    )
    name_range(side, "People", startRowIndex=1, endRowIndex=5, startColumnIndex=1, endColumnIndex=3)
    connector = side.connector(range="People", sheet_field="tab")
    assert [(column.name, column.position) for column in connector.describe()[:2]] == [("code", "B"), ("name", "C")]
    records, _ = side.read(connector, code="string", name="string", tab="string")
    assert records == [{"code": "a", "name": "Anna", "tab": TAB}, {"code": "b", "name": "Bo", "tab": TAB}]
    (batch,) = connector.read(ReadRequest(columns=(ColumnRequest(name="code", type=parse_type("integer")),)))
    assert batch.records.column(ROW).to_pylist() == [3, 5]
    with pytest.raises(SyncDataError, match="column 'z'"):
        side.read(side.connector(range="People"), z="string")
    assert connector.capabilities.modes == frozenset()


def test_a_named_range_follows_its_cells_and_may_be_open(side: SheetsSide) -> None:
    side.put(["code", "name", "other"], ["a", "Anna", "z"])
    name_range(side, "People", startColumnIndex=0, endColumnIndex=2)
    inserted = {"sheetId": 7, "dimension": "COLUMNS", "startIndex": 0, "endIndex": 1}
    side.client.batch(side.book, {"insertDimension": {"range": inserted}})
    side.put(["b", "Bo", "z"], at="B3")
    records, _ = side.read(side.connector(range="People"), code="string", name="string")
    assert records == [{"code": "a", "name": "Anna"}, {"code": "b", "name": "Bo"}]
    assert {column.name for column in side.connector(range="People").describe()} == {"code", "name"}


@pytest.mark.parametrize("there", [True, False])
def test_an_unknown_named_range_names_the_nearest(side: SheetsSide, there: bool) -> None:
    if there:
        name_range(side, "People", startRowIndex=1, endRowIndex=5, startColumnIndex=1, endColumnIndex=3)
    with pytest.raises(SyncDataError, match="no named range 'Poeple'") as caught:
        side.read(side.connector(range="Poeple"), code="string")
    assert caught.value.code == "range_missing"
    assert ("'People'" if there else "none at all") in (caught.value.hint or "")


def test_nothing_is_written_through_a_named_range(side: SheetsSide) -> None:
    name_range(side, "People", startRowIndex=1, endRowIndex=5, startColumnIndex=1, endColumnIndex=3)
    with pytest.raises(MappingError, match="a named range can only be read"):
        side.write(columns(code="string"), ("insert", {"code": "a"}, None), connector=side.connector(range="People"))


# Blocks


def test_a_large_tab_is_read_in_blocks_of_a_bounded_size(side: SheetsSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "REPLY_BYTES", 20_000)
    monkeypatch.setattr(reading, "_FIRST_ROWS_CELLS", 100)
    side.put(["code", "name"], *([n, f"name {n}" * (n % 7)] for n in range(990)))
    side.forget()
    records, _ = side.read(code="integer", name="string")
    assert [record["code"] for record in records] == [str(n) for n in range(990)]
    sizes = [each["response_bytes"] for each in side.log()["requests"] if each["method"].endswith("values.batchGet")]
    assert 3 < len(sizes) < 8
    assert max(sizes) < 40_000


def test_blank_rows_cost_few_requests(side: SheetsSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_FIRST_ROWS_CELLS", 20)
    side.put(["code", "name"])
    side.put(["1", "a"], at="A900")
    side.forget()
    records, _ = side.read(code="string", name="string")
    assert [record["code"] for record in records] == ["1"]
    assert side.count("sheets.spreadsheets.values.batchGet") < 15


def test_a_change_between_two_blocks_fails_the_read(side: SheetsSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_FIRST_ROWS_CELLS", 100)
    monkeypatch.setattr(reading, "REPLY_BYTES", 3_000)
    side.put(["code"], *([n] for n in range(600)))
    reading_ = side.connector().read(ReadRequest(columns=(ColumnRequest(name="code", type=parse_type("integer")),)))
    batches = iter(reading_)
    next(batches)
    next(batches)
    side.put([12345], at="A3")
    with pytest.raises(SyncConnectionError) as caught:
        list(batches)
    assert caught.value.code == "sheet_moved"
    assert caught.value.retryable


def test_an_answer_about_fewer_rows_than_asked_for_fails_the_read(side: SheetsSide) -> None:
    side.put(["code"], ["a"], ["b"])
    short = {"spreadsheetId": side.book, "valueRanges": [{"range": f"{TAB}!A2:A2", "values": [["a"]]}]}
    side.fault(VALUES, skip=1, body=json.dumps(short), headers={"Content-Type": "application/json"})
    with pytest.raises(SyncConnectionError) as caught:
        side.read(code="string")
    assert caught.value.code == "short_read"
    assert caught.value.retryable


def test_an_answer_without_ranges_fails_the_read(side: SheetsSide) -> None:
    side.put(["code"], ["a"])
    side.fault(VALUES, skip=1, body="{}", headers={"Content-Type": "application/json"})
    with pytest.raises(SyncConnectionError) as caught:
        side.read(code="string")
    assert caught.value.code == "short_read"


def test_rows_deleted_between_the_header_and_the_values_are_a_short_read(side: SheetsSide) -> None:
    side.put(["code"], *([n] for n in range(500)))
    connector = side.connector()
    connector.describe()  # the size of the grid is known from here on
    side.client.batch(
        side.book,
        {"deleteDimension": {"range": {"sheetId": 7, "dimension": "ROWS", "startIndex": 400, "endIndex": 900}}},
    )
    with pytest.raises(SyncConnectionError) as caught:
        side.read(connector, code="string")
    assert caught.value.code == "short_read"


def test_the_token_costs_one_request_and_reads_no_cell(side: SheetsSide) -> None:
    side.put(["code"], ["a"])
    first = side.connector().token()
    side.forget()
    assert side.connector().token() == first
    log = side.log()
    assert (log["total"], log["by_method"]) == (2, {"oauth.token": 1, "drive.files.get": 1})
    side.put(["b"], at="A2")
    assert side.connector().token() != first
