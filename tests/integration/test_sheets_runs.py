"""Whole runs from and to Google Sheets, on the sandbox, with Google's own client beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sheets_runs import Google
from sync_provider.core.errors import SyncDataError, SyncValidationError, Where
from sync_provider.sandbox.server import Sandbox
from workspace import Workspace

ROWS = [["code", "amount"], ["a", 1.5], ["b", 2]]
TOUCHED = "drive.files.get"


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    (tmp_path / "deployment").mkdir()
    with Sandbox(tmp_path / "sandbox") as sandbox:
        yield Google(sandbox, Workspace(tmp_path / "deployment"))


@pytest.fixture
def imported(google: Google) -> Google:
    """Two records of a sheet, brought into a table."""
    google.client.put(google.book, "Sheet1!A1", ROWS)
    google.workspace.mapping(source=google.endpoint())
    result, _ = google.run()
    assert result["inserted"] == 2
    return google


def test_an_unchanged_sheet_costs_one_request_and_nothing_else(imported, caplog):
    caplog.set_level(logging.INFO)
    result, requests = imported.run()
    assert requests == [TOUCHED]
    assert result["state"] == "succeeded"
    assert (result["read"], result["written"], result["deleted"], result["source_unchanged"]) == (0, 0, 0, 1)
    assert "the source has not changed since run" in caplog.text


def test_a_touched_sheet_is_read_again(imported):
    imported.run()
    imported.client.put(imported.book, "Sheet1!B2", [[9]])
    result, _ = imported.run()
    assert (result["read"], result["updated"]) == (2, 1)
    assert "source_unchanged" not in result


def test_an_unchanged_source_deletes_nothing_and_trips_no_guard(google):
    google.client.put(google.book, "Sheet1!A1", ROWS)
    google.workspace.mapping(source=google.endpoint(), write="mirror", guards={"on_trip": "fail"})
    assert google.run()[0]["inserted"] == 2
    result, requests = google.run()
    assert (requests, result["deleted"]) == ([TOUCHED], 0)
    assert len(google.workspace.rows()) == 2
    google.client.batch(
        google.book,
        {"deleteDimension": {"range": {"sheetId": 0, "dimension": "ROWS", "startIndex": 1, "endIndex": 2}}},
    )
    with pytest.raises(SyncValidationError, match="delete"):
        google.run()


def test_another_mapping_reads_again(imported):
    imported.workspace.mapping(source=imported.endpoint(), description="edited")
    assert imported.run()[0]["unchanged"] == 2


def test_full_refresh_asserts_the_destination_anew(imported):
    imported.workspace.execute("UPDATE target SET amount = 7 WHERE code = 'a'")
    assert imported.run()[0]["written"] == 0
    assert imported.run(full_refresh=True)[0]["updated"] == 1


@pytest.mark.parametrize("asked", [{"limit": 1}, {"keys": ("a",)}])
def test_a_part_that_somebody_asks_for_is_read_and_says_nothing_about_the_rest(imported, asked):
    imported.client.put(imported.book, "Sheet1!A4", [["c", 3]])
    assert imported.run(**asked)[0]["read"] >= 1
    assert imported.run()[0]["inserted"] == 1


def test_a_plan_of_an_unchanged_source_is_empty_and_spares_no_later_run(imported):
    result, requests = imported.run(dry_run=True)
    assert (requests, result["source_unchanged"]) == ([TOUCHED], 1)
    imported.client.put(imported.book, "Sheet1!A4", [["c", 3]])
    assert imported.run(dry_run=True)[0]["deferred"] == 1
    assert imported.run()[0]["inserted"] == 1


def test_a_cleared_run_is_done_again(imported):
    imported.run(run="cleared")
    assert imported.run(run="cleared")[0]["read"] == 2


def test_refused_records_are_looked_at_again(google):
    google.client.put(google.book, "Sheet1!A1", [*ROWS, ["c", "much"]])
    google.workspace.mapping(source=google.endpoint())
    assert google.run()[0]["rejected"] == 1
    result, _ = google.run()
    assert (result["read"], result["rejected"], result["state"]) == (3, 1, "partial")


def test_a_correction_that_waits_is_brought_in(google):
    google.client.put(google.book, "Sheet1!A1", [*ROWS, ["c", "much"]])
    google.workspace.mapping(source=google.endpoint())
    google.run()
    google.client.put(google.book, "Sheet1!A4", [["", ""]])
    google.run()
    with google.workspace.environment() as env:
        (refused,) = env.ledger.rejections.list(mapping_id="sample")
        env.ledger.rejections.correct(refused.id, {"amount": "3"}, "marie")
    result, _ = google.run()
    assert (result["read"], result["inserted"]) == (3, 1)
    assert google.run()[1] == [TOUCHED]


def test_a_change_during_the_read_is_not_taken_for_read(google, monkeypatch):
    from sync_provider.connectors.sheets.connector import SheetsConnector

    google.client.put(google.book, "Sheet1!A1", ROWS)
    google.workspace.mapping(source=google.endpoint())
    read = SheetsConnector.read

    def read_then_edit(self, request):
        reading = read(self, request)
        batches = list(reading.batches)
        google.client.put(google.book, "Sheet1!A4", [["late", 4]])
        reading.batches = iter(batches)
        return reading

    monkeypatch.setattr(SheetsConnector, "read", read_then_edit)
    google.run()
    monkeypatch.setattr(SheetsConnector, "read", read)
    assert google.run()[0]["inserted"] == 1


def test_a_renamed_tab_is_followed_on_both_sides(google, caplog):
    google.client.put(google.book, "Sheet1!A1", ROWS)
    google.workspace.mapping(source=google.endpoint(), destination=google.endpoint("Out"))
    google.run()
    numbers = {
        tab["properties"]["title"]: tab["properties"]["sheetId"]
        for tab in google.client.spreadsheets.get(spreadsheetId=google.book).execute()["sheets"]
    }
    google.rename("In", numbers["Sheet1"])
    google.rename("Result", numbers["Out"])
    google.client.put(google.book, "In!B2", [[5]])
    result, _ = google.run()
    assert result["updated"] == 1
    assert google.client.rows(google.book, "Result") == [["code", "amount"], ["a", 5], ["b", 2]]
    assert "'Sheet1' is called 'In' now" in caplog.text
    assert "'Out' is called 'Result' now" in caplog.text


def test_a_title_of_another_spreadsheet_is_not_followed_to_its_number(imported):
    imported.book = imported.client.create()
    imported.rename("Something else")
    imported.workspace.mapping(source=imported.endpoint())
    with pytest.raises(SyncDataError, match="no such tab"):
        imported.run()


def test_workers_share_one_access_token_until_it_is_refused(imported):
    imported.client.put(imported.book, "Sheet1!B2", [[5]])
    assert "oauth.token" not in imported.run()[1]
    with imported.workspace.environment() as env:
        url = env.settings.ledger_url.removeprefix("sqlite:///")
    assert b"ya29" not in Path(url).read_bytes()
    imported.client.control("POST", "faults", {"method": TOUCHED, "status": 401})
    assert imported.run()[1] == [TOUCHED, "oauth.token", TOUCHED]


def test_from_a_table_only_the_cells_that_differ_are_written_in_one_request(google):
    google.workspace.execute("CREATE TABLE stock (code TEXT, amount NUMERIC)")
    for start in range(0, 1000, 250):
        values = ", ".join(f"('{number:04}', {number})" for number in range(start, start + 250))
        google.workspace.execute(f"INSERT INTO stock VALUES {values}")
    source = {"type": "sql", "connection": "db", "table": "stock"}
    google.workspace.mapping(mode="export", source=source, destination=google.endpoint("Stock"))
    assert google.run()[0]["inserted"] == 1000
    before = google.client.rows(google.book, "Stock")
    google.workspace.execute("UPDATE stock SET amount = amount + 0.5 WHERE code IN ('0003', '0500', '0999')")
    result, requests = google.run()
    assert result["updated"] == 3
    writes = [name for name in requests if name == "sheets.spreadsheets.batchUpdate"]
    assert len(writes) == 1
    after = google.client.rows(google.book, "Stock")
    differing = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert differing == [
        (["0003", 3], ["0003", 3.5]),
        (["0500", 500], ["0500", 500.5]),
        (["0999", 999], ["0999", 999.5]),
    ]


def test_from_a_workbook(google):
    import openpyxl

    book = openpyxl.Workbook()
    for row in ROWS:
        book.active.append(row)
    book.save(google.workspace.files / "in.xlsx")
    google.workspace.mapping(mode="export", source={"type": "excel", "path": "in.xlsx"}, destination=google.endpoint())
    assert google.run()[0]["inserted"] == 2
    assert google.client.rows(google.book) == ROWS
    assert google.run()[0]["unchanged"] == 2, "a file is read each time"


# Two-way


@pytest.fixture
def in_step(google: Google) -> Google:
    """A sheet and a table of two records each that agree, and have been read so."""
    google.client.put(google.book, "Sheet1!A1", ROWS)
    fields = [
        {"source": "code", "destination": "code"},
        {"source": "amount", "destination": "amount", "type": "decimal(8,2)"},
    ]
    google.workspace.mapping(
        mode="bidirectional", source=google.endpoint(), fields=fields, write=None, guards={"all_changed": "allow"}
    )
    assert google.run()[0]["inserted"] == 2
    return google


def test_two_sides_in_step_cost_one_request_of_the_sheet(in_step):
    result, requests = in_step.run()
    assert requests == [TOUCHED]
    assert [result["sides"][side]["read"] for side in ("source", "destination")] == [2, 2]
    assert (result["written"], result["unchanged"]) == (0, 4)
    assert in_step.run()[1] == [TOUCHED], "a snapshot taken over is taken over again"


def test_what_was_edited_in_the_table_reaches_a_sheet_that_was_not_read_again(in_step):
    in_step.workspace.execute("UPDATE target SET amount = 7 WHERE code = 'a'")
    result, requests = in_step.run()
    assert result["sides"]["source"]["updated"] == 1
    assert requests.count("sheets.spreadsheets.batchUpdate") == 1
    assert in_step.client.rows(in_step.book)[1] == ["a", 7]
    result, requests = in_step.run()
    assert (result["written"], len(requests) > 1) == (0, True), "our own write is a change too: it is read once"
    assert in_step.run()[1] == [TOUCHED]


def test_an_edit_of_the_sheet_is_read(in_step):
    in_step.client.put(in_step.book, "Sheet1!B2", [[9]])
    assert in_step.run()[0]["sides"]["destination"]["updated"] == 1


def test_another_mapping_and_a_snapshot_that_is_gone_read_the_sheet_again(in_step):
    with in_step.workspace.environment() as env:
        for path in env.store.list("staging"):
            env.store.delete(path)
    assert len(in_step.run()[1]) > 1
    assert len(in_step.run(full_refresh=True)[1]) > 1
    assert len(in_step.run()[1]) == 1


def test_a_sheet_with_refused_records_is_read_each_time_and_tells_them(in_step):
    in_step.client.put(in_step.book, "Sheet1!A4", [["c", "much"]])
    for _ in range(2):
        result, requests = in_step.run()
        assert (result["rejected"], result["state"], len(requests) > 1) == (1, "partial", True)


def test_a_sheet_that_changes_by_itself_is_always_read(in_step):
    in_step.workspace.mapping(source=in_step.endpoint(always_read=True))
    for _ in range(2):
        result, requests = in_step.run()
        assert (result["read"], len(requests) > 1) == (2, True)


def test_a_key_that_stands_twice_in_the_sheet_is_named_with_its_rows(google):
    google.client.put(google.book, "Sheet1!A1", [["code", "amount"], ["a", 1], ["b", 1], [], ["a", 2]])
    google.workspace.csv("code,amount\na,9\nb,9\n")
    google.workspace.mapping(destination=google.endpoint(), mode="export")
    result, _ = google.run()
    assert (result["updated"], result["rejected"]) == (1, 1)
    with google.workspace.environment() as environment:
        (stored,) = environment.ledger.rejections.list(mapping_id="sample", status="open")
    assert stored.message.startswith("the destination holds 2 records with this key: Sheet1!2:2, Sheet1!5:5.")
    assert stored.where == Where(sheet="Sheet1", cell="2:2")
