"""One operator per phase; extract and load have one per family of endpoints, so that Airflow shows what a task talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset

from sync_provider import notify
from sync_provider.core.conflicts import Side
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


class SheetsExtractOperator(ExtractOperator):
    """`ExtractOperator` for tabs of Google spreadsheets."""


class SnapshotOperator(SyncOperator):
    """Two-way: read one side whole, convert to the mapped types, stage.

    :param side: ``source`` or ``destination``
    """

    ui_color = "#dff3e4"
    operator_extra_links = (RejectionsLink(),)

    def __init__(self, *, side: Side, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side = side
        self.phase = f"snapshot_{side}"  # type: ignore[misc]  # the one operator with two phases


class ValidateOperator(SyncOperator):
    """Check the staged records, or two-way those about to be written, with Great Expectations; the ones that fail go to quarantine."""

    phase: ClassVar[str] = "validate"
    operator_extra_links = (RejectionsLink(), ReportLink())


class PlanOperator(SyncOperator):
    """Compare records with the destination, or both sides with what they agreed on: what would change, and may it."""

    phase: ClassVar[str] = "plan"
    operator_extra_links = (PlanLink(), RejectionsLink())


class BackupOperator(SyncOperator):
    """Copy the records about to change, encrypted, and verify that the copy reads back."""

    phase: ClassVar[str] = "backup"
    writes: ClassVar[bool] = True


class WritingOperator(SyncOperator):
    """What the phases that write the data share."""

    writes: ClassVar[bool] = True
    ui_color = "#fde9d9"
    operator_extra_links = (PlanLink(), RejectionsLink())

    def publish(self, context: Context, counters: dict[str, Any]) -> None:
        """Give the row counts to the asset events, for whoever is scheduled on them."""
        counts = {name: value for name, value in counters.items() if isinstance(value, int)}
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra = {**counts, "sync_run": self.sync_run}


class LoadOperator(WritingOperator):
    """Write exactly what was planned: compare before write, write, read back."""

    phase: ClassVar[str] = "load"


class FileLoadOperator(LoadOperator):
    """`LoadOperator` for CSV and Excel files, which are replaced atomically."""


class SqlLoadOperator(LoadOperator):
    """`LoadOperator` for SQL tables, in transactions."""


class SheetsLoadOperator(LoadOperator):
    """`LoadOperator` for tabs of Google spreadsheets: only cells that differ are written."""


class ApplyOperator(WritingOperator):
    """Two-way: write exactly what was planned to both sides, under leases on both; conflicts are recorded first."""

    phase: ClassVar[str] = "apply"


class ReportOperator(SyncOperator):
    """Close the run in one ledger transaction: cursor, counters, audit, event. Always the last task."""

    phase: ClassVar[str] = "report"
    operator_extra_links = (PlanLink(), RejectionsLink(), ReportLink())

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "none_failed")
        super().__init__(**kwargs)
        self.on_success_callback = [*self.on_success_callback, notify.on_success]
