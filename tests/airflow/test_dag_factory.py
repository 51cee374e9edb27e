"""One mapping in, one DAG out: what it is made of, when it runs, and what a broken neighbour does to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction
from airflow_samples import write_mapping
from sync_provider.core.errors import MappingErrors
from sync_provider.dag_factory import (
    BrokenMappings,
    build_all,
    build_dag,
    register_integrations,
    report_broken_mappings,
)
from sync_provider.engine.loader import load_file

INCREMENTAL = "{cursor: vu}"


def build(folder: Path, **changes: str) -> DAG:
    return build_dag(load_file(write_mapping(folder, **changes)))


def test_a_dag_has_the_phases_in_order(mappings):
    dag = build(mappings)
    names = [task.task_id for task in dag.topological_sort()]
    assert names == ["extract", "validate", "plan", "approve", "backup", "load", "report"]
    assert dag.dag_id == "sync__clients"
    assert [type(dag.task_dict[name]).__name__ for name in ("extract", "load")] == [
        "FileExtractOperator",
        "SqlLoadOperator",
    ]


def test_a_two_way_dag_reads_both_sides_beside_each_other_and_writes_both_in_one_task(mappings):
    dag = build(mappings, mode="bidirectional", deletes="propagate")
    assert dag.task_dict["plan"].upstream_task_ids == {"snapshot_source", "snapshot_destination"}
    assert dag.task_dict["snapshot_source"].upstream_task_ids == set()
    names = [task.task_id for task in dag.topological_sort()]
    assert names[2:] == ["plan", "validate", "approve", "backup", "apply", "report"]
    assert [dag.task_dict[f"snapshot_{side}"].phase for side in ("source", "destination")] == [
        "snapshot_source",
        "snapshot_destination",
    ]
    assert [asset.uri for asset in dag.task_dict["snapshot_destination"].inlets] == ["x-sql://entrepot/clients"]
    assert [asset.uri for asset in dag.task_dict["apply"].outlets] == [
        "x-csv://fichiers/clients.csv",
        "x-sql://entrepot/clients",
    ]


def test_nobody_is_asked_where_a_tripped_guard_fails_the_run(mappings):
    dag = build(mappings, guards="{on_trip: fail}")
    assert "approve" not in dag.task_dict
    assert dag.task_dict["plan"].downstream_task_ids == {"backup"}


def test_airflow_options_are_passed_on(mappings):
    options = "{owner: ops, tags: [x, a], retries: 5, retry_delay: PT2M, execution_timeout: PT9M, pool: sheets, queue: q, priority_weight: 7, max_active_runs: 3}"
    dag = build(mappings, airflow=options)
    load = dag.task_dict["load"]
    assert (dag.max_active_runs, dag.catchup) == (3, False)
    assert dag.tags == {"sync", "import", "csv", "sql", "a", "x"}
    assert (load.owner, load.retries, load.pool, load.queue, load.priority_weight) == ("ops", 5, "sheets", "q", 7)
    assert (load.retry_delay, load.execution_timeout) == (timedelta(minutes=2), timedelta(minutes=9))
    assert load.retry_policy.delay_s == 120
    assert dag.task_dict["approve"].response_timeout == timedelta(hours=24)
    assert dag.task_dict["approve"].execution_timeout is None


def test_the_report_runs_after_skipped_tasks_and_not_after_failed_ones(mappings):
    assert build(mappings).task_dict["report"].trigger_rule == "none_failed"


def test_the_form_explains_every_choice_and_leaves_out_what_the_mapping_cannot_do(mappings):
    names = set(build(mappings).params)
    assert names == {"dry_run", "full_refresh", "limit", "keys", "allow_deletes_once"}
    form = build(mappings, incremental=INCREMENTAL).params
    assert set(form) - names == {"since", "until"}
    assert all(form.get_param(name).description and form.get_param(name).schema["title"] for name in form)


def test_the_documentation_shows_owner_and_yaml_even_when_it_holds_a_fence(mappings):
    path = write_mapping(mappings)
    path.write_text(path.read_text() + "# ```\n", encoding="utf-8")
    doc = build_dag(load_file(path)).doc_md
    assert "Responsable : ventes" in doc
    assert "````yaml\nversion: 1" in doc


def test_endpoints_are_assets(mappings):
    dag = build(mappings)
    assert [asset.uri for asset in dag.task_dict["extract"].inlets] == ["x-csv://fichiers/clients.csv"]
    assert [asset.uri for asset in dag.task_dict["load"].outlets] == ["x-sql://entrepot/clients"]


def test_no_integration_is_scheduled_by_what_it_writes_itself(mappings):
    listens = "{assets: [x-csv://fichiers/clients.csv, x-sql://entrepot/clients, x-sql://entrepot/achats]}"
    two_way = build(mappings, mode="bidirectional", schedule=listens)
    assert two_way.task_dict["apply"].outlets == []
    assert build(mappings, schedule=listens).task_dict["load"].outlets == []
    source_only = build(mappings, mode="bidirectional", schedule="{assets: [x-csv://fichiers/clients.csv]}")
    assert [asset.uri for asset in source_only.task_dict["apply"].outlets] == ["x-sql://entrepot/clients"]


SHEET = "{type: google_sheets, connection: google, spreadsheet: 1abcDEF, sheet: Clients}"


def test_spreadsheets_have_operators_and_an_asset_of_their_own(mappings):
    read = build(mappings, source=SHEET).task_dict["extract"]
    written = build(mappings, destination=SHEET).task_dict["load"]
    assert [type(task).__name__ for task in (read, written)] == ["SheetsExtractOperator", "SheetsLoadOperator"]
    assert [asset.uri for asset in (*read.inlets, *written.outlets)] == ["x-google-sheets://google/1abcDEF"] * 2
    assert "google_sheets" in build(mappings, destination=SHEET).tags


def test_every_choice_of_a_two_way_form_is_explained_in_french(mappings):
    form = build(mappings, mode="bidirectional").params
    assert set(form) == {"dry_run", "full_refresh", "keys", "allow_deletes_once", "new_baseline"}
    assert "référence" in form.get_param("new_baseline").schema["title"]
    assert "ne rien supprimer" in form.get_param("new_baseline").description


@pytest.mark.parametrize(
    ("schedule", "incremental", "timetable"),
    [
        ("null", False, "NullTimetable"),
        ("'@once'", False, "OnceTimetable"),
        ("'@continuous'", False, "ContinuousTimetable"),
        ("'@daily'", False, "CronTriggerTimetable"),
        ("'*/5 * * * *'", False, "CronTriggerTimetable"),
        ("'*/5 * * * *'", True, "CronDataIntervalTimetable"),
        ("PT15M", False, "DeltaTriggerTimetable"),
        ("PT15M", True, "DeltaDataIntervalTimetable"),
        ("{assets: ['x-sql://a/b']}", False, "AssetTriggeredTimetable"),
        ("{assets: ['x-sql://a/b'], cron: '0 6 * * *'}", False, "AssetOrTimeSchedule"),
    ],
)
def test_every_kind_of_schedule_becomes_a_timetable(mappings, schedule, incremental, timetable):
    extra = {"incremental": INCREMENTAL} if incremental else {}
    dag = build(mappings, schedule=schedule, **extra)
    assert type(dag.timetable).__name__ == timetable
    DagSerialization.serialize_dag(dag)


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize(
    ("before", "expected_utc"),
    [
        (datetime(2025, 3, 29, 2, tzinfo=UTC), ["2025-03-29 05:00", "2025-03-30 04:00", "2025-03-31 04:00"]),
        (datetime(2025, 10, 25, 2, tzinfo=UTC), ["2025-10-25 04:00", "2025-10-26 05:00", "2025-10-27 05:00"]),
    ],
)
def test_six_in_the_morning_stays_six_when_the_clocks_change(mappings, before, expected_utc, incremental):
    extra = {"incremental": INCREMENTAL} if incremental else {}
    dag = build(mappings, schedule='"0 6 * * *"', timezone="Europe/Paris", start_date="'2025-01-01'", **extra)
    timetable = coerce_to_core_timetable(dag.timetable)
    earliest = datetime(2025, 1, 1, tzinfo=UTC)
    restriction = TimeRestriction(earliest=earliest if incremental else before, latest=None, catchup=True)
    last, times = None, []
    while len(times) < 3:
        run = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        last = run.data_interval
        if run.run_after > before:
            times.append(run.run_after.astimezone(UTC).strftime("%Y-%m-%d %H:%M"))
    assert times == expected_utc


def test_the_start_is_fixed_and_in_the_mappings_time_zone(mappings):
    assert build(mappings).start_date == datetime.fromisoformat("2025-01-01T00:00:00+01:00")
    dag = build(mappings, timezone="America/New_York", start_date="'2025-07-01'")
    assert dag.start_date == datetime.fromisoformat("2025-07-01T00:00:00-04:00")
    assert str(dag.timezone) == "America/New_York"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"schedule": "realtime"}, "schedule: realtime is not available in this version"),
        ({"webhooks": "[{connection: hook}]"}, "webhooks: webhooks are not available in this version"),
        (
            {"alerts": "{notifiers: [{name: os.system, kwargs: {text: '{{ 7 * 7 }}'}}]}"},
            "alerts.notifiers[0].name: os.system is not allowed",
        ),
    ],
)
def test_what_this_version_does_not_run_is_said_with_its_place(mappings, changes, place):
    path = write_mapping(mappings, **changes)
    line = len(path.read_text().splitlines())
    with pytest.raises(MappingErrors) as caught:
        build_dag(load_file(path))
    assert f"{path}:{line}:" in str(caught.value)
    assert place in str(caught.value)


def test_a_broken_mapping_hides_no_other_and_is_named_by_file_and_line(mappings):
    write_mapping(mappings, "good")
    write_mapping(mappings, "worse", schedule="realtime")
    broken = write_mapping(mappings, "broken")
    broken.write_text(broken.read_text().replace("key: [code]", "keys: [code]"), encoding="utf-8")
    namespace = {"__file__": "/dags/mine.py"}
    register_integrations(namespace, mappings)
    assert [name for name in namespace if name.startswith("sync__")] == ["sync__good"]
    with pytest.raises(BrokenMappings) as caught:
        report_broken_mappings(mappings)
    line = broken.read_text().splitlines().index("keys: [code]") + 1
    assert f"{broken}:{line}:1: keys" in str(caught.value)
    assert "worse.yaml" in str(caught.value)
    assert "Did you mean key?" in str(caught.value)


def test_no_error_is_raised_where_all_is_well(mappings):
    write_mapping(mappings)
    report_broken_mappings(mappings)


def test_a_mapping_that_airflow_itself_refuses_is_reported(mappings):
    write_mapping(mappings, airflow="{tags: ['" + "x" * 101 + "']}")
    dags, errors = build_all(mappings)
    assert dags == []
    assert "clients.yaml" in str(errors[0])
    assert "Airflow refuses it" in str(errors[0])


def test_a_dag_belongs_to_the_file_that_registered_it(mappings):
    write_mapping(mappings)
    namespace = {"__file__": "/dags/mine.py"}
    register_integrations(namespace, mappings)
    assert namespace["sync__clients"].fileloc == "/dags/mine.py"


def test_a_mapping_outside_mappings_dir_is_named_to_its_tasks_by_file(mappings, monkeypatch):
    elsewhere = build(mappings).task_dict["load"]
    monkeypatch.setenv("AIRFLOW__SYNC_PROVIDER__MAPPINGS_DIR", str(mappings))
    known = build(mappings).task_dict["load"]
    assert (elsewhere.mapping_id, elsewhere.mapping_file) == (None, str(mappings / "clients.yaml"))
    assert (known.mapping_id, known.mapping_file) == ("clients", None)


def test_a_task_process_builds_its_own_dag_only(mappings, monkeypatch):
    for name in ("a", "b", "c"):
        write_mapping(mappings, name)
    (mappings / "broken.yaml").write_text("version: [", encoding="utf-8")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "sync__b")
    namespace = {"__file__": "x.py"}
    register_integrations(namespace, mappings)
    report_broken_mappings(mappings)
    assert set(namespace) == {"__file__", "sync__b"}


def test_a_dag_of_someone_elses_is_not_ours_to_build(mappings, monkeypatch):
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "theirs")
    namespace = {"__file__": "x.py"}
    register_integrations(namespace, mappings)
    assert set(namespace) == {"__file__"}


def run_python(program: str, *arguments: object, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(program), *map(str, arguments)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_same_mappings_serialise_to_the_same_dags_in_every_process(mappings):
    write_mapping(mappings, "a", schedule="{assets: [x-b, x-a], cron: '0 6 * * *'}", incremental=INCREMENTAL)
    write_mapping(mappings, "b", airflow="{tags: [zz, aa, mm, kk]}")
    write_mapping(mappings, "c", mode="bidirectional", source=SHEET, deletes="propagate")
    program = """
        import json, sys
        from pathlib import Path
        from airflow.serialization.serialized_objects import DagSerialization
        from airflow.models.serialized_dag import SerializedDagModel
        from sync_provider.dag_factory import build_all
        dags, errors = build_all(Path(sys.argv[1]))
        assert not errors
        print([(dag.dag_id, SerializedDagModel.hash(DagSerialization.to_dict(dag))) for dag in dags])
    """
    outputs = {run_python(program, mappings, PYTHONHASHSEED=seed).splitlines()[-1] for seed in ("0", "1", "12345")}
    assert len(outputs) == 1
    assert "sync__b" in outputs.pop()


def test_parsing_opens_no_socket_and_no_ledger_and_imports_nothing_heavy(mappings):
    kinds: list[dict[str, str]] = [
        {},
        {"mode": "bidirectional"},
        {"source": SHEET},
        {"mode": "bidirectional", "source": SHEET},
    ]
    for number in range(100):
        write_mapping(mappings, f"m{number}", airflow=f"{{tags: [t{number}]}}", **kinds[number % len(kinds)])
    program = """
        import json, socket, sys
        import airflow.sdk
        before = set(sys.modules)

        def refuse(*a, **k):
            raise AssertionError("a socket was opened")

        socket.socket.connect = refuse
        socket.create_connection = refuse
        from sync_provider.dag_factory import register_integrations, report_broken_mappings
        namespace = {"__file__": "x.py"}
        register_integrations(namespace, sys.argv[1])
        report_broken_mappings(sys.argv[1])
        heavy = ["pandas", "numpy", "great_expectations", "googleapiclient", "google.auth", "google.cloud", "httplib2",
                 "sync_provider.connectors.sheets", "sync_provider.engine.bidirectional", "openpyxl", "duckdb",
                 "fastapi", "pyarrow", "sqlalchemy.orm", "alembic", "requests", "smtplib", "sync_provider.engine.ledger"]
        print(json.dumps([len(namespace) - 1, [m for m in heavy if m in sys.modules and m not in before]]))
    """
    assert json.loads(run_python(program, mappings).splitlines()[-1]) == [100, []]
