"""Airflow's backfill: a slice of the past where there is a cursor, and a refusal in words where there is none."""

from __future__ import annotations

import pytest
from integration_steps import Integration, integration

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]


def backfilled(work: Integration, first: str, last: str) -> list[str]:
    """Backfill from one midnight to another and wait; returns the ids of its runs, oldest slice first."""
    body = {"dag_id": work.dag_id, "from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
    work.api.request("POST", "/api/v2/backfills", body)
    runs = [run for run in work.api.runs(work.dag_id) if run["run_type"] == "backfill"]
    run_ids = [run["dag_run_id"] for run in sorted(runs, key=lambda run: run["logical_date"])]
    work.wait(*run_ids)
    return run_ids


def wait_for_the_first_run(work: Integration) -> None:
    """Once unpaused, a DAG with a schedule has one live run of its own."""
    api = work.api
    assert work.airflow.wait_until(
        lambda: [run["state"] for run in api.runs(work.dag_id)] == ["success"], timeout_s=300
    )


def test_a_backfill_loads_the_slices_asked_for_and_leaves_the_live_cursor(airflow):
    days = [f"{day},{day},2025-01-0{day}T12:00:00Z" for day in range(1, 6)]
    more = 'schedule: "@daily"\nincremental: {cursor: at}'
    with integration(airflow, "backfill_slices", *days, more=more) as work:
        wait_for_the_first_run(work)
        cursor = work.cursor()
        # All five have changed in the past, which the live cursor has left behind.
        work.write(*(f"{day},{day}0,2025-01-0{day}T12:00:00Z" for day in range(1, 6)))
        # Both slices run at once; the one that finds the other writing is tried again.
        run_ids = backfilled(work, "2025-01-02", "2025-01-03")
        assert work.wait(*run_ids) == ["success", "success"]
        assert [work.counters(run_id, "load")["updated"] for run_id in run_ids] == [1, 1]
        assert [work.counters(run_id, "report")["filtered"] for run_id in run_ids] == [4, 4]
        assert work.rows() == {"1": 1, "2": 20, "3": 30, "4": 4, "5": 5}
        assert cursor is not None
        assert work.cursor() == cursor


def test_a_backfill_without_a_cursor_is_refused_in_words(airflow):
    with integration(airflow, "backfill_refused", "1,1,2025-01-01T00:00:00Z", more='schedule: "@daily"') as work:
        wait_for_the_first_run(work)
        (run_id,) = backfilled(work, "2025-01-02", "2025-01-02")
        assert work.wait(run_id) == ["failed"]
        sentence = "a backfill needs a cursor"
        assert sentence in work.last_words(run_id, "extract", sentence)
        assert work.rows() == {"1": 1}
