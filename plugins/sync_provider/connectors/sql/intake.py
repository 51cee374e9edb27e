"""The change stream on its way to the stage: numbered, in the destination's spelling, without what cannot be stored. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from sync_provider.connectors.base import OLD, OP, WriteRequest
from sync_provider.connectors.sql.catalog import Column
from sync_provider.connectors.sql.database import Database
from sync_provider.connectors.sql.statements import DELETE, INSERT, OPS
from sync_provider.core.canonical import write_text
from sync_provider.core.errors import SyncDataError
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa


class Intake:
    """Iterate `batches` once; afterwards `counts` and `rejections` are complete.

    Args:
        database: decides what its columns can hold.
        columns: the destination's columns, in the order of ``request.columns``.
        request: what to write.
    """

    def __init__(self, database: Database, columns: Sequence[Column], request: WriteRequest) -> None:
        import pyarrow as pa

        self._database, self._columns, self._request = database, columns, request
        self.counts = dict.fromkeys(OPS.values(), 0)
        self.rejections: list[Rejection] = []
        stored = [
            database.stored(pa.array([], each.type.to_arrow()), column, each.type).type
            for column, each in zip(columns, request.columns, strict=True)
        ]
        self.insert_only = request.mode in ("append", "replace")
        olds = [] if self.insert_only else [pa.field(f"o{i}", type_) for i, type_ in enumerate(stored)]
        self.schema = pa.schema(
            [("n", pa.int64()), ("op", pa.int64()), *((f"c{i}", type_) for i, type_ in enumerate(stored)), *olds]
        )

    @property
    def total(self) -> int:
        """How many records were staged."""
        return sum(self.counts.values())

    def batches(self, changes: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The stream as it is staged; records that cannot be stored become rejections."""
        for batch in changes:
            if batch.num_rows:
                yield self._staged(batch)

    def _staged(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        import pyarrow as pa
        import pyarrow.compute as pc

        ops = pc.index_in(batch.column(OP), value_set=pa.array(OPS, pa.string())).cast(pa.int64())
        ops = pc.add(ops, INSERT)
        self._check_ops(ops)
        wanted = self._request.columns
        news = [batch.column(each.name).cast(each.type.to_arrow()) for each in wanted]
        olds = [] if self.insert_only else [batch.column(OLD + each.name).cast(each.type.to_arrow()) for each in wanted]
        misfit = self._refuse(ops, news)
        if misfit is not None:
            fits = pc.invert(misfit)
            ops, news, olds = ops.filter(fits), [a.filter(fits) for a in news], [a.filter(fits) for a in olds]
        first = self.total + 1
        for code in self.counts:
            self.counts[code] += pc.sum(pc.equal(ops, code), min_count=0).as_py()
        arrays = [
            self._database.stored(array, column, each.type)
            for values in (news, olds)
            for array, column, each in zip(values, self._columns, wanted, strict=bool(values))
        ]
        numbers = pa.array(range(first, first + len(ops)), pa.int64())
        return pa.RecordBatch.from_arrays([numbers, ops, *arrays], schema=self.schema)

    def _check_ops(self, ops: pa.Array) -> None:
        import pyarrow.compute as pc

        if ops.null_count:
            raise SyncDataError("the change stream holds an unknown operation", code="stream_broken")
        if self.insert_only and pc.max(ops).as_py() != INSERT:
            raise SyncDataError(f"{self._request.mode} takes inserts only", code="stream_broken")

    def _refuse(self, ops: pa.Array, news: Sequence[pa.Array]) -> pa.Array | None:
        """Note every record that cannot be stored; returns their mask, or None if all can."""
        import pyarrow.compute as pc

        written = pc.not_equal(ops, DELETE)
        refused: pa.Array | None = None
        found: list[tuple[int, Rejection]] = []
        for array, column, each in zip(news, self._columns, self._request.columns, strict=True):
            for misfit in self._database.refused(array, column, each.type):
                mask = pc.and_(pc.fill_null(misfit.mask, False), written)
                fresh = mask if refused is None else pc.and_not(mask, refused)
                for row in pc.indices_nonzero(fresh).to_pylist():
                    value = array[row].as_py()
                    rejection = Rejection(
                        rule=misfit.rule,
                        message=misfit.message,
                        field=each.name,
                        value=None if value is None else write_text(value),
                        key=self._key(news, row),
                    )
                    found.append((row, rejection))
                refused = fresh if refused is None else pc.or_(refused, fresh)
        self.rejections.extend(rejection for _, rejection in sorted(found, key=itemgetter(0)))
        return refused if found else None

    def _key(self, news: Sequence[pa.Array], row: int) -> str | None:
        names = [each.name for each in self._request.columns]
        parts = [news[names.index(name)][row].as_py() for name in self._request.key]
        return None if not parts or None in parts else "|".join(write_text(part) for part in parts)
