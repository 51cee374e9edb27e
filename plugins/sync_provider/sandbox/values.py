"""The methods of `spreadsheets.values`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, NamedTuple

from sync_provider.sandbox.a1 import Bounds, clamp, column_name, find_area, find_range, format_area, grid_limits
from sync_provider.sandbox.calls import BOOK_READS, BOOK_WRITES, Call, answers
from sync_provider.sandbox.entry import entered_cell, raw_cell
from sync_provider.sandbox.errors import ApiError, invalid
from sync_provider.sandbox.evaluate import Calculator
from sync_provider.sandbox.filters import filter_areas, matching
from sync_provider.sandbox.locales import find_locale
from sync_provider.sandbox.model import EMPTY, Area, Cell, Json, Sheet, Spreadsheet
from sync_provider.sandbox.render import Renderer
from sync_provider.sandbox.tables import find_table


class Written(NamedTuple):
    """What one write touched: the area of the data, and the rows, columns and cells in it that were set."""

    sheet: Sheet
    area: Area
    rows: frozenset[int]
    columns: frozenset[int]
    cells: int


def _renderer(call: Call, book: Spreadsheet, prefix: str = "") -> Renderer:
    source = {**call.params, **call.body}
    names = (
        ("responseValueRenderOption", "responseDateTimeRenderOption")
        if prefix
        else ("valueRenderOption", "dateTimeRenderOption")
    )
    return Renderer(book, call.now, source.get(names[0]) or "FORMATTED_VALUE", source.get(names[1]) or "SERIAL_NUMBER")


def _dimension(source: Json) -> str:
    return "COLUMNS" if source.get("majorDimension") == "COLUMNS" else "ROWS"


def _value_range(renderer: Renderer, sheet: Sheet, area: Area, dimension: str) -> Json:
    values = renderer.values(sheet, area, columns=dimension == "COLUMNS")
    answer: Json = {"range": format_area(sheet, area), "majorDimension": dimension}
    return {**answer, "values": values} if values else answer


@answers(BOOK_READS, "sheets.spreadsheets.values.get")
def _get(call: Call, book: Spreadsheet) -> Json:
    sheet, area = find_area(book, call.params["range"])
    return _value_range(_renderer(call, book), sheet, area, _dimension(call.params))


@answers(BOOK_READS, "sheets.spreadsheets.values.batchGet")
def _batch_get(call: Call, book: Spreadsheet) -> Json:
    renderer = _renderer(call, book)
    found = [find_area(book, text) for text in call.params.get("ranges", ())]
    ranges = [_value_range(renderer, sheet, area, _dimension(call.params)) for sheet, area in found]
    return {"spreadsheetId": book.spreadsheet_id, **({"valueRanges": ranges} if ranges else {})}


@answers(BOOK_READS, "sheets.spreadsheets.values.batchGetByDataFilter")
def _batch_get_by_filter(call: Call, book: Spreadsheet) -> Json:
    renderer = _renderer(call, book)
    ranges = [
        {"valueRange": _value_range(renderer, sheet, area, _dimension(call.body)), "dataFilters": filters}
        for sheet, area, filters in matching(book, call.body.get("dataFilters", []))
    ]
    return {"spreadsheetId": book.spreadsheet_id, **({"valueRanges": ranges} if ranges else {})}


def _input_option(source: Json) -> str:
    option = source.get("valueInputOption", "INPUT_VALUE_OPTION_UNSPECIFIED")
    if option == "INPUT_VALUE_OPTION_UNSPECIFIED":
        raise invalid("'valueInputOption' is required but not specified")
    return str(option)


def _today(call: Call, book: Spreadsheet) -> date:
    return Calculator(book, call.now).now.date()


def _by_rows(values: list[list[Any]], dimension: str) -> list[list[Any]]:
    if dimension == "ROWS":
        return values
    width = max(map(len, values), default=0)
    return [[line[row] if row < len(line) else None for line in values] for row in range(width)]


def _writer(book: Spreadsheet, option: str, today: date) -> Callable[[Cell, Any], Cell]:
    if option == "USER_ENTERED":
        locale = find_locale(book.locale)
        return lambda old, value: entered_cell(old, value, locale, today)
    return raw_cell


def write_values(sheet: Sheet, area: Area, values: list[list[Any]], writer: Callable[[Cell, Any], Cell]) -> Written:
    """Write rows of values from the top left of an area that they fit in; None leaves a cell alone."""
    rows: set[int] = set()
    columns: set[int] = set()
    count = 0
    width = max(map(len, values), default=0)
    for down, line in enumerate(values):
        row = area.top + down
        line_before = sheet.rows[row] if row < len(sheet.rows) else ()
        cells = {}
        for across, value in enumerate(line):
            if value is None:
                continue
            if isinstance(value, list | dict):
                kind = "list_value" if isinstance(value, list) else "struct_value"
                raise invalid(f"Invalid values[{down}][{across}]: {kind} {{\n}}\n")
            column = area.left + across
            cells[column] = writer(line_before[column] if column < len(line_before) else EMPTY, value)
        sheet.put(row, cells)
        if cells:
            rows.add(row)
            columns.update(cells)
            count += len(cells)
    extent = Area(area.sheet_id, area.top, area.top + len(values), area.left, area.left + width) if width else area
    return Written(sheet, extent, frozenset(rows), frozenset(columns), count)


def _fit(sheet: Sheet, bounds: Bounds, values: list[list[Any]]) -> Area:
    """The area to write in; a single cell is an anchor.

    Raises:
        ApiError: the values do not fit.
    """
    area = clamp(sheet, bounds)
    height, width = len(values), max(map(len, values), default=0)
    if bounds.single:
        bottom, right = area.top + height, area.left + width
        if bottom > sheet.row_count or right > sheet.column_count:
            raise grid_limits(sheet, Bounds(area.top, max(bottom, area.bottom), area.left, max(right, area.right)))
        return area
    within = f"Requested writing within range [{format_area(sheet, area)}], but tried writing to"
    if height > area.rows:
        raise invalid(f"{within} row [{area.bottom + 1}]")
    if width > area.columns:
        raise invalid(f"{within} column [{column_name(area.right)}]")
    return area


def _update_one(call: Call, book: Spreadsheet, text: str, data: Json, option: str) -> Written:
    sheet, bounds = find_range(book, text)
    values = _by_rows(data.get("values", []), _dimension(data))
    area = _fit(sheet, bounds, values)
    return write_values(sheet, area, values, _writer(book, option, _today(call, book)))


def _counts(written: Written) -> Json:
    counts = {
        "updatedRows": len(written.rows),
        "updatedColumns": len(written.columns),
        "updatedCells": written.cells,
    }
    return {name: count for name, count in counts.items() if count}


def _response(call: Call, book: Spreadsheet, written: Written, dimension: str, source: Json) -> Json:
    answer = {
        "spreadsheetId": book.spreadsheet_id,
        "updatedRange": format_area(written.sheet, written.area),
        **_counts(written),
    }
    if source.get("includeValuesInResponse"):
        renderer = _renderer(call, book, "response")
        answer["updatedData"] = _value_range(renderer, written.sheet, written.area, dimension)
    return answer


def _check_body_range(book: Spreadsheet, text: str, data: Json) -> None:
    if "range" in data and data["range"] != text and find_range(book, data["range"]) != find_range(book, text):
        raise invalid(f"Requested writing within range [{text}], but the range of the values is [{data['range']}]")


@answers(BOOK_WRITES, "sheets.spreadsheets.values.update")
def _update(call: Call, book: Spreadsheet) -> Json:
    option = _input_option(call.params)
    _check_body_range(book, call.params["range"], call.body)
    written = _update_one(call, book, call.params["range"], call.body, option)
    return _response(call, book, written, _dimension(call.body), call.params)


def _totals(book: Spreadsheet, all_written: Iterable[Written]) -> Json:
    done = list(all_written)
    totals = {
        "totalUpdatedRows": len({(w.sheet.sheet_id, row) for w in done for row in w.rows}),
        "totalUpdatedColumns": len({(w.sheet.sheet_id, column) for w in done for column in w.columns}),
        "totalUpdatedCells": sum(w.cells for w in done),
        "totalUpdatedSheets": len({w.sheet.sheet_id for w in done if w.cells}),
    }
    return {"spreadsheetId": book.spreadsheet_id, **{name: count for name, count in totals.items() if count}}


def _in_data(number: int, error: ApiError) -> ApiError:
    return ApiError(error.code, f"Invalid data[{number}]: {error.message}")


@answers(BOOK_WRITES, "sheets.spreadsheets.values.batchUpdate")
def _batch_update(call: Call, book: Spreadsheet) -> Json:
    option = _input_option(call.body)
    done = []
    for number, data in enumerate(call.body.get("data", [])):
        try:
            done.append((_update_one(call, book, data.get("range", ""), data, option), _dimension(data)))
        except ApiError as error:
            raise _in_data(number, error) from error
    answer = _totals(book, (written for written, _ in done))
    responses = [_response(call, book, written, dimension, call.body) for written, dimension in done]
    return {**answer, **({"responses": responses} if responses else {})}


@answers(BOOK_WRITES, "sheets.spreadsheets.values.batchUpdateByDataFilter")
def _batch_update_by_filter(call: Call, book: Spreadsheet) -> Json:
    option = _input_option(call.body)
    writer = _writer(book, option, _today(call, book))
    responses, done = [], []
    for number, data in enumerate(call.body.get("data", [])):
        filter_ = data.get("dataFilter", {})
        values = _by_rows(data.get("values", []), _dimension(data))
        try:
            for sheet, bounds in filter_areas(book, filter_):
                written = write_values(sheet, _fit(sheet, bounds, values), values, writer)
                done.append(written)
                answer = _response(call, book, written, _dimension(data), call.body)
                answer.pop("spreadsheetId")
                responses.append({**answer, "dataFilter": filter_})
        except ApiError as error:
            raise _in_data(number, error) from error
    return {**_totals(book, done), **({"responses": responses} if responses else {})}


@answers(BOOK_WRITES, "sheets.spreadsheets.values.append")
def _append(call: Call, book: Spreadsheet) -> Json:
    option = _input_option(call.params)
    values = _by_rows(call.body.get("values", []), _dimension(call.body))
    sheet, area = find_area(book, call.params["range"])
    table = find_table(sheet, area)
    answer: Json = {"spreadsheetId": book.spreadsheet_id}
    top, left = area.top, area.left
    if table:
        answer["tableRange"] = format_area(sheet, table)
        top, left = table.bottom, table.left
    if call.params.get("insertDataOption") == "INSERT_ROWS" and top < sheet.row_count and values:
        from sync_provider.sandbox.dimensions import insert_rows

        insert_rows(book, sheet, top, len(values))
    sheet.row_count = max(sheet.row_count, top + len(values))
    width = max(map(len, values), default=0)
    if left + width > sheet.column_count:
        raise grid_limits(sheet, Bounds(top, top + len(values), left, left + width))
    book.check_size()
    target = Area(sheet.sheet_id, top, top + 1, left, left + 1)
    written = write_values(sheet, target, values, _writer(book, option, _today(call, book)))
    answer["updates"] = _response(call, book, written, _dimension(call.body), call.params)
    return answer


def _clear_area(sheet: Sheet, area: Area) -> str:
    sheet.change(area, lambda cell: cell._replace(value=None, formula=None) if cell != EMPTY else cell)
    return format_area(sheet, area)


@answers(BOOK_WRITES, "sheets.spreadsheets.values.clear")
def _clear(call: Call, book: Spreadsheet) -> Json:
    cleared = _clear_area(*find_area(book, call.params["range"]))
    return {"spreadsheetId": book.spreadsheet_id, "clearedRange": cleared}


@answers(BOOK_WRITES, "sheets.spreadsheets.values.batchClear")
def _batch_clear(call: Call, book: Spreadsheet) -> Json:
    found = [find_area(book, text) for text in call.body.get("ranges", [])]
    cleared = [_clear_area(sheet, area) for sheet, area in found]
    return {"spreadsheetId": book.spreadsheet_id, **({"clearedRanges": cleared} if cleared else {})}


@answers(BOOK_WRITES, "sheets.spreadsheets.values.batchClearByDataFilter")
def _batch_clear_by_filter(call: Call, book: Spreadsheet) -> Json:
    found = matching(book, call.body.get("dataFilters", []))
    cleared = [_clear_area(sheet, area) for sheet, area, _ in found]
    return {"spreadsheetId": book.spreadsheet_id, **({"clearedRanges": cleared} if cleared else {})}
