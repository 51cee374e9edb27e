"""Creating, reading and batch-updating spreadsheets, over HTTP, with Google's own client."""

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


def titles(client, book):
    answer = client.spreadsheets.get(spreadsheetId=book, fields="sheets.properties(title,index)").execute()
    return [(item["properties"]["index"], item["properties"]["title"]) for item in answer["sheets"]]


def properties(client, book):
    return client.spreadsheets.get(spreadsheetId=book).execute()["sheets"][0]["properties"]


def rows_of(start, end, axis="ROWS"):
    return {"range": {"sheetId": 0, "dimension": axis, "startIndex": start, "endIndex": end}}


def test_a_new_spreadsheet_has_google_s_defaults(client):
    made = client.spreadsheets.create(body={}).execute()
    wanted = {"locale": "en_US", "autoRecalc": "ON_CHANGE", "timeZone": "Etc/GMT"}
    assert wanted.items() <= made["properties"].items()
    assert made["sheets"] == [
        {
            "properties": {
                "sheetId": 0,
                "title": "Sheet1",
                "index": 0,
                "sheetType": "GRID",
                "gridProperties": {"rowCount": 1000, "columnCount": 26},
            }
        }
    ]  # 7.1 7.2
    assert "namedRanges" not in made


@pytest.mark.parametrize("mask", ["sheets/data/rowData/values/note", "sheets.data(rowData(values.note))"])
def test_masks_below_the_data_bring_trimmed_cells_with_holes(client, book, mask):
    cells = [{}, {"note": "here"}, {}]
    start = {"sheetId": 0, "rowIndex": 1, "columnIndex": 0}
    client.batch(book, {"updateCells": {"start": start, "rows": [{"values": cells}], "fields": "note"}})
    answer = client.spreadsheets.get(spreadsheetId=book, fields=mask).execute()
    assert answer == {"sheets": [{"data": [{"rowData": [{}, {"values": [{}, {"note": "here"}]}]}]}]}  # 7.3 7.4


def test_a_bad_mask_is_refused_with_its_path(client, book):
    error = refusal(client.spreadsheets.get(spreadsheetId=book, fields="sheets.nope"))
    assert error["message"] == "Request contains an invalid argument."  # 7.5
    description = "Error expanding 'fields' parameter. Cannot find matching fields for path 'sheets.nope'."
    assert error["details"][0]["fieldViolations"] == [{"field": "sheets.nope", "description": description}]


def test_grid_data_shows_what_was_entered_and_what_is_seen(client, book):
    client.put(book, "B2", [["=1+1", "$20.50"]], "USER_ENTERED")
    answer = client.spreadsheets.get(spreadsheetId=book, ranges=["B2:C2"], includeGridData=True).execute()
    data = answer["sheets"][0]["data"][0]
    first, second = data["rowData"][0]["values"]
    assert (data["startRow"], data["startColumn"]) == (1, 1)
    assert first["userEnteredValue"] == {"formulaValue": "=1+1"}
    assert first["effectiveValue"] == {"numberValue": 2}
    assert (second["formattedValue"], second["userEnteredFormat"]["numberFormat"]["type"]) == ("$20.50", "CURRENCY")


def test_replies_come_in_order_and_a_new_sheet_stands_at_the_end(client, book):
    add = {"addSheet": {"properties": {"title": "Two"}}}
    replies = client.batch(
        book, add, rename := {"updateSpreadsheetProperties": {"properties": {"title": "N"}, "fields": "title"}}
    )
    made = replies[0]["addSheet"]["properties"]
    assert rename
    assert replies[1] == {}  # 8.1
    assert made["sheetId"] > 0
    assert {name: made[name] for name in made if name != "sheetId"} == {
        "title": "Two",
        "index": 1,
        "sheetType": "GRID",
        "gridProperties": {"rowCount": 1000, "columnCount": 26},
    }  # 8.3


def test_one_bad_request_undoes_the_whole_batch(client, book):
    client.put(book, "A1", [["kept"]])
    good = {"addSheet": {"properties": {"title": "Two"}}}
    clear = {"updateCells": {"range": {"sheetId": 0}, "fields": "userEnteredValue"}}
    error = refusal(lambda: client.batch(book, good, clear, {"deleteSheet": {"sheetId": 1234}}))
    assert error["message"] == "Invalid requests[2].deleteSheet: No grid with id: 1234"  # 8.2 8.5
    assert titles(client, book) == [(0, "Sheet1")]
    assert client.rows(book) == [["kept"]]


def test_frozen_rows_are_not_all_that_may_be_left(client):
    book = client.create(rows=4)
    held = {"sheetId": 0, "gridProperties": {"frozenRowCount": 2}}
    client.batch(book, {"updateSheetProperties": {"properties": held, "fields": "gridProperties.frozenRowCount"}})
    refused = refusal(lambda: client.batch(book, {"deleteDimension": rows_of(2, 4)}))
    assert (
        refused["message"]
        == "Invalid requests[0].deleteDimension: Sorry, it is not possible to delete all non-frozen rows."
    )
    client.batch(book, {"deleteDimension": rows_of(1, 3)})
    assert properties(client, book)["gridProperties"] == {"rowCount": 2, "columnCount": 26, "frozenRowCount": 1}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            {"addSheet": {"properties": {"title": "Sheet1"}}},
            'addSheet: A sheet with the name "Sheet1" already exists. Please enter another name.',
        ),  # 8.4
        ({"deleteSheet": {"sheetId": 0}}, "deleteSheet: You can't remove all the sheets in a document."),  # 8.5
        (
            {"updateSheetProperties": {"properties": {"sheetId": 0, "hidden": True}, "fields": "hidden"}},
            "updateSheetProperties: You can't hide all the sheets in a document.",
        ),  # 8.6
        ({"deleteDimension": rows_of(0, 1000)}, "deleteDimension: You can't delete all the rows on the sheet."),  # 8.9
        (
            {
                "updateSheetProperties": {
                    "properties": {"sheetId": 0, "gridProperties": {"rowCount": 400_000}},
                    "fields": "gridProperties/rowCount",
                }
            },
            (
                "updateSheetProperties: This action would increase the number of cells in the workbook above the limit of "
                "10000000 cells."
            ),
        ),  # 5.4
        (
            {
                "repeatCell": {
                    "range": {"sheetId": 0, "startRowIndex": 1000, "startColumnIndex": 0, "endColumnIndex": 2},
                    "cell": {"note": "x"},
                    "fields": "note",
                }
            },
            "repeatCell: Range (Sheet1!A1001:B) exceeds grid limits. Max rows: 1000, max columns: 26",
        ),  # 5.6
    ],
)
def test_refusals_use_google_s_words(client, book, request_, message):
    assert refusal(lambda: client.batch(book, request_))["message"] == f"Invalid requests[0].{message}"
    assert titles(client, book) == [(0, "Sheet1")]


def test_repeat_cell_does_not_grow_the_grid(client):
    book = client.create(rows=3, columns=2)
    inside = {"sheetId": 0, "startRowIndex": 2, "endRowIndex": 9, "startColumnIndex": 0, "endColumnIndex": 1}
    nothing = {**inside, "endRowIndex": 2}
    cell = {"cell": {"userEnteredValue": {"stringValue": "x"}}, "fields": "userEnteredValue"}
    client.batch(book, {"repeatCell": {"range": inside, **cell}}, {"repeatCell": {"range": nothing, **cell}})
    assert client.rows(book) == [[], [], ["x"]]  # 5.6
    assert properties(client, book)["gridProperties"] == {"rowCount": 3, "columnCount": 2}


def test_moving_a_sheet_renumbers_the_others(client, book):
    add = client.batch(book, {"addSheet": {"properties": {"title": "Two"}}})[0]
    moved = {"sheetId": add["addSheet"]["properties"]["sheetId"], "index": 0}
    client.batch(book, {"updateSheetProperties": {"properties": moved, "fields": "index"}})
    assert titles(client, book) == [(0, "Two"), (1, "Sheet1")]  # 8.7


def test_inserted_and_deleted_rows_take_values_and_formulas_along(client, book):
    client.put(book, "A1", [[1], [2], ["=SUM(A1:A2)"], ["=$A$1+A2"]], "USER_ENTERED")
    client.batch(book, {"insertDimension": rows_of(1, 3)})
    assert client.rows(book, render="FORMULA") == [[1], [], [], [2], ["=SUM(A1:A4)"], ["=$A$1+A4"]]  # 8.8
    assert properties(client, book)["gridProperties"]["rowCount"] == 1002
    client.batch(book, {"deleteDimension": rows_of(1, 4)})
    assert client.rows(book, render="FORMULA") == [[1], ["=SUM(A1:A1)"], ["=$A$1+#REF!"]]
    assert client.rows(book) == [[1], [1], ["#REF!"]]
    assert properties(client, book)["gridProperties"]["rowCount"] == 999


def test_sorting_by_several_keys_leaves_rows_outside(client, book):
    client.put(book, "A1", [["b", 1], ["a", 1], ["c", 2], ["last", 0]])
    cells = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 3, "startColumnIndex": 0, "endColumnIndex": 2}
    specs = [{"dimensionIndex": 1, "sortOrder": "DESCENDING"}, {"dimensionIndex": 0, "sortOrder": "ASCENDING"}]
    client.batch(book, {"sortRange": {"range": cells, "sortSpecs": specs}})
    assert client.rows(book) == [["c", 2], ["a", 1], ["b", 1], ["last", 0]]  # 8.10


def test_find_and_replace_counts_what_it_changed(client, book):
    client.put(book, "A1", [["cat cat", "dog"], ["Cat", "x"]])
    reply = client.batch(book, {"findReplace": {"find": "cat", "replacement": "cow", "allSheets": True}})[0]
    counts = {"valuesChanged": 2, "rowsChanged": 2, "sheetsChanged": 1, "occurrencesChanged": 3}
    assert reply == {"findReplace": counts}  # 8.12
    assert client.rows(book) == [["cow cow", "dog"], ["cow", "x"]]


def test_copies_are_named_after_their_source(client, book):
    client.put(book, "A1", [["x"]])
    made = client.batch(book, {"duplicateSheet": {"sourceSheetId": 0, "insertSheetIndex": 1, "newSheetName": "Twin"}})[
        0
    ]
    assert made["duplicateSheet"]["properties"]["title"] == "Twin"
    assert client.rows(book, "Twin") == [["x"]]
    other = client.create()
    sheets = client.spreadsheets.sheets()
    copied = sheets.copyTo(spreadsheetId=book, sheetId=0, body={"destinationSpreadsheetId": other}).execute()
    assert copied["title"] == "Copy of Sheet1"
    assert client.rows(other, "Copy of Sheet1") == [["x"]]


def test_developer_metadata_is_searched_and_deleted_and_follows_its_row(client, book):
    place = {"dimensionRange": {"sheetId": 0, "dimension": "ROWS", "startIndex": 4, "endIndex": 5}}
    metadata = {"metadataKey": "row", "location": place, "visibility": "DOCUMENT"}
    made = client.batch(book, {"createDeveloperMetadata": {"developerMetadata": metadata}})[0]
    metadata_id = made["createDeveloperMetadata"]["developerMetadata"]["metadataId"]
    client.batch(book, {"deleteDimension": rows_of(0, 2)})
    lookup = {"developerMetadataLookup": {"metadataKey": "row"}}
    search = client.spreadsheets.developerMetadata().search(spreadsheetId=book, body={"dataFilters": [lookup]})
    found = search.execute()["matchedDeveloperMetadata"][0]["developerMetadata"]
    assert found["metadataId"] == metadata_id
    assert found["location"]["dimensionRange"]["startIndex"] == 2
    client.batch(book, {"deleteDeveloperMetadata": {"dataFilter": lookup}})
    assert search.execute() == {}


@pytest.mark.parametrize("text", ["=1", "123", "07/04/2026", "TRUE"])
def test_update_cells_never_parses_a_string(client, book, text):
    row = {"values": [{"userEnteredValue": {"stringValue": text}}]}
    cells = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 1, "startColumnIndex": 0, "endColumnIndex": 1}
    client.batch(book, {"updateCells": {"range": cells, "rows": [row], "fields": "userEnteredValue"}})
    renders = ("FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA")
    assert [client.rows(book, render=render) for render in renders] == [[[text]]] * 3  # 8.13


def test_frozen_rows_and_protection_are_kept_and_shown(client, book):
    frozen = {"sheetId": 0, "gridProperties": {"frozenRowCount": 1}}
    cells = {"sheetId": 0, "startColumnIndex": 0, "endColumnIndex": 1}
    client.batch(
        book,
        {"updateSheetProperties": {"properties": frozen, "fields": "gridProperties.frozenRowCount"}},
        {"addProtectedRange": {"protectedRange": {"range": cells, "warningOnly": True}}},
    )
    sheet = client.spreadsheets.get(spreadsheetId=book).execute()["sheets"][0]
    assert sheet["properties"]["gridProperties"]["frozenRowCount"] == 1
    assert sheet["protectedRanges"][0]["warningOnly"] is True
