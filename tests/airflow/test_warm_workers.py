"""What a worker parent has imported, and what it must not have started. Each case is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROBE = """
import json, os, sys, threading

def open_files():
    return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")}

from sync_provider import warm
import airflow.settings
before = open_files() if sys.platform == "linux" else set()
warmed = warm.warm_up(json.loads(sys.argv[1]))
print(json.dumps({
    "warmed": warmed,
    "missing": [name for name in warm.MODULES if name not in sys.modules],
    "python_threads": threading.active_count(),
    "kernel_threads": len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1,
    "opened": sorted(open_files() - before) if sys.platform == "linux" else [],
}))
"""


@pytest.fixture
def probe(tmp_path):
    def run(argv, **variables):
        env = os.environ | {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"} | variables
        done = subprocess.run(
            [sys.executable, "-c", PROBE, json.dumps(argv)],
            env=env,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return json.loads(done.stdout.splitlines()[-1]), done.stderr

    return run


@pytest.mark.airflow
@pytest.mark.parametrize("argv", [["airflow", "scheduler"], ["-m", "scheduler", "--skip-serve-logs"]])
def test_the_scheduler_imports_the_heavy_libraries_and_leaves_no_thread_no_open_file_and_no_warning(probe, argv):
    seen, errors = probe(argv)
    assert seen == {"warmed": True, "missing": [], "python_threads": 1, "kernel_threads": 1, "opened": []}
    assert "Warning" not in errors


@pytest.mark.airflow
def test_a_celery_worker_parent_is_warmed_whatever_the_executor(probe):
    seen, _ = probe(["airflow", "celery", "worker"], AIRFLOW__CORE__EXECUTOR="CeleryExecutor")
    assert (seen["warmed"], seen["missing"], seen["kernel_threads"]) == (True, [], 1)


@pytest.mark.airflow
@pytest.mark.parametrize(
    "variables", [{"AIRFLOW__SYNC_PROVIDER__WARM_WORKERS": "false"}, {"AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"}]
)
def test_the_scheduler_stays_light_when_switched_off_or_when_it_forks_no_task(probe, variables):
    seen, _ = probe(["airflow", "scheduler"], **variables)
    assert not seen["warmed"]
    assert "great_expectations" in seen["missing"]
