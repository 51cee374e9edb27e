"""The command line on Google Sheets, against the sandbox: inspect, init, test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from sheets_side import TAB, SheetsSide
from sync_provider.cli import session
from sync_provider.cli.main import main
from workspace import Workspace, deployment

SERVICE_ACCOUNT = "sync@sandbox-project.iam.gserviceaccount.com"
HEAD = ["Code", "Client", "Montant", "Remise", "Payée", "Date", "Vu le", "Dossier"]
RECORDS = 40


@pytest.fixture
def side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SheetsSide]:
    """A spreadsheet as a person types one, in a deployment whose connection ``g`` leads to it."""
    deployment(Workspace(tmp_path), monkeypatch)
    monkeypatch.chdir(tmp_path)
    made = SheetsSide(tmp_path, title="Ventes", locale="fr_FR", timeZone="Europe/Paris")
    rows = [
        [f"'{i:05}", f"Client {i % 3}", f"{i},50", f"{i}%", "VRAI", f"{i % 28 + 1:02}/02/2024", "01/03/2024 12:30", i]
        for i in range(1, RECORDS + 1)
    ]
    made.put(HEAD, *rows, typed=True)
    connect(made, monkeypatch)
    made.forget()
    yield made
    made.close()


def connect(side: SheetsSide, monkeypatch: pytest.MonkeyPatch, **extra: Any) -> None:
    given = {"keyfile_dict": side.key, "base_url": side.sandbox.base_url, **extra}
    monkeypatch.setenv("AIRFLOW_CONN_G", json.dumps({"conn_type": "google_cloud_platform", "extra": given}))


def sync(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def answer(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = sync(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def role(side: SheetsSide, role_: str) -> None:
    side.client.control("POST", "share", {"id": side.book, "email": SERVICE_ACCOUNT, "role": role_})


# inspect


def test_inspect_tells_tabs_types_key_and_the_first_records(side: SheetsSide) -> None:
    place = {"sheetId": 7, "startRowIndex": 0, "endRowIndex": 3, "startColumnIndex": 0, "endColumnIndex": 2}
    side.client.batch(
        side.book,
        {"addSheet": {"properties": {"sheetId": 9, "title": "Notes"}}},
        {"addNamedRange": {"namedRange": {"name": "Debut", "range": place}}},
    )
    data = answer("inspect", "g", side.book)
    assert {probe["aspect"]: probe["ok"] for probe in data["probes"]} == dict.fromkeys(
        ("reach", "authenticate", "read", "write"), True
    )
    assert data["tabs"][0] == {"title": TAB, "gid": 7, "rows": 1000, "columns": 12}
    assert data["tabs"][1]["title"] == "Notes"
    assert data["named_ranges"] == {"Debut": "'Clients'!A1:B3"}
    assert data["spreadsheet"]["time_zone"] == "Europe/Paris"
    assert {column["name"]: column["type"] for column in data["columns"]} == {
        "Code": "string",
        "Client": "string",
        "Montant": "decimal(12,1)",
        "Remise": "decimal(12,2)",
        "Payée": "boolean",
        "Date": "date",
        "Vu le": "timestamp",
        "Dossier": "integer",
    }
    assert data["columns"][0]["why"] == "digits with a leading zero or plus sign: 00001"
    assert data["columns"][5]["why"] == "numbers that a date format shows"
    assert "column 'Remise': shown as percentages; read as fractions, 0.25 for 25%" in data["notes"]
    assert (data["key"], data["records"], data["complete"]) == (["code"], RECORDS, True)
    assert len(data["preview"]["rows"]) == 10
    assert data["preview"]["rows"][0] == [
        *("00001", "Client 1", "1.5", "0.01", "true", "2024-02-02", "2024-03-01T11:30:00Z", "1")
    ]


def test_inspect_prints_yaml_to_paste(side: SheetsSide) -> None:
    result = sync("inspect", "g", f"https://docs.google.com/spreadsheets/d/{side.book}/edit?usp=sharing#gid=7")
    assert result.exit_code == 0, result.output
    block = yaml.safe_load(result.stdout)
    assert block["source"] == {
        "type": "google_sheets",
        "connection": "g",
        "spreadsheet": side.book,
        "sheet": TAB,
        "header_row": 1,
    }
    assert [field["source"] for field in block["fields"]] == HEAD
    assert block["key"] == ["code"]
    assert "# The first 10 records as they would be read:" in result.stdout


def test_inspect_costs_few_small_requests_however_long_the_tab(side: SheetsSide) -> None:
    side.put(*([f"x{i}", "y" * 5_000] for i in range(900)), at="A42")
    side.forget()
    data = answer("inspect", "g", side.book)
    log = side.log()
    assert log["by_method"] == {
        "oauth.token": 1,
        "sheets.spreadsheets.get": 3,  # the spreadsheet, its first rows, and some more
        "drive.files.get": 1,
    }
    assert sum(entry["response_bytes"] for entry in log["requests"]) < 2_000_000
    assert not data["complete"]
    assert 100 < data["records"] < 900


def test_inspect_asks_for_no_right_to_edit_and_tells_whether_there_is_one(side: SheetsSide) -> None:
    role(side, "reader")
    result = sync("inspect", "g", side.book)
    assert result.exit_code == 0
    assert "# write        no      the account may only read it. Share it with" in result.stdout
    assert side.count("sheets.spreadsheets.getByDataFilter") == 0  # Google wants the right to edit for it


def test_inspect_tells_formats_mixed_columns_and_failed_formulas(side: SheetsSide) -> None:
    side.put(
        ["Code postal", "Prix", "Jours", "Formule", "Long", "", "Prix 2", "Prix 2"],
        *(
            [1000 + i, i, i if i % 2 else f"0{i % 8 + 1}/05/2024", f"={i}/{i % 3}", 2**60 if i > 18 else i, "sans nom"]
            for i in range(1, 21)
        ),
        at="A101",
        typed=True,
    )

    def shown(column: int, pattern: str) -> dict[str, Any]:
        area = {"sheetId": 7, "startRowIndex": 101, "endRowIndex": 121, "startColumnIndex": column}
        cell = {"userEnteredFormat": {"numberFormat": {"type": "NUMBER", "pattern": pattern}}}
        range_ = {**area, "endColumnIndex": column + 1}
        return {"repeatCell": {"range": range_, "cell": cell, "fields": "userEnteredFormat.numberFormat"}}

    side.client.batch(side.book, shown(0, "00000"), shown(1, '#,##0.00 "€"'))
    data = answer("inspect", "g", side.book, "--header-row", "101")
    columns = {column["name"]: column for column in data["columns"]}
    assert columns["Code postal"]["type"] == "integer"
    assert (
        "column 'Code postal': shown with leading zeros by the format 00000; the numbers are read without"
        in data["notes"]
    )
    assert columns["Prix"]["type"] == "decimal(14,2)"
    assert columns["Jours"]["why"].startswith("mixed: 10 numbers and 10 dates (the first of the")
    assert columns["Jours"]["why"].endswith("as text, a date is read as its day number")
    assert any(
        note.startswith("column 'Formule': 6 cell(s) such as D104 whose formula failed") for note in data["notes"]
    )
    assert columns["Long"]["type"] == "string"
    assert any(note.startswith("column 'Long': numbers of more digits than a cell keeps") for note in data["notes"])
    assert "F101 holds no name above 20 value(s): the column cannot be mapped" in data["notes"]
    assert any("'Prix 2' stands there 2 times, in G101 and H101" in note for note in data["notes"])
    assert "the formula in this cell failed" in " ".join(data["preview"]["refused"])


@pytest.mark.parametrize("sheet", ["Client", "gid=8"])
def test_a_tab_that_is_not_there_is_told_with_those_that_are(side: SheetsSide, sheet: str) -> None:
    data = answer("inspect", "g", side.book, "--sheet", sheet, code=4)
    assert (data["error"]["code"], "'Clients'" in data["error"]["hint"]) == ("sheet_missing", True)


def test_an_empty_tab_has_no_columns_and_gives_no_mapping(side: SheetsSide) -> None:
    side.client.batch(side.book, {"addSheet": {"properties": {"sheetId": 9, "title": "Vide"}}})
    data = answer("inspect", "g", side.book, "--sheet", "gid=9")
    assert (data["columns"], data["preview"]) == ([], None)
    refused = sync("init", "--connection", "g", "--spreadsheet", side.book, "--sheet", "Vide")
    assert refused.exit_code == 4
    assert "this sheet has no header" in refused.stderr


def test_wrong_arguments_are_usage_errors(side: SheetsSide) -> None:
    assert "is no id or address of a spreadsheet" in sync("inspect", "g", "no id!").stderr
    assert sync("inspect", "g", "no id!").exit_code == 2
    assert sync("init", "--connection", "g", "--spreadsheet", side.book, "--table", "t").exit_code == 2
    result = sync("inspect", "db", side.book)
    assert "connection db: the connection cannot be used: it is of type 'sqlite'" in result.stdout
    assert result.exit_code == 4


# init


def test_init_gives_a_mapping_that_lint_accepts_and_run_runs(side: SheetsSide, tmp_path: Path) -> None:
    mappings = sync("init", "--connection", "g", "--spreadsheet", side.book)
    assert mappings.exit_code == 0, mappings.output
    path = tmp_path / "clients.yaml"
    path.write_text(mappings.stdout.replace("my_database", "db"), encoding="utf-8")
    assert sync("lint", str(path)).exit_code == 0
    data = answer("run", "clients", "--mappings", str(tmp_path))
    assert {name: data["counters"][name] for name in ("read", "inserted", "rejected")} == {
        "read": RECORDS,
        "inserted": RECORDS,
        "rejected": 0,
    }
    assert answer("run", "clients", "--mappings", str(tmp_path))["counters"]["source_unchanged"] == 1


def test_init_leaves_open_what_no_cell_decides(side: SheetsSide) -> None:
    side.put(["Jour"], ["01/02/2024"], ["03/04/2024"], at="A101")
    data = answer("init", "--connection", "g", "--spreadsheet", side.book, "--header-row", "101")
    assert data["undecided"] == 1
    assert "date_order: to be decided" in data["mapping"]


# test


@pytest.fixture
def mapping(side: SheetsSide, tmp_path: Path) -> Callable[..., None]:
    """Writes the mapping ``clients``, whose keys of source and destination go over a sheet → table import."""

    def write(destination: dict[str, Any] | None = None, **source: Any) -> None:
        sheet = {"type": "google_sheets", "connection": "g", "spreadsheet": side.book, "sheet": TAB}
        whole = {
            "version": 1,
            "id": "clients",
            "mode": "import",
            "source": {**sheet, **source},
            "destination": destination or {"type": "sql", "connection": "db", "table": "clients"},
            "key": ["code"],
            "fields": [
                {"source": "Code", "destination": "code"},
                {"source": "Date", "destination": "date", "type": "date"},
                {"source": "Montant", "destination": "montant", "type": "decimal(12,2)"},
            ],
        }
        (tmp_path / "mapped").mkdir(exist_ok=True)
        (tmp_path / "mapped" / "clients.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")

    write()
    return write


def probed(end: str = "source", code: int = 0) -> dict[str, dict[str, Any]]:
    data = answer("test", "clients", "--mappings", "mapped", code=code)
    return {probe["aspect"]: probe for probe in data[end]}


def outcome(probes: dict[str, dict[str, Any]]) -> dict[str, bool]:
    return {aspect: probe["ok"] for aspect, probe in probes.items()}


def test_test_tells_each_aspect_and_shows_ten_converted_records(side: SheetsSide, mapping: Callable[..., None]) -> None:
    role(side, "reader")  # which is enough for a source
    data = answer("test", "clients", "--mappings", "mapped")
    assert [probe["aspect"] for probe in data["source"]] == ["reach", "authenticate", "read", "header"]
    assert all(probe["ok"] for probe in data["source"])
    assert len(data["sample"]["rows"]) == 10
    assert data["sample"]["rows"][0] == ["00001", "2024-02-02", "1.50"]
    assert side.log()["by_method"] == {
        "oauth.token": 1,
        "sheets.spreadsheets.get": 1,
        "drive.files.get": 1,
        "sheets.spreadsheets.values.batchGet": 2,  # the header, the records
    }


def _not_shared(side: SheetsSide) -> None:
    role(side, "none")


def _revoked(side: SheetsSide) -> None:
    side.client.control("PUT", "accounts", {"email": SERVICE_ACCOUNT, "disabled": True})


def _switched_off(service: str) -> Callable[[SheetsSide], None]:
    def switch(side: SheetsSide) -> None:
        side.client.control("PUT", "apis", {"project": "sandbox-project", "service": service, "enabled": False})

    return switch


def _spoiled(method: str, **fault: Any) -> Callable[[SheetsSide], None]:
    return lambda side: side.fault(method, times=None, **fault)


REFUSALS = {
    "not shared": (_not_shared, "read", 4, "is not shared with the account", f"Share it with {SERVICE_ACCOUNT}"),
    "missing": (_spoiled("sheets", status=404), "read", 4, "there is no such spreadsheet", "Copy the id"),
    "revoked": (_revoked, "authenticate", 4, "its key was revoked", "Create a new key"),
    "Sheets is off": (
        _switched_off("sheets"),
        "read",
        4,
        "the Google Sheets API is switched off",
        "Enable it at https://",
    ),
    "Drive is off": (
        _switched_off("drive"),
        "read",
        4,
        "the Google Drive API is switched off",
        "Enable it at https://",
    ),
    "quota": (
        _spoiled("sheets", status=429),
        "read",
        3,
        "Google's quota of requests is used up",
        "It refills every minute",
    ),
    "down": (_spoiled("sheets", status=503), "reach", 3, "Google answered with status 503", "It will be tried again"),
    "login page": (_spoiled("sheets", body="<html>"), "reach", 4, "it is not Google's", "A proxy or a login page"),
    "token refused": (_spoiled("sheets", status=401), "authenticate", 4, "refuses the credentials", "Create a new key"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_each_refusal_says_how_far_it_went_and_how_to_mend_it(
    side: SheetsSide, mapping: Callable[..., None], monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    monkeypatch.setattr(session, "_PATIENCE_S", 0.1)
    spoil, aspect, code, what, how = REFUSALS[refusal]
    spoil(side)
    order = ("reach", "authenticate", "read")
    expected = {name: name != aspect for name in order[: order.index(aspect) + 1]}
    probes = probed(code=code)
    assert outcome(probes) == expected
    assert what in probes[aspect]["detail"]
    assert how in probes[aspect]["hint"]
    inspected = answer("inspect", "g", side.book, code=code)
    assert outcome({probe["aspect"]: probe for probe in inspected["probes"]}) == expected
    shown = sync("test", "clients", "--mappings", "mapped").stdout
    assert f"source      {aspect:<12} FAILED" in shown
    assert how in shown


def test_an_unreachable_address_may_be_tried_again(
    side: SheetsSide, mapping: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_PATIENCE_S", 0.1)
    connect(side, monkeypatch, base_url="http://127.0.0.1:9")
    probes = probed(code=3)
    assert outcome(probes) == {"reach": False}
    assert "base_url" in probes["reach"]["hint"]


def test_a_destination_and_a_tab_of_refused_records_need_an_editor(
    side: SheetsSide, mapping: Callable[..., None]
) -> None:
    role(side, "reader")
    mapping(rejects_tab="Rejets")
    probes = probed(code=4)
    assert outcome(probes) == {"reach": True, "authenticate": True, "read": True, "write": False, "header": True}
    assert probes["write"]["hint"] == f"Share it with {SERVICE_ACCOUNT} as Editor."
    mapping({"type": "google_sheets", "connection": "g", "spreadsheet": side.book, "sheet": "Copie"})
    probes = probed("destination", code=4)
    assert (probes["write"]["ok"], probes["header"]["ok"]) == (False, True)
    role(side, "writer")
    assert probed("destination")["header"]["detail"] == "the tab 'Copie' will be created"


def test_a_header_that_does_not_fit_is_told_with_its_cell_once(side: SheetsSide, mapping: Callable[..., None]) -> None:
    side.put(["Codes"], at="A1")
    probes = probed(code=4)
    assert not probes["header"]["ok"]
    assert probes["header"]["detail"].startswith("Clients!A1: there is no column 'Code'")
    line = next(
        line for line in sync("test", "clients", "--mappings", "mapped").stdout.splitlines() if "FAILED" in line
    )
    assert line.count("Codes") == 1
