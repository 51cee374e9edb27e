"""Hostile and broken files: refused in words, within bounded time and memory, whatever they claim."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from excel_files import MAIN, SheetXml, archive, parts_of, read, table, text_cell, workbook
from sync_provider.connectors.files import excel_guard
from sync_provider.connectors.files.excel_guard import Package
from sync_provider.core.errors import SyncDataError

GOOD = workbook(SheetXml(table(("k", "v"), text_cell("A2", "x") + '<c r="B2"><v>1</v></c>')))


def with_part(name: str, data: bytes | str) -> bytes:
    return archive({**parts_of(GOOD), name: data})


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
SHEET = (
    f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1" t="str"><v>{{}}</v></c></row></sheetData></worksheet>'
)
DOCTYPES = {
    "billion laughs": f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>' + SHEET.format("&l9;"),
    "external entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + SHEET.format("&e;"),
    "small entity": '<!DOCTYPE x [<!ENTITY e "text">]>' + SHEET.format("&e;"),
    "bare document type": "<!DOCTYPE worksheet>" + SHEET.format("x"),
}


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml", "_rels/.rels"])
@pytest.mark.parametrize("kind", DOCTYPES)
def test_document_types_and_entities_are_refused_in_every_part(tmp_path: Path, part: str, kind: str) -> None:
    with pytest.raises(SyncDataError, match="document type or entity") as caught:
        read(tmp_path, with_part(part, DOCTYPES[kind]), header_row=0)
    assert caught.value.code == "excel_hostile"


def test_a_document_type_in_utf_16_is_refused(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="utf-16"?>' + DOCTYPES["small entity"]
    with pytest.raises(SyncDataError, match="document type or entity"):
        read(tmp_path, with_part("xl/worksheets/sheet1.xml", text.encode("utf-16")), header_row=0)


def test_an_undefined_entity_is_refused_without_a_document_type(tmp_path: Path) -> None:
    with pytest.raises(SyncDataError):
        read(tmp_path, with_part("xl/worksheets/sheet1.xml", SHEET.format("&e;")), header_row=0)


def test_a_file_that_is_cut_short_is_damaged(tmp_path: Path) -> None:
    for length in range(0, len(GOOD), 97):
        with pytest.raises(SyncDataError):
            read(tmp_path, GOOD[:length])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"a;b\n1;2\n", "type: csv"),
        (b"<html><table></table></html>", "HTML"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "password"),
        (archive({"hello.txt": "hello"}), "no workbook"),
    ],
)
def test_what_is_no_workbook_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(SyncDataError, match=words):
        read(tmp_path, data)


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    data = bytearray(GOOD)
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    with pytest.raises(SyncDataError, match="password"):
        read(tmp_path, bytes(data))


def test_a_changed_byte_inside_a_part_is_found(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
        for name, part in parts_of(GOOD).items():
            made.writestr(name, part)
    data = file.getvalue().replace(b"<v>1</v>", b"<v>2</v>")
    with pytest.raises(SyncDataError, match="damaged"):
        read(tmp_path, data)


def test_an_entry_that_unpacks_to_more_than_it_declares_is_damaged(tmp_path: Path) -> None:
    data = bytearray(GOOD)
    name = b"xl/worksheets/sheet1.xml"
    central = data.rindex(name) - 46
    (size,) = struct.unpack_from("<L", data, central + 24)
    struct.pack_into("<L", data, central + 24, size // 2)
    with pytest.raises(SyncDataError, match="damaged"):
        read(tmp_path, bytes(data))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_the_same_name_are_refused() -> None:
    file = io.BytesIO(GOOD)
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(SyncDataError, match="twice"):
        Package(file)


def test_overlapping_entries_are_refused() -> None:
    data = bytearray(GOOD)
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    with pytest.raises(SyncDataError, match="overlaps"):
        Package(io.BytesIO(bytes(data)))


def test_too_many_entries_are_refused_before_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_guard, "MAX_ENTRIES", 3)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the directory was loaded"))
    with pytest.raises(SyncDataError, match="at most 3"):
        Package(io.BytesIO(GOOD))


def test_parts_beyond_the_total_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excel_guard, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(SyncDataError, match="uncompressed"):
        Package(io.BytesIO(GOOD))


ATTACKS = {
    "zip bomb": ("xl/worksheets/sheet1.xml", "b'<worksheet><sheetData>' + b' ' * 400_000_000"),
    "strings bomb": ("xl/sharedStrings.xml", "b'<sst>' + b'<si><t>x</t></si>' * 8_000_000 + b'</sst>'"),
    "one huge cell": (
        "xl/worksheets/sheet1.xml",
        "HEAD + b'<row r=\"1\"><c r=\"A1\" t=\"str\"><v>' + b'A' * 60_000_000 + b'</v></c></row></sheetData></worksheet>'",
    ),
    "one huge shared text": ("xl/sharedStrings.xml", "b'<sst><si><t>' + b'A' * 60_000_000 + b'</t></si></sst>'"),
    "one huge comment": (
        "xl/worksheets/sheet1.xml",
        "HEAD + b'<!--' + b'A' * 60_000_000 + b'--></sheetData></worksheet>'",
    ),
    "one huge tag": ("xl/styles.xml", "b'<styleSheet a=\"' + b'A' * 31_000_000 + b'\"/>'"),
    "a row of many cells": (
        "xl/worksheets/sheet1.xml",
        "HEAD + b'<row r=\"1\">' + b'<c><v>1</v></c>' * 4_000_000 + b'</row></sheetData></worksheet>'",
    ),
    "deep nesting": ("xl/worksheets/sheet1.xml", "HEAD + b'<a>' * 15_000_000"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_bombs_are_refused_within_300_mib(tmp_path: Path, name: str) -> None:
    part, content = ATTACKS[name]
    (tmp_path / "good.xlsx").write_bytes(
        workbook(SheetXml(table(("k",), '<c r="A2" t="s"><v>0</v></c>')), strings="<si><t>x</t></si>")
    )
    making = f"""
        import zipfile
        HEAD = b'<worksheet xmlns="{MAIN}"><sheetData>'
        with zipfile.ZipFile("good.xlsx") as old, zipfile.ZipFile("book.xlsx", "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.namelist():
                new.writestr(entry, {content} if entry == "{part}" else old.read(entry))
    """
    reading = """
        import re
        from pathlib import Path
        from excel_files import read
        from sync_provider.core.errors import SyncDataError
        try:
            read(Path("."), header_row=0)
        except SyncDataError as error:
            # The kernel's own figure for this program; ru_maxrss would count the parent's before exec.
            peak = re.search("VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())
            print(error.code, int(peak[1]) // 1024)
    """
    found = ""
    for code in (making, reading):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        found = done.stdout
    code, mebibytes = found.split()
    assert code in ("excel_limits", "excel_damaged")
    assert int(mebibytes) < 300


def test_far_cells_cost_nothing_and_read_right(tmp_path: Path) -> None:
    rows = table(("k", "v"), text_cell("A2", "x")) + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    data = workbook(SheetXml(rows, head='<dimension ref="A1:XFD1048576"/>'))
    assert read(tmp_path, data, {"k": "string", "v": "string"}).column("k") == ["x"]
    row = read(tmp_path, data, {"column_16384": "integer"}, header_row=0).rows
    assert [(r["column_16384"], r["__row"]) for r in row] == [("1", 1_048_576)]
