"""The head of a CSV file: preamble, column names, and where the wanted columns stand. No I/O beyond the blocks given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from unicodedata import normalize

from sync_provider.connectors.base import ColumnRequest
from sync_provider.connectors.files.csv_dialect import Dialect, Record, split_record
from sync_provider.connectors.files.csv_text import Blocks
from sync_provider.connectors.files.formulas import unescape_text
from sync_provider.core.errors import SyncDataError, Where

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Header:
    """Column names in the file's order.

    Args:
        names: ``column_1``… where the file has none.
        line: 1-based line of the header; 0: there is none.
        preamble: what stands before the header, exactly.
        text: the header exactly as it stands, with its line end.
        row_width: fields of the first record, an empty last one included; tells files that end each row with a delimiter.
    """

    names: tuple[str, ...]
    line: int
    preamble: str
    text: str
    row_width: int

    def accepts(self, record: Record) -> bool:
        """Whether a record has as many fields as the header; an empty one more, after a trailing delimiter, is none."""
        width, found = len(self.names), len(record.fields)
        if found == width + 1:
            return record.fields[-1].is_blank
        return found == width or (found == width - 1 and self.names[-1] == "")

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers of fields that `accepts` may accept."""
        width = len(self.names)
        return (width, width + 1, width - 1) if self.names[-1] == "" else (width, width + 1)


def read_header(blocks: Blocks, dialect: Dialect, *, file: str, unescape: bool) -> Header | None:
    """Read preamble and header off the front of the blocks, which then start at the first record.

    Returns:
        None for a file in which there is nothing but blank lines.

    Raises:
        SyncDataError: the file ends before the header row.
    """
    if not dialect.header_row:
        record = _peek(blocks, dialect)
        if record is None:
            return None
        names = tuple(f"column_{n}" for n in range(1, len(record.fields) + 1))
        return Header(names, 0, "", "", len(record.fields))
    preamble = "".join(_take_line(blocks) for _ in range(dialect.header_row - 1))
    line = blocks.line
    record = _whole_record(blocks, dialect)
    if record is None or (record.is_blank and _peek(blocks, dialect) is None):
        if preamble.strip():
            raise SyncDataError(
                f"the file ends before its header row {dialect.header_row}",
                where=Where(file=file),
                hint="Correct header_row; `airflow-sync inspect FILE` finds it.",
                code="csv_no_header",
            )
        return None
    names = tuple(unescape_text(f.text) if unescape else f.text for f in record.fields)
    text = blocks.buffer.decode()[: record.next]
    blocks.consume(len(text.encode()), _count(text))
    first = _peek(blocks, dialect)
    return Header(names, line, preamble, text, len(first.fields) if first else len(names))


def find_columns(header: Header, wanted: Sequence[ColumnRequest], file: str) -> list[tuple[int, ColumnRequest]]:
    """Where each wanted column stands; optional ones may be left out.

    Raises:
        SyncDataError: a wanted column is missing, or stands there twice.
    """
    found = []
    for column in wanted:
        positions = [n for n, name in enumerate(header.names) if name == column.name]
        if len(positions) > 1:
            raise SyncDataError(
                f"column {column.name!r} stands there {len(positions)} times, "
                f"at positions {' and '.join(str(p + 1) for p in positions)}",
                where=Where(file=file, line=header.line or None, field=column.name),
                hint="Give the columns different names.",
                code="duplicate_column",
            )
        if positions:
            found.append((positions[0], column))
        elif not column.optional:
            raise missing_column(column.name, header.names, Where(file=file, line=header.line or None))
    return found


def missing_column(name: str, names: Sequence[str], where: Where) -> SyncDataError:
    """The error for a column that is not there, with the nearest names that are."""
    same = next((each for each in names if normalize("NFC", each) == normalize("NFC", name)), None)
    if same is not None:
        return SyncDataError(
            f"there is no column {name!r}",
            where=where,
            hint=f"{same!r} only looks the same: its accents are other Unicode characters. Copy it from the header into the mapping.",
            code="missing_column",
        )
    by_folded = {each.strip().casefold(): each for each in names if each.strip()}
    near = [by_folded[n] for n in get_close_matches(name.strip().casefold(), by_folded, n=3)]
    shown = ", ".join(repr(n) for n in near or list(by_folded.values())[:20]) or "none"
    return SyncDataError(
        f"there is no column {name!r}",
        where=where,
        hint=f"{'Nearest names' if near else 'Columns'}: {shown}.",
        code="missing_column",
    )


def _take_line(blocks: Blocks) -> str:
    """Take one physical line; free text before the header may hold any quote."""
    while True:
        match = _LINE_END.search(blocks.buffer)
        whole = match is not None and (match[0] != b"\r" or match.end() < len(blocks.buffer))
        if match is not None and (whole or blocks.final):
            line = blocks.buffer[: match.end()]
            blocks.consume(len(line), 1)
            return line.decode()
        if not blocks.fill():
            line = blocks.buffer
            blocks.consume(len(line), 0)
            return line.decode()


def _whole_record(blocks: Blocks, dialect: Dialect) -> Record | None:
    """The record at the front, not taken off; None at the end of the file."""
    while True:
        if blocks.buffer:
            record = split_record(blocks.buffer.decode(), 0, dialect, line=blocks.line, final=blocks.final)
            if record is not None:
                return record
        if not blocks.fill():
            return None


def _peek(blocks: Blocks, dialect: Dialect) -> Record | None:
    """The first record that is no blank line; nothing is taken off. None: only blank lines follow."""
    while True:
        text = blocks.buffer.decode()
        position = len(text) - len(text.lstrip("\r\n"))
        if position < len(text):
            line = blocks.line + _count(text[:position])
            record = split_record(text, position, dialect, line=line, final=blocks.final)
            if record is not None:
                return record
        if not blocks.fill():
            return None


def _count(text: str) -> int:
    return len(re.findall("\r\n|\r|\n", text))
