"""Reaching databases: what goes wrong is told apart, and no secret is told."""

from __future__ import annotations

import os
import pwd
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sql_support import (
    Postgres,
    Sqlite,
    columns,
    get,
    inserts,
    postgres_connection,
    put,
    query,
    sqlite_connection,
    table,
)
from sync_provider.connectors.base import ConnectionInfo, Probe, Secret
from sync_provider.core.errors import (
    MappingError,
    SyncAuthenticationError,
    SyncConnectionError,
    SyncDataError,
    SyncError,
)

TARGET = columns(code="string", n="integer")
CANARY = "canary-7f3a"


def outcomes(probes: list[Probe]) -> dict[str, bool]:
    return {probe.aspect: probe.ok for probe in probes}


def failing(connection: ConnectionInfo, expected: type[SyncError]) -> SyncError:
    """Reading and writing fail alike, and neither shows the password."""
    with pytest.raises(expected) as read:
        get(table(connection), TARGET)
    with pytest.raises(expected) as written:
        put(table(connection), TARGET, *inserts([{"code": "a", "n": 1}]))
    for error in (read.value, written.value):
        assert CANARY not in str(error)
        assert CANARY not in str(error.as_dict())
        assert error.where.endpoint == "sql, connection app_db"
        assert error.hint
    return read.value


@pytest.fixture
def silent_port() -> Any:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_not_there_is_a_connection_error(host: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connection = ConnectionInfo(
        id="app_db", type="postgres", host=host, port=port, login="u", password=Secret(CANARY), schema="d"
    )
    assert failing(connection, SyncConnectionError).retryable
    assert outcomes(table(connection).test(["code"], write=True)) == {"reach": False}


def test_a_server_that_never_answers_is_given_up(silent_port: int) -> None:
    connection = ConnectionInfo(
        id="app_db", type="postgres", host="127.0.0.1", port=silent_port, login="u", schema="d", extra={"connect_timeout": 2}
    )  # fmt: skip
    assert failing(connection, SyncConnectionError).retryable


@pytest.mark.postgres
def test_a_refused_login_is_an_authentication_error(postgres_url: str) -> None:
    connection = postgres_connection(postgres_url, login="nobody_here", password=CANARY)
    assert not failing(connection, SyncAuthenticationError).retryable
    assert outcomes(table(connection).test(["code"], write=True)) == {"reach": True, "authenticate": False}


@pytest.mark.postgres
def test_a_missing_database_is_named(postgres_url: str) -> None:
    error = failing(postgres_connection(postgres_url + "_gone"), SyncDataError)
    assert "_gone" in str(error)


@pytest.mark.postgres
def test_a_server_without_tls_is_refused_where_tls_is_demanded(postgres_url: str) -> None:
    error = failing(postgres_connection(postgres_url, sslmode="require"), SyncConnectionError)
    assert "SSL" in str(error)


@pytest.mark.postgres
def test_a_statement_that_takes_too_long_is_given_up(postgres_url: str) -> None:
    database = Postgres(postgres_url)
    database.run("CREATE VIEW clients AS SELECT 'a' AS code, 1 AS n, pg_sleep(60)::text AS late")
    with pytest.raises(SyncConnectionError, match="timeout"):
        get(table(postgres_connection(postgres_url, read_timeout=0.2)), columns(code="string", late="string"))


@pytest.mark.postgres
def test_a_url_in_the_extra_is_understood(postgres_url: str) -> None:
    url = postgres_url.replace("postgresql://postgres@", f"postgresql+psycopg2://postgres:{CANARY}@")
    connection = ConnectionInfo(id="app_db", type="generic", extra={"sqlalchemy_url": url + "?application_name=x"})
    put(table(connection), TARGET, *inserts([{"code": "a", "n": 1}]))
    assert get(table(connection), TARGET) == [{"code": "a", "n": 1}]


def test_a_broken_url_is_refused_without_showing_it() -> None:
    with pytest.raises(MappingError) as caught:
        table(ConnectionInfo(id="app_db", type="generic", extra={"sqlalchemy_url": f"::{CANARY}"}))
    assert CANARY not in str(caught.value)


def test_a_database_without_a_driver_is_refused_by_name() -> None:
    with pytest.raises(MappingError, match="nosuchdb"):
        table(ConnectionInfo(id="app_db", type="nosuchdb", host="h"))


@pytest.mark.parametrize("host", [None, "", ":memory:", "file::memory:?mode=memory"])
def test_a_sqlite_connection_must_name_a_file(host: str | None) -> None:
    with pytest.raises(MappingError, match="names no file"):
        table(ConnectionInfo(id="app_db", type="sqlite", host=host))


def test_a_sqlite_path_may_stand_where_airflow_puts_it(tmp_path: Path) -> None:
    for connection in (
        ConnectionInfo(id="app_db", type="sqlite", schema=str(tmp_path / "a b#c?.db")),
        ConnectionInfo(id="app_db", type="sqlite", extra={"sqlalchemy_url": f"sqlite:///{tmp_path}/url.db"}),
    ):
        put(table(connection), TARGET, *inserts([{"code": "a", "n": 1}]))
        assert get(table(connection), TARGET) == [{"code": "a", "n": 1}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b#c", "url.db"]


def test_reading_never_makes_a_database_file(tmp_path: Path) -> None:
    missing = sqlite_connection(tmp_path / "none.db")
    with pytest.raises(SyncDataError, match="no table clients"):
        get(table(missing), TARGET)
    with pytest.raises(SyncConnectionError, match="cannot be opened"):
        get(table(missing, create=False), TARGET)
    with pytest.raises(SyncConnectionError, match="cannot be opened"):
        get(table(sqlite_connection(tmp_path / "nowhere" / "none.db")), TARGET)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "target.db"
    path.write_bytes(b"this is not a database, but long enough to look at" * 50)
    failing(sqlite_connection(path), SyncDataError)
    assert outcomes(table(sqlite_connection(path)).test(["code"], write=True)) == {"reach": False}


def test_a_database_in_use_is_a_connection_error_worth_a_retry(tmp_path: Path) -> None:
    import sqlite3

    database = Sqlite(tmp_path / "target.db")
    database.run("CREATE TABLE clients (code TEXT PRIMARY KEY, n INTEGER)")
    busy = sqlite3.connect(database.path, isolation_level=None)
    busy.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(SyncConnectionError, match="another writer") as caught:
            put(table(sqlite_connection(database.path, busy_timeout=0.1)), TARGET, *inserts([{"code": "a", "n": 1}]))
    finally:
        busy.close()
    assert caught.value.retryable
    assert database.run("SELECT count(*) FROM clients") == [(0,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="root is what lets the test become somebody else")
def test_missing_rights_on_a_sqlite_file_are_told_apart() -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        database = Sqlite(Path(folder) / "target.db")
        put(table(database.connection), TARGET, *inserts([{"code": "a", "n": 1}]))
        get(table(database.connection), TARGET)
        os.setegid(nobody.pw_gid)
        os.seteuid(nobody.pw_uid)
        try:
            assert get(table(database.connection), TARGET) == [{"code": "a", "n": 1}]
            probes = table(database.connection).test(["code", "n"], write=True)
            with pytest.raises(SyncAuthenticationError):
                put(table(database.connection), TARGET, *inserts([{"code": "b", "n": 2}]))
        finally:
            os.seteuid(0)
            os.setegid(0)
        expected = {"reach": True, "authenticate": True, "read": True, "write": False, "header": True}
        assert outcomes(probes) == expected
        assert get(table(database.connection), TARGET) == [{"code": "a", "n": 1}]


@pytest.mark.postgres
def test_the_right_to_write_is_told_apart_without_writing(postgres_url: str) -> None:
    database = Postgres(postgres_url)
    login = f"reader_{postgres_url.rsplit('_', 1)[1]}"
    database.run(
        f"CREATE ROLE {login} LOGIN", "CREATE TABLE clients (code text PRIMARY KEY, n bigint)",
        f"GRANT SELECT ON clients TO {login}", "CREATE TABLE hidden (code text, n bigint)", "INSERT INTO clients VALUES ('a', 1)",
    )  # fmt: skip
    connection = postgres_connection(postgres_url, login=login)
    probes = table(connection).test(["code", "n"], write=True)
    assert outcomes(probes) == {"reach": True, "authenticate": True, "read": True, "write": False, "header": True}
    assert "INSERT, UPDATE, DELETE" in next(p.detail for p in probes if p.aspect == "write")
    assert outcomes(table(connection, "hidden").test(["code"], write=False))["read"] is False
    assert outcomes(table(connection, "fresh").test(["code"], write=True))["write"] is False
    assert outcomes(table(postgres_connection(postgres_url), "fresh").test(["code"], write=True)) == {
        "reach": True, "authenticate": True, "write": True, "header": True,
    }  # fmt: skip
    with pytest.raises(SyncAuthenticationError, match="permission denied"):
        put(table(connection), TARGET, *inserts([{"code": "b", "n": 2}]))
    assert database.run("SELECT code FROM clients") == [("a",)]
    database.run("DROP TABLE clients", f"DROP OWNED BY {login}", f"DROP ROLE {login}")


def test_a_missing_table_is_named_with_its_neighbours(tmp_path: Path) -> None:
    database = Sqlite(tmp_path / "target.db")
    database.run("CREATE TABLE clients (code TEXT)")
    probes = table(database.connection, "client").test(["code"], write=False)
    failed = next(p for p in probes if not p.ok)
    assert (failed.aspect, failed.detail) == ("read", "there is no table client")
    assert "clients" in (failed.hint or "")


@pytest.mark.postgres
def test_a_session_cut_in_the_middle_of_a_write_leaves_nothing(postgres_url: str) -> None:
    database = Postgres(postgres_url)
    database.run("CREATE TABLE clients (code text PRIMARY KEY, n bigint)")

    def cut() -> None:
        database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'sync_provider 01J%'"
        )

    with pytest.raises(SyncConnectionError) as caught:
        put(table(database.connection), TARGET, *inserts([{"code": "a", "n": 1}]), fence=cut)
    assert caught.value.retryable
    assert database.run("SELECT count(*) FROM clients") == [(0,)]


@pytest.mark.postgres
def test_a_locked_table_is_not_waited_for_without_end(postgres_url: str) -> None:
    database = Postgres(postgres_url)
    database.run("CREATE TABLE clients (code text PRIMARY KEY, n bigint)")
    impatient = postgres_connection(postgres_url, lock_timeout=0.1)
    with psycopg.connect(postgres_url) as rival:
        rival.execute("LOCK TABLE clients")
        for each in (table(impatient), query(impatient, "SELECT * FROM clients")):
            with pytest.raises(SyncConnectionError, match="lock timeout") as caught:
                get(each, columns(code="string"))
            assert caught.value.retryable


@pytest.mark.postgres
def test_a_deadlock_rolls_the_whole_write_back_and_is_worth_a_retry(postgres_url: str) -> None:
    database = Postgres(postgres_url)
    database.run(
        "CREATE TABLE clients (code text PRIMARY KEY, n bigint)", "INSERT INTO clients VALUES ('a', 1), ('b', 1)",
        "ALTER DATABASE " + postgres_url.rsplit("/", 1)[1] + " SET deadlock_timeout = '100ms'",
    )  # fmt: skip
    rival = psycopg.connect(postgres_url)
    rival.execute("SET deadlock_timeout = '1h'")
    rival.execute("UPDATE clients SET n = 5 WHERE code = 'b'")
    blocked = threading.Thread(target=lambda: rival.execute("UPDATE clients SET n = 5 WHERE code = 'a'"))

    def rows() -> list[Any]:
        return [("update", {"code": "a", "n": 2}, {"code": "a", "n": 1}), ("delete", None, {"code": "b", "n": 1})]

    # The deletion of b waits for the rival; the rival then asks for a, which ours holds by the lock taken first.
    first = [("delete", None, {"code": "a", "n": 1}), ("update", {"code": "b", "n": 2}, {"code": "b", "n": 1})]
    failure: list[SyncError] = []

    def ours() -> None:
        try:
            put(table(database.connection), TARGET, *first, mode="mirror")
        except SyncError as error:
            failure.append(error)

    writer = threading.Thread(target=ours)
    writer.start()
    _wait_until_blocked(postgres_url)
    blocked.start()
    writer.join(30)
    blocked.join(30)
    rival.rollback()
    rival.close()
    assert [type(error) for error in failure] == [SyncConnectionError]
    assert "deadlock" in str(failure[0])
    assert failure[0].retryable
    assert database.run("SELECT code, n FROM clients ORDER BY code") == [("a", 1), ("b", 1)]
    again = put(table(database.connection), TARGET, *rows(), mode="mirror")
    assert (again.updated, again.deleted) == (1, 1)


def _wait_until_blocked(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as watch:
        while watch.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'sync_provider 01J%'").fetchone() == (0,):  # fmt: skip
            pass


@pytest.mark.postgres
def test_a_record_changed_while_we_write_is_seen_by_the_statement_itself(postgres_url: str) -> None:
    database = Postgres(postgres_url)
    database.run(
        "CREATE TABLE clients (code text PRIMARY KEY, n bigint)", "INSERT INTO clients VALUES ('a', 1), ('b', 1)"
    )
    rival = psycopg.connect(postgres_url)
    rival.execute("UPDATE clients SET n = 77 WHERE code = 'a'")
    rival.execute("INSERT INTO clients VALUES ('c', 77)")
    results: list[Any] = []
    changes = (
        ("update", {"code": "a", "n": 2}, {"code": "a", "n": 1}),
        ("update", {"code": "b", "n": 2}, {"code": "b", "n": 1}),
        ("insert", {"code": "c", "n": 2}, None),
    )
    writer = threading.Thread(target=lambda: results.append(put(table(database.connection), TARGET, *changes)))
    writer.start()
    _wait_until_blocked(postgres_url)
    rival.commit()
    writer.join(30)
    rival.close()
    (result,) = results
    assert sorted(result.deferred_keys) == ["a", "c"]
    assert (result.updated, result.inserted, result.rejections) == (1, 0, [])
    assert database.run("SELECT code, n FROM clients ORDER BY code") == [("a", 77), ("b", 2), ("c", 77)]
