"""Rows of a sheet as XML: whole columns at once for new rows, cell by cell for rows that change. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sync_provider.connectors.files.excel_address import column_letters
from sync_provider.connectors.files.excel_cells import BLANK, BOOLEAN, DATE, NUMBER, SPACED, TEXT, Cells
from sync_provider.connectors.files.excel_scan import Rows

if TYPE_CHECKING:
    import pyarrow as pa

_OPEN = {
    NUMBER: "><v>",
    DATE: "><v>",
    BOOLEAN: ' t="b"><v>',
    TEXT: ' t="inlineStr"><is><t>',
    SPACED: ' t="inlineStr"><is><t xml:space="preserve">',
}
_CLOSE = {NUMBER: "</v></c>", DATE: "</v></c>", BOOLEAN: "</v></c>", TEXT: "</t></is></c>", SPACED: "</t></is></c>"}
_SPANS = re.compile(rb' spans="[^"]*"')


def new_rows(first_row: int, columns: Sequence[tuple[int, Cells, dict[int, int]]], length: int) -> bytes:
    """The XML of new rows.

    Args:
        first_row: 1-based number of the first one; the others follow.
        columns: 0-based column, its cells, and the cell format for each kind of cell in it; in ascending order.
        length: rows, > 0.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    number = pa.array(np.arange(first_row, first_row + length)).cast(pa.string())
    parts: list[object] = ['<row r="', number, '">']
    for column, cells, styles in columns:
        written = _column(column, cells, styles, number)
        if written is not None:
            parts.append(written)
    rows = pc.binary_join_element_wise(*parts, "</row>", "")
    offsets = np.frombuffer(rows.buffers()[1], np.int32)
    return bytes(memoryview(rows.buffers()[2])[int(offsets[rows.offset]) : int(offsets[rows.offset + length])])


def _column(column: int, cells: Cells, styles: dict[int, int], number: pa.Array) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = np.unique(cells.kinds)
    filled = [int(kind) for kind in kinds if kind != BLANK]
    if not filled:
        return None
    letters = column_letters(column)
    opening = {kind: f'"{_style(styles.get(kind, 0))}{_OPEN[kind]}' for kind in filled}
    if len(filled) == 1:
        before: object = opening[filled[0]]
        after: object = _CLOSE[filled[0]]
    else:
        index = pa.array(np.searchsorted(filled, cells.kinds).clip(0, len(filled) - 1))
        before = pa.array([opening[kind] for kind in filled], pa.string()).take(index)
        after = pa.array([_CLOSE[kind] for kind in filled], pa.string()).take(index)
    written = pc.binary_join_element_wise(f'<c r="{letters}', number, before, cells.payloads, after, "")
    if len(filled) == len(kinds):
        return written
    return pc.if_else(pa.array(cells.kinds != BLANK), written, "")


def _style(style: int) -> str:
    return f' s="{style}"' if style else ""


def cell_xml(reference: str, style: int, kind: int, payload: str | None) -> bytes:
    """The XML of one cell; nothing for a blank cell without a format."""
    if kind == BLANK:
        return f'<c r="{reference}"{_style(style)}/>'.encode() if style else b""
    return f'<c r="{reference}"{_style(style)}{_OPEN[kind]}{payload}{_CLOSE[kind]}'.encode()


def changed_row(rows: Rows, row: int, cells: slice, new: dict[int, bytes]) -> bytes:
    """The XML of a row some of whose cells have changed; all others keep their bytes.

    Args:
        rows: that the row is one of.
        row: its index there.
        cells: of the row.
        new: 0-based column → XML.
    """
    text = rows.text
    start = int(rows.start[row])
    pieces = {
        int(column): text[int(first) : int(last)]
        for column, first, last in zip(
            rows.cell_column[cells], rows.cell_start[cells], rows.cell_end[cells], strict=True
        )
    }
    pieces.update(new)
    opening = text[start : text.index(b">", start) + 1]
    if opening.endswith(b"/>"):
        opening = opening[:-2].rstrip() + b">"
    body = b"".join(pieces[column] for column in sorted(pieces))
    # The hint which columns a row spans may no longer be true.
    return _SPANS.sub(b"", opening) + body + b"</row>"


def cells_of(rows: Rows, row: int) -> slice:
    """The cells of a row, as a slice of the cells of all."""
    first, last = np.searchsorted(rows.cell_row, [row, row + 1])
    return slice(int(first), int(last))
