"""One operator per phase; extract and load have one per family of endpoints, so that Airflow shows what a task talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset

from sync_provider import notify
from sync_provider.links import PlanLink, RejectionsLink, ReportLink
from sync_provider.operators.base import SyncOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ExtractOperator(SyncOperator):
    """Read the source, convert to the mapped types, stage. Records that do not convert are rejected."""

    phase: ClassVar[str] = "extract"
    ui_color = "#dff3e4"
    operator_extra_links = (RejectionsLink(),)


class FileExtractOperator(ExtractOperator):
    """`ExtractOperator` for CSV and Excel files."""


class SqlExtractOperator(ExtractOperator):
    """`ExtractOperator` for SQL tables and queries."""


class ValidateOperator(SyncOperator):
    """Check the staged records with Great Expectations; the ones that fail go to quarantine."""

    phase: ClassVar[str] = "validate"
    operator_extra_links = (RejectionsLink(), ReportLink())


class PlanOperator(SyncOperator):
    """Compare the accepted records with the destination: what would change, and whether a guard objects."""

    phase: ClassVar[str] = "plan"
    operator_extra_links = (PlanLink(), RejectionsLink())


class BackupOperator(SyncOperator):
    """Copy the records about to change, encrypted, and verify that the copy reads back."""

    phase: ClassVar[str] = "backup"
    writes: ClassVar[bool] = True


class LoadOperator(SyncOperator):
    """Write exactly what was planned: compare before write, write, read back."""

    phase: ClassVar[str] = "load"
    writes: ClassVar[bool] = True
    ui_color = "#fde9d9"
    operator_extra_links = (PlanLink(), RejectionsLink())

    def publish(self, context: Context, counters: dict[str, Any]) -> None:
        """Give the row counts to the asset events, for whoever is scheduled on them."""
        counts = {name: value for name, value in counters.items() if isinstance(value, int)}
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = {**counts, "sync_run": self.sync_run}


class FileLoadOperator(LoadOperator):
    """`LoadOperator` for CSV and Excel files, which are replaced atomically."""


class SqlLoadOperator(LoadOperator):
    """`LoadOperator` for SQL tables, in transactions."""


class ReportOperator(SyncOperator):
    """Close the run in one ledger transaction: cursor, counters, audit, event. Always the last task."""

    phase: ClassVar[str] = "report"
    operator_extra_links = (PlanLink(), RejectionsLink(), ReportLink())

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "none_failed")
        super().__init__(**kwargs)
        self.on_success_callback = [*self.on_success_callback, notify.on_success]
