"""Connections for the command line: where they are found, how they are read, and what is never shown."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from sync_provider.connectors.base import ConnectionInfo
from sync_provider.core.errors import SyncConnectionError, SyncError, SyncValidationError
from sync_provider.engine import connections
from sync_provider.engine.connections import resolve_connection
from sync_provider.engine.settings import Settings, load_settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, in which no `airflow` is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "airflow_settings.yaml").write_text("airflow:\n", encoding="utf-8")
    (tmp_path / ".airflow").mkdir()
    return tmp_path


def settings(project: Path) -> Settings:
    return load_settings({}, project)


def from_variable(text: str, project: Path) -> ConnectionInfo:
    return resolve_connection("app_db", settings(project), {"AIRFLOW_CONN_APP_DB": text})


def declare(project: Path, *items: dict[str, Any]) -> None:
    text = json.dumps({"airflow": {"connections": items}}, ensure_ascii=False)
    (project / "airflow_settings.yaml").write_text(text, encoding="utf-8")


def install_airflow(project: Path, body: str) -> None:
    """A program `airflow` beside the interpreter, as a virtual environment has it."""
    program = project / "airflow"
    program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    program.chmod(0o755)


def test_a_uri_is_taken_apart_and_percent_decoded(project: Path) -> None:
    info = from_variable("postgresql://us%40er:p%3Aw%2Fd@db.example:5433/my%2Fdb?sslmode=require&empty=", project)
    assert (info.id, info.type, info.host, info.port) == ("app_db", "postgres", "db.example", 5433)
    assert (info.login, info.password, info.schema) == ("us@er", "p:w/d", "my/db")
    assert info.extra == {"sslmode": "require", "empty": ""}


def test_the_extra_of_a_uri_may_be_nested_json(project: Path) -> None:
    info = from_variable("google-cloud-platform://?__extra__=%7B%22a%22%3A%20%7B%22b%22%3A%201%7D%7D", project)
    assert (info.type, info.host, info.extra) == ("google_cloud_platform", None, {"a": {"b": 1}})


def test_the_host_of_a_uri_may_hold_its_own_protocol_or_be_a_path(project: Path) -> None:
    assert from_variable("http://https://api.example:8443/v1", project).host == "https://api.example"
    assert from_variable("sqlite://%2Fvar%2FLib%2Fapp.db", project).host == "/var/Lib/app.db"


def test_json_gives_the_same_as_a_uri(project: Path) -> None:
    text = json.dumps(
        {"conn_type": "postgres", "login": "u", "password": "p", "host": "h", "port": "5432", "schema": "s"}
        | {"extra": '{"sslmode": "require"}', "description": "x"}
    )
    assert from_variable(text, project) == from_variable("postgres://u:p@h:5432/s?sslmode=require", project)


@pytest.mark.parametrize(
    "text",
    [
        "S3CRET",
        "postgres://u:S3CRET@h:port/db",
        "postgres://u:S3CRET@h:99999999/db",
        "a://b://c://S3CRET",
        "postgres://u:S3CRET@h/db?url=http://x",
        "postgres://[S3CRET",
        '{"conn_type": "x", "password": "S3CRET"',
        '{"conn_type": "x", "password": "S3CRET", "user": "u"}',
        '{"conn_type": "x", "port": "S3CRET"}',
        '{"conn_type": "x", "port": true, "password": "S3CRET"}',
        '{"conn_type": "x", "extra": "S3CRET"}',
        '{"conn_type": "x", "extra": ["S3CRET"]}',
        '{"a":' * 100_000,
    ],
)
def test_a_malformed_connection_is_refused_without_showing_it(project: Path, text: str) -> None:
    with pytest.raises(SyncValidationError) as caught:
        from_variable(text, project)
    shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.as_dict())
    assert "AIRFLOW_CONN_APP_DB" in str(caught.value)
    assert "S3CRET" not in shown.replace(repr(text), "")


def test_no_representation_of_a_connection_shows_its_secrets(project: Path) -> None:
    info = from_variable("postgres://u:S3CRET@h/db?token=S3CRET", project)
    assert "S3CRET" not in f"{info!r} {info} {info.password!r}"
    assert info.password == "S3CRET"


def test_the_environment_wins_over_the_project(project: Path) -> None:
    declare(project, {"conn_id": "app_db", "conn_type": "sqlite", "conn_host": "from-project"})
    assert from_variable("sqlite://from-variable", project).host == "from-variable"
    assert resolve_connection("app_db", settings(project), {}).host == "from-project"


def test_the_project_declares_connections_in_the_format_of_the_astro_cli(project: Path) -> None:
    (project / "airflow_settings.yaml").write_text(
        """
airflow:
  connections:
    - conn_id: other
      conn_host: ${NOT_SET}
    - conn_id: app_db
      conn_type: postgresql
      conn_host: ${DB_HOST}
      conn_port: 5432
      conn_schema: "${PROJECT_DIR}/x"
      conn_login: user
      conn_password: 0123
      conn_extra:
        path: ${AIRFLOW_HOME}/files
    - conn_id: by_uri
      conn_uri: mysql://u:${PASSWORD}@h/db
  pools: []
""",
        encoding="utf-8",
    )
    info = resolve_connection("app_db", settings(project), {"DB_HOST": "db"})
    assert (info.type, info.host, info.port, info.schema) == ("postgres", "db", 5432, f"{project}/x")
    assert (info.login, info.password) == ("user", "0123")
    assert info.extra == {"path": f"{project}/.airflow/files"}
    assert resolve_connection("by_uri", settings(project), {"PASSWORD": "p%40ss"}).password == "p@ss"


def test_the_projects_file_is_found_upwards_from_the_current_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(project, {"conn_id": "app_db", "conn_type": "fs", "conn_extra": '{"path": "/data"}'})
    below = project / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    elsewhere = load_settings({"AIRFLOW_HOME": str(project / "elsewhere")}, below)
    assert resolve_connection("app_db", elsewhere, {}).extra == {"path": "/data"}


def test_a_reference_that_is_not_set_is_named_and_the_search_goes_on(project: Path) -> None:
    declare(project, {"conn_id": "app_db", "conn_type": "x", "conn_password": "${NOT_SET}"})
    with pytest.raises(SyncConnectionError, match=r"declares it with \$\{NOT_SET\}, which is not set; `airflow"):
        resolve_connection("app_db", settings(project), {})


def test_a_broken_project_file_is_an_error_at_its_line(project: Path) -> None:
    (project / "airflow_settings.yaml").write_text("airflow:\n  connections: [", encoding="utf-8")
    with pytest.raises(SyncError, match=r"airflow_settings\.yaml:2:17|airflow_settings\.yaml:3:1"):
        resolve_connection("app_db", settings(project), {})


ANSWER = [
    {
        "id": "7", "conn_id": "app_db", "conn_type": "postgres", "description": None, "host": "h", "schema": "s",
        "login": "u", "password": "p", "port": "5432", "is_encrypted": "True", "is_extra_encrypted": "True",
        "extra_dejson": {"sslmode": "require"}, "get_uri": "postgres://u:p@h:5432/s?sslmode=require",
    }
]  # fmt: skip


def test_airflow_is_asked_last_with_its_home_and_its_log_lines_are_skipped(project: Path) -> None:
    (project / "answer.json").write_text(json.dumps(ANSWER), encoding="utf-8")
    install_airflow(
        project,
        f'echo "$AIRFLOW_HOME $@" >{project}/asked\necho "[2025-01-01 00:00:00] INFO warming up"\ncat {project}/answer.json',
    )
    info = resolve_connection("app_db", settings(project), {"PATH": "/usr/bin:/bin"})
    assert info == from_variable("postgres://u:p@h:5432/s?sslmode=require", project)
    asked = (project / "asked").read_text().split()
    assert asked == [str(project / ".airflow"), "connections", "get", "app_db", "--output", "json"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("echo 'Connection not found.' >&2; exit 1", "does not know it"),
        ("echo 'S3CRET in a traceback' >&2; exit 3", "failed (exit 3;"),
        ("echo S3CRET", "answered something else"),
        ("echo '[1, 2]'", "answered something else"),
        ("echo '[]'", "answered something else"),
    ],
)
def test_when_it_is_nowhere_the_error_names_every_place_and_no_value(project: Path, body: str, says: str) -> None:
    install_airflow(project, body)
    with pytest.raises(SyncConnectionError) as caught:
        resolve_connection("app_db", settings(project), {"PATH": "/usr/bin:/bin"})
    message = str(caught.value)
    for place in ("AIRFLOW_CONN_APP_DB is not set", "airflow_settings.yaml does not declare it", says):
        assert place in message
    assert "S3CRET" not in message + "".join(traceback.format_exception(caught.value))
    assert (caught.value.code, caught.value.retryable) == ("connection_unknown", False)


def test_an_airflow_that_does_not_answer_in_time_is_given_up(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_airflow(project, "exec tail -f /dev/null")
    monkeypatch.setattr(connections, "AIRFLOW_TIMEOUT_S", 0.2)
    with pytest.raises(SyncConnectionError, match="TimeoutExpired"):
        resolve_connection("app_db", settings(project), {"PATH": "/usr/bin:/bin"})


def test_without_airflow_and_without_a_home_nothing_is_started_or_created(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SyncConnectionError, match="is not installed here"):
        resolve_connection("app_db", settings(project), {"PATH": ""})
    install_airflow(project, f"touch {project}/started")
    home = project / "no-home"
    with pytest.raises(SyncConnectionError, match="has no AIRFLOW_HOME"):
        resolve_connection("app_db", load_settings({"AIRFLOW_HOME": str(home)}, project), {})
    assert not home.exists()
    assert not (project / "started").exists()
