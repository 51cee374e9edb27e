"""Tabs that do not exist yet, and tabs without a header."""

from __future__ import annotations

import secrets
from typing import Any

from sync_provider.connectors.base import WriteRequest
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.api import Book, SheetsApi, Tab
from sync_provider.connectors.sheets.edits import header_cells, protect_column
from sync_provider.connectors.sheets.layout import Header
from sync_provider.connectors.sheets.limits import check_room
from sync_provider.connectors.sheets.settling import settle

_ROWS, _MIN_COLUMNS = 1000, 1
IDS = "sync_provider : identité des lignes, à ne pas modifier"
"""What people read when they are warned before they change an id."""


def new_tab(
    api: SheetsApi, book: Book, title: str, header_row: int, request: WriteRequest, id_column: str | None = None
) -> Header:
    """Make a tab with a frozen, bold header, all at once; its ``id_column`` is protected.

    Raises:
        SyncDataError: the spreadsheet has no room for it.
    """
    columns = max(_MIN_COLUMNS, len(request.columns))
    tab = Tab(sheet_id=secrets.randbelow(2**31 - 2) + 1, title=title, index=0, rows=_ROWS, columns=columns)
    check_room(book, tab, 0, spare=tab.rows * tab.columns)
    grid = {"rowCount": _ROWS, "columnCount": columns, "frozenRowCount": header_row + 1}
    add = {"addSheet": {"properties": {"sheetId": tab.sheet_id, "title": title, "gridProperties": grid}}}
    settle(
        lambda: api.batch_update([add, *_header(tab, header_row, request, id_column)]),
        lambda: any(each.sheet_id == tab.sheet_id for each in api.book().tabs),
    )
    return _names(tab, header_row, request)


def with_columns(api: SheetsApi, header: Header, request: WriteRequest, id_column: str | None = None) -> Header:
    """Write the names into the empty header row of a tab that exists; its ``id_column`` is protected."""
    tab = header.tab
    request.fence()
    grown: list[dict[str, Any]] = []
    if len(request.columns) > tab.columns:
        missing = len(request.columns) - tab.columns
        grown.append({"appendDimension": {"sheetId": tab.sheet_id, "dimension": "COLUMNS", "length": missing}})
    if header.row >= tab.rows:
        missing = header.row + 1 - tab.rows
        grown.append({"appendDimension": {"sheetId": tab.sheet_id, "dimension": "ROWS", "length": missing}})
    settle(
        lambda: api.batch_update([*grown, *_header(tab, header.row, request, id_column)], tab=tab.title),
        lambda: api.values([a1.block(tab.title, header.row, header.row + 1, 0, len(request.columns))]) != [[]],
    )
    wide = Tab(
        sheet_id=tab.sheet_id,
        title=tab.title,
        index=tab.index,
        rows=max(tab.rows, header.row + 1),
        columns=max(tab.columns, len(request.columns)),
        frozen_rows=tab.frozen_rows,
    )
    return _names(wide, header.row, request)


def _names(tab: Tab, row: int, request: WriteRequest) -> Header:
    return Header(tab, row, {at: column.name for at, column in enumerate(request.columns)})


def _header(tab: Tab, row: int, request: WriteRequest, id_column: str | None) -> list[dict[str, Any]]:
    names = [column.name for column in request.columns]
    protected = [protect_column(tab.sheet_id, names.index(id_column), IDS)] if id_column in names else []
    return [*header_cells(tab.sheet_id, row, 0, names), *protected]
