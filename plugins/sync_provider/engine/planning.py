"""Finds what would change: staged records against the destination, by key, vectorised in DuckDB.

Both sides are loaded into DuckDB, which spills to encrypted temporary files beyond its memory limit, so the number of
records is bounded by disk. Nothing is written to the destination here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sync_provider.connectors.base import COORDINATES, OLD, OP
from sync_provider.core.mapping import Mapping
from sync_provider.engine.fingerprints import canonical_json
from sync_provider.engine.keys import key_text_sql
from sync_provider.engine.scratch import Scratch, quote, streamed

if TYPE_CHECKING:
    import pyarrow as pa

ABSENT = "__absent_"  # + optional field: true where the source had no such column
_N = "__n"
_PLACES = "__places"
_SHOWN_PLACES = 10  # of the records that share a key
_JSON = "__json_"


def change_schema(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    """Schema of a change stream for the named mapped columns."""
    import pyarrow as pa

    mapped = [schema.field(name).with_nullable(True) for name in names]
    return pa.schema(
        [pa.field(OP, pa.string()), *mapped, *(pa.field(OLD + f.name, f.type) for f in mapped)],
    )


class Planner:
    """Compares incoming records with existing ones. Use as a context manager; load both sides, then ask.

    Args:
        mapping: the integration; its key must not be empty.
        schema: the mapped schema (`Conversion.schema`).
    """

    def __init__(self, mapping: Mapping, schema: pa.Schema) -> None:
        self.mapping = mapping
        self.names = [f.destination for f in mapping.fields]
        self.schema = schema
        self._scratch = Scratch()
        self._db = self._scratch.db
        self._compared = False
        self._places = [name for name in COORDINATES if name in schema.names]

    def load_incoming(self, batches: Iterable[pa.RecordBatch]) -> int:
        """Load accepted records, in order; returns how many."""
        absent = [ABSENT + f.destination for f in self.mapping.fields if f.optional]
        return self._load("incoming", batches, [*self.names, *absent])

    def load_existing(self, batches: Iterable[pa.RecordBatch]) -> int:
        """Load the destination's records; returns how many."""
        return self._load("existing", batches, [*self.names, *self._places])

    def load_tracked(self, batches: Iterable[pa.RecordBatch]) -> int:
        """Load the keys that we wrote earlier (mirror); returns how many."""
        return self._load("tracked", batches, list(self.mapping.key))

    def load_kept(self, keys: Iterable[str]) -> int:
        """Load keys (canonical text) that must not be deleted although no accepted record has them."""
        import pyarrow as pa

        self._db.register("kept_stream", pa.table({"k": pa.array(list(keys), pa.string())}))
        self._db.execute("CREATE TABLE kept AS SELECT DISTINCT k FROM kept_stream")
        self._db.unregister("kept_stream")
        return self._count("SELECT count(*) FROM kept")

    def ambiguous(self) -> list[tuple[str, int, list[dict[str, Any]]]]:
        """Keys that stand more than once in the destination and in the source too: key text, count, coordinates of the first."""
        self._find_repeated()
        rows = self._db.execute(
            f"SELECT {key_text_sql(self.mapping, 'r')} AS k, r.{_N}, r.{_PLACES} FROM repeated r "  # noqa: S608
            f"SEMI JOIN incoming i ON {self._join('i', 'r')} ORDER BY k"
        ).fetchall()
        return [(str(k), int(n), places) for k, n, places in rows]

    def take_out(self, keys: Iterable[str]) -> list[str]:
        """Leave out incoming records of these keys (canonical text); returns those that there were."""
        import pyarrow as pa

        self._db.register("unwanted", pa.table({"k": pa.array(list(keys), pa.string())}))
        key = key_text_sql(self.mapping, "i")
        found = self._db.execute(
            f"DELETE FROM incoming i WHERE {key} IN (FROM unwanted) RETURNING {key}"  # noqa: S608
        ).fetchall()
        self._db.unregister("unwanted")
        self._compared = False
        return sorted(str(k) for (k,) in found)

    def drop_ambiguous(self) -> None:
        """Leave out incoming records whose key stands more than once in the destination."""
        if self._find_repeated():
            keys = self._keys("r")
            self._db.execute(f"DELETE FROM incoming i WHERE ({self._keys('i')}) IN (SELECT ({keys}) FROM repeated r)")  # noqa: S608
            self._compared = False

    def _find_repeated(self) -> int:
        """Put the keys that the destination holds more than once, with how often, into a table; returns how many."""
        keys = self._keys("e")
        place = ", ".join(f"{quote(name)}: e.{quote(name)}" for name in self._places)
        places = f"list({{{place}}} ORDER BY e.{_N})[:{_SHOWN_PLACES}]" if place else "[]"
        self._db.execute(
            f"CREATE OR REPLACE TABLE repeated AS SELECT {keys}, count(*) AS {_N}, {places} AS {_PLACES} FROM existing e "  # noqa: S608
            f"GROUP BY {keys} HAVING count(*) > 1"
        )
        return self._count("SELECT count(*) FROM repeated")

    def changes(self, *, deletes: bool) -> Iterator[pa.RecordBatch]:
        """The change stream: inserts and updates in the source's order, then deletions in the destination's."""
        self._compare()
        queries = [self._upserts()]
        if deletes:
            queries.append(self._deletes())
        target = change_schema(self.schema, self.names)
        for query in queries:
            reader = self._db.sql(query).to_arrow_reader(65_536)
            for batch in reader:
                # Arrow types may come back narrower or as views; the stream keeps to its schema.
                yield batch.cast(target)

    def counts(self, *, deletes: bool) -> dict[str, int]:
        """inserts, updates, unchanged, deletes, existing, deletable; each counted by the database."""
        self._compare()
        incoming = self._count("SELECT count(*) FROM incoming")
        changed = self._count("SELECT count(*) FROM changed")
        inserts = self._count("SELECT count(*) FROM changed WHERE e IS NULL")
        return {
            "inserts": inserts,
            "updates": changed - inserts,
            "unchanged": incoming - changed,
            "existing": self._count("SELECT count(*) FROM existing"),
            "deletable": self._count(f"SELECT count(*) FROM existing e SEMI JOIN tracked t ON {self._join('t', 'e')}")  # noqa: S608
            if deletes
            else 0,
            "deletes": self._count(f"SELECT count(*) FROM ({self._deletes()})") if deletes else 0,  # noqa: S608
        }

    def _compare(self) -> None:
        """Join both sides once: the numbers of the incoming records that change something, each with its existing one."""
        if self._compared:
            return
        self._db.execute(
            f"CREATE OR REPLACE TABLE changed AS SELECT i.{_N} AS i, e.{_N} AS e FROM incoming i "  # noqa: S608
            f"LEFT JOIN existing e ON {self._join('i', 'e')} WHERE e.{_N} IS NULL OR {self._differs()}"
        )
        self._compared = True

    def _load(self, table: str, batches: Iterable[pa.RecordBatch], columns: list[str]) -> int:
        import numpy as np
        import pyarrow as pa

        self._compared = False
        json_names = [f.destination for f in self.mapping.fields if f.logical_type.kind == "json"]
        json_names = [name for name in json_names if name in columns]
        fields = [
            pa.field(name, pa.bool_()) if name.startswith(ABSENT) else self.schema.field(name).with_nullable(True)
            for name in columns
        ]
        fields += [pa.field(_JSON + name, pa.string()) for name in json_names]
        schema = pa.schema([pa.field(_N, pa.int64()), *fields])
        count = 0

        def numbered() -> Iterator[pa.RecordBatch]:
            nonlocal count
            for batch in batches:
                arrays = [pa.array(np.arange(count, count + batch.num_rows))]
                arrays += [batch.column(name) for name in columns]
                arrays += [canonical_json(batch.column(name)) for name in json_names]
                count += batch.num_rows
                yield pa.RecordBatch.from_arrays(
                    [a.cast(f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
                )

        with streamed(self._db, "stream", schema, numbered()):
            self._db.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM stream")  # noqa: S608
        return count

    def _upserts(self) -> str:
        new = ", ".join(f"{self._new(name)} AS {quote(name)}" for name in self.names)
        old = ", ".join(f"e.{quote(name)} AS {quote(OLD + name)}" for name in self.names)
        return (
            f"SELECT CASE WHEN e.{_N} IS NULL THEN 'insert' ELSE 'update' END AS {OP}, {new}, {old} "  # noqa: S608
            f"FROM changed c JOIN incoming i ON i.{_N} = c.i LEFT JOIN existing e ON e.{_N} = c.e ORDER BY i.{_N}"
        )

    def _deletes(self) -> str:
        # A key is deleted only if we wrote it, nothing in the source has it, and no refused record has it either.
        new = ", ".join(f"e.{quote(name)}" for name in self.names)
        old = ", ".join(f"e.{quote(name)} AS {quote(OLD + name)}" for name in self.names)
        return (
            f"SELECT 'delete' AS {OP}, {new}, {old} FROM existing e "  # noqa: S608
            f"SEMI JOIN tracked t ON {self._join('t', 'e')} "
            f"ANTI JOIN incoming i ON {self._join('i', 'e')} "
            f"ANTI JOIN kept k ON k.k = {key_text_sql(self.mapping, 'e')} ORDER BY e.{_N}"
        )

    def _new(self, name: str) -> str:
        """SQL for the value to write: an absent or kept null leaves the existing value."""
        field = self.mapping.fields[self.names.index(name)]
        column = quote(name)
        keeps = [f"i.{quote(ABSENT + name)}"] if field.optional else []
        if field.nulls == "keep":
            keeps.append(f"i.{column} IS NULL")
        if not keeps:
            return f"i.{column}"
        return f"CASE WHEN e.{_N} IS NOT NULL AND ({' OR '.join(keeps)}) THEN e.{column} ELSE i.{column} END"

    def _differs(self) -> str:
        """SQL: whether a matched pair needs an update."""
        parts = []
        for field in self.mapping.fields:
            name = field.destination
            if name in self.mapping.key:
                continue
            if field.logical_type.kind == "json" and field.nulls != "keep" and not field.optional:
                parts.append(f"i.{quote(_JSON + name)} IS DISTINCT FROM e.{quote(_JSON + name)}")
            else:
                parts.append(f"({self._new(name)}) IS DISTINCT FROM e.{quote(name)}")
        differs = f"({' OR '.join(parts)})" if parts else "FALSE"
        skips = [f"i.{quote(f.destination)} IS NULL" for f in self.mapping.fields if f.nulls == "skip"]
        return f"({differs} AND NOT ({' OR '.join(skips)}))" if skips else differs

    def _join(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{quote(k)} = {right}.{quote(k)}" for k in self.mapping.key)

    def _keys(self, alias: str) -> str:
        return ", ".join(f"{alias}.{quote(k)}" for k in self.mapping.key)

    def _count(self, query: str) -> int:
        # fetchall, not fetchone: DuckDB refuses further work while a result is open.
        return int(self._db.execute(query).fetchall()[0][0])

    def close(self) -> None:
        """Drop both sides and the spill files."""
        self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def as_inserts(batches: Iterable[pa.RecordBatch], names: list[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """A change stream that inserts every record (append, replace)."""
    import pyarrow as pa

    target = change_schema(schema, names)
    for batch in batches:
        rows = batch.num_rows
        arrays: list[Any] = [pa.repeat(pa.scalar("insert"), rows)]
        arrays += [batch.column(name) for name in names]
        arrays += [pa.nulls(rows, schema.field(name).type) for name in names]
        yield pa.RecordBatch.from_arrays(arrays, schema=target)
