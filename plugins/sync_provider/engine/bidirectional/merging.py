"""What becomes of the keys that differ: outcomes of `core.reconcile`, as change streams for both sides and a table of actions.

An *action* is one row per key of which something is to be remembered or counted: the baseline's next record, and what was decided. Records
are Python objects a chunk at a time; the plain cases pass through as Arrow batches.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import OLD, OP
from sync_provider.core.conflicts import (
    SIDES,
    Base,
    Circumstances,
    Conflict,
    Decision,
    Outcome,
    Rules,
    Side,
    Values,
    other,
    same,
)
from sync_provider.core.mapping import Mapping
from sync_provider.core.reconcile import reconcile
from sync_provider.engine.bidirectional import baseline
from sync_provider.engine.bidirectional.baseline import GONE, NAME_SEPARATOR, UNAGREED
from sync_provider.engine.bidirectional.differ import SETS, Differing
from sync_provider.engine.bidirectional.flips import Flips
from sync_provider.engine.bidirectional.sides import TIME
from sync_provider.engine.fingerprints import POSITION, one_spelling
from sync_provider.engine.keys import key_text
from sync_provider.engine.planning import change_schema

if TYPE_CHECKING:
    import pyarrow as pa

KEY = "__k"  # the key's text
BASE = "__b"  # position in the baseline that this row replaces; null: none
DROP = "__drop"  # the baseline shall not get this row: the key is gone, or nothing of it changes
HERE = "__in_"  # + side: whether the side holds a record now
DOES = "__op_"  # + side: what is written there
STATUS = "__status"
STATUSES = ("agreed", "written", "conflict", "waiting", "left")


def action_schema(mapping: Mapping) -> pa.Schema:
    """Schema of the table of actions: a baseline's, and the columns named above."""
    import pyarrow as pa

    extra = [
        (KEY, pa.string()),
        (BASE, pa.int64()),
        (DROP, pa.bool_()),
        *((HERE + side, pa.bool_()) for side in SIDES),
        *((DOES + side, pa.string()) for side in SIDES),
        (STATUS, pa.string()),
    ]
    return pa.schema([*baseline.schema(mapping), *(pa.field(*each) for each in extra)])


@dataclass(slots=True)
class Facts:
    """What a key's fate depends on beside its records.

    Args:
        now: time of the snapshot.
        grace_s: seconds that a record must have been gone before its deletion travels.
        incomplete: sides on which a refused record may be any of the missing ones.
        decisions: key text → what people decided about its fields.
        known: which of some keys stand on a side or in the baseline.
    """

    now: datetime
    grace_s: float
    incomplete: frozenset[Side]
    decisions: dict[str, dict[str | None, Decision]]
    known: Callable[[Iterable[str]], frozenset[str]]


@dataclass(slots=True)
class Chunk:
    """What some keys lead to.

    Args:
        changes: side → change stream in destination space, with the key's text in `KEY`.
        raws: raw source columns, aligned with the source's changes.
        actions: rows of `action_schema`.
        conflicts: key text and conflict.
    """

    changes: dict[Side, pa.RecordBatch]
    raws: dict[str, pa.Array]
    actions: pa.RecordBatch
    conflicts: list[tuple[str, Conflict]]


@dataclass(slots=True)
class Merger:
    """Reconciles chunk by chunk.

    Args:
        mapping: the integration.
        rules: its rules.
        schema: the mapped schema.
        raws: raw source columns (prefixed, as in the snapshot) → Arrow type.
        facts: see `Facts`.
        flips: what the last runs wrote.
        states: fingerprints of records; see `Differ.states`.
    """

    mapping: Mapping
    rules: Rules
    schema: pa.Schema
    raws: dict[str, pa.DataType]
    facts: Facts
    flips: Flips
    states: Callable[[pa.RecordBatch], list[int]]
    notes: Counter[str] = field(default_factory=Counter)

    def merge(self, found: Differing) -> Chunk:
        """Decide some keys."""
        work = _Work(self)
        columns = {name: found.records[name] for name in SETS}
        records = {name: [] if held is None else held.to_pylist() for name, held in columns.items()}
        for number, key in enumerate(found.keys.to_pylist()):
            held = {name: None if key[short] is None else records[name][number] for name, short in SETS.items()}
            work.take(key["k"], held, key["base_state"])
        work.copy_losers()
        work.note_writes()
        return work.chunk()

    def copy(self, found: Differing, side: Side) -> Chunk:
        """Records that were edited on this side only: the other side gets them whole, and so does the baseline."""
        import pyarrow as pa

        target, keys = other(side), found.keys
        new, old = found.records[side], found.records[target]
        assert new is not None
        assert old is not None
        names = [f.destination for f in self.mapping.fields]
        stream = change_schema(self.schema, names).append(pa.field(KEY, pa.string()))
        operation = pa.repeat(pa.scalar("update"), keys.num_rows)
        arrays = [operation, *(held.column(name) for held in (new, old) for name in names), keys.column("k")]
        states = (keys.column(name).to_pylist() for name in ("k", "base_state", f"{side}_state"))
        for key, base, state in zip(*states, strict=True):
            self.note_write(key, [target], base, state)
        bases = iter(keys.column("b").to_pylist())
        (actions,) = plain_actions(self.mapping, [new], here=SIDES, does={target: "update"}, bases=bases)
        return Chunk(
            changes={
                target: pa.RecordBatch.from_arrays(arrays, schema=stream),
                side: pa.RecordBatch.from_pylist([], schema=stream),
            },
            raws={
                name: old.column(name) if target == "source" else pa.array([], type_)
                for name, type_ in self.raws.items()
            },
            actions=actions,
            conflicts=[],
        )

    def note_write(self, key: str, written: list[Side], base: int, state: int) -> None:
        """Note that a record of the baseline is written, and to which state; see `Flips`."""
        kept = [side for side in SIDES if side not in written]
        if len(kept) == 1 and self.flips.wrote(key, kept[0]):
            # We wrote this very record there in the last run, and it is not what we wrote.
            self.notes["normalised"] += 1
        self.flips.writes(key, written, base, state)

    def json_fields(self) -> list[str]:
        return [f.destination for f in self.mapping.fields if f.logical_type.kind == "json"]


class _Work:
    """One chunk being decided."""

    def __init__(self, merger: Merger) -> None:
        self._m = merger
        self._names = [f.destination for f in merger.mapping.fields]
        self._json = merger.json_fields()
        self._changes: dict[Side, list[dict[str, Any]]] = {"source": [], "destination": []}
        self._actions: list[dict[str, Any]] = []
        self._conflicts: list[tuple[str, Conflict]] = []
        self._copies: dict[str, dict[str, Any]] = {}
        self._written: list[tuple[str, list[Side], int, Values | None]] = []

    def take(self, key: str, found: Dict[str, dict[str, Any] | None], state: int | None) -> None:
        """Decide one key.

        Args:
            key: its text.
            found: its record in each set.
            state: the baseline's, see `Flips`.
        """
        held: dict[Side, dict[str, Any] | None] = {side: found[side] for side in SIDES}
        record = {side: self._values(values) for side, values in held.items()}
        base = self._base(found["base"])
        outcome = reconcile(
            base,
            record["source"],
            record["destination"],
            self._m.rules,
            self._circumstances(key, held, found["base"]),
        )
        wanted = {"source": outcome.source, "destination": outcome.destination}
        does = {side: self._write(side, key, held[side], record[side], wanted[side]) for side in SIDES}
        self._conflicts += [(key, conflict) for conflict in outcome.conflicts]
        for copy in outcome.copies:
            self._copies[key_text(copy, self._m.mapping.key)] = dict(copy)
        if outcome.note:
            self._m.notes[outcome.note] += 1
        if state is not None and any(does.values()):
            written = [side for side in SIDES if does[side]]
            self._written.append((key, written, state, outcome.destination or outcome.source))
        self._act(key, found["base"], base, held, outcome, does)

    def _values(self, record: dict[str, Any] | None) -> dict[str, Any] | None:
        if record is None:
            return None
        values = {name: record[name] for name in self._names}
        for name in self._json:
            if values[name] is not None:
                values[name] = one_spelling(values[name])
        return values

    def _base(self, record: dict[str, Any] | None) -> Base | None:
        values = self._values(record)
        if values is None or record is None:
            return None
        return Base(values, frozenset(filter(None, (record[UNAGREED] or "").split(NAME_SEPARATOR))))

    def _circumstances(self, key: str, held: dict[Side, Any], base: dict[str, Any] | None) -> Circumstances:
        facts = self._m.facts
        may_delete = set()
        for side in SIDES:
            missing = other(side)
            since = base[GONE + missing] if base else None
            gone_s = (facts.now - since).total_seconds() if since is not None else 0.0
            if gone_s >= facts.grace_s:
                may_delete.add(side)
        return Circumstances(
            source_time=(held["source"] or {}).get(TIME),
            destination_time=(held["destination"] or {}).get(TIME),
            decisions=facts.decisions.get(key, {}),
            may_delete=frozenset(may_delete),
            unsure=facts.incomplete,
        )

    def _write(
        self,
        side: Side,
        key: str,
        held: dict[str, Any] | None,
        values: dict[str, Any] | None,
        wanted: Any,
    ) -> str | None:
        """Add what has to be written to a side for this key; returns the operation."""
        if held is None or values is None:
            if wanted is None:
                return None
            self._change(side, "insert", key, wanted, None)
            return "insert"
        if wanted is None:
            self._change(side, "delete", key, held, held)
            return "delete"
        # What stays is written as it stands, in the side's own spelling.
        new = {name: held[name] if same(wanted[name], values[name]) else wanted[name] for name in self._names}
        if all(new[name] is held[name] for name in self._names):
            return None
        self._change(side, "update", key, new, held)
        return "update"

    def _change(self, side: Side, operation: str, key: str, new: Any, old: dict[str, Any] | None) -> None:
        row = {OP: operation, KEY: key, **{name: new[name] for name in self._names}}
        row |= {OLD + name: old[name] if old else None for name in self._names}
        if side == "source":
            row |= {name: old[name] if old else None for name in self._m.raws}
        self._changes[side].append(row)

    def note_writes(self) -> None:
        """Note what is written of records of the baseline; their states are found all at once."""
        import pyarrow as pa

        records = [record for *_, record in self._written if record is not None]
        states = iter(self._m.states(pa.RecordBatch.from_pylist(records, schema=self._m.schema)))
        for key, written, base, record in self._written:
            self._m.note_write(key, written, base, 0 if record is None else next(states))

    def _act(
        self,
        key: str,
        old: dict[str, Any] | None,
        base: Base | None,
        held: dict[Side, Any],
        outcome: Outcome,
        does: dict[Side, str | None],
    ) -> None:
        """Remember the key where its baseline changes, it is written, or it must be counted apart."""
        written = any(does.values())
        if outcome.note == "deletes_waiting":
            status = "waiting"
        elif outcome.open:
            status = "conflict"
        elif written:
            status = "written"
        else:
            status = "agreed"
        gone = {side: self._gone(side, old, held, outcome) for side in SIDES}
        kept = old is not None and all(old[GONE + side] == gone[side] for side in SIDES) and _equal(base, outcome.base)
        unchanged = kept and not written
        if unchanged and status == "agreed":
            return
        values = outcome.base.values if outcome.base else dict.fromkeys(self._names)
        unagreed = NAME_SEPARATOR.join(sorted(outcome.base.unagreed)) if outcome.base else ""
        self._actions.append(
            {
                **{name: values[name] for name in self._names},
                UNAGREED: unagreed or None,
                **{GONE + side: gone[side] for side in SIDES},
                KEY: key,
                BASE: old[POSITION] if old and not unchanged else None,
                DROP: outcome.base is None or unchanged,
                **{HERE + side: held[side] is not None for side in SIDES},
                **{DOES + side: does[side] for side in SIDES},
                STATUS: status,
            }
        )

    def _gone(self, side: Side, old: dict[str, Any] | None, held: dict[Side, Any], outcome: Outcome) -> datetime | None:
        """Since when a record of the baseline has been missing on a side, while its deletion waits."""
        if outcome.note != "deletes_waiting" or held[side] is not None:
            return None
        return (old or {}).get(GONE + side) or self._m.facts.now

    def copy_losers(self) -> None:
        """Put second records of ``keep_both`` on both sides, but for those that are there already."""
        if not self._copies:
            return
        present = self._m.facts.known(self._copies)
        for key, copy in self._copies.items():
            if key in present:
                continue
            outcome = reconcile(None, None, copy, self._m.rules)
            assert outcome.base is not None
            self._change("source", "insert", key, outcome.source, None)
            self._change("destination", "insert", key, outcome.destination, None)
            self._actions.append(
                {
                    **outcome.base.values,
                    UNAGREED: NAME_SEPARATOR.join(sorted(outcome.base.unagreed)) or None,
                    **{GONE + side: None for side in SIDES},
                    KEY: key,
                    BASE: None,
                    DROP: False,
                    **{HERE + side: False for side in SIDES},
                    **{DOES + side: "insert" for side in SIDES},
                    STATUS: "written",
                }
            )

    def chunk(self) -> Chunk:
        """Everything decided, as Arrow."""
        import pyarrow as pa

        stream = change_schema(self._m.schema, self._names)
        keyed = stream.append(pa.field(KEY, pa.string()))
        source = self._changes["source"]
        return Chunk(
            changes={side: pa.RecordBatch.from_pylist(self._changes[side], schema=keyed) for side in SIDES},
            raws={name: pa.array([row[name] for row in source], type_) for name, type_ in self._m.raws.items()},
            actions=pa.RecordBatch.from_pylist(self._actions, schema=action_schema(self._m.mapping)),
            conflicts=self._conflicts,
        )


def _equal(one: Base | None, two: Base | None) -> bool:
    if one is None or two is None:
        return one is two
    return one.unagreed == two.unagreed and all(
        name in one.unagreed or same(value, two.values[name]) for name, value in one.values.items()
    )


def plain_actions(
    mapping: Mapping,
    batches: Iterable[pa.RecordBatch],
    *,
    here: Iterable[Side],
    does: dict[Side, str],
    bases: Iterator[Any] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Actions of whole batches of records whose baseline is the record itself.

    Args:
        mapping: the integration.
        batches: the records.
        here: sides that hold them.
        does: side → operation.
        bases: positions in the baseline, as many as there are records; None: it has none of them.
    """
    import pyarrow as pa

    from sync_provider.engine.keys import key_texts

    schema = action_schema(mapping)
    names = [f.destination for f in mapping.fields]
    for batch in batches:
        rows = batch.num_rows
        columns: dict[str, Any] = {name: batch.column(name) for name in names}
        columns[KEY] = pa.array(key_texts(batch, mapping.key, separator="|"), pa.string())
        if bases is not None:
            columns[BASE] = pa.array([next(bases) for _ in range(rows)], pa.int64())
        columns[DROP] = pa.repeat(pa.scalar(False), rows)
        for side in SIDES:
            columns[HERE + side] = pa.repeat(pa.scalar(side in tuple(here)), rows)
            columns[DOES + side] = pa.array([does.get(side)] * rows, pa.string())
        columns[STATUS] = pa.repeat(pa.scalar("written" if does else "agreed"), rows)
        arrays = [columns.get(f.name, pa.nulls(rows, f.type)).cast(f.type) for f in schema]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def dropped_actions(mapping: Mapping, positions: Iterable[int]) -> pa.RecordBatch:
    """Actions for records of the baseline that neither side has any more."""
    import pyarrow as pa

    rows = [
        {BASE: position, DROP: True, STATUS: "agreed", **{HERE + side: False for side in SIDES}}
        for position in positions
    ]
    return pa.RecordBatch.from_pylist(rows, schema=action_schema(mapping))


def conflict_line(key: str, conflict: Conflict) -> bytes:
    """One conflict as a line of JSON, values as canonical text; see `engine.ledger.conflicts`."""
    from sync_provider.engine.ledger.conflicts import LoggedConflict

    return json.dumps(LoggedConflict.of(key, conflict).as_dict(), ensure_ascii=False, sort_keys=True).encode() + b"\n"
