"""The CSV reader against Python's own strict parser, against itself with other block sizes, and against random bytes."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sync_provider.connectors.files import csv_read
from sync_provider.connectors.files.csv_dialect import Dialect
from sync_provider.connectors.files.csv_read import CsvReader
from sync_provider.core.errors import SyncDataError, SyncError

ALPHABET = 'ab1"";;\n\r\t ,\'é𝄞='
DIALECTS = [
    Dialect(";", '"', "utf-8", 0),
    Dialect(",", "'", "utf-8", 0),
    Dialect(";", None, "utf-8", 0),
    Dialect("é", '"', "utf-8", 0),
]


class Source:
    name = "file.csv"

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size_bytes: int) -> bytes:
        return self._data.read(size_bytes)


def read(data: bytes, dialect: Dialect, block_bytes: int = 1 << 20) -> Any:
    """``[(line, fields or None where ragged)…]`` in order, or the class and line of the error."""
    try:
        reader = CsvReader(Source(data), dialect, unescape=False, block_bytes=block_bytes)
        if reader.header is None:
            return []
        width = len(reader.header.names)
        found: list[Any] = []
        for taken in reader.records(range(width)):
            values = [c.to_pylist() for c in taken.columns]
            found += zip(taken.lines.to_pylist(), zip(*values, strict=True), strict=False)
            found += [(r.where.line, None) for r in taken.rejections]
        return sorted(found, key=lambda row: row[0])
    except SyncDataError as error:
        return (error.code, error.where.line)


def by_python(text: str, dialect: Dialect) -> Any:
    """The same by the `csv` module: records with their first line; None where quotes are out of order."""
    options: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if dialect.quote is None else {"quotechar": dialect.quote}
    reader = csv.reader(_physical_lines(text), delimiter=dialect.delimiter, strict=True, **options)
    records, line = [], 1
    try:
        for fields in reader:
            records.append((line, fields))
            line = reader.line_num + 1
    except csv.Error:
        return None
    width = next((len(fields) for _, fields in records if fields), 0)
    if width == 1:  # a blank line is a record there, with a null
        records = [(line, fields or [""]) for line, fields in records]
    found = []
    for line, fields in records:
        if fields and width:
            fits = len(fields) == width or (len(fields) == width + 1 and fields[-1] == "")
            found.append((line, tuple(fields[:width]) if fits else None))
    return found


def _physical_lines(text: str) -> list[str]:
    """Lines at LF, CR and CR LF, with their ends; `str.splitlines` knows more kinds, `csv` only these."""
    lines, start = [], 0
    at = 0
    while at < len(text):
        if text[at] in "\r\n":
            at += 1 if text[at : at + 2] != "\r\n" else 2
            lines.append(text[start:at])
            start = at
        else:
            at += 1
    return [*lines, text[start:]] if start < len(text) else lines


def without_quoting(found: Any) -> Any:
    """Null as empty text, which is all that the `csv` module tells; a quoted last field as none."""
    return [(line, None if fields is None else tuple(f or "" for f in fields)) for line, fields in found]


@given(st.text(ALPHABET, max_size=60), st.sampled_from(DIALECTS))
@example('a;b\n"";""\n', DIALECTS[0])
@example('a;"b\r\nc"\r\n\r\nd;e', DIALECTS[0])
@example("a\n\n\nb\n", DIALECTS[0])
@example('a;b\r"c";d\r', DIALECTS[0])
def test_records_lines_and_errors_are_those_of_pythons_strict_reader(text: str, dialect: Dialect) -> None:
    ours = read(text.encode(), dialect)
    theirs = by_python(text, dialect)
    if theirs is None:
        assert isinstance(ours, tuple), ours
        assert ours[0] in ("csv_unclosed_quote", "csv_stray_quote")
        return
    assert isinstance(ours, list), ours
    # A field that is empty and quoted after a last delimiter is a field for us, none for `csv`.
    assert [line for line, _ in ours] == [line for line, _ in theirs]
    for (_, mine), (_, other) in zip(without_quoting(ours), theirs, strict=True):
        assert mine == other or mine is None


@given(st.text(ALPHABET, max_size=60), st.sampled_from(DIALECTS), st.integers(1, 9))
def test_block_borders_change_nothing(text: str, dialect: Dialect, block_bytes: int) -> None:
    assert read(text.encode(), dialect, block_bytes) == read(text.encode(), dialect)


@given(st.text(ALPHABET, max_size=80), st.sampled_from(DIALECTS))
def test_both_ways_of_reading_agree(text: str, dialect: Dialect) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_read, "_parse_block", lambda *_: None)
        slow = read(text.encode(), dialect)
    assert read(text.encode(), dialect) == slow


@given(st.lists(st.lists(st.text(ALPHABET, max_size=6), min_size=3, max_size=3), min_size=1, max_size=8))
def test_what_python_writes_is_read_field_by_field(rows: list[list[str]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=";", quoting=csv.QUOTE_ALL).writerows(rows)
    found = read(file.getvalue().encode(), DIALECTS[0])
    assert [list(fields) for _, fields in found] == rows


CODECS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "shift_jis", "utf-7"]


def check_any_bytes(data: bytes, codec: str, header_row: int) -> None:
    wheres = []
    for block_bytes in (1 << 20, 5):
        try:
            reader = CsvReader(Source(data), Dialect(",", '"', codec, header_row), block_bytes=block_bytes)
            width = len(reader.header.names) if reader.header else 0
            for taken in reader.records(range(width)):
                assert all(len(column) == len(taken.lines) for column in taken.columns)
        except SyncError as error:
            wheres.append(error.where.file)
    assert set(wheres) <= {"file.csv"}


NOISE = st.one_of(
    st.binary(max_size=80),
    st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"a", b"\xe9", b"\x00", b"\xff\xfe", b"1"]), max_size=40).map(
        b"".join
    ),
)


@given(NOISE, st.sampled_from(CODECS), st.integers(0, 3))
@settings(max_examples=300)
def test_random_bytes_end_in_records_or_a_sync_error(data: bytes, codec: str, header_row: int) -> None:
    check_any_bytes(data, codec, header_row)


@pytest.mark.long
@given(NOISE, st.sampled_from(CODECS), st.integers(0, 3))
@settings(max_examples=10_000)
def test_ten_thousand_random_files_end_in_records_or_a_sync_error(data: bytes, codec: str, header_row: int) -> None:
    check_any_bytes(data, codec, header_row)
