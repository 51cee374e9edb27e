"""CellData written into cells, member by member."""

from __future__ import annotations

import copy
from typing import Any

from sync_provider.sandbox.colors import twin
from sync_provider.sandbox.masks import Mask
from sync_provider.sandbox.model import Cell, Json, checked_text
from sync_provider.sandbox.render import merged

_KEPT = ("dataValidation", "textFormatRuns", "hyperlink", "pivotTable", "chipRuns")


def apply_cell_data(old: Cell, data: Json, mask: Mask) -> Cell:
    """The cell after the masked members of a CellData were set; a masked member that is missing is cleared."""
    everything = "*" in mask or not mask
    cell = old
    if everything or "userEnteredValue" in mask:
        cell = _with_value(cell, data.get("userEnteredValue", {}))
    if everything or "userEnteredFormat" in mask:
        below = {} if everything else mask["userEnteredFormat"]
        cell = cell._replace(format=_masked(dict(cell.format or {}), data.get("userEnteredFormat", {}), below) or None)
    if everything or "note" in mask:
        cell = cell._replace(note=data.get("note") or None)
    extra = dict(cell.extra or {})
    for name in _KEPT:
        if everything or name in mask:
            extra.pop(name, None)
            if name in data:
                extra[name] = copy.deepcopy(data[name])
    return cell._replace(extra=extra or None)


def _with_value(cell: Cell, value: Json) -> Cell:
    """Typed as given: a string is never parsed."""
    if "formulaValue" in value:
        text = checked_text(value["formulaValue"])
        return cell._replace(value=None, formula=text if text.startswith("=") else f"={text}")
    if "numberValue" in value:
        return cell._replace(value=float(value["numberValue"]), formula=None)
    if "boolValue" in value:
        return cell._replace(value=bool(value["boolValue"]), formula=None)
    return cell._replace(value=checked_text(value.get("stringValue", "")) or None, formula=None)


def _masked(base: Json, over: Json, mask: Mask) -> Json:
    """`base` with the masked members taken from `over`; the base itself stays."""
    if not mask or "*" in mask:
        return copy.deepcopy(over)
    result = copy.deepcopy(base)
    for name, below in mask.items():
        if other := twin(name):
            result.pop(other, None)
        if name not in over:
            result.pop(name, None)
        elif below and isinstance(over[name], dict):
            result[name] = _masked(result.get(name, {}), over[name], below)
        else:
            result[name] = copy.deepcopy(over[name])
    return result


def overlay(base: dict[str, Any], over: dict[str, Any], mask: Mask) -> dict[str, Any]:
    """Any message with the masked members set from another; with ``*`` every member given."""
    return merged(copy.deepcopy(base), over) if "*" in mask else _masked(base, over, mask)
