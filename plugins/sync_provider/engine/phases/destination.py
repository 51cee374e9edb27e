"""The destination as it is now, read for the plan and the backup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sync_provider.connectors.base import ReadRequest
from sync_provider.core.errors import SyncDataError
from sync_provider.core.report import Rejection
from sync_provider.engine.run import RunContext
from sync_provider.engine.transform import Conversion

if TYPE_CHECKING:
    import pyarrow as pa


def mapped_records(
    ctx: RunContext, conversion: Conversion, unreadable: dict[str, Rejection]
) -> Iterator[pa.RecordBatch]:
    """The mapped fields of every record, typed; nothing if the destination does not exist yet.

    Args:
        ctx: the run.
        conversion: the destination's.
        unreadable: takes the records that do not fit the mapped types, by key: they cannot be compared, and must not be overwritten
            unseen.

    Raises:
        SyncDataError: such a record has no readable key: it may be any.
    """
    with ctx.connect("destination") as connector:
        if not connector.describe():
            return
        for raw in connector.read(ReadRequest(columns=conversion.columns)):
            converted = conversion.convert(raw)
            for refused in (*raw.rejections, *converted.rejections):
                if refused.key is None or refused.field in ctx.mapping.key:
                    raise SyncDataError(
                        f"the destination holds a record that does not fit the mapping ({refused.rule})",
                        where=refused.where,
                        hint="Correct it there, or change the field's type in the mapping.",
                        code="destination_unreadable",
                    ).at(endpoint="destination", key=refused.key, field=refused.field)
                unreadable[refused.key] = refused
            yield converted.records


def whole_records(ctx: RunContext) -> Iterator[pa.RecordBatch]:
    """Every column of every record as it stands, mapped or not; nothing if the destination does not exist yet."""
    with ctx.connect("destination") as connector:
        if connector.describe():
            for raw in connector.read(ReadRequest()):
                yield raw.records


def count(ctx: RunContext) -> int:
    """How many records the destination holds."""
    return sum(batch.num_rows for batch in whole_records(ctx))
