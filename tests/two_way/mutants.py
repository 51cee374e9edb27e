"""Engines that do the same in a wrong order. All of them converge, and running twice changes nothing: only lost values betray them.

Each changes how a world's runs apply a plan, for as long as its context is open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from sync_provider.connectors.base import OLD, OP
from sync_provider.engine.bidirectional import apply
from sync_provider.engine.bidirectional.baseline import pointer
from sync_provider.engine.ledger.conflicts import Conflicts
from two_way.oracle import Oracle
from two_way.sides import MAPPED
from two_way.world import World

Mutant = Callable[[World], AbstractContextManager[None]]
_Application = apply._Application


@contextmanager
def no_compare(world: World) -> Iterator[None]:
    """Write over whatever stands there at the last moment."""
    followed = _Application._followed

    def blind(application: Any, side: str, first: pa.RecordBatch, rest: Any) -> Iterator[pa.RecordBatch]:
        for batch in followed(application, side, first, rest):
            held = world.sides[side].by_key()
            rows = []
            for row in batch.to_pylist():
                now = held.get(row["code"] or row[OLD + "code"])
                if row[OP] != "delete":
                    row[OP] = "update" if now else "insert"
                if now or row[OP] == "insert":
                    rows.append(row | {OLD + name: now[name] if now else None for name in MAPPED})
            yield pa.RecordBatch.from_pylist(rows, schema=batch.schema)

    with patch.object(_Application, "_followed", blind):
        yield


@contextmanager
def base_first(_: World) -> Iterator[None]:
    """Remember what both sides agree on before they do."""
    write = _Application._write

    def early(application: Any, *args: Any) -> Any:
        ctx = application._ctx
        if path := application._advance({}):
            read = ctx.env.ledger.runs.phase(ctx.id, "snapshot_source")
            with ctx.env.ledger._database.write() as connection:
                ctx.env.ledger.baselines.move(
                    connection, pointer(ctx.mapping.id), path, run_id=ctx.id, read_number=read.number
                )
        return write(application, *args)

    # The oracle would see a baseline ahead of the data at once; here the lost values have to be seen.
    with patch.object(_Application, "_write", early), patch.object(Oracle, "check_base", lambda *_: None):
        yield


@contextmanager
def log_last(_: World) -> Iterator[None]:
    """Record conflicts when their losers are overwritten already."""
    write, record = _Application._write, Conflicts.record

    def late(application: Any, *args: Any) -> Any:
        with patch.object(Conflicts, "record", lambda *_: 0):
            done = write(application, *args)
        ctx = application._ctx
        record(ctx.env.ledger.conflicts, ctx.mapping.id, ctx.id, application.conflicts())
        return done

    with patch.object(_Application, "_write", late):
        yield


def both(one: Mutant, two: Mutant) -> Mutant:
    @contextmanager
    def changed(world: World) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(one(world))
            stack.enter_context(two(world))
            yield

    return changed


MUTANTS: dict[str, Mutant] = {
    "no compare": no_compare,
    "base first": base_first,
    "base first, no compare": both(base_first, no_compare),
    "log last": log_last,
    "log last, no compare": both(log_last, no_compare),
}
