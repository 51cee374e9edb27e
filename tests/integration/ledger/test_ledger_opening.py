"""Opening a ledger: migrations, several processes at once, and errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sync_provider.core.errors import SyncAuthenticationError, SyncConnectionError, SyncDataError
from sync_provider.engine.clock import SystemClock
from sync_provider.engine.ledger import Ledger, database, migrations
from sync_provider.engine.ledger.database import Database
from sync_provider.engine.ledger.tables import metadata

OPEN = """
    import sys
    from sync_provider.engine.clock import SystemClock
    from sync_provider.engine.crypto import Cipher
    from sync_provider.engine.ledger import Ledger

    sys.stdin.readline()
    with Ledger.open(sys.argv[1], Cipher([sys.argv[2]]), SystemClock()) as ledger:
        ledger.audit.append("me", "ledger.opened", "x")
"""


def test_processes_that_open_a_new_ledger_at_once_all_succeed(url, cipher):
    from sync_provider.engine.crypto import new_key

    key = new_key()
    openers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(OPEN), url, key], stdin=subprocess.PIPE)
        for _ in range(4)
    ]
    for opener in openers:
        opener.stdin.write(b"\n")
        opener.stdin.flush()
    for opener in openers:
        opener.communicate(timeout=120)
        assert opener.returncode == 0
    with Ledger.open(url, cipher, SystemClock()) as ledger:
        assert [e.number for e in ledger.audit.list()] == [1, 2, 3, 4]
        assert ledger.audit.verify() is None


def test_the_migrations_lead_to_the_tables_that_the_code_uses(url, clock, cipher):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with Ledger.open(url, cipher, clock) as ledger, ledger._database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": migrations.VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


def test_the_newest_migration_is_the_one_the_code_expects():
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(migrations._folder())).get_heads() == [migrations.HEAD]


def test_migrating_back_removes_every_table_and_forward_works_again(url, clock, cipher):
    opened = Database(url, clock)
    migrations.upgrade(opened)
    migrations.downgrade(opened, "base")
    with opened.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {migrations.VERSION_TABLE}
    opened.close()
    with Ledger.open(url, cipher, clock) as ledger:
        assert ledger.audit.append("me", "x.y", "z") == 1


def test_a_ledger_of_a_newer_version_is_left_alone(url, clock, cipher):
    opened = Database(url, clock)
    migrations.upgrade(opened)
    with opened.write() as connection:
        connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    opened.close()
    with pytest.raises(SyncDataError) as caught:
        Ledger.open(url, cipher, clock)
    assert caught.value.code == "ledger_newer"
    assert "9999" in str(caught.value)


def test_opening_a_current_ledger_does_not_import_alembic(tmp_path, cipher, clock):
    url = f"sqlite:///{tmp_path}/ledger.db"
    Ledger.open(url, cipher, clock).close()
    program = """
        import sys
        from sync_provider.engine.clock import SystemClock
        from sync_provider.engine.crypto import Cipher, new_key
        from sync_provider.engine.ledger import Ledger
        Ledger.open(sys.argv[1], Cipher([new_key()]), SystemClock()).close()
        assert "alembic" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), url], check=True)


def test_a_forked_child_uses_connections_of_its_own(ledger):
    ledger.audit.append("parent", "x.y", "1")
    child = os.fork()
    if child == 0:
        # Never back into pytest, whatever happens.
        try:
            ledger.audit.append("child", "x.y", "2")
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    ledger.audit.append("parent", "x.y", "3")
    assert [e.actor for e in ledger.audit.list()] == ["parent", "child", "parent"]
    assert ledger.audit.verify() is None


def test_a_sqlite_ledger_is_private_and_keeps_a_write_ahead_log(tmp_path: Path, cipher, clock):
    file = tmp_path / "deep" / "ledger.db"
    with Ledger.open(f"sqlite:///{file}", cipher, clock) as ledger:
        ledger.audit.append("me", "x.y", "z")
        for part in file.parent.iterdir():
            assert stat.S_IMODE(part.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        with ledger._database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_damaged_file_is_named_with_what_to_do_and_left_as_it_is(tmp_path: Path, cipher, clock):
    file = tmp_path / "ledger.db"
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    before = file.read_bytes()
    with pytest.raises(SyncDataError) as caught:
        Ledger.open(f"sqlite:///{file}", cipher, clock)
    assert caught.value.code == "ledger_damaged"
    assert str(file) in str(caught.value)
    assert "backup" in str(caught.value)
    assert file.read_bytes() == before


def test_damage_inside_the_file_is_an_error_and_not_an_empty_ledger(tmp_path: Path, cipher, clock):
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}", cipher, clock) as ledger:
        for n in range(200):
            ledger.audit.append("me", "x.y", "z" * 200 + str(n))
    with sqlite3.connect(file) as plain:
        plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    content[4096 * 10 :] = b"\xff" * (len(content) - 4096 * 10)
    file.write_bytes(content)
    with pytest.raises(SyncDataError) as caught, Ledger.open(f"sqlite:///{file}", cipher, clock) as ledger:
        list(ledger.audit.list())
    assert caught.value.code == "ledger_damaged"


def test_a_busy_sqlite_ledger_is_a_retryable_error(tmp_path: Path, cipher, clock, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    file = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{file}", cipher, clock) as ledger:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert ledger.runs.list() == []
        with pytest.raises(SyncConnectionError) as caught:
            ledger.audit.append("me", "x.y", "z")
        assert (caught.value.code, caught.value.retryable) == ("ledger_busy", True)
        other.execute("ROLLBACK")
        other.close()
        assert ledger.audit.append("me", "x.y", "z") == 1


def test_a_full_disk_is_said_so_and_nothing_is_half_written(tmp_path: Path, cipher, clock):
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", cipher, clock) as ledger:

        @sa.event.listens_for(ledger._database.engine, "begin")
        def no_more_pages(connection: sa.Connection) -> None:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        with pytest.raises(SyncConnectionError) as caught:
            ledger.audit.append("me", "x.y", "z" * 100_000)
        assert caught.value.code == "ledger_full"
        assert list(ledger.audit.list()) == []
        assert ledger.audit.append("me", "x.y", "z") == 1
        assert ledger.audit.verify() is None


def test_a_writer_waits_for_another_instead_of_failing(ledger):
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with ledger._database.write() as connection:
            ledger.audit.record(connection, "first", "x.y", "z")
            inside.set()
            go_on.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(30)
    waiter = threading.Thread(target=ledger.audit.append, args=("second", "x.y", "z"))
    waiter.start()
    go_on.set()
    holder.join()
    waiter.join()
    assert [e.actor for e in ledger.audit.list()] == ["first", "second"]


def test_an_unreachable_database_is_a_connection_error_without_its_password(cipher, clock):
    with pytest.raises(SyncConnectionError) as caught:
        Ledger.open("postgresql://sync:hunter2@127.0.0.1:1/ledger", cipher, clock)
    assert (caught.value.code, caught.value.retryable) == ("ledger_unreachable", True)
    assert "127.0.0.1:1" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.postgres
def test_a_refused_login_is_an_authentication_error(postgres_url, cipher, clock):
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE nobody_here LOGIN")
        admin.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    try:
        with pytest.raises(SyncAuthenticationError) as caught:
            Ledger.open(postgres_url.replace("postgres@", "nobody_here:hunter2@"), cipher, clock)
    finally:
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute("DROP ROLE nobody_here")
    assert caught.value.code == "ledger_refused"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://u@h/d", "not a url", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_hold_a_ledger_is_refused(url, cipher, clock):
    with pytest.raises(SyncDataError) as caught:
        Ledger.open(url, cipher, clock)
    assert caught.value.code == "settings_ledger_url"


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path, cipher, clock):
    (tmp_path / "file").touch()
    with pytest.raises(SyncConnectionError) as caught:
        Ledger.open(f"sqlite:///{tmp_path}/file/ledger.db", cipher, clock)
    assert str(tmp_path) in str(caught.value)
