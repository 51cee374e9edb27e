"""Pay for the heavy imports once per worker parent instead of once per task.

Airflow's LocalExecutor and Celery's prefork pool fork their workers, and each worker forks its tasks: what the parent has
imported, a task finds imported. `warm_up` is meant to be called from ``airflow_local_settings.py``::

    from sync_provider.warm import warm_up

    warm_up()

It leaves no thread and no connection behind: neither would survive the fork.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence

MODULES = (
    "pandas",
    "pyarrow.parquet",
    "pyarrow.csv",
    "duckdb",
    "great_expectations",
    "great_expectations.expectations",
)
"""In the order of import; one that is not installed is left to the task that needs it."""

# Threads that these libraries would start while they are imported, and their switches.
_QUIET = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "GX_ANALYTICS_ENABLED": "False",
}


def warm_up(argv: Sequence[str] | None = None) -> bool:
    """Import the heavy libraries if this process is one that forks workers; returns whether it did.

    Args:
        argv: the process's command line, default its own. At this point of Airflow's start nothing else tells the
            scheduler from the other processes.
    """
    if not _forks_workers(sys.argv if argv is None else argv) or not _enabled():
        return False
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in MODULES:
            try:
                importlib.import_module(name)
            except ImportError:
                continue
    return True


def _forks_workers(argv: Sequence[str]) -> bool:
    words = [word for word in argv[1:] if not word.startswith("-")]
    if words[:2] == ["celery", "worker"]:
        return True
    if words[:1] != ["scheduler"]:
        return False
    from airflow.configuration import conf

    return "LocalExecutor" in conf.get("core", "executor")


def _enabled() -> bool:
    from sync_provider.engine.settings import load_settings

    return load_settings().warm_workers
