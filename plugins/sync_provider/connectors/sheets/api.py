"""The few requests that the connector makes, each one method: budget, retries, token and errors are handled here, once."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import quote

from sync_provider.connectors.base import Budget, Clock, TokenStore
from sync_provider.connectors.sheets import a1
from sync_provider.connectors.sheets.credentials import account_of
from sync_provider.connectors.sheets.edits import compact, place_of
from sync_provider.connectors.sheets.faults import (
    OutcomeUnknownError,
    Refusal,
    error_of,
    no_json,
    refusal_of,
    token_error,
    unreachable,
)
from sync_provider.core.errors import SyncConnectionError, Where

SHEETS_URL = "https://sheets.googleapis.com"
DRIVE_URL = "https://www.googleapis.com"
TIMEOUT_S = (10.0, 180.0)  # to connect, to answer in all: Google gives a request 180 s
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 64.0
_TRIES = 6  # where Google cannot be reached or fails; for quota it is time that is limited
_BOOK_FIELDS = (
    "properties(title,locale,timeZone),"
    "sheets(properties(sheetId,title,index,sheetType,gridProperties),basicFilter),"
    "namedRanges"
)


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab of a spreadsheet, or the part of it that a named range holds.

    Args:
        rows: where its grid or the part ends (exclusive); columns: the same.
        first_row: where the part begins (0-based); first_column: the same.
        filter: the filter that people sort by, as the API has it.
    """

    sheet_id: int
    title: str
    index: int
    rows: int
    columns: int
    frozen_rows: int = 0
    first_row: int = 0
    first_column: int = 0
    filter: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Book:
    """A spreadsheet without its cells. ``named_ranges``: name → grid range as the API has it."""

    id: str
    title: str
    locale: str
    time_zone: str
    tabs: tuple[Tab, ...]
    named_ranges: dict[str, dict[str, int]]


class SheetsApi:
    """One spreadsheet. One thread; close it.

    Args:
        spreadsheet_id: the id in its address.
        credentials: google-auth's.
        base_url: of a stand-in for Google, such as the sandbox; None: Google.
        clock: waits.
        budget: allowance shared with others; None: none but Google's.
        total_wait_s: longest time that this instance waits in all, for quota and for retries.
        tokens: access tokens shared with other processes.
        token_name: name of these credentials' token there; None: not shared.
    """

    def __init__(
        self,
        spreadsheet_id: str,
        credentials: Any,
        *,
        base_url: str | None = None,
        clock: Clock,
        budget: Budget | None = None,
        total_wait_s: float = 1800.0,
        tokens: TokenStore | None = None,
        token_name: str | None = None,
    ) -> None:
        import requests

        self.spreadsheet_id, self.account = spreadsheet_id, account_of(credentials)
        self._credentials, self._clock, self._budget = credentials, clock, budget
        self._tokens, self._token_name = tokens, token_name
        self._left_s = total_wait_s
        self._lost = 0
        self.reply_bytes = 0
        """Size of the last answer, decoded."""
        self._sheets = (base_url or SHEETS_URL).rstrip("/")
        self._drive = (base_url or DRIVE_URL).rstrip("/")
        self._session = requests.Session()
        self._session.max_redirects = 1  # none of ours is followed; fewer would be an error of requests' own

    def book(self) -> Book:
        """Title, zone, tabs and named ranges: one request."""
        found = self._call("GET", self._url(""), "read", params={"fields": _BOOK_FIELDS})
        properties = found.get("properties", {})
        return Book(
            id=self.spreadsheet_id,
            title=properties.get("title", ""),
            locale=properties.get("locale", ""),
            time_zone=properties.get("timeZone", "Etc/GMT"),
            tabs=tuple(_tab(sheet) for sheet in found.get("sheets", []) if "properties" in sheet),
            named_ranges={each["name"]: _grid_range(each.get("range", {})) for each in found.get("namedRanges", [])},
        )

    def values(self, ranges: Sequence[str], *, formulas: bool = False) -> list[list[list[Any]]]:
        """Rows of each range, unformatted, dates as serial numbers, without empty cells at the ends: one request.

        Raises:
            SyncConnectionError: the answer is not about the ranges asked for (``short_read``).
        """
        render = "FORMULA" if formulas else "UNFORMATTED_VALUE"
        params = {"ranges": list(ranges), "valueRenderOption": render, "dateTimeRenderOption": "SERIAL_NUMBER"}
        found = self._call("GET", self._url("/values:batchGet"), "read", params=params, place=ranges[0])
        answered = found.get("valueRanges", [])
        if len(answered) != len(ranges) or any(
            a1.end_row_of(each.get("range", "")) != a1.end_row_of(asked)
            for each, asked in zip(answered, ranges, strict=True)
        ):
            raise SyncConnectionError(
                "the sheet was read short: Google answered about other cells than asked for",
                where=Where(endpoint=f"spreadsheet {self.spreadsheet_id}", sheet=ranges[0]),
                hint="Somebody may be changing its size; it will be tried again.",
                code="short_read",
            )
        return [each.get("values", []) for each in answered]

    def write_values(self, data: Sequence[tuple[str, list[list[Any]]]]) -> None:
        """Write values as they are, texts never parsed, None leaves a cell alone: one request.

        The same values may be written twice: where an answer is lost, it is simply sent again. Only for cells that are ours alone.
        """
        parts = [{"range": at, "values": rows} for at, rows in data]
        body = {"valueInputOption": "RAW", "data": parts}
        self._call("POST", self._url("/values:batchUpdate"), "write", body=body, place=data[0][0], repeatable=True)

    def batch_update(self, requests: Sequence[dict[str, Any]], *, tab: str | None = None) -> list[dict[str, Any]]:
        """Apply all requests or none: one request. Returns their replies.

        Args:
            requests: as the API takes them.
            tab: title that errors name.

        Raises:
            OutcomeUnknownError: the answer was lost.
        """
        body = {"requests": list(requests)}
        found = self._call("POST", self._url(":batchUpdate"), "write", body=body, place=tab)
        return list(found.get("replies", []))

    def cells(self, grid_ranges: Sequence[dict[str, int]], fields: str) -> dict[tuple[int, int], dict[str, Any]]:
        """Cells of some ranges of one tab under a field mask below a cell, by (row, column): one request."""
        body = {"dataFilters": [{"gridRange": each} for each in grid_ranges]}
        params = {"fields": f"sheets.data(startRow,startColumn,rowData.values({fields}))"}
        return _cells(self._call("POST", self._url(":getByDataFilter"), "read", params=params, body=body))

    def block(self, at: str, fields: str) -> dict[tuple[int, int], dict[str, Any]]:
        """Cells of one range (A1) under a field mask below a cell, by (row, column): one request, for which the right to read is enough."""
        params = {"ranges": at, "fields": f"sheets.data(startRow,startColumn,rowData.values({fields}))"}
        return _cells(self._call("GET", self._url(""), "read", params=params, place=at))

    def rows(self, grid_ranges: Sequence[dict[str, int]]) -> list[tuple[int, list[list[Any]]]]:
        """Unformatted values of many ranges of one tab: their first row (0-based) and cells. One request."""
        body = {
            "dataFilters": [{"gridRange": each} for each in grid_ranges],
            "valueRenderOption": "UNFORMATTED_VALUE",
            "dateTimeRenderOption": "SERIAL_NUMBER",
        }
        answer = self._call("POST", self._url("/values:batchGetByDataFilter"), "read", body=body)
        found = [each["valueRange"] for each in answer.get("valueRanges", [])]
        return [(a1.first_row_of(each.get("range", "")), each.get("values", [])) for each in found]

    def metadata(self) -> dict[str, Any]:
        """Developer metadata of all tabs: one request."""
        return self._call(
            "GET", self._url(""), "read", params={"fields": "sheets(properties.sheetId,developerMetadata)"}
        )

    def file(self) -> dict[str, Any]:
        """What Drive knows of the spreadsheet: version, and whether this account may edit it. One request."""
        url = f"{self._drive}/drive/v3/files/{quote(self.spreadsheet_id, safe='')}"
        params = {"fields": "version,trashed,capabilities(canEdit)", "supportsAllDrives": "true"}
        return self._call("GET", url, "drive", params=params)

    def version(self) -> str:
        """A mark that changes with every change of the spreadsheet: one request."""
        return str(self.file().get("version", ""))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _url(self, rest: str) -> str:
        return f"{self._sheets}/v4/spreadsheets/{quote(self.spreadsheet_id, safe='')}{rest}"

    def _call(
        self,
        verb: str,
        url: str,
        kind: str,
        *,
        params: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        place: str | None = None,
        repeatable: bool = False,
    ) -> dict[str, Any]:
        """One request, tried again where that is safe.

        Raises:
            SyncError: see `faults.error_of`.
            OutcomeUnknownError: a write that must not be repeated got no answer.
        """
        wait_s, tries = _FIRST_WAIT_S, 0
        refreshed = False
        while True:
            if self._budget is not None:
                self._budget.acquire(f"google-{'drive' if kind == 'drive' else 'sheets'}:{kind}:{self.account}")
            answer = self._send(verb, url, params, body)
            if isinstance(answer, dict):
                self._lost = 0 if kind == "write" else self._lost
                return answer
            if answer.status == 401 and not refreshed:
                refreshed = True
                self._refresh()
                continue
            if kind == "write" and not repeatable and answer.is_doubtful:
                self._lost += 1
                self._pause(min(_FIRST_WAIT_S * 2**self._lost, _LONGEST_WAIT_S) * (0.5 + random.random()) / 2)  # noqa: S311
                raise OutcomeUnknownError(
                    "the answer to a write was lost",
                    where=Where(endpoint=f"spreadsheet {self.spreadsheet_id}", sheet=place),
                    hint="It is read back to see whether it was applied.",
                    code="google_outcome_unknown",
                )
            tries += not answer.is_quota
            pause_s = answer.retry_after_s if answer.retry_after_s is not None else wait_s * (0.5 + random.random())  # noqa: S311
            if not answer.may_pass or tries >= _TRIES or not self._pause(pause_s):
                parts = [] if body is None else body.get("requests") or body.get("data") or []
                raise error_of(
                    answer,
                    account=self.account,
                    spreadsheet=self.spreadsheet_id,
                    place=place,
                    cell=place_of(answer.message, parts),
                    write=kind == "write",
                    drive=kind == "drive",
                )
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    def _pause(self, seconds: float) -> bool:
        """Wait, if that much waiting is left."""
        if seconds > self._left_s:
            return False
        self._left_s -= seconds
        self._clock.sleep(seconds)
        return True

    def _send(
        self, verb: str, url: str, params: dict[str, Any] | None, body: dict[str, Any] | None
    ) -> dict[str, Any] | Refusal:
        import requests
        import urllib3

        if not self._credentials.valid:
            self._refresh()
        headers = {"Authorization": f"Bearer {self._credentials.token}", "Accept-Encoding": "gzip"}
        data = None if body is None else compact(body)
        if data is not None:
            headers["Content-Type"] = "application/json; charset=UTF-8"
        end_s = time.monotonic() + TIMEOUT_S[1]
        try:
            with self._session.request(
                verb,
                url,
                params={**(params or {}), "prettyPrint": "false"},
                data=data,
                headers=headers,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            ) as answer:
                text = _body(answer, end_s)
        except (requests.exceptions.SSLError, ValueError) as error:  # ValueError: what is no address at all
            raise unreachable(error, self.spreadsheet_id) from None
        except requests.exceptions.ConnectionError as error:
            return Refusal(0, sent=not ("NewConnectionError" in str(error) or "NameResolutionError" in str(error)))
        except (requests.RequestException, urllib3.exceptions.HTTPError, TimeoutError):
            return Refusal(0)
        self.reply_bytes = len(text)
        if answer.status_code >= 300:
            return refusal_of(answer.status_code, text, answer.headers.get("Retry-After"), self._clock.now())
        try:
            found = json.loads(text) if text.strip() else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise no_json(answer.headers.get("Content-Type"), self.spreadsheet_id)
        return found

    def _refresh(self) -> None:
        """Get an access token: another process's, unless that is the one that was just refused; google-auth repeats what may pass."""
        import google.auth.transport.requests
        from google.auth.exceptions import GoogleAuthError

        if self._take_shared():
            return
        try:
            self._credentials.refresh(google.auth.transport.requests.Request(self._session))
        except GoogleAuthError as error:
            raise token_error(error, self.account) from None
        if self._tokens is not None and self._token_name is not None and self._credentials.expiry is not None:
            expires_at = self._credentials.expiry.replace(tzinfo=UTC)  # google-auth's are UTC without saying so
            self._tokens.put(self._token_name, self._credentials.token, expires_at)

    def _take_shared(self) -> bool:
        found = self._tokens.get(self._token_name) if self._tokens is not None and self._token_name else None
        if found is None or found[0] == self._credentials.token:
            return False
        self._credentials.token, self._credentials.expiry = found[0], found[1].astimezone(UTC).replace(tzinfo=None)
        return bool(self._credentials.valid)  # not where it is about to expire


def _body(answer: Any, end_s: float) -> str:
    """The whole body, decoded; one that trickles in does not keep us waiting beyond ``end_s`` (monotonic)."""
    parts = []
    while part := answer.raw.read1(1 << 16, decode_content=True):
        parts.append(part)
        if time.monotonic() > end_s:
            raise TimeoutError
    return b"".join(parts).decode("utf-8", "replace")


def _cells(answer: dict[str, Any]) -> dict[tuple[int, int], dict[str, Any]]:
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for sheet in answer.get("sheets", []):
        for data in sheet.get("data", []):
            top, left = int(data.get("startRow", 0)), int(data.get("startColumn", 0))
            for down, row_data in enumerate(data.get("rowData", [])):
                for right, cell in enumerate(row_data.get("values", [])):
                    found[top + down, left + right] = cell
    return found


def _tab(sheet: dict[str, Any]) -> Tab:
    properties = sheet["properties"]
    grid = properties.get("gridProperties", {})
    return Tab(
        sheet_id=int(properties.get("sheetId", 0)),
        title=str(properties.get("title", "")),
        index=int(properties.get("index", 0)),
        rows=int(grid.get("rowCount", 0)),
        columns=int(grid.get("columnCount", 0)),
        frozen_rows=int(grid.get("frozenRowCount", 0)),
        filter=sheet.get("basicFilter"),
    )


def _grid_range(found: dict[str, Any]) -> dict[str, int]:
    return {name: int(value) for name, value in found.items()}
