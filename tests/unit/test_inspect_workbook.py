"""What is found out about sheets of workbooks, from real ones: cells have types of their own, and texts are only what stands in text cells."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from openpyxl import Workbook
from sync_provider.cli.main import main
from sync_provider.connectors.files.inspect_cells import SheetInspection
from sync_provider.connectors.files.inspect_workbook import inspect_workbook
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.errors import SyncDataError

MAY_1, NOON = date(2024, 5, 1), datetime(2024, 5, 1, 12, 30)  # noqa: DTZ001 - a cell has no zone


def workbook(folder: Path, *rows: list[Any], **sheets: list[list[Any]]) -> Path:
    """A workbook whose first sheet holds the rows."""
    book = Workbook()
    sheet = book.active
    sheet.title = "Ventes"
    for row in rows:
        sheet.append(row)
    for title, others in sheets.items():
        added = book.create_sheet(title)
        for row in others:
            added.append(row)
    path = folder / "ventes.xlsx"
    book.save(path)
    return path


def found(path: Path, **options: Any) -> SheetInspection:
    root = FileRoot(str(path.parent))
    return inspect_workbook(root, root.resolve(path.name), **options).sheet


def types(inspection: SheetInspection) -> dict[str, str]:
    return {column.name: column.type for column in inspection.columns}


def inspect(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["inspect", *arguments])


def test_cells_have_the_types_that_they_have(tmp_path: Path) -> None:
    head = ["Code", "Nombre", "Prix", "Jour", "Vu", "Payé", "Heure", "Chiffres", "Prix écrit", "Vide"]
    rows = [[f"{i:05}", i, i + 1.234, MAY_1, NOON, True, time(8, 30), str(i), f"{i},50", None] for i in range(1, 9)]
    inspection = found(workbook(tmp_path, head, *rows))
    assert types(inspection) == {
        "Code": "string",
        "Nombre": "integer",
        "Prix": "decimal(12,3)",  # 1.234 groups no thousands: it is a number
        "Jour": "date",
        "Vu": "timestamp",
        "Payé": "boolean",
        "Heure": "string",
        "Chiffres": "string",
        "Prix écrit": "decimal(12,2)",
        "Vide": "string",
    }
    assert inspection.findings["decimal"].value == ","
    assert "date_order" not in inspection.findings
    assert inspection.ambiguities == []
    assert (inspection.records, inspection.complete) == (8, True)


def test_dates_and_numbers_in_text_cells_read_as_the_others_do(tmp_path: Path) -> None:
    rows = [[MAY_1, 2.5], [MAY_1, 3], ["31/05/2024", "1 234,75"]]
    inspection = found(workbook(tmp_path, ["Jour", "Prix"], *rows))
    assert types(inspection) == {"Jour": "date", "Prix": "decimal(12,2)"}
    assert {name: finding.value for name, finding in inspection.findings.items()} == {
        "header_row": 1,
        "decimal": ",",
        "date_order": "dmy",
    }
    assert "2 dates and 1 texts, which read as dates (the first of the texts in A4)" in inspection.columns[0].why


def test_mixed_columns_say_so_and_a_few_strays_are_asked_about(tmp_path: Path) -> None:
    rows = [[i, i if i % 2 else "n/a", MAY_1 if i % 3 else i] for i in range(1, 20)] + [["?", 1, MAY_1]]
    inspection = found(workbook(tmp_path, ["Presque", "Mixte", "Jours"], *rows))
    assert types(inspection) == {"Presque": "integer", "Mixte": "string", "Jours": "string"}
    nearly, mixed, _ = inspection.columns
    assert (nearly.confidence, nearly.why) == (0.6, "mixed: 19 numbers and 1 texts")
    assert mixed.why == "mixed: 11 numbers and 9 texts (the first of the texts in B3)"
    (doubt,) = inspection.ambiguities
    assert "'?' (the first of the texts in A21)" in doubt


def test_the_header_is_the_first_row_of_names_and_its_faults_are_told_with_their_cell(tmp_path: Path) -> None:
    rows = [["Rapport"], [], ["Code", "Total", None, "Total"], ["A", 1, "x", 2], ["B", 3, "y", "z"]]
    inspection = found(workbook(tmp_path, *rows))
    assert inspection.findings["header_row"].value == 3
    assert types(inspection) == {"Code": "string"}
    assert "C3 holds no name above 2 value(s): the column cannot be mapped" in inspection.notes
    assert "'Total' stands there 2 times, in B3 and D3: not mapped until the names differ" in inspection.notes
    asked = found(workbook(tmp_path, *rows), header_row=4)
    assert list(types(asked)) == ["A", "1", "x", "2"]


def test_a_sheet_without_names_is_read_by_the_numbers_of_its_columns(tmp_path: Path) -> None:
    inspection = found(workbook(tmp_path, [1, MAY_1], [2, MAY_1]))
    assert inspection.findings["header_row"].value == 0
    assert types(inspection) == {"column_1": "integer", "column_2": "date"}
    assert inspection.records == 2


def test_numbers_may_be_names_and_are_asked_about(tmp_path: Path) -> None:
    inspection = found(workbook(tmp_path, ["Produit", 2023, 2024], ["P1", 1, 2], ["P2", 3, 4]))
    assert list(types(inspection)) == ["Produit", "2023", "2024"]
    assert inspection.findings["header_row"].confidence == 0.6
    assert any("row 1 holds '2023', which is no text" in doubt for doubt in inspection.ambiguities)


def test_only_the_first_rows_are_looked_at(tmp_path: Path) -> None:
    inspection = found(workbook(tmp_path, ["n"], *([i] for i in range(5_000)), ["not a number"]))
    assert (inspection.complete, types(inspection)) == (False, {"n": "integer"})
    assert inspection.records == 999
    assert "only rows up to 1000 were looked at" in inspection.notes


def test_a_missing_or_empty_sheet_is_an_error_that_tells_the_others(tmp_path: Path) -> None:
    path = workbook(tmp_path, ["a"], [1], Vide=[])
    with pytest.raises(SyncDataError) as missing:
        found(path, sheet="Vente")
    assert (missing.value.code, "'Ventes'" in str(missing.value)) == ("sheet_missing", True)
    with pytest.raises(SyncDataError) as empty:
        found(path, sheet="Vide")
    assert "ventes.xlsx Vide" in str(empty.value)


# The command


def test_the_answer_is_yaml_whose_rest_is_comments(tmp_path: Path) -> None:
    head = ["Facture", "No", "Prix"]  # "no" is false in YAML unless it is quoted
    path = workbook(tmp_path, head, ["F1", 1, 1.5], ["F2", 1, None], ["F3", "x", "#"], Notes=[["a"]])
    result = inspect(str(path))
    assert result.exit_code == 0, result.output
    block = yaml.safe_load(result.stdout)
    assert block["source"] == {"type": "excel", "path": "ventes.xlsx", "sheet": "Ventes", "header_row": 1}
    assert [field["destination"] for field in block["fields"]] == ["facture", "no", "prix"]
    assert block["key"] == ["facture"]
    assert "# sheets: 'Ventes', 'Notes'" in result.stdout
    assert "# F2       1   null" in result.stdout


def test_json_holds_the_same(tmp_path: Path) -> None:
    path = workbook(tmp_path, ["a", "b"], [1, "x"], [1, "y"], [2, "x"])
    data = json.loads(inspect(str(path), "--json", "--sheet", "Ventes").stdout)
    assert data["sheets"] == [{"name": "Ventes", "hidden": False}]
    assert data["header"] == {"A1": "a", "B1": "b"}
    assert data["columns"][0] == {"name": "a", "type": "integer", "confidence": 0.95, "why": "whole numbers"}
    assert data["key"] == ["a", "b"]  # neither column alone
    assert data["preview"]["rows"] == [["1", "x"], ["1", "y"], ["2", "x"]]


def test_a_workbook_is_known_by_its_content_and_a_false_one_named(tmp_path: Path) -> None:
    workbook(tmp_path, ["a"], [1]).rename(tmp_path / "export.csv")
    assert "type: excel" in inspect(str(tmp_path / "export.csv")).stdout
    (tmp_path / "texte.xlsx").write_text("a;b\n1;2\n", encoding="utf-8")
    refused = inspect(str(tmp_path / "texte.xlsx"))
    assert (refused.exit_code, "texte.xlsx: " in refused.stderr) == (4, True)
    missing = inspect(str(tmp_path / "nulle.xlsx"))
    assert (missing.exit_code, "there is no such file" in missing.stderr) == (4, True)


def test_options_of_sheets_are_refused_for_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n", encoding="utf-8")
    assert inspect(str(tmp_path / "a.csv"), "--sheet", "x").exit_code == 2
    assert inspect("a", "b", "c").exit_code == 2
