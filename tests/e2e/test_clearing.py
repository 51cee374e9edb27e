"""Tasks and runs cleared through Airflow: nothing is done twice, and nothing goes back."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from integration_steps import Integration, integration

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

FROM_EXTRACT = "clear the run from its extract task on"
BEFORE_LOAD = ("extract", "validate", "plan", "approve", "backup")


def seen(work: Integration, run_id: str) -> SimpleNamespace:
    """What a run has told, and what it has left behind."""
    return SimpleNamespace(
        load=work.counters(run_id, "load"),
        report=work.counters(run_id, "report"),
        tries=work.tries(run_id, "load"),
        rows=work.rows(),
        cursor=work.cursor(),
    )


@pytest.fixture(scope="module")
def story(airflow) -> Iterator[dict[str, Any]]:
    """An old and a new run, and then the old one cleared in every way; what was seen at each step."""
    cursor = "incremental: {cursor: at}"
    with integration(
        airflow, "clearing", "1,10,2025-01-01T00:00:00Z", "2,20,2025-01-02T00:00:00Z", more=cursor
    ) as work:
        old = work.run()
        told: dict[str, Any] = {"old": seen(work, old)}
        work.write("1,11,2025-01-03T00:00:00Z", "2,20,2025-01-02T00:00:00Z", "3,30,2025-01-04T00:00:00Z")
        new = work.run()
        told["new"] = seen(work, new)

        work.clear(old, "load")
        work.clear(new, "load")
        told["load cleared"] = work.wait(old, new)
        told["old again"], told["new again"] = seen(work, old), seen(work, new)

        work.clear(old, "plan")
        told["plan cleared"] = work.wait(old)
        told["old planned again"] = seen(work, old)

        work.write("1,12,2025-01-05T00:00:00Z")
        work.clear(old, *BEFORE_LOAD, downstream=False)
        assert work.wait(old) == ["success"]
        assert work.forget_staging(old) > 0
        work.clear(old, "load")
        told["staging gone"] = work.wait(old)
        told["last line"] = work.last_words(old, "load", FROM_EXTRACT)
        told["rows without staging"] = work.rows()

        work.clear(old, "extract")
        told["extract cleared"] = work.wait(old)
        told["old read again"] = seen(work, old)
        yield told


def test_a_cleared_load_does_nothing_and_tells_the_same_again(story):
    assert story["load cleared"] == ["success", "success"]
    for before, after in ((story["old"], story["old again"]), (story["new"], story["new again"])):
        assert (before.tries, after.tries) == (1, 2)
        assert (after.load, after.report) == (before.load, before.report)
    assert story["new"].load == {
        "inserted": 1,
        "updated": 1,
        "deleted": 0,
        "unchanged": 0,
        "deferred": 0,
        "rejected": 0,
    }


def test_a_cleared_load_of_an_old_run_leaves_newer_data_and_the_cursor(story):
    assert story["old again"].rows == story["new"].rows == {"1": 11, "2": 20, "3": 30}
    assert story["old"].cursor < story["new"].cursor == story["old again"].cursor


def test_an_old_run_cleared_from_its_plan_on_leaves_newer_data_and_the_cursor(story):
    after = story["old planned again"]
    assert story["plan cleared"] == ["success"]
    assert (after.load["updated"], after.load["deferred"]) == (0, 1)
    assert after.report["state"] == "partial"
    assert (after.rows, after.cursor) == (story["new"].rows, story["new"].cursor)


def test_a_load_whose_staged_records_are_gone_says_to_clear_from_extract(story):
    assert story["staging gone"] == ["failed"]
    assert FROM_EXTRACT in story["last line"]
    assert story["rows without staging"] == story["new"].rows


def test_an_old_run_cleared_from_extract_reads_the_data_of_today(story):
    after = story["old read again"]
    assert story["extract cleared"] == ["success"]
    assert after.rows == {"1": 12, "2": 20, "3": 30}
    assert after.report["state"] == "succeeded"
    assert after.cursor.startswith("2025-01-05")
