"""Drive, faults, the log, the page, restarts, gspread, and the command line."""

from __future__ import annotations

import http.client
import json
import queue
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import gspread
import pytest
import requests
from requests.adapters import HTTPAdapter
from sandbox_support import Client, refusal
from sync_provider.sandbox.server import Sandbox

SHEETS_TYPE = "application/vnd.google-apps.spreadsheet"


@pytest.fixture
def client(tmp_path):
    with Sandbox(tmp_path) as sandbox:
        yield Client(sandbox)


@pytest.fixture
def hook():
    """An address that keeps the notifications it gets."""
    received: queue.Queue[dict[str, str]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            received.put(dict(self.headers.items()))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    received.address = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


def test_files_are_made_listed_found_and_deleted(client):
    files = client.drive.files()
    made = files.create(body={"name": 'It\'s "x"', "mimeType": SHEETS_TYPE}).execute()
    assert made.keys() == {"kind", "id", "name", "mimeType"}  # 10.1
    query = f'mimeType = "{SHEETS_TYPE}" and name = \'It\\\'s "x"\''
    found = files.list(q=query).execute()
    assert [item["id"] for item in found["files"]] == [made["id"]]  # 10.2 10.4
    assert files.list(q="name = 'nope'").execute() == {"kind": "drive#fileList", "files": []}
    answer = client.raw("DELETE", f"/drive/v3/files/{made['id']}")
    assert (answer.status_code, answer.content) == (204, b"")  # 10.3
    error = refusal(files.get(fileId=made["id"]))
    assert (error["code"], error["errors"][0]["reason"]) == (404, "notFound")


def test_a_write_moves_the_modified_time_and_the_version_and_a_read_does_not(client):
    book = client.create()
    get = client.drive.files().get(fileId=book, fields="modifiedTime,version")
    before = get.execute()
    client.rows(book)
    assert get.execute() == before
    client.put(book, "A1", [["x"]])
    after = get.execute()
    assert int(after["version"]) > int(before["version"])
    assert after["modifiedTime"] >= before["modifiedTime"]
    assert after["modifiedTime"].endswith("Z")
    assert len(after["modifiedTime"]) == len("2026-01-01T00:00:00.000Z")


def test_a_copy_has_the_cells_and_its_own_life(client):
    book = client.create()
    client.put(book, "A1", [["x"]])
    copy = client.drive.files().copy(fileId=book, body={"name": "Twin"}).execute()
    client.put(book, "A1", [["y"]])
    assert client.rows(copy["id"]) == [["x"]]
    client.drive.files().update(fileId=copy["id"], body={"name": "Renamed"}).execute()
    assert client.spreadsheets.get(spreadsheetId=copy["id"]).execute()["properties"]["title"] == "Renamed"


def test_changes_since_a_token_are_listed_once_a_file(client):
    book = client.create()
    token = client.drive.changes().getStartPageToken().execute()["startPageToken"]
    for text in "abc":
        client.put(book, "A1", [[text]])
    answer = client.drive.changes().list(pageToken=token).execute()
    assert [item["fileId"] for item in answer["changes"]] == [book]
    again = client.drive.changes().list(pageToken=answer["newStartPageToken"]).execute()
    assert again["changes"] == []


def test_a_watch_calls_back_on_every_change_until_stopped(client, hook):
    book = client.create()
    body = {"id": "channel-1", "type": "web_hook", "address": hook.address, "token": "secret"}
    channel = client.drive.files().watch(fileId=book, body=body).execute()
    assert channel["kind"] == "api#channel"
    assert channel["expiration"].isdigit()  # 10.4
    first = hook.get(timeout=20)
    assert (first["X-Goog-Resource-State"], first["X-Goog-Channel-Token"]) == ("sync", "secret")
    client.control("POST", "cells", {"id": book, "sheet": "Sheet1", "cell": "B2", "value": "=1+1"})
    second = hook.get(timeout=20)
    assert (second["X-Goog-Resource-State"], second["X-Goog-Message-Number"]) == ("update", "2")
    again = refusal(client.drive.files().watch(fileId=book, body=body))
    assert (again["code"], again["errors"][0]["reason"]) == (400, "channelIdNotUnique")
    stop = {"id": "channel-1", "resourceId": channel["resourceId"]}
    assert client.raw("POST", "/drive/v3/channels/stop", json=stop).status_code == 204
    client.put(book, "A1", [["x"]])
    other = client.drive.files().watch(fileId=book, body={**body, "id": "channel-2"}).execute()
    assert hook.get(timeout=20)["X-Goog-Channel-ID"] == other["id"]


@pytest.mark.parametrize(("cut", "rows"), [("before", []), ("after", [["x"]])])
def test_a_connection_is_cut_before_or_after_the_write_is_applied(client, cut, rows):
    book = client.create()
    client.control("POST", "faults", {"method": "values.update", "cut": cut})
    with pytest.raises((requests.ConnectionError, http.client.HTTPException)):
        client.raw("PUT", f"/v4/spreadsheets/{book}/values/A1?valueInputOption=RAW", json={"values": [["x"]]})
    assert client.rows(book) == rows


def test_a_fault_gives_its_status_to_the_requests_it_is_meant_for(client):
    book = client.create()
    fault = {"method": "values.get", "skip": 1, "times": 2, "status": 503, "headers": {"Retry-After": "7"}}
    client.control("POST", "faults", fault)
    path = f"/v4/spreadsheets/{book}/values/A1"
    answers = [client.raw("GET", path) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "7"


def test_the_log_counts_requests(client):
    book = client.create()
    client.control("DELETE", "requests")
    client.rows(book)
    client.put(book, "A1", [["x"]])
    refusal(lambda: client.rows(book, "NOPE!A1"))
    log = client.control("GET", "requests")
    assert (log["total"], log["reads"], log["writes"]) == (3, 2, 1)
    assert log["by_method"] == {"sheets.spreadsheets.values.get": 2, "sheets.spreadsheets.values.update": 1}
    assert [item["status"] for item in log["requests"]] == [200, 200, 400]


def test_another_site_s_page_may_not_use_the_control_surface(client):
    url = f"{client.sandbox.base_url}/__sandbox__/reset"
    assert requests.post(url, headers={"Origin": "https://evil.example"}, timeout=10).status_code == 403
    assert requests.post(url, headers={"Host": "evil.example"}, timeout=10).status_code == 403


def test_the_page_and_the_filling_of_a_sheet_for_a_person(client):
    made = client.control(
        "POST",
        "spreadsheets",
        {"id": "demo", "title": "Demo", "sheets": {"Clients": [["id"], ["001"]]}, "share": {client.email: "writer"}},
    )
    assert made["id"] == "demo"
    assert client.rows("demo", "Clients") == [["id"], ["001"]]
    page = requests.get(made["url"], timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    seen = client.control("GET", "cells?id=demo&sheet=Clients")
    assert (seen["values"], seen["title"]) == ([["id"], ["001"]], "Demo")


def test_everything_survives_a_restart(tmp_path):
    with Sandbox(tmp_path) as sandbox:
        client = Client(sandbox)
        book = client.create(title="Kept")
        client.put(book, "A1", [["=SUM(B1:C1)", 1, "$2.50"]], "USER_ENTERED")
        client.batch(book, {"addSheet": {"properties": {"title": "Two"}}})
        before = client.spreadsheets.get(spreadsheetId=book, includeGridData=True).execute()
        refusal(lambda: client.batch(book, {"deleteSheet": {"sheetId": 99}}))
        drive = client.drive.files().get(fileId=book, fields="version,modifiedTime").execute()
    with Sandbox(tmp_path) as sandbox:
        client = Client(sandbox)
        after = client.spreadsheets.get(spreadsheetId=book, includeGridData=True).execute()
        del before["spreadsheetUrl"], after["spreadsheetUrl"]
        assert after == before
        assert client.drive.files().get(fileId=book, fields="version,modifiedTime").execute() == drive


class _Here(HTTPAdapter):
    """Sends what is meant for Google to a sandbox."""

    def __init__(self, base_url):
        super().__init__()
        self.base_url = base_url

    def send(self, request, **options):
        for real in ("https://sheets.googleapis.com", "https://www.googleapis.com"):
            request.url = request.url.replace(real, self.base_url)
        return super().send(request, **options)


def test_gspread_works(client):
    account = gspread.service_account(filename=str(client.sandbox.service_account_file))
    account.http_client.session.mount("https://", _Here(client.sandbox.base_url))
    book = account.create("From gspread")
    sheet = book.sheet1
    sheet.update([["id", "name"], [1, "Ana"], [2, "Bob"]], "A1")
    sheet.append_row([3, "Cyd"])
    assert sheet.get_all_records() == [{"id": 1, "name": "Ana"}, {"id": 2, "name": "Bob"}, {"id": 3, "name": "Cyd"}]
    assert sheet.find("Bob").address == "B3"
    sheet.format("A1:B1", {"textFormat": {"bold": True}})
    sheet.freeze(rows=1)
    sheet.insert_row(["x", "y"], 2)
    sheet.delete_rows(2)
    sheet.batch_clear(["A4:B4"])
    other = book.add_worksheet("Two words", 10, 3)
    other.update_acell("B2", "=1+1")
    assert other.acell("B2").value == "2"
    assert [tab.title for tab in account.open("From gspread").worksheets()] == ["Sheet1", "Two words"]
    book.del_worksheet(other)
    book.share("ana@example.com", perm_type="user", role="reader", notify=False)
    assert {item["emailAddress"] for item in book.list_permissions()} == {"ana@example.com", client.email}
    with pytest.raises(gspread.SpreadsheetNotFound):
        account.open("nope")


def test_the_command_prints_where_it_is_and_stops_on_a_signal(tmp_path):
    command = [str(Path(sys.executable).with_name("airflow-sync")), "sandbox", "--port", "0", "--state", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        ready = json.loads(process.stdout.readline())
        assert ready.keys() == {"base_url", "service_account_file"}
        answer = requests.get(f"{ready['base_url']}/__sandbox__/spreadsheets", timeout=20)
        assert answer.json() == {}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
