"""Changes to a workbook's parts beside the rows of a sheet: whatever refers to these rows, and the list of sheets. No I/O.

Parts are changed as text, at the one place concerned, so that all else keeps its bytes.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from xml.sax.saxutils import quoteattr

from sync_provider.connectors.files.excel_guard import Package, malformed
from sync_provider.connectors.files.excel_new import RELATIONS, SHEET_TYPE, check_sheet_name
from sync_provider.connectors.files.excel_scan import SheetMarkup
from sync_provider.connectors.files.excel_workbook import Sheet, Workbook, relations

_RANGE = rb'ref="(\$?[A-Z]{1,3}\$?)(\d+):(\$?[A-Z]{1,3}\$?)(\d+)"'
_NUMBERED = re.compile(rb'(<row r="|<c r="[A-Z]{1,3})(\d+)"')
_TAIL_ELEMENT = re.compile(rb"<([A-Za-z0-9:]+)")
_STAYS_TRUE = {
    b"pageMargins", b"pageSetup", b"printOptions", b"headerFooter", b"ignoredErrors", b"ignoredError", b"sheetProtection",
    b"phoneticPr", b"sheetCalcPr", b"oddHeader", b"oddFooter",
}  # fmt: skip
"""Elements after the rows that hold no address that moving rows would falsify."""
_REFER_TO_CELLS = (
    "charts/",
    "pivotcache",
    "pivottables",
    "calcchain",
    "externallinks",
    "querytables",
    "connections.xml",
)


def add_sheet(book: Workbook, name: str) -> tuple[Sheet, dict[str, bytes]]:
    """A sheet to be added to a workbook: where it goes, and the parts that list it.

    Raises:
        SyncDataError: the name is none that Excel accepts, or the workbook lists its sheets in an unusual way.
    """
    check_sheet_name(name)
    package, folder = book.package, book.part.rpartition("/")[0]
    prefix = f"{folder}/" if folder else ""
    number = next(n for n in range(1, 100_000) if f"{prefix}worksheets/sheet{n}.xml" not in package)
    part = f"{prefix}worksheets/sheet{number}.xml"
    rels = f"{prefix}_rels/{book.part.rpartition('/')[2]}.rels"
    taken = {relation.id for relation in relations(package, book.part)}
    relation = next(f"rId{n}" for n in range(1, 100_000) if f"rId{n}" not in taken)
    main = package.read_text(book.part)
    sheet_id = max([0, *map(int, re.findall(r'\bsheetId="(\d+)"', main))]) + 1
    entry = f'<sheet xmlns:r="{RELATIONS}" name={quoteattr(name)} sheetId="{sheet_id}" r:id="{relation}"/>'
    link = f'<Relationship Id="{relation}" Type="{RELATIONS}/worksheet" Target="/{part}"/>'
    override = f'<Override PartName="/{part}" ContentType="{SHEET_TYPE}"/>'
    changed = {
        book.part: _before(main, "</sheets>", entry),
        rels: _before(package.read_text(rels), "</Relationships>", link),
        "[Content_Types].xml": _before(package.read_text("[Content_Types].xml"), "</Types>", override),
    }
    sheet = Sheet(name, part, hidden=False, is_grid=True, relation=relation)
    return sheet, {package.entry(key).filename: text.encode() for key, text in changed.items()}


def _before(text: str, mark: str, addition: str) -> str:
    if text.count(mark) != 1:
        raise malformed(
            "the workbook lists its parts in an unusual way, and a sheet cannot be added",
            hint="Add the sheet in Excel, save, and run again.",
            code="excel_irregular",
        )
    return text.replace(mark, addition + mark)


def grow_tables(book: Workbook, sheet: Sheet, header_row: int, old_last: int, new_last: int) -> dict[str, bytes]:
    """Excel tables that held all records before, made to hold the new ones.

    Raises:
        SyncDataError: a table ends in a row of totals, below which records cannot be added.
    """
    changed: dict[str, bytes] = {}
    for relation in relations(book.package, sheet.part):
        if relation.kind != "table":
            continue
        text = book.package.read(relation.target)
        match = re.search(rb"<table\b[^>]*?\b" + _RANGE, text)
        if match is None or int(match[2]) != header_row or not int(match[4]) >= old_last:
            continue
        if re.search(rb'\btotalsRowCount="[1-9]', text) and new_last != old_last:
            raise malformed(
                "the sheet's table ends in a row of totals, below which records cannot be added",
                hint="In Excel: Table Design > Total Row, off. Put totals above the table or on another sheet.",
                code="excel_totals_row",
            )
        end = max(new_last, header_row + 1)
        if end > int(match[4]):
            old = match[0][match[0].rindex(b"ref=") :]
            new = b'ref="%s%s:%s%d"' % (match[1], match[2], match[3], end)
            changed[book.package.entry(relation.target).filename] = text.replace(old, new)
    return changed


def widen_filter(tail: bytes, header_row: int, old_last: int, new_last: int) -> bytes:
    """The sheet's own filter, made to hold the new records if it held all before."""

    def widened(match: re.Match[bytes]) -> bytes:
        if int(match[2]) != header_row or int(match[4]) < old_last or int(match[4]) >= new_last:
            return match[0]
        return b'<autoFilter ref="%s%s:%s%d"' % (match[1], match[2], match[3], new_last)

    return re.sub(rb"<autoFilter " + _RANGE, widened, tail)


def recalculate(book: Workbook, parts: dict[str, bytes]) -> dict[str, bytes]:
    """Have formulas calculated anew when the workbook is opened: their cells may show what is no longer true."""
    text = parts.get(book.part) or book.package.read(book.part)
    match = re.search(rb"<calcPr\b[^>]*>", text)
    if match is None or b"fullCalcOnLoad=" in match[0]:
        return {}
    new = match[0].replace(b"<calcPr", b'<calcPr fullCalcOnLoad="1"', 1)
    return {book.package.entry(book.part).filename: text[: match.start()] + new + text[match.end() :]}


def is_movable(book: Workbook, sheet: Sheet, markup: SheetMarkup, *, formulas: bool) -> bool:
    """Whether rows of a sheet can move up: nothing in the workbook refers to cells by address.

    Args:
        book: the workbook.
        sheet: the one whose rows would move.
        markup: what stands around the sheet's rows.
        formulas: whether the sheet has formulas.
    """
    package = book.package
    if formulas or set(_TAIL_ELEMENT.findall(markup.tail)) - _STAYS_TRUE:
        return False
    names = [entry.filename.lower() for entry in package.entries]
    if any(mark in name for name in names for mark in _REFER_TO_CELLS):
        return False
    if b"<definedName" in package.read(book.part) or relations(package, sheet.part):
        return False
    return not any(_has_formulas(package, other.part) for other in book.sheets if other.part != sheet.part)


def _has_formulas(package: Package, part: str) -> bool:
    with package.open(part) as stream:
        before = b""
        for chunk in stream:
            if re.search(rb"<(?:\w+:)?f[ >/]|<(?:\w+:)?formula", before + chunk):
                return True
            before = chunk[-64:]
    return False


def renumbered(text: bytes, gone: list[int], deleted: list[int]) -> bytes:
    """Rows moved up by the number of rows deleted before them.

    Args:
        text: rows in ascending order, the deleted ones already left out.
        gone: numbers of the rows deleted so far, ascending; the new ones are added.
        deleted: numbers of the rows deleted among these.
    """
    gone.extend(deleted)
    if not gone:
        return text

    def moved(match: re.Match[bytes]) -> bytes:
        number = int(match[2])
        return b'%s%d"' % (match[1], number - bisect_left(gone, number))

    return _NUMBERED.sub(moved, text)
