"""What would change: records that came in against those that are there, 1 % edited, one way and by key."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench import ours
from bench.data import NAMES
from bench.harness import Benchmark, Candidate, Goal, Job

ORDER = 3
VALUES = NAMES[1:]


def prepare(data: Path, rows: int) -> None:
    """1 % of the records are edited, 0.1 % are new."""
    from pyarrow import parquet

    def edited(number: int, value: Any) -> Any:
        return value + Decimal("0.01") if number % 100 == 0 else value

    parquet.write_table(ours.table(range(rows)), data / "existing.parquet")
    parquet.write_table(ours.table(range(rows + rows // 1000), price=edited), data / "incoming.parquet")


def both(job: Job) -> tuple[Any, Any]:
    from pyarrow import parquet

    return parquet.read_table(job.data / "existing.parquet"), parquet.read_table(job.data / "incoming.parquet")


def plan_ours(job: Job) -> None:
    import pyarrow.compute as pc
    from sync_provider.connectors.base import OP
    from sync_provider.engine.planning import Planner

    ours.warm()
    existing, incoming = both(job)
    mapping = ours.mapping(write="upsert", key=["code"])
    with job.work(), Planner(mapping, ours.schema()) as planner:
        planner.load_existing(existing.to_batches(ours.BATCH))
        planner.load_incoming(incoming.to_batches(ours.BATCH))
        if planner.ambiguous():
            raise RuntimeError("a key stands twice")
        counts = planner.counts(deletes=False)
        changes = list(planner.changes(deletes=False))
    operations = [batch.column(OP) for batch in changes]
    inserts = sum(pc.sum(pc.equal(column, "insert")).as_py() or 0 for column in operations)
    if inserts != counts["inserts"] or sum(map(len, operations)) - inserts != counts["updates"]:
        raise RuntimeError("the plan does not count what it lists")
    total = sum(pc.sum(batch.column("price")).as_py() for batch in changes)
    keep(job, counts["inserts"], counts["updates"], total)


def plan_duckdb(job: Job) -> None:
    import duckdb
    import pyarrow.compute as pc

    existing, incoming = both(job)
    differs = " OR ".join(f"i.{name} IS DISTINCT FROM e.{name}" for name in VALUES)
    columns = ", ".join(f"i.{name}, e.{name} AS old_{name}" for name in NAMES)
    with job.work():
        database = duckdb.connect(config={"threads": "2"})
        database.register("e", existing)
        database.register("i", incoming)
        changes = database.sql(
            f"SELECT e.code IS NULL AS fresh, {columns} FROM i LEFT JOIN e ON i.code = e.code WHERE e.code IS NULL OR {differs}"
        ).to_arrow_table()
    fresh = pc.sum(changes.column("fresh")).as_py() or 0
    keep(job, fresh, changes.num_rows - fresh, pc.sum(changes.column("price")).as_py())


def plan_pandas(job: Job) -> None:
    import pandas as pd

    existing, incoming = (side.to_pandas() for side in both(job))
    with job.work():
        merged = incoming.merge(existing, on="code", how="left", suffixes=("", "_old"), indicator=True)
        fresh = merged["_merge"] == "left_only"
        differs = pd.Series(False, index=merged.index)
        for name in VALUES:
            new, old = merged[name], merged[f"{name}_old"]
            differs |= (new != old) & ~(new.isna() & old.isna())
        changes = merged[fresh | differs]
    keep(job, int(fresh.sum()), len(changes) - int(fresh.sum()), changes["price"].sum())


def keep(job: Job, inserts: int, updates: int, total: Any) -> None:
    (job.out / "plan.json").write_text(json.dumps([inserts, updates, str(total)]), encoding="utf-8")


def found(name: str, data: Path, out: Path) -> str:
    del name, data
    return (out / "plan.json").read_text(encoding="utf-8")


BENCHMARKS = (
    Benchmark(
        name="plan",
        title="One-way plan by key, 1 % edited",
        prepare=prepare,
        fingerprint=found,
        candidates=(
            Candidate("sync_provider", plan_ours, ours=True),
            Candidate("duckdb SQL over columns", plan_duckdb),
            Candidate("pandas merge", plan_pandas),
        ),
        goals=(
            Goal("≤ 1.5 × the fastest", 1.5),
            Goal("≥ 10 × pandas", 0.1, against="pandas merge"),
            Goal("≤ 500 MB", 500, measure="peak_mb", absolute=True),
        ),
    ),
)
