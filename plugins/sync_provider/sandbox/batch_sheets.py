"""Requests about whole sheets and the workbook."""

from __future__ import annotations

import copy

from sync_provider.sandbox.batch_grid import fit_grid
from sync_provider.sandbox.calls import WORLD_WRITES, Call, answers
from sync_provider.sandbox.cells import overlay
from sync_provider.sandbox.colors import twin
from sync_provider.sandbox.errors import invalid
from sync_provider.sandbox.formulas import rename_sheet
from sync_provider.sandbox.locales import known_locale
from sync_provider.sandbox.model import Json, Sheet, Spreadsheet
from sync_provider.sandbox.requests import Work, mask_of, request
from sync_provider.sandbox.spreadsheets import add_sheet, check_title, sheet_properties
from sync_provider.sandbox.state import World


@request("addSheet")
def _add(work: Work, body: Json) -> Json:
    sheet = add_sheet(work.call, work.book, body.get("properties", {}))
    return {"addSheet": {"properties": sheet_properties(work.book, sheet)}}


@request("deleteSheet")
def _delete(work: Work, body: Json) -> Json:
    book = work.book
    sheet = book.sheet(body.get("sheetId", 0))
    if len(book.sheets) == 1:
        raise invalid("You can't remove all the sheets in a document.")
    book.sheets.remove(sheet)
    _check_shown(book, "You can't remove all the visible sheets in a document.")
    book.named_ranges = [item for item in book.named_ranges if item["range"].get("sheetId", 0) != sheet.sheet_id]
    book.metadata = [item for item in book.metadata if _sheet_id(item["location"]) != sheet.sheet_id]
    return {}


def _sheet_id(location: Json) -> int | None:
    if location.get("spreadsheet"):
        return None
    return int((location.get("dimensionRange") or location).get("sheetId", 0))


def _check_shown(book: Spreadsheet, message: str) -> None:
    if all(sheet.properties.get("hidden") for sheet in book.sheets):
        raise invalid(message)


@request("updateSheetProperties")
def _update(work: Work, body: Json) -> Json:
    book, given, mask = work.book, body.get("properties", {}), mask_of(body)
    sheet = book.sheet(given.get("sheetId", 0))
    names = set(given) if "*" in mask else set(mask)
    if "title" in names:
        _rename(book, sheet, given.get("title", ""))
    if "gridProperties" in names:
        known = {"rowCount": sheet.row_count, "columnCount": sheet.column_count, **sheet.grid}
        grid = overlay(known, given.get("gridProperties", {}), mask.get("gridProperties", {}) or {"*": {}})
        fit_grid(book, sheet, grid.pop("rowCount", 0), grid.pop("columnCount", 0))
        _check_frozen(sheet, grid)
        sheet.grid = grid
    for name in names & {"hidden", "rightToLeft", "tabColor", "tabColorStyle"}:
        sheet.properties.pop(name, None)
        if (other := twin(name)) and other not in names:
            sheet.properties.pop(other, None)
        if name in given:
            sheet.properties[name] = given[name]
    if "index" in names:
        _move(book, sheet, given.get("index", 0))
    _check_shown(book, "You can't hide all the sheets in a document.")
    return {}


def _check_frozen(sheet: Sheet, grid: Json) -> None:
    for axis, name, size in (
        ("rows", "frozenRowCount", sheet.row_count),
        ("columns", "frozenColumnCount", sheet.column_count),
    ):
        if grid.get(name, 0) >= size:
            raise invalid(f"You can't freeze all visible {axis} on the sheet.")


def _rename(book: Spreadsheet, sheet: Sheet, title: str) -> None:
    if not title:
        raise invalid("Sheet name cannot be empty.")
    check_title(book, title, sheet)
    for other in book.sheets:
        for number, row in enumerate(other.rows):
            if any(cell.formula for cell in row):
                other.rows[number] = tuple(
                    cell._replace(formula=rename_sheet(cell.formula, sheet.title, title)) if cell.formula else cell
                    for cell in row
                )
    sheet.title = title


def _move(book: Spreadsheet, sheet: Sheet, index: int) -> None:
    """The index is that of the sheet before it leaves its place."""
    if not 0 <= index <= len(book.sheets):
        raise invalid(f"Sheet index {index} is out of range.")
    old = book.sheets.index(sheet)
    book.sheets.remove(sheet)
    book.sheets.insert(index - 1 if index > old else index, sheet)


@request("duplicateSheet")
def _duplicate(work: Work, body: Json) -> Json:
    book = work.book
    source = book.sheet(body.get("sourceSheetId", 0))
    title = body.get("newSheetName") or _copy_title(book, source.title)
    index = body.get("insertSheetIndex", 0)
    properties = {"title": title, "index": index}
    if "newSheetId" in body:
        properties["sheetId"] = body["newSheetId"]
    sheet = _copy_into(work.call, source, book, properties)
    return {"duplicateSheet": {"properties": sheet_properties(book, sheet)}}


def _copy_title(book: Spreadsheet, title: str) -> str:
    name, number = f"Copy of {title}", 2
    while book.titled(name):
        name, number = f"Copy of {title} {number}", number + 1
    return name


def _copy_into(call: Call, source: Sheet, book: Spreadsheet, properties: Json) -> Sheet:
    size = {"rowCount": source.row_count, "columnCount": source.column_count, **copy.deepcopy(source.grid)}
    sheet = add_sheet(call, book, {**copy.deepcopy(source.properties), **properties, "gridProperties": size})
    copied = source.copy()
    sheet.rows = copied.rows
    sheet.row_properties, sheet.column_properties = copied.row_properties, copied.column_properties
    sheet.parts = copied.parts
    renumber(sheet.parts, source.sheet_id, sheet.sheet_id)
    return sheet


def renumber(held: object, old: int, new: int) -> None:
    """Point every GridRange of a copied sheet at the copy."""
    if isinstance(held, list):
        for item in held:
            renumber(item, old, new)
    elif isinstance(held, dict):
        if {"startRowIndex", "endRowIndex", "startColumnIndex", "endColumnIndex"} & held.keys():
            held["sheetId"] = new
        for item in held.values():
            renumber(item, old, new)


@answers(WORLD_WRITES, "sheets.spreadsheets.sheets.copyTo")
def _copy_to(call: Call, world: World) -> Json:
    source = world.file(call, call.params["spreadsheetId"]).book
    target = world.file(call, call.body.get("destinationSpreadsheetId", ""), write=True)
    if source is None or target.book is None:
        raise invalid("This operation is not supported for this document")
    sheet = source.sheet(call.params["sheetId"])
    draft = target.book.copy()
    copied = _copy_into(call, sheet, draft, {"title": _copy_title(draft, sheet.title)})
    target.book = draft
    world.touched(call, target)
    return sheet_properties(draft, copied)


@request("updateSpreadsheetProperties")
def _update_book(work: Work, body: Json) -> Json:
    changed = overlay(work.book.properties, body.get("properties", {}), mask_of(body))
    if not changed.get("title"):
        raise invalid("Spreadsheet title cannot be empty.")
    if not known_locale(changed.get("locale", "")):
        raise invalid(f"Invalid value for locale: {changed.get('locale', '')}")
    work.book.properties = changed
    return {}
