"""Reads one CSV file as Arrow columns of text, with the line on which each record starts, in bounded memory.

Two ways, one result. Where quoting is regular (`csv_scan`), pyarrow's parser is exact and splits whole blocks. Elsewhere, and for
blocks with NUL characters, very long records or delimiters outside ASCII, `csv_dialect.split_record` takes record by record.
A property test holds both equal to Python's strict `csv` reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.files.csv_dialect import BOM, MAX_FIELD_BYTES, Dialect, Record, count_lines, split_record
from sync_provider.connectors.files.csv_header import Header, read_header
from sync_provider.connectors.files.csv_scan import Scan, scan
from sync_provider.connectors.files.csv_text import BLOCK_BYTES, Blocks, ByteSource
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class TextColumns:
    """Some records: the wanted columns as text, null where a field is empty and not quoted.

    Args:
        columns: one string array for each wanted position, in that order.
        lines: int64 array, 1-based line of the file on which each record starts.
        rejections: records that could not be taken.
        block: UTF-8 of the piece of the file that these records, blank lines and rejections stand in; pieces follow each
            other without a gap.
        starts: offset in `block` of each record.
        nexts: offset just after each record's line end.
    """

    columns: list[pa.Array]
    lines: pa.Array
    rejections: list[Rejection]
    block: bytes
    starts: Any
    nexts: Any


class CsvReader:
    """One CSV file, from its header on.

    Args:
        source: the file.
        dialect: how it is written.
        unescape: whether column names have formula escapes to be undone.
        block_bytes: how much to read at a time, > 0.

    Raises:
        SyncDataError: the file is not as declared (encoding, quotes) as far as its header.
    """

    def __init__(
        self, source: ByteSource, dialect: Dialect, *, unescape: bool = True, block_bytes: int = BLOCK_BYTES
    ) -> None:
        self.file = source.name
        self._dialect = dialect
        self.blocks = Blocks(source, dialect, block_bytes)
        try:
            self.header = read_header(self.blocks, dialect, file=self.file, unescape=unescape)
        except SyncDataError as error:
            raise error.at(file=self.file) from error.__cause__

    def records(self, positions: Sequence[int]) -> Iterator[TextColumns]:
        """The records after the header, as columns.

        Args:
            positions: 0-based positions of the wanted columns; may be empty, to count.

        Raises:
            SyncDataError: with the line: a quote never closed, text after a closing quote, an undecodable byte.
        """
        if self.header is None:
            return
        try:
            yield from self._records(self.header, positions)
        except SyncDataError as error:
            raise error.at(file=self.file) from error.__cause__

    def _records(self, header: Header, positions: Sequence[int]) -> Iterator[TextColumns]:
        blocks = self.blocks
        while blocks.buffer or blocks.fill():
            slow = not self._dialect.is_bytewise
            if not slow:
                found = scan(blocks.buffer, self._dialect, final=blocks.final)
                if found.size_bytes:
                    yield self._regular(header, found, positions)
                    blocks.consume(found.size_bytes, found.size_lines)
                slow = not found.regular
            if slow and blocks.buffer:
                taken = _OneByOne(self.file, header, self._dialect, positions)
                size, lines = taken.take(blocks.buffer, blocks.line, final=blocks.final)
                yield taken.columns()
                blocks.consume(size, lines)
            if not blocks.fill():
                return

    def _regular(self, header: Header, found: Scan, positions: Sequence[int]) -> TextColumns:
        """The scanned records by pyarrow; by the other way if anything about them is unusual."""
        block = self.blocks.buffer[: found.size_bytes]
        # pyarrow takes a mark at the front of what it is given for a byte order mark.
        usual = b"\x00" not in block and not block.startswith(BOM.encode())
        if usual and int((found.ends - found.starts).max()) <= MAX_FIELD_BYTES:
            parsed = _parse_block(block, found, header, self._dialect, positions)
            if parsed is not None:
                return self._placed(block, parsed, found, header)
        taken = _OneByOne(self.file, header, self._dialect, positions)
        taken.take(block, self.blocks.line, final=True)
        return taken.columns()

    def _placed(self, block: bytes, parsed: _Parsed, found: Scan, header: Header) -> TextColumns:
        import numpy as np
        import pyarrow as pa

        lines = found.lines[parsed.rows] + self.blocks.line
        rejections = []
        for row, text in parsed.ragged:
            line = self.blocks.line + int(found.lines[row])
            record = split_record(text, 0, self._dialect, line=line, final=True)
            assert record is not None  # final
            rejections.append(ragged(self.file, line, header, record))
        nexts = np.append(found.starts[1:], found.size_bytes)
        return TextColumns(
            parsed.columns,
            pa.array(lines.astype(np.int64)),
            rejections,
            block,
            found.starts[parsed.rows],
            nexts[parsed.rows],
        )


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A block by pyarrow: columns, numbers of the scanned records they hold, and (number, text) of ragged ones."""

    columns: list[pa.Array]
    rows: Any
    ragged: list[tuple[int, str]]


def _parse_block(
    block: bytes, found: Scan, header: Header, dialect: Dialect, positions: Sequence[int]
) -> _Parsed | None:
    """Parse regular records with pyarrow; None where it does not see the very records that were scanned."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    single = header.row_width == 1
    rows = np.arange(len(found.starts)) if single else np.flatnonzero(found.ends > found.starts)
    bad: list[Any] = []

    def note(row: Any) -> str:
        bad.append(row)
        return "skip"

    # A field after a trailing delimiter is checked to be empty, hence one position more.
    wanted = [n for n in positions if n < header.row_width]
    extra = [header.row_width - 1] if header.row_width > len(header.names) else []
    names = [str(n) for n in range(header.row_width)]
    # Without a last line end pyarrow takes an empty last field for a quoted one, if the one before it is quoted.
    whole = block if block.endswith((b"\n", b"\r")) else block + b"\n"
    table = csv.read_csv(
        pa.BufferReader(whole),
        csv.ReadOptions(column_names=names, use_threads=False, block_size=len(whole) + 1),
        csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            double_quote=dialect.quote is not None,
            newlines_in_values=True,
            ignore_empty_lines=not single,
            invalid_row_handler=note,
        ),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=[names[n] for n in dict.fromkeys([*wanted, *extra])] or names[:1],
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,  # decoded already
        ),
    )
    numbers = [row.number - 1 for row in bad]
    if len(rows) != table.num_rows + len(bad) or any(row.actual_columns in header.widths for row in bad):
        return None
    if any(
        not block.startswith(row.text.encode(), int(found.starts[rows[n]])) for n, row in zip(numbers, bad, strict=True)
    ):
        return None
    if extra and table.column(names[extra[0]]).null_count != table.num_rows:
        return None
    columns = [
        _one_chunk(table.column(names[n])) if n < header.row_width else pa.nulls(table.num_rows, pa.string())
        for n in positions
    ]
    return _Parsed(
        columns, np.delete(rows, numbers), [(int(rows[n]), row.text) for n, row in zip(numbers, bad, strict=True)]
    )


def _one_chunk(column: Any) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


class _OneByOne:
    """Takes records one by one, with every check on each."""

    def __init__(self, file: str, header: Header, dialect: Dialect, positions: Sequence[int]) -> None:
        self._file, self._header, self._dialect, self._positions = file, header, dialect, positions
        self._values: list[list[str | None]] = [[] for _ in positions]
        self._lines: list[int] = []
        self._spans: list[tuple[int, int]] = []
        self._block = b""
        self._rejections: list[Rejection] = []

    def take(self, block: bytes, line: int, *, final: bool) -> tuple[int, int]:
        """Take every complete record; returns the bytes and the lines taken."""
        text, position, first, offset = block.decode(), 0, line, 0
        while position < len(text):
            record = split_record(text, position, self._dialect, line=line, final=final)
            if record is None:
                break
            raw = text[position : record.next]
            size = len(raw) if raw.isascii() else len(raw.encode())
            if not record.is_blank or self._header.row_width == 1:
                self._add(record, line, (offset, offset + size))
            line += count_lines(raw)
            position, offset = record.next, offset + size
        self._block = block[:offset]
        return offset, line - first

    def columns(self) -> TextColumns:
        import numpy as np
        import pyarrow as pa

        arrays = [pa.array(values, pa.string()) for values in self._values]
        spans = np.array(self._spans, dtype=np.int64).reshape(-1, 2)
        lines = pa.array(self._lines, pa.int64())
        return TextColumns(arrays, lines, self._rejections, self._block, spans[:, 0], spans[:, 1])

    def _add(self, record: Record, line: int, span: tuple[int, int]) -> None:
        rejection = self._refusal(record, line)
        if rejection is not None:
            self._rejections.append(rejection)
            return
        for values, position in zip(self._values, self._positions, strict=True):
            taken = record.fields[position] if position < len(record.fields) else None
            values.append(None if taken is None or taken.is_blank else taken.text)
        self._lines.append(line)
        self._spans.append(span)

    def _refusal(self, record: Record, line: int) -> Rejection | None:
        if not self._header.accepts(record):
            return ragged(self._file, line, self._header, record)
        for position, each in enumerate(record.fields):
            name = self._header.names[position] if position < len(self._header.names) else None
            where = Where(file=self._file, line=line, field=name)
            if len(each.text) * 4 > MAX_FIELD_BYTES and len(each.text.encode()) > MAX_FIELD_BYTES:
                message = f"the field is longer than {MAX_FIELD_BYTES >> 10} KiB"
                return Rejection(rule="too_long", message=message, where=where)
            if "\x00" in each.text:
                message = "the field holds a NUL character; the encoding may be another than declared"
                return Rejection(
                    rule="nul_character",
                    message=message,
                    value=each.text,
                    where=where,
                    record=_as_dict(self._header, record),
                )
        return None


def ragged(file: str, line: int, header: Header, record: Record) -> Rejection:
    """The rejection of a record that has not as many fields as the header."""
    return Rejection(
        rule="ragged_row",
        message=f"the record has {len(record.fields)} fields, the header {len(header.names)}",
        where=Where(file=file, line=line),
        record=_as_dict(header, record),
    )


def _as_dict(header: Header, record: Record) -> dict[str, str | None]:
    """Column name → text, as far as there are names; ``column_9`` for a ninth field beyond them."""
    names = [*header.names, *(f"column_{n}" for n in range(len(header.names) + 1, len(record.fields) + 1))]
    return {
        name: None if each.is_blank else each.text for name, each in zip(names, record.fields, strict=False) if name
    }
