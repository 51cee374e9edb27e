"""Unmodified Google clients, pointed at a sandbox of the test's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from google.oauth2.service_account import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from sync_provider.sandbox.server import Sandbox

SCOPES = ["https://www.googleapis.com/auth/spreadsheets", "https://www.googleapis.com/auth/drive"]


class Clock:
    """A clock that moves when told to, beside the real one."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Client:
    """A service account's clients of both APIs."""

    def __init__(self, sandbox: Sandbox, key: dict[str, Any] | None = None, scopes: list[str] | None = None) -> None:
        self.sandbox = sandbox
        info = key or json.loads(sandbox.service_account_file.read_text())
        self.email = info["client_email"]
        self.credentials = Credentials.from_service_account_info(info, scopes=scopes or SCOPES)
        sheets = {"api_endpoint": sandbox.base_url}
        drive = {"api_endpoint": f"{sandbox.base_url}/drive/v3/"}
        self.spreadsheets = build("sheets", "v4", credentials=self.credentials, client_options=sheets).spreadsheets()
        self.values = self.spreadsheets.values()
        self.drive = build("drive", "v3", credentials=self.credentials, client_options=drive)

    def create(self, rows: int = 1000, columns: int = 26, locale: str = "en_US", title: str = "Book") -> str:
        """A spreadsheet with one sheet; returns its id."""
        size = {"rowCount": rows, "columnCount": columns}
        sheet = {"properties": {"sheetId": 0, "title": "Sheet1", "gridProperties": size}}
        body = {"properties": {"title": title, "locale": locale}, "sheets": [sheet]}
        return self.spreadsheets.create(body=body).execute()["spreadsheetId"]

    def put(self, book: str, at: str, values: list[list[Any]], option: str = "RAW", **body: Any) -> dict[str, Any]:
        request = self.values.update(
            spreadsheetId=book, range=at, valueInputOption=option, body={"values": values, **body}
        )
        return request.execute()

    def get(self, book: str, at: str, render: str = "FORMATTED_VALUE", **options: Any) -> dict[str, Any]:
        return self.values.get(spreadsheetId=book, range=at, valueRenderOption=render, **options).execute()

    def rows(self, book: str, at: str = "Sheet1", render: str = "UNFORMATTED_VALUE") -> list[list[Any]]:
        return self.get(book, at, render).get("values", [])

    def append(self, book: str, at: str, values: list[list[Any]], **options: Any) -> dict[str, Any]:
        request = self.values.append(
            spreadsheetId=book, range=at, valueInputOption="RAW", body={"values": values}, **options
        )
        return request.execute()

    def batch(self, book: str, *requests_: dict[str, Any]) -> list[dict[str, Any]]:
        return self.spreadsheets.batchUpdate(spreadsheetId=book, body={"requests": list(requests_)}).execute()[
            "replies"
        ]

    def control(self, verb: str, path: str, data: Any = None) -> Any:
        answer = requests.request(verb, f"{self.sandbox.base_url}/__sandbox__/{path}", json=data, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def raw(self, verb: str, path: str, **options: Any) -> requests.Response:
        """A request with the account's token and nothing of Google's client around it."""
        import google.auth.transport.requests

        if not self.credentials.valid:
            self.credentials.refresh(google.auth.transport.requests.Request())
        headers = {"Authorization": f"Bearer {self.credentials.token}"}
        return requests.request(verb, self.sandbox.base_url + path, headers=headers, timeout=10, **options)


def refusal(request: Any) -> dict[str, Any]:
    """The `error` of a request that must be refused; takes what has an `execute`, or a callable."""
    with pytest.raises(HttpError) as caught:
        request.execute() if hasattr(request, "execute") else request()
    return json.loads(caught.value.content)["error"]
