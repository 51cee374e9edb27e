"""Requests about the cells of a range."""

from __future__ import annotations

import re
from typing import Any

from sync_provider.sandbox.a1 import clamp, grid_bounds
from sync_provider.sandbox.cells import apply_cell_data
from sync_provider.sandbox.entry import entered_cell
from sync_provider.sandbox.errors import invalid
from sync_provider.sandbox.evaluate import Calculator
from sync_provider.sandbox.formulas import offset
from sync_provider.sandbox.functions import Result
from sync_provider.sandbox.model import EMPTY, Area, Cell, CellError, Json, Sheet
from sync_provider.sandbox.render import Renderer
from sync_provider.sandbox.requests import Work, area_of, mask_of, request


@request("updateCells")
def _update(work: Work, body: Json) -> Json:
    mask, rows = mask_of(body), body.get("rows", [])
    if "start" in body:
        start = body["start"]
        sheet = work.book.sheet(start.get("sheetId", 0))
        top, left = start.get("rowIndex", 0), start.get("columnIndex", 0)
        width = max((len(row.get("values", [])) for row in rows), default=0)
        area = Area(sheet.sheet_id, top, top + len(rows), left, left + width)
    elif "range" in body:
        sheet, area = area_of(work.book, body["range"])
    else:
        raise invalid("Must specify a range or a start.")
    _check_writable(sheet, area, rows)
    for down in range(area.rows):
        values = rows[down].get("values", []) if down < len(rows) else []
        # Under a start only the cells given are touched, under a range all of them.
        across = len(values) if "start" in body else area.columns
        row = area.top + down
        cells = {
            area.left + column: apply_cell_data(
                sheet.cell(row, area.left + column), values[column] if column < len(values) else {}, mask
            )
            for column in range(across)
        }
        sheet.put(row, cells)
    return {}


def _check_writable(sheet: Sheet, area: Area, rows: list[Json]) -> None:
    if area.bottom > sheet.row_count or area.top + len(rows) > max(area.bottom, area.top):
        raise invalid(
            f"Attempting to write row: {max(sheet.row_count, area.bottom)}, beyond the last requested row of: {area.bottom - 1}"
        )
    if area.right > sheet.column_count:
        raise invalid(
            f"Attempting to write column: {sheet.column_count}, beyond the last requested column of: {sheet.column_count - 1}"
        )
    for row in rows:
        if len(row.get("values", [])) > area.columns:
            raise invalid(
                f"Attempting to write column: {area.right}, beyond the last requested column of: {area.right - 1}"
            )


@request("appendCells")
def _append(work: Work, body: Json) -> Json:
    mask, rows = mask_of(body), body.get("rows", [])
    sheet = work.book.sheet(body.get("sheetId", 0))
    top = sheet.extent()[0]
    sheet.row_count = max(sheet.row_count, top + len(rows))
    width = max((len(row.get("values", [])) for row in rows), default=0)
    sheet.column_count = max(sheet.column_count, width)
    work.book.check_size()
    for row, given in enumerate(rows, top):
        values = given.get("values", [])
        sheet.put(row, {c: apply_cell_data(sheet.cell(row, c), data, mask) for c, data in enumerate(values)})
    return {}


@request("repeatCell")
def _repeat(work: Work, body: Json) -> Json:
    mask = mask_of(body)
    sheet, area = area_of(work.book, body.get("range", {}))
    data = body.get("cell", {})
    for row in range(area.top, area.bottom):
        cells = {}
        for column in range(area.left, area.right):
            cell = apply_cell_data(sheet.cell(row, column), data, mask)
            if cell.formula and "formulaValue" in data.get("userEnteredValue", {}):
                cell = cell._replace(formula=offset(cell.formula, row - area.top, column - area.left))
            cells[column] = cell
        sheet.put(row, cells)
    return {}


@request("sortRange")
def _sort(work: Work, body: Json) -> Json:
    sheet, area = area_of(work.book, body.get("range", {}))
    calculator = Calculator(work.book, work.call.now)
    order = list(range(area.top, min(area.bottom, len(sheet.rows))))
    for spec in reversed(body.get("sortSpecs", [])):
        column = spec.get("dimensionIndex", 0)
        descending = spec.get("sortOrder") == "DESCENDING"
        values = {row: calculator.value(sheet, row, column) for row in order}
        blank = [row for row in order if values[row] is None or values[row] == ""]
        filled = [row for row in order if row not in set(blank)]
        filled.sort(key=lambda row, values=values: _rank(values[row]), reverse=descending)  # type: ignore[misc]
        order = filled + blank
    lines = [(row, sheet.part(row, area.left, area.right)) for row in order]
    for to, (row, cells) in enumerate(lines, area.top):
        moved = [cell._replace(formula=offset(cell.formula, to - row, 0)) if cell.formula else cell for cell in cells]
        moved += [EMPTY] * (area.columns - len(moved))
        sheet.put(to, dict(enumerate(moved, area.left)))
    return {}


def _rank(value: Result) -> tuple[int, Any]:
    if isinstance(value, CellError):
        return (3, value.text)
    if isinstance(value, bool):
        return (2, value)
    if isinstance(value, str):
        return (1, value.casefold())
    return (0, value)


@request("findReplace")
def _find_replace(work: Work, body: Json) -> Json:
    book = work.book
    pattern = _pattern(body)
    if "range" in body:
        places = [area_of(book, body["range"])]
    elif body.get("allSheets"):
        places = [(sheet, sheet.whole()) for sheet in book.sheets]
    elif "sheetId" in body:
        sheet = book.sheet(body["sheetId"])
        places = [(sheet, sheet.whole())]
    else:
        raise invalid("Must specify a scope: a range, a sheet or all sheets.")
    cells = occurrences = formulas = 0
    rows, sheets = set(), set()
    for sheet, area in places:
        for row, column, cell, text in _texts(work, sheet, area):
            if cell.formula and not body.get("includeFormulas"):
                continue
            replacement = body.get("replacement", "")
            made, count = pattern.subn(
                replacement if body.get("searchByRegex") else lambda _, new=replacement: new, text
            )
            if not count:
                continue
            sheet.put(row, {column: _typed(work, cell, made)})
            occurrences += count
            formulas += bool(cell.formula)
            cells += not cell.formula
            rows.add((sheet.sheet_id, row))
            sheets.add(sheet.sheet_id)
    reply = {
        "valuesChanged": cells,
        "formulasChanged": formulas,
        "rowsChanged": len(rows),
        "sheetsChanged": len(sheets),
        "occurrencesChanged": occurrences,
    }
    return {"findReplace": {name: count for name, count in reply.items() if count}}


def _pattern(body: Json) -> re.Pattern[str]:
    text = body.get("find", "")
    if not text:
        raise invalid("Find text must not be empty.")
    source = text if body.get("searchByRegex") else re.escape(text)
    if body.get("matchEntireCell"):
        source = rf"\A(?:{source})\Z"
    try:
        return re.compile(source, 0 if body.get("matchCase") else re.IGNORECASE)
    except re.error as exc:
        raise invalid(f"Invalid regular expression: {exc}") from exc


def _texts(work: Work, sheet: Sheet, area: Area) -> list[tuple[int, int, Cell, str]]:
    renderer = Renderer(work.book, work.call.now)
    found = []
    for row in range(area.top, min(area.bottom, len(sheet.rows))):
        for column, cell in enumerate(sheet.part(row, area.left, area.right), area.left):
            if cell.filled:
                text = cell.formula or renderer.value(sheet, row, column, cell)
                found.append((row, column, cell, text))
    return found


def _typed(work: Work, cell: Cell, text: str) -> Cell:
    calculator = Calculator(work.book, work.call.now)
    return entered_cell(cell, text, calculator.locale, calculator.now.date())


@request("copyPaste")
def _copy_paste(work: Work, body: Json) -> Json:
    source_sheet, source = area_of(work.book, body.get("source", {}))
    sheet, target = area_of(work.book, body.get("destination", {}))
    kind = body.get("pasteType", "PASTE_NORMAL")
    cells = _lifted(work, source_sheet, source, kind)
    if body.get("pasteOrientation") == "TRANSPOSE":
        cells = [list(line) for line in zip(*cells, strict=True)]
    height, width = len(cells), len(cells[0]) if cells else 0
    if not height or not width:
        return {}
    # A destination that is a multiple of the source is filled with copies of it.
    down = target.rows if target.rows % height == 0 else height
    across = target.columns if target.columns % width == 0 else width
    for row in range(target.top, min(target.top + down, sheet.row_count)):
        line = {}
        for column in range(target.left, min(target.left + across, sheet.column_count)):
            at = (row - target.top) % height, (column - target.left) % width
            new = cells[at[0]][at[1]]
            if new.formula:
                moved = offset(new.formula, row - source.top - at[0], column - source.left - at[1])
                new = new._replace(formula=moved)
            line[column] = _pasted(sheet.cell(row, column), new, kind)
        sheet.put(row, line)
    return {}


def _lifted(work: Work, sheet: Sheet, area: Area, kind: str) -> list[list[Cell]]:
    calculator = Calculator(work.book, work.call.now)
    lines = []
    for row in range(area.top, area.bottom):
        line = []
        for column in range(area.left, area.right):
            cell = sheet.cell(row, column)
            if kind == "PASTE_VALUES" and cell.formula:
                value = calculator.value(sheet, row, column)
                cell = cell._replace(formula=None, value=value.text if isinstance(value, CellError) else value)
            line.append(cell)
        lines.append(line)
    return lines


def _pasted(old: Cell, new: Cell, kind: str) -> Cell:
    if kind in {"PASTE_VALUES", "PASTE_FORMULA"}:
        return old._replace(value=new.value, formula=new.formula)
    if kind == "PASTE_FORMAT":
        return old._replace(format=new.format)
    if kind == "PASTE_DATA_VALIDATION":
        kept = {name: value for name, value in (old.extra or {}).items() if name != "dataValidation"}
        copied = {name: value for name, value in (new.extra or {}).items() if name == "dataValidation"}
        return old._replace(extra={**kept, **copied} or None)
    return new


@request("cutPaste")
def _cut_paste(work: Work, body: Json) -> Json:
    source_sheet, source = area_of(work.book, body.get("source", {}))
    start = body.get("destination", {})
    sheet = work.book.sheet(start.get("sheetId", 0))
    top, left = start.get("rowIndex", 0), start.get("columnIndex", 0)
    lines = [
        [source_sheet.cell(row, column) for column in range(source.left, source.right)]
        for row in range(source.top, source.bottom)
    ]
    source_sheet.change(source, lambda _: EMPTY)
    for row, line in enumerate(lines, top):
        if row < sheet.row_count:
            sheet.put(row, {c: cell for c, cell in enumerate(line, left) if c < sheet.column_count})
    return {}


@request("setDataValidation")
def _validation(work: Work, body: Json) -> Json:
    sheet, area = area_of(work.book, body.get("range", {}))
    rule = body.get("rule")

    def ruled(cell: Cell) -> Cell:
        extra = {name: value for name, value in (cell.extra or {}).items() if name != "dataValidation"}
        if rule:
            extra["dataValidation"] = rule
        return cell._replace(extra=extra or None)

    sheet.change(area, ruled, everywhere=bool(rule))
    return {}


@request("updateBorders")
def _borders(work: Work, body: Json) -> Json:
    sheet, area = area_of(work.book, body.get("range", {}))
    for row in range(area.top, area.bottom):
        cells = {}
        for column in range(area.left, area.right):
            cell = sheet.cell(row, column)
            sides = {
                "top": body.get("top" if row == area.top else "innerHorizontal"),
                "bottom": body.get("bottom" if row == area.bottom - 1 else "innerHorizontal"),
                "left": body.get("left" if column == area.left else "innerVertical"),
                "right": body.get("right" if column == area.right - 1 else "innerVertical"),
            }
            borders = dict((cell.format or {}).get("borders", {}))
            for side, border in sides.items():
                if border is not None:
                    borders.pop(side, None)
                    if border.get("style") != "NONE":
                        borders[side] = border
            cells[column] = cell._replace(format={**(cell.format or {}), "borders": borders})
        sheet.put(row, cells)
    return {}


@request("trimWhitespace")
def _trim(work: Work, body: Json) -> Json:
    sheet, area = area_of(work.book, body.get("range", {}))
    changed = 0
    for row in range(area.top, min(area.bottom, len(sheet.rows))):
        for column, cell in enumerate(sheet.part(row, area.left, area.right), area.left):
            if isinstance(cell.value, str) and (trimmed := " ".join(cell.value.split())) != cell.value:
                sheet.put(row, {column: cell._replace(value=trimmed or None)})
                changed += 1
    return {"trimWhitespace": {"cellsChangedCount": changed} if changed else {}}


@request("deleteDuplicates")
def _duplicates(work: Work, body: Json) -> Json:
    sheet, bounds = grid_bounds(work.book, body.get("range", {}))
    area = clamp(sheet, bounds)
    compared = _compared(body, area)
    calculator = Calculator(work.book, work.call.now)
    seen, kept, removed = set(), [], 0
    for row in range(area.top, min(area.bottom, len(sheet.rows))):
        key = tuple(_rank(calculator.value(sheet, row, column)) for column in compared)
        if key in seen:
            removed += 1
            continue
        seen.add(key)
        kept.append(sheet.part(row, area.left, area.right))
    for row in range(area.top, min(area.bottom, len(sheet.rows))):
        cells = kept[row - area.top] if row - area.top < len(kept) else ()
        line = [*cells, *[EMPTY] * (area.columns - len(cells))]
        sheet.put(row, dict(enumerate(line, area.left)))
    return {"deleteDuplicates": {"duplicatesRemovedCount": removed} if removed else {}}


def _compared(body: Json, area: Area) -> list[int]:
    columns = [
        index
        for held in body.get("comparisonColumns", [])
        for index in range(held.get("startIndex", area.left), held.get("endIndex", area.right))
    ]
    return columns or list(range(area.left, area.right))
