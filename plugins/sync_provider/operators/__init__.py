"""Our operators, one per phase of a run. They are what generated DAGs are made of, and may be used in any DAG."""

from sync_provider.operators.approve import ApprovePlanOperator
from sync_provider.operators.base import SyncOperator
from sync_provider.operators.phases import (
    ApplyOperator,
    BackupOperator,
    ExtractOperator,
    FileExtractOperator,
    FileLoadOperator,
    LoadOperator,
    PlanOperator,
    ReportOperator,
    SheetsExtractOperator,
    SheetsLoadOperator,
    SnapshotOperator,
    SqlExtractOperator,
    SqlLoadOperator,
    ValidateOperator,
)
from sync_provider.operators.upkeep import UpkeepOperator

__all__ = [
    "ApplyOperator",
    "ApprovePlanOperator",
    "BackupOperator",
    "ExtractOperator",
    "FileExtractOperator",
    "FileLoadOperator",
    "LoadOperator",
    "PlanOperator",
    "ReportOperator",
    "SheetsExtractOperator",
    "SheetsLoadOperator",
    "SnapshotOperator",
    "SqlExtractOperator",
    "SqlLoadOperator",
    "SyncOperator",
    "UpkeepOperator",
    "ValidateOperator",
]
