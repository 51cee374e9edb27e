"""Typed records as cells to be written; those that a cell cannot hold are refused, never cut or rounded. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sync_provider.connectors.base import KEY_SEPARATOR, TargetColumn
from sync_provider.connectors.sheets.cells import FORMATS, cell_of
from sync_provider.connectors.sheets.edits import Cell
from sync_provider.core.canonical import write_text
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa


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

    def rows(self, batch: pa.RecordBatch, *, formats: bool) -> tuple[list[list[Cell] | None], list[Rejection]]:
        """One list of cells per record, in the request's order of columns; None for a record that is refused.

        Args:
            batch: the request's columns.
            formats: give dates and times their number format too.
        """
        encoded: list[list[Cell] | None] = []
        rejections = []
        columns = [batch.column(column.name).to_pylist() for column in self._columns]
        for values in zip(*columns, strict=True):
            cells, problem = self._cells(values, formats=formats)
            encoded.append(None if problem else cells)
            if problem:
                rejections.append(problem)
        return encoded, rejections

    def cell(self, column: int, value: Any) -> dict[str, Any]:
        """One value; see `cells.cell_of`."""
        return cell_of(value, self._columns[column].type, self._zone, self._decimal)

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

    def _cells(self, values: Sequence[Any], *, formats: bool) -> tuple[list[Cell], Rejection | None]:
        cells: list[Cell] = []
        for index, value in enumerate(values):
            try:
                entered = self.cell(index, value)
            except ValueError as error:
                return [], self.rejection(index, value, error, self._key_text(values))
            cell: Cell = {"userEnteredValue": entered} if entered else {}
            kind = self._columns[index].type.kind
            if formats and "numberValue" in entered and kind in FORMATS:
                cell["userEnteredFormat"] = {"numberFormat": FORMATS[kind]}
            cells.append(cell)
        return cells, None

    def _key_text(self, values: Sequence[Any]) -> str | None:
        by_name = dict(zip((column.name for column in self._columns), values, strict=True))
        parts = [by_name[name] for name in self._key]
        return KEY_SEPARATOR.join(map(write_text, parts)) if parts and None not in parts else None
