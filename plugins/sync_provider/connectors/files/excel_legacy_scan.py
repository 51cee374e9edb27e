"""Facts about .xls, .xlsb and .ods sheets that calamine does not tell: which cells hold errors, and how large a sheet is.

calamine gives an empty text for an error cell, and takes memory for every cell between the first and the last one. So the
records of these formats are walked once beforehand, which is cheap, for they carry their lengths.

Source: Microsoft [MS-XLS], [MS-XLSB], [MS-CFB]; OpenDocument 1.3 part 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from sync_provider.connectors.files.excel_guard import (
    MAX_TOTAL_BYTES,
    Package,
    Part,
    encrypted,
    malformed,
    over_limits,
    walk_xml,
)

MAX_CELLS = 10_000_000
"""Cells between the first and the last one of a sheet, each of which takes 32 bytes while it is read."""
MAX_XLS_BYTES = 512 << 20

_ERRORS = {
    0: "#NULL!",
    7: "#DIV/0!",
    15: "#VALUE!",
    23: "#REF!",
    29: "#NAME?",
    36: "#NUM!",
    42: "#N/A",
    43: "#GETTING_DATA",
}


@dataclass(slots=True)
class SheetFacts:
    """Facts about one sheet.

    Args:
        errors: (1-based row, 0-based column) → the error shown.
    """

    errors: dict[tuple[int, int], str] = field(default_factory=dict)
    rows: int = 0
    columns: int = 0

    def cell(self, row: int, column: int, error: int | None = None) -> None:
        """Note a cell; `row` and `column` are 0-based."""
        self.rows, self.columns = max(self.rows, row + 1), max(self.columns, column + 1)
        if self.rows * self.columns > MAX_CELLS:
            raise over_limits(f"a sheet spans {self.rows} rows by {self.columns} columns, too many for this format")
        if error is not None:
            self.errors[row + 1, column] = _ERRORS.get(error, "#ERROR")


def scan_legacy(file: BinaryIO, package: Package | None) -> dict[str, SheetFacts]:
    """Facts about each sheet, by name.

    Args:
        file: the workbook.
        package: its parts, if it is an archive; otherwise it is an .xls file.

    Raises:
        SyncDataError: it is damaged, encrypted, or too large.
    """
    try:
        if package is None:
            return _scan_xls(file)
        if "content.xml" in package:
            return _scan_ods(package)
        return _scan_xlsb(package)
    except (struct.error, IndexError, UnicodeDecodeError) as exc:
        raise malformed("the workbook is damaged: a record is cut short", code="excel_damaged") from exc


def _scan_xlsb(package: Package) -> dict[str, SheetFacts]:
    from sync_provider.connectors.files.excel_workbook import relations, workbook_part

    main = workbook_part(package)
    targets = {relation.id: relation.target for relation in relations(package, main)}
    facts: dict[str, SheetFacts] = {}
    for kind, body in _xlsb_records(package.open(main)):
        if kind == 156:  # BrtBundleSh: state, tab id, relation id, name
            relation, end = _wide(body, 8)
            name, _ = _wide(body, end)
            target = targets.get(relation)
            if target is not None and target in package:
                facts[name] = _scan_xlsb_sheet(package.open(target))
    return facts


def _scan_xlsb_sheet(part: Part) -> SheetFacts:
    facts, row = SheetFacts(), 0
    for kind, body in _xlsb_records(part):
        if kind == 0:  # BrtRowHdr
            (row,) = struct.unpack_from("<L", body)
        elif 2 <= kind <= 11:  # the cells; 1 is a blank one
            (column,) = struct.unpack_from("<L", body)
            facts.cell(row, column, body[8] if kind in (3, 11) else None)
    return facts


def _xlsb_records(part: Part) -> Iterator[tuple[int, bytes]]:
    with part:
        data, at = bytearray(), 0
        while True:
            if len(data) - at < 16:
                del data[:at]
                data += part.read()
                at = 0
                if not data:
                    return
            kind, at = data[at], at + 1
            if kind & 0x80:
                kind, at = kind & 0x7F | (data[at] & 0x7F) << 7, at + 1
            size = 0
            for shift in (0, 7, 14, 21):
                byte, at = data[at], at + 1
                size |= (byte & 0x7F) << shift
                if not byte & 0x80:
                    break
            while len(data) - at < size:
                more = part.read()
                if not more:
                    raise malformed("the workbook is damaged: a record is cut short", code="excel_damaged")
                data += more
            yield kind, bytes(data[at : at + size])
            at += size


def _wide(body: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<L", body, at)
    if length == 0xFFFFFFFF:
        return "", at + 4
    return body[at + 4 : at + 4 + 2 * length].decode("utf-16-le"), at + 4 + 2 * length


def _scan_ods(package: Package) -> dict[str, SheetFacts]:
    facts: dict[str, SheetFacts] = {}
    walker = _OdsWalker(facts)
    if "META-INF/manifest.xml" in package and b"encryption-data" in package.read("META-INF/manifest.xml"):
        raise encrypted()
    with package.open("content.xml", max_bytes=MAX_TOTAL_BYTES) as part:
        walk_xml(part, walker.start, walker.end, walker.text)
    return facts


class _OdsWalker:
    def __init__(self, facts: dict[str, SheetFacts]) -> None:
        self._facts = facts
        self._sheet = SheetFacts()
        self._row = self._column = 0
        self._row_repeat = self._column_repeat = 1
        self._filled = self._error = False
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "table":
            self._sheet = self._facts.setdefault(attributes.get("name", ""), SheetFacts())
            self._row = 0
        elif name == "table-row":
            self._row_repeat, self._column = _repeat(attributes, "number-rows-repeated"), 0
        elif name in ("table-cell", "covered-table-cell"):
            self._column_repeat = _repeat(attributes, "number-columns-repeated")
            self._filled = "value-type" in attributes or "formula" in attributes
            self._error = attributes.get("value-type") == "error"
            self._text.clear()

    def end(self, name: str) -> None:
        if name == "table-row":
            self._row += self._row_repeat
        elif name in ("table-cell", "covered-table-cell"):
            if self._filled or self._text:
                self._sheet.cell(self._row + self._row_repeat - 1, self._column + self._column_repeat - 1)
            if self._error:
                shown = "".join(self._text)[:20] or "#ERROR"
                for row in range(self._row_repeat):
                    for column in range(self._column_repeat):
                        self._sheet.errors[self._row + row + 1, self._column + column] = shown
            self._column += self._column_repeat

    def text(self, text: str) -> None:
        if len(self._text) < 100 and text.strip():
            self._text.append(text)


def _repeat(attributes: dict[str, str], name: str) -> int:
    written = attributes.get(name, "1")
    if not written.isdecimal() or len(written) > 8:
        raise malformed("the workbook is damaged: a repetition is no number", code="excel_damaged")
    return max(1, int(written))


def _scan_xls(file: BinaryIO) -> dict[str, SheetFacts]:
    stream = _ole_stream(file, ("Workbook", "Book"))
    names: dict[int, str] = {}
    facts: dict[str, SheetFacts] = {}
    current: SheetFacts | None = None
    at = 0
    while at + 4 <= len(stream):
        kind, size = struct.unpack_from("<HH", stream, at)
        body = stream[at + 4 : at + 4 + size]
        if kind == 0x2F:  # FILEPASS
            raise encrypted()
        if kind == 0x85:  # BOUNDSHEET: position, state and type, then the name
            (position,) = struct.unpack_from("<L", body)
            wide = body[7] & 1
            raw = body[8 : 8 + body[6] * (2 if wide else 1)]
            names[position] = raw.decode("utf-16-le" if wide else "latin-1")
        elif kind == 0x809:  # BOF
            current = facts.setdefault(names[at], SheetFacts()) if at in names else None
        elif current is not None:
            _xls_cell(current, kind, body)
        at += 4 + size
    return facts


def _xls_cell(facts: SheetFacts, kind: int, body: bytes) -> None:
    if kind in (0x0203, 0x027E, 0x00FD, 0x0204, 0x00BD, 0x0205, 0x0006):
        row, column = struct.unpack_from("<HH", body)
        error = None
        if kind == 0x0205 and body[7]:  # BOOLERR
            error = body[6]
        elif kind == 0x0006 and body[12:14] == b"\xff\xff" and body[6] == 2:  # FORMULA
            error = body[8]
        facts.cell(row, column, error)


_FREE = 0xFFFFFFF0


def _ole_stream(file: BinaryIO, names: tuple[str, ...]) -> bytes:
    """One stream of a compound file.

    Raises:
        SyncDataError: it is damaged, or has no such stream.
    """
    size = file.seek(0, 2)
    if size > MAX_XLS_BYTES:
        raise over_limits(f"the file takes {size} bytes, more than the {MAX_XLS_BYTES} allowed for .xls")
    file.seek(0)
    compound = _Compound(file.read())
    for entry in compound.directory():
        length = struct.unpack_from("<H", entry, 64)[0]
        if entry[: max(0, length - 2)].decode("utf-16-le", "replace") in names:
            return compound.stream(*struct.unpack_from("<LL", entry, 116))
    raise malformed("the file holds no workbook", code="excel_not_a_workbook")


class _Compound:
    """A compound file: streams made of chained sectors, small ones inside a stream of their own."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._sector = 1 << struct.unpack_from("<H", data, 30)[0]
        if self._sector not in (512, 4096):
            raise malformed("the workbook is damaged: it has impossible sectors", code="excel_damaged")
        numbers = list(struct.unpack_from("<109L", data, 76))
        extra, left = struct.unpack_from("<LL", data, 68)
        while left and extra < _FREE and len(numbers) * self._sector < 2 * len(data):
            more = self._numbers(self._block(extra))
            numbers += more[:-1]
            extra, left = more[-1], left - 1
        self._fat = [n for number in numbers if number < _FREE for n in self._numbers(self._block(number))]

    def directory(self) -> list[bytes]:
        entries = self._chained(struct.unpack_from("<L", self._data, 48)[0])
        return [entries[at : at + 128] for at in range(0, len(entries) - 127, 128)]

    def stream(self, start: int, size: int) -> bytes:
        if size >= struct.unpack_from("<L", self._data, 56)[0]:
            return self._chained(start)[:size]
        small = self._chained(struct.unpack_from("<L", self.directory()[0], 116)[0])
        table = self._numbers(self._chained(struct.unpack_from("<L", self._data, 60)[0]))
        return b"".join(small[n * 64 : n * 64 + 64] for n in _chain(start, table))[:size]

    def _chained(self, start: int) -> bytes:
        return b"".join(self._block(number) for number in _chain(start, self._fat))

    def _block(self, number: int) -> bytes:
        return self._data[(number + 1) * self._sector : (number + 2) * self._sector]

    def _numbers(self, block: bytes) -> list[int]:
        return list(struct.unpack(f"<{len(block) // 4}L", block[: len(block) // 4 * 4]))


def _chain(start: int, table: list[int]) -> Iterator[int]:
    seen = 0
    while start < _FREE:
        if start >= len(table) or seen > len(table):
            raise malformed("the workbook is damaged: its sectors form no chain", code="excel_damaged")
        yield start
        start, seen = table[start], seen + 1
