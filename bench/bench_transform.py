"""How fast text becomes typed records: 1,000,000 × 12 mixed columns, in batches as connectors give them.

python bench/bench_transform.py [rows] [share of bad records in percent]
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator

import pyarrow as pa
from sync_provider.connectors.base import BATCH_ROWS, FILE, ROW, SHEET, RawBatch
from sync_provider.core.schema import parse_type
from sync_provider.engine.transform import Conversion, ConversionField

TYPES = (
    "string",
    "integer",
    "decimal(12,2)",
    "date",
    "timestamp",
    "boolean",
    "double",
    "string",
    "integer",
    "decimal(18,4)",
    "json",
    "timestamp",
)


def batches(rows: int, bad: float) -> Iterator[RawBatch]:
    every = int(100 / bad) if bad else 0
    for start in range(0, rows, BATCH_ROWS):
        ids = range(start, min(start + BATCH_ROWS, rows))
        columns = {
            "c0": [f"{i:06d}" for i in ids],
            "c1": [str(i * 7919 % 1_000_003) for i in ids],
            "c2": ["12,5a" if every and i % every == 0 else f"{i % 100_000}.{i % 100:02d}" for i in ids],
            "c3": [f"20{i % 24:02d}-{i % 12 + 1:02d}-{i % 28 + 1:02d}" for i in ids],
            "c4": [f"20{i % 24:02d}-{i % 12 + 1:02d}-{i % 28 + 1:02d}T12:{i % 60:02d}:00Z" for i in ids],
            "c5": ["true" if i % 3 else "false" for i in ids],
            "c6": [repr(i / 7) for i in ids],
            "c7": [f"Café numéro {i}" for i in ids],
            "c8": [None if i % 10 == 0 else str(-i) for i in ids],
            "c9": ["" if i % 10 == 0 else f"{i}.{i % 10_000:04d}" for i in ids],
            "c10": [f'{{"id": {i}, "tags": ["a", "b"]}}' for i in ids],
            "c11": [f"20{i % 24:02d}-{i % 12 + 1:02d}-{i % 28 + 1:02d} 08:{i % 60:02d}" for i in ids],
            FILE: ["in/bench.csv"] * len(ids),
            SHEET: pa.nulls(len(ids), pa.string()),
            ROW: list(range(ids.start + 2, ids.stop + 2)),
        }
        yield RawBatch(pa.RecordBatch.from_pydict(columns))


def fields(*, expressions: bool) -> list[ConversionField]:
    given = [ConversionField(f"c{i}", f"d{i}", parse_type(name)) for i, name in enumerate(TYPES)]
    if expressions:
        given[0] = ConversionField("c0", "d0", parse_type("string"), "upper(trim(value))")
        given[2] = ConversionField("c2", "d2", parse_type("decimal(12,2)"), "parse_number(value, 'en')")
        given[7] = ConversionField("c7", "d7", parse_type("string"), "slug(value)")
    return given


def measure(label: str, rows: int, bad: float, **options: object) -> None:
    work = cpu = kept = refused = filtered = 0.0
    expressions = bool(options.pop("expressions", False))
    with Conversion(fields(expressions=expressions), key=["d0"], timezone="Europe/Paris", **options) as conversion:  # type: ignore[arg-type]
        for raw in batches(rows, bad):
            start, started = time.perf_counter(), time.process_time()
            converted = conversion.convert(raw)
            work += time.perf_counter() - start
            cpu += time.process_time() - started
            kept += converted.records.num_rows
            refused += len(converted.rejections)
            filtered += converted.filtered
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{label:32} {work:6.2f} s (CPU {cpu:.2f} s)   kept {kept:.0f}, refused {refused:.0f}, filtered {filtered:.0f}; peak RSS {rss:.0f} MB"
    )


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    share = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    measure("clean", count, 0)
    measure(f"{share:g} % bad", count, share)
    measure("clean, filter", count, 0, filter="d1 % 2 = 0")
    measure("clean, 3 expressions", count, 0, expressions=True)
    measure(f"{share:g} % bad, 3 expressions", count, share, expressions=True)
