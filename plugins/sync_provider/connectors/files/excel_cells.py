"""Typed columns as cells, so that reading them back gives the same values. No I/O.

A cell's number is a double, and Excel shows 15 digits of it. So integers and decimals with more digits, doubles that Excel does
not have, days before its calendar, times that clocks show twice, and microseconds that a serial number cannot hold are
written as text, which reads back exactly. Text is never a formula: only a cell's formula element is. What no cell can
hold is a rejection of its record, never a different value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sync_provider.connectors.files.csv_render import plain_decimals
from sync_provider.connectors.files.excel_guard import MAX_CELL_CHARACTERS
from sync_provider.connectors.files.excel_scan import Bools, Ints
from sync_provider.connectors.files.excel_values import DAY_US, END_OF_CALENDAR, FROM_1904, UNIX_EPOCH, split_serials
from sync_provider.connectors.local_times import local_times
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

BLANK, NUMBER, DATE, BOOLEAN, TEXT, SPACED = range(6)
"""Kinds of cells: none, a number, a number that needs a date format, truth, text, text with white space to be kept."""

MAX_DIGITS = 15
_LARGEST, _SMALLEST = 9.99999999999999e307, 2.2250738585072014e-308
_UNWRITABLE = "[\\x00-\\x08\\x0B-\\x1F\\x{FFFE}\\x{FFFF}]|_x[0-9A-Fa-f]{4}_"
_UNWRITABLE_ONE = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


@dataclass(slots=True)
class Cells:
    """One column's cells.

    Args:
        kinds: of each cell.
        payloads: what stands in each cell's value element, escaped; null for blank cells.
        problems: (row, rule, message) of values that no cell can hold.
    """

    kinds: npt.NDArray[np.uint8]
    payloads: pa.Array
    problems: list[tuple[int, str, str]] = field(default_factory=list)


def encode(array: pa.Array, logical: LogicalType, zone: tzinfo, *, date1904: bool = False) -> Cells:
    """The cells of a typed column.

    Args:
        array: of the type's Arrow form.
        logical: the column's type.
        zone: in which timestamps are shown; cells have none.
        date1904: the workbook's calendar.
    """
    match logical.kind:
        case "integer":
            return _integers(array)
        case "decimal":
            return _decimals(array)
        case "double":
            return _doubles(array)
        case "boolean":
            return _with_kind(array, BOOLEAN, _cast(_cast(array, "int8"), "string"))
        case "date":
            return _dates(array, date1904=date1904)
        case "timestamp":
            return _timestamps(array, zone, date1904=date1904)
        case _:
            return _texts(array)


def escape_text(text: str) -> str:
    """One text as it stands in a cell's XML.

    >>> escape_text("a<b_x0041_" + chr(13))
    'a&lt;b_x005F_x0041__x000D_'
    """
    text = _UNWRITABLE_ONE.sub(lambda match: f"_x{ord(match[0]):04X}_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fits(text: str) -> bool:
    """Whether a cell can hold a text: Excel counts UTF-16 units."""
    return len(text) + sum(char > "\uffff" for char in text) <= MAX_CELL_CHARACTERS


def _cast(array: pa.Array, kind: str) -> pa.Array:
    import pyarrow as pa

    return array.cast(pa.type_for_alias(kind))


def _valid(array: pa.Array) -> Bools:
    valid: Bools = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _with_kind(array: pa.Array, kind: int, payloads: pa.Array) -> Cells:
    return Cells(np.where(_valid(array), kind, BLANK).astype(np.uint8), payloads)


def _texts(array: pa.Array) -> Cells:
    import pyarrow as pa
    import pyarrow.compute as pc

    problems = []
    if len(array) and (pc.max(pc.utf8_length(array)).as_py() or 0) > MAX_CELL_CHARACTERS // 2:
        message = f"the text is longer than the {MAX_CELL_CHARACTERS} characters of an Excel cell"
        long = pc.greater(pc.utf8_length(array), MAX_CELL_CHARACTERS // 2).fill_null(False)
        problems = [
            (row, "too_long", message) for row in pc.indices_nonzero(long).to_pylist() if not fits(array[row].as_py())
        ]
    texts = array
    odd = pc.match_substring_regex(texts, _UNWRITABLE).fill_null(False)
    escaped = pa.array([], pa.string())
    if pc.any(odd).as_py():
        escaped = pa.array([escape_text(text) for text in texts.filter(odd).to_pylist()], texts.type)
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        texts = pc.replace_substring(texts, mark, entity)
    if len(escaped):
        texts = pc.replace_with_mask(texts, odd, escaped)
    spaced = pc.match_substring_regex(texts, r"\A\s|\s\z|[\n\t]|\s\s").fill_null(False)
    kinds = np.where(spaced.to_numpy(zero_copy_only=False), SPACED, TEXT)
    return Cells(np.where(_valid(array), kinds, BLANK).astype(np.uint8), texts, problems)


def _integers(array: pa.Array) -> Cells:
    values = array.fill_null(0).to_numpy(zero_copy_only=False)
    limit = 10**MAX_DIGITS
    cells = _with_kind(array, NUMBER, _cast(array, "string"))
    cells.kinds[(cells.kinds == NUMBER) & ((values >= limit) | (values <= -limit))] = TEXT
    return cells


def _decimals(array: pa.Array) -> Cells:
    import pyarrow.compute as pc

    texts = plain_decimals(array)
    digits = pc.replace_substring_regex(texts, r"^-?[0.]*|\.", "")
    # Zeros at the end of a fraction are no digits that a double would lose.
    digits = pc.if_else(pc.match_substring(texts, "."), pc.utf8_rtrim(digits, characters="0"), digits)
    long = pc.greater(pc.binary_length(digits), MAX_DIGITS).fill_null(False)
    cells = _with_kind(array, NUMBER, texts)
    cells.kinds[long.to_numpy(zero_copy_only=False)] = TEXT
    return cells


def _doubles(array: pa.Array) -> Cells:
    values = array.fill_null(0).to_numpy(zero_copy_only=False)
    size = np.abs(values)
    cells = _with_kind(array, NUMBER, _cast(array, "string"))
    cells.kinds[(size > _LARGEST) | ((size > 0) & (size < _SMALLEST))] = TEXT
    message = "a cell holds no infinity and no not-a-number"
    cells.problems = [(int(row), "not_finite", message) for row in np.flatnonzero(~np.isfinite(values))]
    return cells


def _dates(array: pa.Array, *, date1904: bool) -> Cells:
    import pyarrow as pa
    import pyarrow.compute as pc

    days = _cast(array, "int32").fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    serials = _serial_days(days, date1904=date1904)
    outside = _outside(serials, date1904=date1904)
    payloads = pa.array(serials, mask=~_valid(array)).cast(pa.string())
    cells = _with_kind(array, DATE, payloads)
    outside &= _valid(array)
    if outside.any():
        cells.payloads = pc.if_else(pa.array(outside), array.cast(pa.string()), payloads)
        cells.kinds[outside] = TEXT
        cells.problems = _beyond_years(days, outside)
    return cells


def _serial_days(days: Ints, *, date1904: bool) -> Ints:
    serials = days + UNIX_EPOCH
    if date1904:
        return serials - FROM_1904
    # Up to the leap day that never was, the count is one behind.
    return serials - (serials <= 60)


def _outside(serials: Ints, *, date1904: bool) -> Bools:
    end = END_OF_CALENDAR - FROM_1904 * date1904
    outside: Bools = (serials < (0 if date1904 else 1)) | (serials >= end)
    return outside


def _beyond_years(days: Ints, among: Bools) -> list[tuple[int, str, str]]:
    beyond = among & ((days < -719_162) | (days > 2_932_896))
    return [(int(row), "out_of_range", "the year is not between 1 and 9999") for row in np.flatnonzero(beyond)]


def _timestamps(array: pa.Array, zone: tzinfo, *, date1904: bool) -> Cells:
    import pyarrow as pa
    import pyarrow.compute as pc

    valid = _valid(array)
    instants = array.cast(pa.timestamp("us", "UTC")).fill_null(0)
    # A time that clocks show twice would read back as nothing certain.
    local, repeated = local_times(instants, str(zone))
    twice = repeated.to_numpy(zero_copy_only=False)
    naive = local.cast(pa.int64()).to_numpy()
    days, micros = np.divmod(naive, DAY_US)
    serial_days = _serial_days(days, date1904=date1904)
    serials = serial_days + micros / DAY_US
    back_days, back_micros = split_serials(serials, date1904=date1904)
    inexact = (back_days != days) | (back_micros != micros) | _outside(serial_days, date1904=date1904)
    payloads = pa.array(serials).cast(pa.string())
    as_text = (twice | inexact) & valid
    kinds = np.where(valid, DATE, BLANK).astype(np.uint8)
    cells = Cells(kinds, payloads, _beyond_years(days, as_text))
    if as_text.any():
        bad = {row for row, _, _ in cells.problems}
        texts = [
            "" if row in bad else _iso(instants[int(row)].as_py(), zone, named=bool(twice[row]))
            for row in np.flatnonzero(as_text)
        ]
        cells.payloads = pc.replace_with_mask(payloads, pa.array(as_text), pa.array(texts, pa.string()))
        kinds[as_text] = TEXT
    if not valid.all():
        cells.payloads = pc.if_else(pa.array(valid), cells.payloads, pa.scalar(None, pa.string()))
    return cells


def _iso(instant: Any, zone: tzinfo, *, named: bool) -> str:
    """A timestamp as text; with its offset where the time alone is not enough."""
    local = instant.replace(tzinfo=UTC).astimezone(zone)
    text: str = (local if named else local.replace(tzinfo=None)).isoformat()
    return text
