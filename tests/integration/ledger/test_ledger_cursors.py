"""Cursors, files and baselines: what has been read only ever grows."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from sync_provider.core.errors import SyncDataError
from sync_provider.engine.ledger.cursors import order_of


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("integer", ["-3", "9", "10", "9007199254740992", "9007199254740993"]),
        ("decimal(30,10)", ["-0.5", "1.10", "9.99", "10", "12345678901234567890.0000000001"]),
        ("date", ["1999-12-31", "2025-01-02", "2025-01-10"]),
        (
            "timestamp",
            [
                "2025-01-01T00:00:00Z",
                "2025-01-01T02:00:00+01:00",
                "2025-01-01T01:00:00.000001Z",
                "2025-01-01T03:00:00Z",
            ],
        ),
        ("string", ["", "10", "9", "a", "é"]),
    ],
)
def test_a_cursor_moves_forward_only_in_the_order_of_its_type(ledger, new_run, kind, values):
    random = Random(kind)
    shuffled = random.sample(values * 3, len(values) * 3)
    highest = mover = None
    for value in shuffled:
        run = new_run(phases=("extract",))
        ledger.runs.finish(run.id, "succeeded", cursor=("clients", value, kind))
        if highest is None or order_of(value, kind) > order_of(highest, kind):
            highest = value
            mover = run.id
        stored = ledger.cursors.peek("clients")
        assert (stored.value, stored.run_id) == (highest, mover)
    assert highest == values[-1]


def test_a_cursor_only_moves_forward_while_runs_end_at_once(ledger, new_run):
    runs = [new_run(phases=("extract",)) for _ in range(24)]
    values = Random(7).sample(range(1000), len(runs))
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if value := ledger.cursors.get("clients"):
                seen.append(int(value))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(6) as pool:
        ended = pool.map(
            lambda pair: ledger.runs.finish(pair[0].id, "succeeded", cursor=("clients", str(pair[1]), "integer")),
            zip(runs, values, strict=True),
        )
        assert all(ended)
    over.set()
    watcher.join()
    assert seen == sorted(seen)
    assert ledger.cursors.get("clients") == str(max(values))
    assert ledger.audit.verify() is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [("integer", "x"), ("decimal(4,2)", "NaN"), ("date", "2025-13-01"), ("timestamp", "soon"), ("double", "inf")],
)
def test_a_value_that_does_not_fit_its_type_is_refused(ledger, new_run, kind, value):
    run = new_run(phases=("extract",))
    with pytest.raises(SyncDataError) as caught:
        ledger.runs.finish(run.id, "succeeded", cursor=("clients", value, kind))
    assert caught.value.code == "cursor_value"
    assert ledger.cursors.get("clients") is None


def test_numbers_may_change_their_declared_type_and_others_need_a_reset(ledger, new_run):
    ledger.runs.finish(new_run(phases=("extract",)).id, "succeeded", cursor=("clients", "10", "integer"))
    ledger.runs.finish(new_run(phases=("extract",)).id, "succeeded", cursor=("clients", "10.5", "decimal(9,2)"))
    assert ledger.cursors.get("clients") == "10.5"
    run = new_run(phases=("extract",))
    with pytest.raises(SyncDataError, match="Reset the cursor"):
        ledger.runs.finish(run.id, "succeeded", cursor=("clients", "2025-01-01", "date"))
    assert ledger.cursors.reset("clients", "marie")
    assert not ledger.cursors.reset("clients", "marie")
    ledger.runs.finish(run.id, "succeeded", cursor=("clients", "2025-01-01", "date"))
    assert ledger.cursors.get("clients") == "2025-01-01"
    assert [e.actor for e in ledger.audit.list(subject="clients")] == ["marie"]


def test_an_integration_without_history_has_no_cursor(ledger):
    assert ledger.cursors.get("clients") is None
    assert ledger.cursors.peek("clients") is None


def test_files_are_known_by_content_and_by_integration(ledger, new_run):
    from sync_provider.connectors.base import SourceFile

    one = SourceFile(name="a.csv", sha256="a" * 64, size_bytes=1)
    same = SourceFile(name="copy.csv", sha256="a" * 64, size_bytes=1)
    two = SourceFile(name="b.csv", sha256="b" * 64, size_bytes=1)
    ledger.runs.finish(new_run(phases=("extract",)).id, "succeeded", files=[one, same])
    ledger.runs.finish(new_run(phases=("extract",)).id, "succeeded", files=[one, two])
    assert ledger.files.known("clients") == {"a" * 64, "b" * 64}
    assert ledger.files.known("orders") == frozenset()
    assert ledger.files.forget("clients") == 2
    assert ledger.files.known("clients") == frozenset()


def test_a_run_that_read_earlier_does_not_move_a_baseline_back(ledger, new_run):
    old, new = new_run(phases=("extract",)), new_run(phases=("extract",))
    ledger.runs.finish(new.id, "succeeded", baselines={"clients:tracked": "baselines/new"})
    ledger.runs.finish(old.id, "succeeded", baselines={"clients:tracked": "baselines/old"})
    assert ledger.baselines.get("clients:tracked").path == "baselines/new"
    ledger.runs.start_phase(old.id, "extract")
    ledger.runs.finish(old.id, "succeeded", baselines={"clients:tracked": "baselines/read again"})
    assert ledger.baselines.get("clients:tracked").path == "baselines/read again"
    assert [b.run_id for b in ledger.baselines.list()] == [old.id]
    assert ledger.baselines.get("orders:tracked") is None
