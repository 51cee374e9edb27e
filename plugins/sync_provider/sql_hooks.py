"""Airflow's Test button for SQLite and PostgreSQL connections: it asks what a run would ask, the same way.

`provider_info` offers these hooks only where Airflow's own providers for these databases are not installed.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, ClassVar

from airflow.sdk import BaseHook

from sync_provider import hooks
from sync_provider.core.endpoints import SqlEndpoint
from sync_provider.core.errors import SyncError


class SqlConnectionHook(BaseHook):
    """What SQLite's and PostgreSQL's hooks share.

    Args:
        conn_id: the Airflow connection.
    """

    conn_name_attr: ClassVar[str] = "conn_id"
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]

    def __init__(self, conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Reach the database and log in, as a run would.

        Returns:
            Whether both worked, and a sentence: what was found, or what is wrong and how to fix it.
        """
        from sync_provider.connectors.sql.connector import SqlConnector
        from sync_provider.engine.clock import SystemClock

        endpoint = SqlEndpoint(type="sql", connection=self.conn_id, query="SELECT 1 AS one")
        try:
            with closing(SqlConnector(endpoint, hooks.connection_info(self.conn_id), SystemClock())) as connector:
                probes = connector.test([], write=False)
        except SyncError as error:
            return False, str(error)
        for probe in probes:
            if not probe.ok:
                return False, f"{probe.detail}. {probe.hint}" if probe.hint else probe.detail
        return True, "; ".join(probe.detail for probe in probes if probe.aspect in ("reach", "authenticate"))


class SqliteHook(SqlConnectionHook):
    """A SQLite file, named by the connection's host. One that a first run would create fails the Test: it could be misspelt."""

    conn_type = "sqlite"
    hook_name = "SQLite"


class PostgresHook(SqlConnectionHook):
    """A PostgreSQL database; the connection's schema is the database's name."""

    conn_type = "postgres"
    hook_name = "PostgreSQL"
