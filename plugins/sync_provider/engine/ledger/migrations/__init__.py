"""Bringing a ledger to the tables that this version of the package knows. Alembic does the steps; this decides when."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sync_provider.core.errors import SyncDataError, Where

if TYPE_CHECKING:
    from alembic.config import Config

    from sync_provider.engine.ledger.database import Database

HEAD = "0003"
"""Newest revision in `versions`; a test compares the two. Kept here so that opening a ledger does not import Alembic."""

VERSION_TABLE = "sync_ledger_version"
_LOCK = 0x73796E63  # "sync": every process that migrates asks PostgreSQL for this advisory lock


def upgrade(database: Database) -> None:
    """Create or migrate the tables if they are not at `HEAD`; of several processes one does it and the others wait.

    Raises:
        SyncDataError: the ledger is at a revision that this version does not know (``ledger_newer``).
    """
    with database.read() as connection:
        if _revision(connection) == HEAD:
            return
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        # SQLite's write lock, or the advisory lock, is ours now: somebody may have been faster.
        revision = _revision(connection)
        if revision == HEAD:
            return
        _check_known(revision, database.name)
        _migrate(connection, HEAD)


def downgrade(database: Database, revision: str) -> None:
    """Go back to an earlier revision, or to none with ``base``, which removes every table."""
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        from alembic import command

        command.downgrade(_config(connection), revision)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return found


def _check_known(revision: str | None, name: str) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory(str(_folder())).walk_revisions()}
    if revision is not None and revision not in known:
        raise SyncDataError(
            f"The ledger is at revision {revision}, and this version of sync-provider knows only up to {HEAD}",
            where=Where(endpoint=f"ledger {name}"),
            hint="Install on this machine the version that the others run.",
            code="ledger_newer",
        )


def _migrate(connection: sa.Connection, revision: str) -> None:
    from alembic import command

    logging.getLogger(__name__).info("migrating the ledger to %s", revision)
    command.upgrade(_config(connection), revision)


def _config(connection: sa.Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _folder() -> Path:
    return Path(__file__).parent
