"""How fast text becomes typed records, in batches as connectors give them: clean, partly bad, filtered, with expressions."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from bench import ours
from bench.data import FIELDS, NAMES, texts
from bench.harness import Benchmark, Candidate, Job

ORDER = 6
EXPRESSIONS = {"code": "upper(trim(value))", "price": "parse_number(value, 'en')", "name": "slug(value)"}


def prepare(data: Path, rows: int) -> None:
    """Every record as text, with its place; the same with a price that is no number in 1 % of them."""
    import pyarrow as pa
    from pyarrow import parquet
    from sync_provider.connectors.base import FILE, ROW, SHEET

    columns = dict(zip(NAMES, zip(*(texts(number) for number in range(rows)), strict=True), strict=True))
    place = {FILE: ["in.csv"] * rows, SHEET: pa.nulls(rows, pa.string()), ROW: range(2, rows + 2)}
    clean = pa.table({**{n: [value or None for value in values] for n, values in columns.items()}, **place})
    prices = [f"{value}a" if number % 100 == 0 else value for number, value in enumerate(columns["price"])]
    parquet.write_table(clean, data / "clean.parquet")
    parquet.write_table(
        clean.set_column(NAMES.index("price"), "price", pa.array(prices, pa.string())), data / "bad.parquet"
    )


def convert(job: Job, *, file: str, expressions: bool = False, keeping: str | None = None) -> None:
    from pyarrow import parquet
    from sync_provider.connectors.base import RawBatch
    from sync_provider.core.schema import parse_type
    from sync_provider.engine.transform import Conversion, ConversionField

    ours.warm()
    batches = parquet.read_table(job.data / f"{file}.parquet").to_batches(ours.BATCH)
    computed = EXPRESSIONS if expressions else {}
    fields = [ConversionField(name, name, parse_type(kind), computed.get(name)) for name, kind in FIELDS.items()]
    options: dict[str, Any] = {"filter": keeping} if keeping else {}
    kept = refused = filtered = 0
    with job.work(), Conversion(fields, key=["code"], timezone="Europe/Paris", **options) as conversion:
        for batch in batches:
            converted = conversion.convert(RawBatch(batch))
            kept += converted.records.num_rows
            refused += len(converted.rejections)
            filtered += converted.filtered
    if kept + refused + filtered != job.rows:
        raise RuntimeError("a record was lost")
    (job.out / "counts.json").write_text(json.dumps([kept, refused, filtered]), encoding="utf-8")


BENCHMARKS = (
    Benchmark(
        name="transform",
        title="Text to typed records, without peers",
        prepare=prepare,
        candidates=(
            Candidate("clean", partial(convert, file="clean"), ours=True),
            Candidate("1 % bad", partial(convert, file="bad"), ours=True),
            Candidate("filtered by half", partial(convert, file="clean", keeping="quantity % 2 = 0"), ours=True),
            Candidate("three expressions", partial(convert, file="clean", expressions=True), ours=True),
        ),
    ),
)
