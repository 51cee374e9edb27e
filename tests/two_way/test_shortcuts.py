"""What a plan leaves out because it would come to the same: rules about edits of one side, and making or comparing fingerprints again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from sync_provider.core.conflicts import SIDES
from sync_provider.engine import fingerprints
from sync_provider.engine.bidirectional import plan as planning
from sync_provider.engine.bidirectional.baseline import pointer
from sync_provider.engine.bidirectional.differ import Differ
from sync_provider.engine.bidirectional.flips import Flips
from sync_provider.engine.bidirectional.merging import Merger
from sync_provider.engine.fingerprints import Fingerprints, comparable
from sync_provider.engine.pipeline import plan, snapshot_destination, snapshot_source
from sync_provider.engine.staging import staged_schema, unstage
from workspace import Workspace

TYPES = {
    "amount": "decimal(12,2)", "count": "integer", "ratio": "double", "active": "boolean", "day": "date", "seen": "timestamp",
}  # fmt: skip
RECORDS = [
    f"{number:03d},{number}.50,{number},{number / 8},{'true' if number % 2 else 'false'},2025-01-{number + 1:02d},"
    f"2025-01-01T10:{number:02d}:00Z,P{number}"
    for number in range(24)
]
HEADER = f"code,{','.join(TYPES)},label"


def planned(workspace: Workspace) -> Any:
    """The plan of a run, as sets of rows, and what it remembers of flips."""
    noted: list[Flips] = []
    with patch.object(Flips, "save", lambda flips, _: noted.append(flips)), workspace.open() as ctx:
        snapshot_source(ctx)
        snapshot_destination(ctx)
        counters = plan(ctx)
        artifact = ctx.artifact("plan")
        streams = {
            name: sorted(
                repr(row) for batch in unstage(ctx.env.store, artifact[name]["path"]) for row in batch.to_pylist()
            )
            for name in (*SIDES, "actions")
        }
        (flips,) = noted
        return counters, artifact["counts"], artifact["notes"], streams, flips.after


def test_the_plan_is_the_one_that_the_rules_make(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    fields = [{"source": name, "destination": name, "type": kind} for name, kind in TYPES.items()]
    label = {
        "source": "label",
        "destination": "label",
        "to_destination": "replace(value, 'P', '')",
        "to_source": "'P' || value",
    }
    code = {"source": "code", "destination": "code"}
    workspace.mapping(mode="bidirectional", write=None, fields=[code, *fields, label], guards={"on_trip": "fail"})
    workspace.csv("\n".join([HEADER, *RECORDS, ""]))
    workspace.run()
    edited = [
        line.replace("P", "PX") if n % 5 == 0 else line.replace(f",{n},", ",,") for n, line in enumerate(RECORDS[:12])
    ]
    workspace.csv("\n".join([HEADER, *edited, *RECORDS[12:], ""]))
    workspace.execute("UPDATE target SET label = 'there', amount = 7, ratio = NULL WHERE code BETWEEN '010' AND '018'")
    workspace.execute("UPDATE target SET day = '2024-02-29', seen = NULL, active = NOT active WHERE code > '020'")
    with patch.object(planning, "_plain_edits", lambda *_: False), patch.object(Merger, "copy", None):
        by_rules = planned(workspace)
    found = planned(workspace)
    assert found == by_rules
    counters = found[0]
    assert (counters["source_updates"], counters["destination_updates"], counters["conflicts"]) == (12, 11, 1)


START = "code,amount\n001,1.00\n002,2.00\n003,3.00\n"


@pytest.fixture
def quiet(tmp_path: Path) -> Workspace:
    """A file and a table; the last run found them in step."""
    workspace = Workspace(tmp_path)
    declare(workspace)
    workspace.csv(START)
    workspace.run()
    assert workspace.run()["unchanged"] == 6
    return workspace


def declare(workspace: Workspace, **keys: Any) -> None:
    guards = {"max_deletes": "100%", "max_deletes_in_window": "100%", "on_trip": "fail"}
    workspace.mapping(**{"mode": "bidirectional", "write": None, "deletes": "propagate", "guards": guards, **keys})


@contextmanager
def compared(times: int) -> Iterator[None]:
    """How often the sets are compared in the block."""
    compare, seen = Differ.compare, []

    def counting(differ: Differ, contested: Any) -> Any:
        seen.append(1)
        return compare(differ, contested)

    with patch.object(Differ, "compare", counting):
        yield
    assert len(seen) == times


def test_a_quiet_run_after_a_quiet_run_compares_nothing_and_counts_the_same(quiet: Workspace) -> None:
    before = quiet.run()
    with compared(0):
        assert quiet.run() == before
    assert (before["unchanged"], before["written"], before["baseline"]) == (6, 0, "kept")


@pytest.mark.parametrize("change", ["source", "destination", "key", "refused", "lost"])
def test_whatever_moved_is_compared(quiet: Workspace, change: str) -> None:
    params = {}
    match change:
        case "source":
            quiet.csv(START.replace("1.00", "1.50"))
        case "destination":
            quiet.execute("DELETE FROM target WHERE code = '001'")
        case "key":
            params["keys"] = ("001",)
        case "refused":
            quiet.csv(START.replace("1.00", "many"))
        case "lost":
            with quiet.environment() as env:
                current = env.ledger.baselines.get(pointer("sample"))
                assert current is not None
                env.store.delete(current.path)
    with compared(1):
        first = quiet.run(**params)
    with compared(1):
        second = quiet.run(**params)
    assert first["unchanged"] < 6 or change == "lost"
    assert second["written"] == 0


def test_a_conflict_that_waits_is_looked_at_by_every_run(quiet: Workspace) -> None:
    quiet.csv(START.replace("1.00", "1.50"))
    quiet.execute("UPDATE target SET amount = 7 WHERE code = '001'")
    for _ in range(2):
        with compared(1):
            assert quiet.run()["conflicts_open"] == 1
    with quiet.environment() as env:
        (found,) = env.ledger.conflicts.list()
        env.ledger.conflicts.resolve(found.id, "source", "somebody", None)
    with compared(2):
        assert quiet.run()["updated"] == 1
        assert quiet.run()["written"] == 0


def test_fingerprints_of_another_duckdb_are_made_anew(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    declare(workspace)
    workspace.csv(START)
    others = property(lambda _: [f"7::UBIGINT AS {name}" for name in fingerprints.FINGERPRINTS])
    with patch.object(fingerprints, "_maker", lambda: b"0.1"), patch.object(Fingerprints, "_hashes", others):
        workspace.run()
    assert workspace.run()["written"] == 0
    for amount in (5, 6):
        workspace.execute("UPDATE target SET amount = ? WHERE code = '002'", amount)
        result = workspace.run()
        assert (result["updated"], result["unchanged"]) == (1, 4)
        with workspace.environment() as env:
            current = env.ledger.baselines.get(pointer("sample"))
            assert current is not None
            assert comparable(staged_schema(env.store, current.path))
    assert workspace.run()["unchanged"] == 6
