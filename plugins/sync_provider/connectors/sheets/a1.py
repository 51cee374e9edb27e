"""A1 notation: titles, columns, ranges. Columns and rows are 0-based in code, as in the API's grid ranges. No I/O."""

from __future__ import annotations

import re

from sync_provider.connectors.files.excel_address import address

_LAST_CELL = re.compile(r"[A-Z]+(\d+)$")
_FIRST_CELL = re.compile(r"(?:^|!)[A-Z]+(\d+)(?::|$)")


def quoted(title: str) -> str:
    """A title as it may always stand before an exclamation mark.

    >>> quoted("It's")
    "'It''s'"
    """
    return "'" + title.replace("'", "''") + "'"


def cell(row: int, column: int) -> str:
    """Address of a cell, without its sheet."""
    return address(row + 1, column)


def block(title: str, first_row: int, end_row: int, first_column: int, end_column: int) -> str:
    """A range; the ends are exclusive.

    >>> block("A b", 1, 3, 0, 2)
    "'A b'!A2:B3"
    """
    return f"{quoted(title)}!{cell(first_row, first_column)}:{cell(end_row - 1, end_column - 1)}"


def end_row_of(answered: str) -> int | None:
    """The (exclusive) end row of a range as the API answers it; None where it names no row."""
    match = _LAST_CELL.search(answered)
    return int(match[1]) if match else None


def first_row_of(answered: str) -> int:
    """The first row (0-based) of a range as the API answers it.

    >>> first_row_of("'A!1'!B7:C9")
    6
    """
    match = _FIRST_CELL.search(answered.rpartition("!")[2])
    if match is None:
        raise ValueError(f"no range: {answered}")
    return int(match[1]) - 1
