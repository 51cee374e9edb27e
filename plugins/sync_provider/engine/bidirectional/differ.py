"""Which keys matter: three sets compared by fingerprint, and the records behind the few that differ.

Nothing is decided here but the plain cases, in which no rule has a say: records that are equal on both sides, records that only one side
has and the other has never had, and records that were edited on one side only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sync_provider.core.conflicts import SIDES, Side
from sync_provider.core.mapping import Mapping
from sync_provider.engine.bidirectional import sides
from sync_provider.engine.bidirectional.baseline import GONE, UNAGREED
from sync_provider.engine.fingerprints import FINGERPRINTS, POSITION, picked
from sync_provider.engine.keys import key_text_sql
from sync_provider.engine.scratch import quote
from sync_provider.engine.transform import OUT

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 8_192  # records that become Python objects at a time
SETS = {"source": "s", "destination": "d", "base": "b"}
# Kinds of keys that differ: the record was edited on one side only, and any rule would copy it; or the rules have to say.
EDITED: dict[Side, str] = {"source": "edited_source", "destination": "edited_destination"}
RECONCILE = "reconcile"
_CLEAN = "__clean"  # whether both sides agreed on all of a baseline's record, and none has lost it
_MARKS = {"source": (OUT,), "destination": (OUT,), "base": (UNAGREED, *(GONE + side for side in SIDES))}
_FETCHED = 131_072  # records of a set that are held in memory at once

_EVERYWHERE = "SELECT k FROM s UNION SELECT k FROM d UNION SELECT k FROM b"

Batches = Iterable["pa.RecordBatch"]


@dataclass(slots=True)
class SideCounts:
    """How a side compares, in records.

    Args:
        records: all that could be read.
        filtered: out of the filter's scope, here or on the other side.
        left_alone: in scope here, but held up by the other side (refused or repeated there).
        repeated: records that share their key with another one here.
        changed: of those that are in the baseline, how many differ from it.
        tracked: of those that are in the baseline, how many are here.
    """

    records: int = 0
    filtered: int = 0
    left_alone: int = 0
    repeated: int = 0
    changed: int = 0
    tracked: int = 0


@dataclass(slots=True)
class Found:
    """Positions of the plain cases, ascending (numpy), by kind."""

    agreed: Any = None
    """Source records that equal the destination's, and are not what the baseline has: a table of ``p`` and ``b``, the
    position of the baseline's record (null: it has none)."""
    new: dict[Side, Any] = field(default_factory=dict)
    """Records that only this side has, and the baseline has not."""
    gone_base: Any = None
    """Baseline records that neither side has any more."""
    differing: int = 0
    """How many other keys differ; see `Differ.differing`."""

    @property
    def nothing(self) -> bool:
        """Whether all three are in step."""
        return not (self.agreed.num_rows or any(map(len, self.new.values())) or len(self.gone_base) or self.differing)


@dataclass(frozen=True, slots=True)
class Differing:
    """Some keys of one kind, with their records.

    Args:
        kind: `RECONCILE`, or one of `EDITED`.
        keys: ``k``, the key's text; ``s``, ``d``, ``b``: positions of its records, null where a set has none; ``source_state``,
            ``destination_state``, ``base_state``: their first fingerprints.
        records: set → its records, aligned with ``keys``; None where the set has none of them. The baseline's are there for
            `RECONCILE` only.
    """

    kind: str
    keys: pa.RecordBatch
    records: dict[str, pa.RecordBatch | None]


class Differ:
    """Compares the snapshots with the baseline. Use as a context manager: load the three, `block`, then `compare`.

    Args:
        mapping: the integration.
        plain_copies: sides whose new records any rule would copy as they are.
        plain_edits: whether any rule would copy a record that was edited on one side only.
    """

    def __init__(self, mapping: Mapping, plain_copies: Iterable[Side], *, plain_edits: bool) -> None:
        self._mapping = mapping
        self._plain = frozenset(plain_copies)
        self._plain_edits = plain_edits
        self._names = [f.destination for f in mapping.fields]
        self._keys = [quote(name) for name in mapping.key]
        self._sets = sides.fingerprints(mapping)
        self._db = self._sets.db
        self._db.execute("CREATE TABLE blocked (side VARCHAR, why VARCHAR, k VARCHAR)")

    def load(self, name: str, batches: Batches, *, stamped: bool = False) -> int:
        """Load ``source``, ``destination`` or ``base``; returns its records.

        Args:
            name: of the set.
            batches: its records; at least the columns that `needed` names, if they are ``stamped``, see `Fingerprints.load`.
            stamped: whether they have comparable fingerprints.
        """
        marks = _MARKS[name]
        computed = {_CLEAN: " AND ".join(f"{each} IS NULL" for each in marks)} if name == "base" else {OUT: OUT}
        rows = self._sets.load(f"{SETS[name]}_set", batches, given=marks, computed=computed, stamped=stamped)
        # The key's text is made where it is asked for: mostly of the few records that differ.
        self._db.execute(
            f"CREATE VIEW {SETS[name]} AS SELECT *, {key_text_sql(self._mapping, 'each')} AS k FROM {SETS[name]}_set each"  # noqa: S608
        )
        return rows

    def needed(self, name: str) -> list[str]:
        """Columns of a set whose records have comparable fingerprints."""
        return [*self._mapping.key, *_MARKS[name], *FINGERPRINTS]

    def states(self, records: pa.RecordBatch) -> list[int]:
        """The first fingerprint of each record; see `Flips`."""
        return self._sets.of(records).column(FINGERPRINTS[0]).to_pylist()  # type: ignore[no-any-return]

    def block(self, side: Side, why: str, keys: Iterable[str]) -> None:
        """Leave these keys (canonical text) alone on both sides: ``refused``, ``repeated`` or ``other``."""
        import pyarrow as pa

        self._db.register("blocked_keys", pa.table({"k": pa.array(list(keys), pa.string())}))
        self._db.execute("INSERT INTO blocked SELECT DISTINCT ?, ?, k FROM blocked_keys", [side, why])
        self._db.unregister("blocked_keys")

    def block_others(self, keys: Iterable[str]) -> None:
        """Leave everything but these keys alone."""
        import pyarrow as pa

        self._db.register("wanted_keys", pa.table({"k": pa.array(list(keys), pa.string())}))
        self._db.execute(
            f"INSERT INTO blocked SELECT 'both', 'other', k FROM ({_EVERYWHERE}) WHERE k NOT IN (SELECT k FROM wanted_keys)"  # noqa: S608
        )
        self._db.unregister("wanted_keys")

    def keyless(self, side: Side) -> Any:
        """Positions (ascending) of the records of a side that lack a part of their key; they are left out from now on."""
        table = SETS[side]
        found = self._positions(f"SELECT {POSITION} AS p FROM {table} WHERE k IS NULL ORDER BY p")  # noqa: S608
        if len(found):
            without = f"SELECT {POSITION} FROM {table} WHERE k IS NULL"  # noqa: S608
            self._db.execute(f"DELETE FROM {table}_set WHERE {POSITION} IN ({without})")  # noqa: S608
        return found

    def known(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of the keys that stand anywhere: on a side, or in the baseline."""
        query = f"SELECT k FROM ({_EVERYWHERE}) WHERE k IN (SELECT unnest(?))"  # noqa: S608
        # Asked for while `rows` is being read, whose result a second query on the same connection would end.
        with self._db.cursor() as connection:
            return frozenset(row[0] for row in connection.execute(query, [list(keys)]).fetchall())

    def blocked(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of the keys that are left alone in this run; after `compare`."""
        query = "SELECT k FROM held WHERE k IN (SELECT unnest(?))"
        return frozenset(row[0] for row in self._db.execute(query, [list(keys)]).fetchall())

    def repeated(self, side: Side) -> tuple[Any, list[str]]:
        """Positions (ascending) of the records of a side whose key stands there more than once, and those keys."""
        table = SETS[side]
        again = f"SELECT k FROM {table} GROUP BY k HAVING count(*) > 1"  # noqa: S608
        keys = [row[0] for row in self._db.execute(f"{again} ORDER BY k").fetchall()]
        if not keys:
            return self._positions("SELECT 0::BIGINT AS p WHERE false"), []
        return self._positions(f"SELECT {POSITION} AS p FROM {table} WHERE k IN ({again}) ORDER BY p"), keys  # noqa: S608

    def compare(self, contested: Iterable[str]) -> Found:
        """Sort every key into a plain case or among those to be reconciled.

        Args:
            contested: keys on which people decide: no edit of them is plain.
        """
        import pyarrow as pa

        for side in SIDES:
            table = SETS[side]
            self._db.execute(
                f"INSERT INTO blocked SELECT '{side}', 'filtered', k FROM {table} WHERE {OUT}"  # noqa: S608
            )
        self._db.execute("CREATE TABLE held AS SELECT DISTINCT k FROM blocked")
        one, two = FINGERPRINTS
        b_keys, s_keys, d_keys = ([f"{t}.{k}" for k in self._keys] for t in ("b", "s", "d"))
        live = "" if not self._count("SELECT count(*) FROM held") else "ANTI JOIN held USING (k)"
        # What is in step is most of it, and is only counted: see `counts`.
        self._db.execute(
            f"""
            CREATE TABLE odd AS SELECT
                coalesce(s.k, d.k, b.k) AS k, s.{POSITION} AS s, d.{POSITION} AS d, b.{POSITION} AS b,
                s.{one} AS source_state, d.{one} AS destination_state, b.{one} AS base_state,
                s.{one} IS NOT DISTINCT FROM d.{one} AND s.{two} IS NOT DISTINCT FROM d.{two} AS same_sides,
                s.{one} IS NOT DISTINCT FROM b.{one} AND s.{two} IS NOT DISTINCT FROM b.{two} AS source_kept,
                d.{one} IS NOT DISTINCT FROM b.{one} AND d.{two} IS NOT DISTINCT FROM b.{two} AS destination_kept,
                coalesce(b.{_CLEAN}, true) AS clean
            FROM (FROM s {live}) s FULL JOIN (FROM d {live}) d ON {_equal(s_keys, d_keys)}
            FULL JOIN (FROM b {live}) b
                ON {_equal([f"coalesce({s}, {d})" for s, d in zip(s_keys, d_keys, strict=True)], b_keys)}
            WHERE NOT (same_sides AND source_kept AND b.{_CLEAN} AND s.{POSITION} IS NOT NULL)
            """  # noqa: S608
        )
        self._db.register("contested_keys", pa.table({"k": pa.array(list(contested), pa.string())}))
        both = "s IS NOT NULL AND d IS NOT NULL"
        edited = f"{self._plain_edits} AND {both} AND b IS NOT NULL AND clean AND k NOT IN (FROM contested_keys)"
        cases = {
            "agreed": f"{both} AND same_sides",
            "new_source": f"s IS NOT NULL AND d IS NULL AND b IS NULL AND {'source' in self._plain}",
            "new_destination": f"d IS NOT NULL AND s IS NULL AND b IS NULL AND {'destination' in self._plain}",
            "gone": "s IS NULL AND d IS NULL",
            EDITED["source"]: f"{edited} AND destination_kept",
            EDITED["destination"]: f"{edited} AND source_kept",
        }
        sorted_out = " ".join(f"WHEN {condition} THEN '{name}'" for name, condition in cases.items())
        self._db.execute(f"CREATE TABLE todo AS SELECT *, CASE {sorted_out} ELSE '{RECONCILE}' END AS kind FROM odd")  # noqa: S608
        self._db.unregister("contested_keys")
        return Found(
            agreed=self._db.sql("SELECT s AS p, b FROM todo WHERE kind = 'agreed' ORDER BY p").to_arrow_table(),
            new={side: self._of_kind(SETS[side], f"new_{side}") for side in SIDES},
            gone_base=self._of_kind("b", "gone"),
            differing=self._count(f"SELECT count(*) FROM todo WHERE kind IN {(RECONCILE, *EDITED.values())}"),  # noqa: S608
        )

    def _of_kind(self, column: str, kind: str) -> Any:
        """Positions (ascending) in a set of the keys of a kind."""
        return self._positions(f"SELECT {column} AS p FROM todo WHERE kind = '{kind}' ORDER BY p")  # noqa: S608

    def counts(self, side: Side) -> SideCounts:
        """How a side compares; after `compare`."""
        here, other = SETS[side], "destination" if side == "source" else "source"
        filtered = "SELECT k FROM blocked WHERE why = 'filtered'"
        held_up = f"SELECT k FROM blocked WHERE side IN ('both', '{other}') AND why <> 'filtered'"  # noqa: S608
        mine = f"SELECT k FROM blocked WHERE side = '{side}' AND why = 'repeated'"  # noqa: S608
        tracked = self._count("SELECT count(*) FROM b ANTI JOIN held USING (k)")
        in_step = tracked - self._count("SELECT count(b) FROM odd")
        odd = f"SELECT count(*) FROM odd WHERE {here} IS NOT NULL AND b IS NOT NULL"  # noqa: S608
        return SideCounts(
            records=self._count(f"SELECT count(*) FROM {here}"),  # noqa: S608
            repeated=self._count(f"SELECT count(*) FROM {here} WHERE k IN ({mine})"),  # noqa: S608
            filtered=self._count(f"SELECT count(*) FROM {here} WHERE k IN ({filtered}) AND k NOT IN ({mine})"),  # noqa: S608
            left_alone=self._count(
                f"SELECT count(*) FROM {here} WHERE k IN ({held_up}) AND k NOT IN ({filtered}) AND k NOT IN ({mine})"  # noqa: S608
            ),
            tracked=in_step + self._count(odd),
            changed=self._count(f"{odd} AND NOT {side}_kept"),
        )

    def differing(self, sets: Dict[str, Callable[[], Batches]]) -> Iterator[Differing]:
        """The records of all keys that were edited or are to be reconciled, in the sides' order, a chunk at a time.

        Args:
            sets: name → function that reads the set again.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        kinds = (RECONCILE, *EDITED.values())
        query = (
            "SELECT kind, k, s, d, b, source_state, destination_state, base_state FROM todo "  # noqa: S608
            f"WHERE kind IN {kinds} ORDER BY kind, s IS NULL, coalesce(s, d, b)"
        )
        for part in self._db.sql(query).to_arrow_reader(_FETCHED):
            kind = part.column("kind").to_pylist()
            # What was agreed on before is asked for by the rules alone.
            ruled = pc.equal(part.column("kind"), RECONCILE)
            positions = {name: part.column(short) for name, short in SETS.items()}
            positions["base"] = pc.if_else(ruled, positions["base"], pa.scalar(None, positions["base"].type))
            records = {name: _fetched(again(), positions[name]) for name, again in sets.items()}
            start = 0
            for end in range(1, len(kind) + 1):
                if end == len(kind) or kind[end] != kind[start] or end - start == ROWS:
                    size = end - start
                    yield Differing(
                        kind=kind[start],
                        keys=part.slice(start, size),
                        records={name: each and each.slice(start, size) for name, each in records.items()},
                    )
                    start = end

    def _positions(self, query: str) -> Any:
        import pyarrow as pa

        column = self._db.sql(query).to_arrow_table().column("p")
        return pa.array(column.combine_chunks()).cast(pa.int64())

    def _count(self, query: str) -> int:
        return int(self._db.execute(query).fetchall()[0][0])

    def close(self) -> None:
        """Drop everything that was loaded."""
        self._sets.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _fetched(batches: Batches, positions: pa.Array) -> pa.RecordBatch | None:
    """The records at some positions, in their order; null where the position is. None: there is none at all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = positions.drop_null().sort()
    found = list(picked(batches, wanted))
    if not found:
        return None
    places = pc.index_in(positions, value_set=wanted)
    (taken,) = pa.Table.from_batches(found).combine_chunks().take(places).combine_chunks().to_batches()
    return taken


def _equal(ones: list[str], others: list[str]) -> str:
    return " AND ".join(f"{one} = {other}" for one, other in zip(ones, others, strict=True))
