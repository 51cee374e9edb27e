"""Shared strings, and texts as XML writes them.

The table of shared strings is the one part of a workbook that is kept in memory while sheets are read: cells refer to it by
number, in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sync_provider.connectors.files.excel_guard import (
    CHUNK_BYTES,
    MAX_CELL_CHARACTERS,
    MAX_UNPARSED_BYTES,
    Part,
    is_plain_head,
    malformed,
    over_limits,
)
from sync_provider.connectors.files.excel_scan import Ints, IrregularError
from sync_provider.connectors.files.excel_workbook import Workbook

if TYPE_CHECKING:
    import pyarrow as pa

_ENTITY = re.compile(r"&(?:#x([0-9A-Fa-f]{1,6})|#([0-9]{1,7})|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_ESCAPED = re.compile(r"(?:_x[0-9A-Fa-f]{4}_)+")


def shared_strings(book: Workbook) -> pa.Array:
    """The workbook's shared strings, in order, as Excel would show them.

    Raises:
        SyncDataError: the part is damaged, or one text is longer than a cell can be.
    """
    import pyarrow as pa

    if book.strings_part is None:
        return pa.array([], pa.string())
    try:
        with book.package.open(book.strings_part) as part:
            chunks = [_parse(text) for text in _regular(part)]
    except IrregularError:
        from sync_provider.connectors.files.excel_normal import normal_strings

        with book.package.open(book.strings_part) as part:
            chunks = [_parse(text) for text in normal_strings(part)]
    wide = sum(chunk.nbytes for chunk in chunks) >= 1 << 31
    kind = pa.large_string() if wide else pa.string()
    return pa.concat_arrays([chunk.cast(kind) for chunk in chunks] or [pa.array([], kind)])


def _regular(part: Part) -> Iterator[bytes]:
    """Pieces that hold whole ``si`` elements."""
    pending, began = b"", False
    while more := part.read(CHUNK_BYTES):
        pending += more
        if not began:
            if (at := pending.find(b"<si")) < 0:
                continue
            if not is_plain_head(pending[:at]):
                raise IrregularError
            pending, began = pending[at:], True
        cut = pending.rfind(b"</si>") + 5
        if cut >= 5:
            yield pending[:cut]
            pending = pending[cut:]
        elif len(pending) > MAX_UNPARSED_BYTES:
            raise over_limits(f"part {part.name} holds one text of more than {MAX_UNPARSED_BYTES} bytes")
    if not began or pending.strip() != b"</sst>":
        raise IrregularError


def _parse(text: bytes) -> pa.Array:
    """Texts of whole ``<si><t>…</t></si>`` elements."""
    buf = np.frombuffer(text + b"\0" * 8, np.uint8)
    opens, closes = np.flatnonzero(buf == ord("<")), np.flatnonzero(buf == ord(">"))
    if len(opens) % 4 or len(opens) != len(closes):
        raise IrregularError
    # Each text is four tags with nothing between them but the text itself.
    length = closes - opens
    item, inner, inner_end, item_end = (opens[n::4] for n in range(4))
    plain = length[1::4] == 2
    regular = (
        (length[0::4] == 3).all()
        and (plain | (length[1::4] == 23)).all()
        and (length[2::4] == 3).all()
        and (length[3::4] == 4).all()
        and (buf[inner + 1] == ord("t")).all()
        and (plain | (buf[inner + 2] == ord(" "))).all()
        and (buf[inner_end + 1] == ord("/")).all()
        and (buf[inner_end + 2] == ord("t")).all()
        and all((buf[item + at] == ord(char)).all() for at, char in ((1, "s"), (2, "i")))
        and all((buf[item_end + at] == ord(char)).all() for at, char in ((1, "/"), (2, "s"), (3, "i")))
        and (inner == closes[0::4] + 1).all()
        and (item_end == closes[2::4] + 1).all()
        and not text[: opens[0]].strip()
        and (item[1:] == closes[3:-1:4] + 1).all()
    )
    if not regular:
        raise IrregularError
    return unescape(to_text(slices(text, closes[1::4] + 1, inner_end)))


def slices(text: bytes, start: Ints, end: Ints) -> pa.Array:
    """Pieces of some bytes, in ascending order, copied out as an Arrow binary array."""
    import pyarrow as pa

    # A binary array whose odd elements are the gaps between the pieces; taking the even ones copies just these.
    offsets = np.empty(2 * len(start), np.int32)
    offsets[0::2], offsets[1::2] = start, end
    if not len(offsets):
        return pa.array([], pa.binary())
    both = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(text)])
    return both.take(pa.array(np.arange(0, len(offsets), 2)))


def to_text(values: pa.Array) -> pa.Array:
    """Bytes as text.

    Raises:
        SyncDataError: they are no UTF-8.
    """
    import pyarrow as pa

    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid as exc:
        raise _not_utf8() from exc


def _not_utf8() -> Exception:
    from sync_provider.core.errors import SyncDataError

    return SyncDataError(
        "the workbook is damaged: a text is no UTF-8",
        hint="Open it in Excel or LibreOffice, repair and save it.",
        code="excel_damaged",
    )


def unescape(texts: pa.Array) -> pa.Array:
    """Undo XML's escapes (``&amp;``), line ends, and Excel's own for control characters (``_x000D_``).

    Raises:
        SyncDataError: an entity is undefined, or a text is longer than a cell can be.
    """
    import pyarrow.compute as pc

    if len(texts) and (longest := pc.max(pc.binary_length(texts)).as_py() or 0) > MAX_CELL_CHARACTERS:
        _check_length(texts, longest)
    data = _data(texts)
    if b"&" not in data and b"\r" not in data and b"_x" not in data:
        return texts
    marked = pc.match_substring_regex(texts, "[&\r]|_x[0-9A-Fa-f]{4}_")
    if not pc.any(marked).as_py():
        return texts
    marked = marked.fill_null(False)
    return pc.replace_with_mask(texts, marked, _unescape_marked(texts.filter(marked)))


def _data(texts: pa.Array) -> bytes:
    """All texts end to end: one look at them tells whether anything is to be done."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return b""
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bytes(memoryview(data)[int(ends[0]) : int(ends[-1])])


def _unescape_marked(texts: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    named = pc.sum(pc.count_substring_regex(texts, "&(?:lt|gt|quot|apos|amp);")).as_py()
    if named < len(texts) or pc.any(pc.match_substring_regex(texts, "&#|[\r]|_x[0-9A-Fa-f]{4}_")).as_py():
        return pa.array([unescape_one(text) for text in texts.to_pylist()], texts.type)
    if named != pc.sum(pc.count_substring(texts, "&")).as_py():
        raise malformed("the workbook is damaged: a text refers to an undefined entity", code="excel_hostile")
    for name in ("lt", "gt", "quot", "apos", "amp"):  # & last: &amp;lt; means &lt;
        texts = pc.replace_substring(texts, f"&{name};", _NAMED[name])
    return texts


def _check_length(texts: pa.Array, longest: int) -> None:
    import pyarrow.compute as pc

    # Escapes take up to 8 characters for one, and a character up to 4 bytes.
    if longest > 32 * MAX_CELL_CHARACTERS or pc.max(pc.utf8_length(texts)).as_py() > 8 * MAX_CELL_CHARACTERS:
        raise over_limits(f"a text has {longest} bytes; an Excel cell holds at most {MAX_CELL_CHARACTERS} characters")


def unescape_one(text: str) -> str:
    r"""One text as Excel shows it.

    >>> unescape_one("a &lt; b_x000D__x005F_x000D_")
    'a < b\r_x000D_'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "&" in text:
        if text.count("&") != len(_ENTITY.findall(text)):
            raise malformed("the workbook is damaged: a text refers to an undefined entity", code="excel_hostile")
        text = _ENTITY.sub(_entity, text)
    return _ESCAPED.sub(_control, text) if "_x" in text else text


def _entity(match: re.Match[str]) -> str:
    if match[3]:
        return _NAMED[match[3]]
    number = int(match[1], 16) if match[1] else int(match[2])
    if number == 0 or 0xD800 <= number <= 0xDFFF or number > 0x10FFFF:
        raise malformed("the workbook is damaged: a text holds an impossible character", code="excel_damaged")
    return chr(number)


def _control(match: re.Match[str]) -> str:
    # Two escapes in a row may be the two halves of one character outside Unicode's first plane.
    units = b"".join(int(code[:4], 16).to_bytes(2, "little") for code in match[0].split("_x")[1:])
    try:
        return units.decode("utf-16-le")
    except UnicodeDecodeError:
        return match[0]
