"""The task that asks a person, and only when a guard tripped."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.hitl import ApprovalOperator

from sync_provider import hooks
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

    Who may answer is `[sync_provider] approvers`. Airflow refuses the others; should it not, their answer is audited here, and the
    question is asked again for the rest of the time.

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
        """Return if there is nothing to ask, else ask; Airflow resumes with `execute_complete`."""
        from sync_provider.engine.phases.approve import trips

        with LogGroup(self.phase), self.running(context) as run:
            tripped = trips(run)
            if tripped and not run.params.dry_run:
                self.body = question(run, tripped)
                self.assigned_users = approvers(run.env.settings.approvers) or None
        if self.body is None:
            log.info("approve: nothing to ask")
            return {"tripped": len(tripped)}
        for trip in tripped:
            log.warning("Guard %s: %s", trip.guard, trip.message)
        super().execute(context)
        raise AssertionError("Airflow's operator waits by raising")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take the answer: who gave it, may they, and what is it.

        Raises:
            SyncValidationError: nobody answered in time, someone who may not answered, or the answer was no.
        """
        from sync_provider.engine.phases.approve import approve
        from sync_provider.engine.run import phase

        with LogGroup(self.phase), self.running(context) as run:
            user = event.get("responded_by_user") or {}
            if problem := self._unanswered(event, user, approvers(run.env.settings.approvers)):
                if problem.code == "approval_refused" and self._ask_again(run, user):
                    self.execute(context)
                with phase(run, "approve"):
                    raise problem
            return approve(run, actor=str(user["name"]), approved=event["chosen_options"] == [self.APPROVE])

    def _ask_again(self, run: RunContext, user: dict[str, Any]) -> bool:
        """Audit the answer of somebody who may not give one; whether there is time left to wait for somebody who may."""
        run.env.ledger.audit.append(
            actor=str(user.get("name", "nobody")), action="plan.answer_refused", subject=run.id, before=None, after=None
        )
        if self.response_timeout is None:
            return True
        planned = run.env.ledger.runs.phase(run.id, "plan")
        since = planned.finished_at if planned else None
        left = self.response_timeout - (run.env.clock.now() - since) if since else self.response_timeout
        if left <= timedelta(0):
            return False
        log.warning("The answer of somebody who may not approve is refused; waiting for another")
        self.response_timeout = left
        return True

    def _unanswered(
        self, event: dict[str, Any], user: dict[str, Any], allowed: list[HITLUser]
    ) -> SyncValidationError | None:
        if "error" in event:
            waited = f"within {self.response_timeout}" if self.response_timeout else "in time"
            return SyncValidationError(
                f"nobody approved the plan {waited}; nothing was written",
                hint="Clear this task to ask again.",
                code="approval_missing",
            )
        if not user or (allowed and str(user["id"]) not in {one["id"] for one in allowed}):
            return SyncValidationError(
                f"{user.get('name', 'nobody')} may not approve; nothing was written",
                hint="[sync_provider] approvers names who may.",
                code="approval_refused",
            )
        return None


def approvers(names: tuple[str, ...]) -> list[HITLUser]:
    """Airflow's users behind `[sync_provider] approvers`: ``name``, or ``id:name`` where the two differ (FAB).

    >>> approvers(("marie", "7:paul"))
    [{'id': 'marie', 'name': 'marie'}, {'id': '7', 'name': 'paul'}]
    """
    parts = [entry.partition(":") for entry in names]
    return [{"id": before, "name": after or before} for before, _, after in parts]


def question(run: RunContext, tripped: list[Trip]) -> str:
    """What the approver reads, in Markdown: the guards that tripped and the plan's numbers, never a record."""
    plan = run.artifact("plan")
    labels = [("Ajouts", "inserts"), ("Modifications", "updates"), ("Suppressions", "deletes")]
    labels += [("Conflits ouverts", "open")] if run.mapping.two_way else [("Inchangés", "unchanged")]
    rows = "".join(f"| {label} | {'inconnu' if plan.get(name) is None else plan[name]} |\n" for label, name in labels)
    reasons = "".join(f"- **{trip.guard}** : {trip.message}\n" for trip in tripped)
    page = hooks.ui_path(f"synchronisation/plan/{run.id}/")
    return f"**{run.mapping.id}**\n\n{reasons}\n| | |\n|---|--:|\n{rows}\n[Voir le plan]({page})\n"
