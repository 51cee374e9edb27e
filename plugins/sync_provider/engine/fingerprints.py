"""Records as positions, keys and fingerprints: what differs between large sets is found without holding the records.

A set of records is read once, in a fixed order, and leaves a narrow table in a `Scratch` database; the join of such tables
names the records that matter by position; `picked` fetches those from where they are staged. So a million records a side take
tens of megabytes, and what is equal never becomes a Python object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sync_provider.engine.scratch import Scratch, quote, streamed

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_provider.core.schema import LogicalType

POSITION = "__n"  # int64, 0-based: where the record stands in its set, read in order
STREAM = "stream"  # what a set is called while it is loaded
FINGERPRINTS = ("__f1", "__f2")  # two hashes of 64 bits each (uint64), over all fields
_MADE_BY = b"sync_provider.fingerprints"  # metadata of a schema with `FINGERPRINTS`: the DuckDB that made them


def stamped(schema: pa.Schema) -> pa.Schema:
    """The schema of records that `Fingerprints.stamp` has seen."""
    import pyarrow as pa

    fields = [*schema, *(pa.field(name, pa.uint64()) for name in FINGERPRINTS)]
    return pa.schema(fields, metadata={**(schema.metadata or {}), _MADE_BY: _maker()})


def comparable(schema: pa.Schema) -> bool:
    """Whether records of this schema have fingerprints that can be compared with those of today."""
    return (schema.metadata or {}).get(_MADE_BY) == _maker()


def _maker() -> bytes:
    import duckdb

    return str(duckdb.__version__).encode()


class Fingerprints:
    """Narrow tables of several sets with the same fields. Use as a context manager.

    A table has the columns `POSITION`, the key columns under their own names, and `FINGERPRINTS`: equal records have equal
    fingerprints, unequal ones differ in them but for one chance in 2¹²⁸. Fingerprints mean something within one version of DuckDB only,
    whose hash may be another one in the next.

    Args:
        fields: name → type of the fields that make a record.
        key: names of the fields that identify it.
    """

    def __init__(self, fields: dict[str, LogicalType], key: Sequence[str]) -> None:
        # Sorted: kept fingerprints outlast the order in which a mapping names its fields.
        self._fields, self._key = dict(sorted(fields.items())), tuple(key)
        self._scratch = Scratch()
        self.db: Any = self._scratch.db

    def load(
        self,
        table: str,
        batches: Iterable[pa.RecordBatch],
        *,
        given: Sequence[str] = (),
        computed: dict[str, str] | None = None,
        stamped: bool = False,
    ) -> int:
        """Make the table of one set, replacing an earlier one of that name.

        Args:
            table: its name in `db`.
            batches: the records, with at least the fields; in the order in which they can be read again.
            given: further columns of the batches that `computed` may use; no part of the fingerprint.
            computed: name → SQL over the columns of `STREAM`, for further columns of the table.
            stamped: the records have their fingerprints, which are `comparable`; then only the key is needed of the fields.

        Returns:
            How many records there are.
        """
        import pyarrow as pa

        names = self._key if stamped else tuple(self._fields)
        given = (*given, *FINGERPRINTS) if stamped else given
        rest = iter(batches)
        first = next(rest, None)
        fields = [pa.field(POSITION, pa.int64()), *(pa.field(name, self._fields[name].to_arrow()) for name in names)]
        # Their types are the batches' own; where there is none, nobody will miss them.
        fields += [first.schema.field(name) if first is not None else pa.field(name, pa.null()) for name in given]
        schema = pa.schema(fields)
        numbered = self._numbered(chain([first] if first is not None else [], rest), schema)
        columns = [POSITION, *map(quote, self._key), *(FINGERPRINTS if stamped else self._hashes)]
        columns += [f"{sql} AS {quote(name)}" for name, sql in (computed or {}).items()]
        with streamed(self.db, STREAM, schema, numbered):
            self.db.execute(f"CREATE OR REPLACE TABLE {quote(table)} AS SELECT {', '.join(columns)} FROM {STREAM}")  # noqa: S608
        # fetchall, not fetchone: DuckDB refuses further work while a result is open.
        return int(self.db.execute(f"SELECT count(*) FROM {quote(table)}").fetchall()[0][0])  # noqa: S608

    @property
    def _hashes(self) -> list[str]:
        names = [quote(name) for name in self._fields]
        inputs = (names, ["'2'", *reversed(names)])
        return [f"hash({', '.join(each)}) AS {name}" for each, name in zip(inputs, FINGERPRINTS, strict=True)]

    def of(self, records: pa.RecordBatch) -> pa.Table:
        """The fingerprints of some records, in the columns `FINGERPRINTS`."""
        import pyarrow as pa

        fields = pa.record_batch([self._values(records, name) for name in self._fields], names=list(self._fields))
        # Another connection, for a result may be open on the first one.
        with self.db.cursor() as connection:
            connection.register(STREAM, fields)
            return connection.sql(f"SELECT {', '.join(self._hashes)} FROM {STREAM}").to_arrow_table()  # noqa: S608

    def stamp(self, records: pa.RecordBatch) -> pa.RecordBatch:
        """The records with their fingerprints, in the schema that `stamped` gives."""
        import pyarrow as pa

        found = self.of(records).combine_chunks()
        hashes = [pa.array(found.column(name).combine_chunks(), pa.uint64()) for name in FINGERPRINTS]
        return pa.RecordBatch.from_arrays([*records.columns, *hashes], schema=stamped(records.schema))

    def _values(self, records: pa.RecordBatch, name: str) -> pa.Array:
        """A field as it is compared."""
        array = records.column(name).cast(self._fields[name].to_arrow())
        return canonical_json(array) if self._fields[name].kind == "json" else array

    def _numbered(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        import numpy as np
        import pyarrow as pa

        start = 0
        for batch in batches:
            arrays = [
                self._values(batch, name) if name in self._fields else batch.column(name) for name in schema.names[1:]
            ]
            arrays.insert(0, pa.array(np.arange(start, start + batch.num_rows)))
            start += batch.num_rows
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def close(self) -> None:
        """Drop the tables and the spill files."""
        self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def picked(batches: Iterable[pa.RecordBatch], positions: pa.Array) -> Iterator[pa.RecordBatch]:
    """The records at these positions, in order, with their `POSITION` as a further column.

    Args:
        batches: the set, read again.
        positions: int64, ascending, without repeats.
    """
    import pyarrow as pa

    wanted = positions.to_numpy()
    if not len(wanted):
        return
    start = 0
    for batch in batches:
        first, last = wanted.searchsorted([start, start + batch.num_rows])
        if first < last:
            numbers = wanted[first:last]
            taken = batch.take(pa.array(numbers - start))
            schema = taken.schema.append(pa.field(POSITION, pa.int64()))
            yield pa.RecordBatch.from_arrays([*taken.columns, pa.array(numbers)], schema=schema)
        start += batch.num_rows


def canonical_json(texts: pa.Array) -> pa.Array:
    """One spelling per JSON document, so that a system that reorders keys makes no change."""
    import pyarrow as pa

    return pa.array([None if text is None else one_spelling(text) for text in texts.to_pylist()], pa.string())


def one_spelling(text: str) -> str:
    """The canonical spelling of one JSON document."""
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
