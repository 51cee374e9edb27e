"""Which part of a source one run reads: cursor, interval, and what a person asked for. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sync_provider.core.changes import RunParams
from sync_provider.core.durations import parse_duration
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.mapping import FieldMapping, Mapping
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa


def parse_canonical(text: str, logical: LogicalType) -> Any:
    """Read canonical text (or what a person typed) as a value of the type.

    Raises:
        SyncDataError: it does not fit the type.
    """
    import pyarrow as pa

    try:
        if logical.kind == "timestamp":
            return datetime.fromisoformat(text).astimezone(UTC)
        return pa.scalar(text.strip()).cast(logical.to_arrow()).as_py()
    except (ValueError, pa.ArrowInvalid) as error:
        raise SyncDataError(
            f"{text!r} is no {logical}",
            hint="Give a timestamp with its zone, as 2025-01-31T00:00:00+01:00."
            if logical.kind == "timestamp"
            else "Give it as the field's declared type writes it, such as 2025-01-31 or 1200.50.",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A half-open range of the cursor field: ``since ≤ cursor < until``; None is unbounded.

    Args:
        field: the cursor's field; None when the mapping has no cursor.
        since: typed value or None.
        until: typed value or None.
        live: whether this run may move the stored cursor (a backfill or a partial read may not).
    """

    field: FieldMapping | None
    since: Any = None
    until: Any = None
    live: bool = False

    def select(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The records within bounds. A record without a cursor value is outside any bound."""
        if self.field is None or (self.since is None and self.until is None):
            return batch
        import pyarrow as pa
        import pyarrow.compute as pc

        column = batch.column(self.field.destination)
        inside = pc.is_valid(column)
        if self.since is not None:
            inside = pc.and_(inside, pc.greater_equal(column, pa.scalar(self.since, column.type)))
        if self.until is not None:
            inside = pc.and_(inside, pc.less(column, pa.scalar(self.until, column.type)))
        return batch.filter(inside)


def bounds_for(
    mapping: Mapping, params: RunParams, stored: str | None, interval: tuple[datetime, datetime] | None
) -> Bounds:
    """Decide the bounds of one run.

    Args:
        mapping: the integration.
        params: what a person asked for; ``since`` and ``until`` win over everything.
        stored: the committed cursor, canonical text.
        interval: data interval of a backfill; None for scheduled and manual runs, which follow the cursor.

    Raises:
        SyncDataError: bounds were asked of a mapping without a cursor, or do not fit the cursor's type.
    """
    if mapping.incremental is None:
        if params.since or params.until or interval:
            what = "a backfill" if interval else "since/until"
            raise SyncDataError(
                f"{what} needs a cursor, and this integration reads everything each time",
                where=Where(field="incremental"),
                hint="Declare incremental: {cursor: …} in the mapping, or start the run without it.",
                code="not_incremental",
            )
        return Bounds(field=None)
    field = next(f for f in mapping.fields if f.destination == mapping.incremental.cursor)
    logical = field.logical_type
    if params.since or params.until:
        return Bounds(
            field=field,
            since=parse_canonical(params.since, logical) if params.since else None,
            until=parse_canonical(params.until, logical) if params.until else None,
        )
    if interval:
        start, end = interval
        if logical.kind == "date":
            return Bounds(field=field, since=start.date(), until=end.date())
        if logical.kind != "timestamp":
            raise SyncDataError(
                f"a backfill loads intervals of time, and the cursor {field.destination} is a {logical}",
                where=Where(field="incremental.cursor"),
                hint="Use since and until instead.",
                code="backfill_untimed",
            )
        return Bounds(field=field, since=start, until=end)
    live = params.limit is None and not params.keys
    if stored is None or params.full_refresh:
        return Bounds(field=field, live=live)
    since = parse_canonical(stored, logical)
    lookback = parse_duration(mapping.incremental.lookback)
    if lookback:  # of dates and times only
        since -= lookback
    return Bounds(field=field, since=since, live=live)
