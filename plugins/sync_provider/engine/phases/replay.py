"""Refused records that a person has corrected, on their way back in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sync_provider.connectors.base import FILE, ROW, SHEET, RawBatch
from sync_provider.engine.run import RunContext

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_provider.engine.ledger.rejections import StoredRejection
    from sync_provider.engine.transform import Conversion


@dataclass(slots=True)
class Replays:
    """Corrected records as raw batches, each with the conversion it needs, and their numbers in the quarantine."""

    ids: list[int] = field(default_factory=list)
    batches: list[tuple[Conversion, RawBatch]] = field(default_factory=list)
    overruled: dict[str, dict[str, str | None]] = field(default_factory=dict)
    """Key → the record as it was refused: while the source still gives just that, the correction stands for it."""


def replayed(ctx: RunContext, from_source: Conversion, from_destination: Conversion) -> Replays:
    """What this run replays. A partial run replays nothing: it was asked for something else.

    Args:
        ctx: the run.
        from_source: for records that were refused before they were converted.
        from_destination: for records that were refused afterwards, which hold destination names and canonical text.
    """
    if ctx.params.limit is not None or ctx.params.keys or ctx.interval is not None:
        return Replays()
    pending = list(ctx.env.ledger.rejections.pending_replays(ctx.mapping.id))
    raw = [item for item in pending if item.phase == "extract"]
    typed = [item for item in pending if item.phase != "extract"]
    replays = Replays(
        ids=[item.id for item in pending],
        overruled={item.key: item.original for item in typed if item.key is not None},
    )
    if raw:
        replays.batches.append((from_source, _batch(ctx, from_source, raw)))
    if typed:
        replays.batches.append((from_destination, _batch(ctx, from_destination, typed)))
    return replays


def _batch(ctx: RunContext, conversion: Conversion, items: list[StoredRejection]) -> RawBatch:
    import pyarrow as pa

    from sync_provider.connectors.files.text_values import canonical

    decimal = getattr(ctx.mapping.source, "decimal", ".")
    order = getattr(ctx.mapping.source, "date_order", "ymd")
    columns: dict[str, pa.Array] = {}
    for column in conversion.columns:
        texts = pa.array([item.record.get(column.name) for item in items], pa.string())
        # A person corrects a value the way the source writes it.
        columns[column.name] = texts if column.verbatim else canonical(texts, column.type, decimal, order)
    columns[FILE] = pa.array([item.where.file for item in items], pa.string())
    columns[SHEET] = pa.array([item.where.sheet for item in items], pa.string())
    columns[ROW] = pa.array([item.where.line or item.where.row for item in items], pa.int64())
    return RawBatch(records=pa.RecordBatch.from_pydict(columns))
