"""`spreadsheets.batchUpdate`: all requests or none."""

from __future__ import annotations

import sync_provider.sandbox.batch_cells
import sync_provider.sandbox.batch_grid
import sync_provider.sandbox.batch_groups
import sync_provider.sandbox.batch_marks
import sync_provider.sandbox.batch_sheets  # noqa: F401 - each enters its requests into the table
from sync_provider.sandbox.calls import BOOK_WRITES, Call, answers
from sync_provider.sandbox.errors import ApiError, invalid
from sync_provider.sandbox.model import Json, Spreadsheet
from sync_provider.sandbox.requests import REQUESTS, Work
from sync_provider.sandbox.spreadsheets import spreadsheet_resource


@answers(BOOK_WRITES, "sheets.spreadsheets.batchUpdate")
def _batch_update(call: Call, book: Spreadsheet) -> Json:
    requests = call.body.get("requests", [])
    if not requests:
        raise invalid("Must specify at least one request.")
    work, replies = Work(call, book), []
    for number, request in enumerate(requests):
        if len(request) != 1:
            raise invalid(f"Invalid requests[{number}]: Must specify exactly one kind of request.")
        ((kind, body),) = request.items()
        if kind not in REQUESTS:
            raise ApiError(501, f"The sandbox does not speak requests[{number}].{kind}.")
        try:
            replies.append(REQUESTS[kind](work, body))
        except ApiError as error:
            raise ApiError(error.code, f"Invalid requests[{number}].{kind}: {error.message}") from error
        book.cache.clear()
    answer: Json = {"spreadsheetId": book.spreadsheet_id, "replies": replies}
    if call.body.get("includeSpreadsheetInResponse"):
        answer["updatedSpreadsheet"] = spreadsheet_resource(book, call.base_url)
    return answer
