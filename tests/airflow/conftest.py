"""An Airflow of the tests' own: its home and database live in a temporary folder and are made once per process."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HOME = Path(tempfile.mkdtemp(prefix="sync-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

# Airflow reads these when it is first imported, which the tests of this folder do.
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(HOME / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(HOME / "plugins"),
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
    AIRFLOW__SYNC_PROVIDER__DEMO="true",
    AIRFLOW__SYNC_PROVIDER__MAPPINGS_DIR=str(HOME / "mappings"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.airflow)


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """AIRFLOW_HOME with a migrated database, a DAG folder that registers the mappings of ``<home>/mappings``."""
    for name in ("dags", "mappings", "plugins"):
        (HOME / name).mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "dags" / "sync_integrations.py", HOME / "dags")
    subprocess.run([sys.executable, "-P", "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
    return HOME


@pytest.fixture
def mappings(tmp_path: Path) -> Path:
    """An empty folder for mappings."""
    folder = tmp_path / "mappings"
    folder.mkdir()
    return folder
