"""Before the load: a verified, encrypted copy of the records about to change."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from sync_provider.core.errors import SyncDataError
from sync_provider.engine.phases import destination
from sync_provider.engine.phases.approve import check_approved
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import Staged, stage, unstage

if TYPE_CHECKING:
    import pyarrow as pa


def folder(mapping_id: str) -> str:
    """Where an integration's backups are, one object per run; run ids sort by time."""
    return f"backups/{mapping_id}/"


def backup(ctx: RunContext) -> dict[str, Any]:
    """Copy what the plan would update, delete or replace, and read the copy back.

    Returns:
        Counter records (in the backup).

    Raises:
        SyncValidationError: a guard stopped the plan and nobody approved it.
        SyncDataError: the copy does not read back as it was written; nothing is loaded then.
    """
    with phase(ctx, "backup") as result:
        check_approved(ctx)
        path = f"{folder(ctx.mapping.id)}{ctx.id}.parquet"
        match ctx.mapping.write:
            case "append":
                staged = None  # nothing that exists changes
            case "replace":
                staged = _copy(ctx, path, destination.whole_records(ctx))
            case _:
                # The whole change stream: its old values undo an update or deletion, its keys an insert.
                staged = _copy(ctx, path, unstage(ctx.env.store, ctx.artifact("plan")["path"]))
        result.counters = {"records": staged.rows if staged else 0}
        result.artifact = staged.as_dict() if staged else {}
    return result.counters


def prune(ctx: RunContext) -> None:
    """Keep the newest ``backup.keep`` backups of this integration. This run's own has just been verified."""
    for path in ctx.env.store.list(folder(ctx.mapping.id))[: -ctx.mapping.backup.keep]:
        ctx.env.store.delete(path)


def _copy(ctx: RunContext, path: str, batches: Iterator[pa.RecordBatch]) -> Staged | None:
    first = next(batches, None)
    if first is None:
        return None
    staged = stage(ctx.env.store, path, first.schema, chain([first], batches))
    verified = sum(batch.num_rows for batch in unstage(ctx.env.store, path))
    if verified != staged.rows:
        raise SyncDataError(
            f"the backup holds {verified} of {staged.rows} records; nothing was written",
            hint="Check the store's disk.",
            code="backup_unverified",
        )
    return staged
