"""Where a mapping's columns stand: the tab or tabs that an endpoint means, their header, and where each wanted column is."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from sync_provider.connectors.base import ColumnRequest, TabMemory
from sync_provider.connectors.files.csv_header import missing_column
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.api import Book, SheetsApi, Tab
from sync_provider.connectors.sheets.cells import verbatim
from sync_provider.core.endpoints import GoogleSheetsEndpoint, SheetGid, is_pattern
from sync_provider.core.errors import MappingError, SyncDataError, Where

log = logging.getLogger(__name__)

TEMPORARY = "sync_provider temporary "
"""Starts the titles of tabs of our own, which live for the time of a write."""


def find_tabs(book: Book, endpoint: GoogleSheetsEndpoint, memory: TabMemory | None) -> list[Tab]:
    """The tabs that an endpoint means, in their order; empty where there is none of that title (yet). A named range is the part of its tab.

    Args:
        book: the spreadsheet.
        endpoint: names the tab by title, 0-based index, pattern or number.
        memory: knows the number behind a title, so that a tab that was renamed is followed; it is told what is found.

    Raises:
        SyncDataError: there is no tab of that index or number, or no range of that name.
        MappingError: the pattern is no regular expression.
    """
    if endpoint.range is not None:
        return [_part(book, endpoint.range)]
    sheet = endpoint.sheet
    if isinstance(sheet, SheetGid):
        found = [tab for tab in book.tabs if tab.sheet_id == sheet.gid]
        if not found:
            raise _no_tab(f"a tab of number {sheet.gid}", book)
        return found
    if isinstance(sheet, int):
        if not 0 <= sheet < len(book.tabs):
            raise _no_tab(f"a tab of index {sheet}", book)
        return [book.tabs[sheet]]
    if is_pattern(sheet):
        try:
            pattern = re.compile(sheet[1:-1])
        except re.error as error:
            raise MappingError(f"sheet is no regular expression: {error}", where=Where(field="sheet")) from error
        return [tab for tab in book.tabs if pattern.fullmatch(tab.title) and not tab.title.startswith(TEMPORARY)]
    # As in the API, case makes no difference.
    found = [tab for tab in book.tabs if tab.title.casefold() == sheet.casefold()]
    if memory is None:
        return found
    if found:
        memory.remember(sheet, found[0].sheet_id)
    elif (number := memory.number(sheet)) is not None:
        found = [tab for tab in book.tabs if tab.sheet_id == number]
        for tab in found:
            log.warning("The tab %r is called %r now; it is followed by its number %d", sheet, tab.title, tab.sheet_id)
    return found


def _part(book: Book, name: str) -> Tab:
    """The part of a tab that a named range holds; what the range leaves open reaches to the end of the grid."""
    found = book.named_ranges.get(name)
    tab = None if found is None else next((t for t in book.tabs if t.sheet_id == found.get("sheetId", 0)), None)
    if found is None or tab is None:
        close = get_close_matches(name, book.named_ranges, n=3) or sorted(book.named_ranges)[:20]
        shown = ", ".join(map(repr, close))
        raise SyncDataError(
            f"the spreadsheet has no named range {name!r}",
            where=Where(endpoint=f"spreadsheet {book.id}", field="range"),
            hint=f"Nearest: {shown}."
            if close
            else "It has none at all: name one in Data > Named ranges, or give sheet.",
            code="range_missing",
        )
    return replace(
        tab,
        first_row=found.get("startRowIndex", 0),
        rows=min(tab.rows, found.get("endRowIndex", tab.rows)),
        first_column=found.get("startColumnIndex", 0),
        columns=min(tab.columns, found.get("endColumnIndex", tab.columns)),
    )


def missing_tab(endpoint: GoogleSheetsEndpoint, book: Book) -> SyncDataError:
    """The error for a title that no tab has, with the nearest that are there."""
    return _no_tab(f"a tab {endpoint.sheet!r}", book, near=str(endpoint.sheet).strip("/"))


def _no_tab(what: str, book: Book, near: str = "") -> SyncDataError:
    titles = [tab.title for tab in book.tabs]
    close = get_close_matches(near, titles, n=3)
    shown = ", ".join(repr(title) for title in close or titles[:20])
    return SyncDataError(
        f"the spreadsheet has no such tab: {what}",
        where=Where(endpoint=f"spreadsheet {book.id}"),
        hint=f"{'Nearest' if close else 'Tabs'}: {shown}.",
        code="sheet_missing",
    )


@dataclass(frozen=True, slots=True)
class Header:
    """The names in a tab's header row. ``row`` is 0-based; ``names``: column (0-based) → name, empty ones left out."""

    tab: Tab
    row: int
    names: dict[int, str]

    def find(self, wanted: Sequence[ColumnRequest]) -> list[tuple[int, ColumnRequest]]:
        """Where each wanted column stands; optional ones may be left out. Nothing wanted: all of them, as they are.

        Raises:
            SyncDataError: a wanted column is missing, or stands there twice.
        """
        found = []
        for column in wanted:
            places = [at for at, name in self.names.items() if name == column.name]
            if len(places) > 1:
                cells = " and ".join(a1.cell(self.row, at) for at in places)
                raise SyncDataError(
                    f"column {column.name!r} stands there {len(places)} times, in {cells}",
                    where=Where(sheet=self.tab.title, cell=a1.cell(self.row, places[0]), field=column.name),
                    hint="Give the columns different names.",
                    code="duplicate_column",
                )
            if places:
                found.append((places[0], column))
            elif not column.optional:
                where = Where(sheet=self.tab.title, cell=a1.cell(self.row, 0))
                raise missing_column(column.name, list(self.names.values()), where)
        return found


def read_header(api: SheetsApi, tab: Tab, endpoint: GoogleSheetsEndpoint) -> Header:
    """Read a tab's header row: one request, none where the grid ends before it."""
    row = tab.first_row + endpoint.header_row - 1
    if row >= tab.rows or not tab.columns:
        return Header(tab, row, {})
    (rows,) = api.values([a1.block(tab.title, row, row + 1, tab.first_column, tab.columns)])
    return header_of(tab, row, rows)


def header_of(tab: Tab, row: int, rows: list[list[object]]) -> Header:
    """The header in the values of its row."""
    cells = rows[0] if rows else []
    names = {at: verbatim(value) or "" for at, value in enumerate(cells, tab.first_column)}
    return Header(tab, row, {at: name for at, name in names.items() if name.strip()})
