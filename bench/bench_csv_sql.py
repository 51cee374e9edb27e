"""A CSV file into a table: our extract, plan and load beside the programs and libraries people use for it.

dlt is a peer only if ``BENCH_PEERS`` names the interpreter of an environment that has it; see docs/benchmarks.md.
"""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from bench.data import FIELDS, NAMES, digest, write_csv
from bench.harness import Benchmark, Candidate, Goal, Job
from bench.ours import declaration, warm
from bench.postgres import server

ORDER = 1
SQLITE_TYPES = {"string": "TEXT", "double": "REAL", "decimal(18,4)": "DECIMAL_TEXT(18,4)"}
POSTGRES_TYPES = {
    "string": "text",
    "integer": "bigint",
    "double": "double precision",
    "timestamp": "timestamptz",
    "decimal(12,2)": "numeric(12,2)",
    "decimal(18,4)": "numeric(18,4)",
}


def prepare(data: Path, rows: int) -> None:
    write_csv(data / "in.csv", rows)


def ddl(types: dict[str, str]) -> str:
    """The table that every peer writes to: of the types that we would create."""
    return f"CREATE TABLE target ({', '.join(f'{name} {types.get(kind, kind)}' for name, kind in FIELDS.items())})"


def ours(job: Job, *, postgres: bool, write: str = "append") -> None:
    """All phases but the closing report. Rules that follow from a key are Great Expectations' work, and not timed."""
    import yaml
    from sync_provider.connectors.base import ConnectionInfo
    from sync_provider.engine import pipeline
    from sync_provider.testing import SyncWorkspace

    warm()
    (job.out / "sync").mkdir()
    workspace = SyncWorkspace(job.out / "sync")
    info = ConnectionInfo(id="db", type="sqlite", host=str(job.out / "target.db"))
    if postgres:
        reset()
        port = int(os.environ["BENCH_POSTGRES"].rpartition(":")[2].split("/")[0])
        info = ConnectionInfo(
            id="db", type="postgres", host="127.0.0.1", port=port, login="postgres", schema="postgres"
        )
    workspace.connections["db"] = info
    workspace.connections["files"] = ConnectionInfo(id="files", type="fs", extra={"path": str(job.data)})
    declared = declaration(
        source={"type": "csv", "connection": "files", "path": "in.csv"},
        write=write,
        **({"key": ["code"]} if write == "upsert" else {}),
    )
    (workspace.mappings / "bench.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    with workspace.open("bench") as ctx:
        with job.work():
            pipeline.extract(ctx)
        pipeline.validate(ctx)
        with job.work():
            pipeline.plan(ctx)
            pipeline.backup(ctx)
            pipeline.load(ctx)


def sqlite_target(job: Job) -> Path:
    path = job.out / "target.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(ddl(SQLITE_TYPES))
    return path


def sqlite_import(job: Job) -> None:
    path = sqlite_target(job)
    with job.work():
        subprocess.run(["sqlite3", path, f".import --csv --skip 1 {job.data / 'in.csv'} target"], check=True)


def records(path: Path) -> Iterator[list[str | None]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for row in rows:
            yield [value or None for value in row]


def sqlite_executemany(job: Job) -> None:
    with closing(sqlite3.connect(sqlite_target(job))) as database, job.work(), database:
        database.executemany(f"INSERT INTO target VALUES ({', '.join('?' * len(NAMES))})", records(job.data / "in.csv"))


def arrow_reader(path: Path, *, decimals: bool) -> Any:
    """The file as Arrow batches of the declared types; decimals as text where a driver has none."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    types = {
        "string": pa.string(),
        "integer": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "decimal(12,2)": pa.decimal128(12, 2) if decimals else pa.string(),
        "decimal(18,4)": pa.decimal128(18, 4) if decimals else pa.string(),
    }
    options = arrow_csv.ConvertOptions(
        column_types={name: types[kind] for name, kind in FIELDS.items()},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    return arrow_csv.open_csv(path, convert_options=options)


def sqlite_adbc(job: Job) -> None:
    from adbc_driver_sqlite import dbapi

    with closing(dbapi.connect(str(sqlite_target(job)))) as database, job.work():
        with database.cursor() as cursor:
            cursor.adbc_ingest("target", arrow_reader(job.data / "in.csv", decimals=False), mode="append")
        database.commit()


def pandas_to_sql(job: Job, *, postgres: bool) -> None:
    """As its guide does it: types guessed but for the code, 10,000 rows at a time."""
    import pandas as pd
    import sqlalchemy as sa

    if postgres:
        reset(create=True)
        url = os.environ["BENCH_POSTGRES"].replace("postgresql://", "postgresql+psycopg://")
    else:
        url = f"sqlite:///{sqlite_target(job)}"
    engine = sa.create_engine(url)
    with job.work(), engine.begin() as connection:
        for chunk in pd.read_csv(
            job.data / "in.csv", dtype={"code": str}, parse_dates=["day", "seen"], chunksize=10_000
        ):
            chunk.to_sql("target", connection, if_exists="append", index=False)


def psql(statement: str) -> None:
    subprocess.run(
        ["psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", os.environ["BENCH_POSTGRES"], "-c", statement], check=True
    )


def reset(*, create: bool = False) -> None:
    """Empty the database; peers get a table of our types."""
    psql("SET client_min_messages = error; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    if create:
        psql(ddl(POSTGRES_TYPES))


def postgres_copy(job: Job) -> None:
    reset(create=True)
    with job.work():
        psql(f"\\copy target FROM '{job.data / 'in.csv'}' WITH (FORMAT csv, HEADER)")


def psycopg_copy(job: Job) -> None:
    import psycopg

    reset(create=True)
    with (
        psycopg.connect(os.environ["BENCH_POSTGRES"]) as connection,
        job.work(),
        connection.cursor().copy("COPY target FROM STDIN") as copy,
    ):
        for row in records(job.data / "in.csv"):
            copy.write_row(row)


def postgres_adbc(job: Job) -> None:
    from adbc_driver_postgresql import dbapi

    reset(create=True)
    with closing(dbapi.connect(os.environ["BENCH_POSTGRES"])) as connection, job.work():
        with connection.cursor() as cursor:
            cursor.adbc_ingest("target", arrow_reader(job.data / "in.csv", decimals=True), mode="append")
        connection.commit()


def dlt_arrow(job: Job, *, postgres: bool) -> None:
    import dlt

    if postgres:
        reset()
        destination = dlt.destinations.postgres(os.environ["BENCH_POSTGRES"].replace("@", ":unused@"))
    else:
        destination = dlt.destinations.sqlalchemy(f"sqlite:///{job.out / 'target.db'}")
    pipeline = dlt.pipeline(
        "bench", destination=destination, dataset_name="public" if postgres else "main", pipelines_dir=str(job.out)
    )

    def batches() -> Iterator[Any]:
        import pyarrow as pa

        for batch in arrow_reader(job.data / "in.csv", decimals=True):
            yield pa.Table.from_batches([batch])

    with job.work():
        pipeline.run(batches(), table_name="target", write_disposition="append")


def sqlite_digest(name: str, data: Path, out: Path) -> str:
    del name, data
    with closing(sqlite3.connect(out / "target.db")) as database:
        return digest(database.execute(f"SELECT {', '.join(NAMES)} FROM target"))


def postgres_digest(name: str, data: Path, out: Path) -> str:
    del name, data, out
    import psycopg

    with psycopg.connect(os.environ["BENCH_POSTGRES"], options="-c timezone=UTC") as connection:
        return digest(connection.cursor("all").execute(f"SELECT {', '.join(NAMES)} FROM target"))


def program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"{name} is not installed"


PEERS = os.environ.get("BENCH_PEERS", "")


@lru_cache
def no_dlt() -> str | None:
    if not PEERS:
        return "BENCH_PEERS is not set"
    found = subprocess.run([PEERS, "-c", "import dlt, pyarrow"], capture_output=True, check=False)
    return None if found.returncode == 0 else "the interpreter of BENCH_PEERS has no dlt"


def dlt(run: Callable[..., None], *, postgres: bool) -> Candidate:
    return Candidate("dlt, Arrow", partial(run, postgres=postgres), missing=no_dlt, python=PEERS or sys.executable)


BENCHMARKS = (
    Benchmark(
        name="csv-sqlite",
        title="CSV → SQLite",
        prepare=prepare,
        fingerprint=sqlite_digest,
        candidates=(
            Candidate("sync_provider", partial(ours, postgres=False), ours=True),
            Candidate("sqlite3 .import", sqlite_import, missing=program("sqlite3")),
            Candidate("pyarrow.csv + ADBC", sqlite_adbc),
            Candidate("csv + executemany", sqlite_executemany),
            Candidate("pandas to_sql", partial(pandas_to_sql, postgres=False)),
            dlt(dlt_arrow, postgres=False),
        ),
        goals=(
            Goal("≤ 1.5 × the sqlite3 program", 1.5, against="sqlite3 .import"),
            Goal("≤ 250 MB", 250, measure="peak_mb", absolute=True),
        ),
    ),
    Benchmark(
        name="csv-postgres",
        title="CSV → PostgreSQL",
        prepare=prepare,
        fingerprint=postgres_digest,
        server=server,
        candidates=(
            Candidate("sync_provider", partial(ours, postgres=True), ours=True),
            Candidate("sync_provider, upsert by key", partial(ours, postgres=True, write="upsert"), ours=True),
            Candidate("psql \\copy", postgres_copy, missing=program("psql")),
            Candidate("pyarrow.csv + ADBC", postgres_adbc),
            Candidate("psycopg COPY, rows", psycopg_copy),
            Candidate("pandas to_sql", partial(pandas_to_sql, postgres=True)),
            dlt(dlt_arrow, postgres=True),
        ),
        goals=(
            Goal("≤ 1.0 × \\copy", 1.0, against="psql \\copy"),
            Goal("upsert by key ≤ 2.5 × \\copy", 2.5, against="psql \\copy", candidate="sync_provider, upsert by key"),
            Goal("≤ 250 MB", 250, measure="peak_mb", absolute=True),
        ),
    ),
)
