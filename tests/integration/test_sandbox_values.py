"""Reading, writing and appending values, over HTTP, with Google's own client. Numbers are those of the facts."""

from __future__ import annotations

import pytest
from sandbox_support import Client, refusal
from sync_provider.sandbox.server import Sandbox


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        client = Client(sandbox)
        client.control("PUT", "quotas", dict.fromkeys(client.control("GET", "quotas"), 100_000))
        yield client


@pytest.fixture
def book(client):
    return client.create()


def test_a_blank_range_has_no_values_key(client, book):
    assert client.get(book, "Sheet1") == {"range": "Sheet1!A1:Z1000", "majorDimension": "ROWS"}  # 1.1


def test_trailing_empty_cells_and_rows_are_trimmed_and_inner_ones_kept(client, book):
    client.put(book, "A1", [["a", "", "c", ""], [], ["", "x"], [""]])
    assert client.get(book, "A1:D9")["values"] == [["a", "", "c"], [], ["", "x"]]  # 1.2
    by_columns = client.get(book, "A1:D9", majorDimension="COLUMNS")
    assert by_columns["values"] == [["a"], ["", "", "x"], ["c"]]  # 1.3


@pytest.mark.parametrize(
    ("asked", "canonical"),
    [
        ("Sheet1", "Sheet1!A1:Z1000"),
        ("Sheet1!A1:C", "Sheet1!A1:C1000"),
        ("sheet1!$b$3", "Sheet1!B3"),
        ("1:2", "Sheet1!A1:Z2"),
        ("B:C", "Sheet1!B1:C1000"),
        ("A2:1", None),
        ("c3:a1", "Sheet1!A1:C3"),
        ("R2C3:R4C5", "Sheet1!C2:E4"),
        ("Y999:AB1005", "Sheet1!Y999:Z1000"),
    ],
)
def test_the_answer_names_the_canonical_range(client, book, asked, canonical):
    if canonical is not None:
        assert client.get(book, asked)["range"] == canonical  # 1.4 1.5 1.6 1.10
    else:
        assert client.get(book, asked)["range"] == "Sheet1!A1:Z2"


@pytest.mark.parametrize(
    ("title", "quoted"),
    [
        ("Sales", "Sales"),
        ("Sheet_1", "Sheet_1"),
        ("TRUE", "TRUE"),
        ("Probe Tab", "'Probe Tab'"),
        ("2026", "'2026'"),
        ("a-b", "'a-b'"),
        ("It's", "'It''s'"),
        ("Été 🎉", "'Été 🎉'"),
        ("a/b!c", "'a/b!c'"),
    ],
)
def test_titles_are_quoted_in_answers_only_where_they_must_be(client, book, title, quoted):
    client.batch(book, {"addSheet": {"properties": {"title": title}}})
    doubled = title.replace("'", "''")
    assert client.get(book, f"'{doubled}'!A1:B2")["range"] == f"{quoted}!A1:B2"  # 2.1 2.3
    assert client.get(book, f"{title}!A1:B2")["range"] == f"{quoted}!A1:B2"  # 2.2


def test_batch_get_answers_in_the_order_asked_and_fails_as_a_whole(client, book):
    answer = client.values.batchGet(spreadsheetId=book, ranges=["B2", "A1"]).execute()
    assert [item["range"] for item in answer["valueRanges"]] == ["Sheet1!B2", "Sheet1!A1"]  # 1.7
    error = refusal(client.values.batchGet(spreadsheetId=book, ranges=["A1", "NOPE!A5:F15"]))
    assert error == {
        "code": 400,
        "message": "Unable to parse range: NOPE!A5:F15",
        "status": "INVALID_ARGUMENT",
    }  # 1.8 9.3


def test_a_named_range_is_a_range_alone_or_after_a_title(client, book):
    cells = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 3, "startColumnIndex": 1, "endColumnIndex": 3}
    reply = client.batch(book, {"addNamedRange": {"namedRange": {"name": "Clients", "range": cells}}})
    named = reply[0]["addNamedRange"]["namedRange"]
    assert isinstance(named["namedRangeId"], str)  # 8.11
    assert {**named["range"], "sheetId": 0} == cells
    assert client.get(book, "Clients")["range"] == "Sheet1!B1:C3"  # 1.9
    assert client.get(book, "Sheet1!clients")["range"] == "Sheet1!B1:C3"


def test_the_three_renders_and_dates_as_text(client, book):
    client.put(book, "A1", [["53", "TRUE", "2020-01-01", "=1/0", "=A1+1", "$20.50", "x"]], "USER_ENTERED")
    assert client.rows(book, render="FORMATTED_VALUE") == [["53", "TRUE", "2020-01-01", "#DIV/0!", "54", "$20.50", "x"]]
    assert client.rows(book) == [[53, True, 43831, "#DIV/0!", 54, 20.5, "x"]]  # 3.1 3.2 3.5 4.3
    assert client.rows(book, render="FORMULA") == [[53, True, 43831, "=1/0", "=A1+1", 20.5, "x"]]
    text = client.get(book, "A1:C1", "UNFORMATTED_VALUE", dateTimeRenderOption="FORMATTED_STRING")
    assert text["values"] == [[53, True, "2020-01-01"]]  # 3.3


def test_serials_do_not_know_the_leap_day_of_1900(client, book):
    client.put(book, "A1", [["1900-01-01", "1900-03-01", "2020-01-01 12:00"]], "USER_ENTERED")
    assert client.rows(book) == [[2, 61, 43831.5]]  # 3.4


def test_raw_stores_what_is_sent(client, book):
    sent = [["=1+1", "TRUE", "2020-01-01", "0042", "'007", 1.5, True, 12345678901234567890]]
    client.put(book, "A1", sent)
    assert client.rows(book) == [[*sent[0][:7], 1.2345678901234567e19]]  # 4.1 4.2


def test_user_entered_parses_as_a_person_types(client, book):
    client.put(book, "A1", [["0042", "'007", "12.5%", "1,234.5", "7/4/2026", "hello", 7]], "USER_ENTERED")
    assert client.rows(book) == [[42, "007", 0.125, 1234.5, 46207, "hello", 7]]  # 4.4 4.5
    assert client.rows(book, render="FORMATTED_VALUE") == [
        ["42", "007", "12.50%", "1,234.50", "7/4/2026", "hello", "7"]
    ]


def test_a_french_spreadsheet_reads_and_shows_french(client):
    book = client.create(locale="fr_FR")
    client.put(
        book, "A1", [["1,5", "1.5x", "04/07/2026", "20,50 €", "VRAI", "=SOMME(1)", "=IF(A1>1;2,5;0)"]], "USER_ENTERED"
    )
    assert client.rows(book) == [[1.5, "1.5x", 46207, 20.5, True, "#NAME?", 2.5]]
    shown = client.rows(book, render="FORMATTED_VALUE")
    assert shown == [["1,5", "1.5x", "04/07/2026", "20,50\u00a0€", "VRAI", "#NAME?", "2,5"]]


def test_null_skips_a_cell_and_an_empty_text_empties_and_counts(client, book):
    client.put(book, "A1", [["a", "b", "c"]])
    answer = client.put(book, "A1:C1", [[None, "", "z"]])
    assert answer == {
        "spreadsheetId": book,
        "updatedRange": "Sheet1!A1:C1",
        "updatedRows": 1,
        "updatedColumns": 2,
        "updatedCells": 2,
    }  # 4.6
    assert client.rows(book) == [["a", "", "z"]]


def test_the_updated_range_follows_the_data_and_a_single_cell_is_an_anchor(client, book):
    assert client.put(book, "A1:B2", [["x", "y"]])["updatedRange"] == "Sheet1!A1:B1"  # 4.7
    assert client.put(book, "A1", [["x"] * 4] * 4)["updatedRange"] == "Sheet1!A1:D4"  # 4.8
    client.put(book, "A1:D4", [["new"]])
    assert client.rows(book)[0] == ["new", "x", "x", "x"]  # 4.9


def test_columns_are_written_down(client, book):
    client.put(book, "A1", [["a", "b"], ["c"]], majorDimension="COLUMNS")
    assert client.rows(book) == [["a", "c"], ["b"]]
    assert client.put(book, "A1", [["z"]], majorDimension=None)["updatedCells"] == 1  # 4.13


def test_a_batch_update_totals_distinct_rows_and_columns(client, book):
    data = [{"range": "A1:B1", "values": [["a", "b"]]}, {"range": "A1:A2", "values": [["c"], ["d"]]}]
    body = {"valueInputOption": "RAW", "data": data, "includeValuesInResponse": True}
    answer = client.values.batchUpdate(spreadsheetId=book, body=body).execute()
    totals = {name: answer[name] for name in answer if name.startswith("total")}
    assert totals == {
        "totalUpdatedRows": 2,
        "totalUpdatedColumns": 2,
        "totalUpdatedCells": 4,
        "totalUpdatedSheets": 1,
    }  # 4.10
    assert [item["spreadsheetId"] for item in answer["responses"]] == [book, book]
    assert answer["responses"][0]["updatedData"]["range"] == "Sheet1!A1:B1"  # 4.11


def test_clearing_empties_values_and_keeps_formats(client, book):
    client.put(book, "A1", [["$1.50"]], "USER_ENTERED")
    assert client.raw("POST", f"/v4/spreadsheets/{book}/values/A1%3AB2:clear").json() == {
        "spreadsheetId": book,
        "clearedRange": "Sheet1!A1:B2",
    }  # 4.12
    assert client.rows(book) == []
    client.put(book, "A1", [[2]])
    assert client.rows(book, render="FORMATTED_VALUE") == [["$2.00"]]
    cleared = client.values.batchClear(spreadsheetId=book, body={"ranges": ["A1", "b:b"]}).execute()
    assert cleared == {"spreadsheetId": book, "clearedRanges": ["Sheet1!A1", "Sheet1!B1:B1000"]}


def test_writing_never_grows_the_grid(client):
    book = client.create(rows=3, columns=2)
    outside = "Range (Sheet1!A4) exceeds grid limits. Max rows: 3, max columns: 2"
    assert refusal(lambda: client.put(book, "A4", [["x"]]))["message"] == outside  # 5.1
    assert refusal(lambda: client.get(book, "A4"))["message"] == outside
    within = "Requested writing within range [Sheet1!A1:B2], but tried writing to"
    assert refusal(lambda: client.put(book, "A1:B2", [["x"]] * 3))["message"] == f"{within} row [3]"  # 5.2
    assert refusal(lambda: client.put(book, "A1:B2", [["x"] * 3]))["message"] == f"{within} column [C]"
    assert client.rows(book) == []


def test_a_cell_holds_fifty_thousand_characters(client, book):
    client.put(book, "A1", [["é" * 50_000]])
    error = refusal(lambda: client.put(book, "A1", [["x" * 50_001]]))
    assert error["message"] == "Your input contains more than the maximum of 50000 characters in a single cell."  # 5.5
    assert client.rows(book) == [["é" * 50_000]]


def test_appending_to_a_blank_sheet_has_no_table(client, book):
    answer = client.append(book, "Sheet1", [["a", "b"]])
    assert "tableRange" not in answer  # 6.1
    assert answer["updates"] == {
        "spreadsheetId": book,
        "updatedRange": "Sheet1!A1:B1",
        "updatedRows": 1,
        "updatedColumns": 2,
        "updatedCells": 2,
    }


@pytest.mark.parametrize(
    ("asked", "table", "written"),
    [
        ("Sheet1", "Sheet1!B4:D6", "Sheet1!B7"),
        ("B4", "Sheet1!B4:D6", "Sheet1!B7"),
        ("B2:D4", "Sheet1!B4:D6", "Sheet1!B7"),
        ("A1", "Sheet1!A1:C2", "Sheet1!A3"),
        ("E4", None, "Sheet1!E4"),
    ],
)
def test_rows_are_appended_below_the_last_table_that_meets_the_range(client, book, asked, table, written):
    client.put(book, "A1:C2", [["x"] * 3] * 2)
    client.put(book, "B4:D6", [["y"] * 3] * 3)
    answer = client.append(book, asked, [["new"]])
    assert answer.get("tableRange") == table  # 6.2 6.3
    assert answer["updates"]["updatedRange"] == written


def test_appending_grows_a_full_grid(client):
    book = client.create(rows=2, columns=2)
    client.append(book, "Sheet1", [["a"], ["b"], ["c"]])
    client.append(book, "Sheet1", [["d"]])
    assert client.rows(book) == [["a"], ["b"], ["c"], ["d"]]  # 5.3


def test_appending_overwrites_or_inserts(client, book):
    client.put(book, "A1", [["a"], [], ["below"]])
    client.append(book, "A1", [["b"], ["c"]], insertDataOption="INSERT_ROWS")
    assert client.rows(book) == [["a"], ["b"], ["c"], [], ["below"]]
    client.append(book, "A1", [["d"], ["e"]])
    assert client.rows(book) == [["a"], ["b"], ["c"], ["d"], ["e"]]  # 6.4


def test_data_filters_read_write_and_clear(client, book):
    client.put(book, "A1", [["a"], ["b"]])
    place = {"dimensionRange": {"sheetId": 0, "dimension": "ROWS", "startIndex": 1, "endIndex": 2}}
    metadata = {"metadataKey": "id", "metadataValue": "7", "location": place, "visibility": "DOCUMENT"}
    client.batch(book, {"createDeveloperMetadata": {"developerMetadata": metadata}})
    row = {"dimension": "ROWS", "startIndex": 0, "endIndex": 3}
    client.batch(book, {"insertDimension": {"range": {"sheetId": 0, **row}}})
    found = {"developerMetadataLookup": {"metadataKey": "id"}}
    answer = client.values.batchGetByDataFilter(spreadsheetId=book, body={"dataFilters": [found]}).execute()
    assert answer["valueRanges"][0]["valueRange"]["range"] == "Sheet1!A5:Z5"  # 8.12
    data = [{"dataFilter": found, "values": [["z"]]}]
    body = {"valueInputOption": "RAW", "data": data}
    written = client.values.batchUpdateByDataFilter(spreadsheetId=book, body=body).execute()
    assert written["responses"][0]["updatedRange"] == "Sheet1!A5"
    assert client.rows(book, "A4:A5") == [["a"], ["z"]]
    cleared = client.values.batchClearByDataFilter(spreadsheetId=book, body={"dataFilters": [found]}).execute()
    assert cleared["clearedRanges"] == ["Sheet1!A5:Z5"]


def test_formulas_follow_values(client, book):
    rows = [
        [2, 3],
        ["=SUM(A1:B1)", '=IF(A2>4,"big","small")'],
        ['=A1&"-"&B2', "=NOPE(1)"],
        ["=A9/0", "=VLOOKUP(2,A1:B1,2,FALSE)"],
    ]
    client.put(book, "A1", rows, "USER_ENTERED")
    assert client.rows(book) == [[2, 3], [5, "big"], ["2-big", "#NAME?"], ["#DIV/0!", 3]]
    client.put(book, "A1", [[1]])
    assert client.rows(book, "A2:B2") == [[4, "small"]]
    client.put(book, "A1", [["=B1", "=A1"]], "USER_ENTERED")
    assert client.rows(book, "A1:B1") == [["#REF!", "#REF!"]]
