"""Writes to a tab cell by cell: only what differs, compared right before and read back after.

Every request is one ``spreadsheets.batchUpdate``, which Google applies as a whole or not at all; a change set that fits into one is all or
nothing. Texts are stored as they are: ``stringValue`` is never parsed, so ``=1+1`` and ``0042`` stay text.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_provider.connectors.base import ColumnRequest, TabMemory, WriteRequest, WriteResult
from sync_provider.connectors.files.csv_changes import ChangeSet
from sync_provider.connectors.sheets.api import Book, SheetsApi, Tab
from sync_provider.connectors.sheets.appending import Appender
from sync_provider.connectors.sheets.edits import bodies
from sync_provider.connectors.sheets.faults import OutcomeUnknownError
from sync_provider.connectors.sheets.layout import Header, find_tabs, missing_tab, read_header
from sync_provider.connectors.sheets.merging import Merge
from sync_provider.connectors.sheets.new_tab import new_tab, with_columns
from sync_provider.connectors.sheets.replacing import replace_all
from sync_provider.connectors.sheets.settling import ATTEMPTS
from sync_provider.core.endpoints import GoogleSheetsEndpoint, is_pattern
from sync_provider.core.errors import MappingError, Where

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """The tab that is written to, as it is now.

    Args:
        positions: 0-based column of each column of the request.
    """

    endpoint: GoogleSheetsEndpoint
    api: SheetsApi
    book: Book
    header: Header
    positions: list[int]

    @property
    def tab(self) -> Tab:
        return self.header.tab


def write_changes(
    api: SheetsApi,
    endpoint: GoogleSheetsEndpoint,
    memory: TabMemory | None,
    request: WriteRequest,
    changes: Iterator[pa.RecordBatch],
) -> WriteResult:
    """Apply a change stream to the endpoint's tab; see `Connector.write`.

    Raises:
        SyncDataError: there is no such tab and none may be made; a column is missing; the workbook is full.
        SyncConnectionError: Google cannot be reached, or its quota is used up; what was written stays, a rerun goes on.
    """
    if endpoint.range is not None or is_pattern(endpoint.sheet):
        what, field = ("a pattern of tabs", "sheet") if endpoint.range is None else ("a named range", "range")
        raise MappingError(f"{what} can only be read", where=Where(field=field))
    if request.mode in ("append", "replace"):
        target = open_target(api, endpoint, memory, request)
        if request.mode == "append":
            return Appender(target, request).append(changes)
        return replace_all(target, request, changes)
    with ChangeSet(request, changes) as planned:
        if not len(planned):
            return WriteResult()
        return _merge(api, endpoint, memory, request, planned)


def open_target(
    api: SheetsApi, endpoint: GoogleSheetsEndpoint, memory: TabMemory | None, request: WriteRequest
) -> Target:
    """Find the tab and its columns; make what is missing.

    Raises:
        SyncDataError: it cannot be made, or lacks a column.
    """
    book = api.book()
    tabs = find_tabs(book, endpoint, memory)
    names = [column.name for column in request.columns]
    if tabs:
        header = read_header(api, tabs[0], endpoint)
        if not header.names:
            header = with_columns(api, header, request, endpoint.id_column)
    elif endpoint.create and isinstance(endpoint.sheet, str):
        request.fence()
        header = new_tab(api, book, endpoint.sheet, endpoint.header_row - 1, request, endpoint.id_column)
        if memory is not None:
            memory.remember(endpoint.sheet, header.tab.sheet_id)
    else:
        raise missing_tab(endpoint, book)
    places = header.find([ColumnRequest(name=column.name, type=column.type) for column in request.columns])
    by_name = {column.name: at for at, column in places}
    return Target(endpoint, api, book, header, [by_name[name] for name in names])


def _merge(
    api: SheetsApi,
    endpoint: GoogleSheetsEndpoint,
    memory: TabMemory | None,
    request: WriteRequest,
    planned: ChangeSet,
) -> WriteResult:
    """Compare, write, read back; where the answer is lost, the reading decides what is left to do."""
    target = open_target(api, endpoint, memory, request)
    merge = Merge(target, request, planned)
    for attempt in range(1, ATTEMPTS + 1):
        requests = merge.compare()
        if not requests:
            break
        try:
            for batch in bodies(requests):
                request.fence()
                api.batch_update(batch, tab=target.tab.title)
        except OutcomeUnknownError:
            if attempt == ATTEMPTS:
                raise
            log.warning("The answer to a write was lost; the sheet is read to see what was applied")
            merge.look_again()
            continue
        merge.read_back()
        break
    return merge.result()
