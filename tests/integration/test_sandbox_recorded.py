"""What recordings of the real API show beside the values: what is left out, added, rounded."""

from __future__ import annotations

import pytest
from sandbox_support import Client, refusal
from sync_provider.sandbox.server import Sandbox

PROTECTED = {"range": {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 2}, "warningOnly": False}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as sandbox:
        client = Client(sandbox)
        client.control("PUT", "quotas", {"reads_per_user": 10_000, "writes_per_user": 10_000})
        yield client


@pytest.fixture
def book(client):
    return client.create()


def shown(client, book, fields, **options):
    return client.spreadsheets.get(spreadsheetId=book, fields=fields, **options).execute()


@pytest.mark.parametrize(("title", "written"), [("D3", "'D3'"), ("R1C1", "'R1C1'"), ("Sheet9", "Sheet9")])
def test_a_title_that_reads_as_a_cell_comes_back_quoted(client, book, title, written):
    client.batch(book, {"addSheet": {"properties": {"title": title, "gridProperties": {"rowCount": 3}}}})
    assert client.get(book, f"'{title}'!A1:B2")["range"] == f"{written}!A1:B2"


def test_a_mask_keeps_the_messages_on_its_way(client, book):
    assert shown(client, book, "sheets.properties.tabColorStyle") == {"sheets": [{"properties": {}}]}


def test_a_new_spreadsheet_has_the_default_theme(client, book):
    properties = client.spreadsheets.get(spreadsheetId=book).execute()["properties"]
    theme = properties["spreadsheetTheme"]
    assert theme["primaryFontFamily"] == "Arial"
    assert [item["colorType"] for item in theme["themeColors"]] == [
        *("TEXT", "BACKGROUND", "ACCENT1", "ACCENT2", "ACCENT3", "ACCENT4", "ACCENT5", "ACCENT6", "LINK")
    ]
    assert theme["themeColors"][2]["color"] == {
        "rgbColor": {"red": 0.25882354, "green": 0.52156866, "blue": 0.95686275}
    }
    assert properties["defaultFormat"]["textFormat"]["fontFamily"] == "arial,sans,sans-serif"


@pytest.mark.parametrize("name", ["tabColor", "tabColorStyle"])
def test_a_colour_has_256_steps_and_comes_back_under_both_names(client, book, name):
    color = {"red": 1.0, "green": 0.0, "blue": 0.5}
    given = {"rgbColor": color} if name.endswith("Style") else color
    client.batch(book, {"updateSheetProperties": {"properties": {"sheetId": 0, name: given}, "fields": name}})
    (sheet,) = shown(client, book, "sheets.properties(tabColor,tabColorStyle)")["sheets"]
    kept = {"red": 1, "blue": 0.49803922}
    assert sheet["properties"] == {"tabColor": kept, "tabColorStyle": {"rgbColor": kept}}
    assert '"red": 1,' in client.raw("GET", f"/v4/spreadsheets/{book}?fields=sheets.properties.tabColor").text


def test_the_later_of_a_colour_and_its_style_wins(client, book):
    for name, given in (
        ("tabColorStyle", {"rgbColor": {"red": 1}}),
        ("tabColor", {"green": 1}),
    ):
        client.batch(book, {"updateSheetProperties": {"properties": {"sheetId": 0, name: given}, "fields": name}})
    (sheet,) = shown(client, book, "sheets.properties.tabColorStyle")["sheets"]
    assert sheet["properties"] == {"tabColorStyle": {"rgbColor": {"green": 1}}}
    client.batch(book, {"updateSheetProperties": {"properties": {"sheetId": 0}, "fields": "tabColor"}})
    assert shown(client, book, "sheets.properties.tabColorStyle") == {"sheets": [{"properties": {}}]}


def test_colours_of_a_format_come_back_under_both_names(client, book):
    text = {"foregroundColor": {"red": 1, "green": 1}, "bold": True}
    cell = {"userEnteredFormat": {"backgroundColor": {"green": 1, "blue": 1}, "textFormat": text}}
    area = {"sheetId": 0, "startRowIndex": 1, "endRowIndex": 2, "startColumnIndex": 0, "endColumnIndex": 1}
    client.batch(
        book, {"repeatCell": {"range": area, "cell": cell, "fields": "userEnteredFormat(backgroundColor,textFormat)"}}
    )
    fields = "sheets.data.rowData.values.userEnteredFormat"
    answer = shown(client, book, fields, ranges="Sheet1!A2")
    assert answer["sheets"][0]["data"][0]["rowData"][0]["values"][0]["userEnteredFormat"] == {
        "backgroundColor": {"green": 1, "blue": 1},
        "backgroundColorStyle": {"rgbColor": {"green": 1, "blue": 1}},
        "textFormat": {**text, "foregroundColorStyle": {"rgbColor": {"red": 1, "green": 1}}},
    }


@pytest.mark.parametrize("editors", [{"users": [], "groups": []}, None])
def test_a_protected_range_belongs_to_who_made_it(client, book, editors):
    held = {**PROTECTED, "requestingUserCanEdit": False, **({"editors": editors} if editors else {})}
    (reply,) = client.batch(book, {"addProtectedRange": {"protectedRange": held}})
    kept = reply["addProtectedRange"]["protectedRange"]
    assert kept == {
        "protectedRangeId": kept["protectedRangeId"],
        "range": {"startRowIndex": 0, "endRowIndex": 2},
        "requestingUserCanEdit": True,
        "editors": {},
    }
    (sheet,) = shown(client, book, "sheets.protectedRanges")["sheets"]
    assert sheet["protectedRanges"] == [{**kept, "editors": {"users": [client.email]}}]


def test_a_filter_on_a_whole_sheet_comes_back_with_its_bounds(client):
    book = client.create(rows=20, columns=5)
    client.batch(book, {"setBasicFilter": {"filter": {"range": {"sheetId": 0}}}})
    (sheet,) = shown(client, book, "sheets.basicFilter")["sheets"]
    assert sheet["basicFilter"]["range"] == {
        "startRowIndex": 0,
        "endRowIndex": 20,
        "startColumnIndex": 0,
        "endColumnIndex": 5,
    }


def group(start, end, dimension="ROWS"):
    return {"range": {"sheetId": 0, "dimension": dimension, "startIndex": start, "endIndex": end}}


def shown_group(start, end, depth, dimension="ROWS"):
    return {"range": {"dimension": dimension, "startIndex": start, "endIndex": end}, "depth": depth}


def test_groups_nest_and_go(client, book):
    (reply,) = client.batch(book, {"addDimensionGroup": group(1, 4)})
    assert reply == {"addDimensionGroup": {"dimensionGroups": [shown_group(1, 4, 1)]}}
    (reply,) = client.batch(book, {"addDimensionGroup": group(2, 5)})
    nested = [shown_group(1, 5, 1), shown_group(2, 4, 2)]
    assert reply == {"addDimensionGroup": {"dimensionGroups": nested}}
    (sheet,) = shown(client, book, "sheets(rowGroups,properties.gridProperties.rowGroupControlAfter)")["sheets"]
    assert sheet == {"rowGroups": nested, "properties": {"gridProperties": {"rowGroupControlAfter": True}}}
    (reply,) = client.batch(book, {"deleteDimensionGroup": group(1, 5)})
    assert reply == {"deleteDimensionGroup": {"dimensionGroups": [shown_group(2, 4, 1)]}}
    (reply,) = client.batch(book, {"deleteDimensionGroup": group(2, 4)})
    assert reply == {"deleteDimensionGroup": {}}


def test_groups_follow_their_rows(client, book):
    client.batch(book, {"addDimensionGroup": group(2, 4)}, {"addDimensionGroup": group(0, 2, "COLUMNS")})
    client.batch(book, {"insertDimension": group(0, 3)}, {"deleteDimension": group(0, 1, "COLUMNS")})
    (sheet,) = shown(client, book, "sheets(rowGroups,columnGroups)")["sheets"]
    assert sheet == {"rowGroups": [shown_group(5, 7, 1)], "columnGroups": [shown_group(0, 1, 1, "COLUMNS")]}


def test_a_column_grows_to_its_longest_text(client, book):
    client.put(book, "A1", [["A" * 1024]])
    dimensions = {"sheetId": 0, "dimension": "COLUMNS", "startIndex": 0, "endIndex": 2}
    client.batch(book, {"autoResizeDimensions": {"dimensions": dimensions}})
    columns = shown(client, book, "sheets.data.columnMetadata")["sheets"][0]["data"][0]["columnMetadata"]
    assert columns[0]["pixelSize"] > 8000
    assert columns[1]["pixelSize"] == 100


def test_a_sheet_is_exported_as_a_person_sees_it(client, book):
    client.put(book, "A1", [["id", 'say "hi"'], ["1,5", "50%"], [], ["two\nlines"]], "USER_ENTERED")
    answer = client.raw("GET", f"/drive/v3/files/{book}/export?mimeType=text%2Fcsv")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/csv")
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.text == 'id,"say ""hi"""\r\n"1,5",50%\r\n,\r\n"two\nlines",'
    assert client.drive.files().export(fileId=book, mimeType="text/tab-separated-values").execute().startswith(b"id\t")


def test_an_export_to_what_no_spreadsheet_becomes_is_refused(client, book):
    error = refusal(client.drive.files().export(fileId=book, mimeType="image/png"))
    assert (error["code"], error["message"]) == (400, "The requested conversion is not supported.")


def test_a_spreadsheet_has_no_comments(client, book):
    assert client.drive.comments().list(fileId=book, fields="comments/content").execute() == {"comments": []}


def test_an_answer_without_a_body_says_so(client, book):
    answer = client.raw("DELETE", f"/drive/v3/files/{book}")
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (204, "", "text/html")
