"""Upkeep of ledger and store: what nobody needs any more goes, so that neither grows for ever."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sync_provider.core.errors import SyncDataError

if TYPE_CHECKING:
    from sync_provider.connectors.base import Clock
    from sync_provider.engine.ledger import Ledger, Run
    from sync_provider.engine.places import StoredFile
    from sync_provider.engine.store import Store

# A run that shows no sign of life for so long is over; one that waits for a person's approval may wait longer.
LOST_AFTER = timedelta(days=2)
UNANSWERED_AFTER = timedelta(days=30)
# A file being written is younger than this.
UNFINISHED_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """What was done.

    Args:
        lost_runs: runs closed as failed, for nothing had happened to them any more.
        staged_files: staged files removed, of runs that ended before the staging retention.
        baseline_files: baselines removed that are no longer current.
        unfinished_files: files removed that crashed writers had left.
        runs: runs removed from the ledger.
        rejections: decided rejections that went with them.
        events: events that went with them.
    """

    lost_runs: int
    staged_files: int
    baseline_files: int
    unfinished_files: int
    runs: int
    rejections: int
    events: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def clean(
    ledger: Ledger, store: Store, clock: Clock, *, staging_retention: timedelta, history_retention: timedelta
) -> Upkeep:
    """Close lost runs, then remove what is older than its retention. Safe at any time, and twice at once.

    Args:
        ledger: the ledger.
        store: the store.
        clock: gives the time.
        staging_retention: how long a finished run can go on from its staged batches.
        history_retention: how long a finished run is known.
    """
    now = clock.now()
    unanswered = {run.id for run in ledger.runs.lost(UNANSWERED_AFTER)}
    lost = [r for r in ledger.runs.lost(LOST_AFTER) if r.id in unanswered or not _may_wait(ledger, r.id)]
    for run in lost:
        error = SyncDataError(
            "The run stopped without a word: its worker was killed or its machine went down",
            hint="Clear it in Airflow, or wait for the next run.",
            code="run_lost",
        )
        ledger.runs.finish(run.id, "failed", error=error.as_dict(), event="run.failed", actor="sync_provider")
    staged = _remove_staged(ledger, store, now - staging_retention)
    baselines = _remove_old_baselines(ledger, store, now - staging_retention)
    purged = ledger.purge(now - history_retention)
    return Upkeep(
        lost_runs=len(lost),
        staged_files=staged,
        baseline_files=baselines,
        unfinished_files=store.remove_unfinished(now - UNFINISHED_AFTER),
        runs=len(purged.run_ids),
        rejections=purged.rejections,
        events=purged.events,
    )


def _may_wait(ledger: Ledger, run_id: str) -> bool:
    """Whether the last that happened was a plan: then a person may have been asked."""
    newest = max(ledger.runs.phases(run_id), key=lambda row: row.number, default=None)
    return newest is not None and newest.phase == "plan" and newest.state == "succeeded"


def _remove_staged(ledger: Ledger, store: Store, before: datetime) -> int:
    """Staged files lie in ``staging/<mapping>/<run>/``; a run's go together, once it has been over for long enough."""
    by_run: dict[str, list[StoredFile]] = defaultdict(list)
    for file in store.files("staging"):
        by_run[file.path.split("/")[-2]].append(file)
    removed = 0
    for run_id, files in by_run.items():
        run = _run(ledger, run_id)
        if run is None:
            # The ledger has forgotten it, or was lost: only the files can tell their age.
            over = all(_older(file, before) for file in files)
        else:
            over = run.finished_at is not None and run.finished_at < before
        if over:
            removed += sum(store.delete(file.path) for file in files)
    return removed


def _remove_old_baselines(ledger: Ledger, store: Store, before: datetime) -> int:
    """Baselines lie in ``baselines/<mapping>/<run>.<what>``; one is current, and those of failed runs may become so."""
    current = {baseline.path for baseline in ledger.baselines.list()}
    removed = 0
    for file in store.files("baselines"):
        if file.path in current or not _older(file, before):
            continue
        run = _run(ledger, file.path.rpartition("/")[2].partition(".")[0])
        if run is None or run.state in ("succeeded", "partial"):
            removed += store.delete(file.path)
    return removed


def _run(ledger: Ledger, run_id: str) -> Run | None:
    try:
        return ledger.runs.get(run_id)
    except SyncDataError as error:
        if error.code != "run_unknown":
            raise
        return None


def _older(file: StoredFile, before: datetime) -> bool:
    return file.modified_at is not None and file.modified_at < before
