"""Google's limits on a spreadsheet, looked at before anything is written. No I/O."""

from __future__ import annotations

from sync_provider.connectors.sheets.api import Book, Tab
from sync_provider.core.errors import SyncDataError, Where

MAX_CELLS = 10_000_000
"""Cells of all tabs of one spreadsheet, empty ones included."""


def check_room(book: Book, tab: Tab, rows: int, *, spare: int = 0) -> None:
    """Let a tab grow by some rows, and the spreadsheet hold some more cells for a while.

    Raises:
        SyncDataError: the spreadsheet would have too many cells (``spreadsheet_full``); nothing has been written.
    """
    there = sum(each.rows * each.columns for each in book.tabs)
    wanted = there + rows * tab.columns + spare
    if wanted > max(MAX_CELLS, there):
        raise SyncDataError(
            f"the spreadsheet would have {wanted:,} cells, and Google allows {MAX_CELLS:,}; nothing was written",
            where=Where(endpoint=f"spreadsheet {book.id}", sheet=tab.title),
            hint="Delete empty rows and columns of its tabs, or write to another spreadsheet.",
            code="spreadsheet_full",
        )
