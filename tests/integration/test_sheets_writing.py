"""What the Sheets connector writes: just the cells that differ, in few requests, and nothing else of the spreadsheet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sheets_side import TAB, SheetsSide, cell_differences, columns
from sync_provider.core.canonical import write_text
from sync_provider.core.errors import SyncDataError

BATCH = "sheets.spreadsheets.batchUpdate"
WRITES = r"\.batchUpdate$"
FIELDS = columns(code="string", name="string", price="decimal(12,2)", seen="date")
PLAIN = columns(code="string", name="string")


@pytest.fixture
def side(tmp_path: Path) -> Iterator[SheetsSide]:
    made = SheetsSide(tmp_path, locale="fr_FR", timeZone="Europe/Paris")
    yield made
    made.close()


def rec(number: int, **changed: Any) -> dict[str, Any]:
    record = {
        "code": f"{number:04d}",
        "name": f"Client {number}",
        "price": Decimal(number) / 4,
        "seen": date(2024, 1, 1 + number % 28),
    }
    return {**record, **changed}


def row(record: dict[str, Any], number: int) -> list[Any]:
    serial = (record["seen"] - date(1899, 12, 30)).days
    return [record["code"], f"note {number}", record["name"], float(record["price"]), f"=D{number + 4}*2", serial]


def noise(seed: int, length: int) -> str:
    """Text that does not compress to nothing."""
    return Random(seed).randbytes(length // 2).hex()


def furnish(side: SheetsSide, count: int) -> None:
    """A tab as people make them: a title, a gap, a header in row 3, foreign columns, formulas, formats, notes, a footer."""
    side.put(["Our clients"], [], ["code", "remark", "name", "price", "double", "seen"])
    side.put(*(row(rec(n), n) for n in range(count)), at="A4", typed=False)
    formulas = [[f"=D{n + 4}*2"] for n in range(count)]
    side.put(*formulas, at="E4", typed=True)
    side.put([f"=SUM(D4:D{count + 3})"], at=f"H{count + 5}", typed=True)
    side.put(["the end"], at=f"I{count + 5}")
    area = {"sheetId": 7, "startRowIndex": 3, "endRowIndex": count + 3}
    euro = {"userEnteredFormat": {"numberFormat": {"type": "CURRENCY", "pattern": '#,##0.00 "€"'}}}
    day = {"userEnteredFormat": {"numberFormat": {"type": "DATE", "pattern": "dd/mm/yyyy"}}}
    red = {"userEnteredFormat": {"backgroundColor": {"red": 1}, "textFormat": {"bold": True}}}
    columns_ = {"startColumnIndex": 3, "endColumnIndex": 4}
    dates = {"startColumnIndex": 5, "endColumnIndex": 6}
    side.client.batch(
        side.book,
        {"repeatCell": {"range": {**area, **columns_}, "cell": euro, "fields": "userEnteredFormat.numberFormat"}},
        {"repeatCell": {"range": {**area, **dates}, "cell": day, "fields": "userEnteredFormat.numberFormat"}},
        {
            "repeatCell": {
                "range": {"sheetId": 7, "startRowIndex": 9, "endRowIndex": 12, "startColumnIndex": 0, "endColumnIndex": 6},
                "cell": {**red, "note": "look at this"},
                "fields": "userEnteredFormat(backgroundColor,textFormat),note",
            }
        },
        {"updateSheetProperties": {"properties": {"sheetId": 7, "gridProperties": {"frozenRowCount": 3}}, "fields": "gridProperties.frozenRowCount"}},
    )  # fmt: skip
    side.forget()


def entered(found: dict[str, tuple[Any, Any]]) -> set[str]:
    """Addresses of the cells among differences."""
    cells = set()
    for path in found:
        parts = path.split("/")
        cells.add(f"{parts[parts.index('rowData') + 1]}:{parts[parts.index('values') + 1]}")
    return cells


# Cell by cell


def test_three_cells_of_a_thousand_rows_are_one_write_and_nothing_else_differs(side: SheetsSide) -> None:
    side.client.batch(side.book, {"appendDimension": {"sheetId": 7, "dimension": "ROWS", "length": 5}})
    furnish(side, 1000)
    before = side.grid()
    new = {
        7: rec(7, name="Ada"),
        500: rec(500, price=Decimal("99.95")),
        990: rec(990, seen=date(2025, 2, 28)),
    }
    side.forget()
    result = side.write(
        FIELDS,
        *(("update", record, rec(number)) for number, record in new.items()),
        connector=side.connector(header_row=3),
    )
    log = side.log()
    assert (result.inserted, result.updated, result.deleted) == (0, 3, 0)
    assert log["writes"] == 1
    after = side.grid()
    found = cell_differences(before, after)
    # The formula of row 500 follows its price, and the sum below too: they are no cells of ours.
    computed = {path for path in found if "/userEnteredValue" not in path}
    typed = {path: values for path, values in found.items() if "/userEnteredValue" in path}
    assert entered(typed) == {"10:2", "503:3", "993:5"}
    assert {values[1] for values in typed.values()} == {"Ada", 99.95, 45716}
    assert entered(dict.fromkeys(computed, (0, 0))) <= {"10:2", "503:3", "993:5", "503:4", "1004:7"}
    assert all("Format" not in path and "note" not in path for path in found)


def test_what_stands_there_already_is_not_written(side: SheetsSide) -> None:
    furnish(side, 20)
    before = side.grid()
    side.forget()
    result = side.write(
        FIELDS, *(("update", rec(n), rec(n, name="old")) for n in range(20)), connector=side.connector(header_row=3)
    )
    assert side.log()["writes"] == 0
    assert (result.inserted, result.updated, result.deleted) == (0, 0, 0)
    assert not result.deferred_keys
    assert side.grid() == before


def test_no_changes_are_no_request_at_all(side: SheetsSide) -> None:
    furnish(side, 3)
    assert side.write(FIELDS, mode="mirror").inserted == 0
    assert side.log()["total"] == 0


def test_sorted_and_moved_rows_and_columns_are_written_where_they_stand_now(side: SheetsSide) -> None:
    furnish(side, 20)
    connector = side.connector(header_row=3)
    area = {"sheetId": 7, "startRowIndex": 3, "endRowIndex": 23, "startColumnIndex": 0, "endColumnIndex": 6}
    side.client.batch(
        side.book,
        {"sortRange": {"range": area, "sortSpecs": [{"dimensionIndex": 0, "sortOrder": "DESCENDING"}]}},
        {"moveDimension": {"source": {"sheetId": 7, "dimension": "COLUMNS", "startIndex": 0, "endIndex": 1}, "destinationIndex": 6}},
        {"insertDimension": {"range": {"sheetId": 7, "dimension": "ROWS", "startIndex": 10, "endIndex": 12}}},
    )  # fmt: skip
    before = side.grid()
    result = side.write(FIELDS, ("update", rec(4, name="Moved"), rec(4)), connector=connector)
    assert result.updated == 1
    found = cell_differences(before, side.grid())
    assert {values for path, values in found.items() if "userEnteredValue" in path} == {("Client 4", "Moved")}


def test_rows_go_and_come_without_touching_the_others(side: SheetsSide) -> None:
    furnish(side, 20)
    result = side.write(
        FIELDS,
        ("delete", None, rec(3)),
        ("delete", None, rec(4)),
        ("delete", None, rec(10)),
        ("update", rec(11, name="Ada"), rec(11)),
        ("insert", rec(100), None),
        connector=side.connector(header_row=3),
    )
    assert (result.inserted, result.updated, result.deleted) == (1, 1, 3)
    rows = side.rows()
    assert [each[0] for each in rows[3:] if each and each[0]] == [
        f"{n:04d}" for n in [*range(3), *range(5, 10), *range(11, 20), 100]
    ]
    by_code = {each[0]: each for each in rows[3:] if each}
    assert by_code["0011"][1:3] == ["note 11", "Ada"]
    assert by_code["0012"] == ["0012", "note 12", "Client 12", 3, 6, row(rec(12), 12)[5]]
    assert by_code["0100"][:4] == ["0100", "", "Client 100", 25]
    assert any(len(each) > 8 and each[8] == "the end" for each in rows)
    # The new row looks as the one above it.
    number = next(at for at, each in enumerate(rows) if each and each[0] == "0100")
    shown = side.client.get(side.book, f"{TAB}!F{number + 1}")["values"]
    assert shown == [["17/01/2024"]]


def test_a_record_changed_since_the_plan_is_deferred_and_kept(side: SheetsSide) -> None:
    furnish(side, 5)
    side.put(["theirs"], at="C5")
    result = side.write(
        FIELDS,
        ("update", rec(1, name="ours"), rec(1)),
        ("delete", None, rec(2, name="was another")),
        ("update", rec(3, name="ours"), rec(3)),
        connector=side.connector(header_row=3),
    )
    assert result.updated == 1
    assert result.deferred_keys == ["0001", "0002"]
    assert [each[2] for each in side.rows()[3:8]] == ["Client 0", "theirs", "Client 2", "ours", "Client 4"]


def test_keys_that_stand_there_twice_are_named_and_left(side: SheetsSide) -> None:
    side.put(["code", "name"], ["a", "1"], ["b", "2"], ["a", "3"])
    result = side.write(
        PLAIN,
        ("update", {"code": "a", "name": "x"}, {"code": "a", "name": "1"}),
        ("update", {"code": "b", "name": "y"}, {"code": "b", "name": "2"}),
    )
    assert result.updated == 1
    (rejection,) = result.rejections
    assert rejection.rule == "duplicate_key"
    assert "2, 4" in rejection.message
    assert side.rows() == [["code", "name"], ["a", "1"], ["b", "y"], ["a", "3"]]


def test_a_formula_is_not_overwritten(side: SheetsSide) -> None:
    side.put(["code", "name"], ["a", "x"], ["b", "x"])
    side.put(['="x"'], at="B2", typed=True)
    result = side.write(
        PLAIN,
        *(("update", {"code": code, "name": "new"}, {"code": code, "name": "x"}) for code in "ab"),
    )
    (rejection,) = result.rejections
    assert (rejection.rule, rejection.field, rejection.key) == ("formula_cell", "name", "a")
    assert rejection.where.cell == "B2"
    assert result.updated == 1
    assert side.client.rows(side.book, f"{TAB}!B2:B3", "FORMULA") == [['="x"'], ["new"]]


@pytest.mark.parametrize("mode", ["upsert", "append"])
def test_new_records_go_below_formulas_that_show_nothing(side: SheetsSide, mode: str) -> None:
    side.put(["code", "remark", "name"], ["a", "", "x"])
    formulas = [[f'=IF(A{row}="";"";A{row})'] for row in range(3, 7)]
    side.put(*formulas, at="C3", typed=True)
    fresh = [{"code": code, "name": "new"} for code in "bc"]
    result = side.write(PLAIN, *(("insert", each, None) for each in fresh), mode=mode)
    assert (result.inserted, result.deferred_keys) == (2, [])
    typed = side.client.rows(side.book, f"{TAB}!A2:C", "FORMULA")
    assert typed == [["a", "", "x"], *(["", "", *each] for each in formulas), ["b", "", "new"], ["c", "", "new"]]


def test_a_date_in_an_unformatted_cell_gets_a_format_and_its_neighbours_none(side: SheetsSide) -> None:
    fields = columns(code="string", day="date", price="decimal(12,2)")
    side.put(["code", "day", "price"], ["a"])
    percent = {"userEnteredFormat": {"numberFormat": {"type": "PERCENT", "pattern": "0%"}}}
    area = {"sheetId": 7, "startColumnIndex": 2, "endColumnIndex": 3}
    side.client.batch(side.book, {"repeatCell": {"range": area, "cell": percent, "fields": "userEnteredFormat"}})
    new = {"code": "a", "day": date(2024, 2, 29), "price": Decimal("0.5")}
    side.write(
        fields,
        ("update", new, {"code": "a", "day": None, "price": None}),
        ("insert", {**new, "code": "b"}, None),
    )
    shown = side.client.get(side.book, f"{TAB}!A2:C3")["values"]
    assert shown == [["a", "2024-02-29", "50%"], ["b", "2024-02-29", "50%"]]


# Values


AWKWARD = [
    '=HYPERLINK("http://example.org";"x")',
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-1+1",
    "@x",
    "'quoted",
    "''",
    "0042",
    "1e5",
    "TRUE",
    "9007199254740993",
    "2024-01-01",
    " leading and trailing ",
    "a\tb",
    "a\nb\r\nc\rd",
    "é e\u0301 \U0001f600 \u200b",
    "#N/A",
    "\u0001\u001f\u007f",
]


@pytest.mark.parametrize("mode", ["upsert", "append", "replace", "bulk"])
def test_texts_are_stored_byte_for_byte(side: SheetsSide, mode: str) -> None:
    side.put(["code", "name"])
    texts = AWKWARD if mode != "bulk" else [*AWKWARD, *(f"{n} " + "z" * 40_000 for n in range(60))]
    records = [{"code": f"k{n}", "name": text} for n, text in enumerate(texts)]
    side.write(PLAIN, *(("insert", each, None) for each in records), mode="replace" if mode == "bulk" else mode)
    cells = side.client.spreadsheets.get(
        spreadsheetId=side.book, ranges=[f"{TAB}!B2:B{len(texts) + 1}"], fields="sheets.data.rowData.values.userEnteredValue"
    ).execute()["sheets"][0]["data"][0]["rowData"]  # fmt: skip
    assert [each["values"][0]["userEnteredValue"] for each in cells] == [{"stringValue": text} for text in texts]
    found, rejections = side.read(code="string", name="string")
    assert [each["name"] for each in found] == texts
    assert not rejections
    if mode == "upsert":
        side.forget()
        again = side.write(PLAIN, *(("insert", each, None) for each in records))
        assert again.inserted == 0
        assert side.log()["writes"] == 0


def test_numbers_that_a_cell_cannot_hold_are_written_as_text_and_come_back(side: SheetsSide) -> None:
    fields = columns(code="integer", price="decimal(38,10)", seen="timestamp")
    records = [
        {"code": 9007199254740993, "price": Decimal("12345678901234567890.0123456789"), "seen": None},
        {"code": -5, "price": Decimal("0.1"), "seen": datetime(2024, 10, 27, 0, 30, tzinfo=UTC)},
        {"code": 2, "price": Decimal("-1234.5"), "seen": datetime(2024, 10, 27, 1, 30, tzinfo=UTC)},
        {"code": 3, "price": None, "seen": datetime(2024, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)},
    ]
    side.write(fields, *(("insert", each, None) for each in records), connector=side.connector(sheet="N"))
    found, rejections = side.read(side.connector(sheet="N"), code="integer", price="decimal(38,10)", seen="timestamp")
    assert not rejections
    assert [each["code"] for each in found] == ["9007199254740993", "-5", "2", "3"]
    assert [each["price"] for each in found] == ["12345678901234567890.0123456789", "0.1", "-1234.5", None]
    assert [each["seen"] for each in found] == [
        None,
        "2024-10-27T00:30:00Z",
        "2024-10-27T01:30:00Z",
        "2024-07-01T12:00:00.123456Z",
    ]
    assert side.rows("N")[2][0] == -5
    assert side.write(
        fields, *(("insert", each, None) for each in records), connector=side.connector(sheet="N")
    ).inserted == 0  # fmt: skip


def test_a_negative_zero_is_not_taken_for_somebodys_edit(side: SheetsSide) -> None:
    side.put(["code", "ratio"], ["a", 1])
    fields = columns(code="string", ratio="double")
    changes = (
        ("update", {"code": "a", "ratio": -0.0}, {"code": "a", "ratio": 1.0}),
        ("insert", {"code": "b", "ratio": -0.0}, None),
    )
    result = side.write(fields, *changes)
    assert (result.updated, result.inserted, result.deferred_keys) == (1, 1, [])


@pytest.mark.parametrize("odd", [[], [datetime(2, 3, 4, 5, 6, 7, 8, tzinfo=UTC)]])
def test_times_far_from_now_come_back_as_they_were(side: SheetsSide, odd: list[datetime]) -> None:
    """With a time finer than a cell shows, each is read by itself; without, all at once."""
    fields = columns(code="string", at="timestamp")
    times = [
        datetime(9999, 12, 31, 22, 59, 59, tzinfo=UTC),
        datetime(9999, 12, 30, 1, 2, 3, 4000, tzinfo=UTC),
        datetime(4000, 7, 1, 12, 34, 56, 789000, tzinfo=UTC),
        datetime(1, 1, 2, 3, 4, 5, tzinfo=UTC),
        *odd,
    ]
    records = [{"code": str(at), "at": time} for at, time in enumerate(times)]
    result = side.write(fields, *(("insert", each, None) for each in records))
    assert (result.inserted, result.deferred_keys) == (len(times), [])
    found, rejections = side.read(code="string", at="timestamp")
    assert not rejections
    assert [each["at"] for each in found] == [write_text(time) for time in times]


@pytest.mark.parametrize("mode", ["upsert", "append", "replace"])
def test_a_text_too_long_for_a_cell_is_rejected_and_not_cut(side: SheetsSide, mode: str) -> None:
    side.put(["code", "name"])
    fits, too_long, emoji = "x" * 50_000, "x" * 50_001, "\U0001f600" * 25_001
    records = [{"code": code, "name": name} for code, name in (("a", fits), ("b", too_long), ("c", emoji))]
    result = side.write(PLAIN, *(("insert", each, None) for each in records), mode=mode)
    assert result.inserted == 1
    assert {rejection.rule for rejection in result.rejections} == {"too_long"}
    assert len(result.rejections) == 2
    assert "xxx" not in repr(result.rejections)
    assert side.rows()[1:] == [["a", fits]]


# The grid


@pytest.mark.parametrize("mode", ["upsert", "append", "replace"])
def test_the_grid_grows_by_as_much_as_is_needed(side: SheetsSide, mode: str) -> None:
    side.put(["code", "name"])
    side.client.batch(
        side.book,
        {"updateSheetProperties": {"properties": {"sheetId": 7, "gridProperties": {"rowCount": 3, "columnCount": 2}}, "fields": "gridProperties(rowCount,columnCount)"}},
    )  # fmt: skip
    side.write(PLAIN, *(("insert", {"code": f"k{n}", "name": "x"}, None) for n in range(10)), mode=mode)
    (tab,) = side.grid()
    assert tab["properties"]["gridProperties"] == {"rowCount": 11, "columnCount": 2}
    assert len(side.rows()) == 11


@pytest.mark.parametrize("mode", ["upsert", "append", "replace"])
def test_a_spreadsheet_that_would_be_too_large_is_refused_before_anything_is_written(
    side: SheetsSide, mode: str
) -> None:
    side.put(["code", "name"])
    side.client.batch(
        side.book,
        {"updateSheetProperties": {"properties": {"sheetId": 7, "gridProperties": {"rowCount": 2, "columnCount": 12}}, "fields": "gridProperties(rowCount,columnCount)"}},
        {"addSheet": {"properties": {"sheetId": 8, "title": "Full", "gridProperties": {"rowCount": 99_999, "columnCount": 100}}}},
    )  # fmt: skip
    side.forget()
    with pytest.raises(SyncDataError) as caught:
        side.write(PLAIN, *(("insert", {"code": f"k{n}", "name": "x"}, None) for n in range(10)), mode=mode)
    assert caught.value.code == "spreadsheet_full"
    with pytest.raises(SyncDataError) as caught:
        side.write(PLAIN, ("insert", {"code": "a", "name": "x"}, None), connector=side.connector(sheet="New"))
    assert caught.value.code == "spreadsheet_full"
    assert side.log()["writes"] == 0


def test_a_new_tab_has_a_frozen_bold_header(side: SheetsSide) -> None:
    side.write(PLAIN, ("insert", {"code": "a", "name": "x"}, None), connector=side.connector(sheet="L'été"))
    tab = side.grid()[1]
    assert tab["properties"]["title"] == "L'été"
    assert tab["properties"]["gridProperties"]["frozenRowCount"] == 1
    header = tab["data"][0]["rowData"][0]["values"]
    assert [cell["formattedValue"] for cell in header] == ["code", "name"]
    assert all(cell["userEnteredFormat"]["textFormat"]["bold"] for cell in header)
    with pytest.raises(SyncDataError) as caught:
        side.write(
            PLAIN, ("insert", {"code": "a", "name": "x"}, None), connector=side.connector(sheet="No", create=False)
        )
    assert caught.value.code == "sheet_missing"


def test_all_records_may_go_below_a_frozen_header(side: SheetsSide) -> None:
    """Google keeps a row that is not frozen, whatever becomes of the records."""
    side.put(["code", "name"], ["a", "x"], ["b", "x"])
    grid = {"rowCount": 3, "columnCount": 2, "frozenRowCount": 1}
    properties = {"sheetId": 7, "gridProperties": grid}
    side.client.batch(side.book, {"updateSheetProperties": {"properties": properties, "fields": "gridProperties"}})
    result = side.write(PLAIN, *(("delete", None, {"code": code, "name": "x"}) for code in "ab"), mode="mirror")
    assert (result.deleted, result.deferred_keys) == (2, [])
    assert side.rows() == [["code", "name"]]
    assert side.grid()[0]["properties"]["gridProperties"] == {**grid, "rowCount": 2}


# Replacing and appending


def test_nothing_may_replace_nothing_where_the_grid_ends(side: SheetsSide) -> None:
    side.put(["code", "name"])
    properties = {"sheetId": 7, "gridProperties": {"rowCount": 1, "columnCount": 2}}
    side.client.batch(side.book, {"updateSheetProperties": {"properties": properties, "fields": "gridProperties"}})
    side.forget()
    assert side.write(PLAIN, mode="replace").inserted == 0
    assert side.log()["writes"] == 0


def test_replacing_keeps_looks_other_columns_and_footers(side: SheetsSide) -> None:
    furnish(side, 20)
    before = side.grid()
    result = side.write(
        FIELDS, *(("insert", rec(n), None) for n in range(15)), mode="replace", connector=side.connector(header_row=3)
    )
    assert result.inserted == 15
    found = cell_differences(before, side.grid())
    typed = {path for path in found if "userEnteredValue" in path}
    assert entered(dict.fromkeys(typed, (0, 0))) == {f"{3 + n}:{c}" for n in range(15, 20) for c in (0, 2, 3, 5)}
    assert not [path for path in found if "userEnteredFormat" in path or "note" in path]


def test_a_large_replacement_goes_through_a_hidden_tab_and_is_never_seen_half_done(side: SheetsSide) -> None:
    side.put(["code", "name"], *([f"old{n}", noise(n, 10_000)] for n in range(150)))
    red = {"userEnteredFormat": {"backgroundColor": {"red": 1}}}
    area = {"sheetId": 7, "startRowIndex": 1, "endRowIndex": 9, "startColumnIndex": 0, "endColumnIndex": 2}
    side.client.batch(
        side.book, {"repeatCell": {"range": area, "cell": red, "fields": "userEnteredFormat.backgroundColor"}}
    )
    watcher = type(side.client)(side.sandbox)
    seen: list[list[str]] = []
    done = threading.Event()

    def watch() -> None:
        while True:
            last = done.is_set()
            seen.append([each[0] for each in watcher.rows(side.book, f"{TAB}!A2:A")])
            if last:
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        records = [{"code": f"new{n}", "name": noise(n, 30_000)} for n in range(200)]
        side.forget()
        result = side.write(PLAIN, *(("insert", each, None) for each in records), mode="replace")
    finally:
        done.set()
        thread.join()
    assert result.inserted == 200
    old, new = [f"old{n}" for n in range(150)], [f"new{n}" for n in range(200)]
    assert all(each in (old, new) for each in seen)
    assert seen[-1] == new
    bodies = [each["request_bytes"] for each in side.log()["requests"] if each["kind"] == "write"]
    assert 4 < len(bodies) < 8
    assert max(bodies) <= 2_000_000
    (tab,) = side.grid()
    assert tab["data"][0]["rowData"][8]["values"][1]["userEnteredFormat"]["backgroundColor"] == {"red": 1}


def test_a_hidden_tab_that_a_killed_run_left_is_cleared_away(side: SheetsSide) -> None:
    side.put(["code", "name"])
    side.client.batch(side.book, {"addSheet": {"properties": {"title": "sync_provider temporary 12", "hidden": True}}})
    side.write(PLAIN, ("insert", {"code": "a", "name": "x"}, None), mode="replace")
    assert [tab["properties"]["title"] for tab in side.grid()] == [TAB]


def test_a_second_try_of_an_append_adds_only_what_is_missing(side: SheetsSide) -> None:
    side.put(["code", "name"])
    rows = [("insert", {"code": f"k{n:03d}", "name": "z" * 40_000}, None) for n in range(120)]
    side.fault(BATCH, status=400, message="no", skip=1)
    with pytest.raises(SyncDataError):
        side.write(PLAIN, *rows, mode="append", marker="run-1")
    written = len(side.rows()) - 1
    assert 0 < written < 120
    assert side.write(PLAIN, *rows, mode="append", marker="run-1").inserted == 120 - written
    assert side.write(PLAIN, *rows, mode="append", marker="run-1").inserted == 0
    assert [each[0] for each in side.rows()[1:]] == [f"k{n:03d}" for n in range(120)]


def test_appending_goes_below_the_last_record_and_not_over_what_stands_beside(side: SheetsSide) -> None:
    furnish(side, 5)
    side.write(FIELDS, ("insert", rec(50), None), mode="append", connector=side.connector(header_row=3))
    rows = side.rows()
    assert rows[8][:4] == ["0050", "", "Client 50", 12.5]
    assert rows[9][7:] == [2.5, "the end"]


# Size


def test_many_edits_are_few_requests_of_a_bounded_size(side: SheetsSide) -> None:
    fields = columns(code="string", name="string", city="string")
    side.put(["code", "name", "city"], *([f"{n:05d}", f"Name {n}", "Paris"] for n in range(900)))
    old = [{"code": f"{n:05d}", "name": f"Name {n}", "city": "Paris"} for n in range(900)]
    side.forget()
    result = side.write(fields, *(("update", {**each, "city": "Lyon"}, each) for each in old if int(each["code"]) % 2))
    log = side.log()
    assert result.updated == 450
    assert (log["reads"], log["writes"]) == (5, 1)  # book, header, values, formulas, read back
    assert {each[2] for each in side.rows()[1:] if int(each[0]) % 2} == {"Lyon"}
    assert {each[2] for each in side.rows()[1:] if int(each[0]) % 2 == 0} == {"Paris"}
