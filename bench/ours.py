"""What our candidates share: the mapping over the benchmark's records, and the records as Arrow."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.data import FIELDS, texts, typed

if TYPE_CHECKING:
    import pyarrow as pa
    from sync_provider.core.mapping import Mapping

BATCH = 65_536


LIBRARIES = (
    "numpy",
    "pandas",
    "pyarrow.csv",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "duckdb",
    "cryptography.hazmat.primitives.ciphers.aead",
    "adbc_driver_sqlite.dbapi",
    "adbc_driver_postgresql.dbapi",
    "psycopg",
    "sync_provider.engine.pipeline",
    "sync_provider.connectors.files.csv_connector",
    "sync_provider.connectors.files.excel_connector",
    "sync_provider.connectors.files.excel_write",
    "sync_provider.connectors.sql.postgres_database",
    "sync_provider.connectors.sql.sqlite_database",
)


def warm() -> None:
    """Import what the work would: imports are no part of it, as in a worker whose parent is warm. *Wall* has them."""
    for name in LIBRARIES:
        importlib.import_module(name)


def declaration(**keys: Any) -> dict[str, Any]:
    """A mapping of the twelve columns, CSV into SQL unless said otherwise."""
    return {
        "version": 1,
        "id": "bench",
        "mode": "import",
        "timezone": "UTC",
        "write": "append",
        "source": {"type": "csv", "path": "in.csv"},
        "destination": {"type": "sql", "connection": "db", "table": "target"},
        "fields": [{"source": name, "destination": name, "type": kind} for name, kind in FIELDS.items()],
        **keys,
    }


def mapping(**keys: Any) -> Mapping:
    """`declaration`, checked."""
    from sync_provider.core.mapping import Mapping

    return Mapping.model_validate(declaration(**keys))


def schema() -> pa.Schema:
    """The mapped schema of the records."""
    import pyarrow as pa
    from sync_provider.core.schema import parse_type

    return pa.schema([pa.field(name, parse_type(kind).to_arrow()) for name, kind in FIELDS.items()])


def table(numbers: Iterator[int] | range, **changed: Any) -> pa.Table:
    """The records of these numbers; ``changed`` maps a column to a function of (number, value)."""
    import pyarrow as pa

    batches = []
    remaining = iter(numbers)
    while part := list(itertools.islice(remaining, BATCH)):
        records = [typed(texts(number)) for number in part]
        for name, change in changed.items():
            for number, record in zip(part, records, strict=True):
                record[name] = change(number, record[name])
        batches.append(pa.RecordBatch.from_pylist(records, schema=schema()))
    return pa.Table.from_batches(batches, schema())
