"""First phase: read the source, convert to the mapped types, stage; refuse what does not convert."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import Connector, CursorRange, RawBatch, Reading, ReadRequest
from sync_provider.core.canonical import write_text
from sync_provider.core.errors import SyncDataError, Where
from sync_provider.engine.casts import to_text
from sync_provider.engine.identity import Unidentified, give_ids
from sync_provider.engine.keys import key_texts
from sync_provider.engine.phases import rejects_tab, unchanged
from sync_provider.engine.phases.boundary import Boundary
from sync_provider.engine.phases.bounds import Bounds, bounds_for
from sync_provider.engine.phases.replay import Replays, replayed
from sync_provider.engine.phases.unsettled import refuse_unsettled
from sync_provider.engine.planning import ABSENT
from sync_provider.engine.rejection_spool import RejectionSpool
from sync_provider.engine.run import Phase, RunContext, phase
from sync_provider.engine.staging import stage
from sync_provider.engine.transform import Conversion

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def extract(ctx: RunContext) -> dict[str, Any]:
    """Read the source and stage what converts.

    Returns:
        Counters read, staged, rejected, filtered, unchanged (appended by an earlier run), deferred_files; or read, which is 0, and
        source_unchanged, which is 1. With an ``id_column`` also ids_given, and without_id: rows that have none and wait.

    Raises:
        SyncDataError: a part was asked for of what can only be had whole, or records by a key that they have not.
        SyncConnectionError: a file is still being written, and the whole content was to be replaced.
    """
    with phase(ctx, "extract") as result:
        _check_part(ctx)
        bounds = bounds_for(ctx.mapping, ctx.params, ctx.env.ledger.cursors.get(ctx.mapping.id), ctx.interval)
        with ctx.connect("source") as source:
            version = unchanged.version_of(source)
            if unchanged.is_settled(ctx, version):
                result.counters = {"read": 0, "source_unchanged": 1}
                result.artifact = unchanged.nothing(ctx, version)
            else:
                _read(ctx, source, bounds, version, result)
    return result.counters


def _check_part(ctx: RunContext) -> None:
    mapping, params = ctx.mapping, ctx.params
    if params.keys and not mapping.key:
        raise SyncDataError(
            "records were asked for by key, and this integration has none",
            where=Where(field="key"),
            hint="Declare the key in the mapping, or start the run without keys.",
            code="no_key",
        )
    if mapping.write == "replace" and unchanged.asks_for_less(ctx) and not params.dry_run:
        raise SyncDataError(
            "write: replace swaps the whole content, and this run was asked for a part of it",
            where=Where(field="write"),
            hint="Start it without limit, keys, since and until, or as a dry run.",
            code="replace_by_part",
        )


def _read(ctx: RunContext, source: Connector, bounds: Bounds, version: str | None, result: Phase) -> None:
    mapping, env = ctx.mapping, ctx.env
    shown = rejects_tab.collect(ctx, source)
    boundary = Boundary.load(ctx) if mapping.write == "append" and bounds.live else None
    with (
        Conversion.for_source(mapping, positions=(positions := _positions(ctx, source))) as conversion,
        Conversion.for_destination(mapping) as reconversion,
        RejectionSpool(env.store, ctx.path("extract.rejections")) as spool,
    ):
        if given := give_ids(ctx, "source", source, conversion.columns):
            version = unchanged.version_of(source)  # our own change is none that the next run has to look at
        reading = source.read(
            ReadRequest(
                columns=conversion.columns,
                cursor=_pushed_down(bounds),
                limit=ctx.params.limit,
                known_files=frozenset() if ctx.params.full_refresh else env.ledger.files.known(mapping.id),
            )
        )
        intake = _Intake(ctx, conversion, bounds, boundary, spool)
        replays = replayed(ctx, conversion, reconversion)
        staged = stage(env.store, ctx.path("extracted.parquet"), intake.schema, intake.records(reading, replays))
        if mapping.write == "replace" and not unchanged.asks_for_less(ctx):
            refuse_unsettled(reading, "write: replace needs every file")
        spool.commit(env.ledger, ctx.id, "extract")
    unidentified = intake.unidentified.count
    intake.unidentified.tell()
    identities = {"ids_given": given, "without_id": unidentified} if mapping.id_column("source") else {}
    result.counters = {
        **intake.counters,
        **identities,
        "staged": staged.rows,
        "rejected": spool.count,
        "deferred_files": sum(file.deferred for file in reading.files),
    }
    result.artifact = {
        **staged.as_dict(),
        "read": intake.counters["read"],
        "rejected": spool.count,
        "unchanged": intake.counters["unchanged"],
        "filtered": intake.counters["filtered"],
        "without_id": unidentified,
        "cursor": intake.cursor,
        "letters": {f.destination: positions[f.source] for f in mapping.fields if f.source in positions},
        "partial": _is_partial(ctx, bounds, reading),
        "files": [[f.name, f.sha256, f.size_bytes] for f in reading.files if not f.deferred],
        "replays": replays.ids,
        "boundary": boundary.save(ctx, staged, intake.cursor) if boundary else None,
        "shown": shown,
        "version": None if unchanged.asks_for_less(ctx) else version,
    }


class _Intake:
    """Raw batches in, records of one schema out; counts what falls aside on the way."""

    def __init__(
        self, ctx: RunContext, conversion: Conversion, bounds: Bounds, boundary: Boundary | None, spool: RejectionSpool
    ) -> None:
        import pyarrow as pa

        self._conversion, self._bounds, self._boundary, self._spool = conversion, bounds, boundary, spool
        self._key, self._progress = ctx.mapping.key, ctx.env.progress
        self._wanted = frozenset(ctx.params.keys)
        self._optional = [f.destination for f in ctx.mapping.fields if f.optional]
        absent = [pa.field(ABSENT + name, pa.bool_()) for name in self._optional]
        self.schema = pa.schema([*conversion.schema, *absent])
        self.counters = {"read": 0, "filtered": 0, "unchanged": 0}
        self._mapped = [self.schema.field(f.destination) for f in ctx.mapping.fields]
        self.unidentified = Unidentified(ctx.mapping, "source")
        self._overruled: dict[str, dict[str, str | None]] = {}
        self._latest: Any = None

    @property
    def cursor(self) -> str | None:
        """The greatest cursor value seen, canonical; None where this run must not move the cursor."""
        return write_text(self._latest) if self._latest is not None and self._bounds.live else None

    def records(self, reading: Iterable[RawBatch], replays: Replays) -> Iterator[pa.RecordBatch]:
        self._overruled = replays.overruled
        for raw in reading:
            yield self._accept(self._conversion, raw, bounded=True)
        for conversion, raw in replays.batches:
            # A corrected record is wanted whatever its cursor says: the cursor has passed it already.
            yield self._accept(conversion, raw, bounded=False)

    def _accept(self, conversion: Conversion, raw: RawBatch, *, bounded: bool) -> pa.RecordBatch:
        import pyarrow as pa

        self.counters["read"] += raw.records.num_rows + len(raw.rejections)
        if bounded:
            raw = self.unidentified.leave_out(raw)
        converted = conversion.convert(raw)
        self._spool.add(raw.rejections)
        self._spool.add(converted.rejections)
        self._progress("extract", self.counters["read"])
        batch = converted.records
        if bounded:
            batch = self._without_overruled(self._bounds.select(batch))
        if self._wanted:
            texts = key_texts(batch, self._key, separator="|")
            batch = batch.filter(pa.array([text in self._wanted for text in texts], pa.bool_()))
        self.counters["filtered"] += converted.filtered + converted.records.num_rows - batch.num_rows
        self._follow(batch)
        if bounded and self._boundary is not None:
            fresh = self._boundary.drop_known(batch)
            self.counters["unchanged"] += batch.num_rows - fresh.num_rows
            batch = fresh
        flags = [pa.repeat(pa.scalar(name in converted.missing), batch.num_rows) for name in self._optional]
        return pa.RecordBatch.from_arrays([*batch.columns, *flags], schema=self.schema)

    def _without_overruled(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch without records that a person has corrected and the source still gives as they were refused."""
        if not self._overruled or batch.num_rows == 0:
            return batch
        import pyarrow as pa

        columns = {f.name: to_text(batch.column(f.name)).to_pylist() for f in self._mapped}
        keep = [
            self._overruled.get(key or "") != {name: texts[row] for name, texts in columns.items()}
            for row, key in enumerate(key_texts(batch, self._key, separator="|"))
        ]
        return batch.filter(pa.array(keep, pa.bool_()))

    def _follow(self, batch: pa.RecordBatch) -> None:
        if self._bounds.field is None or batch.num_rows == 0:
            return
        import pyarrow.compute as pc

        latest = pc.max(batch.column(self._bounds.field.destination)).as_py()
        if latest is not None and (self._latest is None or latest > self._latest):
            self._latest = latest


def _positions(ctx: RunContext, source: Connector) -> dict[str, str]:
    """Source column → letters of its column, where the source is a sheet."""
    if ctx.mapping.source.type not in ("excel", "google_sheets"):
        return {}
    return {column.name: column.position for column in source.describe() if column.position is not None}


def _pushed_down(bounds: Bounds) -> CursorRange | None:
    """Bounds the source itself can apply: only where its column holds the cursor as it is."""
    field = bounds.field
    if field is None or field.to_destination is not None or (bounds.since is None and bounds.until is None):
        return None
    return CursorRange(
        column=field.source,
        since=None if bounds.since is None else write_text(bounds.since),
        until=None if bounds.until is None else write_text(bounds.until),
    )


def _is_partial(ctx: RunContext, bounds: Bounds, reading: Reading) -> bool:
    """Whether records may be missing that the source still has: then nothing may be taken for deleted."""
    bounded = bounds.since is not None or bounds.until is not None
    return (
        bounded
        or ctx.params.limit is not None
        or bool(ctx.params.keys)
        or getattr(ctx.mapping.source, "only_new", False)
        or any(file.deferred for file in reading.files)
    )
