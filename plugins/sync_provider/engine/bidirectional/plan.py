"""Compare both sides with the baseline, decide, and stage what would be written to each. Nothing is written there."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import FILE, ROW, SHEET
from sync_provider.core.canonical import named_zone, read_text
from sync_provider.core.conflicts import SIDES, Decision, Rules, Side, other
from sync_provider.core.durations import parse_duration
from sync_provider.core.errors import Where
from sync_provider.core.guards import SideFacts, Trip, evaluate_two_way
from sync_provider.core.mapping import Mapping
from sync_provider.core.report import Rejection
from sync_provider.engine.bidirectional import baseline, merging, snapshot
from sync_provider.engine.bidirectional.differ import EDITED, Differ, Found, SideCounts
from sync_provider.engine.bidirectional.flips import Flips
from sync_provider.engine.bidirectional.in_step import InStep
from sync_provider.engine.bidirectional.merging import DOES, HERE, KEY, Chunk, Facts, Merger
from sync_provider.engine.bidirectional.source_writing import SourceWriter
from sync_provider.engine.fingerprints import comparable, picked
from sync_provider.engine.identity import copied_hint
from sync_provider.engine.ledger.conflicts import PENDING, LoggedConflict, StoredConflict
from sync_provider.engine.phases.plan import deleted_in_window, guard_error
from sync_provider.engine.planning import as_inserts, change_schema
from sync_provider.engine.rejection_spool import RejectionSpool
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import StageWriter, staged_schema, unstage
from sync_provider.engine.steps import reached
from sync_provider.engine.transform import RAW

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

CONFLICTS = "conflicts.jsonl"


def plan(ctx: RunContext) -> dict[str, Any]:
    """Stage the changes of both sides, the conflicts, and what the baseline would become.

    Returns:
        Counters inserts, updates, deletes (of both sides), per side, conflicts (open), settled, rejected, tripped, baseline.

    Raises:
        SyncValidationError: the baseline is one of other data; or a guard tripped and ``guards.on_trip`` is ``fail``. Nothing has been
            written.
    """
    with phase(ctx, "plan") as result:
        before = baseline.find(ctx)
        with ExitStack() as stack:
            planned = _Planned(ctx, before, stack)
            if not planned.recall():
                planned.prepare()
            planned.run()
        result.artifact, result.counters = planned.artifact(), planned.counters()
        trips = planned.trips
        if trips and ctx.mapping.guards.on_trip == "fail" and not ctx.params.dry_run:
            raise guard_error([Trip(**trip) for trip in trips])
        reached("planned")
    return result.counters


class _Planned:
    """One plan being made."""

    def __init__(self, ctx: RunContext, before: baseline.Baseline, stack: ExitStack) -> None:
        self._ctx, self._before = ctx, before
        mapping = ctx.mapping
        self._rules = Rules.of(mapping)
        self._snapshots = {side: ctx.artifact(f"snapshot_{side}") for side in SIDES}
        self._source_schema = staged_schema(ctx.env.store, self._snapshots["source"]["path"])
        self._schema = _mapped(self._source_schema, mapping)
        raws = {
            name: self._source_schema.field(name).type for name in self._source_schema.names if name.startswith(RAW)
        }
        self._raws = raws
        self._names = [f.destination for f in mapping.fields]
        self._flips = Flips.load(ctx)
        self._pending = list(ctx.env.ledger.conflicts.list(mapping_id=mapping.id, statuses=PENDING))
        self._incomplete: set[Side] = set()
        self._conflict_digest = hashlib.sha256()
        self._open = self._settled = self._rejected_rows = 0
        self._rejected_here: dict[Side, int] = dict.fromkeys(SIDES, 0)
        self._unfit: dict[Side, int] = dict.fromkeys(SIDES, 0)
        self.trips: list[dict[str, str]] = []
        self._blocked: frozenset[str] = frozenset()
        self._found: Found | None = None
        self._in_step: InStep | None = None
        self._differ = stack.enter_context(
            Differ(mapping, _plain_copies(self._rules), plain_edits=_plain_edits(self._rules, mapping))
        )
        self._spool = stack.enter_context(RejectionSpool(ctx.env.store, ctx.path("plan.rejections")))
        self._writer = stack.enter_context(
            SourceWriter(mapping, {name.removeprefix(RAW): type_ for name, type_ in raws.items()})
        )

    def _records(self, name: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        path = self._path(name)
        return iter(()) if path is None else unstage(self._ctx.env.store, path, columns)

    def _path(self, name: str) -> str | None:
        return self._before.path if name == "base" else self._snapshots[name]["path"]  # type: ignore[index]

    def _load(self, name: str) -> int:
        """Load a set, as little of it as is needed; returns its records."""
        path = self._path(name)
        stamped = path is not None and comparable(staged_schema(self._ctx.env.store, path))
        records = self._records(name, self._differ.needed(name) if stamped else None)
        return self._differ.load(name, records, stamped=stamped)

    def recall(self) -> bool:
        """Whether the run before has compared just these sets, and nothing differed: then there is nothing to prepare."""
        self._in_step = None if self._pending else InStep.seen_before(self._ctx, self._before)
        if self._in_step is None:
            return False
        log.info("both sides are as the last run left them")
        self._base_rows, self._counts = self._in_step.tracked, self._in_step.counts
        return True

    def prepare(self) -> None:
        """Load the three sets; refuse records without a key or with one that stands twice; find what differs."""
        for side in SIDES:
            self._load(side)
        self._base_rows = self._load("base")
        for side in SIDES:
            refused = snapshot.refused_keys(self._ctx, side)
            self._differ.block(side, "refused", refused.keys)
            keyless = self._differ.keyless(side)
            self._refuse(side, keyless, rule="key_missing", message="a part of the key is missing; fill it in")
            if not refused.complete or len(keyless):
                # A record without a readable key may be any that seems to be missing here.
                self._incomplete.add(side)
            positions, keys = self._differ.repeated(side)
            self._refuse(side, positions, rule="duplicate_key", message="")
            self._differ.block(side, "repeated", keys)
            self._rejected_here[side] = len(keyless) + len(positions)
        if self._ctx.params.keys:
            self._differ.block_others(self._ctx.params.keys)
        self._found = self._differ.compare(stored.conflict.key for stored in self._pending)
        self._counts = {side: self._differ.counts(side) for side in SIDES}
        self._blocked = self._differ.blocked(stored.conflict.key for stored in self._pending)
        whole = not (self._pending or self._ctx.params.keys or any(self._rejected_here.values()))
        if whole and self._found.nothing:
            self._in_step = InStep(self._base_rows, self._counts)

    def _refuse(self, side: Side, positions: Any, *, rule: str, message: str) -> None:
        """Reject the records at these positions; those that share a key name each other's places."""
        if not len(positions):
            return
        from sync_provider.engine.keys import key_texts

        found: list[tuple[str | None, Where]] = []
        for batch in picked(self._records(side), positions):
            keys = key_texts(batch, self._ctx.mapping.key, separator="|")
            for key, row in zip(keys, batch.select([FILE, SHEET, ROW]).to_pylist(), strict=True):
                found.append((key, _place(self._ctx, side, row)))
        places: dict[str | None, list[str]] = {}
        for key, where in found:
            places.setdefault(key, []).append(str(where) or "?")
        for key, where in found:
            text = message or (
                f"{' and '.join(places[key])} hold this key on the {side}; none of them is synchronised. "
                + (copied_hint(self._ctx.mapping, side) or "Delete the surplus")
            )
            self._spool.add([Rejection(rule=rule, message=text, where=where, key=key)])

    def run(self) -> None:
        """Decide everything, and write the streams."""
        ctx = self._ctx
        keyed = _keyed(change_schema(self._schema, self._names))
        source_schema = _keyed(self._writer.schema)
        with (
            StageWriter(ctx.env.store, ctx.path("changes.source.parquet"), source_schema) as source,
            StageWriter(ctx.env.store, ctx.path("changes.destination.parquet"), keyed) as destination,
            StageWriter(ctx.env.store, ctx.path("actions.parquet"), merging.action_schema(ctx.mapping)) as actions,
            ctx.env.store.open_write(ctx.path(CONFLICTS)) as conflicts,
        ):
            self._out: dict[str, Any] = {
                "source": source, "destination": destination, "actions": actions, "conflicts": conflicts
            }  # fmt: skip
            if self._found is not None:
                self._plain(self._found)
            merger = Merger(
                ctx.mapping, self._rules, self._schema, self._raws, self._facts(), self._flips, self._differ.states
            )
            if self._found is not None and self._found.differing:
                again = {name: (lambda name=name: self._records(name)) for name in (*SIDES, "base")}
                edited = {kind: side for side, kind in EDITED.items()}
                for found in self._differ.differing(again):
                    side = edited.get(found.kind)
                    self._take(merger.merge(found) if side is None else merger.copy(found, side))
            self._notes = dict(merger.notes)
        self._spool.commit(ctx.env.ledger, ctx.id, "plan")
        self._staged = {name: self._out[name].staged for name in ("source", "destination", "actions")}
        self._flips_path = None if ctx.params.dry_run else self._flips.save(ctx)
        self._guard()

    def _plain(self, found: Found) -> None:
        """The cases without a rule: agreements, new records of one side, records that are gone on both."""
        mapping = self._ctx.mapping
        actions = self._out["actions"]
        if found.agreed.num_rows:
            positions = found.agreed.column("p").combine_chunks()
            agreed = picked(self._records("source"), _array(positions))
            bases = iter(found.agreed.column("b").to_pylist())
            for batch in merging.plain_actions(mapping, agreed, here=SIDES, does={}, bases=bases):
                actions.write(batch)
        for side in SIDES:
            target = other(side)
            for batch in picked(self._records(side), found.new[side]):
                for action in merging.plain_actions(mapping, [batch], here=[side], does={target: "insert"}):
                    inserts = next(as_inserts([batch], self._names, self._schema))
                    keys = action.column(KEY)
                    self._write(target, _with_keys(inserts, keys), {}, action)
        if len(found.gone_base):
            actions.write(merging.dropped_actions(mapping, found.gone_base.to_pylist()))

    def _take(self, chunk: Chunk) -> None:
        refused = self._write_source(chunk.changes["source"], chunk.raws)
        self._note_unfit(chunk.actions, refused)
        chunk = _without(chunk, refused)
        self._out["destination"].write(chunk.changes["destination"])
        self._out["actions"].write(chunk.actions)
        for key, conflict in chunk.conflicts:
            line = merging.conflict_line(key, conflict)
            self._out["conflicts"].write(line)
            self._conflict_digest.update(line)
            if conflict.winner is None:
                self._open += 1
            else:
                self._settled += 1

    def _write(self, target: Side, changes: pa.RecordBatch, raws: dict[str, Any], actions: pa.RecordBatch) -> None:
        """A batch of plain inserts into one side, and their actions."""
        refused: frozenset[str] = frozenset()
        if target == "source":
            import pyarrow as pa

            raws = {name: pa.nulls(changes.num_rows, type_) for name, type_ in self._raws.items()}
            refused = self._write_source(changes, raws)
        else:
            self._out[target].write(changes)
        self._note_unfit(actions, refused)
        self._out["actions"].write(_lacking(actions, refused))

    def _note_unfit(self, actions: pa.RecordBatch, refused: frozenset[str]) -> None:
        """Count the records of each side behind keys that cannot be written back."""
        for row in actions.to_pylist() if refused else ():
            if row[KEY] in refused:
                for side in SIDES:
                    self._unfit[side] += row[HERE + side]

    def _write_source(self, changes: pa.RecordBatch, raws: dict[str, Any]) -> frozenset[str]:
        """Add changes of the source; returns the keys of those that cannot be written so that they read back."""
        if not changes.num_rows:
            return frozenset()
        bare = changes.drop_columns([KEY])
        batch, problems = self._writer.convert(bare, {name.removeprefix(RAW): array for name, array in raws.items()})
        keys = changes.column(KEY)
        refused = frozenset(keys[row].as_py() for row in problems)
        for row, problem in problems.items():
            self._spool.add([replace(problem, key=keys[row].as_py())])
        self._rejected_rows += len(refused)
        # Conflicts of these stay as they are.
        self._blocked |= refused & {stored.conflict.key for stored in self._pending}
        self._out["source"].write(_lacking(_with_keys(batch, keys), refused))
        return refused

    def _facts(self) -> Facts:
        ctx = self._ctx
        return Facts(
            now=ctx.env.clock.now(),
            grace_s=parse_duration(ctx.mapping.delete_grace).total_seconds(),
            incomplete=frozenset(self._incomplete),
            decisions=_decisions(ctx, self._pending),
            known=self._differ.known,
        )

    def _guard(self) -> None:
        ctx = self._ctx
        facts = []
        operations = _operations(ctx, self._staged["actions"].path)
        for side in SIDES:
            counts = self._counts[side]
            facts.append(
                SideFacts(
                    side=side,
                    existing=counts.records + self._snapshots[side]["rejected"],
                    tracked=self._base_rows,
                    present=counts.tracked,
                    changed=counts.changed,
                    deletes=operations[side].get("delete", 0),
                )
            )
        self._operations = operations
        found = evaluate_two_way(
            ctx.mapping.guards, facts, deleted_in_window=deleted_in_window(ctx), flipping=self._flips.flipping
        )
        if ctx.params.allow_deletes_once:
            found = [trip for trip in found if trip.guard == "flipping"]
        self.trips = [trip.as_dict() for trip in found]

    def artifact(self) -> dict[str, Any]:
        """What later phases need."""
        digest = hashlib.sha256()
        for name in ("source", "destination"):
            digest.update(self._staged[name].digest.encode())
        digest.update(self._conflict_digest.digest())
        operations = self._operations
        return {
            "digest": digest.hexdigest(),
            "source": self._staged["source"].as_dict(),
            "destination": self._staged["destination"].as_dict(),
            "actions": self._staged["actions"].as_dict(),
            "conflicts": self._ctx.path(CONFLICTS),
            "raws": {name: str(type_) for name, type_ in self._raws.items()},
            "baseline": {"path": self._before.path, "state": self._before.state},
            "counts": {
                side: _counts(self._counts[side], self._snapshots[side], self._rejected_here[side]) for side in SIDES
            },
            "open": self._open,
            "settled": self._settled,
            "notes": self._notes,
            "flips": self._flips_path,
            "blocked": sorted(self._blocked),
            "trips": self.trips,
            "in_step": self._in_step and self._in_step.as_dict(),
            "unfit": self._unfit,
            "rejected": self._rejected_rows + sum(self._rejected_here.values()),
            "inserts": sum(operations[side].get("insert", 0) for side in SIDES),
            "updates": sum(operations[side].get("update", 0) for side in SIDES),
            "deletes": sum(operations[side].get("delete", 0) for side in SIDES),
        }

    def counters(self) -> dict[str, Any]:
        """The plan in numbers, for people."""
        by_side = {
            f"{side}_{name}s": self._operations[side].get(name, 0)
            for side in SIDES
            for name in ("insert", "update", "delete")
        }
        return {
            **{
                f"{name}s": sum(self._operations[side].get(name, 0) for side in SIDES)
                for name in ("insert", "update", "delete")
            },
            **by_side,
            "conflicts": self._open,
            "settled": self._settled,
            "rejected": self._rejected_rows + sum(self._rejected_here.values()),
            "tripped": len(self.trips),
            "baseline": self._before.state,
        }


def _plain_copies(rules: Rules) -> list[Side]:
    """Sides whose new records every rule would copy whole."""
    return [side for side in SIDES if all(rule.owner != other(side) for rule in rules.fields)]


def _plain_edits(rules: Rules, mapping: Mapping) -> bool:
    """Whether a record that was edited on one side only is copied whole, whatever stands in it."""
    spelled = any(field.logical_type.kind == "json" for field in mapping.fields)  # what stays keeps its own spelling
    return not spelled and all(rule.owner is None and rule.nulls == "clear" for rule in rules.fields)


def _mapped(schema: pa.Schema, mapping: Mapping) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([schema.field(f.destination) for f in mapping.fields])


def _keyed(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    return schema.append(pa.field(KEY, pa.string()))


def _with_keys(batch: pa.RecordBatch, keys: Any) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([*batch.columns, keys], schema=_keyed(batch.schema))


def _lacking(batch: pa.RecordBatch, keys: Iterable[str]) -> pa.RecordBatch:
    """The batch without the rows of these keys."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = list(keys)
    if not wanted:
        return batch
    return batch.filter(pc.invert(pc.is_in(batch.column(KEY), value_set=pa.array(wanted, pa.string()))))


def _without(chunk: Chunk, keys: frozenset[str]) -> Chunk:
    if not keys:
        return chunk
    return replace(
        chunk,
        changes={side: _lacking(batch, keys) for side, batch in chunk.changes.items()},
        actions=_lacking(chunk.actions, keys),
        conflicts=[each for each in chunk.conflicts if each[0] not in keys],
    )


def _array(chunked: Any) -> Any:
    import pyarrow as pa

    return pa.array(chunked).cast(pa.int64()) if not isinstance(chunked, pa.Array) else chunked.cast(pa.int64())


def _place(ctx: RunContext, side: Side, row: dict[str, Any]) -> Where:
    endpoint = ctx.mapping.endpoint(side)
    if row[SHEET] is not None:
        return Where(file=row[FILE], sheet=row[SHEET], cell=f"A{row[ROW]}" if row[ROW] else None)
    if row[FILE] is not None:
        return Where(file=row[FILE], line=row[ROW])
    return Where(endpoint=f"{side} ({endpoint.type})", row=row[ROW])


def _decisions(ctx: RunContext, pending: Iterable[StoredConflict]) -> dict[str, dict[str | None, Decision]]:
    """What people decided and no run has applied yet, with values of the fields' types."""
    zone = named_zone(ctx.mapping.timezone)
    types = {f.destination: f.logical_type for f in ctx.mapping.fields}

    def value(name: str, text: str | None) -> Any:
        if text is None:
            return None
        # A database's doubles may be what no text of a file means: nan, inf.
        return float(text) if types[name].kind == "double" else read_text(text, types[name], zone)

    def values(name: str | None, logged: Any) -> Any:
        if name is not None:
            return value(name, logged)
        return None if logged is None else {part: value(part, text) for part, text in logged.items()}

    found: dict[str, dict[str | None, Decision]] = {}
    for stored in pending:
        conflict: LoggedConflict = stored.conflict
        known = conflict.field is None or conflict.field in types
        if stored.status == "decided" and stored.choice is not None and known:
            found.setdefault(conflict.key, {})[conflict.field] = Decision(
                number=stored.id,
                choice=stored.choice,  # type: ignore[arg-type]  # the log's own words
                value=values(conflict.field, stored.value),
                source=values(conflict.field, conflict.source),
                destination=values(conflict.field, conflict.destination),
            )
    return found


def _operations(ctx: RunContext, path: str) -> dict[Side, dict[str, int]]:
    """Side → operation → how many."""
    import pyarrow.compute as pc

    found: dict[Side, dict[str, int]] = {side: {} for side in SIDES}
    for batch in unstage(ctx.env.store, path, [DOES + side for side in SIDES]):
        for side in SIDES:
            for row in pc.value_counts(batch.column(DOES + side)).to_pylist():
                if row["values"] is not None:
                    found[side][row["values"]] = found[side].get(row["values"], 0) + row["counts"]
    return found


def _counts(counts: SideCounts, snapshot: dict[str, Any], refused_here: int) -> dict[str, int]:
    """What of a side is counted before anything is written."""
    return {
        "read": snapshot["read"],
        "rejected": snapshot["rejected"] + refused_here,
        "filtered": counts.filtered,
        "deferred": counts.left_alone + snapshot["without_id"],
    }
