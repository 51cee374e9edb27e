"""One integration of a test's own in the suite's Airflow: a CSV file into a table, moved, looked at and cleared."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sync_provider.engine.connections import resolve_connection
from sync_provider.engine.environment import Environment, open_environment
from sync_provider.engine.settings import load_settings

from local.airflow import LocalAirflow
from local.api import Api

# `run_samples` leaves DAGs with the tag `echec-demo` alone: these are no samples.
MAPPING = """\
version: 1
id: {id}
mode: {mode}
source: {{type: csv, connection: fichiers, path: {id}.csv}}
destination: {{type: sql, connection: entrepot, table: {id}}}
key: [code]
fields:
  - {{source: code, destination: code}}
  - {{source: amount, destination: amount, type: integer}}
  - {{source: at, destination: at, type: timestamp}}
timezone: UTC
airflow: {{tags: [echec-demo], retries: 5, retry_delay: PT1S}}
{more}
"""
ENDED = ("success", "failed")


class Integration:
    """Its file, its table, its runs and its bookkeeping."""

    def __init__(self, airflow: LocalAirflow, mapping_id: str) -> None:
        self.id = mapping_id
        self.dag_id = f"sync__{mapping_id}"
        self.airflow = airflow
        self._include = airflow.project.root / "include"

    @property
    def api(self) -> Api:
        return self.airflow.login()

    @property
    def mapping_file(self) -> Path:
        return self._include / "mappings" / f"{self.id}.yaml"

    def write(self, *records: str) -> None:
        """Replace its source: lines of code, amount, at."""
        lines = "\n".join(("code,amount,at", *records))
        (self._include / "samples" / f"{self.id}.csv").write_text(lines + "\n", encoding="utf-8")

    def rows(self) -> dict[str, int]:
        """What its table holds: code → amount."""
        with closing(sqlite3.connect(self.airflow.home.path / "entrepot.db")) as connection:
            return dict(connection.execute(f"SELECT code, amount FROM {self.id}"))

    @contextmanager
    def bookkeeping(self) -> Iterator[Environment]:
        settings = load_settings(dict(self.airflow.environment))
        with open_environment(settings, lambda name: resolve_connection(name, settings)) as environment:
            yield environment

    def cursor(self) -> str | None:
        with self.bookkeeping() as environment:
            return environment.ledger.cursors.get(self.id)

    def forget_staging(self, airflow_run_id: str) -> int:
        """Remove what a run has staged, as its retention does in time; returns the number of files."""
        with self.bookkeeping() as environment:
            (run,) = [r for r in environment.ledger.runs.list(mapping_id=self.id) if r.airflow_run_id == airflow_run_id]
            return sum(
                environment.store.delete(path) for path in list(environment.store.list(f"staging/{self.id}/{run.id}"))
            )

    def wait(self, *run_ids: str) -> list[str]:
        """Wait until runs have ended; returns their states."""
        api = self.api
        states: list[str] = []

        def ended() -> bool:
            states[:] = [api.run(self.dag_id, run_id)["state"] for run_id in run_ids]
            return all(state in ENDED for state in states)

        assert self.airflow.wait_until(ended, timeout_s=300), states
        return states

    def run(self) -> str:
        """Start a run and wait until it succeeded; returns its id."""
        run_id = self.api.trigger(self.dag_id)
        assert self.wait(run_id) == ["success"]
        return run_id

    def clear(self, run_id: str, *task_ids: str, downstream: bool = True) -> None:
        """Clear tasks of a run as a person does in Airflow."""
        body = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "include_downstream": downstream,
        }
        self.api.request("POST", f"/api/v2/dags/{self.dag_id}/clearTaskInstances", body)

    def counters(self, run_id: str, task_id: str) -> Any:
        return self.api.xcom(self.dag_id, run_id, task_id)

    def tries(self, run_id: str, task_id: str) -> int:
        tasks = self.api.task_instances(self.dag_id, run_id)
        return next(int(task["try_number"]) for task in tasks if task["task_id"] == task_id)

    def last_words(self, run_id: str, task_id: str, awaited: str) -> str:
        """The last line that Airflow's page shows of a task's newest try, which has no line for the ends of groups.

        The log goes on after the task's state is known: for at most a minute, ``awaited`` is waited for.
        """
        api, attempt = self.api, self.tries(run_id, task_id)
        lines: list[str] = []

        def said() -> bool:
            lines[:] = api.log_lines(self.dag_id, run_id, task_id, attempt)
            return any(awaited in line for line in lines)

        self.airflow.wait_until(said, timeout_s=60)
        return [line for line in lines if line != "::endgroup::"][-1]


@contextmanager
def integration(
    airflow: LocalAirflow, mapping_id: str, *records: str, mode: str = "import", more: str = ""
) -> Iterator[Integration]:
    """Write a mapping and its file, and wait until Airflow has its DAG; both are gone afterwards."""
    made = Integration(airflow, mapping_id)
    made.write(*records)
    made.mapping_file.write_text(MAPPING.format(id=mapping_id, mode=mode, more=more), encoding="utf-8")
    try:
        api = airflow.login()
        assert airflow.wait_until(lambda: any(dag["dag_id"] == made.dag_id for dag in api.dags("sync")), timeout_s=120)
        api.unpause(made.dag_id)
        yield made
    finally:
        made.mapping_file.unlink()
