"""The Test of database connections, as Airflow's button and `airflow connections test` call it."""

from __future__ import annotations

import json
import sqlite3
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from airflow.models.connection import Connection
from sync_provider import provider_info
from sync_provider.provider_info import get_provider_info


@pytest.fixture
def tested(monkeypatch):
    """Test a connection of these fields; (worked, message)."""

    def test(**fields: object) -> tuple[bool, str]:
        monkeypatch.setenv("AIRFLOW_CONN_TESTED", json.dumps(fields))
        return Connection(conn_id="tested", conn_type=str(fields["conn_type"])).test_connection()

    return test


def test_a_sqlite_file_answers(tested, tmp_path):
    sqlite3.connect(tmp_path / "a.db").close()
    worked, message = tested(conn_type="sqlite", host=str(tmp_path / "a.db"))
    assert worked, message
    assert "a.db" in message


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("", "names no file"),
        ("missing.db", "cannot be opened"),
        ("no/such/folder.db", "cannot be opened"),
        ("text.txt", "no intact SQLite database"),
    ],
)
def test_a_sqlite_connection_that_leads_nowhere_is_told(tested, tmp_path, host, said):
    (tmp_path / "text.txt").write_text("not a database, but long enough to be looked at " * 50, encoding="utf-8")
    worked, message = tested(conn_type="sqlite", host=host and str(tmp_path / host))
    assert not worked
    assert said in message


@pytest.mark.postgres
def test_postgresql_answers_and_refuses_a_wrong_login(tested, postgres_url):
    extra = {"sqlalchemy_url": postgres_url}
    worked, message = tested(conn_type="postgres", extra=extra)
    assert worked, message
    wrong = {"sqlalchemy_url": f"{postgres_url.rpartition('/')[0]}/there_is_none"}
    worked, message = tested(conn_type="postgres", extra=wrong)
    assert not worked
    assert "there_is_none" in message


def test_a_server_that_is_not_there_is_told_without_the_password(tested):
    worked, message = tested(conn_type="postgres", host="127.0.0.1", port=1, login="u", password="s3cret-word")
    assert not worked
    assert "127.0.0.1" in message
    assert "s3cret-word" not in message


def test_airflows_own_provider_keeps_its_connection_type(monkeypatch):
    assert [form["connection-type"] for form in get_provider_info()["connection-types"]] == ["sqlite", "postgres"]

    def installed(name: str) -> Path:
        if name == "apache-airflow-providers-postgres":
            return Path()
        raise PackageNotFoundError(name)

    monkeypatch.setattr(provider_info, "distribution", installed)
    assert [form["connection-type"] for form in get_provider_info()["connection-types"]] == ["sqlite"]
