"""Two edited sides against what they last agreed on: 1 % edited on each, 0.1 % in conflict; and nothing changed.

Everybody begins with files: the peers with the three sets as Parquet, we with the two staged snapshots and the baseline, which are
encrypted, and end with both change streams staged and the conflicts with all their values. The peers only tell which records changed and
where; none merges field by field.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench import ours
from bench.data import FIELDS, NAMES, texts, write_csv
from bench.harness import Benchmark, Candidate, Goal, Job

ORDER = 3
VALUES = NAMES[1:]
RUN = "bench"
AGAIN = "sync_provider, once more"
READING = "reading both sides only"


def city(number: int, value: Any) -> Any:
    """1 % of the destination's cities are edited."""
    return "Rouen" if number % 100 == 50 else value


def price(number: int, value: Any) -> Any:
    """1 % of the source's prices are edited."""
    return value + Decimal("0.01") if number % 100 == 0 else value


def other_price(number: int, value: Any) -> Any:
    """A tenth of the prices that the source edited, the destination edited differently: conflicts."""
    return value - Decimal("0.01") if number % 1000 == 0 else value


def prepare_edited(data: Path, rows: int) -> None:
    base = ours.table(range(rows))
    stage_run(data, base, edited(base, price=price), edited(base, city=city, price=other_price))


def edited(table: Any, **changed: Any) -> Any:
    """The table with columns changed by functions of (number, value)."""
    import pyarrow as pa

    for name, change in changed.items():
        column = table.column(name)
        values = [change(number, value) for number, value in enumerate(column.to_pylist())]
        table = table.set_column(NAMES.index(name), name, pa.array(values, column.type))
    return table


def prepare_unchanged(data: Path, rows: int) -> None:
    base = ours.table(range(rows))
    stage_run(data, base, base, base)


def declaration() -> dict[str, Any]:
    return ours.declaration(
        mode="bidirectional", write=None, key=["code"], guards={"on_trip": "fail"}, conflicts={"policy": "merge"}
    )


def stage_run(data: Path, base: Any, source: Any, destination: Any) -> None:
    """The three sets for the peers, and a run of ours that has read both sides and not planned yet."""
    from pyarrow import parquet
    from sync_provider.engine.bidirectional import baseline, sides
    from sync_provider.engine.fingerprints import stamped
    from sync_provider.engine.staging import stage

    tables = {"base": base, "source": source, "destination": destination}
    for name, table in tables.items():
        parquet.write_table(table, data / f"{name}.parquet", compression="zstd", compression_level=1)
    with workspace(data, "before") as ctx:
        path = f"baselines/{ctx.mapping.id}/before.parquet"
        with sides.fingerprints(ctx.mapping) as marks:
            records = map(marks.stamp, padded(base, baseline.schema(ctx.mapping)))
            stage(ctx.env.store, path, stamped(baseline.schema(ctx.mapping)), records)
        moved = {baseline.pointer(ctx.mapping.id): path}
        ctx.env.ledger.runs.start_phase(ctx.id, "snapshot_source", 1)
        ctx.env.ledger.runs.finish(
            ctx.id, "succeeded", counters={"baseline": "first"}, error=None, event="run.succeeded", baselines=moved
        )
    with workspace(data, RUN) as ctx:
        for side in ("source", "destination"):
            with (
                ctx.connect(side) as connector,  # type: ignore[arg-type]
                sides.conversion(ctx.mapping, side, connector) as conversion,  # type: ignore[arg-type]
                sides.fingerprints(ctx.mapping) as marks,
            ):
                records = map(marks.stamp, padded(tables[side], conversion.schema))
                path = ctx.path(f"snapshot_{side}.parquet")
                staged = stage(ctx.env.store, path, stamped(conversion.schema), records)
            phase = f"snapshot_{side}"
            read = {**staged.as_dict(), "read": staged.rows, "rejected": 0, "absent": False, "without_id": 0}
            number = ctx.env.ledger.runs.start_phase(ctx.id, phase, 1)
            ctx.env.ledger.runs.finish_phase(ctx.id, phase, "succeeded", {"read": staged.rows}, read, number=number)


def padded(table: Any, schema: Any) -> Iterator[Any]:
    """Batches of a table in a wider schema: what it lacks is null, or false."""
    import pyarrow as pa

    for batch in table.to_batches(ours.BATCH):
        arrays = []
        for field in schema:
            if field.name in table.schema.names:
                arrays.append(batch.column(field.name).cast(field.type))
            elif pa.types.is_boolean(field.type):
                arrays.append(pa.repeat(pa.scalar(False), batch.num_rows))
            else:
                arrays.append(pa.nulls(batch.num_rows, field.type))
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


@contextmanager
def workspace(folder: Path, run: str, keys: dict[str, Any] | None = None) -> Iterator[Any]:
    """A run of the mapping in a deployment in that folder, which is made if need be."""
    import yaml
    from sync_provider.testing import SyncWorkspace

    home = folder / "deployment"
    fresh = not home.exists()
    home.mkdir(exist_ok=True)
    made = SyncWorkspace(home) if fresh else opened(home)
    if fresh:
        made.add_file("in.csv", ",".join(NAMES) + "\n")
        with closing(sqlite3.connect(made.database("db"))) as database:
            database.execute(f"CREATE TABLE target ({', '.join(column(name) for name in NAMES)})")
        text = yaml.safe_dump({k: v for k, v in (keys or declaration()).items() if v is not None})
        (made.mappings / "bench.yaml").write_text(text, encoding="utf-8")
    with made.open("bench", run=run) as ctx:
        yield ctx


def opened(home: Path) -> Any:
    """The deployment that is there already."""
    from sync_provider.testing import SyncWorkspace

    parts = {name: home / name for name in ("files", "mappings", "home")}
    kept = {name: path.rename(home / f"{name}.kept") for name, path in parts.items()}
    made = SyncWorkspace(home)
    for name, path in parts.items():
        path.rmdir()
        kept[name].rename(path)
    return made


def column(name: str) -> str:
    kinds = {"string": "TEXT", "integer": "INTEGER", "double": "REAL", "boolean": "BOOLEAN", "date": "DATE"}
    kind = FIELDS[name]
    declared = kinds.get(kind, "TIMESTAMP" if kind == "timestamp" else kind.upper())
    return f"{name} {declared}{' PRIMARY KEY' if name == 'code' else ''}"


def plan_ours(job: Job) -> None:
    from sync_provider.engine.bidirectional.plan import plan

    ours.warm()
    shutil.copytree(job.data / "deployment", job.out / "deployment")
    with workspace(job.out, RUN) as ctx:
        with job.work():
            counters = plan(ctx)
        told(job, ctx, counters)


def plan_again(job: Job) -> None:
    """The plan of the run after a quiet run, which finds what that one found."""
    from sync_provider.engine.bidirectional.plan import plan

    ours.warm()
    shutil.copytree(job.data / "deployment", job.out / "deployment")
    with workspace(job.out, RUN) as ctx:
        plan(ctx)
        read = {phase: ctx.artifact(phase) for phase in ("snapshot_source", "snapshot_destination")}
    with workspace(job.out, "again") as ctx:
        for phase, artifact in read.items():
            number = ctx.env.ledger.runs.start_phase(ctx.id, phase, 1)
            ctx.env.ledger.runs.finish_phase(ctx.id, phase, "succeeded", {}, artifact, number=number)
        with job.work():
            counters = plan(ctx)
        told(job, ctx, counters)


def told(job: Job, ctx: Any, counters: dict[str, Any]) -> None:
    """Leave what our plan found."""
    import pyarrow.compute as pc
    from sync_provider.connectors.base import OP
    from sync_provider.engine.staging import unstage

    artifact = ctx.artifact("plan")
    numbers: dict[str, int] = {}
    for side in ("source", "destination"):
        batches = list(unstage(ctx.env.store, artifact[side]["path"]))
        if any(not pc.all(pc.equal(batch.column(OP), "update")).as_py() for batch in batches):
            raise RuntimeError("something else than an update is planned")
        numbers[side] = sum(int(code) for batch in batches for code in batch.column("code").to_pylist())
    with ctx.env.store.open_read(artifact["conflicts"]) as lines:
        conflicts = [json.loads(line) for line in lines]
    if len(conflicts) != counters["conflicts"]:
        raise RuntimeError("the plan does not count its conflicts")
    # What is written to the destination changed on the source.
    changed = [
        [counters["destination_updates"], numbers["destination"]],
        [counters["source_updates"], numbers["source"]],
    ]
    keep(job, [*changed, [len(conflicts), sum(int(conflict["key"]) for conflict in conflicts)]])


def plan_hashes(job: Job) -> None:
    import duckdb

    with job.work():
        database = three_sets(duckdb.connect(config={"threads": "2"}), job)
        found = [
            f"(SELECT code, hash({', '.join(NAMES)}) AS h FROM {name}) {name[0]}"
            for name in ("base", "source", "destination")
        ]
        database.execute(
            f"""CREATE TABLE changed AS SELECT code, s.h IS DISTINCT FROM b.h AS on_source, d.h IS DISTINCT FROM b.h AS on_destination
            FROM {found[0]} FULL JOIN {found[1]} USING (code) FULL JOIN {found[2]} USING (code)
            WHERE s.h IS DISTINCT FROM b.h OR d.h IS DISTINCT FROM b.h"""
        )
        rows = database.sql(
            "SELECT c.*, b, s, d FROM changed c LEFT JOIN base b USING (code) LEFT JOIN source s USING (code) "
            "LEFT JOIN destination d USING (code)"
        ).to_arrow_table()
    tell(job, rows)


def plan_columns(job: Job) -> None:
    def differs(side: str) -> str:
        return " OR ".join(f"{side}.{name} IS DISTINCT FROM b.{name}" for name in VALUES)

    query = f"""
        SELECT * FROM (
            SELECT code, {differs("s")} AS on_source, {differs("d")} AS on_destination, b, s, d
            FROM base b FULL JOIN source s USING (code) FULL JOIN destination d USING (code)
        ) WHERE on_source OR on_destination"""
    import duckdb

    with job.work():
        rows = three_sets(duckdb.connect(config={"threads": "2"}), job).sql(query).to_arrow_table()
    tell(job, rows)


def three_sets(database: Any, job: Job) -> Any:
    for name in ("base", "source", "destination"):
        database.execute(f"CREATE VIEW {name} AS FROM read_parquet('{job.data / name}.parquet')")
    return database


def plan_pandas(job: Job) -> None:
    import pandas as pd
    import pyarrow.parquet  # noqa: F401 - which pandas reads with

    with job.work():
        base, source, destination = (
            pd.read_parquet(job.data / f"{name}.parquet") for name in ("base", "source", "destination")
        )
        sides = source.merge(destination, on="code", how="outer", suffixes=("_s", "_d"))
        merged = sides.merge(base, on="code", how="outer")
        on = {}
        for side in ("s", "d"):
            on[side] = pd.Series(False, index=merged.index)
            for name in VALUES:
                new, old = merged[f"{name}_{side}"], merged[name]
                on[side] |= (new != old) & ~(new.isna() & old.isna())
        rows = merged.assign(on_source=on["s"], on_destination=on["d"])[on["s"] | on["d"]]
    codes = rows["code"].astype("int64")
    both = rows["on_source"] & rows["on_destination"]
    parts = (rows["on_source"] & ~both, rows["on_destination"] & ~both, both)
    keep(job, [[int(part.sum()), int(codes[part].sum())] for part in parts])


def tell(job: Job, rows: Any) -> None:
    """Leave what the peers' queries found."""
    import duckdb

    count = "SELECT on_source, on_destination, count(*), sum(code::BIGINT)::BIGINT FROM found GROUP BY ALL"
    found = duckdb.from_arrow(rows).query("found", count).fetchall()
    counted = {(source, destination): [count, total] for source, destination, count, total in found}
    keep(job, [counted.get(kind, [0, 0]) for kind in ((True, False), (False, True), (True, True))])


def keep(job: Job, found: list[list[int]]) -> None:
    """What changed on the source only, on the destination only, and on both: count, and sum of the keys."""
    (job.out / "plan.json").write_text(json.dumps(found), encoding="utf-8")


def found(name: str, data: Path, out: Path) -> str:
    del name, data
    return (out / "plan.json").read_text(encoding="utf-8")


# A whole run in which nothing changed


def prepare_in_step(data: Path, rows: int) -> None:
    """A file and a table that a first run has brought into step."""
    from sync_provider.engine.pipeline import run_all

    with workspace(data, "first") as ctx:
        files = data / "deployment" / "files"
        write_csv(files / "in.csv", rows)
        with closing(sqlite3.connect(data / "deployment" / "db.db")) as database, database:
            marks = ", ".join("?" * len(NAMES))
            database.executemany(f"INSERT INTO target VALUES ({marks})", (stored(texts(n)) for n in range(rows)))
        run_all(ctx)


def stored(record: list[str]) -> list[Any]:
    kinds: dict[str, Any] = {"boolean": lambda text: text == "true", "double": float, "integer": int}
    return [
        None if text == "" else kinds.get(kind, str)(text) for text, kind in zip(record, FIELDS.values(), strict=True)
    ]


def run_whole(job: Job) -> None:
    from sync_provider.engine.pipeline import run_all

    ours.warm()
    shutil.copytree(job.data / "deployment", job.out / "deployment")
    with workspace(job.out, "second") as ctx, job.work():
        result = run_all(ctx)
    if result["unchanged"] != 2 * job.rows or result["written"]:
        raise RuntimeError(f"something was written: {result}")


def read_both(job: Job) -> None:
    from sync_provider.engine.pipeline import snapshot_destination, snapshot_source

    ours.warm()
    shutil.copytree(job.data / "deployment", job.out / "deployment")
    with workspace(job.out, "second") as ctx, job.work():
        snapshot_source(ctx)
        snapshot_destination(ctx)


PLANS = (
    Candidate("sync_provider", plan_ours, ours=True),
    Candidate("duckdb, row hashes", plan_hashes),
    Candidate("duckdb SQL over columns", plan_columns),
    Candidate("pandas merge", plan_pandas),
)
BENCHMARKS = (
    Benchmark(
        name="two-way-plan",
        title="Two-way plan, 1 % edited on each side, 0.1 % in conflict",
        prepare=prepare_edited,
        fingerprint=found,
        candidates=PLANS,
        goals=(
            Goal("≤ 1.5 × the fastest", 1.5),
            Goal("≥ 10 × pandas", 0.1, against="pandas merge"),
            Goal("≤ 500 MB above imports", 500, measure="above_mb", absolute=True),
        ),
    ),
    Benchmark(
        name="two-way-unchanged",
        title="Two-way plan, nothing changed",
        prepare=prepare_unchanged,
        fingerprint=found,
        candidates=(*PLANS, Candidate(AGAIN, plan_again, ours=True)),
        goals=(
            Goal("≤ duckdb, row hashes", 1.0, against="duckdb, row hashes"),
            Goal("after a quiet run ≤ duckdb, row hashes", 1.0, against="duckdb, row hashes", candidate=AGAIN),
        ),
    ),
    Benchmark(
        name="two-way-run",
        title="Two-way run of a file and a table, nothing changed",
        prepare=prepare_in_step,
        candidates=(Candidate("sync_provider", run_whole, ours=True), Candidate(READING, read_both)),
        goals=(Goal("close to the cost of reading both sides", 1.3, against=READING),),
    ),
)
