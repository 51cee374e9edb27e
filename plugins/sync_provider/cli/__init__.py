"""The command line, `airflow-sync`: the same engine without Airflow."""

from sync_provider.cli.main import main

__all__ = ["main"]
