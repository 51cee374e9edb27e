"""Refused records in a tab beside the source: shown, corrected by people, replayed; nothing else in the tab is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sheets_runs import Google
from sync_provider.core.errors import MappingError, MappingErrors, SyncConnectionError, SyncDataError
from sync_provider.sandbox.server import Sandbox
from workspace import Workspace

HEAD = ["N°", "Motif", "Champ", "Cellule", "Règle", "code", "amount"]
ROWS = [["code", "amount"], ["a", 1.5], ["b", "much"], ["c", "none"]]
WRITE = "sheets.spreadsheets.batchUpdate"


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    """A mapping of three records, two of them wrong, that has run once."""
    (tmp_path / "deployment").mkdir()
    with Sandbox(tmp_path / "sandbox") as sandbox:
        google = Google(sandbox, Workspace(tmp_path / "deployment"))
        google.client.put(google.book, "Sheet1!A1", ROWS)
        google.workspace.mapping(source=google.endpoint(rejects_tab="Rejets"))
        assert google.run()[0]["rejected"] == 2
        yield google


def shown(google: Google) -> list[list[Any]]:
    """The tab's rows but its header, without numbers and reasons."""
    head, *rows = google.client.rows(google.book, "Rejets")
    assert head[: len(HEAD)] == HEAD
    return [row[2:] for row in rows if row]


def test_refused_records_stand_there_with_reason_and_place(google):
    assert shown(google) == [
        ["amount", "Sheet1!B3", "convert", "b", "much"],
        ["amount", "Sheet1!B4", "convert", "c", "none"],
    ]
    assert "'much' is not a decimal" in google.client.rows(google.book, "Rejets")[1][1]


def test_a_correction_is_replayed_once_and_its_row_goes(google):
    google.client.put(google.book, "Rejets!G2", [["12.5"]])
    result, _ = google.run()
    assert (result["inserted"], result["rejected"]) == (1, 2)
    assert google.workspace.rows() == [("a", 1.5), ("b", 12.5)]
    assert shown(google) == [["amount", "Sheet1!B4", "convert", "c", "none"]], "what was corrected is not asked again"
    result, requests = google.run()
    assert result["inserted"] == 0
    # The source refuses both again, under new numbers: one cell is all that changes.
    assert requests.count(WRITE) == 1
    assert shown(google) == [["amount", "Sheet1!B4", "convert", "c", "none"]]


def test_a_correction_that_is_wrong_too_is_shown_as_such(google):
    google.client.put(google.book, "Rejets!G2", [["lots"]])
    google.run()
    assert sorted(row[-1] for row in shown(google)) == ["lots", "none"]


def test_a_number_that_a_person_makes_of_a_text_is_read_by_the_source_s_conventions(google):
    fields = [
        {"source": "code", "destination": "code"},
        {"source": "amount", "destination": "amount", "type": "decimal(12,3)"},
    ]
    google.workspace.mapping(source=google.endpoint(rejects_tab="Rejets", decimal=","), fields=fields)
    google.client.put(google.book, "Rejets!G2", [[1.234]])
    google.run()
    assert ("b", 1.234) in google.workspace.rows()


def test_a_field_that_the_mapping_gets_later_has_its_column_at_the_end(google):
    google.client.put(google.book, "Sheet1!C1", [["town"], ["Lyon"], ["Brest"], ["Metz"]])
    fields = [
        {"source": "code", "destination": "code"},
        {"source": "amount", "destination": "amount", "type": "decimal(12,2)"},
        {"source": "town", "destination": "town"},
    ]
    google.workspace.mapping(
        source=google.endpoint(rejects_tab="Rejets"),
        destination={"type": "sql", "connection": "db", "table": "towns"},
        fields=fields,
    )
    google.run()
    head, *rows = google.client.rows(google.book, "Rejets")
    assert head == [*HEAD, "town"]
    assert sorted(row[5:] for row in rows if row) == [["b", "much", "Brest"], ["c", "none", "Metz"]]


def test_what_is_mended_in_the_source_goes_from_the_tab(google):
    google.client.put(google.book, "Sheet1!B3", [[2], [3]])
    result, requests = google.run()
    assert (result["inserted"], requests.count(WRITE)) == (2, 1)
    assert shown(google) == []
    google.run()
    assert google.run()[1] == ["drive.files.get"], "and then the source is known to be unchanged"


def test_columns_rows_and_edits_of_people_stay(google):
    tabs = google.client.spreadsheets.get(spreadsheetId=google.book).execute()["sheets"]
    number = next(t["properties"]["sheetId"] for t in tabs if t["properties"]["title"] == "Rejets")
    google.client.batch(google.book, {"appendDimension": {"sheetId": number, "dimension": "COLUMNS", "length": 1}})
    google.client.put(google.book, "Rejets!H1", [["Qui"], ["Marie"]])
    google.client.put(google.book, "Rejets!A6", [["Merci de corriger avant vendredi"]])
    google.client.put(google.book, "Sheet1!B4", [[3]])
    google.run()
    rows = google.client.rows(google.book, "Rejets")
    assert rows[1][5:] == ["b", "much", "Marie"]
    assert ["Merci de corriger avant vendredi"] in rows
    assert len([row for row in rows if row]) == 3


def test_an_edit_made_during_a_run_waits_for_the_next_one(google, monkeypatch):
    from sync_provider.engine.phases import rejects_tab

    collect = rejects_tab.collect

    def collect_then_edit(*args: Any) -> int:
        found = collect(*args)
        google.client.put(google.book, "Rejets!G2", [["7"]])
        return found

    monkeypatch.setattr(rejects_tab, "collect", collect_then_edit)
    google.run()
    assert [row[-1] for row in shown(google)] == ["7", "none"]
    monkeypatch.setattr(rejects_tab, "collect", collect)
    google.run()
    assert ("b", 7) in google.workspace.rows()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_run_that_is_killed_while_it_writes_the_tab_ends_the_same(google, cut):
    google.client.put(google.book, "Rejets!G2", [["12.5"]])
    google.client.control("POST", "faults", {"method": WRITE, "cut": cut})
    with pytest.raises(SyncConnectionError):
        google.run(run="killed")
    with google.workspace.open(run="killed") as ctx:
        from sync_provider.engine.phases.report import report

        assert report(ctx)["inserted"] == 1
    assert shown(google) == [["amount", "Sheet1!B4", "convert", "c", "none"]]
    with google.workspace.environment() as env:
        statuses = sorted(item.status for item in env.ledger.rejections.list(mapping_id="sample"))
    assert statuses == ["open", "open", "open", "replayed"]


def test_records_refused_by_a_rule_are_corrected_by_their_source_columns(google):
    google.client.put(google.book, "Sheet1!A1", [["Code", "Amount"], ["a", 1], ["b", -2], ["", ""]])
    rule = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}
    google.workspace.mapping(
        id="ruled",
        source=google.endpoint(rejects_tab="Refus"),
        fields=[
            {"source": "Code", "destination": "code"},
            {"source": "Amount", "destination": "amount", "type": "decimal(12,2)"},
        ],
        validation={"expectations": [rule]},
    )
    assert google.run(mapping_id="ruled")[0]["rejected"] == 1
    head, row = google.client.rows(google.book, "Refus")
    assert (head[5:], row[2], row[5:]) == (["Code", "Amount"], "amount", ["b", "-2.00"])
    google.client.put(google.book, "Refus!G2", [["2"]])
    google.run(mapping_id="ruled")
    assert ("b", 2) in google.workspace.rows()


def test_a_tab_that_holds_something_else_is_left_alone(google):
    google.workspace.mapping(id="other", source=google.endpoint(rejects_tab="Notes"))
    google.client.batch(google.book, {"addSheet": {"properties": {"title": "Notes"}}})
    google.client.put(google.book, "Notes!A1", [["Courses"], ["du lait"]])
    with pytest.raises(SyncDataError, match="not one of refused records"):
        google.run(mapping_id="other")
    assert google.client.rows(google.book, "Notes") == [["Courses"], ["du lait"]]


def test_a_dry_run_neither_collects_nor_shows(google):
    google.client.put(google.book, "Rejets!G2", [["12.5"]])
    before = google.client.rows(google.book, "Rejets")
    result, requests = google.run(dry_run=True)
    assert result["rejected"] == 2
    assert WRITE not in requests
    assert google.client.rows(google.book, "Rejets") == before


@pytest.mark.parametrize(
    "sides",
    [
        {"source": {"rejects_tab": "sheet1"}},
        {"source": {"sheet": "/Rej.*/", "rejects_tab": "Rejets"}},
        {"destination": {"rejects_tab": "Rejets"}},
    ],
)
def test_a_mapping_says_where_the_tab_may_be(google, sides):
    ends = {
        "source": google.endpoint(**sides.get("source", {})),
        "destination": google.endpoint("Out", **sides.get("destination", {})),
    }
    google.workspace.mapping(**ends)
    with pytest.raises((MappingError, MappingErrors), match="rejects_tab"):
        google.workspace.run()


def test_correcting_a_formula_that_failed_is_enough_beside_a_date_and_a_number(google):
    fields = [
        {"source": "code", "destination": "code"},
        {"source": "amount", "destination": "amount", "type": "decimal(12,3)"},
        {"source": "day", "destination": "day", "type": "date"},
        {"source": "at", "destination": "at", "type": "timestamp"},
    ]
    google.workspace.execute("DROP TABLE target")
    google.client.put(google.book, "Sheet1!A1", [["code", "amount", "day", "at"], ["a", 1234.5, 45730, 45730.5]])
    google.client.put(google.book, "Sheet1!A3", [["", ""], ["", ""]])
    google.client.put(google.book, "Sheet1!A2", [["=1/0"]], "USER_ENTERED")
    source = google.endpoint(rejects_tab="Rejets", decimal=",", date_order="dmy")
    google.workspace.mapping(source=source, fields=fields)
    assert google.run()[0]["rejected"] == 1
    at = next(number for number, row in enumerate(google.client.rows(google.book, "Rejets"), 1) if "#DIV/0!" in row)
    google.client.put(google.book, f"Rejets!F{at}", [["a"]])
    assert google.run()[0]["inserted"] == 1
    assert google.workspace.rows() == [("a", 1234.5, "2025-03-14", "2025-03-14 12:00:00+00:00")]
