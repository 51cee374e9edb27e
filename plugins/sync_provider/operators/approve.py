"""The task that asks a person, and only when a guard tripped."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from sync_provider import hooks
from sync_provider.core.conflicts import SIDES
from sync_provider.core.errors import SyncValidationError
from sync_provider.links import PlanLink, RejectionsLink
from sync_provider.operators.base import LogGroup, MappingTask, complete

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.execution_time.hitl import HITLUser

    from sync_provider.core.guards import Trip
    from sync_provider.engine.run import RunContext

log = logging.getLogger(__name__)

SUBJECT = "Un garde-fou a arrêté cette synchronisation : faut-il écrire quand même ?"


class ApprovePlanOperator(MappingTask, ApprovalOperator):
    """Wait in Airflow's Required Actions until an approver lets the plan pass; return at once if no guard tripped.

    Who may answer is `[sync_provider] approvers`, see `hooks.approvers`. Airflow refuses the others; should it not, their answer is
    audited here, and the question is asked again for the rest of the time.

    :param mapping_id: the mapping's `id` (templated)
    :param mapping_file: or the path of its YAML file (templated)
    :param response_timeout: how long to wait for an answer; afterwards the run is blocked, and nothing was written
    """

    phase: ClassVar[str] = "approve"
    template_fields = ("mapping_id", "mapping_file")
    ui_color = "#fdf3c4"
    operator_extra_links = (PlanLink(), RejectionsLink())

    def __init__(self, *, mapping_id: str | None = None, mapping_file: str | None = None, **kwargs: Any) -> None:
        super().__init__(subject=SUBJECT, **kwargs)
        complete(self)
        self.mapping_id = mapping_id
        self.mapping_file = mapping_file

    def execute(self, context: Context) -> dict[str, Any]:
        """Return if there is nothing to ask, else ask; Airflow resumes with `execute_complete`.

        Raises:
            SyncValidationError: nobody is named who may approve; the run is blocked.
        """
        from sync_provider.engine.phases.approve import trips
        from sync_provider.engine.run import phase

        with LogGroup(self.phase), self.running(context) as run:
            tripped = trips(run)
            if not tripped or run.params.dry_run:
                log.info("approve: nothing to ask")
                return {"tripped": len(tripped)}
            self.assigned_users = users(hooks.approvers(run.env.settings))
            if not self.assigned_users:
                with phase(run, "approve"):
                    raise SyncValidationError(
                        "a guard tripped, and nobody is named who may approve; nothing was written",
                        hint="Set [sync_provider] approvers and clear this task.",
                        code="approval_missing",
                    )
            self.body = question(run, tripped)
            asked = {"digest": run.artifact("plan")["digest"], "deadline": self._deadline(run)}
        for trip in tripped:
            log.warning("Guard %s: %s", trip.guard, trip.message)
        try:
            super().execute(context)
        except TaskAwaitingInput as waiting:
            waiting.kwargs = {"asked": asked}
            raise
        raise AssertionError("Airflow's operator waits by raising")

    def execute_complete(
        self, context: Context, event: dict[str, Any], asked: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Take the answer: who gave it, may they, and what is it.

        Args:
            context: Airflow's.
            event: the answer, or that there was none.
            asked: digest of the plan that was asked about, and until when to wait.

        Raises:
            SyncValidationError: nobody who may answer did in time, or the answer was no.
        """
        from sync_provider.engine.phases.approve import approve
        from sync_provider.engine.run import phase

        asked = asked or {}
        with LogGroup(self.phase), self.running(context) as run:
            user = event.get("responded_by_user") or {}
            if "error" not in event and not self._may(user, run):
                left = self._refuse(user, run, asked.get("deadline"))
                if left is None or left > timedelta(0):
                    self._wait_again(context, asked, left)
                event = {"error": "timeout"}
            if "error" in event:
                waited = f"within {self.response_timeout}" if self.response_timeout else "in time"
                with phase(run, "approve"):
                    raise SyncValidationError(
                        f"nobody who may approve did {waited}; nothing was written",
                        hint="Clear this task to ask again.",
                        code="approval_missing",
                    )
            if asked.get("digest", digest := run.artifact("plan")["digest"]) != digest:
                with phase(run, "approve"):
                    raise SyncValidationError(
                        f"the plan was made anew before {user['name']} answered; nothing was written",
                        hint="Clear this task to ask about the new one.",
                        code="approval_missing",
                    )
            return approve(run, actor=str(user["name"]), approved=event["chosen_options"] == [self.APPROVE])

    def _deadline(self, run: RunContext) -> str | None:
        return (run.env.clock.now() + self.response_timeout).isoformat() if self.response_timeout else None

    @staticmethod
    def _may(user: dict[str, Any], run: RunContext) -> bool:
        return str(user.get("id", "")) in {one["id"] for one in users(hooks.approvers(run.env.settings))}

    def _refuse(self, user: dict[str, Any], run: RunContext, deadline: str | None) -> timedelta | None:
        """Audit the answer of somebody who may not give one; returns the time left to wait for somebody who may, None: no limit."""
        name = str(user.get("name", "nobody"))
        run.env.ledger.audit.append(
            actor=name,
            action="plan.answer_refused",
            subject=run.id,
            before=None,
            after={"plan": run.artifact("plan")["digest"]},
        )
        log.warning("%s may not approve: [sync_provider] approvers names who may", name)
        return datetime.fromisoformat(deadline) - run.env.clock.now() if deadline else None

    def _wait_again(self, context: Context, asked: dict[str, Any], left: timedelta | None) -> NoReturn:
        """Park the task as it was: Airflow keeps the question and forgets the answer."""
        # Of a question that stands there, Airflow takes none of these; but it demands them.
        upsert_hitl_detail(ti_id=context["task_instance"].id, options=self.options, subject=self.subject, params={})
        log.info("Asked again")
        raise TaskAwaitingInput(method_name="execute_complete", kwargs={"asked": asked}, timeout=left)


def users(names: tuple[str, ...]) -> list[HITLUser]:
    """Airflow's users behind `[sync_provider] approvers`: ``name``, or ``id:name`` where the two differ (FAB).

    >>> users(("marie", "7:paul"))
    [{'id': 'marie', 'name': 'marie'}, {'id': '7', 'name': 'paul'}]
    """
    parts = [entry.partition(":") for entry in names]
    return [{"id": before, "name": after or before} for before, _, after in parts]


def question(run: RunContext, tripped: list[Trip]) -> str:
    """What the approver reads, in Markdown: the guards that tripped and the plan's numbers, never a record."""
    plan = run.artifact("plan")
    labels = {"inserts": "Ajouts", "updates": "Modifications", "deletes": "Suppressions"}
    rest = ""
    if run.mapping.two_way:
        row = run.env.ledger.runs.phase(run.id, "plan")
        counted = row.counters if row else {}
        lines: list[list[Any]] = [["", "À la source", "À destination"], ["---", "--:", "--:"]]
        lines += [[label, *(counted.get(f"{side}_{name}") for side in SIDES)] for name, label in labels.items()]
        rest = f"\nConflits ouverts : {plan['open']}, réglés : {plan['settled']}.\n"
    else:
        lines = [["", ""], ["---", "--:"]]
        lines += [[label, plan.get(name)] for name, label in {**labels, "unchanged": "Inchangés"}.items()]
    numbers = "".join(f"| {' | '.join('inconnu' if n is None else str(n) for n in line)} |\n" for line in lines)
    reasons = "".join(f"- **{trip.guard}** : {trip.message}\n" for trip in tripped)
    page = hooks.ui_path(f"synchronisation/plan/{run.id}/")
    return f"**{run.mapping.id}**\n\n{reasons}\n{numbers}{rest}\n[Voir le plan]({page})\n"
