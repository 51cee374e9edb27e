"""A workspace beside a sandbox of Google Sheets, for tests of whole runs."""

from __future__ import annotations

import json
from typing import Any

from sandbox_support import Client
from sync_provider.connectors.base import ConnectionInfo
from sync_provider.sandbox.server import Sandbox
from workspace import Workspace


class Google:
    """A workspace whose connection ``g`` leads to a sandbox with one spreadsheet."""

    def __init__(self, sandbox: Sandbox, workspace: Workspace) -> None:
        self.client = Client(sandbox)
        self.book = self.client.create()
        self.workspace = workspace
        key = json.loads(sandbox.service_account_file.read_text())
        extra = {"keyfile_dict": key, "base_url": sandbox.base_url}
        workspace.connections["g"] = ConnectionInfo(id="g", type="google_cloud_platform", extra=extra)

    def endpoint(self, sheet: Any = "Sheet1", **keys: Any) -> dict[str, Any]:
        return {"type": "google_sheets", "connection": "g", "spreadsheet": self.book, "sheet": sheet, **keys}

    def rename(self, title: str, number: int = 0) -> None:
        properties = {"sheetId": number, "title": title}
        self.client.batch(self.book, {"updateSheetProperties": {"properties": properties, "fields": "title"}})

    def run(self, **options: Any) -> tuple[dict[str, Any], list[str]]:
        """A run, and the methods that it called, in order."""
        self.client.control("DELETE", "requests")
        result = self.workspace.run(**options)
        return result, self.requests()

    def requests(self) -> list[str]:
        return [entry["method"] for entry in self.client.control("GET", "requests")["requests"]]
