"""Refused records that a person has corrected, on their way back in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sync_provider.connectors.base import FILE, ROW, SHEET, RawBatch
from sync_provider.engine.run import RunContext

if TYPE_CHECKING:
    from sync_provider.engine.transform import Conversion


@dataclass(slots=True)
class Replays:
    """Corrected records as raw batches, and their ids in the quarantine."""

    ids: list[int] = field(default_factory=list)
    batches: list[RawBatch] = field(default_factory=list)


def replayed(ctx: RunContext, conversion: Conversion) -> Replays:
    """What this run replays. A partial run replays nothing: it was asked for something else."""
    if ctx.params.limit is not None or ctx.params.keys or ctx.interval is not None:
        return Replays()
    pending = list(ctx.env.ledger.rejections.pending_replays(ctx.mapping.id))
    return Replays(
        ids=[rejection.id for rejection in pending],
        batches=list(_batches(ctx, conversion, pending)),
    )


def _batches(ctx: RunContext, conversion: Conversion, pending: list) -> Iterator[RawBatch]:  # type: ignore[type-arg]
    import pyarrow as pa

    from sync_provider.connectors.files.text_values import canonical

    if not pending:
        return
    decimal = getattr(ctx.mapping.source, "decimal", ".")
    order = getattr(ctx.mapping.source, "date_order", "ymd")
    columns = {}
    for column in conversion.columns:
        texts = pa.array([item.record.get(column.name) for item in pending], pa.string())
        columns[column.name] = texts if column.verbatim else canonical(texts, column.type, decimal, order)
    columns[FILE] = pa.array([item.where.file for item in pending], pa.string())
    columns[SHEET] = pa.array([item.where.sheet for item in pending], pa.string())
    columns[ROW] = pa.array([item.where.line or item.where.row for item in pending], pa.int64())
    yield RawBatch(records=pa.RecordBatch.from_pydict(columns))
