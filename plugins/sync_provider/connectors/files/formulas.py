"""Text that a spreadsheet would run as a formula, made inert and undone again. No I/O.

A text that starts with ``=``, ``+``, ``-``, ``@``, tab or carriage return gets a leading ``'``; so does a text in which such a
character follows one or more ``'``. Taking one ``'`` off again is therefore exact for every text, whoever wrote it.

Source: OWASP, "CSV Injection".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_TRIGGERS = r"[=+\-@\t\r]"
_RUNS = re.compile(f"'*{_TRIGGERS}")
_ESCAPED = re.compile(f"'+{_TRIGGERS}")


def escape_text(text: str) -> str:
    """The text as it may stand in a cell.

    >>> escape_text("=1+1"), escape_text("'=1"), escape_text("'tis")
    ("'=1+1", "''=1", "'tis")
    """
    return f"'{text}" if _RUNS.match(text) else text


def unescape_text(text: str) -> str:
    """The text that `escape_text` was given."""
    return text[1:] if _ESCAPED.match(text) else text


def escape(array: pa.StringArray) -> pa.StringArray:
    """`escape_text` on every value; nulls stay."""
    import pyarrow.compute as pc

    return pc.replace_substring_regex(array, rf"\A('*{_TRIGGERS})", r"'\1")


def unescape(array: pa.StringArray) -> pa.StringArray:
    """`unescape_text` on every value; nulls stay."""
    import pyarrow.compute as pc

    if "'" not in first_bytes(array):
        return array
    return pc.replace_substring_regex(array, rf"\A'('*{_TRIGGERS})", r"\1")


def first_bytes(array: pa.StringArray) -> str:
    """First byte of each value that has one, as Latin-1 text: a cheap way to see that nothing is to be done."""
    import numpy as np

    if len(array) == 0 or array.buffers()[2] is None:
        return ""
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2], dtype=np.uint8)
    return data[offsets[:-1][offsets[:-1] < offsets[1:]]].tobytes().decode("latin-1")
