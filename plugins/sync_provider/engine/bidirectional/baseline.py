"""What both sides agreed on last: one Parquet file in the store, named by a pointer in the ledger. It only ever follows the data.

It holds, per key, the mapped fields as agreed, `UNAGREED` (fields on which the sides never agreed) and `GONE` + side (since when a record
that is in the baseline has been missing there), and the records' fingerprints, for as long as DuckDB's version makes the same. Its schema's
metadata holds the *shape*: what a baseline is a baseline of.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sync_provider.core.conflicts import SIDES
from sync_provider.core.endpoints import Endpoint
from sync_provider.core.errors import SyncDataError, SyncValidationError
from sync_provider.core.mapping import Mapping
from sync_provider.engine.bidirectional.sides import fingerprints
from sync_provider.engine.fingerprints import comparable, stamped
from sync_provider.engine.run import RunContext
from sync_provider.engine.staging import stage, staged_schema, unstage

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

UNAGREED = "__unagreed"  # string: names joined by a unit separator; null: all agreed
GONE = "__gone_"  # + side: timestamp
NAME_SEPARATOR = "\x1f"
_SHAPE = b"sync_provider.shape"


def pointer(mapping_id: str) -> str:
    """Name under which the ledger keeps the current baseline."""
    return f"{mapping_id}:agreed"


def schema(mapping: Mapping) -> pa.Schema:
    """Schema of a baseline file."""
    import pyarrow as pa

    fields = [(f.destination, f.logical_type.to_arrow()) for f in mapping.fields]
    extra = [(UNAGREED, pa.string()), *((GONE + side, pa.timestamp("us", tz="UTC")) for side in SIDES)]
    return pa.schema([*fields, *extra], metadata={_SHAPE: json.dumps(shape(mapping)).encode()})


def shape(mapping: Mapping) -> dict[str, Any]:
    """What must not change under a baseline: between which ends, of which records, by which key, in which fields."""
    return {
        "source": _identity(mapping.source),
        "destination": _identity(mapping.destination),
        "key": list(mapping.key),
        "filter": mapping.filter,
        "fields": {
            f.destination: [f.source, str(f.logical_type), f.direction, f.to_destination, f.to_source]
            for f in mapping.fields
        },
    }


def _identity(endpoint: Endpoint) -> dict[str, Any]:
    """Which data an endpoint means, without how it is read."""
    names = ("type", "connection", "path", "sheet", "table", "spreadsheet")
    found = {name: value for name in names if (value := getattr(endpoint, name, None)) is not None}
    return json.loads(json.dumps(found, default=lambda model: model.model_dump()))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The baseline that a run compares with.

    Args:
        path: in the store; None: there is none, every record counts as new.
        state: ``kept``; ``first``: there never was one; ``new``: a person asked to begin anew; ``lost``, ``damaged``.
    """

    path: str | None
    state: str

    def records(self, ctx: RunContext) -> Iterator[pa.RecordBatch]:
        """What it holds, always in the same order."""
        if self.path is not None:
            yield from unstage(ctx.env.store, self.path)


def find(ctx: RunContext) -> Baseline:
    """The baseline to compare with. A lost or damaged one is none, and is said to be: then nothing is deleted.

    Raises:
        SyncValidationError: it is one of other data (``baseline_changed``); nothing has been written.
    """
    current = ctx.env.ledger.baselines.get(pointer(ctx.mapping.id))
    if ctx.params.new_baseline:
        return Baseline(None, "new")
    if current is None:
        return Baseline(None, "lost" if _has_synchronised(ctx) else "first")
    try:
        held = staged_schema(ctx.env.store, current.path)
        # Verified as a whole before anything is concluded from a part: a damaged end must not look like missing records.
        ctx.env.store.sha256(current.path)
    except SyncDataError as error:
        state = "lost" if error.code in ("staging_gone", "store_missing") else "damaged"
        log.warning(
            "The baseline %s is %s: this run synchronises cautiously, as a first one; nothing is deleted",
            current.path,
            state,
        )
        return Baseline(None, state)
    _check_shape(ctx.mapping, json.loads((held.metadata or {}).get(_SHAPE, b"{}")))
    return Baseline(current.path, "kept")


def _has_synchronised(ctx: RunContext) -> bool:
    """Whether an earlier run of this integration has agreed on something."""
    runs = ctx.env.ledger.runs.list(mapping_id=ctx.mapping.id)
    return any(
        run.id != ctx.id
        and run.state in ("succeeded", "partial")
        and not run.params.get("dry_run")
        and (run.counters or {}).get("baseline") is not None
        for run in runs
    )


def _check_shape(mapping: Mapping, before: dict[str, Any]) -> None:
    now = json.loads(json.dumps(shape(mapping)))
    changed = [name for name in now if now[name] != before.get(name)]
    if not changed:
        return
    if changed == ["fields"]:
        names = sorted(
            {n for n in {*now["fields"], *before["fields"]} if now["fields"].get(n) != before["fields"].get(n)}
        )
        changed = [f"fields ({', '.join(names)})"]
    raise SyncValidationError(
        f"the mapping's {', '.join(changed)} changed since both sides last agreed: what differs now may be no edit of anybody's. "
        "Nothing was written",
        hint="Undo the change, or start one run with new_baseline (airflow-sync run ID --new-baseline): it begins as a first "
        "run, copies what one side lacks, records unequal records as conflicts, and deletes nothing.",
        code="baseline_changed",
    )


def advance(
    ctx: RunContext, before: Baseline, confirmed: Iterable[pa.RecordBatch], replaced: Any, *, version: str
) -> str:
    """Write the baseline as it is after this run; returns its path. The report moves the pointer to it.

    Args:
        ctx: the run.
        before: the one that the run compared with.
        confirmed: records that both sides hold now, in `schema`.
        replaced: positions (numpy, ascending) in ``before`` of records that ``confirmed`` replaces or that are gone.
        version: tells this plan's file from that of another plan of the same run.
    """
    target = schema(ctx.mapping)
    whole = stamped(target)
    path = f"baselines/{ctx.mapping.id}/{ctx.id}.{version}.agreed.parquet"
    ready = before.path is not None and comparable(staged_schema(ctx.env.store, before.path))
    with fingerprints(ctx.mapping) as marks:

        def records() -> Iterator[pa.RecordBatch]:
            for batch in kept(before.records(ctx), replaced):
                if ready:
                    yield batch.select(whole.names).cast(whole)
                else:
                    yield marks.stamp(batch.select(target.names).cast(target))
            for batch in confirmed:
                yield marks.stamp(batch.select(target.names).cast(target))

        stage(ctx.env.store, path, whole, records())
    return path


def kept(batches: Iterable[pa.RecordBatch], without: Any) -> Iterator[pa.RecordBatch]:
    """The batches but for the records at some positions (numpy, ascending)."""
    import numpy as np
    import pyarrow as pa

    start = 0
    for batch in batches:
        first, last = np.searchsorted(without, [start, start + batch.num_rows])
        if first < last:
            mask = np.ones(batch.num_rows, dtype=bool)
            mask[without[first:last] - start] = False
            yield batch.filter(pa.array(mask))
        else:
            yield batch
        start += batch.num_rows
