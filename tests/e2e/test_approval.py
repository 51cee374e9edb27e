"""A two-way run that a guard stops: who may answer Airflow's question, what happens to the answers of others, and what is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from integration_steps import Integration, integration

from local.api import Api, ApiError

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

ALL = tuple(f"{code},{code}0,2025-01-01T00:00:00Z" for code in range(1, 7))


class Question:
    """What `approve` asks in Airflow's Required Actions about one run."""

    def __init__(self, work: Integration, run_id: str) -> None:
        self._work, self.run_id = work, run_id

    def open(self) -> dict[str, Any] | None:
        """The question as Airflow's page gets it; None while none is open."""
        return self._work.airflow.question(self._work.api, self._work.dag_id, self.run_id, "approve")

    def wait(self) -> dict[str, Any]:
        """Wait until it is open."""
        asked: dict[str, Any] = {}

        def is_open() -> bool:
            asked.update(self.open() or {})
            return bool(asked)

        assert self._work.airflow.wait_until(is_open, timeout_s=180)
        return asked

    def answer(self, api: Api) -> int:
        """Say yes; returns Airflow's status."""
        try:
            api.answer(self._work.dag_id, self.run_id, "approve", "Approve")
        except ApiError as error:
            return error.status
        return 200

    def forget_who_may_answer(self) -> None:
        """Have Airflow itself let everybody answer, as it does where no users are assigned."""
        with closing(sqlite3.connect(self._work.airflow.home.path / "airflow.db", timeout=30)) as database, database:
            database.execute("UPDATE hitl_detail SET assignees = '[]'")

    def answer_until(self, api: Api, done: Callable[[], bool], *, whoever: bool = False) -> None:
        """Say yes each time that it is open, until something is so."""

        def step() -> bool:
            if done():
                return True
            if self.open():
                if whoever:
                    self.forget_who_may_answer()
                self.answer(api)
            return False

        assert self._work.airflow.wait_until(step, timeout_s=180)

    def decisions(self) -> list[tuple[str, str]]:
        """Actor and action of what the audit holds about its answers."""
        with self._work.bookkeeping() as environment:
            (run,) = (
                r for r in environment.ledger.runs.list(mapping_id=self._work.id) if r.airflow_run_id == self.run_id
            )
            entries = list(environment.ledger.audit.list(subject=run.id))
        return [(entry.actor, entry.action) for entry in entries if entry.action.startswith("plan.")]


@pytest.fixture(scope="module")
def story(airflow) -> Iterator[SimpleNamespace]:
    """Six records in step, five of them gone from the file: asked, answered by others, and then by the administrateur."""
    with integration(airflow, "approving", *ALL, mode="bidirectional", more="deletes: propagate") as work:
        work.run()
        told = SimpleNamespace(first=work.rows())
        work.write(ALL[0])
        question = Question(work, work.api.trigger(work.dag_id))
        told.asked = question.wait()
        somebody = airflow.login("operateur")
        told.refused_by_airflow = question.answer(somebody)
        question.answer_until(somebody, lambda: bool(question.decisions()), whoever=True)
        told.asked_again = question.wait()
        told.while_waiting = work.rows()
        question.answer_until(
            work.api, lambda: work.api.run(work.dag_id, question.run_id)["state"] in ("success", "failed")
        )
        told.ended, told.rows, told.audit = work.wait(question.run_id), work.rows(), question.decisions()
        yield told


def test_an_approver_is_asked_with_the_numbers_of_both_sides(story):
    assert len(story.first) == 6
    assert [user["id"] for user in story.asked["assigned_users"]] == ["administrateur"]
    assert "| Suppressions | 0 | 5 |" in story.asked["body"]


def test_airflow_refuses_the_answer_of_anybody_else(story):
    assert story.refused_by_airflow == 403


def test_an_answer_that_airflow_took_from_somebody_else_is_audited_and_the_question_asked_again(story):
    assert story.audit[0] == ("operateur", "plan.answer_refused")
    assert story.asked_again["body"] == story.asked["body"]
    assert story.while_waiting == story.first


def test_the_approvers_yes_lets_exactly_that_plan_be_written(story):
    assert story.ended == ["success"]
    assert story.audit[-1] == ("administrateur", "plan.approved")
    assert story.rows == {"1": 10}
