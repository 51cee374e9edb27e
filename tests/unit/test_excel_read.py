"""Workbooks as people have them: every oddity gives its documented value, or a rejection with the cell's address."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from excel_files import MAIN, SheetXml, archive, connector, parts_of, read, table, text_cell, workbook
from sync_provider.connectors.base import ROW, SHEET, ColumnRequest, ReadRequest
from sync_provider.core.errors import MappingError, SyncDataError
from sync_provider.core.schema import parse_type


def cells(*rows: str, header: tuple[str, ...] = ("v",), **options: object) -> bytes:
    return workbook(SheetXml(table(header, *rows)), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("<v>123</v>", "123"),
        ("<v>123.0</v>", "123"),
        ("<v>-0.5</v>", "-0.5"),
        ("<v>0.1</v>", "0.1"),
        ("<v>0.10000000000000001</v>", "0.1"),
        ("<v>1E-3</v>", "0.001"),
        ("<v>1.5E+20</v>", "150000000000000000000"),
        ("<v>1E-9</v>", "0.000000001"),
        ("<v>9007199254740993</v>", "9007199254740992"),
        ("<v>1.7E+308</v>", "1.7e+308"),
    ],
)
def test_a_number_is_the_shortest_text_of_its_double(tmp_path: Path, cell: str, text: str) -> None:
    found = read(tmp_path, cells(f'<c r="A2">{cell}</c>'))
    assert found.column("v") == [text]


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    found = read(tmp_path, cells(text_cell("A2", "000123"), text_cell("A3", "1e5"), text_cell("A4", "NA")))
    assert found.column("v") == ["000123", "1e5", "NA"]


def test_a_text_in_a_number_field_is_read_by_the_endpoints_conventions(tmp_path: Path) -> None:
    data = cells(text_cell("A2", "1 234,50"), '<c r="A3"><v>1234.5</v></c>', text_cell("A4", "1.234"))
    found = read(tmp_path, data, {"v": "decimal(12,2)"}, decimal=",")
    assert found.column("v") == ["1234.50", "1234.5", "1234"]


def test_a_text_in_a_date_field_is_read_by_the_endpoints_order(tmp_path: Path) -> None:
    data = cells(text_cell("A2", "03/02/2024"), '<c r="A3" s="1"><v>45325</v></c>')
    assert read(tmp_path, data, {"v": "date"}, date_order="dmy").column("v") == ["2024-02-03", "2024-02-03"]


@pytest.mark.parametrize("kind", ["string", "boolean"])
def test_booleans_are_true_and_false(tmp_path: Path, kind: str) -> None:
    data = cells('<c r="A2" t="b"><v>1</v></c>', '<c r="A3" t="b"><v>0</v></c>')
    assert read(tmp_path, data, {"v": kind}).column("v") == ["true", "false"]


@pytest.mark.parametrize(
    ("style", "serial", "kind", "text"),
    [
        (1, "45657", "string", "2024-12-31"),
        (1, "45657", "date", "2024-12-31"),
        (1, "45657", "timestamp", "2024-12-31T00:00:00"),
        (2, "45657", "date", "2024-12-31"),
        (2, "45657", "string", "2024-12-31T00:00:00"),
        (2, "45657.999988425923", "timestamp", "2024-12-31T23:59:59"),
        (2, "45657.9999884259", "timestamp", "2024-12-31T23:59:59"),
        (2, "45657.500001446757", "timestamp", "2024-12-31T12:00:00.125"),
        (2, "45657.99999999996", "timestamp", "2025-01-01T00:00:00"),
        (1, "45657.5", "date", "2024-12-31T12:00:00"),
        (3, "0.5", "string", "12:00:00"),
        (3, "45657.5", "timestamp", "2024-12-31T12:00:00"),
        (4, "1.5", "string", "36:00:00"),
        (4, "-0.25", "string", "-6:00:00"),
        (5, "2.5", "string", "2.5"),
        (0, "45657", "date", "45657"),
        (1, "1", "date", "1900-01-01"),
        (1, "59", "date", "1900-02-28"),
        (1, "60", "date", "1900-02-29"),
        (1, "61", "date", "1900-03-01"),
        (1, "-1", "date", "-1"),
        (1, "2958465", "date", "9999-12-31"),
        (1, "2958466", "date", "2958466"),
    ],
)
def test_dates_of_the_1900_calendar(tmp_path: Path, style: int, serial: str, kind: str, text: str) -> None:
    found = read(tmp_path, cells(f'<c r="A2" s="{style}"><v>{serial}</v></c>'), {"v": kind})
    assert found.column("v") == [text]


@pytest.mark.parametrize(
    ("style", "serial", "text"), [(1, "0", "1904-01-01"), (1, "44195", "2024-12-31"), (3, "0.25", "06:00:00")]
)
def test_dates_of_the_1904_calendar(tmp_path: Path, style: int, serial: str, text: str) -> None:
    found = read(tmp_path, cells(f'<c r="A2" s="{style}"><v>{serial}</v></c>', date1904=True))
    assert found.column("v") == [text]


def test_iso_date_cells_are_read(tmp_path: Path) -> None:
    data = cells('<c r="A2" t="d"><v>2024-12-31T00:00:00</v></c>')
    assert read(tmp_path, data, {"v": "date"}).column("v") == ["2024-12-31"]
    assert read(tmp_path, data, {"v": "timestamp"}).column("v") == ["2024-12-31T00:00:00"]


@pytest.mark.parametrize("error", ["#REF!", "#N/A", "#DIV/0!", "#VALUE!", "#NAME?"])
def test_an_error_cell_rejects_its_record_with_the_address(tmp_path: Path, error: str) -> None:
    data = cells(
        text_cell("A2", "x") + f'<c r="B2" t="e"><v>{error}</v></c>',
        text_cell("A3", "y") + '<c r="B3"><v>1</v></c>',
        header=("k", "v"),
    )
    found = read(tmp_path, data)
    assert found.column("k") == ["y"]
    (rejection,) = found.rejections
    assert (rejection.rule, rejection.field, rejection.value) == ("error_cell", "v", error)
    assert (rejection.where.sheet, rejection.where.cell, rejection.where.row) == ("Data", "B2", 2)
    assert rejection.record == {"k": "x", "v": error}


def test_an_error_outside_the_columns_wanted_does_no_harm(tmp_path: Path) -> None:
    data = cells(text_cell("A2", "x") + '<c r="B2" t="e"><v>#N/A</v></c>', header=("k", "v"))
    found = read(tmp_path, data, {"k": "string"})
    assert (found.column("k"), found.rejections) == (["x"], [])


def test_text_that_reads_like_an_error_is_text(tmp_path: Path) -> None:
    found = read(tmp_path, cells(text_cell("A2", "#N/A")))
    assert (found.column("v"), found.rejections) == (["#N/A"], [])


def test_a_formula_with_a_value_is_its_value(tmp_path: Path) -> None:
    data = cells(
        '<c r="A2"><f>1+1</f><v>2</v></c>',
        '<c r="A3" t="str"><f>"a"&amp;"b"</f><v>ab</v></c>',
        '<c r="A4" t="str"><f>""</f><v></v></c>',
        '<c r="A5" t="b"><f>1=1</f><v>1</v></c>',
        '<c r="A6"><f t="shared" si="0"/><v>7</v></c>',
    )
    assert read(tmp_path, data).column("v") == ["2", "ab", "", "true", "7"]


@pytest.mark.parametrize("cell", ["<f>1+1</f>", "<f>1+1</f><v></v>", "<f>1+1</f><v/>", '<f t="shared" si="0"/>'])
def test_a_formula_without_a_value_rejects_its_record(tmp_path: Path, cell: str) -> None:
    data = cells(text_cell("A2", "x") + f'<c r="B2">{cell}</c>', header=("k", "v"))
    found = read(tmp_path, data)
    assert found.rows == []
    (rejection,) = found.rejections
    assert (rejection.rule, rejection.field, rejection.where.cell) == ("formula_without_value", "v", "B2")


def test_a_row_with_two_faults_is_one_rejection(tmp_path: Path) -> None:
    data = cells('<c r="A2" t="e"><v>#REF!</v></c><c r="B2"><f>1</f></c>', header=("k", "v"))
    assert [r.where.cell for r in read(tmp_path, data).rejections] == ["A2"]


def test_only_the_first_of_merged_cells_has_a_value(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["k", "v"], ["a", 1], ["b", 2]):
        sheet.append(row)
    sheet.merge_cells("A2:A3")
    book.save(tmp_path / "book.xlsx")
    assert read(tmp_path).column("k") == ["a", None]


def test_a_hidden_sheet_is_read_by_name_but_not_by_pattern(tmp_path: Path) -> None:
    rows = table(("v",), text_cell("A2", "x"))
    data = workbook(SheetXml(rows, "Jan"), SheetXml(rows, "Jan old", state="hidden"), SheetXml(rows, "Other"))
    assert read(tmp_path, data, sheet="Jan old").column("v") == ["x"]
    assert read(tmp_path, data, sheet="/Jan.*/").column(SHEET) == ["Jan"]
    assert read(tmp_path, data, sheet=1).column(SHEET) == ["Jan old"]


def test_several_sheets_are_read_at_once_with_their_names(tmp_path: Path) -> None:
    one, two = table(("k", "v"), text_cell("A2", "x")), table(("v", "k"), text_cell("A2", "1") + text_cell("B2", "y"))
    data = workbook(SheetXml(one, "Janvier"), SheetXml("", "Feuil2"), SheetXml(two, "Février"))
    found = read(tmp_path, data, {"k": "string", "mois": "string"}, sheet="/.*/", sheet_field="mois")
    assert [(row["k"], row["mois"], row[SHEET]) for row in found.rows] == [
        ("x", "Janvier", "Janvier"),
        ("y", "Février", "Février"),
    ]


def test_a_column_missing_from_one_of_several_sheets_is_an_error_that_names_it(tmp_path: Path) -> None:
    data = workbook(SheetXml(table(("k",)), "A"), SheetXml(table(("kk",)), "B"))
    with pytest.raises(SyncDataError, match=r"book\.xlsx B!A1: the sheet has no column 'k'. Did you mean 'kk'"):
        read(tmp_path, data, {"k": "string"}, sheet="/./")


@pytest.mark.parametrize("selector", ["Dta", 7, "/X.*/"])
def test_a_missing_sheet_is_an_error_that_lists_them(tmp_path: Path, selector: str | int) -> None:
    with pytest.raises(SyncDataError, match="Data"):
        read(tmp_path, cells(), sheet=selector)


def test_a_broken_pattern_is_an_error_of_the_mapping(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="regular expression"):
        read(tmp_path, cells(), sheet="/(/")


def test_the_header_may_stand_below_other_rows(tmp_path: Path) -> None:
    rows = f'<row r="2">{text_cell("A2", "A title")}</row><row r="5">{text_cell("C5", "v")}</row><row r="9"><c r="C9"><v>1</v></c></row>'
    found = read(tmp_path, workbook(SheetXml(rows)), {"v": "integer"}, header_row=5)
    assert [(row["v"], row[ROW]) for row in found.rows] == [("1", 9)]


def test_an_empty_header_row_is_an_error_that_says_so(tmp_path: Path) -> None:
    rows = f'<row r="3">{text_cell("A3", "v")}</row>'
    with pytest.raises(SyncDataError, match="set header_row"):
        read(tmp_path, workbook(SheetXml(rows)), {"v": "integer"})


def test_without_a_header_columns_go_by_number(tmp_path: Path) -> None:
    rows = '<row r="1"><c r="A1"><v>1</v></c><c r="C1"><v>3</v></c></row><row r="2"><c r="D2"><v>4</v></c></row>'
    data = workbook(SheetXml(rows))
    found = read(tmp_path, data, {"column_3": "integer", "column_9": "integer"}, header_row=0)
    assert [(row["column_3"], row["column_9"]) for row in found.rows] == [("3", None)]
    assert read(tmp_path, data, header_row=0).column("column_4") == [None, "4"]


def test_a_column_wanted_that_stands_there_twice_is_an_error_with_both_addresses(tmp_path: Path) -> None:
    data = cells(header=("k", "v", "v"))
    with pytest.raises(SyncDataError, match="B1 and C1"):
        read(tmp_path, data, {"v": "string"})
    assert read(tmp_path, data, {"k": "string"}).rows == []


def test_columns_without_a_name_and_repeated_ones_do_no_harm_when_all_are_read(tmp_path: Path) -> None:
    row = "".join(f'<c r="{c}2"><v>{n}</v></c>' for n, c in enumerate("ABCD"))
    rows = (
        f'<row r="1">{text_cell("A1", "v")}{text_cell("C1", "v")}<c r="D1"><v>2024</v></c></row><row r="2">{row}</row>'
    )
    (found,) = read(tmp_path, workbook(SheetXml(rows))).rows
    assert (found["v"], found["v [C]"], found["2024"]) == ("0", "2", "3")


def test_rows_shorter_or_longer_than_the_header_are_read(tmp_path: Path) -> None:
    data = cells(text_cell("A2", "x"), text_cell("A3", "y") + text_cell("F3", "note"), header=("k", "v"))
    assert [(row["k"], row["v"]) for row in read(tmp_path, data).rows] == [("x", None), ("y", None)]


def test_blank_rows_are_no_records(tmp_path: Path) -> None:
    data = cells('<c r="A2" s="1"/>', text_cell("A3", "x"), "", text_cell("F5", "a note"))
    assert read(tmp_path, data).column(ROW) == [3]


def test_null_and_empty_text_are_told_apart(tmp_path: Path) -> None:
    strings = "<si><t></t></si><si><t/></si>"
    data = cells(
        '<c r="A2" t="s"><v>0</v></c>',
        '<c r="A3" t="inlineStr"><is><t></t></is></c>',
        '<c r="A4" t="s"><v>1</v></c>',
        '<c r="A5" s="1"/><c r="B5"><v>1</v></c>',
        header=("v", "w"),
        strings=strings,
    )
    assert read(tmp_path, data).column("v") == ["", "", "", None]


def test_formatted_text_is_its_text_without_phonetic_hints(tmp_path: Path) -> None:
    strings = (
        '<si><r><rPr><b/></rPr><t xml:space="preserve">bold </t></r><r><t>plain</t></r></si>'
        '<si><t>東京</t><rPh sb="0" eb="2"><t>トウキョウ</t></rPh></si>'
    )
    data = cells('<c r="A2" t="s"><v>0</v></c>', '<c r="A3" t="s"><v>1</v></c>', strings=strings)
    assert read(tmp_path, data).column("v") == ["bold plain", "東京"]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("a &lt;b&gt; &amp;amp; &quot;&apos;", "a <b> &amp; \"'"),
        ("a&#10;b&#x41;", "a\nbA"),
        ("_x000D_\n_x0041_", "\r\nA"),
        ("_x005F_x0041_", "_x0041_"),
        ("_xD83D__xDE00_", "😀"),
        ("_xD83D_ alone", "_xD83D_ alone"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("  spaces  ", "  spaces  "),
    ],
)
def test_escapes_of_xml_and_of_excel_are_undone(tmp_path: Path, written: str, text: str) -> None:
    data = cells(text_cell("A2", written), '<c r="A3" t="s"><v>0</v></c>', strings=f"<si><t>{written}</t></si>")
    assert read(tmp_path, data).column("v") == [text, text]


UNUSUAL = {
    "prefixed": f'<x:worksheet xmlns:x="{MAIN}"><x:sheetData><x:row r="1"><x:c r="A1" t="str"><x:v>v</x:v></x:c></x:row>'
    '<x:row r="2"><x:c r="A2"><x:v>7</x:v></x:c></x:row></x:sheetData></x:worksheet>',
    "no references": f'<worksheet xmlns="{MAIN}"><sheetData><row><c t="str"><v>v</v></c></row><row><c><v>7</v></c></row></sheetData></worksheet>',
    "comments": f'<worksheet xmlns="{MAIN}"><!-- <sheetData> --><sheetData><row r="1"><c r="A1" t="str"><v>v</v></c></row><!-- x -->'
    '<row r="2"><c r="A2"><v>7</v></c></row></sheetData></worksheet>',
    "cdata": f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1" t="str"><v><![CDATA[v]]></v></c></row>'
    '<row r="2"><c r="A2"><v>7</v></c></row></sheetData></worksheet>',
    "attributes in another order": f'<worksheet xmlns="{MAIN}"><sheetData><row spans="1:1" r="1"><c t="str" r="A1"><v>v</v></c></row>'
    '<row r="2"><c s="0" r="A2"><v>7</v></c></row></sheetData></worksheet>',
    "single quotes": f"<worksheet xmlns='{MAIN}'><sheetData><row r='1'><c r='A1' t='str'><v>v</v></c></row>"
    "<row r='2'><c r='A2'><v>7</v></c></row></sheetData></worksheet>",
    "rich text in the cell": f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><r><t>v</t></r></is></c></row>'
    '<row r="2"><c r="A2"><v>7</v></c></row></sheetData></worksheet>',
    "unescaped angle": f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1" t="str"><v>v</v></c></row>'
    '<row r="2"><c r="A2"><f>IF(1>0,7)</f><v>7</v></c></row></sheetData></worksheet>',
    "white space": f'<worksheet xmlns="{MAIN}">\n <sheetData>\n  <row r="1">\n   <c r="A1" t="str">\n <v>v</v>\n </c>\n  </row>\n'
    '  <row r="2" >\n   <c r="A2" >\n    <v>7</v>\n   </c>\n  </row>\n </sheetData>\n</worksheet>',
    "extra attributes": f'<worksheet xmlns="{MAIN}"><sheetData><row r="1" ht="30" customHeight="1"><c r="A1" s="0" t="str" cm="1"><v>v</v></c></row>'
    '<row r="2"><c r="A2" vm="1" ><v>7</v></c></row></sheetData></worksheet>',
    "utf-16": (
        f'<?xml version="1.0" encoding="utf-16"?><worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1" t="str"><v>v</v></c></row>'
        '<row r="2"><c r="A2"><v>7</v></c></row></sheetData></worksheet>'
    ).encode("utf-16"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNUSUAL)
def test_unusual_markup_reads_the_same(tmp_path: Path, kind: str) -> None:
    data = workbook(SheetXml(""), extra={"xl/worksheets/sheet1.xml": UNUSUAL[kind]})
    assert read(tmp_path, data).column("v") == ["7"]


def test_unusual_markup_in_the_middle_of_a_long_sheet_loses_and_repeats_nothing(tmp_path: Path) -> None:
    plain = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(2, 60_000))
    odd = '<row r="60000"><!-- odd --><c r="A60000"><v>60000</v></c></row>'
    rest = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(60_001, 61_000))
    rows = f'<row r="1">{text_cell("A1", "v")}</row>{plain}{odd}{rest}'
    assert read(tmp_path, workbook(SheetXml(rows))).column("v") == [str(n) for n in range(2, 61_000)]


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="2"/><row r="1"/>',
        '<row r="1"><c r="B1"><v>1</v></c><c r="A1"><v>1</v></c></row>',
        '<row r="1"><c r="A2"><v>1</v></c></row>',
        '<row r="1048577"><c r="A1048577"><v>1</v></c></row>',
        '<row r="1"><c r="XFE1"><v>1</v></c></row>',
        '<row r="1"><c r="A1"><v>abc</v></c></row>',
        '<row r="1"><c r="A1" t="s"><v>5</v></c></row>',
        '<row r="1"><c r="A1" t="b"><v>maybe</v></c></row>',
        '<row r="1"><c r="A1" t="zz"><v>1</v></c></row>',
        '<row r="1"><c r="A1" t="str"><v>&undefined;</v></c></row>',
        '<row r="1"><c r="A1"><v>nan</v></c></row>',
        '<row r="1"><c r="A1"><v>1</v></row>',
        '<row r="1"><c r="A1"><v>1</v></c>',
    ],
)
def test_malformed_rows_are_refused(tmp_path: Path, rows: str) -> None:
    with pytest.raises(SyncDataError, match=r"book\.xlsx"):
        read(tmp_path, workbook(SheetXml(rows)), header_row=0)


def test_batches_are_as_small_as_asked_across_chunks(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c></row>' for n in range(1, 50_001))
    (tmp_path / "book.xlsx").write_bytes(workbook(SheetXml(rows)))
    column = ColumnRequest(name="column_1", type=parse_type("integer"))
    with connector(tmp_path, header_row=0) as opened:
        sizes = [b.records.num_rows for b in opened.read(ReadRequest(columns=(column,), batch_rows=7000))]
    assert sizes == [7000] * 7 + [1000]


def test_part_names_do_not_distinguish_case(tmp_path: Path) -> None:
    parts = parts_of(cells(text_cell("A2", "x")))
    parts["XL/Worksheets/Sheet1.XML"] = parts.pop("xl/worksheets/sheet1.xml")
    assert read(tmp_path, archive(parts)).column("v") == ["x"]


def test_files_of_a_pattern_are_read_one_after_the_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.xlsx").write_bytes(cells(text_cell("A2", name)))
    assert read(tmp_path, path="*.xlsx").column("v") == ["a", "b"]


def test_only_new_leaves_out_contents_that_were_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.xlsx").write_bytes(cells(text_cell("A2", name)))
    with connector(tmp_path, "*.xlsx", only_new=True) as opened:
        reading = opened.read(ReadRequest())
        assert sum(batch.records.num_rows for batch in reading) == 2
        known = frozenset(file.sha256 for file in reading.files[:1])
        assert [b.records.column("v").to_pylist() for b in opened.read(ReadRequest(known_files=known))] == [["b"]]


def test_a_file_cut_short_by_a_limit_does_not_count_as_read(tmp_path: Path) -> None:
    (tmp_path / "book.xlsx").write_bytes(cells(text_cell("A2", "x"), text_cell("A3", "y")))
    with connector(tmp_path) as opened:
        reading = opened.read(ReadRequest(limit=1))
        assert [b.records.num_rows for b in reading] == [1]
        assert [(f.sha256, f.deferred) for f in reading.files] == [("", True)]


def test_a_file_that_changes_while_it_is_read_is_an_error_that_a_retry_may_cure(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    path.write_bytes(cells(text_cell("A2", "x")))
    with connector(tmp_path) as opened:
        reading = opened.read(ReadRequest())
        path.write_bytes(cells(text_cell("A2", "x"), text_cell("A3", "y")))
        with pytest.raises(SyncDataError) as caught:
            list(reading)
    assert caught.value.retryable or caught.value.code == "excel_damaged"


def test_a_file_far_away_is_read_and_written_through_fsspec(tmp_path: Path) -> None:
    import fsspec
    from contract.harness import FixedClock, changes
    from sync_provider.connectors.base import TargetColumn, WriteRequest
    from sync_provider.connectors.files.excel_connector import ExcelConnector
    from sync_provider.connectors.files.root import FileRoot
    from sync_provider.core.endpoints import ExcelEndpoint

    endpoint = ExcelEndpoint(type="excel", path="book.xlsx")
    columns = (TargetColumn(name="v", type=parse_type("string")),)
    fsspec.filesystem("memory").makedirs("/excel-test", exist_ok=True)
    for value in ("x", "y"):
        with ExcelConnector(endpoint, FileRoot("memory://excel-test"), FixedClock()) as opened:
            stream = changes(("insert", {"v": value}, None), columns=columns)
            opened.write(WriteRequest(mode="append", columns=columns), stream)
    with ExcelConnector(endpoint, FileRoot("memory://excel-test"), FixedClock()) as opened:
        assert [b.records.column("v").to_pylist() for b in opened.read(ReadRequest())] == [["x", "y"]]
    fsspec.filesystem("memory").rm("/excel-test", recursive=True)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    parts = parts_of(cells('<c r="A2" t="s"><v>0</v></c>', strings="<si><t>x</t></si>"))
    marked = {name: b"\xef\xbb\xbf" + part for name, part in parts.items()}
    assert read(tmp_path, archive(marked)).column("v") == ["x"]


def test_a_sheet_full_of_errors_is_rejected_a_part_at_a_time(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="e"><v>#N/A</v></c></row>' for n in range(1, 60_001))
    (tmp_path / "book.xlsx").write_bytes(workbook(SheetXml(rows)))
    with connector(tmp_path, header_row=0) as opened:
        column = ColumnRequest(name="column_1", type=parse_type("string"))
        sizes = [len(batch.rejections) for batch in opened.read(ReadRequest(columns=(column,)))]
    assert sum(sizes) == 60_000
    assert max(sizes) < 60_000
