"""Before the load: a verified, encrypted copy of the records about to change."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from sync_provider.core.conflicts import SIDES
from sync_provider.core.errors import SyncDataError
from sync_provider.engine.phases import destination
from sync_provider.engine.phases.approve import check_approved
from sync_provider.engine.phases.unchanged import source_unchanged
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import Staged, stage, unstage
from sync_provider.engine.steps import reached

if TYPE_CHECKING:
    import pyarrow as pa


def folder(mapping_id: str) -> str:
    """Where an integration's backups are, one object per run and side that it writes; run ids sort by time."""
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
        copies = [staged for name, records in _at_stake(ctx) if (staged := _copy(ctx, _path(ctx, name), records))]
        result.counters = {"records": sum(staged.rows for staged in copies)}
        result.artifact = {"copies": [staged.as_dict() for staged in copies]}
        reached("backed_up")
    return result.counters


def _at_stake(ctx: RunContext) -> Iterator[tuple[str, Iterator[pa.RecordBatch]]]:
    """What has to be copied: a name for the copy, and the records.

    Of a plan by key the whole change stream: its old values undo an update or deletion, its keys an insert.
    """
    store = ctx.env.store
    if ctx.mapping.two_way:
        accepted = ctx.artifact("validate")
        for side in SIDES:
            yield f".{side}", unstage(store, accepted[side])
    elif source_unchanged(ctx):
        return
    elif ctx.mapping.write == "replace":
        yield "", destination.whole_records(ctx)
    elif ctx.mapping.write != "append":  # which changes nothing that exists
        yield "", unstage(store, ctx.artifact("plan")["path"])


def _path(ctx: RunContext, name: str) -> str:
    return f"{folder(ctx.mapping.id)}{ctx.id}{name}.parquet"


def prune(ctx: RunContext) -> None:
    """Keep the newest ``backup.keep`` backups of this integration. This run's own has just been verified."""
    paths = ctx.env.store.list(folder(ctx.mapping.id))
    # A run may have left a copy of each side; its id is the first part of their names.
    runs = sorted({path.rpartition("/")[2].partition(".")[0] for path in paths})
    old = frozenset(runs[: -ctx.mapping.backup.keep])
    for path in paths:
        if path.rpartition("/")[2].partition(".")[0] in old:
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
