"""Cell formats: those of a new workbook, and additions to those of an existing one. No I/O.

An existing styles part keeps every byte; formats are only added at the end of its lists.

Source: ECMA-376 part 1, §18.8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sync_provider.connectors.files.excel_cells import DATE, NUMBER
from sync_provider.connectors.files.excel_guard import malformed
from sync_provider.connectors.files.excel_workbook import DATE_ONLY, DATE_TIME, PLAIN
from sync_provider.core.schema import LogicalType

DATE_CODE, TIMESTAMP_CODE = "yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss"
GENERAL, TEXT_FORMAT = 0, 49
FIRST_CUSTOM = 164

HEADER_STYLE = 1
_SHEET_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def format_code(logical: LogicalType, *, plain: bool) -> str | int:
    """Number format of a column: the id of a built-in one, or a code.

    Args:
        logical: the column's type.
        plain: only what reading back needs: dates and timestamps.
    """
    if logical.kind == "date":
        return DATE_CODE
    if logical.kind == "timestamp":
        return TIMESTAMP_CODE
    if plain or logical.kind in ("boolean", "double"):
        return GENERAL
    if logical.kind == "integer":
        return 1
    if logical.kind == "decimal":
        return f"0.{'0' * logical.scale}" if logical.scale else 1
    return TEXT_FORMAT


def new_styles(codes: list[str | int]) -> tuple[str, list[int]]:
    """The styles part of a new workbook, and the cell format of each column.

    Args:
        codes: number format of each column.
    """
    custom = {code: FIRST_CUSTOM + at for at, code in enumerate(dict.fromkeys(c for c in codes if isinstance(c, str)))}
    numbers = [code if isinstance(code, int) else custom[code] for code in codes]
    distinct = list(dict.fromkeys(n for n in numbers if n != GENERAL))
    cell_format = {GENERAL: 0, **{number: 2 + at for at, number in enumerate(distinct)}}
    formats = "".join(f'<numFmt numFmtId="{number}" formatCode="{code}"/>' for code, number in custom.items())
    formats = f'<numFmts count="{len(custom)}">{formats}</numFmts>' if custom else ""
    added = "".join(
        f'<xf numFmtId="{number}" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
        for number in distinct
    )
    xml = (
        f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<styleSheet xmlns="{_SHEET_NAMESPACE}">{formats}'
        '<fonts count="2"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font>'
        '<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>'
        '<fills count="3"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>'
        '<fill><patternFill patternType="solid"><fgColor rgb="FFE7E6E6"/><bgColor indexed="64"/></patternFill></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
        f'<cellXfs count="{2 + len(distinct)}"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
        '<xf numFmtId="0" fontId="1" fillId="2" borderId="0" xfId="0" applyFont="1" applyFill="1"/>'
        f"{added}</cellXfs>"
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
    )
    return xml, [cell_format[number] for number in numbers]


_FORMAT = re.compile(r"<xf\b[^>]*?/>|<xf\b[^>]*?[^/]>.*?</xf>", re.DOTALL)
_NUMBER_FORMAT_ID = re.compile(r'<numFmt\b[^>]*?\bnumFmtId="(\d+)"')
_DEFAULT_FORMAT = '<xf numFmtId="0" fontId="0" fillId="0" borderId="0"/>'


@dataclass(slots=True)
class StyleSheet:
    """The styles of an existing workbook, to which cell formats can be added.

    Args:
        text: its part; empty if it has none.
        kinds: what each cell format's number format makes of numbers.
    """

    text: str
    kinds: list[int]
    _added: dict[tuple[int, str | int], int] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self._added)

    def suited(self, style: int, cell_kind: int, code: str | int) -> int:
        """A cell format for a value: the cell's own if its number format suits, else one that differs in that only.

        Args:
            style: the cell's own format.
            cell_kind: as in `excel_cells`.
            code: number format of the column if the own one does not suit.

        Raises:
            SyncDataError: formats cannot be added to this workbook.
        """
        shown = self.kinds[style] if style < len(self.kinds) else PLAIN
        if cell_kind == DATE and shown not in (DATE_ONLY, DATE_TIME):
            return self.formatted(style, code)
        if cell_kind == NUMBER and shown != PLAIN:
            return self.formatted(style, GENERAL)
        return style

    def formatted(self, style: int, code: str | int) -> int:
        """A cell format like another one but for its number format."""
        if (style, code) not in self._added:
            number = code if isinstance(code, int) else self._number(code)
            formats = _FORMAT.findall(self._items("cellXfs"))
            base = formats[style] if style < len(formats) else _DEFAULT_FORMAT
            base = re.sub(r'\s(numFmtId|applyNumberFormat)="[^"]*"', "", base)
            new = base.replace("<xf", f'<xf numFmtId="{number}" applyNumberFormat="1"', 1)
            kind = DATE_TIME if isinstance(code, str) and "y" in code else PLAIN
            self._added[style, code] = self._add_format(new, kind)
        return self._added[style, code]

    def bold(self) -> int:
        """A cell format for headers."""
        if (0, "bold") not in self._added:
            font = self._append(
                "fonts", '<font><b/><sz val="11"/><name val="Calibri"/><family val="2"/></font>', "font"
            )
            new = f'<xf numFmtId="0" fontId="{font}" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
            self._added[0, "bold"] = self._add_format(new, PLAIN)
        return self._added[0, "bold"]

    def _add_format(self, xml: str, kind: int) -> int:
        at = self._append("cellXfs", xml, "xf")
        self.kinds += [PLAIN] * (at - len(self.kinds))
        self.kinds.append(kind)
        return at

    def _number(self, code: str) -> int:
        """The id of a number format of our own."""
        new = max([FIRST_CUSTOM - 1, *map(int, _NUMBER_FORMAT_ID.findall(self.text))]) + 1
        item = f'<numFmt numFmtId="{new}" formatCode="{code}"/>'
        if "<numFmts" in self.text:
            self._append("numFmts", item, "numFmt")
            return new
        start = re.search(r"<styleSheet\b[^>]*>", self.text)
        if start is None:
            raise _unusual()
        # numFmts is the first child of styleSheet.
        self.text = f'{self.text[: start.end()]}<numFmts count="1">{item}</numFmts>{self.text[start.end() :]}'
        return new

    def _items(self, name: str) -> str:
        self.text = re.sub(rf"<({name}(?:\s[^>]*)?)/>", rf"<\1></{name}>", self.text)
        found = re.search(rf"<{name}(?:\s[^>]*)?>(.*?)</{name}>", self.text, re.DOTALL)
        if found is None:
            raise _unusual()
        return found[1]

    def _append(self, name: str, item: str, child: str) -> int:
        """Add an item to a list; gives its index there."""
        items = self._items(name)
        count = len(re.findall(rf"<{child}[\s>/]", items))
        at = self.text.index(f"</{name}>")
        head = re.sub(rf'(<{name}\b[^>]*?)\scount="\d+"', r"\1", self.text[:at])
        head = re.sub(rf"<{name}\b", f'<{name} count="{count + 1}"', head)
        self.text = f"{head}{item}{self.text[at:]}"
        return count


def _unusual() -> Exception:
    return malformed("the workbook's cell formats are written in an unusual way and cannot be added to")
