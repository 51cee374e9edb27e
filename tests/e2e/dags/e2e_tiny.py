"""The smallest Airflow DAG that runs and reports, for tests of the platform itself."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from airflow.sdk import dag, task


@dag(dag_id="e2e_tiny", start_date=datetime(2024, 1, 1, tzinfo=UTC), schedule=None, tags=["e2e"])
def tiny() -> None:
    @task
    def report() -> dict[str, object]:
        logging.getLogger(__name__).info("three records were read")
        return {"read": 3, "warm": "great_expectations" in sys.modules}

    report()


tiny()
