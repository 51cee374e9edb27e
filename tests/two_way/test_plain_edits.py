"""Edits of one side are copied without asking the rules key by key; the rules would have said the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from sync_provider.core.conflicts import SIDES
from sync_provider.engine.bidirectional import plan as planning
from sync_provider.engine.bidirectional.flips import Flips
from sync_provider.engine.bidirectional.merging import Merger
from sync_provider.engine.pipeline import plan, snapshot_destination, snapshot_source
from sync_provider.engine.staging import unstage
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
