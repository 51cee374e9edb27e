"""Data filters: cells found by range or by developer metadata."""

from __future__ import annotations

from sync_provider.sandbox.a1 import Bounds, clamp, find_range, grid_bounds
from sync_provider.sandbox.errors import invalid
from sync_provider.sandbox.model import Area, Json, Sheet, Spreadsheet


def filter_areas(book: Spreadsheet, data_filter: Json) -> list[tuple[Sheet, Bounds]]:
    """The cells that one DataFilter finds.

    Raises:
        ApiError: it names no range, or one that does not exist.
    """
    if "a1Range" in data_filter:
        return [find_range(book, data_filter["a1Range"])]
    if "gridRange" in data_filter:
        return [grid_bounds(book, data_filter["gridRange"])]
    if "developerMetadataLookup" in data_filter:
        found = find_metadata(book, data_filter["developerMetadataLookup"])
        return [located for item in found for located in _located(book, item["location"])]
    raise invalid("Must specify exactly one of the data filter's fields.")


def matching(book: Spreadsheet, filters: list[Json]) -> list[tuple[Sheet, Area, list[Json]]]:
    """The areas that filters find, each once, with the filters that found it."""
    if not filters:
        raise invalid("Must specify at least one dataFilter.")
    found: dict[Area, tuple[Sheet, Area, list[Json]]] = {}
    for data_filter in filters:
        for sheet, bounds in filter_areas(book, data_filter):
            area = clamp(sheet, bounds)
            found.setdefault(area, (sheet, area, []))[2].append(data_filter)
    return list(found.values())


def _located(book: Spreadsheet, location: Json) -> list[tuple[Sheet, Bounds]]:
    if location.get("spreadsheet"):
        return [(sheet, Bounds()) for sheet in book.sheets]
    if dimension := location.get("dimensionRange"):
        sheet = book.sheet(dimension.get("sheetId", 0))
        start, end = dimension.get("startIndex"), dimension.get("endIndex")
        if dimension["dimension"] == "ROWS":
            return [(sheet, Bounds(top=start, bottom=end))]
        return [(sheet, Bounds(left=start, right=end))]
    return [(book.sheet(location.get("sheetId", 0)), Bounds())]


def find_metadata(book: Spreadsheet, lookup: Json) -> list[Json]:
    """The developer metadata that a lookup describes; every part of it that is set must match."""
    simple = ("metadataId", "metadataKey", "metadataValue", "visibility")
    return [
        item
        for item in book.metadata
        if all(item.get(name) == lookup[name] for name in simple if name in lookup)
        and lookup.get("locationType", item["location"]["locationType"]) == item["location"]["locationType"]
        and _at(item["location"], lookup)
    ]


def _at(location: Json, lookup: Json) -> bool:
    wanted = lookup.get("metadataLocation")
    if not wanted:
        return True
    exact = {name: value for name, value in location.items() if name != "locationType"}
    wanted = {name: value for name, value in wanted.items() if name != "locationType"}
    if exact.get("sheetId", 0) == 0 and "sheetId" in exact:
        wanted.setdefault("sheetId", 0)
    if exact == wanted:
        return True
    if lookup.get("locationMatchingStrategy") != "INTERSECTING_LOCATION":
        return False
    if wanted.get("spreadsheet") or exact.get("spreadsheet"):
        return True
    first, second = exact.get("dimensionRange"), wanted.get("dimensionRange")
    first_sheet = (first or exact).get("sheetId", 0)
    second_sheet = (second or wanted).get("sheetId", 0)
    if first_sheet != second_sheet:
        return False
    if not first or not second or first["dimension"] != second["dimension"]:
        return True
    start, end = second.get("startIndex", 0), second.get("endIndex", 1 << 30)
    return bool(first.get("startIndex", 0) < end and start < first.get("endIndex", 1 << 30))
