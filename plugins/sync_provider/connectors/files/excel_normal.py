"""Sheets and shared strings whose markup is not of the regular form, rewritten into it by a real XML parser.

Slower than `excel_scan` and `excel_strings` by a factor of five, and right about everything that XML allows: prefixes, comments,
CDATA, entities, other encodings, references left out, formatted text.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from sync_provider.connectors.files.excel_address import column_letters, split_reference
from sync_provider.connectors.files.excel_guard import (
    MAX_CELL_CHARACTERS,
    MAX_ROWS,
    Part,
    malformed,
    over_limits,
    walk_steps,
)
from sync_provider.connectors.files.excel_scan import Rows, scan_text

_MAX_WRITTEN = 8 * MAX_CELL_CHARACTERS
"""Characters of one text as the XML parser gives them, before ``_x000D_`` escapes are undone."""


def normal_rows(part: Part, after_row: int) -> Iterator[Rows]:
    """The rows of a sheet after row number `after_row`.

    Raises:
        SyncDataError: the part is damaged, over_limits, or out of order.
    """
    writer = _SheetWriter(after_row)
    last_row = after_row
    for _ in walk_steps(part, writer.start, writer.end, writer.text):
        if writer.rows:
            rows = scan_text("".join(writer.rows).encode(), last_row)
            writer.rows.clear()
            last_row = int(rows.number[-1])
            yield rows


def normal_strings(part: Part) -> Iterator[bytes]:
    """Pieces of the shared strings in the regular form: whole ``<si><t>…</t></si>`` elements, UTF-8."""
    writer = _StringsWriter()
    for _ in walk_steps(part, writer.start, writer.end, writer.text):
        if writer.strings:
            yield "".join(writer.strings).encode()
            writer.strings.clear()


class _TextWriter:
    """Gathers the text of ``t`` elements, except phonetic hints."""

    def __init__(self) -> None:
        self._collecting = False
        self._phonetic = False
        self._length = 0
        self._text: list[str] = []

    def text(self, text: str) -> None:
        if self._collecting:
            self._length += len(text)
            if self._length > _MAX_WRITTEN:
                raise over_limits(
                    f"a text has more than {_MAX_WRITTEN} characters; an Excel cell holds {MAX_CELL_CHARACTERS}"
                )
            self._text.append(text)

    def _take(self) -> str:
        taken = escape("".join(self._text), {"\r": "&#13;"})
        self._text.clear()
        self._length = 0
        return taken


class _StringsWriter(_TextWriter):
    def __init__(self) -> None:
        super().__init__()
        self.strings: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        del attributes
        if name == "rPh":
            self._phonetic = True
        elif name == "t":
            self._collecting = not self._phonetic

    def end(self, name: str) -> None:
        if name == "t":
            self._collecting = False
        elif name == "rPh":
            self._phonetic = False
        elif name == "si":
            self.strings.append(f"<si><t>{self._take()}</t></si>")


class _SheetWriter(_TextWriter):
    def __init__(self, after_row: int) -> None:
        super().__init__()
        self.rows: list[str] = []
        self._after_row = after_row
        self._in_data = False
        self._row = 0
        self._column = -1
        self._cells: list[str] = []
        self._cell: dict[str, str] | None = None
        self._formula = False
        self._value = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheetData":
            self._in_data = True
        elif not self._in_data:
            return
        elif name == "row":
            self._start_row(attributes)
        elif name == "c":
            self._start_cell(attributes)
        elif name == "f":
            self._formula = True
        elif name == "rPh":
            self._phonetic = True
        elif name in ("v", "t"):
            self._value = self._value or not self._phonetic
            self._collecting = not self._phonetic

    def end(self, name: str) -> None:
        if name == "sheetData":
            self._in_data = False
        elif not self._in_data:
            return
        elif name == "row":
            if self._row > self._after_row:
                self.rows.append(f'<row r="{self._row}">{"".join(self._cells)}</row>')
            self._cells.clear()
        elif name == "c":
            self._end_cell()
        elif name == "rPh":
            self._phonetic = False
        elif name in ("v", "t"):
            self._collecting = False

    def _start_row(self, attributes: dict[str, str]) -> None:
        written = attributes.get("r")
        number = int(written) if written and written.isdecimal() and len(written) < 8 else None
        if written is not None and number is None:
            raise malformed(f"a sheet has a row numbered {written[:20]!r}")
        before, self._row = self._row, number or self._row + 1
        if not before < self._row <= MAX_ROWS:
            raise malformed("the rows of a sheet are out of order, or too many")
        self._column = -1

    def _start_cell(self, attributes: dict[str, str]) -> None:
        self._column += 1
        if written := attributes.get("r"):
            row, self._column = split_reference(written)
            if row != self._row:
                raise malformed(f"cell {written[:20]!r} stands in row {self._row}")
        self._cell, self._formula, self._value = attributes, False, False

    def _end_cell(self) -> None:
        if self._cell is None:
            return
        attributes = [f' r="{column_letters(self._column)}{self._row}"']
        if (style := self._cell.get("s", "0")) != "0":
            if not style.isdecimal() or len(style) > 6:
                raise malformed(f"a cell has the style {style[:20]!r}")
            attributes.append(f' s="{style}"')
        kind = self._cell.get("t", "n")
        if kind not in ("n", "s", "str", "inlineStr", "b", "e", "d"):
            raise malformed(f"a cell has the type {kind[:20]!r}")
        attributes.append(f' t="{kind}"')
        value = f"<v>{self._take()}</v>" if self._value or kind == "inlineStr" else ""
        self._cells.append(f"<c{''.join(attributes)}>{'<f/>' if self._formula else ''}{value}</c>")
        self._cell = None
