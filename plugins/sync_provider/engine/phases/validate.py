"""Second phase: Great Expectations on what was staged; failing records go to quarantine, the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from sync_provider.core.errors import SyncValidationError, Where
from sync_provider.core.guards import share
from sync_provider.engine.phases.unchanged import source_unchanged
from sync_provider.engine.quality import Quality, assess
from sync_provider.engine.rejection_spool import RejectionSpool
from sync_provider.engine.run import RunContext, phase
from sync_provider.engine.staging import stage, staged_schema, unstage

if TYPE_CHECKING:
    import pyarrow as pa

REPORT = "quality.html"


def validate(ctx: RunContext) -> dict[str, Any]:
    """Check every rule of the mapping against the staged records.

    Returns:
        Counters checked, accepted, rejected (by extract and validate together), expectations, failed, warnings.

    Raises:
        SyncValidationError: the batch as a whole is refused; nothing has been written.
    """
    store, ledger = ctx.env.store, ctx.env.ledger
    with phase(ctx, "validate") as result:
        extracted = ctx.artifact("extract")
        if source_unchanged(ctx):
            result.counters = dict.fromkeys(
                ("checked", "accepted", "rejected", "expectations", "failed", "warnings"), 0
            )
            result.artifact = {name: extracted[name] for name in ("path", "rows", "digest", "rejected")}
            return result.counters
        quality = assess(
            ctx.mapping,
            lambda columns: unstage(store, extracted["path"], columns),
            rows=extracted["rows"],
            letters=extracted["letters"],
        )
        with store.open_write(ctx.path(REPORT)) as sink:
            sink.write(quality.html.encode())
        with RejectionSpool(store, ctx.path("validate.rejections")) as spool:
            spool.add(quality.rejections)
            spool.commit(ledger, ctx.id, "validate")
        refused = extracted["rejected"] + len(quality.rejected_rows)
        result.counters = {
            "checked": extracted["rows"],
            "accepted": extracted["rows"] - len(quality.rejected_rows),
            "rejected": refused,
            "expectations": quality.expectations,
            "failed": quality.failed,
            "warnings": quality.warnings,
        }
        refuse_batch(ctx, quality, refused=refused, read=extracted["read"])
        accepted = {name: extracted[name] for name in ("path", "rows", "digest")}
        if quality.rejected_rows:
            kept = without(unstage(store, extracted["path"]), quality.rejected_rows)
            schema = staged_schema(store, extracted["path"])
            accepted = stage(store, ctx.path("accepted.parquet"), schema, kept).as_dict()
        result.artifact = {**accepted, "rejected": refused, "report": ctx.path(REPORT)}
    return result.counters


def without(batches: Iterable[pa.RecordBatch], rows: frozenset[int]) -> Iterator[pa.RecordBatch]:
    """The batches without the records at these 0-based positions of the whole."""
    import pyarrow as pa

    start = 0
    for batch in batches:
        mask = [position not in rows for position in range(start, start + batch.num_rows)]
        start += batch.num_rows
        yield batch if all(mask) else batch.filter(pa.array(mask, pa.bool_()))


def refuse_batch(ctx: RunContext, quality: Quality, *, refused: int, read: int) -> None:
    """Stop the run where the mapping says that the batch, or too many of its records, must not pass.

    Raises:
        SyncValidationError: it must not; nothing has been written.
    """
    rules = ctx.mapping.validation
    if quality.batch_failures:
        raise SyncValidationError(
            f"the batch does not meet {'; '.join(quality.batch_failures)}",
            where=Where(field="validation.expectations"),
            hint="Nothing was written. Correct the source or the expectation.",
            code="batch_failed",
        )
    if refused and (rules.atomic or rules.on_failure == "fail"):
        why = "validation.atomic is true" if rules.atomic else "validation.on_failure is fail"
        raise SyncValidationError(
            f"{refused} of {read} records were rejected, and {why}",
            hint="Nothing was written. Correct the rejected records at the source.",
            code="rejected_atomic",
        )
    if refused > share(rules.max_rejected, read):
        raise SyncValidationError(
            f"{refused} of {read} records were rejected, more than validation.max_rejected: {rules.max_rejected}",
            hint="Nothing was written. Correct the source, or allow more.",
            code="too_many_rejected",
        )
