"""Both sides of a two-way integration in one space: destination names and declared types.

A snapshot of a side holds, for each of its records: the mapped fields; `TIME`, when the record was changed, where ``conflicts.change_time``
names a column; the coordinates; `OUT`, whether the filter leaves it out; and of the source the raw columns behind expressions, which are
expected there when it is written.
"""

from __future__ import annotations

from collections.abc import Mapping as Dict

from sync_provider.connectors.base import Connector, TargetColumn
from sync_provider.core.conflicts import Side
from sync_provider.core.mapping import Mapping
from sync_provider.core.schema import LogicalType
from sync_provider.engine.fingerprints import Fingerprints
from sync_provider.engine.transform import Conversion, ConversionField

TIME = "__time"
_TEXT = LogicalType("string")


def change_time(mapping: Mapping, side: Side) -> str | None:
    """The side's column that says when a record was changed."""
    return mapping.conflicts.change_time.get(side) if mapping.conflicts else None


def conversion(mapping: Mapping, side: Side, connector: Connector) -> Conversion:
    """How a side's raw batches become snapshot records; give it columns as `Conversion.columns` asks.

    Raises:
        MappingError: an expression or the filter is refused.
    """
    described = connector.describe()
    fields = [
        ConversionField(f.source, f.destination, f.logical_type, f.to_destination)
        if side == "source"
        else ConversionField(f.destination, f.destination, f.logical_type)
        for f in mapping.fields
    ]
    if column := change_time(mapping, side):
        fields.append(ConversionField(column, TIME, LogicalType("timestamp")))
    positions = {}
    if mapping.endpoint(side).type in ("excel", "google_sheets"):
        positions = {column.name: column.position for column in described if column.position is not None}
    return Conversion(
        fields,
        key=mapping.key,
        filter=mapping.filter,
        timezone=mapping.timezone,
        positions=positions,
        carried=_carried(mapping, {c.name: c.type for c in described}) if side == "source" else None,
        mark_filtered=True,
    )


def fingerprints(mapping: Mapping) -> Fingerprints:
    """What tells records of this integration apart. Use as a context manager."""
    return Fingerprints({f.destination: f.logical_type for f in mapping.fields}, mapping.key)


def _carried(mapping: Mapping, types: Dict[str, LogicalType]) -> dict[str, LogicalType]:
    """Source columns behind expressions: as text, or in a database's own types."""
    native = types if mapping.source.type == "sql" else {}
    return {f.source: native.get(f.source, _TEXT) for f in mapping.fields if f.to_destination is not None}


def destination_columns(mapping: Mapping) -> tuple[TargetColumn, ...]:
    """The destination's columns as they are written."""
    return tuple(
        TargetColumn(name=f.destination, type=f.logical_type, nullable=f.destination not in mapping.key)
        for f in mapping.fields
    )
