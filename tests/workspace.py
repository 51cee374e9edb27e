"""`sync_provider.testing`'s workspace with short ways to say what our own tests say over and over."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from sync_provider.engine.environment import Environment
from sync_provider.engine.pipeline import RunContext, run_all
from sync_provider.testing import SyncWorkspace


class Workspace:
    """One folder per test; its mappings are a CSV file into the table ``target`` unless said otherwise."""

    def __init__(self, folder: Path) -> None:
        self.sync = SyncWorkspace(folder)
        self.settings, self.files, self.mappings = self.sync.settings, self.sync.files, self.sync.mappings
        self.connections = self.sync.connections
        self.database = self.sync.database("db")

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
        self.sync.add_file(name, text)

    def environment(self) -> AbstractContextManager[Environment]:
        return self.sync.environment()

    @contextmanager
    def open(self, mapping_id: str = "sample", **options: Any) -> Iterator[RunContext]:
        """Open a run; the same ``run`` is the same run again."""
        with self.sync.open(mapping_id, **options) as ctx:
            yield ctx

    def run(self, mapping_id: str = "sample", **options: Any) -> dict[str, Any]:
        """A whole run; returns what its report phase gives."""
        with self.open(mapping_id, **options) as ctx:
            return run_all(ctx)

    def rows(self, table: str = "target") -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.sync.rows("db", f"SELECT * FROM {table} ORDER BY 1")]

    def execute(self, sql: str, *values: Any) -> None:
        self.sync.execute("db", sql, *values)


def deployment(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process's environment lead to the workspace, as a shell's would: for the command line."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        monkeypatch.delenv(name)
    settings = workspace.settings
    monkeypatch.setenv("AIRFLOW_HOME", str(settings.home))
    monkeypatch.setenv("AIRFLOW__SYNC_PROVIDER__DEMO", "true")
    monkeypatch.setenv("AIRFLOW__SYNC_PROVIDER__FILES_ROOT", settings.files_root)
    monkeypatch.setenv("AIRFLOW__SYNC_PROVIDER__MAPPINGS_DIR", str(settings.mappings_dir))
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"conn_type": "sqlite", "host": str(workspace.database)}))
