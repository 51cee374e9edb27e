"""Typed records as values to be written; those that a cell cannot hold are refused, never cut or rounded. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sync_provider.connectors.base import KEY_SEPARATOR, TargetColumn
from sync_provider.connectors.sheets.cells import EXACT, MAX_TEXT, Scalar, scalar_of, serials
from sync_provider.core.canonical import write_text
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

_EXACT_DIGITS = 15  # every decimal number of so many digits is exact in a double


class Encoder:
    """Encodes the records of one write.

    Args:
        columns: of the request.
        key: names of its key columns, to name refused records.
        zone: the spreadsheet's.
        decimal: the endpoint's decimal mark of numbers in text cells.
    """

    def __init__(self, columns: Sequence[TargetColumn], key: Sequence[str], zone: ZoneInfo, decimal: str) -> None:
        self._columns, self._key, self._zone, self._decimal = tuple(columns), tuple(key), zone, decimal

    def rows(self, batch: pa.RecordBatch) -> tuple[list[list[Scalar] | None], list[Rejection]]:
        """One list of values per record, in the request's order of columns; None for a record that is refused."""
        refused: dict[int, tuple[int, ValueError]] = {}
        columns = [self._column(at, batch.column(column.name), refused) for at, column in enumerate(self._columns)]
        encoded: list[list[Scalar] | None] = [list(row) for row in zip(*columns, strict=True)]
        rejections = []
        for row in sorted(refused):
            encoded[row] = None
            column, error = refused[row]
            value = batch.column(self._columns[column].name)[row].as_py()
            rejections.append(self.rejection(column, value, error, self._key_text(batch, row)))
        return encoded, rejections

    def value(self, column: int, value: Any) -> Scalar:
        """One value; see `cells.scalar_of`."""
        return scalar_of(value, self._columns[column].type, self._zone, self._decimal)

    def rejection(self, column: int, value: Any, error: ValueError, key: str | None) -> Rejection:
        """The refusal of a record because of one value."""
        too_long = "characters" in str(error)
        return Rejection(
            rule="too_long" if too_long else "unfit_cell",
            field=self._columns[column].name,
            value=None if too_long else write_text(value),
            message=f"{self._columns[column].name} does not fit into a cell: {error}",
            key=key,
        )

    def _column(self, at: int, array: pa.Array, refused: dict[int, tuple[int, ValueError]]) -> Sequence[Scalar]:
        quick = _as_a_whole(array, self._columns[at], self._zone)
        if quick is not None:
            return quick
        values: list[Scalar] = []
        for row, value in enumerate(array.to_pylist()):
            try:
                values.append(self.value(at, value))
            except ValueError as error:
                values.append(None)
                refused.setdefault(row, (at, error))
        return values

    def _key_text(self, batch: pa.RecordBatch, row: int) -> str | None:
        parts = [batch.column(name)[row].as_py() for name in self._key]
        return KEY_SEPARATOR.join(map(write_text, parts)) if parts and None not in parts else None


def _as_a_whole(array: pa.Array, column: TargetColumn, zone: ZoneInfo) -> list[Scalar] | None:
    """`scalar_of` of a whole column where nothing in it needs a closer look; None otherwise."""
    import pyarrow as pa
    import pyarrow.compute as pc

    type_ = column.type
    if type_.kind in ("string", "json"):
        if 2 * (pc.max(pc.utf8_length(array)).as_py() or 0) > MAX_TEXT:
            return None
        return list(pc.if_else(pc.equal(array, ""), None, array).to_pylist())
    if type_.kind == "boolean":
        return list(array.to_pylist())
    if type_.kind == "integer":
        low, high = pc.min_max(array).as_py().values()
        return list(array.to_pylist()) if low is None or (low > -EXACT and high < EXACT) else None
    if type_.kind == "decimal" and pa.types.is_decimal(array.type) and array.type.precision <= _EXACT_DIGITS:
        return [None if value is None else float(value) for value in array.to_pylist()]
    if type_.kind == "date":
        return serials(array)
    if type_.kind == "timestamp" and zone.key == "UTC":
        return serials(array)
    return None
