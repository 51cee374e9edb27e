"""`airflow-sync init`: skeletons that lint accepts, and honest about what is not decided."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from sync_provider.cli.main import main
from sync_provider.engine.loader import load_file


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        monkeypatch.delenv(name)
    (tmp_path / "airflow_settings.yaml").touch()
    (tmp_path / "include" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sync(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


ORDERS = "Numéro;Client;Montant;Payée\n00012;Noël;1 234,50;oui\n00013;Noël;12,00;non\n00014;Kowalski;7,25;oui\n"


def test_a_csv_file_gives_a_mapping_that_lint_accepts(project: Path) -> None:
    (project / "include" / "in" / "Commandes 2025.csv").write_text(ORDERS, encoding="cp1252")
    written = sync("init", "include/in/Commandes 2025.csv", "--output", "orders.yaml")
    assert (written.exit_code, written.stderr) == (0, "")
    assert sync("lint", "orders.yaml").exit_code == 0
    mapping = load_file(Path("orders.yaml")).mapping
    assert (mapping.id, mapping.write, mapping.key) == ("commandes_2025", "upsert", ("numero",))
    assert mapping.source.model_dump(include={"path", "encoding", "delimiter", "decimal"}) == {
        "path": "in/Commandes 2025.csv",
        "encoding": "cp1252",
        "delimiter": ";",
        "decimal": ",",
    }
    types = {f.destination: f.type for f in mapping.fields}
    assert types["numero"] == "string"  # 00012 stays 00012
    assert types["montant"].startswith("decimal(")
    assert types["payee"] == "boolean"


def test_the_key_is_the_first_field_whose_values_differ_and_is_marked_to_be_checked(project: Path) -> None:
    (project / "a.csv").write_text("city,code,n\nParis,A1,1\nParis,A2,1\nNice,A3,2\n", encoding="utf-8")
    text = sync("init", "a.csv").stdout
    assert "key: [code]" in text
    assert "# check: its values differ in the first 3 records" in text
    (project / "b.csv").write_text("city,n\nParis,1\nParis,1\nNice,2\n", encoding="utf-8")
    found = yaml.safe_load(sync("init", "b.csv").stdout)
    assert (found["key"], found["write"]) == ([], "append")


def test_columns_without_a_name_are_left_out(project: Path) -> None:
    (project / "a.csv").write_text("code,n,\nA1,1,\nA2,2,\n", encoding="utf-8")
    written = sync("init", "a.csv", "--output", "a.yaml")
    assert written.exit_code == 0, written.output
    assert [f.source for f in load_file(Path("a.yaml")).mapping.fields] == ["code", "n"]
    (project / "b.csv").write_text(",\n", encoding="utf-8")
    nameless = sync("init", "b.csv")
    assert nameless.exit_code == 4
    assert "b.csv: no column of this file has a name" in nameless.output


def test_a_file_outside_the_root_is_said_to_be(project: Path) -> None:
    (project / "a.csv").write_text("code,n\nA1,1\nA2,2\n", encoding="utf-8")
    assert "# check: the file must lie below" in sync("init", "a.csv").stdout


def test_what_a_file_does_not_decide_stays_open_and_lint_refuses_it(project: Path) -> None:
    (project / "a.csv").write_text("code,day\nA1,01/02/2025\nA2,03/04/2025\n", encoding="utf-8")
    result = sync("init", "a.csv", "--output", "a.yaml")
    assert result.exit_code == 0
    assert "1 left to be decided" in result.stderr
    refused = sync("lint", "a.yaml")
    assert refused.exit_code == 2
    assert "date_order" in refused.output


def test_a_workbook_gives_a_mapping_with_its_header_row_and_types(project: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = "Ventes"
    for row in (["Rapport"], [], ["Facture", "Quantité", "Prix"], ["F1", 2, 1.5], ["F2", 3, 2.25]):
        sheet.append(row)
    book.save(project / "include" / "in" / "ventes.xlsx")
    sync("init", "include/in/ventes.xlsx", "--output", "v.yaml", "--sheet", "Ventes", "--id", "ventes")
    assert sync("lint", "v.yaml").exit_code == 0
    mapping = load_file(Path("v.yaml")).mapping
    assert (mapping.id, mapping.key) == ("ventes", ("facture",))
    assert mapping.source.model_dump(include={"path", "sheet", "header_row"}) == {
        "path": "in/ventes.xlsx",
        "sheet": "Ventes",
        "header_row": 3,
    }
    assert [f.destination for f in mapping.fields] == ["facture", "quantite", "prix"]
    assert mapping.fields[1].type == "integer"


def test_columns_of_a_workbook_that_cannot_be_told_apart_are_not_mapped(project: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["Mois", "Montant", "Montant", "No"], ["janvier", 1, 2, 1.234], ["janvier", 3, "4,5", 2.345]):
        book.active.append(row)
    book.save(project / "a.xlsx")
    text = sync("init", "a.xlsx", "--output", "a.yaml")
    assert (text.exit_code, sync("lint", "a.yaml").exit_code) == (0, 0)
    mapping = load_file(Path("a.yaml")).mapping
    assert [(f.source, f.type) for f in mapping.fields] == [("Mois", "string"), ("No", "decimal(12,3)")]
    assert mapping.key == ("no",)
    assert "'Montant' stands there 2 times, in B1 and C1" in Path("a.yaml").read_text(encoding="utf-8")


def test_two_columns_may_be_the_key_together(project: Path) -> None:
    (project / "a.csv").write_text("city,year,n\nParis,2023,1\nParis,2024,1\nNice,2023,1\n", encoding="utf-8")
    found = yaml.safe_load(sync("init", "a.csv").stdout)
    assert (found["key"], found["write"]) == (["city", "year"], "upsert")


def test_a_table_gives_an_export_with_the_databases_types(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(project / "shop.db") as database:
        database.execute("CREATE TABLE products (ref TEXT PRIMARY KEY, stock INTEGER, price NUMERIC(10,2))")
        database.execute("INSERT INTO products VALUES ('R1', 3, 1.5)")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "sqlite", "host": str(project / "shop.db")}))
    answer = json.loads(sync("init", "--connection", "shop", "--table", "products", "--json").stdout)
    (project / "p.yaml").write_text(answer["mapping"], encoding="utf-8")
    assert sync("lint", "p.yaml").exit_code == 0
    mapping = load_file(Path("p.yaml")).mapping
    assert (mapping.mode, mapping.write, mapping.key, answer["undecided"]) == ("export", "replace", ("ref",), 0)
    assert [f.type for f in mapping.fields] == ["string", "integer", "decimal(10,2)"]
    missing = sync("init", "--connection", "shop", "--table", "product")
    assert (missing.exit_code, "there is no table 'product'" in missing.stderr) == (4, True)


def test_nothing_is_overwritten_and_wrong_arguments_are_usage_errors(project: Path) -> None:
    (project / "a.csv").write_text("code,n\nA1,1\n", encoding="utf-8")
    (project / "a.yaml").write_text("mine", encoding="utf-8")
    result = sync("init", "a.csv", "--output", "a.yaml")
    assert (result.exit_code, (project / "a.yaml").read_text(encoding="utf-8")) == (2, "mine")
    for arguments in (["init"], ["init", "--connection", "c"], ["init", "a.csv", "--table", "t", "--connection", "c"]):
        assert sync(*arguments).exit_code == 2
    assert sync("init", "a.csv", "--id", "Not An Id").exit_code == 2
