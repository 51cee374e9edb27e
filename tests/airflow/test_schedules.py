"""When a schedule starts a run, asked of what Airflow's scheduler works with: the DAG as it was stored and read back.

Paris turned its clocks from 02:00 to 03:00 on 2025-03-30, and from 03:00 back to 02:00 on 2025-10-26.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.serialization.serialized_objects import DagSerialization, SerializedDAG
from airflow.timetables import interval, trigger
from airflow.timetables.base import DagRunInfo, TimeRestriction
from airflow_samples import write_mapping
from sync_provider.dag_factory import build_dag
from sync_provider.engine.loader import load_file

PARIS = ZoneInfo("Europe/Paris")
INCREMENTAL = {"incremental": "{cursor: vu}"}
SPRING, AUTUMN = datetime(2025, 3, 30, tzinfo=PARIS), datetime(2025, 10, 26, tzinfo=PARIS)
DAY = timedelta(days=1)

with_and_without_intervals = pytest.mark.parametrize("extra", [{}, INCREMENTAL], ids=["points", "intervals"])


def stored(folder: Path, schedule: str, **extra: str) -> SerializedDAG:
    path = write_mapping(folder, schedule=schedule, timezone="Europe/Paris", start_date="'2025-01-01'", **extra)
    return DagSerialization.from_dict(DagSerialization.to_dict(build_dag(load_file(path))))


@pytest.fixture
def runs_around(mappings: Path, monkeypatch: pytest.MonkeyPatch):
    """The runs that a scheduler starts on the day of a change and its two neighbours, looking every ten minutes."""

    def runs(change: datetime, schedule: str, **extra: str) -> list[DagRunInfo]:
        dag = stored(mappings, schedule, **extra)
        restriction = TimeRestriction(earliest=dag.start_date, latest=None, catchup=dag.catchup)
        clock = pendulum.instance((change - DAY).astimezone(UTC))
        end = (change + 2 * DAY).astimezone(UTC)
        for module in (interval, trigger):
            monkeypatch.setattr(module, "utcnow", lambda: clock)
        started: list[DagRunInfo] = []
        while clock < end:
            last = started[-1].data_interval if started else None
            due = dag.timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
            if due.run_after <= clock:
                started.append(due)
            clock = clock.add(minutes=10)
        # What was due before the first day is what an Airflow that was just installed starts with.
        return [run for run in started if run.run_after >= change - DAY]

    return runs


def local(moments: list[DagRunInfo]) -> list[str]:
    return [run.run_after.astimezone(PARIS).strftime("%m-%d %H:%M %z") for run in moments]


@with_and_without_intervals
def test_six_in_the_morning_stays_six_on_both_sides_of_a_change(runs_around, extra):
    assert local(runs_around(SPRING, '"0 6 * * *"', **extra)) == [
        "03-29 06:00 +0100",
        "03-30 06:00 +0200",
        "03-31 06:00 +0200",
    ]
    assert local(runs_around(AUTUMN, '"0 6 * * *"', **extra)) == [
        "10-25 06:00 +0200",
        "10-26 06:00 +0100",
        "10-27 06:00 +0100",
    ]


def test_a_time_that_the_clocks_skip_comes_an_hour_later_and_is_not_missed(runs_around):
    assert local(runs_around(SPRING, '"30 2 * * *"')) == [
        "03-29 02:30 +0100",
        "03-30 03:30 +0200",
        "03-31 02:30 +0200",
    ]


def test_a_time_that_the_clocks_skip_is_left_out_by_airflow_where_runs_have_intervals(runs_around):
    # Nothing is lost by it: live runs read from the cursor on, not from where their interval starts.
    assert local(runs_around(SPRING, '"30 2 * * *"', **INCREMENTAL)) == ["03-29 02:30 +0100", "03-31 02:30 +0200"]


@with_and_without_intervals
def test_a_time_that_comes_twice_starts_one_run_the_second_time(runs_around, extra):
    assert local(runs_around(AUTUMN, '"30 2 * * *"', **extra)) == [
        "10-25 02:30 +0200",
        "10-26 02:30 +0100",
        "10-27 02:30 +0100",
    ]


@with_and_without_intervals
@pytest.mark.parametrize(("change", "hours"), [(SPRING, 71), (AUTUMN, 73)])
def test_an_hourly_schedule_has_one_run_for_each_hour_that_there_was(runs_around, change, hours, extra):
    starts = [run.run_after for run in runs_around(change, '"0 * * * *"', **extra)]
    assert len(starts) == hours
    assert {(after - before).total_seconds() for before, after in pairwise(starts)} == {3600}


@with_and_without_intervals
@pytest.mark.parametrize("change", [SPRING, AUTUMN])
def test_a_duration_is_elapsed_time_whatever_the_clocks_do(runs_around, change, extra):
    starts = [run.run_after for run in runs_around(change, "PT6H", **extra)]
    assert len(starts) >= 11
    assert {(after - before).total_seconds() for before, after in pairwise(starts)} == {6 * 3600}


@pytest.mark.parametrize("schedule", ['"30 2 * * *"', '"0 * * * *"', "PT6H"])
@pytest.mark.parametrize("change", [SPRING, AUTUMN])
def test_the_slices_of_a_backfill_leave_no_gap_and_do_not_overlap(mappings, change, schedule):
    dag = stored(mappings, schedule, **INCREMENTAL)
    first, last = (pendulum.instance(change + days) for days in (-2 * DAY, 3 * DAY))
    slices = [run.data_interval for run in dag.iter_dagrun_infos_between(first, last)]
    assert len(slices) >= 4
    assert all(before.end == after.start for before, after in pairwise(slices))
    assert all(part.start < part.end for part in slices)


def test_assets_beside_a_cron_keep_its_hour_and_wait_for_any_of_them(runs_around, mappings):
    both = "{assets: ['x-sql://a/b', 'x-csv://c/d'], cron: '0 6 * * *'}"
    assert local(runs_around(SPRING, both)) == ["03-29 06:00 +0100", "03-30 06:00 +0200", "03-31 06:00 +0200"]
    condition = stored(mappings, both).timetable.asset_condition
    assert type(condition).__name__ == "SerializedAssetAny"
    assert {asset.uri for _, asset in condition.iter_assets()} == {"x-sql://a/b", "x-csv://c/d"}


def test_assets_alone_are_never_started_by_the_clock(mappings):
    dag = stored(mappings, "{assets: ['x-sql://a/b']}")
    restriction = TimeRestriction(earliest=dag.start_date, latest=None, catchup=True)
    assert dag.timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction) is None
