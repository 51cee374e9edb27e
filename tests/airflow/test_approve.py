"""Asking a person: only when a guard tripped, only those who may answer, and their answer alone counts."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sync_provider.operators.approve
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import TaskAwaitingInput
from sync_provider.core.changes import RunParams
from sync_provider.core.errors import SyncValidationError
from sync_provider.core.guards import Trip
from sync_provider.engine import run as engine_run
from sync_provider.engine.phases import approve as engine_approve
from sync_provider.operators import ApprovePlanOperator

TRIP = Trip(guard="max_deletes", message="9 of 10 records would be deleted {{ 7 * 7 }}")
PLAN = {"digest": "aa", "inserts": 1, "updates": None, "deletes": 9, "unchanged": 0}
COUNTED = {
    **{f"source_{name}": 0 for name in ("inserts", "updates")},
    **{f"destination_{name}": number for name, number in (("inserts", 2), ("updates", 3), ("deletes", 4))},
    "source_deletes": 7,
}
ASKED = {"digest": "aa", "deadline": "2030-01-02T10:00:00+00:00"}


class Desk:
    """A run whose plan tripped, and what was asked and recorded about it."""

    def __init__(self) -> None:
        self.trips = [TRIP]
        self.asked: list[dict[str, Any]] = []
        self.recorded: list[tuple[str, bool]] = []
        self.blocked: list[str] = []
        self.refused: list[str] = []
        self.now = datetime(2030, 1, 1, 12, tzinfo=UTC)
        self.plan: dict[str, Any] = dict(PLAN)
        planned = SimpleNamespace(counters=COUNTED)
        self.run = SimpleNamespace(
            id="01J",
            mapping=SimpleNamespace(id="clients", two_way=False),
            params=RunParams(),
            env=SimpleNamespace(
                settings=SimpleNamespace(approvers=("marie", "7:paul")),
                clock=SimpleNamespace(now=lambda: self.now),
                ledger=SimpleNamespace(
                    runs=SimpleNamespace(phase=lambda _run, _name: planned),
                    audit=SimpleNamespace(append=lambda actor, action, **_: self.refused.append(f"{actor} {action}")),
                ),
            ),
            artifact=lambda _: self.plan,
        )


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()

    def approve(run: Any, *, actor: str, approved: bool) -> dict[str, int]:
        made.recorded.append((actor, approved))
        if not approved:
            raise SyncValidationError(f"{actor} refused", code="approval_refused")
        return {"approved": 1}

    @contextmanager
    def phase(run: Any, name: str) -> Any:
        try:
            yield
        except SyncValidationError as error:
            made.blocked.append(str(error.code))
            raise

    monkeypatch.setattr(engine_approve, "trips", lambda _: made.trips)
    monkeypatch.setattr(engine_approve, "approve", approve)
    monkeypatch.setattr(engine_run, "phase", phase)
    monkeypatch.setattr(ApprovePlanOperator, "running", lambda _self, _context: nullcontext(made.run))
    for module in (hitl, sync_provider.operators.approve):
        monkeypatch.setattr(module, "upsert_hitl_detail", lambda **detail: made.asked.append(detail))
    return made


def task() -> ApprovePlanOperator:
    return ApprovePlanOperator(task_id="approve", mapping_id="clients", response_timeout=timedelta(hours=24))


def ask() -> Any:
    return task().execute.__wrapped__(task(), {"task_instance": SimpleNamespace(id="ti")})


def answer(event: dict[str, Any], asked: dict[str, Any] | None = None) -> Any:
    return task().execute_complete({"task_instance": SimpleNamespace(id="ti")}, event, asked or ASKED)


def reply(user: str, choice: str = "Approve") -> dict[str, Any]:
    return {
        "chosen_options": [choice],
        "params_input": {},
        "responded_at": None,
        "responded_by_user": {"id": user, "name": {"7": "paul"}.get(user, user)},
    }


def test_nobody_is_asked_when_no_guard_tripped(desk):
    desk.trips = []
    assert ask() == {"tripped": 0}
    assert desk.asked == []


def test_nobody_is_asked_in_a_dry_run(desk):
    desk.run.params = RunParams(dry_run=True)
    assert ask() == {"tripped": 1}
    assert desk.asked == []


def test_the_approvers_are_asked_with_the_guards_and_the_numbers(desk):
    with pytest.raises(TaskAwaitingInput) as waiting:
        ask()
    assert waiting.value.kwargs == {"asked": {"digest": "aa", "deadline": "2030-01-02T12:00:00+00:00"}}
    (detail,) = desk.asked
    assert detail["assigned_users"] == [{"id": "marie", "name": "marie"}, {"id": "7", "name": "paul"}]
    assert TRIP.message in detail["body"]
    assert "| Suppressions | 9 |" in detail["body"]
    assert "| Modifications | inconnu |" in detail["body"]
    assert "/synchronisation/plan/01J/" in detail["body"]


def test_the_numbers_of_a_two_way_plan_are_those_of_each_side(desk):
    desk.run.mapping.two_way = True
    desk.plan |= {"open": 5, "settled": 6}
    with pytest.raises(TaskAwaitingInput):
        ask()
    body = desk.asked[0]["body"]
    assert "|  | À la source | À destination |" in body
    assert "| Ajouts | 0 | 2 |" in body
    assert "| Suppressions | 7 | 4 |" in body
    assert "Conflits ouverts : 5, réglés : 6." in body


def test_nobody_is_asked_where_nobody_may_answer(desk, monkeypatch):
    desk.run.env.settings.approvers = ()
    monkeypatch.setenv(
        "AIRFLOW__CORE__AUTH_MANAGER", "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
    )
    with pytest.raises(SyncValidationError, match="nobody is named who may approve"):
        ask()
    assert (desk.asked, desk.blocked) == ([], ["approval_missing"])


@pytest.mark.parametrize(("everyone", "named"), [("False", ["eve", "zoe"]), ("True", ["Anonymous"])])
def test_without_the_option_the_administrators_of_airflows_own_configuration_are_asked(
    desk, monkeypatch, everyone, named
):
    desk.run.env.settings = SimpleNamespace(approvers=(), role_administrateur=("ADMIN",))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "eve:admin, bob:op,ann:viewer,zoe:Admin:red")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", everyone)
    with pytest.raises(TaskAwaitingInput):
        ask()
    assert [user["id"] for user in desk.asked[0]["assigned_users"]] == named
    assert answer(reply(named[0])) == {"approved": 1}
    with pytest.raises(TaskAwaitingInput):
        answer(reply("bob"))


def test_an_approver_lets_the_plan_pass(desk):
    assert answer(reply("marie")) == {"approved": 1}
    assert answer(reply("7")) == {"approved": 1}
    assert desk.recorded == [("marie", True), ("paul", True)]


def test_a_refusal_blocks_the_run(desk):
    with pytest.raises(SyncValidationError, match="marie refused"):
        answer(reply("marie", "Reject"))
    assert desk.recorded == [("marie", False)]


@pytest.mark.parametrize("choice", ["Approve", "Reject"])
@pytest.mark.parametrize("user", ["jean", "paul"])
def test_someone_elses_answer_is_audited_and_the_question_asked_again_for_the_rest_of_the_time(desk, user, choice):
    with pytest.raises(TaskAwaitingInput) as waiting:
        answer(reply(user, choice))
    assert (waiting.value.timeout, waiting.value.kwargs) == (timedelta(hours=22), {"asked": ASKED})
    assert waiting.value.method_name == "execute_complete"
    assert desk.refused == [f"{user} plan.answer_refused"]
    assert len(desk.asked) == 1
    assert desk.recorded == desk.blocked == []


def test_someone_elses_yes_when_the_time_is_over_blocks_the_run(desk):
    desk.now += timedelta(days=1)
    with pytest.raises(SyncValidationError, match="nobody who may approve did within"):
        answer(reply("jean"))
    assert (desk.refused, desk.blocked) == (["jean plan.answer_refused"], ["approval_missing"])


def test_a_question_without_a_limit_is_asked_again_without_one(desk):
    with pytest.raises(TaskAwaitingInput) as waiting:
        answer(reply("jean"), {**ASKED, "deadline": None})
    assert waiting.value.timeout is None


def test_no_answer_in_time_blocks_the_run(desk):
    with pytest.raises(SyncValidationError, match="nobody who may approve did within 1 day"):
        answer({"error": "timeout", "error_type": "timeout"})
    assert desk.blocked == ["approval_missing"]


def test_a_default_that_nobody_gave_is_no_answer(desk):
    with pytest.raises(TaskAwaitingInput):
        answer({**reply("marie"), "responded_by_user": None})
    assert desk.recorded == []


def test_a_yes_to_another_plan_is_no_yes_to_this_one(desk):
    desk.plan["digest"] = "bb"
    with pytest.raises(SyncValidationError, match="the plan was made anew before marie answered"):
        answer(reply("marie"))
    assert (desk.recorded, desk.blocked) == ([], ["approval_missing"])
