"""Existing workbooks: what no change concerns keeps its bytes, and what cannot be kept right is refused in words."""

from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from contract.harness import changes
from excel_files import MAIN, SheetXml, archive, connector, parts_of, read, table, text_cell, workbook
from openpyxl.chart import BarChart, Reference
from openpyxl.formatting.rule import CellIsRule
from openpyxl.styles import Font, PatternFill
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.table import Table
from sync_provider.connectors.base import TargetColumn, WriteRequest, WriteResult
from sync_provider.core.errors import SyncDataError
from sync_provider.core.schema import parse_type

COLUMNS = (
    TargetColumn(name="code", type=parse_type("string"), nullable=False),
    TargetColumn(name="amount", type=parse_type("decimal(12,2)")),
    TargetColumn(name="on", type=parse_type("date")),
)
Triple = tuple[str, dict[str, Any] | None, dict[str, Any] | None]


def record(code: str, amount: str | None = "1.00", on: date | None = date(2024, 1, 31)) -> dict[str, Any]:
    return {"code": code, "amount": None if amount is None else Decimal(amount), "on": on}


def insert(*values: Any) -> Triple:
    return "insert", record(*values), None


def update(old: dict[str, Any], new: dict[str, Any]) -> Triple:
    return "update", new, old


def delete(old: dict[str, Any]) -> Triple:
    return "delete", None, old


def write(directory: Path, mode: Any, *rows: Triple, columns: Any = COLUMNS, **options: Any) -> WriteResult:
    with connector(directory, **options) as opened:
        request = WriteRequest(mode=mode, columns=columns, key=("code",))
        return opened.write(request, changes(*rows, columns=columns))


def rich(path: Path) -> None:
    """A workbook with what people put into workbooks."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Data"
    sheet.append(["code", "note", "amount", "on", "double"])
    for n in range(1, 6):
        sheet.append(
            [f"c{n}", f"note {n}", n * 1.5, datetime(2024, 1, n, tzinfo=UTC).replace(tzinfo=None), f"=C{n + 1}*2"]
        )
    for row in sheet.iter_rows(min_row=2):
        row[2].number_format = '#,##0.00 "€"'
        row[2].font = Font(color="FF0000")
        row[3].number_format = "dd/mm/yyyy"
    sheet["C3"].fill = PatternFill("solid", fgColor="FFFF00")
    sheet.column_dimensions["B"].width = 44
    sheet.conditional_formatting.add("C2:C6", CellIsRule(operator="greaterThan", formula=["3"]))
    choice = DataValidation(type="list", formula1='"a,b"')
    choice.add("B2:B6")
    sheet.add_data_validation(choice)
    other = book.create_sheet("Other")
    other["A1"] = "=SUM(Data!C2:C6)"
    other.merge_cells("B2:C3")
    chart = BarChart()
    chart.add_data(Reference(sheet, min_col=3, min_row=1, max_row=6), titles_from_data=True)
    other.add_chart(chart, "E5")
    book.defined_names["amounts"] = DefinedName("amounts", attr_text="Data!$C$2:$C$6")
    book.save(path)
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("xl/media/image1.png", b"\x89PNG not known to any library")
        opened.writestr("customXml/item1.xml", "<mine/>")


def test_only_the_cells_that_differ_change(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    rich(path)
    before = parts_of(path)
    old = record("c2", "3.00", date(2024, 1, 2))
    result = write(tmp_path, "upsert", update(old, {**old, "amount": Decimal("99.50")}))
    assert (result.updated, result.deferred_keys, result.rejections) == (1, [], [])
    after = parts_of(path)
    assert {name for name in before if before[name] != after[name]} == {"xl/worksheets/sheet1.xml"}
    assert set(after) == set(before)
    one, other = (parts["xl/worksheets/sheet1.xml"].decode() for parts in (before, after))
    changed = one.replace('<c r="C3" s="3" t="n"><v>3</v>', '<c r="C3" s="3"><v>99.50</v>')
    assert other == changed.replace('<dimension ref="A1:E6" />', "") != one


def test_new_records_take_the_formats_of_the_last_one(tmp_path: Path) -> None:
    rich(tmp_path / "book.xlsx")
    write(tmp_path, "upsert", insert("c9", "7.25", date(2025, 5, 5)))
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx")["Data"]
    assert [cell.value for cell in sheet[7]] == ["c9", None, 7.25, datetime.fromisoformat("2025-05-05"), None]
    assert (sheet["C7"].number_format, sheet["C7"].font.color.rgb) == ('#,##0.00 "€"', "00FF0000")
    assert sheet["D7"].number_format == "dd/mm/yyyy"


def test_everything_else_survives_all_modes_that_edit(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    for mode in ("append", "upsert", "mirror"):
        rich(path)
        before = parts_of(path)
        write(tmp_path, mode, insert("new"))
        after = parts_of(path)
        assert {n for n in before if before[n] != after.get(n)} <= {"xl/worksheets/sheet1.xml"}, mode
        book = openpyxl.load_workbook(path)
        sheet = book["Data"]
        assert sheet["E3"].value == "=C3*2"
        assert sheet.column_dimensions["B"].width == 44
        assert len(sheet.conditional_formatting) == 1
        assert sheet.data_validations.count == 1
        assert book["Other"].merged_cells.ranges
        assert "amounts" in book.defined_names


def test_a_deletion_clears_the_mapped_cells_where_formulas_refer_to_rows(tmp_path: Path) -> None:
    rich(tmp_path / "book.xlsx")
    assert write(tmp_path, "mirror", delete(record("c2", "3.00", date(2024, 1, 2)))).deleted == 1
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx")["Data"]
    assert [cell.value for cell in sheet[3]] == [None, "note 2", None, None, "=C3*2"]
    assert sheet["C3"].fill.fgColor.rgb == "00FFFF00"
    assert read(tmp_path, None, {"code": "string"}).column("code") == ["c1", "c3", "c4", "c5"]


def test_a_deletion_moves_rows_up_where_nothing_refers_to_them(tmp_path: Path) -> None:
    write(tmp_path, "upsert", *(insert(f"c{n}", f"{n}.00") for n in range(1, 30_001)))
    doomed = [delete(record(f"c{n}", f"{n}.00")) for n in (1, 2, 15_000, 30_000)]
    result = write(tmp_path, "mirror", *doomed, insert("new"))
    assert (result.deleted, result.inserted) == (4, 1)
    found = read(tmp_path, None, {"code": "string"})
    assert found.column("code") == [f"c{n}" for n in range(1, 30_001) if n not in (1, 2, 15_000, 30_000)] + ["new"]
    assert found.column("__row") == list(range(2, 29_999))


def test_a_cell_with_a_formula_is_never_overwritten(tmp_path: Path) -> None:
    columns = (COLUMNS[0], TargetColumn(name="double", type=parse_type("decimal(9,2)")))
    data = workbook(SheetXml(table(("code", "double"), text_cell("A2", "c1") + '<c r="B2"><f>1+1</f><v>2</v></c>')))
    (tmp_path / "book.xlsx").write_bytes(data)
    old, new = ({"code": "c1", "double": Decimal(n)} for n in (2, 3))
    result = write(tmp_path, "upsert", update(old, new), columns=columns)
    assert [(r.rule, r.where.cell, r.key) for r in result.rejections] == [("formula_cell", "B2", "c1")]
    assert write(tmp_path, "mirror", delete(old), columns=columns).rejections[0].rule == "formula_cell"
    assert write(tmp_path, "upsert", update(old, old), columns=columns).rejections == []
    assert (tmp_path / "book.xlsx").read_bytes() == data


def test_nothing_to_do_writes_nothing(tmp_path: Path) -> None:
    rich(tmp_path / "book.xlsx")
    before = (tmp_path / "book.xlsx").stat()
    same = record("c2", "3.00", date(2024, 1, 2))
    result = write(tmp_path, "mirror", update(record("c2"), same), insert(*same.values()), delete(record("gone")))
    assert (result.inserted, result.updated, result.deleted) == (0, 0, 0)
    after = (tmp_path / "book.xlsx").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_key_that_stands_twice_in_the_sheet_rejects_its_change(tmp_path: Path) -> None:
    rows = [text_cell(f"A{n}", "c1") + f'<c r="B{n}"><v>1</v></c>' for n in (2, 3)]
    (tmp_path / "book.xlsx").write_bytes(workbook(SheetXml(table(("code", "amount", "on"), *rows))))
    result = write(tmp_path, "upsert", update(record("c1", "1.00", None), record("c1", "2.00", None)))
    assert [(r.rule, r.where.row) for r in result.rejections] == [("duplicate_key", 2)]
    assert result.updated == 0


def test_an_error_cell_is_a_record_that_moved(tmp_path: Path) -> None:
    rows = text_cell("A2", "c1") + '<c r="B2" t="e"><v>#N/A</v></c>'
    (tmp_path / "book.xlsx").write_bytes(workbook(SheetXml(table(("code", "amount", "on"), rows))))
    result = write(tmp_path, "upsert", update(record("c1", None, None), record("c1", "2.00", None)))
    assert (result.deferred_keys, result.updated) == (["c1"], 0)


def test_keys_of_any_type_find_their_rows(tmp_path: Path) -> None:
    columns = (
        TargetColumn(name="n", type=parse_type("integer")),
        TargetColumn(name="on", type=parse_type("date")),
        TargetColumn(name="v", type=parse_type("string")),
    )
    rows = [
        '<c r="A2"><v>7</v></c><c r="B2" s="1"><v>45322</v></c>' + text_cell("C2", "a"),
        text_cell("A3", " 8 ") + text_cell("B3", "31/01/2024") + text_cell("C3", "b"),
    ]
    (tmp_path / "book.xlsx").write_bytes(workbook(SheetXml(table(("n", "on", "v"), *rows))))
    request = WriteRequest(mode="upsert", columns=columns, key=("n", "on"))
    old = [{"n": n, "on": date(2024, 1, 31), "v": v} for n, v in ((7, "a"), (8, "b"))]
    stream = changes(*(("update", {**each, "v": "new"}, each) for each in old), columns=columns)
    with connector(tmp_path, date_order="dmy") as opened:
        assert opened.write(request, stream).updated == 2
    assert read(tmp_path).column("v") == ["new", "new"]


def test_dates_written_over_other_cells_get_a_date_format_and_keep_the_rest(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["code", "amount", "on"])
    book.active.append(["c1", 1, None])
    book.active["C2"].font = Font(italic=True)
    book.active["B2"].number_format = "yyyy-mm-dd"
    book.save(tmp_path / "book.xlsx")
    # B2 shows a date: it is no amount, so this record moved; C2 is empty and takes the date.
    assert write(tmp_path, "upsert", update(record("c1", "1.00", None), record("c1", "5.00"))).deferred_keys == ["c1"]
    book.active["B2"].number_format = "General"
    book.save(tmp_path / "book.xlsx")
    assert write(tmp_path, "upsert", update(record("c1", "1.00", None), record("c1", "5.00"))).updated == 1
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx").active
    assert (sheet["C2"].value, sheet["C2"].font.i) == (datetime.fromisoformat("2024-01-31"), True)
    assert sheet["B2"].value == 5
    assert read(tmp_path, None, {"on": "date"}).column("on") == ["2024-01-31"]


def test_a_sheet_that_is_not_there_is_added(tmp_path: Path) -> None:
    rich(tmp_path / "book.xlsx")
    before = parts_of(tmp_path / "book.xlsx")
    write(tmp_path, "upsert", insert("x", "2.50"), sheet="Nouvelle & belle")
    book = openpyxl.load_workbook(tmp_path / "book.xlsx")
    assert book.sheetnames == ["Data", "Other", "Nouvelle & belle"]
    sheet = book["Nouvelle & belle"]
    assert [[cell.value for cell in row] for row in sheet] == [
        ["code", "amount", "on"],
        ["x", 2.5, datetime.fromisoformat("2024-01-31")],
    ]
    assert sheet["A1"].font.b
    assert sheet.freeze_panes == "A2"
    after = parts_of(tmp_path / "book.xlsx")
    untouched = {"xl/worksheets/sheet1.xml", "xl/worksheets/sheet2.xml", "xl/charts/chart1.xml", "xl/media/image1.png"}
    assert all(before[name] == after[name] for name in untouched)
    assert write(tmp_path, "upsert", insert("y"), sheet="Nouvelle & belle").inserted == 1


def test_an_empty_sheet_gets_header_and_records_and_keeps_its_widths(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.column_dimensions["A"].width = 33
    book.save(tmp_path / "book.xlsx")
    for sheet in (0, "Not there yet"):
        with connector(tmp_path, sheet=sheet) as opened:
            assert opened.describe() == []
            assert all(probe.ok for probe in opened.test(["code"], write=True))
            assert not all(probe.ok for probe in opened.test(["code"], write=False))
    write(tmp_path, "append", insert("x"))
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx").active
    assert [cell.value for cell in sheet[1]] == ["code", "amount", "on"]
    assert sheet.column_dimensions["A"].width == 33


def test_an_excel_table_and_a_filter_grow_with_the_records(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["code", "amount", "on"], ["c1", 1, None]):
        book.active.append(row)
    book.active.add_table(Table(displayName="T", ref="A1:C2"))
    other = book.create_sheet("Filtered")
    for row in (["code", "amount", "on"], ["c1", 1, None]):
        other.append(row)
    other.auto_filter.ref = "A1:C2"
    book.save(tmp_path / "book.xlsx")
    for sheet in (0, "Filtered"):
        write(tmp_path, "append", insert("c2"), insert("c3"), sheet=sheet)
    book = openpyxl.load_workbook(tmp_path / "book.xlsx")
    assert book.active.tables["T"].ref == "A1:C4"
    assert book["Filtered"].auto_filter.ref == "A1:C4"


def test_records_are_not_added_below_a_row_of_totals(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["code", "amount", "on"], ["c1", 1, None], ["Total", 1, None]):
        book.active.append(row)
    book.active.add_table(Table(displayName="T", ref="A1:C3", totalsRowCount=1))
    book.save(tmp_path / "book.xlsx")
    before = (tmp_path / "book.xlsx").read_bytes()
    with pytest.raises(SyncDataError, match="totals"):
        write(tmp_path, "append", insert("c2"))
    assert (tmp_path / "book.xlsx").read_bytes() == before


def test_formatted_rows_below_the_records_give_way(tmp_path: Path) -> None:
    rows = table(
        ("code", "amount", "on"), text_cell("A2", "c1"), '<c r="A3" s="1"/>', '<c r="A4" s="1"/>', '<c r="A5" s="1"/>'
    )
    for mode in ("append", "upsert"):
        (tmp_path / "book.xlsx").write_bytes(workbook(SheetXml(rows)))
        write(tmp_path, mode, insert("c2"), insert("c3"))
        found = read(tmp_path, None, {"code": "string"})
        assert (found.column("code"), found.column("__row")) == (["c1", "c2", "c3"], [2, 3, 4])
        assert b'<row r="5"><c r="A5" s="1"/></row>' in parts_of(tmp_path / "book.xlsx")["xl/worksheets/sheet1.xml"]


def test_replacing_keeps_header_formats_and_other_sheets(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["code", "amount", "on"], ["c1", 1, None], ["c2", 2, None]):
        book.active.append(row)
    book.active["B3"].number_format = "0.000"
    book.active["A1"].font = Font(bold=True)
    book.create_sheet("Other")["A1"] = "kept"
    book.save(tmp_path / "book.xlsx")
    assert write(tmp_path, "replace", insert("n")).inserted == 1
    book = openpyxl.load_workbook(tmp_path / "book.xlsx")
    assert [row[0].value for row in book.active] == ["code", "n"]
    assert (book.active["B2"].number_format, book.active["A1"].font.b, book["Other"]["A1"].value) == (
        "0.000",
        True,
        "kept",
    )


def test_replacing_beside_columns_of_others_is_refused(tmp_path: Path) -> None:
    rich(tmp_path / "book.xlsx")
    with pytest.raises(SyncDataError, match=r"Data!B2: replacing"):
        write(tmp_path, "replace", insert("n"))


def test_formulas_are_calculated_anew_when_the_workbook_is_opened(tmp_path: Path) -> None:
    rows = table(
        ("code", "amount", "on"), text_cell("A2", "c1") + '<c r="B2"><v>1</v></c><c r="F2"><f>B2*2</f><v>2</v></c>'
    )
    main = parts_of(workbook(SheetXml(rows)))["xl/workbook.xml"].decode()
    extra = {"xl/workbook.xml": main.replace("</sheets>", '</sheets><calcPr calcId="191029"/>')}
    (tmp_path / "book.xlsx").write_bytes(workbook(SheetXml(rows), extra=extra))
    write(tmp_path, "upsert", update(record("c1", "1.00", None), record("c1", "2.00", None)))
    assert b'<calcPr fullCalcOnLoad="1" calcId="191029"/>' in parts_of(tmp_path / "book.xlsx")["xl/workbook.xml"]


def test_a_sheet_whose_markup_is_unusual_is_refused_rather_than_damaged(tmp_path: Path) -> None:
    sheet = f'<x:worksheet xmlns:x="{MAIN}"><x:sheetData><x:row r="1"><x:c r="A1" t="str"><x:v>code</x:v></x:c></x:row></x:sheetData></x:worksheet>'
    data = workbook(SheetXml(""), extra={"xl/worksheets/sheet1.xml": sheet})
    (tmp_path / "book.xlsx").write_bytes(data)
    with pytest.raises(SyncDataError, match="Open it in Excel, save it"):
        write(tmp_path, "upsert", insert("x"), columns=COLUMNS[:1])
    assert (tmp_path / "book.xlsx").read_bytes() == data


def test_a_missing_column_is_named_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "book.xlsx").write_bytes(workbook(SheetXml(table(("code", "amont", "on")))))
    with pytest.raises(SyncDataError, match=r"no column 'amount'. Did you mean 'amont'"):
        write(tmp_path, "append", insert("x"))


def test_dates_follow_the_workbooks_calendar(tmp_path: Path) -> None:
    rows = table(("code", "amount", "on"), text_cell("A2", "c1") + '<c r="C2" s="1"><v>43860</v></c>')
    (tmp_path / "book.xlsx").write_bytes(workbook(SheetXml(rows), date1904=True))
    result = write(tmp_path, "upsert", update(record("c1", None), record("c1", "2.00")), insert("c2"))
    assert (result.updated, result.inserted) == (1, 1)
    assert read(tmp_path, None, {"on": "date"}).column("on") == ["2024-01-31", "2024-01-31"]
    assert b"<v>43860</v>" in parts_of(tmp_path / "book.xlsx")["xl/worksheets/sheet1.xml"]


def test_an_edit_made_meanwhile_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    path.write_bytes(workbook(SheetXml(table(("code", "amount", "on")))))

    def meddling() -> Any:
        yield from changes(insert("x"), columns=COLUMNS)
        path.write_bytes(workbook(SheetXml(table(("code", "amount", "on"), text_cell("A2", "theirs")))))

    with connector(tmp_path) as opened:
        request = WriteRequest(mode="append", columns=COLUMNS, key=("code",))
        with pytest.raises(SyncDataError, match="changed while") as caught:
            opened.write(request, meddling())
    assert caught.value.retryable
    assert read(tmp_path).column("code") == ["theirs"]


def test_older_formats_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "book.xlsx").write_bytes(
        archive({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<x/>"})
    )
    with pytest.raises(SyncDataError, match=r"only \.xlsx"):
        write(tmp_path, "append", insert("x"))


def test_styles_in_another_encoding_are_refused_rather_than_damaged(tmp_path: Path) -> None:
    from excel_files import STYLES

    styles = ('<?xml version="1.0" encoding="utf-16"?>' + STYLES).encode("utf-16")
    data = workbook(SheetXml(table(("code", "amount", "on"))), extra={"xl/styles.xml": styles})
    (tmp_path / "book.xlsx").write_bytes(data)
    with pytest.raises(SyncDataError, match="UTF-8"):
        write(tmp_path, "append", insert("x"))
    assert (tmp_path / "book.xlsx").read_bytes() == data
