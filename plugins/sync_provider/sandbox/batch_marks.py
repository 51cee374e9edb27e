"""Requests about what lies on the grid: names, metadata, protection, merges, filters, bandings, rules."""

from __future__ import annotations

import copy
import re

from sync_provider.sandbox.a1 import grid_range, parse_bounds
from sync_provider.sandbox.cells import overlay
from sync_provider.sandbox.errors import invalid
from sync_provider.sandbox.filters import find_metadata
from sync_provider.sandbox.model import Area, Json, Sheet, Spreadsheet
from sync_provider.sandbox.requests import Work, area_of, mask_of, request


def _shown_range(book: Spreadsheet, held: Json) -> Json:
    """A GridRange as it comes back: checked, its sheet 0 left out."""
    area_of(book, held)
    return {name: value for name, value in held.items() if name != "sheetId" or value}


def _check_name(book: Spreadsheet, name: str, own: Json | None = None) -> None:
    if not re.fullmatch(r"[^\W\d]\w{0,249}", name) or parse_bounds(name) or name.upper() in {"TRUE", "FALSE"}:
        raise invalid(f"The name of a named range is invalid: {name}")
    if any(item is not own and item["name"].casefold() == name.casefold() for item in book.named_ranges):
        raise invalid(f"Cannot add named range with name: {name}. A named range with that name already exists.")


@request("addNamedRange")
def _add_name(work: Work, body: Json) -> Json:
    given = body.get("namedRange", {})
    _check_name(work.book, given.get("name", ""))
    named = {
        "namedRangeId": given.get("namedRangeId") or str(work.call.rng.randrange(10**6, 10**10)),
        "name": given["name"],
        "range": _shown_range(work.book, given.get("range", {})),
    }
    work.book.named_ranges.append(named)
    return {"addNamedRange": {"namedRange": copy.deepcopy(named)}}


def _named(book: Spreadsheet, named_id: str) -> Json:
    for item in book.named_ranges:
        if item["namedRangeId"] == named_id:
            return item
    raise invalid(f"No named range with id: {named_id}")


@request("updateNamedRange")
def _update_name(work: Work, body: Json) -> Json:
    given, mask = body.get("namedRange", {}), mask_of(body)
    held = _named(work.book, given.get("namedRangeId", ""))
    changed = overlay(held, given, mask)
    _check_name(work.book, changed.get("name", ""), held)
    held |= {"name": changed["name"], "range": _shown_range(work.book, changed.get("range", {}))}
    return {}


@request("deleteNamedRange")
def _delete_name(work: Work, body: Json) -> Json:
    work.book.named_ranges.remove(_named(work.book, body.get("namedRangeId", "")))
    return {}


def _location(book: Spreadsheet, given: Json) -> Json:
    if given.get("spreadsheet"):
        return {"locationType": "SPREADSHEET", "spreadsheet": True}
    if held := given.get("dimensionRange"):
        book.sheet(held.get("sheetId", 0))
        start = held.get("startIndex", 0)
        if held.get("endIndex") != start + 1:
            raise invalid("Developer metadata can only be associated with a single row or column.")
        kind = "ROW" if held.get("dimension") == "ROWS" else "COLUMN"
        return {"locationType": kind, "dimensionRange": {**held, "startIndex": start}}
    if "sheetId" in given:
        book.sheet(given["sheetId"])
        return {"locationType": "SHEET", "sheetId": given["sheetId"]}
    raise invalid("Must specify a location for developer metadata.")


@request("createDeveloperMetadata")
def _create_metadata(work: Work, body: Json) -> Json:
    given, book = body.get("developerMetadata", {}), work.book
    if not given.get("metadataKey"):
        raise invalid("Developer metadata must have a key.")
    if given.get("visibility", "DEVELOPER_METADATA_VISIBILITY_UNSPECIFIED").endswith("UNSPECIFIED"):
        raise invalid("Developer metadata must have a visibility.")
    taken = {item["metadataId"] for item in book.metadata}
    metadata_id = given.get("metadataId") or work.call.rng.randrange(1, 2**31)
    if metadata_id in taken:
        raise invalid(f"Developer metadata with id {metadata_id} already exists.")
    item = {
        "metadataId": metadata_id,
        "metadataKey": given["metadataKey"],
        **({"metadataValue": given["metadataValue"]} if "metadataValue" in given else {}),
        "location": _location(book, given.get("location", {})),
        "visibility": given["visibility"],
    }
    book.metadata.append(item)
    return {"createDeveloperMetadata": {"developerMetadata": copy.deepcopy(item)}}


def _found(book: Spreadsheet, filters: list[Json]) -> list[Json]:
    lookups = [item["developerMetadataLookup"] for item in filters if "developerMetadataLookup" in item]
    return [item for item in book.metadata if any(item in find_metadata(book, lookup) for lookup in lookups)]


@request("updateDeveloperMetadata")
def _update_metadata(work: Work, body: Json) -> Json:
    mask, changed = mask_of(body), []
    for item in _found(work.book, body.get("dataFilters", [])):
        new = overlay(item, body.get("developerMetadata", {}), mask)
        new["location"] = _location(work.book, new.get("location", {}))
        item.clear()
        item.update(new)
        changed.append(copy.deepcopy(item))
    return {"updateDeveloperMetadata": {"developerMetadata": changed} if changed else {}}


@request("deleteDeveloperMetadata")
def _delete_metadata(work: Work, body: Json) -> Json:
    gone = _found(work.book, [body.get("dataFilter", {})])
    work.book.metadata = [item for item in work.book.metadata if item not in gone]
    return {"deleteDeveloperMetadata": {"deletedDeveloperMetadata": gone} if gone else {}}


def _part(book: Spreadsheet, kind: str, key: str, wanted: int) -> tuple[Sheet, Json]:
    for sheet in book.sheets:
        for item in sheet.parts.get(kind, []):
            if item.get(key) == wanted:
                return sheet, item
    words = re.sub("([A-Z])", r" \1", kind).lower().rstrip("s")
    raise invalid(f"No {words} with id: {wanted}")


@request("addProtectedRange")
def _protect(work: Work, body: Json) -> Json:
    item = copy.deepcopy(body.get("protectedRange", {}))
    if "namedRangeId" in item:
        item["range"] = copy.deepcopy(_named(work.book, item["namedRangeId"])["range"])
    held = item.get("range", {})
    sheet, _ = area_of(work.book, held)
    item["range"] = _shown_range(work.book, held)
    item.setdefault("protectedRangeId", work.call.rng.randrange(1, 2**31))
    # As recorded: who protects may edit whatever is asked, which the reply's editors do not say yet.
    editors = {name: people for name, people in item.pop("editors", {}).items() if people}
    item = {name: value for name, value in item.items() if value is not False} | {"requestingUserCanEdit": True}
    users = [*editors.get("users", []), work.call.user]
    held_item = {**item, "editors": {**editors, "users": list(dict.fromkeys(users))}}
    sheet.parts.setdefault("protectedRanges", []).append(held_item)
    return {"addProtectedRange": {"protectedRange": {**copy.deepcopy(item), "editors": editors}}}


@request("updateProtectedRange")
def _update_protected(work: Work, body: Json) -> Json:
    given = body.get("protectedRange", {})
    _, item = _part(work.book, "protectedRanges", "protectedRangeId", given.get("protectedRangeId", 0))
    changed = overlay(item, given, mask_of(body))
    item.clear()
    item.update(changed)
    return {}


@request("deleteProtectedRange")
def _unprotect(work: Work, body: Json) -> Json:
    sheet, item = _part(work.book, "protectedRanges", "protectedRangeId", body.get("protectedRangeId", 0))
    sheet.parts["protectedRanges"].remove(item)
    return {}


def _meets(item: Json, area: Area) -> bool:
    box = (item["startRowIndex"], item["endRowIndex"], item["startColumnIndex"], item["endColumnIndex"])
    return area.meets(Area(area.sheet_id, *box))


@request("mergeCells")
def _merge(work: Work, body: Json) -> Json:
    sheet, area = area_of(work.book, body.get("range", {}))
    kind = body.get("mergeType", "MERGE_ALL")
    pieces = [area]
    if kind == "MERGE_ROWS":
        pieces = [area._replace(top=row, bottom=row + 1) for row in range(area.top, area.bottom)]
    elif kind == "MERGE_COLUMNS":
        pieces = [area._replace(left=column, right=column + 1) for column in range(area.left, area.right)]
    merges = [item for item in sheet.parts.get("merges", []) if not _meets(item, area)]
    sheet.parts["merges"] = merges + [grid_range(piece) for piece in pieces if piece.rows * piece.columns > 1]
    return {}


@request("unmergeCells")
def _unmerge(work: Work, body: Json) -> Json:
    sheet, area = area_of(work.book, body.get("range", {}))
    sheet.parts["merges"] = [item for item in sheet.parts.get("merges", []) if not _meets(item, area)]
    return {}


@request("setBasicFilter")
def _filter(work: Work, body: Json) -> Json:
    held = copy.deepcopy(body.get("filter", {}))
    sheet, area = area_of(work.book, held.get("range", {}))
    sheet.parts["basicFilter"] = [{**held, "range": grid_range(area)}]
    return {}


@request("clearBasicFilter")
def _clear_filter(work: Work, body: Json) -> Json:
    work.book.sheet(body.get("sheetId", 0)).parts.pop("basicFilter", None)
    return {}


@request("addBanding")
def _band(work: Work, body: Json) -> Json:
    item = copy.deepcopy(body.get("bandedRange", {}))
    sheet, _ = area_of(work.book, item.get("range", {}))
    item["range"] = _shown_range(work.book, item["range"])
    item.setdefault("bandedRangeId", work.call.rng.randrange(1, 2**31))
    sheet.parts.setdefault("bandedRanges", []).append(item)
    return {"addBanding": {"bandedRange": copy.deepcopy(item)}}


@request("deleteBanding")
def _unband(work: Work, body: Json) -> Json:
    sheet, item = _part(work.book, "bandedRanges", "bandedRangeId", body.get("bandedRangeId", 0))
    sheet.parts["bandedRanges"].remove(item)
    return {}


@request("addConditionalFormatRule")
def _add_rule(work: Work, body: Json) -> Json:
    rule = copy.deepcopy(body.get("rule", {}))
    ranges = rule.get("ranges", [])
    if not ranges:
        raise invalid("A conditional format rule must have at least one range.")
    sheet, _ = area_of(work.book, ranges[0])
    rule["ranges"] = [_shown_range(work.book, held) for held in ranges]
    sheet.parts.setdefault("conditionalFormats", []).insert(body.get("index", 0), rule)
    return {}


@request("deleteConditionalFormatRule")
def _delete_rule(work: Work, body: Json) -> Json:
    sheet = work.book.sheet(body.get("sheetId", 0))
    rules, index = sheet.parts.get("conditionalFormats", []), body.get("index", 0)
    if not 0 <= index < len(rules):
        raise invalid(f"No conditional format on sheet: {sheet.sheet_id} at index: {index}")
    return {"deleteConditionalFormatRule": {"rule": rules.pop(index)}}
