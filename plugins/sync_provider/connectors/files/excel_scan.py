"""Rows of a sheet's XML as arrays of cells, a few megabytes at a time.

The markup that spreadsheet programs write is so regular that it can be split with array operations instead of one callback
for each tag. Nothing is assumed, though: every tag must be one of the few known, follow one that it may follow, and have only
the attributes expected; the reference of each cell must agree with its row. Whatever is unusual (prefixes, comments, CDATA,
formatted text in the cell, references left out) raises `IrregularError`, and `excel_normal` rewrites that sheet into the regular form.

Source: ECMA-376 part 1, §18.3.1 (worksheets).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sync_provider.connectors.files.excel_guard import (
    MAX_COLUMNS,
    MAX_ROWS,
    MAX_SMALL_PART_BYTES,
    MAX_UNPARSED_BYTES,
    Part,
    is_plain_head,
    malformed,
    over_limits,
)

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

CHUNK_BYTES = 1 << 20
"""Small enough for the arrays to stay in the processor's cache: 4 MiB takes a quarter more time."""

NUMBER, SHARED, TEXT, INLINE, BOOLEAN, ERROR, DATE = range(7)
"""Kinds of cells: the attribute ``t`` n (or none), s, str, inlineStr, b, e, d."""

_ROW, _C, _V, _F, _IS, _T = 1, 3, 5, 7, 9, 11
"""Opening tags; each one's closing tag is the next number. 0 is any other tag."""
_FOLLOWS = {
    _ROW: (_C, _ROW + 1),
    _ROW + 1: (_ROW,),
    _C: (_V, _F, _IS, _C + 1),
    _C + 1: (_C, _ROW + 1),
    _V: (_V + 1,),
    _V + 1: (_C + 1,),
    _F: (_F + 1,),
    _F + 1: (_V, _C + 1),
    _IS: (_T, _IS + 1),
    _IS + 1: (_C + 1,),
    _T: (_T + 1,),
    _T + 1: (_IS + 1,),
}
_OTHER_ATTRIBUTES = re.compile(rb'(?: (?:cm|vm|ph)="[0-9]+")+ ?')
_SPACES = np.zeros(256, bool)
_SPACES[[9, 10, 13, 32]] = True


class IrregularError(Exception):
    """The sheet's markup is not of the regular form; the rows up to `after_row` have been given."""

    after_row = 0


@dataclass(slots=True)
class Rows:
    """Some consecutive rows of a sheet, and their cells in order.

    Args:
        text: the XML of these rows and nothing else.
        number: of each row, 1-based.
        start: of each row's markup in `text`.
        end: of each row's markup.
        cell_row: of each cell, the index of its row here.
        cell_column: of each cell, 0-based.
        cell_kind: of each cell.
        cell_style: of each cell, its index into the workbook's cell formats.
        cell_start: of each cell's markup.
        cell_end: of each cell's markup.
        value_start: of each cell's value, as written in XML.
        value_end: of each cell's value; equal to its start where it is empty.
        has_value: whether the cell has a value at all, which may be empty.
        has_formula: whether the cell has a formula.
    """

    text: bytes
    number: Ints
    start: Ints
    end: Ints
    cell_row: Ints
    cell_column: Ints
    cell_kind: Ints
    cell_style: Ints
    cell_start: Ints
    cell_end: Ints
    value_start: Ints
    value_end: Ints
    has_value: Bools
    has_formula: Bools


@dataclass(slots=True)
class SheetMarkup:
    """A sheet's XML around its rows; `tail` is complete only after all rows have been taken."""

    head: bytes = b""
    tail: bytes = b""


def scan_rows(part: Part, markup: SheetMarkup | None = None) -> Iterator[Rows]:
    """The rows of a sheet, in order.

    Args:
        part: the sheet's.
        markup: filled with what stands before and after the rows.

    Raises:
        IrregularError: the markup is not of the regular form.
        SyncDataError: the part is damaged, or its rows are out of order or beyond a sheet's size.
    """
    last_row = 0
    try:
        for text in _row_texts(part, markup):
            rows = scan_text(text, last_row)
            last_row = int(rows.number[-1])
            yield rows
    except IrregularError as irregular:
        irregular.after_row = last_row
        raise


def _row_texts(part: Part, markup: SheetMarkup | None) -> Iterator[bytes]:
    """Pieces of XML that hold whole rows; the head, checked, and the tail go to `markup`."""
    pending = _split_head(part, markup)
    if pending is None:
        return
    while True:
        cut = pending.rfind(b"</row>")
        end = pending.find(b"</sheetData>", cut + 1 if cut > 0 else 0)
        if end >= 0:
            # A closing tag in the middle of a comment would be followed by rows: look from the front, too.
            end = pending.find(b"</sheetData>")
            if rows := pending[:end].strip():
                yield rows
            _keep_tail(part, markup, pending[end:])
            return
        if cut >= 0:
            yield pending[: cut + 6]
            pending = pending[cut + 6 :]
        elif len(pending) > MAX_UNPARSED_BYTES:
            raise over_limits(f"part {part.name} has a row of more than {MAX_UNPARSED_BYTES} bytes")
        more = part.read(CHUNK_BYTES)
        if not more:
            raise malformed(
                f"the workbook is damaged: part {part.name} ends in the middle of its rows", code="excel_damaged"
            )
        pending += more


def _split_head(part: Part, markup: SheetMarkup | None) -> bytes | None:
    """Read up to the first row, and give what was read beyond it; None if the sheet has no rows."""
    head = b""
    while (at := head.find(b"<sheetData")) < 0 or head.find(b">", at) < 0:
        more = part.read(CHUNK_BYTES)
        if not more or len(head) > MAX_UNPARSED_BYTES:
            raise IrregularError
        head += more
    if not is_plain_head(head[:at]):
        raise IrregularError
    stop = head.find(b">", at) + 1
    if head[stop - 2 : stop] == b"/>":
        if markup is not None:
            markup.head = head[:at] + b"<sheetData>"
        _keep_tail(part, markup, b"</sheetData>" + head[stop:])
        return None
    if markup is not None:
        markup.head = head[:stop]
    return head[stop:]


def _keep_tail(part: Part, markup: SheetMarkup | None, tail: bytes) -> None:
    """Read the part to its end, where its checksum is proved right."""
    for chunk in part:
        if markup is not None:
            tail += chunk
            if len(tail) > MAX_SMALL_PART_BYTES:
                raise over_limits(f"part {part.name} holds more than {MAX_SMALL_PART_BYTES} bytes after its rows")
    if markup is not None:
        markup.tail = tail


def scan_text(text: bytes, last_row: int = 0) -> Rows:
    """Split the XML of whole rows into cells.

    Args:
        text: of these rows and nothing else.
        last_row: number of the row before these, 0 if there is none.

    Raises:
        IrregularError: the markup is not of the regular form.
        SyncDataError: rows or cells are out of order or beyond a sheet's size.
    """
    # Looking a few bytes ahead of a tag must not run over the end.
    buf = np.frombuffer(text + b"\0" * 32, np.uint8)
    # < and > differ in one bit; in regular markup they take turns.
    marks = np.flatnonzero((buf & 0xFD) == ord("<"))
    opens, closes = np.ascontiguousarray(marks[0::2]), np.ascontiguousarray(marks[1::2])
    if len(marks) % 2 or not len(marks) or not ((_at(buf, opens) == ord("<")) & (_at(buf, closes) == ord(">"))).all():
        raise IrregularError
    code, leaves = _tags(buf, opens, closes)
    _check_gaps(buf, opens, closes, leaves)

    is_row = code == _ROW
    row_tag = np.flatnonzero(is_row)
    digits_start, digits_length, number = _row_numbers(buf, _at(opens, row_tag))
    if (np.diff(number, prepend=last_row) <= 0).any():
        raise malformed("the rows of a sheet are out of order", code="excel_malformed")
    if number[-1] > MAX_ROWS:
        raise malformed(f"a sheet claims row {number[-1]}; Excel's last row is {MAX_ROWS}", code="excel_malformed")
    # Every row and every cell leaves exactly one closing tag behind, its own if it closes itself.
    row_close, cell_close = np.flatnonzero(leaves == _ROW + 1), np.flatnonzero(leaves == _C + 1)

    cell_tag = np.flatnonzero(code == _C)
    start, end = _at(opens, cell_tag), _at(closes, cell_tag)
    cell_row = _at(np.cumsum(is_row), cell_tag) - 1
    column, after = _references(buf, start, _at(digits_start, cell_row), _at(digits_length, cell_row))
    if ((np.diff(column) <= 0) & (np.diff(cell_row) == 0)).any():
        raise malformed("the cells of a row are out of order", code="excel_malformed")
    style, kind = _attributes(text, buf, after, end)
    place, has_formula, has_value = _contents(code, leaves, cell_tag)
    # A value that closes itself has no content. Without content, both stand where the cell does: `slices` wants them ascending.
    has_content = has_value & (_at(leaves, place) == _at(code, place))
    value_start = np.where(has_content, _at(closes, place) + 1, start)
    value_end = np.where(has_content, _at(opens, place + 1), start)
    return Rows(
        text=text,
        number=number,
        start=_at(opens, row_tag),
        end=_at(closes, row_close) + 1,
        cell_row=cell_row,
        cell_column=column,
        cell_kind=kind,
        cell_style=style,
        cell_start=start,
        cell_end=_at(closes, cell_close) + 1,
        value_start=value_start,
        value_end=value_end,
        has_value=has_value,
        has_formula=has_formula,
    )


def _at(array: npt.NDArray[Any], index: Ints) -> npt.NDArray[Any]:
    """The elements at these places, several times faster than ``array[index]``; a place beyond the end is the last one."""
    return array.take(index, mode="clip")


def _contents(code: Bytes, leaves: Bytes, cell_tag: Ints) -> tuple[Ints, Bools, Bools]:
    """For each cell: the tag that holds its value if it has one, whether it has a formula, whether it has a value."""
    empty = _at(leaves, cell_tag) != _C
    place = cell_tag + ~empty
    first = _at(code, place)
    has_formula = ~empty & (first == _F)
    if has_formula.any():
        place = place + has_formula * (1 + (_at(leaves, place) == _F))
        first = _at(code, place)
    inline = ~empty & (first == _IS)
    if inline.any():
        place = place + (inline & (_at(leaves, place) == _IS))
        first = _at(code, place)
    return place, has_formula, ~empty & ((first == _V) | (first == _T))


def _tag_table() -> Bytes:
    """Two bytes after ``<`` → tag code."""
    table = np.zeros(1 << 16, np.uint8)
    for name, tag in (("c", _C), ("v", _V), ("f", _F), ("t", _T)):
        for follower in " >/":
            table[ord(name) << 8 | ord(follower)] = tag
        table[ord("/") << 8 | ord(name)] = tag + 1
    for name, tag in (("ro", _ROW), ("is", _IS)):
        table[ord(name[0]) << 8 | ord(name[1])] = tag
        table[ord("/") << 8 | ord(name[0])] = tag + 1
    return table


_TAGS = _tag_table()
_ALLOWED = np.zeros(256, bool)
for _tag, _followers in _FOLLOWS.items():
    _ALLOWED[[_tag << 4 | _follower for _follower in _followers]] = True
_CLOSING_LENGTH = np.zeros(16, np.int64)
_CLOSING_LENGTH[[2, 4, 6, 8, 10, 12]] = [5, 3, 3, 3, 4, 3]
_SELF_CLOSING = np.arange(16, dtype=np.uint8)
_SELF_CLOSING[1:13:2] += 1


def _tags(buf: Bytes, opens: Ints, closes: Ints) -> tuple[Bytes, Bytes]:
    """Each tag's code, and the code it leaves behind: that of the closing tag where it closes itself."""
    code = _at(_TAGS, (_at(buf[1:], opens).astype(np.uint16) << 8) | _at(buf[2:], opens))
    leaves = np.where(_at(buf, closes - 1) == ord("/"), _at(_SELF_CLOSING, code), code)
    allowed = _at(_ALLOWED, (leaves[:-1] << 4) | code[1:]).all()
    if not (code.all() and allowed and code[0] == _ROW and leaves[-1] == _ROW + 1):
        raise IrregularError
    expected = _at(_CLOSING_LENGTH, code)
    if ((expected > 0) & (closes - opens != expected)).any():
        raise IrregularError
    long = np.flatnonzero((code == _ROW) | (code == _IS))
    third, after = _at(buf[3:], _at(opens, long)), _at(buf[4:], _at(opens, long))
    is_row = _at(code, long) == _ROW
    if ((third != np.where(is_row, ord("w"), ord(">"))) | (is_row & (after != ord(" ")))).any():
        raise IrregularError
    return code, leaves


def _check_gaps(buf: Bytes, opens: Ints, closes: Ints, leaves: Bytes) -> None:
    """Between tags there is only white space, except for the content of values, formulas and texts."""
    is_text = (leaves == _V) | (leaves == _F) | (leaves == _T)
    gap = (opens[1:] - closes[:-1] > 1) & ~is_text[:-1]
    if not gap.any():
        return
    filled = np.cumsum(~_SPACES[buf])
    at = np.flatnonzero(gap)
    if (filled[opens[at + 1] - 1] != filled[closes[at]]).any():
        raise IrregularError


def _row_numbers(buf: Bytes, start: Ints) -> tuple[Ints, Ints, Ints]:
    """Where each row's number stands, how many digits it has, and the number; ``r`` must be the first attribute."""
    for offset, char in ((5, "r"), (6, "="), (7, '"')):
        if (_at(buf, start + offset) != ord(char)).any():
            raise IrregularError
    number, length = _digits(buf, start + 8, 7)
    if ((length == 0) | (_at(buf, start + 8) == ord("0"))).any():
        raise IrregularError
    return start + 8, length, number


def _digits(buf: Bytes, at: Ints, most: int) -> tuple[Ints, Ints]:
    """Numbers written at these places, up to a quotation mark, and how many digits they have."""
    number, length = np.zeros(len(at), np.int64), np.zeros(len(at), np.int64)
    going = np.ones(len(at), bool)
    for offset in range(most + 1):
        char = _at(buf, at + offset)
        going &= char != ord('"')
        if not going.any():
            return number, length
        digit = char.astype(np.int64) - ord("0")
        if (going & ((digit < 0) | (digit > 9))).any():
            raise IrregularError
        number = np.where(going, number * 10 + digit, number)
        length += going
    raise IrregularError


def _references(buf: Bytes, start: Ints, digits_start: Ints, digits_length: Ints) -> tuple[Ints, Ints]:
    """Each cell's column, and where its other attributes begin; ``r`` comes first and names the cell's own row."""
    if not len(start):
        return np.zeros(0, np.int64), start
    for offset, char in ((2, " "), (3, "r"), (4, "="), (5, '"')):
        if (_at(buf, start + offset) != ord(char)).any():
            raise IrregularError
    at = start + 6
    column, letters = np.zeros(len(start), np.int64), np.zeros(len(start), np.int64)
    going = np.ones(len(start), bool)
    for _ in range(4):
        letter = _at(buf, at + letters).astype(np.int64)
        going &= (letter >= ord("A")) & (letter <= ord("Z"))
        if not going.any():
            break
        column = np.where(going, column * 26 + letter - ord("A") + 1, column)
        letters += going
    at = at + letters
    for offset in range(int(digits_length.max())):
        differs = _at(buf, at + offset) != _at(buf, digits_start + offset)
        if (differs & (offset < digits_length)).any():
            raise IrregularError
    at = at + digits_length
    if ((letters == 0) | (_at(buf, at) != ord('"'))).any():
        raise IrregularError
    if (column > MAX_COLUMNS).any():
        raise malformed("a sheet claims a column beyond XFD, Excel's last", code="excel_malformed")
    return column - 1, at + 1


_KIND_LENGTH = {NUMBER: 1, SHARED: 1, BOOLEAN: 1, ERROR: 1, DATE: 1, TEXT: 3, INLINE: 9}
_KINDS = np.full(1 << 16, -1, np.int64)
for _written, _kind in (("n", NUMBER), ("s", SHARED), ("b", BOOLEAN), ("e", ERROR), ("d", DATE)):
    _KINDS[ord(_written) << 8 | ord('"')] = _kind
_KINDS[ord("s") << 8 | ord("t")] = TEXT
_KINDS[ord("i") << 8 | ord("n")] = INLINE
_KIND_LENGTHS = np.array([_KIND_LENGTH[kind] for kind in range(7)])


def _attributes(text: bytes, buf: Bytes, at: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Each cell's style and kind, from the attributes that follow its reference."""
    style, kind = np.zeros(len(at), np.int64), np.zeros(len(at), np.int64)
    at = at.copy()
    for _ in range(2):
        more = np.flatnonzero((_at(buf, at) == ord(" ")) & (_at(buf, at + 1) != ord("/")))
        if not len(more):
            break
        place = _at(at, more)
        name = _at(buf, place + 1)
        assigned = (_at(buf, place + 2) == ord("=")) & (_at(buf, place + 3) == ord('"'))
        styled, typed = more[(name == ord("s")) & assigned], more[(name == ord("t")) & assigned]
        number, length = _digits(buf, at[styled] + 4, 6)
        style[styled] = number
        at[styled] += 5 + length
        place = at[typed] + 4
        found = _KINDS[(_at(buf, place).astype(np.int64) << 8) | _at(buf, place + 1)]
        if (found < 0).any() or (_at(buf, place + _KIND_LENGTHS[found]) != ord('"')).any():
            raise IrregularError
        kind[typed] = found
        at[typed] += 5 + _KIND_LENGTHS[found]
    closed = (
        (_at(buf, at) == ord(">"))
        | (_at(buf, at) == ord("/"))
        | ((_at(buf, at) == ord(" ")) & (_at(buf, at + 1) == ord("/")))
    )
    for index in np.flatnonzero(~closed):
        if not _OTHER_ATTRIBUTES.fullmatch(text[at[index] : end[index]].rstrip(b"/")):
            raise IrregularError
    return style, kind
