"""Which keys matter: three sets compared by fingerprint, and the records behind the few that differ.

Nothing is decided here but the plain cases, in which no rule has a say: records that are equal on both sides, and records that only one
side has and the other has never had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sync_provider.core.conflicts import SIDES, Side
from sync_provider.core.mapping import Mapping
from sync_provider.engine import fingerprints
from sync_provider.engine.bidirectional.baseline import GONE, UNAGREED
from sync_provider.engine.fingerprints import FINGERPRINTS, POSITION, Fingerprints, picked
from sync_provider.engine.keys import key_text_sql
from sync_provider.engine.scratch import quote
from sync_provider.engine.transform import OUT

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 8_192  # records that become Python objects at a time
SETS = {"source": "s", "destination": "d", "base": "b"}

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
    reconcile: int = 0
    """How many other keys differ."""


class Differ:
    """Compares the snapshots with the baseline. Use as a context manager: load the three, `block`, then `compare`.

    Args:
        mapping: the integration.
        plain_copies: sides whose new records any rule would copy as they are.
    """

    def __init__(self, mapping: Mapping, plain_copies: Iterable[Side]) -> None:
        self._mapping = mapping
        self._plain = frozenset(plain_copies)
        self._names = [f.destination for f in mapping.fields]
        self._keys = [quote(name) for name in mapping.key]
        self._sets = Fingerprints({f.destination: f.logical_type for f in mapping.fields}, mapping.key)
        self._db = self._sets.db
        self._db.execute("CREATE TABLE blocked (side VARCHAR, why VARCHAR, k VARCHAR)")

    def load(self, name: str, batches: Batches) -> int:
        """Load ``source``, ``destination`` or ``base``; returns its records."""
        extra = [UNAGREED, *(GONE + side for side in SIDES)] if name == "base" else [OUT]
        return self._sets.load(
            SETS[name], batches, extra=extra, computed={"k": key_text_sql(self._mapping, fingerprints.STREAM)}
        )

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
            "INSERT INTO blocked SELECT 'both', 'other', k FROM (SELECT k FROM s UNION SELECT k FROM d UNION SELECT k FROM b) "
            "WHERE k NOT IN (SELECT k FROM wanted_keys)"
        )
        self._db.unregister("wanted_keys")

    def keyless(self, side: Side) -> Any:
        """Positions (ascending) of the records of a side that lack a part of their key; they are left out from now on."""
        table = SETS[side]
        found = self._positions(f"SELECT {POSITION} AS p FROM {table} WHERE k IS NULL ORDER BY p")  # noqa: S608
        self._db.execute(f"DELETE FROM {table} WHERE k IS NULL")  # noqa: S608
        return found

    def known(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of the keys that stand anywhere: on a side, or in the baseline."""
        query = "SELECT k FROM joined WHERE k IN (SELECT unnest(?))"
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

    def compare(self) -> Found:
        """Sort every key into a plain case or among those to be reconciled."""
        for side in SIDES:
            table = SETS[side]
            self._db.execute(
                f"INSERT INTO blocked SELECT '{side}', 'filtered', k FROM {table} WHERE {OUT}"  # noqa: S608
            )
        one, two = FINGERPRINTS
        b_keys, s_keys, d_keys = ([f"{t}.{k}" for k in self._keys] for t in ("b", "s", "d"))
        gone = " AND ".join(f"b.{GONE}{side} IS NULL" for side in SIDES)
        self._db.execute(
            f"""
            CREATE TABLE joined AS SELECT
                coalesce(s.k, d.k, b.k) AS k, s.{POSITION} AS s, d.{POSITION} AS d, b.{POSITION} AS b,
                s.{one} IS NOT DISTINCT FROM d.{one} AND s.{two} IS NOT DISTINCT FROM d.{two} AS same_sides,
                s.{one} IS NOT DISTINCT FROM b.{one} AND s.{two} IS NOT DISTINCT FROM b.{two} AS source_kept,
                d.{one} IS NOT DISTINCT FROM b.{one} AND d.{two} IS NOT DISTINCT FROM b.{two} AS destination_kept,
                coalesce({gone} AND b.{UNAGREED} IS NULL, true) AS clean
            FROM s FULL JOIN d ON {_equal(s_keys, d_keys)}
            FULL JOIN b ON {_equal([f"coalesce({s}, {d})" for s, d in zip(s_keys, d_keys, strict=True)], b_keys)}
            """  # noqa: S608
        )
        self._db.execute("CREATE TABLE held AS SELECT DISTINCT k FROM blocked")
        self._db.execute("CREATE TABLE live AS SELECT * FROM joined ANTI JOIN held USING (k)")
        plain_source = "source" in self._plain
        plain_destination = "destination" in self._plain
        agreed = "s IS NOT NULL AND d IS NOT NULL AND same_sides AND NOT (source_kept AND clean)"
        new_source = f"s IS NOT NULL AND d IS NULL AND b IS NULL AND {plain_source}"
        new_destination = f"d IS NOT NULL AND s IS NULL AND b IS NULL AND {plain_destination}"
        gone_everywhere = "s IS NULL AND d IS NULL"
        settled = "s IS NOT NULL AND d IS NOT NULL AND b IS NOT NULL AND same_sides AND source_kept AND clean"
        self._db.execute(
            "CREATE TABLE todo AS SELECT k, s, d, b FROM live WHERE NOT "  # noqa: S608
            f"(({agreed}) OR ({new_source}) OR ({new_destination}) OR ({gone_everywhere}) OR ({settled}))"
        )
        return Found(
            agreed=self._db.sql(f"SELECT s AS p, b FROM live WHERE {agreed} ORDER BY p").to_arrow_table(),  # noqa: S608
            new={
                "source": self._positions(f"SELECT s AS p FROM live WHERE {new_source} ORDER BY p"),  # noqa: S608
                "destination": self._positions(f"SELECT d AS p FROM live WHERE {new_destination} ORDER BY p"),  # noqa: S608
            },
            gone_base=self._positions(f"SELECT b AS p FROM live WHERE {gone_everywhere} ORDER BY p"),  # noqa: S608
            reconcile=self._count("SELECT count(*) FROM todo"),
        )

    def counts(self, side: Side) -> SideCounts:
        """How a side compares; after `compare`."""
        here, other = SETS[side], "destination" if side == "source" else "source"
        filtered = "SELECT k FROM blocked WHERE why = 'filtered'"
        held_up = f"SELECT k FROM blocked WHERE side IN ('both', '{other}') AND why <> 'filtered'"  # noqa: S608
        mine = f"SELECT k FROM blocked WHERE side = '{side}' AND why = 'repeated'"  # noqa: S608
        live = f"FROM live WHERE {here} IS NOT NULL AND b IS NOT NULL"
        return SideCounts(
            records=self._count(f"SELECT count(*) FROM {here}"),  # noqa: S608
            repeated=self._count(f"SELECT count(*) FROM {here} WHERE k IN ({mine})"),  # noqa: S608
            filtered=self._count(f"SELECT count(*) FROM {here} WHERE k IN ({filtered}) AND k NOT IN ({mine})"),  # noqa: S608
            left_alone=self._count(
                f"SELECT count(*) FROM {here} WHERE k IN ({held_up}) AND k NOT IN ({filtered}) AND k NOT IN ({mine})"  # noqa: S608
            ),
            tracked=self._count(f"SELECT count(*) {live}"),
            changed=self._count(f"SELECT count(*) {live} AND NOT {side}_kept"),
        )

    def rows(self, sets: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        """The records of all keys to be reconciled, as Python values, a chunk at a time, in the sides' order.

        Args:
            sets: name → function that reads the set again.

        Yields:
            One dictionary per key: ``k``, the key's text; ``s``, ``d``, ``b``: the record of each set (a dictionary with
            `POSITION`) or None.
        """
        for name, again in sets.items():
            table = SETS[name]
            positions = self._positions(
                f"SELECT {table} AS p FROM todo WHERE {table} IS NOT NULL ORDER BY p"  # noqa: S608
            )
            self._register(f"{table}_rows", picked(again(), positions))
        query = (
            "SELECT t.k AS k, t.s, t.d, t.b, sr AS source, dr AS destination, br AS base FROM todo t "  # noqa: S608
            f"LEFT JOIN s_rows sr ON sr.{POSITION} = t.s LEFT JOIN d_rows dr ON dr.{POSITION} = t.d "
            f"LEFT JOIN b_rows br ON br.{POSITION} = t.b ORDER BY t.s IS NULL, coalesce(t.s, t.d, t.b)"
        )
        for batch in self._db.sql(query).to_arrow_reader(ROWS):
            yield [
                {
                    "k": row["k"],
                    "s": None if row["s"] is None else row["source"],
                    "d": None if row["d"] is None else row["destination"],
                    "b": None if row["b"] is None else row["base"],
                }
                for row in batch.to_pylist()
            ]

    def _register(self, table: str, batches: Iterator[pa.RecordBatch]) -> None:
        import pyarrow as pa

        first = next(batches, None)
        if first is None:
            self._db.execute(f"CREATE TABLE {table} ({POSITION} BIGINT)")
            return

        def stream() -> Iterator[pa.RecordBatch]:
            yield first
            yield from batches

        self._db.register("rows_stream", pa.RecordBatchReader.from_batches(first.schema, stream()))
        self._db.execute(f"CREATE TABLE {table} AS SELECT * FROM rows_stream")  # noqa: S608
        self._db.unregister("rows_stream")

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


def _equal(ones: list[str], others: list[str]) -> str:
    return " AND ".join(f"{one} = {other}" for one, other in zip(ones, others, strict=True))
