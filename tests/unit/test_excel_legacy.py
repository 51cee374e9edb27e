"""Workbooks of the older formats: .xls, .xlsb and .ods, through calamine and what it does not tell."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import pytest
from excel_files import RELATIONS, archive, read
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.connectors.files import excel_legacy_scan
from sync_provider.connectors.files.inspect_workbook import inspect_workbook
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.errors import SyncDataError, SyncError

XLS = zlib.decompress(
    base64.b85decode(
        "c-rk)T}V_x6h3o*_9y&VO)HI-Maaq&v|d86wO^kS>!qlm)Lk%a*H|M^s4UyZAn2)xK(L?}tCxPLhk_mo0;3*+Aku<Bf*>g9LA`zF"
        "+<UiOGjJg#<$lXKcg~qPGiT16nLB%5jh2iJ-K`v_8Q4lXO<O_oW$6?s=n5f1y=8IHeFi|5hed^801N3e=~3ZJKd&LL_c&>E$9M`("
        "^bvHJPEc!4G9Fn#Y!@He75mVn4CJ0h*FZ&7A%2w#?-agV_-$$XSa`E&E(&i#+c9;JMx(7YTbw*TpjAm-5xAoJV)ITk4OC9gIgig?"
        "Qg&ODwxy1>A73gJVWWVC32WUFPsUR$7t;+|M$`w?B@%V9SlC!aHxbn=Rivw{F_CEO?H!{s<j64nup&g?-NWEX#M3XVUJ>*^bM^ke"
        "=mS{b+4MoI@=X0@%^(^e>!{+Lk)~ogZE%gBcJ?Hb6Y<_OHq8egCzOwNw0Cw*#3yMJ=Z_F_?G&gRlmvBvVxW_txK31G-+<BtsGnQg"
        "hfgTy@F|onSpXix;9M?|jTyo;CU1Rvy{DrsdPFn>^1`uSOKaI}vgjOJz_>`XrqpuRHDa+*_<8AdwUjG`m!Tz|)otZYVfUc4xgfRG"
        "7-zHKO>|vWc|FSMFMA(^)1RUnP#$R+?=Ks98y%u5gf<3y{tZ&Cs#RC7FdjzTr*aOk_rfdwILrcCNM_(C%X#+}(-b1CBpzI2OPUiM"
        "Thbxv8OeZTWF!-knUQ>ue9kzUL_T*MJMJ90Ga5@g&LK23wE)Vx_+Zx<n922L&}n>_n(Y6J#+AcsJ~wmU`YdzMrSE{#w=R8uRd(OH"
        "cvhp>mVGy7*cxKXmk@4kh$pzLXr*+Ir-6h2H|9IT7+R)&F=m+Udv1goCBoet%x=LerldvKjXTX2cMl#sc<|uC!+#9rTw-*&Y}r?4"
        "pIqAP?>bYUY40=1lEpsi!S5vg1@59Go+;|fD}PpysocKQ9Bth1g^c|eJw@HrA%1k{oxix`s_gm9*)a6)woty~Pv_(3JdghiVPYZq"
    )
)
"""Two sheets, ``Données`` (from B2: k n b d t e, three records) and the hidden ``Cachée``, as xlwt writes them."""


def record(kind: int, body: bytes = b"") -> bytes:
    """One record of an .xlsb part."""
    head = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size, length = b"", len(body)
    while True:
        size += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            return head + size + body


def wide(text: str) -> bytes:
    return struct.pack("<L", len(text)) + text.encode("utf-16-le")


def xlsb(sheet: bytes) -> bytes:
    """A workbook of one sheet, ``Data``."""
    bundle = record(156, struct.pack("<LL", 0, 1) + wide("rId1") + wide("Data"))
    main = record(131) + record(153, bytes(12) + wide("")) + record(143) + bundle + record(144) + record(132)
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    link = '<Relationships xmlns="{}"><Relationship Id="rId1" Type="{}/{}" Target="{}"/></Relationships>'
    return archive(
        {
            "[Content_Types].xml": "<Types/>",
            "_rels/.rels": link.format(package, RELATIONS, "officeDocument", "xl/workbook.bin"),
            "xl/workbook.bin": main,
            "xl/_rels/workbook.bin.rels": link.format(package, RELATIONS, "worksheet", "worksheets/sheet1.bin"),
            "xl/worksheets/sheet1.bin": record(129)
            + record(148, bytes(16))
            + record(145)
            + sheet
            + record(146)
            + record(130),
        }
    )


def row(number: int) -> bytes:
    return record(0, struct.pack("<LL", number, 0) + bytes(17))


def text(column: int, value: str) -> bytes:
    return record(6, struct.pack("<LL", column, 0) + wide(value))


def real(column: int, value: float) -> bytes:
    return record(5, struct.pack("<LLd", column, 0, value))


def error(column: int, code: int) -> bytes:
    return record(3, struct.pack("<LLB", column, 0, code))


XLSB = xlsb(
    row(0) + text(0, "k") + text(1, "v") + row(1) + text(0, "a") + real(1, 1.5) + row(2) + text(0, "b") + error(1, 42)
)


def ods(rows: str) -> bytes:
    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    calc = "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"
    content = (
        f'<office:document-content{spaces} xmlns:calcext="{calc}"><office:body><office:spreadsheet>'
        f'<table:table table:name="Data">{rows}</table:table></office:spreadsheet></office:body></office:document-content>'
    )
    manifest = '<m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    return archive({"mimetype": kind, "content.xml": content, "META-INF/manifest.xml": manifest})


def ods_row(*cells: str, repeated: int = 1) -> str:
    return f'<table:table-row table:number-rows-repeated="{repeated}">{"".join(cells)}</table:table-row>'


def ods_text(value: str) -> str:
    return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'


ODS_ERROR = (
    '<table:table-cell table:formula="of:=NA()" office:value-type="string" office:string-value="" '
    'calcext:value-type="error"><text:p>#N/A</text:p></table:table-cell>'
)
ODS_REAL = '<table:table-cell office:value-type="float" office:value="1.5"><text:p>1,50</text:p></table:table-cell>'
ODS = ods(
    ods_row(ods_text("k"), ods_text("v"))
    + ods_row("<table:table-cell/>", repeated=3)
    + ods_row(ods_text("a"), ODS_REAL)
    + ods_row(ods_text("b"), ODS_ERROR)
    + ods_row("<table:table-cell/>", repeated=1_048_000)
)


def test_an_xls_workbook_gives_values_and_error_cells_with_addresses(tmp_path: Path) -> None:
    types = {"k": "string", "n": "decimal(9,2)", "b": "boolean", "d": "date", "t": "timestamp", "e": "string"}
    found = read(tmp_path, XLS, types, path="book.xls", header_row=2)
    assert [{name: row[name] for name in (*types, "__row")} for row in found.rows] == [
        {"k": "001", "n": "1.5", "b": "true", "d": "2024-02-29", "t": "2024-01-02T03:04:05", "e": None, "__row": 3},
        {"k": "z", "n": None, "b": "false", "d": None, "t": None, "e": None, "__row": 5},
    ]
    (rejection,) = found.rejections
    assert (rejection.rule, rejection.value, rejection.where.cell, rejection.record["k"]) == (
        "error_cell", "#N/A", "G4", "é",
    )  # fmt: skip


def test_a_hidden_xls_sheet_is_read_by_name_alone(tmp_path: Path) -> None:
    assert read(tmp_path, XLS, {"v": "integer"}, path="book.xls", sheet="Cachée").column("v") == ["7"]
    assert read(tmp_path, XLS, path="book.xls", sheet="/.*/", header_row=2).column("__sheet") == ["Données"] * 2


def test_an_xlsb_workbook_gives_values_and_error_cells(tmp_path: Path) -> None:
    found = read(tmp_path, XLSB, {"k": "string", "v": "double"}, path="book.xlsb")
    assert [(row["k"], row["v"]) for row in found.rows] == [("a", "1.5")]
    assert [(r.rule, r.where.cell, r.value) for r in found.rejections] == [("error_cell", "B3", "#N/A")]


def test_an_ods_workbook_gives_values_and_error_cells(tmp_path: Path) -> None:
    found = read(tmp_path, ODS, {"k": "string", "v": "double"}, path="book.ods")
    assert [(row["k"], row["v"], row["__row"]) for row in found.rows] == [("a", "1.5", 5)]
    assert [(r.rule, r.where.cell, r.value) for r in found.rejections] == [("error_cell", "B6", "#N/A")]


@pytest.mark.parametrize(
    ("name", "data", "header_row", "types"),
    [
        ("book.xls", XLS, 2, ["string", "decimal(12,1)", "boolean", "date", "timestamp", "string"]),
        ("book.xlsb", XLSB, 1, ["string", "decimal(12,1)"]),
        ("book.ods", ODS, 1, ["string", "decimal(12,1)"]),
    ],
)
def test_they_are_inspected_as_the_newer_ones_are(
    tmp_path: Path, name: str, data: bytes, header_row: int, types: list[str]
) -> None:
    (tmp_path / name).write_bytes(data)
    root = FileRoot(str(tmp_path))
    found = inspect_workbook(root, root.resolve(name)).sheet
    assert found.findings["header_row"].value == header_row
    assert [column.type for column in found.columns] == types
    assert any("whose formula failed" in note for note in found.notes)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("book.xlsb", xlsb(row(0) + text(0, "k") + row(1_048_575) + text(16_383, "far"))),
        ("book.ods", ods(ods_row(ods_text("k")) + ods_row(ods_text("x") * 30, repeated=1_048_000))),
    ],
)
def test_a_sheet_that_would_not_fit_in_memory_is_refused(tmp_path: Path, path: str, data: bytes) -> None:
    with pytest.raises(SyncDataError, match="too many for this format"):
        read(tmp_path, data, path=path)


def test_an_xls_that_would_not_fit_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_legacy_scan, "MAX_XLS_BYTES", 1000)
    with pytest.raises(SyncDataError, match="bytes, more than"):
        read(tmp_path, XLS, path="book.xls")


def test_a_protected_xls_is_named(tmp_path: Path) -> None:
    # The first record after the beginning of the workbook becomes FILEPASS.
    start = XLS.index(b"\x09\x08\x10\x00")
    after = start + 4 + 16
    data = XLS[:after] + struct.pack("<H", 0x2F) + XLS[after + 2 :]
    with pytest.raises(SyncDataError, match="password"):
        read(tmp_path, data, path="book.xls")


@given(st.sampled_from([("xls", XLS), ("xlsb", XLSB), ("ods", ODS)]), st.data())
def test_mutated_files_give_a_result_or_a_sync_error(
    tmp_path_factory: pytest.TempPathFactory, sample: tuple[str, bytes], data: st.DataObject
) -> None:
    suffix, whole = sample
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole)))]
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 6)) if changed else 0):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    directory = tmp_path_factory.mktemp("excel")
    try:
        rows = read(directory, bytes(changed), path=f"book.{suffix}", header_row=0).rows
    except SyncError as refused:
        rows = [{"__file": refused.where.file}]
    assert all(row["__file"] == f"book.{suffix}" for row in rows)
