"""A change stream kept outside memory, found again by key: files have no index, so the file passes by the changes.

Only the keys stay in memory. The changes wait in an unnamed temporary file, a batch at a time.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Self

from sync_provider.connectors.base import KEY_SEPARATOR, OP, WriteRequest
from sync_provider.connectors.files.root import translating
from sync_provider.core.canonical import DATE, DECIMAL, DOUBLE, OFFSET, TIME, read_text
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

# Texts on which Arrow's own conversion agrees with `core.canonical.read_text`, or fails.
_AS_ARROW_READS_IT = {
    "integer": "[+-]?[0-9]+",
    "decimal": DECIMAL,
    "double": DOUBLE,
    "boolean": "true|false",
    "date": DATE,
    "timestamp": f"{DATE}T{TIME}{OFFSET}",
}
INSERT, UPDATE, DELETE = "insert", "update", "delete"


class ChangeSet:
    """The changes of one write, by number in stream order. Use as a context manager.

    Args:
        request: tells the key columns.
        changes: the stream; consumed at once.

    ``keys`` holds each change's key as canonical text; ``operations`` its operation (numpy object array); ``ambiguous`` the
    changes whose key stands more than once in the stream or, once the file was seen to hold it on several lines, there.
    """

    def __init__(self, request: WriteRequest, changes: Iterator[pa.RecordBatch]) -> None:
        import numpy as np
        import pyarrow as pa

        self._request = request
        types = {column.name: column.type for column in request.columns}
        self.key_types = [types[name] for name in request.key]
        self._file: Any = None
        self._starts = [0]
        self._kept: tuple[int, Any] | None = None
        keys: list[Any] = []
        operations: list[Any] = []
        self._spill(changes, keys, operations)
        self.keys = pa.concat_arrays(keys) if keys else pa.array([], pa.string())
        self.operations = np.concatenate(operations) if operations else np.array([], dtype=object)
        self.lines: dict[int, list[int]] = {}
        self.ambiguous = self._repeated()

    def __len__(self) -> int:
        return len(self.operations)

    def find(self, keys: pa.Array) -> Any:
        """For each key text the number of its change, or -1 (int64 numpy array)."""
        import pyarrow.compute as pc

        return pc.fill_null(pc.index_in(keys, value_set=self.keys), -1).to_numpy(zero_copy_only=False)

    def rows(self, numbers: Sequence[int] | Any) -> pa.RecordBatch:
        """Changes by their numbers, in that order; at least one."""
        import numpy as np
        import pyarrow as pa

        numbers = np.asarray(numbers, dtype=np.int64)
        order = np.argsort(numbers, kind="stable")
        sorted_numbers = numbers[order]
        parts = []
        holders = np.searchsorted(self._starts, sorted_numbers, side="right") - 1
        for holder in np.unique(holders):
            inside = sorted_numbers[holders == holder] - self._starts[holder]
            parts.append(self._batch(int(holder)).take(pa.array(inside)))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return pa.concat_batches(parts).take(pa.array(back))

    def batches(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """All changes in order: number of the first one, batch."""
        for holder, start in enumerate(self._starts[:-1]):
            yield start, self._batch(holder)

    def leave_out(self, repeated: dict[int, list[int]]) -> None:
        """Apply none of these changes: the file holds their keys on several lines."""
        self.lines.update(repeated)
        self.ambiguous.update(repeated)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _spill(self, changes: Iterator[pa.RecordBatch], keys: list[Any], operations: list[Any]) -> None:
        import pyarrow as pa

        writer: Any = None
        path = ""
        try:
            for batch in changes:
                if writer is None:
                    with translating("temporary file", "write"):
                        descriptor, path = tempfile.mkstemp(prefix="sync-changes-")
                        os.close(descriptor)
                        options = pa.ipc.IpcWriteOptions(compression="lz4")
                        writer = pa.ipc.new_file(path, batch.schema, options=options)
                with translating("temporary file", "write"):
                    writer.write_batch(batch)
                self._starts.append(self._starts[-1] + batch.num_rows)
                keys.append(key_texts([batch.column(name) for name in self._request.key], self.key_types))
                operations.append(batch.column(OP).to_numpy(zero_copy_only=False))
            if writer is not None:
                with translating("temporary file", "write"):
                    writer.close()
                    self._file = pa.OSFile(path, "rb")
                    self._reader = pa.ipc.open_file(self._file)
        finally:
            if path:
                os.unlink(path)  # noqa: PTH108 - open files outlive their names

    def _batch(self, holder: int) -> pa.RecordBatch:
        if self._kept is None or self._kept[0] != holder:
            self._kept = (holder, self._reader.get_batch(holder))
        return self._kept[1]

    def _repeated(self) -> set[int]:
        """Changes whose key another change of the stream has too: none of them can be applied."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pc.count_distinct(self.keys).as_py() == len(self.keys):
            return set()
        counted = pc.value_counts(self.keys)
        again = counted.filter(pc.greater(counted.field("counts"), 1)).field("values")
        return set(pc.indices_nonzero(pc.is_in(self.keys, value_set=pa.array(again))).to_pylist())


def key_texts(parts: Sequence[pa.Array], types: Sequence[LogicalType]) -> pa.Array:
    """Typed key columns as one canonical text each, parts joined by `KEY_SEPARATOR`; null where a part is null."""
    import pyarrow.compute as pc

    texts = [value_texts(part, type_) for part, type_ in zip(parts, types, strict=True)]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, KEY_SEPARATOR)


def value_texts(array: pa.Array, type_: LogicalType) -> pa.Array:
    """Typed values as canonical text; equal texts mean equal values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if type_.kind in ("string", "json"):
        return array
    if type_.kind == "decimal":
        from sync_provider.connectors.files.csv_render import plain_decimals

        return plain_decimals(array)
    if type_.kind == "timestamp":
        return pc.replace_substring(pc.cast(array, pa.string()), " ", "T")
    return pc.cast(array, pa.string())


def typed(texts: pa.Array, type_: LogicalType, zone: tzinfo) -> tuple[pa.Array, Any]:
    """Canonical text as typed values, and which texts (boolean array) do not fit the type; their values are null.

    Args:
        texts: canonical text as far as it is of the type.
        type_: the declared type.
        zone: of timestamps that name none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if type_.kind in ("string", "json"):
        return texts, pa.repeat(pa.scalar(False), len(texts))
    plain = _AS_ARROW_READS_IT.get(type_.kind)
    if plain is not None and pc.all(pc.match_substring_regex(texts, f"^(?:{plain})$")).as_py() is not False:
        with contextlib.suppress(pa.ArrowInvalid):
            return pc.cast(texts, type_.to_arrow()), pa.repeat(pa.scalar(False), len(texts))
    values, unfit = [], []
    for text in texts.to_pylist():
        try:
            values.append(None if text is None else read_text(text, type_, zone))
            unfit.append(False)
        except ValueError:
            values.append(None)
            unfit.append(True)
    return pa.array(values, type_.to_arrow()), pa.array(unfit, pa.bool_())
