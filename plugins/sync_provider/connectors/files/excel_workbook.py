"""What a workbook says about itself: its sheets, its calendar, its cell formats, its shared strings.

Source: ECMA-376 part 1, §18.2 (workbook), §18.8 (styles).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sync_provider.connectors.files.excel_guard import MAX_SMALL_PART_BYTES, Package, malformed, walk_xml

PLAIN, DATE_ONLY, DATE_TIME, TIME_ONLY, DURATION = range(5)
"""What a number format makes of a number: nothing special, a date, a date with a time, a time of day, elapsed time."""

_BUILT_IN = {
    **dict.fromkeys([14, 15, 16, 17, *range(27, 37), *range(50, 59)], DATE_ONLY),
    **dict.fromkeys([18, 19, 20, 21, 45, 47], TIME_ONLY),
    22: DATE_TIME,
    46: DURATION,
}
_ELAPSED = re.compile(r"\[(h+|m+|s+)\]", re.IGNORECASE)
_LITERAL = re.compile(r'"[^"]*"?|\[[^\]]*\]|\\.|_.|\*.', re.DOTALL)
_HALF_DAY = re.compile(r"am/pm|a/p", re.IGNORECASE)


@dataclass(slots=True)
class Sheet:
    """One sheet.

    Args:
        part: name of its part in the package.
        hidden: not shown by the program's tabs.
        is_grid: has cells; False for chart and dialogue sheets.
    """

    name: str
    part: str
    hidden: bool
    is_grid: bool
    relation: str = ""


@dataclass(slots=True)
class Workbook:
    """A workbook's own description.

    Args:
        date1904: days are counted from 1904-01-01, as old Macintosh versions did.
        formats: for each cell format, what its number format makes of numbers.
        format_numbers: for each cell format, the id of its number format.
        strings_part: name of the shared strings' part, None without shared strings.
    """

    package: Package
    part: str
    sheets: list[Sheet] = field(default_factory=list)
    date1904: bool = False
    formats: list[int] = field(default_factory=list)
    format_numbers: list[int] = field(default_factory=list)
    strings_part: str | None = None
    styles_part: str | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """A link from one part to another."""

    id: str
    kind: str
    target: str


def relations(package: Package, part: str) -> list[Relation]:
    """Links of a part (of the package itself: ``""``) to other parts of the package, targets as part names."""
    folder, _, name = part.rpartition("/")
    rels = f"{folder}/_rels/{name}.rels" if folder else f"_rels/{name}.rels"
    found: list[Relation] = []
    if rels not in package:
        return found

    def start(element: str, attributes: dict[str, str]) -> None:
        if element == "Relationship" and attributes.get("TargetMode") != "External":
            target = attributes.get("Target", "")
            base = PurePosixPath("/") if target.startswith("/") else PurePosixPath("/", folder)
            found.append(
                Relation(attributes.get("Id", ""), attributes.get("Type", "").rpartition("/")[2], _join(base, target))
            )

    with package.open(rels, max_bytes=MAX_SMALL_PART_BYTES) as stream:
        walk_xml(stream, start)
    return found


def _join(base: PurePosixPath, target: str) -> str:
    parts: list[str] = []
    for piece in (base / target.lstrip("/") if target.startswith("/") else base / target).parts[1:]:
        if piece == ".." and parts:
            parts.pop()
        elif piece not in ("..", "."):
            parts.append(piece)
    return "/".join(parts)


def workbook_part(package: Package) -> str:
    """Name of the workbook's main part."""
    for relation in relations(package, ""):
        if relation.kind == "officeDocument":
            return relation.target
    raise malformed("the archive holds no workbook", code="excel_not_a_workbook")


def open_workbook(package: Package) -> Workbook:
    """Read the workbook's description.

    Raises:
        SyncDataError: it is missing or damaged.
    """
    book = Workbook(package, workbook_part(package))
    targets = {relation.id: relation for relation in relations(package, book.part)}
    for relation in targets.values():
        if relation.kind == "sharedStrings":
            book.strings_part = relation.target
        elif relation.kind == "styles":
            book.styles_part = relation.target

    def start(element: str, attributes: dict[str, str]) -> None:
        if element == "workbookPr":
            book.date1904 = attributes.get("date1904", "0") in ("1", "true", "on")
        elif element == "sheet":
            target = targets.get(attributes.get("id", ""))
            if target is None:
                raise malformed(f"sheet {attributes.get('name', '')[:50]!r} has no content", code="excel_damaged")
            hidden = attributes.get("state", "visible") != "visible"
            name = attributes.get("name", "")
            book.sheets.append(Sheet(name, target.target, hidden, target.kind == "worksheet", target.id))

    with package.open(book.part, max_bytes=MAX_SMALL_PART_BYTES) as stream:
        walk_xml(stream, start)
    if book.styles_part is not None and book.styles_part in package:
        _read_styles(book, book.styles_part)
    return book


def _read_styles(book: Workbook, part: str) -> None:
    custom: dict[int, str] = {}
    inside: list[str] = []

    def start(element: str, attributes: dict[str, str]) -> None:
        inside.append(element)
        if element == "numFmt" and "numFmts" in inside:
            custom[_number(attributes.get("numFmtId"))] = attributes.get("formatCode", "")
        elif element == "xf" and inside[-2:-1] == ["cellXfs"]:
            book.format_numbers.append(_number(attributes.get("numFmtId")))

    def end(element: str) -> None:
        del element
        inside.pop()

    with book.package.open(part, max_bytes=MAX_SMALL_PART_BYTES) as stream:
        walk_xml(stream, start, end)
    known = {number: format_kind(code) for number, code in custom.items()}
    book.formats = [known.get(n, _BUILT_IN.get(n, PLAIN)) for n in book.format_numbers]


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0


def format_kind(code: str) -> int:
    """What a number format's code makes of a number.

    >>> format_kind("yyyy-mm-dd") == DATE_ONLY, format_kind("[h]:mm") == DURATION, format_kind('0.00 "days"') == PLAIN
    (True, True, True)
    """
    section = _split_sections(code)
    if _ELAPSED.search(_without_quotes(section)):
        return DURATION
    bare = _LITERAL.sub("", section)
    clock = _HALF_DAY.search(bare) is not None
    bare = _HALF_DAY.sub("", bare).lower()
    if "general" in bare:
        return PLAIN
    has_time = clock or "h" in bare or "s" in bare
    has_date = "y" in bare or "d" in bare or ("m" in bare and not has_time)
    if has_date:
        return DATE_TIME if has_time else DATE_ONLY
    return TIME_ONLY if has_time else PLAIN


def _without_quotes(section: str) -> str:
    return re.sub(r'"[^"]*"?|\\.', "", section)


def _split_sections(code: str) -> str:
    """The first section of a format code: the one for positive numbers."""
    quoted = False
    for index, char in enumerate(code):
        if char == '"':
            quoted = not quoted
        elif char == ";" and not quoted and code[index - 1 : index] != "\\":
            return code[:index]
    return code
