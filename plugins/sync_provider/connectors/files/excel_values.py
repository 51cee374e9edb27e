"""Cells as canonical text (see `connectors.base`), column by column.

Number cells hold doubles; their text is the shortest one that means the same double, which is what the user typed. Excel
itself keeps 15 digits: a longer number was rounded when it was typed, unless its cell is text. Days and times are numbers
with a date format. Excel's times are exact to the millisecond: what lies within 5 µs of one, as programs that write 15 digits
leave it, is that millisecond.

Source: ECMA-376 part 1, §18.17.4 (dates and times), with the 29th of February 1900 that never was.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt

from sync_provider.connectors.files.excel_address import address
from sync_provider.connectors.files.excel_guard import malformed
from sync_provider.connectors.files.excel_scan import (
    BOOLEAN,
    DATE,
    ERROR,
    INLINE,
    NUMBER,
    SHARED,
    TEXT,
    Bools,
    Ints,
    Rows,
)
from sync_provider.connectors.files.excel_strings import shared_strings, slices, to_text, unescape
from sync_provider.connectors.files.excel_workbook import DATE_ONLY, DURATION, PLAIN, TIME_ONLY, Workbook
from sync_provider.connectors.files.text_values import canonical
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.errors import Where
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]

STRING = LogicalType("string")
UNIX_EPOCH = 25_569
"""Serial number of 1970-01-01 where 1 is 1900-01-01."""
FROM_1904 = 1_462
END_OF_CALENDAR = 2_958_466
"""Serial number of 10000-01-01."""
DAY_US = 86_400_000_000
SNAP_US = 5
_EXACT = 2.0**53


@dataclass(slots=True)
class Column:
    """One column of some rows.

    Args:
        texts: canonical text for each row; null where there is no value.
        errors: rows (indices) whose cell holds an error such as ``#N/A``; the text is the error.
        unvalued: rows whose cell holds a formula without a value.
    """

    texts: pa.Array
    errors: Ints
    unvalued: Ints


class CellReader:
    """Turns cells into text, by the conventions of one workbook and one endpoint.

    Args:
        sheet: name, for error messages.
    """

    def __init__(self, book: Workbook, endpoint: ExcelEndpoint, sheet: str, strings: pa.Array | None = None) -> None:
        self._date1904 = book.date1904
        self._formats = np.array(book.formats or [PLAIN], np.int64)
        self._strings = shared_strings(book) if strings is None else strings
        self._endpoint = endpoint
        self._sheet = sheet
        self._blank: Column | None = None

    def column(self, rows: Rows, column: int, logical: LogicalType = STRING, *, verbatim: bool = True) -> Column:
        """The texts of one column.

        Args:
            rows: of this sheet.
            column: 0-based.
            logical: declared type; decides between a date and a timestamp, and how text cells are read.
            verbatim: leave text cells as they are.

        Raises:
            SyncDataError: a cell is malformed.
        """
        cells = np.flatnonzero(rows.cell_column == column)
        if not len(cells):
            return self._nothing(len(rows.number))
        held = _holds(rows, cells)
        filled = cells if held.all() else cells[held]
        kinds = rows.cell_kind[filled]
        parts, places, errors = [], [], np.zeros(0, np.int64)
        for kind in _distinct(kinds):
            chosen = filled[kinds == kind]
            texts = self._texts(rows, chosen, kind, logical)
            if kind == ERROR:
                errors = rows.cell_row[chosen]
            elif kind in (SHARED, TEXT, INLINE) and not verbatim:
                texts = canonical(texts, logical, self._endpoint.decimal, self._endpoint.date_order)
            parts.append(texts)
            places.append(rows.cell_row[chosen])
        texts = _scatter(parts, places, len(rows.number))
        return Column(texts, errors, rows.cell_row[cells[rows.has_formula[cells] & ~held]])

    def _nothing(self, length: int) -> Column:
        """A column without cells; all of a chunk's share one array, for a sheet may have thousands of them."""
        import pyarrow as pa

        if self._blank is None or len(self._blank.texts) != length:
            none = np.zeros(0, np.int64)
            self._blank = Column(pa.nulls(length, pa.string()), none, none)
        return self._blank

    def _texts(self, rows: Rows, cells: Ints, kind: int, logical: LogicalType) -> pa.Array:
        raw = slices(rows.text, rows.value_start[cells], rows.value_end[cells])
        if kind in (TEXT, INLINE):
            return unescape(to_text(raw))
        if kind == SHARED:
            return self._shared(rows, cells, raw)
        if kind == NUMBER:
            return self._numbers(rows, cells, raw, logical)
        if kind == BOOLEAN:
            return self._booleans(rows, cells, raw)
        return _dates_as_text(to_text(raw), logical) if kind == DATE else unescape(to_text(raw))

    def _shared(self, rows: Rows, cells: Ints, raw: pa.Array) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            index = _unchecked(raw).cast(pa.int64())
        except pa.ArrowInvalid:
            self._malformed(rows, cells, raw, str.isdecimal)
        beyond = pc.or_(pc.less(index, 0), pc.greater_equal(index, len(self._strings)))
        if pc.any(beyond).as_py():
            self._malformed(rows, cells, raw, lambda text: int(text) < len(self._strings))
        return self._strings.take(index).cast(pa.string())

    def _booleans(self, rows: Rows, cells: Ints, raw: pa.Array) -> pa.Array:
        import pyarrow.compute as pc

        texts = to_text(raw)
        known = pc.index_in(texts, _array(["0", "1", "false", "true"]))
        if known.null_count:
            self._malformed(rows, cells, raw, lambda text: text in ("0", "1", "false", "true"))
        return _array(["false", "true", "false", "true"]).take(known)

    def _numbers(self, rows: Rows, cells: Ints, raw: pa.Array, logical: LogicalType) -> pa.Array:
        import pyarrow as pa

        try:
            numbers = _unchecked(raw).cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            self._malformed(rows, cells, raw, _is_number)
        if not np.isfinite(numbers).all():
            self._malformed(rows, cells, raw, _is_number)
        style = rows.cell_style[cells]
        formats = np.where(style < len(self._formats), self._formats[np.minimum(style, len(self._formats) - 1)], PLAIN)
        parts, places = [], []
        for kind in _distinct(formats):
            chosen = np.flatnonzero(formats == kind)
            if kind == PLAIN:
                parts.append(number_texts(numbers[chosen]))
            else:
                parts.append(serial_texts(numbers[chosen], kind, logical, date1904=self._date1904))
            places.append(chosen)
        return parts[0] if len(parts) == 1 else _scatter(parts, places, len(cells))

    def _malformed(self, rows: Rows, cells: Ints, raw: pa.Array, is_right: object) -> NoReturn:
        check = is_right if callable(is_right) else bool
        for cell, value in zip(cells, raw.to_pylist(), strict=True):
            if not check(value.decode(errors="replace")):
                at = address(int(rows.number[rows.cell_row[cell]]), int(rows.cell_column[cell]))
                raise malformed(
                    "the workbook is damaged: a cell's content does not fit its type",
                    where=Where(sheet=self._sheet, cell=at),
                    code="excel_damaged",
                )
        raise malformed("the workbook is damaged: a cell's content does not fit its type", code="excel_damaged")


def _holds(rows: Rows, cells: Ints) -> Bools:
    """Which cells have a value: some content, or a text cell's empty one."""
    kind = rows.cell_kind[cells]
    filled = rows.value_end[cells] > rows.value_start[cells]
    empty_text = rows.has_value[cells] & ((kind == TEXT) | (kind == ERROR))
    # openpyxl writes an empty text as an inline text cell without content.
    held: Bools = filled | empty_text | ((kind == INLINE) & ~rows.has_formula[cells])
    return held


def _distinct(values: Ints) -> list[int]:
    """The distinct values; most often there is one."""
    if len(values) and (values == values[0]).all():
        return [int(values[0])]
    distinct: list[int] = np.unique(values).tolist()
    return distinct


def _unchecked(raw: pa.Array) -> pa.Array:
    """Bytes as text whose UTF-8 need not be checked, since only digits will do."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers(), offset=raw.offset)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _array(values: list[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _scatter(parts: list[pa.Array], places: list[Ints], length: int) -> pa.Array:
    """Put the parts' values at their places among nulls."""
    import pyarrow as pa

    if len(parts) == 1 and len(parts[0]) == length:
        return parts[0]
    index = np.full(length, -1, np.int64)
    if parts:
        at = np.concatenate(places)
        index[at] = np.arange(len(at))
    values = pa.concat_arrays(parts) if parts else _array([])
    return values.take(pa.array(index, mask=index < 0))


def number_texts(numbers: Floats) -> pa.Array:
    """Shortest plain decimal text of doubles: ``123``, ``0.1``, ``0.00001``; with an exponent beyond 1e±40."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < _EXACT)
    if whole.all():
        return pa.array(numbers.astype(np.int64)).cast(pa.string())
    texts = pa.array(numbers).cast(pa.string())
    if whole.any():
        texts = pc.if_else(
            pa.array(whole), pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.string()), texts
        )
    powers = pc.match_substring(texts, "e")
    if pc.any(powers).as_py():
        plain = [number_text(float(text)) for text in texts.filter(powers).to_pylist()]
        texts = pc.replace_with_mask(texts, powers, _array(plain))
    return texts


def number_text(number: float) -> str:
    """Shortest plain decimal text of one double.

    >>> number_text(1e-07), number_text(12.0), number_text(1e300)
    ('0.0000001', '12', '1e+300')
    """
    if number and not 1e-40 < abs(number) < 1e40:
        return repr(number)
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def serial_texts(serials: Floats, kind: int, logical: LogicalType, *, date1904: bool) -> pa.Array:
    """Text of numbers that a date format shows.

    A date without a time is a date (``2024-12-31``) unless a timestamp is asked for; a time of day without a date is
    ``23:59:59``; elapsed time is ``36:00:00``. What no calendar holds stays a number, and 1900-02-29 that date.

    Args:
        serials: what the cells hold.
        kind: of the number format, not `PLAIN`.
        logical: declared type.
        date1904: the workbook's calendar.
    """
    import pyarrow.compute as pc

    if kind == DURATION:
        return _array([_duration(serial) for serial in serials.tolist()])
    dated = (serials >= (0 if date1904 else 1)) & (serials < END_OF_CALENDAR - FROM_1904 * date1904)
    clock_only = (serials >= 0) & (serials < 1) & ((kind == TIME_ONLY) | (not date1904))
    dated &= ~clock_only
    days, micros = split_serials(np.where(dated | clock_only, serials, 1), date1904=date1904)
    dates, times = _date_texts(days), _time_texts(micros)
    full = pc.binary_join_element_wise(dates, times, "T")
    midnight = micros == 0
    bare = midnight & (kind == DATE_ONLY if logical.kind != "date" else True) & (logical.kind != "timestamp")
    texts = full if not bare.any() else dates if bare.all() else pc.if_else(_mask(bare), dates, full)
    if clock_only.any():
        texts = pc.if_else(_mask(clock_only), times, texts)
    if not (dated | clock_only).all():
        texts = pc.if_else(_mask(dated | clock_only), texts, number_texts(serials))
    phantom = dated & (np.floor(serials) == 60) & (not date1904)
    if phantom.any():
        texts = pc.if_else(_mask(phantom), "1900-02-29", texts)
    return texts


def _mask(values: Bools) -> pa.Array:
    import pyarrow as pa

    return pa.array(values)


def split_serials(serials: Floats, *, date1904: bool) -> tuple[Ints, Ints]:
    """Days since 1970-01-01 and microseconds of the day."""
    days = np.floor(serials)
    micros = np.rint((serials - days) * DAY_US).astype(np.int64)
    millis = (micros + 500) // 1000 * 1000
    micros = np.where(np.abs(micros - millis) <= SNAP_US, millis, micros)
    carry = micros >= DAY_US
    days = days.astype(np.int64) + carry
    micros = np.where(carry, micros - DAY_US, micros)
    if date1904:
        return days + FROM_1904 - UNIX_EPOCH, micros
    # Before the leap day that never was, the count is one behind.
    return days + (days < 60) - UNIX_EPOCH, micros


def _date_texts(days: Ints) -> pa.Array:
    import pyarrow as pa

    return pa.array(days.astype(np.int32)).cast(pa.date32()).cast(pa.string())


def _time_texts(micros: Ints) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (micros % 1_000_000).any():
        return pa.array((micros // 1_000_000).astype(np.int32)).cast(pa.time32("s")).cast(pa.string())
    return pc.replace_substring_regex(pa.array(micros).cast(pa.time64("us")).cast(pa.string()), r"\.?0{1,6}$", "")


def _duration(serial: float) -> str:
    micros = round(Decimal(repr(serial)) * DAY_US)
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    millis = (micros + 500) // 1000 * 1000
    micros = millis if abs(micros - millis) <= SNAP_US else micros
    seconds, rest = divmod(micros, 1_000_000)
    fraction = f".{rest:06}".rstrip("0") if rest else ""
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}"


def _dates_as_text(texts: pa.Array, logical: LogicalType) -> pa.Array:
    """ISO 8601 cells: a midnight is a date where a date is asked for."""
    import pyarrow.compute as pc

    if logical.kind != "date":
        return texts
    return pc.replace_substring_regex(texts, r"T00:00:00(?:\.0+)?Z?$", "")
