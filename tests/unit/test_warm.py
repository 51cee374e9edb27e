from __future__ import annotations

import sys

import pytest
from sync_provider.warm import warm_up


@pytest.mark.parametrize("command", ["dag-processor", "api-server", "triggerer", "tasks", "db", "celery", "standalone"])
def test_only_processes_that_fork_workers_are_warmed(command):
    before = set(sys.modules)
    assert warm_up(["airflow", command, "scheduler"]) is False
    assert set(sys.modules) == before
