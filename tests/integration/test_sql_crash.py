"""Killed in the middle of a write, a table is the whole old one or the whole new one; while a write goes on, readers see the old one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sql_support import Postgres, Sqlite, columns, get, inserts, put, stream, table
from sync_provider.connectors.base import WriteRequest
from sync_provider.core.errors import SyncDataError

TARGET = columns(code="string", n="integer")
OLD = [{"code": f"k{n:05}", "n": 0} for n in range(3000)]
NEW = [{"code": f"k{n:05}", "n": 1} for n in range(1000, 4000)]

# Kills itself where it is told to: while the stream is being made, or after everything was applied and before the commit.
SCRIPT = """
import os, signal, sys
from sql_support import *
from test_sql_crash import NEW, OLD, TARGET, changes
kind, where, mode, moment = sys.argv[1:]
connection = sqlite_connection(Path(where)) if kind == "sqlite" else postgres_connection(where)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dying(batches):
    for number, batch in enumerate(batches):
        if moment == "streaming" and number == 2:
            die()
        yield batch

request = WriteRequest(mode=mode, columns=TARGET, key=("code",), run_id=RUN_ID, fence=die if moment == "applied" else lambda: None)
with table(connection) as connector:
    connector.write(request, dying(stream(TARGET, *changes(mode), size=250)))
"""


def changes(mode: str) -> list[Any]:
    if mode in ("append", "replace"):
        return list(inserts(NEW if mode == "replace" else NEW[2000:]))
    old = {row["code"]: row for row in OLD}
    new = {row["code"]: row for row in NEW}
    return [
        *(("update", row, old[code]) for code, row in new.items() if code in old),
        *(("insert", row, None) for code, row in new.items() if code not in old),
        *(("delete", None, row) for code, row in old.items() if code not in new),
    ]


@pytest.fixture(params=["sqlite", "sqlite-wal", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "postgres":
        return Postgres(request.getfixturevalue("postgres_url"))
    made = Sqlite(tmp_path / "target.db")
    if request.param == "sqlite-wal":
        made.run("PRAGMA journal_mode = WAL")
    return made


@pytest.mark.parametrize("mode", ["append", "replace", "mirror"])
@pytest.mark.parametrize("moment", ["streaming", "applied"])
def test_a_killed_write_leaves_the_old_table_and_can_be_done_again(
    database: Any, mode: str, moment: str, tmp_path: Path
) -> None:
    put(table(database.connection), TARGET, *inserts(OLD))
    kind, where = ("postgres", database.url) if isinstance(database, Postgres) else ("sqlite", str(database.path))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, where, mode, moment],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
            "TMPDIR": str(scratch),
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert get(table(database.connection), TARGET) == OLD
    put(table(database.connection), TARGET, *changes(mode), mode=mode)
    whole = {"append": [*OLD, *NEW[2000:]]}.get(mode, NEW)
    assert sorted(get(table(database.connection), TARGET), key=lambda r: (r["code"], r["n"])) == whole


@pytest.mark.parametrize("mode", ["append", "replace", "mirror"])
def test_readers_see_the_whole_old_table_until_the_commit(database: Any, mode: str) -> None:
    put(table(database.connection), TARGET, *inserts(OLD))
    seen = []

    def look() -> None:
        seen.append(get(table(database.connection), TARGET))

    put(table(database.connection), TARGET, *changes(mode), mode=mode, fence=look)
    assert seen == [OLD]
    assert get(table(database.connection), TARGET) != OLD


def test_an_error_while_the_stream_is_made_leaves_the_old_table(database: Any) -> None:
    put(table(database.connection), TARGET, *inserts(OLD))

    def broken() -> Iterator[pa.RecordBatch]:
        yield from stream(TARGET, *inserts(NEW[2000:]))
        raise SyncDataError("the stage is corrupt", code="tampered")

    request = WriteRequest(mode="append", columns=TARGET, key=("code",), run_id="01J")
    with pytest.raises(SyncDataError, match="the stage is corrupt") as caught, table(database.connection) as connector:
        connector.write(request, broken())
    assert caught.value.code == "tampered"
    assert get(table(database.connection), TARGET) == OLD


def test_no_temporary_file_outlives_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    database = Sqlite(tmp_path / "target.db")
    during: list[Path] = []
    put(table(database.connection), TARGET, *inserts(OLD), fence=lambda: during.extend(scratch.iterdir()))
    assert during == []
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scratch", "target.db"]
