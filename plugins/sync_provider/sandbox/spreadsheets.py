"""`spreadsheets.create`, `get`, `getByDataFilter`: what a workbook looks like from outside."""

from __future__ import annotations

import copy
from typing import Any

from sync_provider.sandbox.a1 import clamp, find_area
from sync_provider.sandbox.calls import BOOK_READS, Call, answers
from sync_provider.sandbox.cells import apply_cell_data
from sync_provider.sandbox.colors import default_theme, shown_colors
from sync_provider.sandbox.errors import invalid
from sync_provider.sandbox.filters import filter_areas, find_metadata
from sync_provider.sandbox.locales import known_locale
from sync_provider.sandbox.masks import Mask, covers, parse_mask
from sync_provider.sandbox.model import Area, Json, Sheet, Spreadsheet
from sync_provider.sandbox.render import DEFAULT_FORMAT, Renderer

_PIXELS = {"rows": 21, "columns": 100}


def new_spreadsheet(call: Call, spreadsheet_id: str, body: Json) -> Spreadsheet:
    """A workbook as `spreadsheets.create` makes it of its body."""
    given = body.get("properties", {})
    properties = {
        "title": "Untitled spreadsheet",
        "locale": "en_US",
        "autoRecalc": "ON_CHANGE",
        "timeZone": "Etc/GMT",
        "defaultFormat": copy.deepcopy(DEFAULT_FORMAT),
        "spreadsheetTheme": default_theme(),
        **given,
    }
    if not known_locale(properties["locale"]):
        raise invalid(f"Invalid value for locale: {properties['locale']}")
    book = Spreadsheet(spreadsheet_id, properties, [])
    sheets = body.get("sheets") or [{"properties": {"sheetId": 0, "title": "Sheet1"}}]
    for item in sheets:
        sheet = add_sheet(call, book, item.get("properties", {}))
        for grid in item.get("data", []):
            for down, row in enumerate(grid.get("rowData", []), grid.get("startRow", 0)):
                for across, data in enumerate(row.get("values", []), grid.get("startColumn", 0)):
                    sheet.put(down, {across: apply_cell_data(sheet.cell(down, across), data, {"*": {}})})
        for kind in ("merges", "protectedRanges", "conditionalFormats"):
            if kind in item:
                sheet.parts[kind] = copy.deepcopy(item[kind])
    for named in body.get("namedRanges", []):
        book.named_ranges.append({**named, "namedRangeId": str(call.rng.randrange(10**9))})
    book.check_size()
    return book


def add_sheet(call: Call, book: Spreadsheet, properties: Json) -> Sheet:
    """A new sheet in its place.

    Raises:
        ApiError: its title or its id is taken.
    """
    title = properties.get("title") or _free_title(book)
    check_title(book, title)
    taken = {sheet.sheet_id for sheet in book.sheets}
    sheet_id = properties.get("sheetId")
    if sheet_id is None:
        sheet_id = call.rng.randrange(1, 2**31)
    if sheet_id in taken:
        raise invalid(f"Sheet with id {sheet_id} already exists. Please enter another id.")
    grid = dict(properties.get("gridProperties", {}))
    sheet = Sheet(sheet_id, title, grid.pop("rowCount", 1000), grid.pop("columnCount", 26), grid=grid)
    rest = ("hidden", "rightToLeft", "tabColor", "tabColorStyle")
    sheet.properties = {name: properties[name] for name in rest if name in properties}
    index = properties.get("index", len(book.sheets))
    if not 0 <= index <= len(book.sheets):
        raise invalid(f"Sheet index {index} is out of range.")
    book.sheets.insert(index, sheet)
    book.check_size()
    return sheet


def check_title(book: Spreadsheet, title: str, own: Sheet | None = None) -> None:
    """Refuse a title that another sheet has, in any case."""
    taken = book.titled(title)
    if taken is not None and taken is not own:
        raise invalid(f'A sheet with the name "{title}" already exists. Please enter another name.')


def _free_title(book: Spreadsheet) -> str:
    number = len(book.sheets) + 1
    while book.titled(f"Sheet{number}"):
        number += 1
    return f"Sheet{number}"


def sheet_properties(book: Spreadsheet, sheet: Sheet) -> Json:
    """SheetProperties; false and zero members are left out, save the id and the index."""
    grid = {"rowCount": sheet.row_count, "columnCount": sheet.column_count, **sheet.grid}
    return {
        "sheetId": sheet.sheet_id,
        "title": sheet.title,
        "index": book.sheets.index(sheet),
        "sheetType": "GRID",
        "gridProperties": {name: value for name, value in grid.items() if value},
        **shown_colors({name: value for name, value in sheet.properties.items() if value}),
    }


def sheet_resource(book: Spreadsheet, sheet: Sheet) -> Json:
    """A Sheet without its cells."""
    metadata = [item for item in book.metadata if _of_sheet(item["location"], sheet)]
    parts: dict[str, Any] = {name: items for name, items in sheet.parts.items() if items}
    if "basicFilter" in parts:
        parts["basicFilter"] = parts["basicFilter"][0]
    return copy.deepcopy(
        {
            "properties": sheet_properties(book, sheet),
            **parts,
            **({"developerMetadata": metadata} if metadata else {}),
        }
    )


def _of_sheet(location: Json, sheet: Sheet) -> bool:
    return location.get("locationType") == "SHEET" and location.get("sheetId", 0) == sheet.sheet_id


def spreadsheet_resource(book: Spreadsheet, base_url: str) -> Json:
    """A Spreadsheet without its cells."""
    metadata = [item for item in book.metadata if item["location"].get("spreadsheet")]
    return {
        "spreadsheetId": book.spreadsheet_id,
        "properties": copy.deepcopy(book.properties),
        "sheets": [sheet_resource(book, sheet) for sheet in book.sheets],
        **({"namedRanges": copy.deepcopy(book.named_ranges)} if book.named_ranges else {}),
        "spreadsheetUrl": f"{base_url}/spreadsheets/d/{book.spreadsheet_id}/edit",
        **({"developerMetadata": copy.deepcopy(metadata)} if metadata else {}),
    }


def grid_data(call: Call, book: Spreadsheet, sheet: Sheet, area: Area) -> Json:
    """GridData of an area; rows and cells end where nothing follows, holes are ``{}``."""
    renderer = Renderer(book, call.now)
    rows = []
    for row in range(area.top, min(area.bottom, len(sheet.rows))):
        cells = [
            renderer.cell_data(sheet, row, column) for column in range(area.left, min(area.right, len(sheet.rows[row])))
        ]
        while cells and not cells[-1]:
            cells.pop()
        rows.append({"values": cells} if cells else {})
    while rows and not rows[-1]:
        rows.pop()
    data: Json = {"rowData": rows} if rows else {}
    if area.top:
        data["startRow"] = area.top
    if area.left:
        data["startColumn"] = area.left
    places = (
        ("rowMetadata", "rows", range(area.top, area.bottom), sheet.row_properties),
        ("columnMetadata", "columns", range(area.left, area.right), sheet.column_properties),
    )
    for name, axis, span, known in places:
        data[name] = [{"pixelSize": _PIXELS[axis], **known.get(place, {})} for place in span]
        metadata = [item for item in book.metadata if _on_axis(item["location"], sheet, axis)]
        for item in metadata:
            start = item["location"]["dimensionRange"].get("startIndex", 0)
            if start in span:
                data[name][start - span.start].setdefault("developerMetadata", []).append(copy.deepcopy(item))
    return data


def _on_axis(location: Json, sheet: Sheet, axis: str) -> bool:
    dimension = location.get("dimensionRange")
    return (
        dimension is not None
        and dimension.get("sheetId", 0) == sheet.sheet_id
        and dimension["dimension"] == axis.upper()
    )


def _with_data(call: Call, book: Spreadsheet, areas: list[tuple[Sheet, Area]], answer: Json, *, only: bool) -> Json:
    """The resource with the cells of some areas; with `only`, the sheets they are on and no others."""
    by_sheet: dict[int, list[Json]] = {}
    for sheet, area in areas:
        by_sheet.setdefault(sheet.sheet_id, []).append(grid_data(call, book, sheet, area))
    kept = []
    for resource in answer["sheets"]:
        sheet_id = resource["properties"]["sheetId"]
        if sheet_id in by_sheet:
            resource["data"] = by_sheet[sheet_id]
        if sheet_id in by_sheet or not only:
            kept.append(resource)
    return {**answer, "sheets": kept}


def _wants_data(call: Call) -> bool:
    if "fields" in call.params:
        mask: Mask = parse_mask(call.params["fields"])
        return "data" in mask.get("sheets", {}) or (covers(mask, "sheets") and bool(call.params.get("includeGridData")))
    return bool(call.params.get("includeGridData") or call.body.get("includeGridData"))


@answers(BOOK_READS, "sheets.spreadsheets.get")
def _get(call: Call, book: Spreadsheet) -> Json:
    answer = spreadsheet_resource(book, call.base_url)
    ranges = call.params.get("ranges", [])
    areas = [find_area(book, text) for text in ranges]
    if not _wants_data(call):
        return _only(answer, areas) if ranges else answer
    if not ranges:
        areas = [(sheet, sheet.whole()) for sheet in book.sheets]
    return _with_data(call, book, areas, answer, only=bool(ranges))


def _only(answer: Json, areas: list[tuple[Sheet, Area]]) -> Json:
    wanted = {sheet.sheet_id for sheet, _ in areas}
    return {**answer, "sheets": [item for item in answer["sheets"] if item["properties"]["sheetId"] in wanted]}


@answers(BOOK_READS, "sheets.spreadsheets.getByDataFilter")
def _get_by_filter(call: Call, book: Spreadsheet) -> Json:
    answer = spreadsheet_resource(book, call.base_url)
    areas = [
        (sheet, clamp(sheet, bounds))
        for data_filter in call.body.get("dataFilters", [])
        for sheet, bounds in filter_areas(book, data_filter)
    ]
    if not areas:
        return answer
    return _with_data(call, book, areas, answer, only=True) if _wants_data(call) else _only(answer, areas)


@answers(BOOK_READS, "sheets.spreadsheets.developerMetadata.get")
def _get_metadata(call: Call, book: Spreadsheet) -> Json:
    for item in book.metadata:
        if item["metadataId"] == call.params["metadataId"]:
            return dict(item)
    raise invalid(f"No developer metadata with id: {call.params['metadataId']}")


@answers(BOOK_READS, "sheets.spreadsheets.developerMetadata.search")
def _search_metadata(call: Call, book: Spreadsheet) -> Json:
    filters = [item for item in call.body.get("dataFilters", []) if "developerMetadataLookup" in item]
    matched = []
    for item in book.metadata:
        hits = [one for one in filters if item in find_metadata(book, one["developerMetadataLookup"])]
        if hits:
            matched.append({"developerMetadata": item, "dataFilters": hits})
    return {"matchedDeveloperMetadata": matched} if matched else {}
