"""Write exactly the plan to both sides, under leases on both, and then, last, what they agree on now.

The order decides whether edits survive a crash: conflicts are recorded before a loser is overwritten, each side is compared before it is
written, and the baseline only follows what both sides hold. Killed anywhere, the next run ends where this one would have.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import KEY_SEPARATOR, Connector, TargetColumn, WriteRequest, WriteResult
from sync_provider.core.conflicts import SIDES, Side
from sync_provider.engine.bidirectional import baseline, sides
from sync_provider.engine.bidirectional.merging import BASE, DOES, DROP, HERE, KEY, STATUS
from sync_provider.engine.bidirectional.source_writing import SourceWriter
from sync_provider.engine.keys import SHOWN_SEPARATOR
from sync_provider.engine.lease import HeldLease, held_lease
from sync_provider.engine.ledger.conflicts import PENDING, LoggedConflict
from sync_provider.engine.phases.approve import check_approved
from sync_provider.engine.rejection_spool import RejectionSpool
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import staged_schema, unstage
from sync_provider.engine.steps import reached
from sync_provider.engine.transform import RAW

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def apply(ctx: RunContext) -> dict[str, Any]:
    """Apply the plan to both sides. A plan that this run has applied already is not applied again.

    Returns:
        Per side inserted, updated, deleted, deferred (moved since the plan), rejected (refused by the side); conflicts recorded.

    Raises:
        SyncValidationError: a guard stopped the plan and nobody approved it.
        SyncConnectionError: another writer holds a side (``lease_held``), or it cannot be reached.
        SyncDataError: the staged records are gone, or a lease was lost before the commit.
    """
    loads = ctx.env.ledger.loads
    with phase(ctx, "apply") as result:
        check_approved(ctx)
        digest = ctx.artifact("plan")["digest"]
        earlier = loads.get(ctx.id)
        if earlier is not None and earlier.result is not None and earlier.plan_digest == digest:
            log.info("this plan is applied already; nothing to do")
            result.counters, result.artifact = dict(earlier.result["counters"]), dict(earlier.result["artifact"])
        else:
            result.counters, result.artifact = _Application(ctx).carry_out()
    return result.counters


class _Application:
    """One plan being applied."""

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx
        self._plan = ctx.artifact("plan")
        self._accepted = ctx.artifact("validate")
        self._rejections: list[Any] = []

    def carry_out(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Lock, look whether a newer run was faster, write, remember."""
        ctx, loads = self._ctx, self._ctx.env.ledger.loads
        digest = self._plan["digest"]
        with ExitStack() as stack:
            opened = {side: stack.enter_context(ctx.connect(side)) for side in SIDES}
            resources = sorted({connector.capabilities.resource for connector in opened.values()})
            # In one order everywhere: two runs that want both never wait for each other.
            leases = [stack.enter_context(held_lease(ctx.env.ledger, resource, ctx.id)) for resource in resources]
            if newer := loads.superseded(ctx.mapping.id, ctx.id):
                log.warning("run %s has synchronised newer data; this plan is left alone", newer)
                return {"superseded": 1}, {"superseded_by": newer}
            loads.begin(ctx.id, digest)
            counters, artifact = self._write(opened, leases)
            loads.done(ctx.id, digest, {"counters": counters, "artifact": artifact})
        return counters, artifact

    def _write(self, opened: dict[Side, Connector], leases: list[HeldLease]) -> tuple[dict[str, Any], dict[str, Any]]:
        ctx = self._ctx
        new = ctx.env.ledger.conflicts.record(ctx.mapping.id, ctx.id, self.conflicts())
        reached("conflicts_logged")
        results: dict[Side, WriteResult] = {}
        unwritten: dict[str, str] = {}
        for side in SIDES:
            results[side] = self._write_side(side, opened[side], leases, unwritten)
            reached(f"{side}_written")
        with RejectionSpool(ctx.env.store, ctx.path("apply.rejections")) as spool:
            spool.add(self._rejections)
            spool.commit(ctx.env.ledger, ctx.id, "apply")
        tally = self._tally(unwritten)
        path = self._advance(unwritten)
        reached("baseline_staged")
        counters: dict[str, Any] = {"conflicts": new}
        for side, result in results.items():
            counters |= {
                f"{side}_inserted": result.inserted,
                f"{side}_updated": result.updated,
                f"{side}_deleted": result.deleted,
            }
        counters["deferred"] = sum(why == "deferred" for why in unwritten.values())
        counters["rejected"] = sum(why == "rejected" for why in unwritten.values())
        left: list[str] = []
        if unwritten:
            pending = ctx.env.ledger.conflicts.list(mapping_id=ctx.mapping.id, statuses=PENDING)
            in_conflict = {c.key for c in self.conflicts()} | {c.conflict.key for c in pending}
            left = sorted(in_conflict & unwritten.keys())
        return counters, {"baseline": path, "tally": tally, "unwritten": left}

    def conflicts(self) -> Iterator[LoggedConflict]:
        """The plan's conflicts but for those of records that validation refused."""
        refused = frozenset(self._accepted["refused"]["keys"])
        return (each for each in planned_conflicts(self._ctx) if each.key not in refused)

    def _write_side(
        self, side: Side, connector: Connector, leases: list[HeldLease], unwritten: dict[str, str]
    ) -> WriteResult:
        """Write one side; note the keys that were not written after all, and why."""
        ctx, mapping = self._ctx, self._ctx.mapping
        stream = self._stream(side, unwritten)
        first = next(stream, None)
        if first is None:
            return WriteResult()
        columns, key = self._columns(side)

        def fence() -> None:
            for lease in leases:
                lease.check()

        request = WriteRequest(
            mode="upsert",
            columns=columns,
            key=key,
            run_id=ctx.id,
            marker=f"{ctx.id}:{self._plan['digest']}:{side}",
            timezone=mapping.timezone,
            fence=fence,
        )
        result = connector.write(request, self._followed(side, first, stream))
        for text in result.deferred_keys:
            unwritten[_shown(text)] = "deferred"
        for rejection in result.rejections:
            shown = None if rejection.key is None else _shown(rejection.key)
            self._rejections.append(replace(rejection, key=shown))
            if shown is not None:
                unwritten[shown] = "rejected"
        return result

    def _followed(self, side: Side, first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sent = 0
        for batch in _chained(first, rest):
            reached(f"{side}_writing")
            yield batch
            sent += batch.num_rows
            self._ctx.env.progress("apply", sent)

    def _stream(self, side: Side, unwritten: dict[str, str]) -> Iterator[pa.RecordBatch]:
        """The side's changes, without keys that the other side did not take."""
        import pyarrow as pa
        import pyarrow.compute as pc

        left_out = pa.array(list(unwritten), pa.string())
        for batch in unstage(self._ctx.env.store, self._accepted[side]):
            kept = batch
            if len(left_out):
                kept = batch.filter(pc.invert(pc.is_in(batch.column(KEY), value_set=left_out)))
            if kept.num_rows:
                yield kept.drop_columns([KEY])

    def _columns(self, side: Side) -> tuple[tuple[TargetColumn, ...], tuple[str, ...]]:
        mapping = self._ctx.mapping
        if side == "destination":
            return sides.destination_columns(mapping), mapping.key
        schema = staged_schema(self._ctx.env.store, self._ctx.artifact("snapshot_source")["path"])
        raws = {name.removeprefix(RAW): schema.field(name).type for name in schema.names if name.startswith(RAW)}
        with SourceWriter(mapping, raws) as writer:
            return writer.columns, writer.key

    def _tally(self, unwritten: dict[str, str]) -> dict[str, dict[str, int]]:
        """Per side, its records by what became of them: status → records; keys that were not written count as such."""
        found: dict[str, dict[str, int]] = {side: {} for side in SIDES}
        columns = [KEY, STATUS, *(HERE + side for side in SIDES), *(DOES + side for side in SIDES)]
        for batch in unstage(self._ctx.env.store, self._accepted["actions"], columns):
            for row in batch.to_pylist():
                status = unwritten.get(row[KEY] or "", row[STATUS])
                for side in SIDES:
                    if row[HERE + side]:
                        found[side][status] = found[side].get(status, 0) + 1
        return found

    def _advance(self, unwritten: dict[str, str]) -> str | None:
        """Write the next baseline; None where it stays as it is."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        left_out = pa.array(list(unwritten), pa.string())
        before = baseline.Baseline(**self._plan["baseline"])

        def confirmed() -> Iterator[pa.RecordBatch]:
            for batch in unstage(self._ctx.env.store, self._accepted["actions"]):
                held_up = pc.fill_null(pc.is_in(batch.column(KEY), value_set=left_out), False)
                yield batch.filter(pc.invert(held_up))

        replaced = [batch.column(BASE).drop_null().to_numpy() for batch in confirmed()]
        added = sum(pc.sum(pc.invert(batch.column(DROP))).as_py() or 0 for batch in confirmed())
        if not added and not any(map(len, replaced)) and before.path is not None:
            return None
        positions = np.sort(np.concatenate(replaced)) if replaced else np.empty(0, dtype=np.int64)
        kept = (batch.filter(pc.invert(batch.column(DROP))) for batch in confirmed())
        return baseline.advance(self._ctx, before, kept, positions, version=self._plan["digest"][:12])


def planned_conflicts(ctx: RunContext) -> Iterator[LoggedConflict]:
    """The conflicts that this run's plan found, settled and open."""
    with ctx.env.store.open_read(ctx.artifact("plan")["conflicts"]) as lines:
        for line in lines:
            yield LoggedConflict(**json.loads(line))


def _shown(key: str) -> str:
    return key.replace(KEY_SEPARATOR, SHOWN_SEPARATOR)


def _chained(first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest
