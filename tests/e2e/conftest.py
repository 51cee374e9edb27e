"""One real Airflow for the whole suite, started by the same code as `make run`, on free ports and in a folder of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.airflow import LocalAirflow, running
from local.api import Api
from local.home import Project
from local.signals import Stop

REPO = Path(__file__).resolve().parents[2]
TINY_DAG = Path(__file__).parent / "dags" / "e2e_tiny.py"


@pytest.fixture(scope="session", autouse=True)
def environment_of_its_own() -> Iterator[None]:
    """Leave out what tests/airflow set for an Airflow in this process: the real one would read other mappings."""
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "AIRFLOW__"))]:
            patched.delenv(name)
        yield


@pytest.fixture(scope="session")
def make_project() -> Callable[[Path, bool], Project]:
    """Copies the project's Airflow folders to where a test may change them; with or without its own DAGs and mappings."""

    def make(root: Path, real: bool) -> Project:
        (root / "dags").mkdir(parents=True)
        if real:
            shutil.copytree(REPO / "dags", root / "dags", dirs_exist_ok=True)
            shutil.copytree(REPO / "include", root / "include", ignore=shutil.ignore_patterns("out"))
        shutil.copy(TINY_DAG, root / "dags")
        shutil.copy(REPO / "airflow_settings.yaml", root)
        standard = Project.at(root)
        return Project(root, standard.dags, REPO / "plugins", standard.settings_file, standard.output)

    return make


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path, bool], Project]
) -> Iterator[LocalAirflow]:
    """The suite's Airflow, with the project's own DAGs and mappings and `e2e_tiny`."""
    root = tmp_path_factory.mktemp("project")
    with running(make_project(root, True), root / ".airflow", stop=Stop()) as instance:
        yield instance


@pytest.fixture
def api(airflow: LocalAirflow) -> Api:
    """A session of the suite's administrateur."""
    return airflow.login()
