"""What Airflow sees of the package: provider, options, plugin, DAG files, and the examples of its documentation."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow_samples import write_mapping
from jsonschema import validate
from sync_provider.engine.settings import OPTIONS
from sync_provider.provider_info import get_provider_info

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = PYTHON_BLOCK.findall((REPOSITORY / "docs" / "airflow.md").read_text(encoding="utf-8"))


def airflow(*arguments: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "airflow", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_provider_fits_airflows_schema_and_names_what_exists():
    import airflow

    info = get_provider_info()
    validate(info, json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text()))
    classes = [*info["extra-links"], *info["notifications"]]
    for path in classes:
        module, _, name = path.rpartition(".")
        assert isinstance(getattr(import_module(module), name), type)
    for group in (*info["operators"], *info["hooks"]):
        for module in group["python-modules"]:
            import_module(module)


def test_every_option_is_declared_with_its_default_and_secrets_as_such():
    declared = get_provider_info()["config"]["sync_provider"]["options"]
    assert list(declared) == [option.name for option in OPTIONS]
    assert {name for name, option in declared.items() if option.get("sensitive")} == {"ledger_url", "encryption_keys"}


def test_airflow_lists_the_provider_and_reads_its_defaults(airflow_home):
    assert "sync-provider" in airflow("providers", "get", "sync-provider")
    value = airflow("config", "get-value", "sync_provider", "ledger_url").splitlines()[-1]
    assert value == f"sqlite:///{airflow_home}/sync/ledger.db"


def test_the_plugin_is_registered_once_and_loads_no_web_framework(airflow_home):
    program = """
        import json, sys
        from airflow import plugins_manager
        plugins, errors = plugins_manager._get_plugins()
        print(json.dumps([[p.name for p in plugins if p.name == "sync_provider"], errors, "fastapi" in sys.modules]))
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", "\n".join(line.strip() for line in program.splitlines())],
        env={**os.environ, "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [["sync_provider"], {}, False]


@pytest.mark.parametrize("name", [path.name for path in sorted((REPOSITORY / "dags").glob("*.py"))])
def test_airflows_safe_mode_reads_our_dag_files(name):
    text = (REPOSITORY / "dags" / name).read_bytes().lower()
    assert b"dag" in text
    assert b"airflow" in text


def test_the_samples_and_the_upkeep_are_dags(airflow_home):
    listed = airflow(
        "dags",
        "list",
        "--local",
        "--output",
        "json",
        AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "dags"),
        AIRFLOW__SYNC_PROVIDER__MAPPINGS_DIR=str(REPOSITORY / "include" / "mappings"),
    )
    found = {one["dag_id"] for one in json.loads(listed.splitlines()[-1])}
    samples = {
        f"sync__{path.stem}" for path in (REPOSITORY / "include" / "mappings").glob("*.yaml") if path.stem[0] != "_"
    }
    assert found == {*samples, "sync_maintenance"}


@pytest.mark.parametrize("example", EXAMPLES, ids=["existing_airflow", "own_dag", "own_two_way_dag"])
def test_the_examples_of_the_documentation_are_dags(example, mappings):
    write_mapping(mappings, "clients")
    namespace = {"__file__": "example.py", "__name__": "example"}
    exec(compile(example.replace("/opt/airflow/include/mappings", str(mappings)), "docs/airflow.md", "exec"), namespace)
    dags = [value for value in namespace.values() if isinstance(value, DAG)]
    dags = dags or [namespace["report"].dag]
    assert [dag.dag_id for dag in dags] in (["sync__clients"], ["clients_and_more"], ["clients_in_step"])
    for dag in dags:
        dag.validate()
        assert "report" in dag.task_dict
