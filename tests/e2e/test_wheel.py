"""The wheel in an Airflow that knows nothing of this clone: README's second path, from `pip install` to a run that succeeds.

The second environment borrows every installed package of this one except our own, so that nothing is downloaded.
"""

from __future__ import annotations

import ast
import csv
import email
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import zipfile
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

REPO = Path(__file__).resolve().parents[2]
PACKAGE = REPO / "plugins" / "sync_provider"
OURS = ("__editable__", "sync_provider", "__pycache__")
HEAVY = ("pandas", "great_expectations", "duckdb", "pyarrow", "openpyxl", "googleapiclient", "fastapi")

# Several commands in one process: Airflow's start is most of what each of them costs.
COMMANDS = """
import contextlib, io, json, sys
from airflow.cli.cli_parser import get_parser
answers = []
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):  # 1 if there are import errors
        arguments = get_parser().parse_args(line.split())
        arguments.func(arguments)
    answers.append(out.getvalue())
print(json.dumps(answers))
"""

PLUGINS = """
import json, sys
from airflow import plugins_manager
plugins, errors = plugins_manager._get_plugins()
ours = [plugin for plugin in plugins if plugin.name == "sync_provider"]
print(json.dumps([len(ours), errors, sorted(set(sys.modules) & set(json.loads(sys.argv[1]))), sys.modules[type(ours[0]).__module__].__file__]))
"""

MAPPING = """\
version: 1
id: clients
mode: import
source: {type: csv, connection: fichiers, path: clients.csv}
destination: {type: sql, connection: entrepot, table: clients}
key: [code]
fields:
  - {source: Code, destination: code}
  - {source: Ville, destination: ville}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built without a package index from a copy: a build in the clone would leave its folders there."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPO / name, source)
    shutil.copytree(REPO / "plugins", source / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tests", "local"):
        (source / name).mkdir()
        shutil.copy(REPO / "local" / "__init__.py", source / name)
    target = tmp_path_factory.mktemp("dist")
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        *["--no-deps", "--no-build-isolation", "--no-index", "-q", "-w"],
        target,
        source,
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def second(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """An Airflow of its own with the wheel installed, README's DAG file, and one mapping from CSV to SQLite."""
    root = tmp_path_factory.mktemp("second")
    run(sys.executable, "-m", "venv", "--without-pip", root / "venv")
    python = root / "venv" / "bin" / "python"
    there = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(OURS):
            (there / entry.name).symlink_to(entry)
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel)

    project = root / "project"
    for name in ("dags", "include/mappings", "files"):
        (project / name).mkdir(parents=True)
    (project / "include" / "mappings" / "clients.yaml").write_text(MAPPING, encoding="utf-8")
    with (project / "files" / "clients.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Code", "Ville"), ("001", "Lyon"), ("002", "Brest")])
    for name, text in dag_files_of_readme().items():
        (project / "dags" / name).write_text(text, encoding="utf-8")

    unset = ("AIRFLOW", "PYTHON", "PYTEST", "COV", "FSSPEC")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(unset)} | {
        "AIRFLOW_HOME": str(root / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW_CONN_FICHIERS": json.dumps({"conn_type": "fs", "extra": {"path": str(project / "files")}}),
        "AIRFLOW_CONN_ENTREPOT": json.dumps({"conn_type": "sqlite", "host": str(root / "entrepot.db")}),
    }
    (root / "entrepot.db").touch()
    key = run(python.with_name("airflow-sync"), "keys", "new", env=environ).strip()
    environ["AIRFLOW__SYNC_PROVIDER__ENCRYPTION_KEYS"] = key
    made = SimpleNamespace(python=python, env=environ, project=project, packages=there, database=root / "entrepot.db")
    run(python, "-P", "-m", "airflow", "db", "migrate", env=environ)
    return made


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def airflow(second: SimpleNamespace, *lines: str) -> list[str]:
    """What each of these commands prints."""
    answers: list[str] = json.loads(
        run(second.python, "-P", "-c", COMMANDS, json.dumps(lines), env=second.env).splitlines()[-1]
    )
    return answers


def rows(answer: str) -> list[dict[str, Any]]:
    """The rows of a command with ``--output json``; an empty answer is a sentence instead."""
    last = answer.strip().splitlines()[-1]
    return json.loads(last) if last.startswith("[") else []


def dag_files_of_readme() -> dict[str, str]:
    """The DAG files that README tells to write, by the name in their first line."""
    text = (REPO / "README.md").read_text(encoding="utf-8").partition("## Into an Airflow you already have")[2]
    blocks = re.findall(r"^```python\n(# dags/(\w+\.py).*?)^```", text.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    return {name: block for block, name in blocks}


def parsed(second: SimpleNamespace) -> tuple[list[str], list[dict[str, Any]]]:
    """The ids of the DAGs and the import errors that Airflow keeps after reading the DAG folder."""
    _, dags, errors = airflow(
        second, "dags reserialize", "dags list --output json", "dags list-import-errors --output json"
    )
    return [dag["dag_id"] for dag in rows(dags)], rows(errors)


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert held == files
    assert {Path(name).suffix for name in held} >= {"", ".py", ".html", ".css", ".mako", ".typed"} - {"", ".typed"}
    assert "sync_provider/py.typed" in held


def test_the_metadata_names_version_pythons_and_every_entry_point(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        about = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        points = ConfigParser()
        points.read_string(archive.read(f"{folder}/entry_points.txt").decode())
    assert (about["Name"], about["Requires-Python"]) == ("sync-provider", "<3.14,>=3.11")
    version = re.search(r'__version__ = "(.+)"', (PACKAGE / "__init__.py").read_text())
    assert version
    assert about["Version"] == version[1]
    assert {name: dict(points[name]) for name in points.sections()} == {
        "airflow.plugins": {"sync_provider": "sync_provider.web.plugin:SyncPlugin"},
        "apache_airflow_provider": {"provider_info": "sync_provider.provider_info:get_provider_info"},
        "console_scripts": {"airflow-sync": "sync_provider.cli:main"},
        "pytest11": {"sync_provider": "sync_provider.testing"},
    }


def test_whatever_the_package_imports_comes_with_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = email.message_from_bytes(archive.read(metadata))
        sources = [archive.read(name) for name in archive.namelist() if name.endswith(".py")]
    required = {canonicalize_name(Requirement(text).name) for text in about.get_all("Requires-Dist", [])}
    # These are parts of what is required, or there when they are used: Airflow's own, pydantic's, a user's pytest.
    required |= {"fastapi", "starlette", "jinja2", "pendulum", "pydantic-core", "pytest"}
    imported = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    homes = packages_distributions()
    strangers = imported - sys.stdlib_module_names - {"sync_provider"}
    missing = {
        name for name in strangers if not {canonicalize_name(home) for home in homes.get(name, ())} & required
    } - {"airflow"}
    assert missing == set()
    assert "apache-airflow" in required


def test_the_second_environment_is_consistent_and_does_not_see_this_clone(second):
    assert run(second.python, "-m", "pip", "check", env=second.env).strip() == "No broken requirements found."
    where = run(second.python, "-P", "-c", "import sync_provider; print(sync_provider.__file__)", env=second.env)
    assert Path(where.strip()).is_relative_to(second.packages)


def test_airflow_lists_what_the_provider_brings_and_tests_its_connections(second):
    provider, forms, links, notifiers, configs, tested = airflow(
        second,
        "providers get sync-provider --full --output json",
        "providers hooks --output json",
        "providers links --output json",
        "providers notifications --output json",
        "config list --section sync_provider",
        "connections test entrepot",
    )
    (info,) = rows(provider)
    assert info["config"]["sync_provider"]["options"]["encryption_keys"]["sensitive"]
    assert {"sqlite", "postgres", "fs", "google_cloud_platform"} <= {row["connection_type"] for row in rows(forms)}
    ours = {row["extra_link_class_name"] for row in rows(links)}
    assert ours >= {f"sync_provider.links.{name}" for name in ("PlanLink", "RejectionsLink", "ReportLink")}
    assert "sync_provider.alert_mail.AlertMail" in notifiers
    assert "ledger_url" in configs
    assert "Connection success!" in tested


def test_the_plugin_loads_once_and_imports_nothing_heavy(second):
    answer = run(second.python, "-P", "-c", PLUGINS, json.dumps(HEAVY), env=second.env)
    count, errors, heavy, place = json.loads(answer.splitlines()[-1])
    assert (count, errors, heavy) == (1, {}, [])
    assert Path(place).is_relative_to(second.packages)


def test_readmes_dag_files_make_the_dag_and_show_a_broken_mapping_by_file_and_line(second):
    assert parsed(second) == (["sync__clients"], [])
    broken = second.project / "include" / "mappings" / "factures.yaml"
    broken.write_text(MAPPING.replace("id: clients", "id: factures").replace("key:", "keys:"), encoding="utf-8")
    try:
        dags, errors = parsed(second)
    finally:
        broken.unlink()
    assert dags == ["sync__clients"]
    (error,) = errors
    assert "factures.yaml:6:1" in str(error)
    assert parsed(second) == (["sync__clients"], [])


def test_the_mapping_runs_to_success(second):
    run(second.python, "-P", "-m", "airflow", "dags", "test", "sync__clients", env=second.env)
    with sqlite3.connect(second.database) as database:
        written = database.execute("SELECT code, ville FROM clients ORDER BY code").fetchall()
    assert written == [("001", "Lyon"), ("002", "Brest")]
