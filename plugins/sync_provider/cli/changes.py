"""The cells that a plan would change, one change after the other, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import OLD, OP
from sync_provider.core.canonical import write_text

if TYPE_CHECKING:
    from sync_provider.engine.run import RunContext

_ROWS = 1_000  # as Python objects at a time


@dataclass(frozen=True, slots=True)
class Change:
    """One record that would be written.

    Args:
        side: where it would be written; its cells and its key go by that side's names.
        op: insert, update or delete.
        key: name → canonical text; empty where the mapping has no key.
        cells: name → (old, new), canonical text or None for null. An update names what differs; an insert and a
            delete name every other field.
    """

    side: str
    op: str
    key: dict[str, str | None]
    cells: dict[str, tuple[str | None, str | None]]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; an insert has no old values, a delete no new ones."""
        sides = {"insert": ("new",), "delete": ("old",)}.get(self.op, ("old", "new"))
        cells = {name: {side: pair[side == "new"] for side in sides} for name, pair in self.cells.items()}
        return {"side": self.side, "op": self.op, "key": self.key, "cells": cells}


def planned_changes(ctx: RunContext) -> Iterator[Change]:
    """The changes of a run whose plan is made, in the order in which they are written; two-way, the source's first.

    Under append and replace each accepted record is an insert: what stands there is not compared.
    """
    mapping = ctx.mapping
    if mapping.two_way:
        accepted = ctx.artifact("validate")
        source_names = [f.source for f in mapping.fields]
        keys = {f.destination: f.source for f in mapping.fields}
        yield from _changes(ctx, "source", accepted["source"], source_names, tuple(keys[name] for name in mapping.key))
        yield from _changes(ctx, "destination", accepted["destination"], list(keys), mapping.key)
    else:
        names = [f.destination for f in mapping.fields]
        yield from _changes(
            ctx,
            "destination",
            ctx.artifact("plan")["path"],
            names,
            mapping.key,
            compared=mapping.write in ("upsert", "mirror"),
        )


def _changes(
    ctx: RunContext, side: str, path: str, names: list[str], key: tuple[str, ...], *, compared: bool = True
) -> Iterator[Change]:
    from sync_provider.engine.staging import unstage

    here = "source" if side == "source" else "destination"
    json_names = {getattr(f, here) for f in ctx.mapping.fields if f.logical_type.kind == "json"}
    columns = [OP, *names, *(OLD + name for name in names)] if compared else names
    for batch in unstage(ctx.env.store, path, columns):
        for start in range(0, batch.num_rows, _ROWS):
            for row in batch.slice(start, _ROWS).to_pylist():
                yield _change(side, row, names, key, json_names)


def _change(side: str, row: dict[str, Any], names: list[str], key: tuple[str, ...], json_names: set[str]) -> Change:
    op = row.get(OP, "insert")
    cells = {}
    for name in names:
        if name in key:
            continue
        old, new = row.get(OLD + name), None if op == "delete" else row[name]
        if op != "update" or _differ(old, new, as_json=name in json_names):
            cells[name] = (_text(old), _text(new))
    return Change(side, op, {name: _text(row[name]) for name in key}, cells)


def _differ(old: Any, new: Any, *, as_json: bool) -> bool:
    if as_json and old is not None and new is not None:
        return bool(json.loads(old) != json.loads(new))
    return bool(old != new)


def _text(value: Any) -> str | None:
    return None if value is None else write_text(value)
