"""From a staged record's coordinate columns back to a place that a person can open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import COORDINATES, FILE, ROW, SHEET
from sync_provider.core.errors import Where

if TYPE_CHECKING:
    import pyarrow as pa


def record_place(batch: pa.RecordBatch, index: int, letter: str | None = None) -> Where:
    """Where a record comes from: file:line, file sheet!cell, or row.

    Args:
        batch: staged records with their coordinate columns.
        index: 0-based position in the batch.
        letter: letters of the sheet column of the field at fault, if one is and they are known.
    """
    return place_of({name: batch.column(name)[index].as_py() for name in COORDINATES}, letter)


def place_of(coordinates: Mapping[str, Any], letter: str | None = None) -> Where:
    """The same of one record's coordinates, by the names of their columns."""
    file, sheet, row = coordinates[FILE], coordinates[SHEET], coordinates[ROW]
    if sheet is not None:
        return Where(file=file, sheet=sheet, cell=f"{letter}{row}" if letter else f"{row}:{row}")
    return Where(file=file, line=row) if file is not None else Where(row=row)
