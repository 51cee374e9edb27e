"""Last phase: one ledger transaction closes the run and moves the cursor."""

from __future__ import annotations

import logging
from typing import Any

from sync_provider.connectors.base import SourceFile
from sync_provider.core.errors import SyncValidationError
from sync_provider.core.report import Counters
from sync_provider.engine.phases import boundary, rejects_tab, tracking
from sync_provider.engine.phases.backup import prune
from sync_provider.engine.run import RunContext, phase

log = logging.getLogger(__name__)


def report(ctx: RunContext) -> dict[str, Any]:
    """Close the run: counters, state, cursor, files read, all at once.

    Returns:
        The run's `Counters`, and ``state``.

    Raises:
        SyncValidationError: records were rejected and ``validation.on_partial`` is ``fail``; the run is closed all the
            same.
    """
    ledger, mapping = ctx.env.ledger, ctx.mapping
    with phase(ctx, "report") as result:
        extracted, validated, planned = (ctx.artifact(name) for name in ("extract", "validate", "plan"))
        loaded = _loaded(ctx)
        counters = _count(extracted, validated, planned, loaded)
        if not counters.balanced:
            # Every record read must be in exactly one count; anything else is a fault of ours that people must see.
            log.error("the counts do not add up: %s", counters.as_dict())
        settled = not ctx.params.dry_run and not counters.deferred
        told = {**counters.as_dict(), **({"source_unchanged": 1} if extracted.get("source_unchanged") else {})}
        # What was refused may be taken next time, of the same source: only a run without a remainder spares others.
        complete = extracted.get("source_unchanged") or (settled and not counters.rejected)
        state = "partial" if counters.rejected or (counters.deferred and not ctx.params.dry_run) else "succeeded"
        rejects_tab.update(ctx, extracted)
        ledger.runs.finish(
            ctx.id,
            state,
            counters=told,
            error=None,
            event=f"run.{state}",
            # A deferred record must be read again: the cursor may not pass it.
            cursor=(mapping.id, extracted["cursor"], _cursor_type(ctx)) if settled and extracted["cursor"] else None,
            files=[SourceFile(name=n, sha256=s, size_bytes=b) for n, s, b in extracted["files"]] if settled else [],
            baselines=_baselines(ctx, extracted, settled),
            replayed=extracted["replays"] if settled else [],
            source_token=extracted.get("version") if complete else None,
        )
        prune(ctx)
        result.counters = {**told, "state": state}
    if counters.rejected and mapping.validation.on_partial == "fail":
        raise SyncValidationError(
            f"{counters.rejected} of {counters.read} records were rejected, and validation.on_partial is fail",
            hint=f"The other records are written. See airflow-sync rejects list {mapping.id}.",
            code="partial",
        )
    return result.counters


def _loaded(ctx: RunContext) -> dict[str, int]:
    if ctx.params.dry_run:
        return {}
    row = ctx.env.ledger.runs.phase(ctx.id, "load")
    ctx.artifact("load")
    return dict(row.counters) if row else {}


def _count(
    extracted: dict[str, Any], validated: dict[str, Any], planned: dict[str, Any], loaded: dict[str, int]
) -> Counters:
    """The run's counters; a dry run counts what it would have written as deferred, and any run the rows that wait for an id."""
    return Counters(
        read=extracted["read"],
        unchanged=extracted["unchanged"] + (planned["unchanged"] or 0) + loaded.get("unchanged", 0),
        inserted=loaded.get("inserted", 0),
        updated=loaded.get("updated", 0),
        deleted=loaded.get("deleted", 0),
        rejected=validated["rejected"] + planned["rejected"] + loaded.get("rejected", 0),
        filtered=extracted["filtered"],
        deferred=(loaded["deferred"] if loaded else planned["writes"]) + extracted["without_id"],
    )


def _cursor_type(ctx: RunContext) -> str:
    incremental = ctx.mapping.incremental
    assert incremental is not None
    return next(f.type for f in ctx.mapping.fields if f.destination == incremental.cursor)


def _baselines(ctx: RunContext, extracted: dict[str, Any], settled: bool) -> dict[str, str]:
    """Pointers to move in the same transaction: name → path in the store."""
    moved: dict[str, str] = {}
    if ctx.params.dry_run:
        return moved
    tracked = ctx.artifact("load").get("tracked")
    if tracked:
        moved[tracking.pointer(ctx.mapping.id)] = tracked
    if settled and extracted["boundary"]:
        moved[boundary.pointer(ctx.mapping.id)] = extracted["boundary"]
    return moved
