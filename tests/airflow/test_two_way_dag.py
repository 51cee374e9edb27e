"""A hand-written two-way DAG, the one of docs/airflow.md: run by Airflow over a real file, a real table and a real ledger."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow_samples import write_mapping
from sync_provider import hooks
from sync_provider.engine.bidirectional import apply as engine_apply
from test_provider import EXAMPLES

START = "Code,Vu\na,2025-01-01T00:00:00Z\nb,2025-01-02T00:00:00Z\n"


class Sides:
    """The example's DAG, and what it keeps in step."""

    def __init__(self, folder: Path, dag: DAG) -> None:
        self.file, self.database, self._dag = folder / "clients.csv", folder / "db.sqlite", dag

    def run(self) -> dict[str, tuple[str, int]]:
        """Run it in this process; returns each task's state and number of tries."""
        dag_run = self._dag.test()
        return {ti.task_id: (str(ti.state), ti.try_number) for ti in dag_run.get_task_instances()}

    def execute(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as database, database:
            return database.execute(sql).fetchall()


@pytest.fixture
def sides(airflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    options = {
        "LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
        "STORE_URL": str(tmp_path / "store"),
        "FILES_ROOT": str(tmp_path),
        "MAPPINGS_DIR": str(airflow_home / "mappings"),
    }
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__SYNC_PROVIDER__{name}", value)
    connections = {"fichiers": ("fs", {"extra": {"path": str(tmp_path)}})}
    connections["entrepot"] = ("sqlite", {"host": str(tmp_path / "db.sqlite")})
    for name, (kind, facts) in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": kind, **facts}))
    mapping = write_mapping(airflow_home / "mappings", "clients", mode="bidirectional", deletes="propagate")
    # Airflow knows only DAGs that it finds in its folder.
    file = airflow_home / "dags" / "clients_in_step.py"
    file.write_text(EXAMPLES[2], encoding="utf-8")
    dag = run_path(str(file))["report"].dag
    made = Sides(tmp_path, dag)
    made.file.write_text(START, encoding="utf-8")
    yield made
    mapping.unlink()
    file.unlink()


def test_it_copies_and_then_carries_edits_both_ways(sides: Sides) -> None:
    assert {state for state, _ in sides.run().values()} == {"success"}
    assert [code for (code,) in sides.execute("SELECT code FROM clients ORDER BY 1")] == ["a", "b"]
    sides.execute("UPDATE clients SET vu = '2030-05-05 10:00:00' WHERE code = 'a'")
    sides.file.write_text(START + "c,2025-01-03T00:00:00Z\n", encoding="utf-8")
    assert {state for state, _ in sides.run().values()} == {"success"}
    assert [code for (code,) in sides.execute("SELECT code FROM clients ORDER BY 1")] == ["a", "b", "c"]
    assert "a,2030-05-05T08:00:00Z" in sides.file.read_text(encoding="utf-8")


def test_a_task_that_is_told_to_stop_between_the_sides_gives_its_leases_back_and_its_next_try_finishes(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, stopped = engine_apply.reached, []

    def stop_once(step: str) -> None:
        reached(step)
        if step == "source_written" and not stopped:
            with hooks.environment() as environment:
                stopped.append(len(environment.ledger.leases.held()))
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        elif step == "conflicts_logged" and stopped:
            with hooks.environment() as environment:
                stopped.append(len(environment.ledger.leases.held()))

    monkeypatch.setattr(engine_apply, "reached", stop_once)
    previous = signal.getsignal(signal.SIGTERM)
    try:
        states = sides.run()
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert states["apply"] == ("success", 2)
    assert stopped == [2, 2]
    assert [code for (code,) in sides.execute("SELECT code FROM clients ORDER BY 1")] == ["a", "b"]
    with hooks.environment() as environment:
        assert environment.ledger.leases.held() == []
