"""Whole one-way runs over real files, SQLite, ledger and store."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sync_provider.core.errors import SyncConnectionError, SyncDataError, SyncValidationError
from sync_provider.core.report import Counters
from sync_provider.engine import pipeline
from sync_provider.engine.run import phase as pipeline_phase
from sync_provider.engine.scratch import Scratch
from workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def counts(**values: int) -> dict[str, Any]:
    counters = Counters(**values)
    assert counters.balanced
    return counters.as_dict()


def check(result: dict[str, Any], state: str, **values: int) -> None:
    """The run ended so, and its counts are these and add up."""
    assert result == {**counts(**values), "state": state}


def test_a_first_run_creates_the_table_and_a_second_writes_nothing(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,1.50\n002,-3\n")
    check(workspace.run(), "succeeded", read=2, inserted=2)
    assert [row[:2] for row in workspace.rows()] == [("001", 1.5), ("002", -3)]
    check(workspace.run(), "succeeded", read=2, unchanged=2)


def test_only_what_differs_is_written(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,1\n002,2\n003,3\n")
    workspace.run()
    workspace.csv("code,amount\n003,3\n001,1\n002,2.5\n004,4\n")
    check(workspace.run(), "succeeded", read=4, unchanged=2, updated=1, inserted=1)


def test_a_signal_during_a_query_stops_the_run_as_one_that_a_retry_helps(workspace: Workspace) -> None:
    workspace.mapping()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with workspace.open() as ctx, Scratch() as scratch:
            endless = "SELECT count(*) FROM range(1000000000000) WHERE hash(range) = 1"
            threading.Timer(0.2, signal.raise_signal, [signal.SIGUSR1]).start()
            with pytest.raises(SyncConnectionError) as stopped, pipeline_phase(ctx, "extract"):
                scratch.db.execute(endless).fetchall()
            assert (stopped.value.code, stopped.value.retryable) == ("stopped", True)
            run = ctx.env.ledger.runs.get(ctx.id)
            assert (run.state, run.error["code"]) == ("failed", "stopped")
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_bad_records_go_to_quarantine_with_their_line_and_the_rest_goes_on(workspace: Workspace) -> None:
    workspace.mapping(
        validation={
            "expectations": [
                {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}
            ]
        }
    )
    workspace.csv("code,amount\n001,1\n002,x\n003,-1\n003,4\n004,5\n,6\n")
    check(workspace.run(), "partial", read=6, rejected=4, inserted=2)
    with workspace.environment() as env:
        found = {(r.rule, r.where.line, r.key) for r in env.ledger.rejections.list(run_id=env.ledger.runs.list()[0].id)}
    assert found == {
        ("convert", 3, "002"),
        ("expect_column_values_to_be_between", 4, "003"),  # and one more rule
        ("expect_column_values_to_be_unique", 5, "003"),
        ("expect_column_values_to_not_be_null", 7, None),
    }
    assert [row[0] for row in workspace.rows()] == ["001", "004"]


def test_too_many_rejections_trip_the_batch_and_nothing_is_written(workspace: Workspace) -> None:
    workspace.mapping(validation={"max_rejected": "20%"})
    workspace.csv("code,amount\n001,1\n002,x\n003,3\n")
    with pytest.raises(
        SyncValidationError, match=r"1 of 3 records were rejected, more than validation.max_rejected: 20%"
    ):
        workspace.run()
    assert not workspace.database.exists() or workspace.rows("sqlite_master") == []


def test_atomic_means_all_or_nothing(workspace: Workspace) -> None:
    workspace.mapping(validation={"atomic": True})
    workspace.csv("code,amount\n001,1\n002,x\n")
    with pytest.raises(SyncValidationError, match="atomic"):
        workspace.run()


def test_a_batch_rule_that_fails_stops_the_batch(workspace: Workspace) -> None:
    workspace.mapping(
        validation={"expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 2}}]}
    )
    workspace.csv("code,amount\n001,1\n")
    with pytest.raises(SyncValidationError, match="observed 1"):
        workspace.run()


def test_a_corrected_record_is_replayed_by_the_next_run(workspace: Workspace) -> None:
    workspace.mapping(source={"type": "csv", "path": "in.csv", "decimal": ","})
    workspace.csv('code,amount\n001,"1,50"\n002,"12,5a"\n')
    assert workspace.run()["rejected"] == 1
    workspace.csv('code,amount\n001,"1,50"\n')
    with workspace.environment() as env:
        (rejection,) = env.ledger.rejections.list(mapping_id="sample", status="open")
        env.ledger.rejections.correct(rejection.id, {"amount": "12,50"}, "operator")
    check(workspace.run(), "succeeded", read=2, unchanged=1, inserted=1)
    assert [row[:2] for row in workspace.rows()] == [("001", 1.5), ("002", 12.5)]
    check(workspace.run(), "succeeded", read=1, unchanged=1)


def test_a_record_that_a_rule_refused_is_replayed_as_corrected(workspace: Workspace) -> None:
    rule = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}
    workspace.mapping(validation={"expectations": [rule]})
    workspace.csv("code,amount\n001,-1\n")
    workspace.run()
    workspace.csv("code,amount\n")
    with workspace.environment() as env:
        (rejection,) = env.ledger.rejections.list(mapping_id="sample", status="open")
        env.ledger.rejections.correct(rejection.id, {"amount": "1"}, "operator")
    check(workspace.run(), "succeeded", read=1, inserted=1)


def test_a_dry_run_plans_and_writes_nothing(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,1\n")
    check(workspace.run(dry_run=True), "succeeded", read=1, deferred=1)
    assert not workspace.database.exists() or workspace.rows("sqlite_master") == []


def test_filtered_records_are_counted_and_left_out(workspace: Workspace) -> None:
    workspace.mapping(filter="amount > 1")
    workspace.csv("code,amount\n001,1\n002,2\n003,\n")
    check(workspace.run(), "succeeded", read=3, filtered=2, inserted=1)


def test_keys_and_limit_read_a_part(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n001,1\n002,2\n003,3\n")
    check(workspace.run(keys=("002",)), "succeeded", read=3, filtered=2, inserted=1)
    check(workspace.run(limit=1), "succeeded", read=1, inserted=1)


MIRROR = {"write": "mirror", "guards": {"max_deletes": "50%", "max_deletes_in_window": "100%", "on_trip": "fail"}}


def test_a_mirror_deletes_only_what_we_wrote(workspace: Workspace) -> None:
    workspace.mapping(**MIRROR)
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    workspace.execute("INSERT INTO target VALUES ('900', 9)")
    workspace.csv("code,amount\n001,1\n")
    check(workspace.run(), "succeeded", read=1, unchanged=1, deleted=1)
    assert [row[0] for row in workspace.rows()] == ["001", "900"]


def test_a_rejected_record_is_not_taken_for_deleted(workspace: Workspace) -> None:
    workspace.mapping(**MIRROR)
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    workspace.csv("code,amount\n001,1\n002,x\n")
    check(workspace.run(), "partial", read=2, unchanged=1, rejected=1)
    assert [row[0] for row in workspace.rows()] == ["001", "002"]


def test_an_emptied_source_trips_and_deletes_nothing(workspace: Workspace) -> None:
    workspace.mapping(**MIRROR)
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    workspace.csv("code,amount\n")
    with pytest.raises(
        SyncValidationError, match="the source gave no record that can be written, the destination"
    ) as caught:
        workspace.run()
    assert caught.value.code == "guard_tripped"
    assert len(workspace.rows()) == 2
    with workspace.environment() as env:
        assert env.ledger.runs.list()[0].state == "blocked"
    check(workspace.run(allow_deletes_once=True), "succeeded", deleted=2)


SEVERAL = {"type": "csv", "path": "in*.csv", "settle": "PT1H"}


def settled(workspace: Workspace, name: str) -> None:
    os.utime(workspace.files / name, (0, 0))


def test_records_of_a_file_still_being_written_are_not_taken_for_deleted(workspace: Workspace) -> None:
    workspace.mapping(**MIRROR, source=SEVERAL)
    for number in ("1", "2"):
        workspace.csv(f"code,amount\n00{number},1\n", f"in{number}.csv")
        settled(workspace, f"in{number}.csv")
    workspace.run()
    workspace.csv("code,amount\n002,5\n", "in2.csv")
    assert workspace.run()["deleted"] == 0
    assert [row[0] for row in workspace.rows()] == ["001", "002"]


def test_a_replacement_waits_for_a_file_still_being_written(workspace: Workspace) -> None:
    anything = {"max_deletes": "100%", "max_deletes_in_window": "100%", "empty_source": "allow"}
    workspace.mapping(write="replace", guards=anything, source=SEVERAL)
    for number in ("1", "2"):
        workspace.csv(f"code,amount\n00{number},1\n", f"in{number}.csv")
        settled(workspace, f"in{number}.csv")
    workspace.run()
    workspace.csv("code,amount\n002,5\n", "in2.csv")
    with pytest.raises(SyncConnectionError, match="still being written") as caught:
        workspace.run()
    assert caught.value.where.file == "in2.csv"
    assert len(workspace.rows()) == 2
    settled(workspace, "in2.csv")
    check(workspace.run(), "succeeded", read=2, inserted=2)


@pytest.mark.parametrize("part", [{"limit": 1}, {"keys": ("001",)}])
def test_a_part_never_replaces_the_whole(workspace: Workspace, part: dict[str, Any]) -> None:
    workspace.mapping(write="replace", guards={"max_deletes": "100%", "max_deletes_in_window": "100%"})
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    with pytest.raises(SyncDataError, match="this run was asked for a part of it"):
        workspace.run(**part)
    assert len(workspace.rows()) == 2
    assert workspace.run(**part, dry_run=True)["state"] == "succeeded"


def test_a_part_without_records_is_no_emptied_source(workspace: Workspace) -> None:
    workspace.mapping(**MIRROR)
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    check(workspace.run(keys=("003",)), "succeeded", read=2, filtered=2)
    assert len(workspace.rows()) == 2


def test_records_without_a_key_are_not_asked_for_by_key(workspace: Workspace) -> None:
    workspace.mapping(write="append", key=None)
    workspace.csv("code,amount\n001,1\n")
    with pytest.raises(SyncDataError, match="by key, and this integration has none"):
        workspace.run(keys=("001",))


def test_a_tripped_guard_waits_for_an_approval_of_that_very_plan(workspace: Workspace) -> None:
    workspace.mapping(**{**MIRROR, "guards": {"max_deletes": 0, "max_deletes_in_window": "100%"}})
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    workspace.csv("code,amount\n001,1\n")
    with workspace.open(run="asked") as ctx:
        for step in (pipeline.extract, pipeline.validate, pipeline.plan):
            step(ctx)
        assert [trip.guard for trip in pipeline.trips(ctx)] == ["max_deletes"]
        with pytest.raises(SyncValidationError, match="1 of 2 records would be deleted"):
            pipeline.backup(ctx)
        pipeline.approve(ctx, actor="administrateur", approved=True)
        pipeline.backup(ctx)
        pipeline.load(ctx)
        check(pipeline.report(ctx), "succeeded", read=1, unchanged=1, deleted=1)


def test_a_refused_plan_blocks_the_run(workspace: Workspace) -> None:
    workspace.mapping(**{**MIRROR, "guards": {"max_deletes": 0, "max_deletes_in_window": "100%"}})
    workspace.csv("code,amount\n001,1\n")
    workspace.run()
    workspace.csv("code,amount\n")
    with workspace.open(run="asked") as ctx:
        for step in (pipeline.extract, pipeline.validate, pipeline.plan):
            step(ctx)
        with pytest.raises(SyncValidationError, match="administrateur refused"):
            pipeline.approve(ctx, actor="administrateur", approved=False)
        assert ctx.env.ledger.runs.get(ctx.id).state == "blocked"
    assert len(workspace.rows()) == 1


def test_replace_swaps_the_whole_content(workspace: Workspace) -> None:
    workspace.mapping(write="replace", guards={"max_deletes": "100%", "max_deletes_in_window": "100%"})
    workspace.csv("code,amount\n001,1\n002,2\n")
    workspace.run()
    workspace.csv("code,amount\n003,3\n")
    result = workspace.run()
    assert (result["inserted"], result["state"]) == (1, "succeeded")
    assert [row[:2] for row in workspace.rows()] == [("003", 3)]


INCREMENTAL = {
    "fields": [
        {"source": "code", "destination": "code"},
        {"source": "at", "destination": "at", "type": "timestamp"},
    ],
    "incremental": {"cursor": "at"},
}


def test_the_cursor_advances_and_an_equal_timestamp_is_not_skipped(workspace: Workspace) -> None:
    workspace.mapping(**INCREMENTAL)
    workspace.csv("code,at\n1,2025-01-01T00:00:00Z\n2,2025-01-02T00:00:00Z\n")
    check(workspace.run(), "succeeded", read=2, inserted=2)
    workspace.csv("code,at\n1,2025-01-01T00:00:00Z\n2,2025-01-02T00:00:00Z\n3,2025-01-02T00:00:00Z\n")
    check(workspace.run(), "succeeded", read=3, filtered=1, unchanged=1, inserted=1)


def test_an_append_with_a_cursor_appends_each_record_once(workspace: Workspace) -> None:
    workspace.mapping(**INCREMENTAL, write="append", key=None)
    workspace.csv("code,at\na,2025-01-01T00:00:00Z\na,2025-01-01T00:00:00Z\n")
    check(workspace.run(), "succeeded", read=2, inserted=2)
    workspace.csv(
        "code,at\na,2025-01-01T00:00:00Z\na,2025-01-01T00:00:00Z\na,2025-01-01T00:00:00Z\nb,2025-01-02T00:00:00Z\n"
    )
    check(workspace.run(), "succeeded", read=4, unchanged=2, inserted=2)
    check(workspace.run(), "succeeded", read=4, filtered=3, unchanged=1)


def test_a_backfill_loads_its_slice_and_leaves_the_cursor(workspace: Workspace) -> None:
    workspace.mapping(**INCREMENTAL)
    workspace.csv("code,at\n1,2025-01-01T00:00:00Z\n2,2025-01-02T00:00:00Z\n3,2025-01-03T00:00:00Z\n")
    interval = (datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 3, tzinfo=UTC))
    check(workspace.run(interval=interval), "succeeded", read=3, filtered=2, inserted=1)
    with workspace.environment() as env:
        assert env.ledger.cursors.get("sample") is None


def test_only_new_files_are_read(workspace: Workspace) -> None:
    workspace.mapping(source={"type": "csv", "path": "*.csv", "only_new": True})
    workspace.csv("code,amount\n1,1\n", "a.csv")
    check(workspace.run(), "succeeded", read=1, inserted=1)
    workspace.csv("code,amount\n2,2\n", "b.csv")
    check(workspace.run(), "succeeded", read=1, inserted=1)
    check(workspace.run(), "succeeded")
    check(workspace.run(full_refresh=True), "succeeded", read=2, unchanged=2)


def test_a_cleared_load_is_a_no_op_and_reports_the_same(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n1,1\n")
    first = workspace.run(run="same")
    with workspace.open(run="same") as ctx:
        assert pipeline.load(ctx)["inserted"] == 1
        assert pipeline.report(ctx) == first
    assert len(workspace.rows()) == 1


def test_an_old_run_never_overwrites_newer_data(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n1,1\n")
    with workspace.open(run="old") as ctx:
        for step in (pipeline.extract, pipeline.validate, pipeline.plan, pipeline.backup):
            step(ctx)
    workspace.csv("code,amount\n1,2\n")
    workspace.run(run="new")
    with workspace.open(run="old") as ctx:
        assert pipeline.load(ctx)["deferred"] == 1
        assert pipeline.report(ctx)["state"] == "partial"
    assert workspace.rows()[0][:2] == ("1", 2)


def test_staging_that_retention_removed_says_clear_from_extract(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n1,1\n")
    with workspace.open(run="old") as ctx:
        for step in (pipeline.extract, pipeline.validate, pipeline.plan, pipeline.backup):
            step(ctx)
        for path in ctx.env.store.list(f"staging/sample/{ctx.id}"):
            ctx.env.store.delete(path)
        with pytest.raises(SyncDataError, match="clear the run from its extract task on"):
            pipeline.load(ctx)


def test_a_record_that_moved_since_the_plan_is_deferred_not_overwritten(workspace: Workspace) -> None:
    workspace.mapping()
    workspace.csv("code,amount\n1,1\n2,2\n")
    workspace.run()
    workspace.csv("code,amount\n1,10\n2,20\n")
    with workspace.open(run="late") as ctx:
        for step in (pipeline.extract, pipeline.validate, pipeline.plan, pipeline.backup):
            step(ctx)
        workspace.execute("UPDATE target SET amount = 99 WHERE code = '1'")
        pipeline.load(ctx)
        check(pipeline.report(ctx), "partial", read=2, updated=1, deferred=1)
    assert [row[:2] for row in workspace.rows()] == [("1", 99), ("2", 20)]


def test_a_backup_holds_the_old_values(workspace: Workspace) -> None:
    from sync_provider.engine.staging import unstage

    workspace.mapping()
    workspace.csv("code,amount\n1,1\n2,2\n")
    workspace.run()
    workspace.csv("code,amount\n1,10\n2,2\n")
    with workspace.open() as ctx:
        pipeline.run_all(ctx)
        (batch,) = unstage(ctx.env.store, ctx.artifact("backup")["copies"][0]["path"])
    assert [(r["code"], str(r["__old_amount"]), str(r["amount"])) for r in batch.to_pylist()] == [
        ("1", "1.00", "10.00")
    ]


def test_backups_are_pruned_to_those_to_keep(workspace: Workspace) -> None:
    workspace.mapping(backup={"keep": 2})
    for number in range(4):
        workspace.csv(f"code,amount\n1,{number}\n")
        workspace.run()
    with workspace.environment() as env:
        assert len(env.store.list("backups/sample")) == 2


def test_a_failed_run_is_kept_with_its_error_and_a_retry_succeeds(workspace: Workspace) -> None:
    workspace.mapping()
    with pytest.raises(SyncDataError):
        workspace.run(run="same")
    with workspace.environment() as env:
        (run,) = env.ledger.runs.list()
        assert (run.state, (run.error or {})["category"]) == ("failed", "données")
    workspace.csv("code,amount\n1,1\n")
    check(workspace.run(run="same"), "succeeded", read=1, inserted=1)
    with workspace.environment() as env:
        assert [r.state for r in env.ledger.runs.list()] == ["succeeded"]


def test_a_correction_stands_for_the_record_as_long_as_the_source_gives_it_as_it_was(workspace: Workspace) -> None:
    rule = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}
    workspace.mapping(validation={"expectations": [rule]})
    workspace.csv("code,amount\n001,-1\n002,2\n")
    workspace.run()
    with workspace.environment() as env:
        (rejection,) = env.ledger.rejections.list(mapping_id="sample", status="open")
        env.ledger.rejections.correct(rejection.id, {"amount": "1"}, "operator")
    check(workspace.run(), "succeeded", read=3, filtered=1, unchanged=1, inserted=1)
    assert [row[:2] for row in workspace.rows()] == [("001", 1), ("002", 2)]


def test_a_correction_meets_a_record_that_the_source_has_changed_since_and_both_are_shown(workspace: Workspace) -> None:
    rule = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}
    workspace.mapping(validation={"expectations": [rule]})
    workspace.csv("code,amount\n001,-1\n")
    workspace.run()
    with workspace.environment() as env:
        (rejection,) = env.ledger.rejections.list(mapping_id="sample", status="open")
        env.ledger.rejections.correct(rejection.id, {"amount": "1"}, "operator")
    workspace.csv("code,amount\n001,5\n")
    check(workspace.run(), "partial", read=2, rejected=2)


@pytest.mark.parametrize(
    "destination",
    [
        {"type": "sql", "connection": "db", "table": "target"},
        {"type": "csv", "path": "out.csv"},
        {"type": "excel", "path": "out.xlsx", "sheet": "Out"},
    ],
    ids=lambda value: value["type"],
)
def test_an_append_whose_end_nobody_heard_is_not_repeated(
    workspace: Workspace, destination: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sync_provider.engine.ledger.loads import Loads

    class KilledError(Exception):
        """Stands for a process that is gone right after the commit."""

    def die(*_: object, **__: object) -> None:
        raise KilledError

    workspace.mapping(write="append", key=None, destination=destination)
    workspace.csv("code,amount\n001,1\n001,1\n")
    with monkeypatch.context() as patched:
        patched.setattr(Loads, "done", die)
        with pytest.raises(KilledError):
            workspace.run(run="same")
    with workspace.open(run="same") as ctx:
        pipeline.load(ctx)
        check(pipeline.report(ctx), "succeeded", read=2, unchanged=2)
    check(workspace.run(), "succeeded", read=2, inserted=2)
    workspace.mapping(id="back", write="replace", key=None, source=destination)
    assert workspace.run("back")["read"] == 4
