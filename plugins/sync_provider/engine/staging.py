"""Batches parked in the store between two phases, as encrypted Parquet. Memory holds one batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sync_provider.core.errors import SyncDataError

if TYPE_CHECKING:
    import pyarrow as pa

    from sync_provider.engine.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A staged batch: its path in the store, its rows, and the SHA-256 (hex) of its content, not of its bytes."""

    path: str
    rows: int
    digest: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def run_folder(mapping_id: str, run_id: str) -> str:
    """Folder of everything staged for one run; retention removes it as a whole."""
    return f"staging/{mapping_id}/{run_id}"


class StageWriter:
    """A staged object being written, batch by batch. Use as a context manager; it appears whole, or after an error not at all.

    Args:
        store: where to.
        path: in the store.
        schema: of all batches.

    Raises:
        SyncConnectionError: the store cannot be reached, or is full.
    """

    def __init__(self, store: Store, path: str, schema: pa.Schema) -> None:
        self._store, self._path, self._schema = store, path, schema
        self._open = ExitStack()
        self._content = hashlib.sha256(str(schema.remove_metadata()).encode())
        self.rows = 0

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        with ExitStack() as opened:
            sink = opened.enter_context(self._store.open_write(self._path))
            # Read once, in order, by us: dictionaries and statistics would cost two thirds of the time, and save no byte.
            self._writer = opened.enter_context(
                pq.ParquetWriter(
                    sink,
                    self._schema,
                    compression="zstd",
                    compression_level=1,
                    use_dictionary=False,
                    write_statistics=False,
                )
            )
            self._open = opened.pop_all()
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch; an empty one adds nothing."""
        if batch.num_rows:
            self.rows += batch.num_rows
            _digest(self._content, batch)
            self._writer.write_batch(batch)

    @property
    def staged(self) -> Staged:
        """What was written; complete after the block."""
        return Staged(path=self._path, rows=self.rows, digest=self._content.hexdigest())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


def stage(store: Store, path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Staged:
    """Write batches of one schema to the store; the object appears whole or not at all.

    Raises:
        SyncConnectionError: the store cannot be reached, or is full.
    """
    with StageWriter(store, path, schema) as writer:
        for batch in batches:
            writer.write(batch)
    return writer.staged


def unstage(store: Store, path: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read staged batches back in order, optionally some columns only.

    Raises:
        SyncDataError: the object is gone (retention removed it) or does not verify.
    """
    import pyarrow.parquet as pq

    if not store.exists(path):
        raise SyncDataError(
            "the staged records of this run are gone",
            hint="They are kept for [sync_provider] staging_retention; clear the run from its extract task on.",
            code="staging_gone",
        )
    with store.open_read(path) as source, pq.ParquetFile(source, pre_buffer=False) as parquet:
        yield from parquet.iter_batches(columns=columns, use_threads=False)


def staged_schema(store: Store, path: str) -> pa.Schema:
    """The schema that batches were staged with."""
    import pyarrow.parquet as pq

    with store.open_read(path) as source:
        return pq.read_schema(source)


def _digest(content: Any, batch: pa.RecordBatch) -> None:
    """Feed a batch's values: IPC form is canonical for a batch that owns its buffers, which a slice does not."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    content.update(sink.getvalue())
