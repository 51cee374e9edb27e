"""Blocks of a tab, column by column: canonical text of whole columns at once where their cells allow it. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from sync_provider.connectors.files.text_values import canonical
from sync_provider.connectors.sheets.cells import EXACT, NOISE_MICROS, UNIX_DAYS, text_of, verbatim
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

_DAY_MICROS = 86_400_000_000
_FIRST_DAY, _LAST_DAY = -693_593, 2_958_465  # 0001-01-01 and 9999-12-31
_LIST_ENDS = 50_041  # 2037-01-01: Arrow knows no daylight saving time later, see `local_times`


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a tab as the API gives them: the 0-based number of the first, and their cells from ``column`` on."""

    first: int
    column: int
    cells: list[list[Any]]


@dataclass(frozen=True, slots=True)
class Conventions:
    """How cells of one tab are read: the spreadsheet's zone, and decimal mark and date order of its texts."""

    zone: ZoneInfo
    decimal: str
    date_order: str


class Block:
    """Some columns of some rows without the rows that hold nothing in them.

    Args:
        rows: as read.
        columns: 0-based.

    ``numbers`` holds the rows' 0-based numbers.
    """

    def __init__(self, rows: Rows, columns: Sequence[int]) -> None:
        by_column = list(zip_longest(*rows.cells))
        nothing = (None,) * len(rows.cells)
        held: dict[int, list[Any]] = {}
        filled = np.zeros(len(rows.cells), bool)
        for at in set(columns):
            offset = at - rows.column
            cells = by_column[offset] if offset < len(by_column) else nothing
            held[at] = [None if cell == "" else cell for cell in cells]
            filled |= np.fromiter((cell is not None for cell in held[at]), bool, len(cells))
        kept = np.flatnonzero(filled)
        if len(kept) < len(filled):
            places = kept.tolist()
            held = {at: [cells[place] for place in places] for at, cells in held.items()}
        self.columns = tuple(columns)
        self.numbers = kept + rows.first
        self.cells = [held[at] for at in columns]
        arrays = {at: _array(cells) for at, cells in held.items()}
        self._arrays = [arrays[at] for at in columns]

    def __len__(self) -> int:
        return len(self.numbers)

    def array(self, index: int) -> pa.Array | None:
        """The column's cells, all of one kind; None where they are not."""
        return self._arrays[index]

    def texts(self, index: int, type_: LogicalType, conventions: Conventions) -> pa.Array:
        """Canonical text of a column; what is no value of the type stays as it is, for the transform to refuse."""
        import pyarrow as pa

        array = self._arrays[index]
        quick = None if array is None else _quick(array, type_, conventions)
        if quick is not None:
            return quick
        how = (conventions.zone, conventions.decimal, conventions.date_order)
        return pa.array([text_of(cell, type_, *how) for cell in self.cells[index]], pa.string())

    def verbatim(self, index: int) -> pa.Array:
        """A column as it stands there."""
        import pyarrow as pa

        array = self._arrays[index]
        if array is not None and pa.types.is_string(array.type):
            return array
        return pa.array([verbatim(cell) for cell in self.cells[index]], pa.string())


def _array(cells: list[Any]) -> pa.Array | None:
    import pyarrow as pa

    try:
        return pa.array(cells)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return None


def _quick(array: pa.Array, type_: LogicalType, conventions: Conventions) -> pa.Array | None:
    """`text_of` of a whole column; None where a cell of it needs a closer look."""
    import pyarrow as pa
    import pyarrow.types as kinds

    if kinds.is_null(array.type):
        return pa.nulls(len(array), pa.string())
    if kinds.is_string(array.type):
        return canonical(array, type_, conventions.decimal, conventions.date_order)
    if kinds.is_boolean(array.type):
        return None if type_.kind == "string" else array.cast(pa.string())
    if type_.kind == "date":
        return _days(array)
    if type_.kind == "timestamp":
        return _times(array, conventions.zone)
    return None if type_.kind == "boolean" else _numbers(array)


def _numbers(array: pa.Array) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    low, high = pc.min_max(array).as_py().values()
    if not (low > -EXACT and high < EXACT):
        return None
    texts = array.cast(pa.string())
    exponents = pa.types.is_floating(array.type) and pc.any(pc.match_substring(texts, "e")).as_py()
    return None if exponents else texts


def _days(array: pa.Array) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    low, high = pc.min_max(array).as_py().values()
    if not pa.types.is_integer(array.type) or low < _FIRST_DAY or high > _LAST_DAY:
        return None
    return pc.subtract(array, UNIX_DAYS).cast(pa.int32()).cast(pa.date32()).cast(pa.string())


def _times(array: pa.Array, zone: ZoneInfo) -> pa.Array | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    low, high = pc.min_max(array).as_py().values()
    if low < _FIRST_DAY or high >= _LIST_ENDS:
        return None
    days = pc.fill_null(array.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False)
    whole = np.floor(days)  # apart: the microseconds of a far day have more digits than a double
    micros = snapped(whole.astype(np.int64) * _DAY_MICROS + np.rint((days - whole) * _DAY_MICROS).astype(np.int64))
    if (micros % 1000).any():  # finer than what a spreadsheet shows: a closer look, digit by digit
        return None
    absent = pc.is_null(array).to_numpy(zero_copy_only=False)
    local = pa.array(micros - UNIX_DAYS * _DAY_MICROS, pa.timestamp("us"), mask=absent)
    try:
        instants = pc.assume_timezone(local, zone.key, ambiguous="raise", nonexistent="raise")
    except pa.ArrowInvalid:  # clocks show it twice or never, or Arrow does not know the zone
        return None
    naive = instants.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).cast(pa.timestamp("us"))
    texts = pc.replace_substring(naive.cast(pa.string()), " ", "T")
    return pc.binary_join_element_wise(pc.replace_substring_regex(texts, r"\.?0*$", ""), "Z", "")


def snapped(micros: Any) -> Any:
    """Whole milliseconds where only a double's noise lies between."""
    rest = micros % 1000
    return np.where(
        rest <= NOISE_MICROS, micros - rest, np.where(rest >= 1000 - NOISE_MICROS, micros - rest + 1000, micros)
    )
