"""Requests about groups of rows and columns that a person folds away."""

from __future__ import annotations

from sync_provider.sandbox.dimensions import GROUPS
from sync_provider.sandbox.errors import invalid
from sync_provider.sandbox.model import Json, Sheet
from sync_provider.sandbox.requests import Work, dimension_of, request

_CONTROLS = {"ROWS": "rowGroupControlAfter", "COLUMNS": "columnGroupControlAfter"}
_DEEPEST = 8


@request("addDimensionGroup")
def _add(work: Work, body: Json) -> Json:
    sheet, axis, start, end = dimension_of(work.book, body.get("range", {}))
    depths = _depths(sheet, axis)
    for index in range(start, end):
        depths[index] = depths.get(index, 0) + 1
    if max(depths.values()) > _DEEPEST:
        raise invalid(f"Cannot have more than {_DEEPEST} levels of groups.")
    sheet.grid[_CONTROLS[axis]] = True
    return {"addDimensionGroup": _regrouped(sheet, axis, depths)}


@request("deleteDimensionGroup")
def _delete(work: Work, body: Json) -> Json:
    sheet, axis, start, end = dimension_of(work.book, body.get("range", {}))
    depths = _depths(sheet, axis)
    if not any(depths.get(index) for index in range(start, end)):
        raise invalid("There is no group in the range.")
    for index in range(start, end):
        depths[index] = max(depths.get(index, 0) - 1, 0)
    return {"deleteDimensionGroup": _regrouped(sheet, axis, depths)}


def _depths(sheet: Sheet, axis: str) -> dict[int, int]:
    """In how many groups each grouped row or column is."""
    depths: dict[int, int] = {}
    for group in sheet.parts.get(GROUPS[axis], []):
        for index in range(group["range"]["startIndex"], group["range"]["endIndex"]):
            depths[index] = depths.get(index, 0) + 1
    return depths


def _regrouped(sheet: Sheet, axis: str, depths: dict[int, int]) -> Json:
    """Keep and show the groups that give these depths: one for each run that is at least so deep."""
    held = {"sheetId": sheet.sheet_id} if sheet.sheet_id else {}
    groups: list[Json] = []
    for depth in range(1, max(depths.values(), default=0) + 1):
        inside = sorted(index for index, deep in depths.items() if deep >= depth)
        starts = [index for index in inside if depths.get(index - 1, 0) < depth]
        ends = [index + 1 for index in inside if depths.get(index + 1, 0) < depth]
        groups += [
            {"range": {**held, "dimension": axis, "startIndex": start, "endIndex": end}, "depth": depth}
            for start, end in zip(starts, ends, strict=True)
        ]
    sheet.parts[GROUPS[axis]] = groups
    return {"dimensionGroups": [dict(group) for group in groups]} if groups else {}
