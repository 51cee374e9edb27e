"""What a CSV file is, found out from the file itself: for `airflow-sync inspect`, which freezes it into a mapping.

Every finding has a confidence and its reason. What the file does not decide is an *ambiguity*, in words, and its value is left
open: a mapping made from it is refused until a person has decided.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.files.csv_dialect import Dialect
from sync_provider.connectors.files.csv_read import CsvReader
from sync_provider.connectors.files.inspect_encoding import Finding, find_encoding
from sync_provider.connectors.files.inspect_layout import Attempt, find_layout, looks_like_value
from sync_provider.connectors.files.inspect_types import ColumnFinding, Types, find_types
from sync_provider.connectors.files.inspect_yaml import mapping_blocks
from sync_provider.connectors.files.root import FileRoot, Location, translating
from sync_provider.core.errors import SyncDataError, Where

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_BYTES = 8 << 20
_LAYOUT_CHARACTERS = 1 << 20
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of one file.

    Args:
        file: its name.
        records: records looked at.
        complete: whether that was all of them.
        findings: by the names of the endpoint's keys: encoding, delimiter, quote, header_row, decimal, date_order,
            null_values.
        columns: those with a name, in the file's order.
        ambiguities: what a person must decide, in words.
        notes: what is worth knowing besides.
    """

    file: str
    records: int
    complete: bool
    findings: dict[str, Finding]
    columns: list[ColumnFinding]
    ambiguities: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "file": self.file,
            "records": self.records,
            "complete": self.complete,
            **{name: finding.as_dict() for name, finding in self.findings.items()},
            "columns": [column.as_dict() for column in self.columns],
            "ambiguities": self.ambiguities,
            "notes": self.notes,
        }

    def as_yaml(self) -> str:
        """The ``source`` and ``fields`` blocks of a mapping, each value with its confidence and reason."""
        return mapping_blocks(
            {"type": "csv", "path": self.file}, self.findings, self.columns, self.ambiguities, self.notes
        )


def inspect_file(root: FileRoot, location: Location) -> Inspection:
    """Inspect a file: its start in every respect, all of it for its encoding.

    Raises:
        SyncDataError: there is no such file, it is empty, or its text cannot be divided into records.
    """
    with root.open_read(location) as file:
        with translating(location.name, "read"):
            data = file.read(SAMPLE_BYTES)
            following = file.read(SAMPLE_BYTES)

        def rest() -> Any:
            piece = following
            while piece:
                yield piece
                with translating(location.name, "read"):
                    piece = file.read(SAMPLE_BYTES)

        return _inspect(data, rest(), location.name, complete=not following)


def inspect_csv(data: bytes, name: str = "file.csv", *, complete: bool = True) -> Inspection:
    """Inspect the bytes of a file, or of its start.

    Args:
        data: the bytes.
        name: the file's name, for the result.
        complete: whether they are the whole file.

    Raises:
        SyncDataError: there is nothing in it, or its text cannot be divided into records.
    """
    return _inspect(data, (), name, complete=complete)


def _inspect(data: bytes, rest: Any, name: str, *, complete: bool) -> Inspection:
    if data.startswith(_WORKBOOKS):
        raise SyncDataError(
            "this is a workbook, not delimited text",
            where=Where(file=name),
            hint="Declare type: excel.",
            code="csv_binary",
        )
    encoding, doubts = find_encoding(data, rest, complete=complete)
    codec = encoding.value or "latin-1"
    text = _decoded(data, codec, name, complete=complete)
    if not text.strip():
        raise SyncDataError("there is nothing in this file", where=Where(file=name), code="csv_empty")
    if text.count("\x00") > len(text) // 1000:
        raise SyncDataError(
            "this is no text file: it holds NUL characters",
            where=Where(file=name),
            hint="Only delimited text is inspected here.",
            code="csv_binary",
        )
    head = text[:_LAYOUT_CHARACTERS]
    layout, delimiter, quote, layout_doubts = find_layout(head, complete=complete and len(head) == len(text))
    doubts += layout_doubts
    arrays, lines, notes = _columns(data, codec, layout, name, complete=complete)
    header_row, names, header_doubts = _header(layout, arrays)
    doubts += header_doubts
    if header_row.value != 0:
        arrays, lines = [a.slice(1) for a in arrays], lines.slice(1)
    notes += _layout_notes(layout, names)
    named = [at for at, column in enumerate(names) if column.strip()]
    types = find_types([names[at] for at in named], [arrays[at] for at in named], lines)
    doubts += types.ambiguities
    notes += types.notes
    return Inspection(
        name,
        len(lines),
        complete,
        _findings(encoding, delimiter, quote, header_row, types),
        types.columns,
        doubts,
        notes,
    )


def _findings(
    encoding: Finding, delimiter: Finding, quote: Finding, header_row: Finding, types: Types
) -> dict[str, Finding]:
    return {
        "encoding": encoding,
        "delimiter": delimiter,
        "quote": quote,
        "header_row": header_row,
        "decimal": types.decimal,
        "date_order": types.date_order,
        "null_values": types.null_values,
    }


def _decoded(data: bytes, codec: str, name: str, *, complete: bool) -> str:
    """The text; a character cut off at the end of a sample is left out."""
    try:
        return data.decode(codec)
    except UnicodeDecodeError as exc:
        if not complete and exc.start > len(data) - 4:
            return data[: exc.start].decode(codec)
        raise SyncDataError(
            f"byte 0x{data[exc.start]:02x} at offset {exc.start} is not {codec} text",
            where=Where(file=name),
            code="csv_undecodable",
        ) from exc


class _Sample:
    """Bytes as a source of the reader."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self._data = memoryview(data)

    def read(self, size_bytes: int) -> bytes:
        piece, self._data = self._data[:size_bytes], self._data[size_bytes:]
        return bytes(piece)


def _columns(
    data: bytes, codec: str, layout: Attempt, name: str, *, complete: bool
) -> tuple[list[pa.Array], pa.Array, list[str]]:
    """Every column of the table, the header's record included, by the very reader that will read the file."""
    import pyarrow as pa

    width = layout.width
    text = data if complete else data[: _last_line_end(data, codec)]
    start = layout.table[0].line if layout.table else 1
    dialect = Dialect(layout.delimiter, layout.quote, codec, 0)
    source = _Sample(name, _without_preamble(text, codec, start))
    reader = CsvReader(source, dialect, unescape=True, block_bytes=1 << 20)
    parts, lines, refused = [], [], []
    try:
        for taken in reader.records(range(width)):
            parts.append(taken.columns)
            lines.append(taken.lines)
            refused += taken.rejections
    except SyncDataError as error:
        if complete:
            raise error.at(file=name) from error.__cause__
    notes = []
    if refused:
        shown = ", ".join(str((r.where.line or 0) + start - 1) for r in refused[:5])
        notes.append(
            f"{len(refused)} record(s) would be rejected, such as those on lines {shown}: {refused[0].message}"
        )
    arrays = [
        pa.concat_arrays([part[n] for part in parts]) if parts else pa.array([], pa.string()) for n in range(width)
    ]
    numbers = pa.concat_arrays(lines) if lines else pa.array([], pa.int64())
    return arrays, pa.compute.add(numbers, start - 1), notes


def _last_line_end(data: bytes, codec: str) -> int:
    end = "\n".encode(codec.replace("utf-16", "utf-16-le") if codec == "utf-16" else codec)
    end = end.removeprefix(b"\xef\xbb\xbf")
    at = data.rfind(end)
    return at + len(end) if at >= 0 else len(data)


def _without_preamble(data: bytes, codec: str, first_line: int) -> bytes:
    """The bytes from a line on, in UTF-8 marks and all gone, re-encoded as they were."""
    if first_line == 1:
        return data
    lines = re.split("(\r\n|\r|\n)", data.decode(codec, "ignore"))
    return "".join(lines[2 * (first_line - 1) :]).encode(codec, "ignore")


def _header(layout: Attempt, arrays: Sequence[pa.Array]) -> tuple[Finding, list[str], list[str]]:
    """Whether the table's first row holds names, on which line, and the names."""
    numbered = [f"column_{n}" for n in range(1, layout.width + 1)]
    if not layout.table:
        return Finding(0, 0.5, "no table"), numbered, []
    first = layout.table[0]
    names = list(first.fields) + [""] * (layout.width - len(first.fields))
    like_values = [name for name in first.fields if looks_like_value(name)]
    if like_values and len(like_values) * 4 >= sum(bool(f) for f in first.fields):
        return Finding(0, 0.9, f"the first row holds values such as {like_values[0]!r}"), numbered, []
    filled = [name for name in names if name]
    if len(set(filled)) < len(filled):
        repeated = next(name for name in filled if filled.count(name) > 1)
        doubt = f"header_row: {repeated!r} stands twice on line {first.line}; wanted columns need names of their own"
        return Finding(first.line, 0.7, doubt), names, [doubt]
    if any(_differs_below(name, array) for name, array in zip(names, arrays, strict=True)):
        return Finding(first.line, 0.97, "texts above columns of other values"), names, []
    if len(layout.table) == 1:
        return Finding(first.line, 0.6, "the only row"), names, []
    doubt = f"header_row: does line {first.line} hold names or a record ({_shown(filled)})? every column holds texts"
    return Finding(first.line, 0.6, "unlike any value below"), names, [doubt]


def _differs_below(name: str, array: pa.Array) -> bool:
    """Whether nearly all values under a name look otherwise: numbers or dates, digits in them, one length."""
    values = [v for v in array.slice(1, 200).to_pylist() if v]
    if not values:
        return False
    if sum(map(looks_like_value, values)) * 2 > len(values):
        return True
    with_digits = sum(any(c.isdigit() for c in v) for v in values)
    if with_digits >= 0.8 * len(values) and not any(c.isdigit() for c in name):
        return True
    return len(values) > 5 and len({len(v) for v in values}) == 1 and len(values[0]) != len(name)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(repr(n[:30]) for n in names[:4]) + (", …" if len(names) > 4 else "")


def _layout_notes(layout: Attempt, names: Sequence[str]) -> list[str]:
    notes = []
    if layout.first and layout.table:
        notes.append(f"{layout.table[0].line - 1} line(s) of preamble stand before the table")
    unnamed = [at for at, name in enumerate(names, 1) if not name.strip()]
    if unnamed == [len(names)] and len(names) > 1:
        notes.append("each row ends with a delimiter; the empty last column has no name and cannot be mapped")
    elif unnamed:
        notes.append(f"column(s) {', '.join(map(str, unnamed))} of the file have no name and cannot be mapped")
    return notes
