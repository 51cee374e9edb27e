"""What does not fit in memory is spilled, encrypted, and comes back right."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from sync_provider.core.errors import SyncConnectionError
from sync_provider.engine import scratch
from sync_provider.engine.scratch import Scratch, interrupted, memory_limit_bytes, streamed

ROWS = 600_000
PLAIN = b"a record's own words"


def batches() -> Iterator[pa.RecordBatch]:
    for start in range(0, ROWS, 20_000):
        numbers = range(start, start + 20_000)
        yield pa.RecordBatch.from_pydict(
            {"n": list(numbers), "t": [f"{PLAIN.decode()} {n} {'x' * 60}" for n in numbers]}
        )


def test_a_table_larger_than_memory_is_spilled_without_a_readable_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "memory_limit_bytes", lambda: 40_000_000)
    with Scratch() as small:
        stream = pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64()), ("t", pa.string())]), batches())
        small.db.register("stream", stream)
        small.db.execute("CREATE TABLE kept AS SELECT * FROM stream")
        folder = Path(small.db.sql("SELECT current_setting('temp_directory')").fetchall()[0][0])
        spilled = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert sum(map(len, spilled)) > 1_000_000
        assert not any(PLAIN in content for content in spilled)
        assert folder.stat().st_mode & 0o077 == 0
        found = small.db.sql("SELECT count(DISTINCT t), min(n), max(n) FROM kept").fetchall()
    assert found == [(ROWS, 0, ROWS - 1)]
    assert not folder.exists()


@pytest.mark.parametrize("kind", [SyncConnectionError, KeyboardInterrupt])
def test_what_goes_wrong_in_a_stream_stays_what_it_is(kind: type[BaseException]) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield next(batches())
        raise kind("unreachable")

    with Scratch() as small:
        with (
            pytest.raises(kind, match="unreachable"),
            streamed(small.db, "stream", next(batches()).schema, broken()),
        ):
            small.db.execute("CREATE TABLE kept AS SELECT * FROM stream")
        with streamed(small.db, "stream", next(batches()).schema, [next(batches())]):
            small.db.execute("CREATE TABLE kept AS SELECT * FROM stream")
        assert small.db.execute("SELECT count(*) FROM kept").fetchall() == [(20_000,)]


def test_nothing_outside_can_be_reached() -> None:
    with Scratch() as closed, pytest.raises(Exception, match="disabled"):
        closed.db.execute("SELECT * FROM read_csv('/etc/passwd')")


@pytest.mark.parametrize(
    ("there", "granted"), [("1073741824", 256 << 20), ("8589934592", 512 << 20), (str(1 << 40), None), ("max", None)]
)
def test_a_computation_takes_its_share_of_the_container_s_memory(
    there: str, granted: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_CGROUP", tmp_path / "memory.max")
    unlimited = memory_limit_bytes()
    (tmp_path / "memory.max").write_text(there + "\n")
    # This machine may have less than the container is granted.
    assert memory_limit_bytes() == min(unlimited, granted or unlimited)
    assert 256 << 20 <= unlimited <= 768 << 20


def test_nothing_is_drawn_into_a_terminal() -> None:
    with Scratch() as scratch:
        assert scratch.db.execute("SELECT current_setting('enable_progress_bar')").fetchall() == [(False,)]


def test_a_signal_always_ends_a_query() -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        for number in range(20):
            with Scratch() as scratch:
                threading.Timer(0.03 + 0.005 * number, signal.raise_signal, [signal.SIGUSR1]).start()
                with pytest.raises(RuntimeError) as stopped:
                    scratch.db.execute("SELECT count(*) FROM range(1000000000000) WHERE hash(range) = 1").fetchall()
                assert interrupted(stopped.value)
    finally:
        signal.signal(signal.SIGUSR1, before)
