"""Links from a task to what it found: its plan, its rejected records, its Great Expectations report. No I/O.

Airflow asks for them in the task's own process as it ends and keeps the address, so the page server needs none of our code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from sync_provider.hooks import ui_path

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class RunPageLink(BaseOperatorLink):
    """Base of our links: ``page`` is the first part of the path below `/synchronisation/`."""

    page = ""
    label = ""

    @property
    def name(self) -> str:
        return self.label

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:  # noqa: ARG002  # Airflow's signature
        """The page of the run that the task worked on; empty if it failed before it knew which."""
        run = getattr(operator, "sync_run", None)
        return ui_path(f"synchronisation/{self.page}/{run}/") if run else ""


class PlanLink(RunPageLink):
    """What the run would change."""

    page = "plan"
    label = "Plan"


class RejectionsLink(RunPageLink):
    """The records the run refused, and why."""

    page = "rejets"
    label = "Rejets"


class ReportLink(RunPageLink):
    """The Great Expectations report of the run."""

    page = "rapport"
    label = "Rapport de validation"
