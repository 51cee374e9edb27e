"""A1 addresses."""

from __future__ import annotations

import re

from sync_provider.connectors.files.excel_guard import MAX_COLUMNS, MAX_ROWS, malformed

_REFERENCE = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})")


def column_letters(column: int) -> str:
    """Letters of a 0-based column.

    >>> column_letters(0), column_letters(27), column_letters(16_383)
    ('A', 'AB', 'XFD')
    """
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def address(row: int, column: int) -> str:
    """A1 address of a cell.

    Args:
        row: 1-based.
        column: 0-based.

    >>> address(17, 2)
    'C17'
    """
    return f"{column_letters(column)}{row}"


def split_reference(text: str) -> tuple[int, int]:
    """1-based row and 0-based column of an A1 address.

    >>> split_reference("C17")
    (17, 2)

    Raises:
        SyncDataError: it is no address of a cell.
    """
    match = _REFERENCE.fullmatch(text)
    if match is not None:
        column = 0
        for letter in match[1]:
            column = column * 26 + ord(letter) - ord("A") + 1
        if column <= MAX_COLUMNS and int(match[2]) <= MAX_ROWS:
            return int(match[2]), column - 1
    raise malformed(f"a cell has the address {text[:20]!r}")
