"""A deployment in a folder: files, mappings, ledger, store; runs integrations in this process. For tests."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from sync_provider.connectors.base import ConnectionInfo
from sync_provider.core.changes import RunParams
from sync_provider.core.errors import SyncConnectionError
from sync_provider.engine.environment import Environment, open_environment
from sync_provider.engine.loader import load_file
from sync_provider.engine.pipeline import RunContext, open_run, run_all
from sync_provider.engine.settings import load_settings


class Workspace:
    """One folder per test. `connections` may be added to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.mappings = folder / "mappings"
        for path in (self.files, self.mappings, folder / "home"):
            path.mkdir()
        self.settings = load_settings(
            {
                "AIRFLOW_HOME": str(folder / "home"),
                "AIRFLOW__SYNC_PROVIDER__DEMO": "true",
                "AIRFLOW__SYNC_PROVIDER__FILES_ROOT": str(self.files),
                "AIRFLOW__SYNC_PROVIDER__MAPPINGS_DIR": str(self.mappings),
            },
            folder,
        )
        self.database = folder / "target.db"
        self.connections = {"db": ConnectionInfo(id="db", type="sqlite", host=str(self.database))}
        self._numbers = itertools.count(1)

    def mapping(self, **keys: Any) -> str:
        """Write a mapping and return its id; ``keys`` go over a CSV → SQLite upsert."""
        plain = {
            "version": 1,
            "id": "sample",
            "mode": "import",
            "source": {"type": "csv", "path": "in.csv"},
            "destination": {"type": "sql", "connection": "db", "table": "target"},
            "key": ["code"],
            "fields": [
                {"source": "code", "destination": "code"},
                {"source": "amount", "destination": "amount", "type": "decimal(12,2)"},
            ],
        }
        merged = {k: v for k, v in {**plain, **keys}.items() if v is not None}
        (self.mappings / f"{merged['id']}.yaml").write_text(
            yaml.safe_dump(merged, allow_unicode=True), encoding="utf-8"
        )
        return str(merged["id"])

    def csv(self, text: str, name: str = "in.csv") -> None:
        (self.files / name).write_text(text, encoding="utf-8")

    @contextmanager
    def environment(self) -> Iterator[Environment]:
        with open_environment(self.settings, self._find) as env:
            yield env

    @contextmanager
    def open(
        self,
        mapping_id: str = "sample",
        *,
        run: str | None = None,
        interval: tuple[datetime, datetime] | None = None,
        **params: Any,
    ) -> Iterator[RunContext]:
        """Open a run; the same ``run`` is the same run again."""
        with self.environment() as env:
            yield open_run(
                env,
                load_file(self.mappings / f"{mapping_id}.yaml"),
                dag_id=f"sync__{mapping_id}",
                airflow_run_id=run or f"run-{next(self._numbers)}",
                trigger="test",
                params=RunParams(**params),
                interval=interval,
            )

    def run(self, mapping_id: str = "sample", **options: Any) -> dict[str, Any]:
        """A whole run; returns its counters."""
        with self.open(mapping_id, **options) as ctx:
            return run_all(ctx)

    def rows(self, table: str = "target") -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.database) as db:
            return db.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()

    def execute(self, sql: str, *values: Any) -> None:
        with sqlite3.connect(self.database) as db:
            db.execute(sql, values)

    def _find(self, connection_id: str) -> ConnectionInfo:
        if connection_id not in self.connections:
            raise SyncConnectionError(f"no connection {connection_id}", retryable=False)
        return self.connections[connection_id]
