"""A Google spreadsheet in a sandbox of the test's own: written and watched with Google's client, synchronized with the connector."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.harness import FixedClock, changes
from sandbox_support import Client
from sync_provider.connectors.base import (
    ColumnRequest,
    ConnectionInfo,
    ReadRequest,
    TargetColumn,
    WriteRequest,
    WriteResult,
)
from sync_provider.connectors.sheets.connector import SheetsConnector
from sync_provider.core.endpoints import GoogleSheetsEndpoint
from sync_provider.core.report import Rejection
from sync_provider.core.schema import parse_type
from sync_provider.sandbox.server import Sandbox

TAB = "Clients"


class SleepingClock(FixedClock):
    """Notes how long it was asked to sleep, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        super().sleep(seconds)


def columns(**types: str) -> tuple[TargetColumn, ...]:
    """Columns by name and declared type; the first is the key."""
    return tuple(TargetColumn(name=name, type=parse_type(kind)) for name, kind in types.items())


class SheetsSide:
    """One spreadsheet with the tab `TAB`."""

    def __init__(self, directory: Path, **properties: Any) -> None:
        self.sandbox = Sandbox(directory / "sandbox")
        self.sandbox.start()
        self.client = Client(self.sandbox)
        self.client.control("PUT", "quotas", dict.fromkeys(("reads_per_user", "writes_per_user"), 10_000))
        self.client.control("PUT", "quotas", dict.fromkeys(("reads_per_project", "writes_per_project"), 10_000))
        self.clock = SleepingClock()
        body = {
            "properties": {"title": "Book", **properties},
            "sheets": [
                {"properties": {"sheetId": 7, "title": TAB, "gridProperties": {"rowCount": 1000, "columnCount": 12}}}
            ],
        }
        self.book = self.client.spreadsheets.create(body=body).execute()["spreadsheetId"]
        self.key = json.loads(self.sandbox.service_account_file.read_text())
        self._open: list[SheetsConnector] = []

    def close(self) -> None:
        for connector in self._open:
            connector.close()
        self.sandbox.stop()

    def connector(
        self, key: dict[str, Any] | None = None, *, extra: dict[str, Any] | None = None, **options: Any
    ) -> SheetsConnector:
        """A connector on the tab; options of the endpoint, and of the connector where they are its own."""
        own = {name: options.pop(name) for name in ("total_wait_s", "budget", "memory") if name in options}
        place = {} if "range" in options else {"sheet": TAB}
        given = {"type": "google_sheets", "connection": "g", "spreadsheet": self.book, **place, **options}
        info = ConnectionInfo(
            id="g",
            type="google_cloud_platform",
            extra={"keyfile_dict": key or self.key, "base_url": self.sandbox.base_url, **(extra or {})},
        )
        made = SheetsConnector(GoogleSheetsEndpoint.model_validate(given), info, self.clock, **own)
        self._open.append(made)
        return made

    def fault(self, method: str, **fault: Any) -> None:
        self.client.control("POST", "faults", {"method": method, **fault})

    def forget(self) -> None:
        """Empty the log of requests."""
        self.client.control("DELETE", "requests")

    def log(self) -> dict[str, Any]:
        return self.client.control("GET", "requests")

    def count(self, method: str) -> int:
        """Requests of one method since `forget`."""
        return int(self.log()["by_method"].get(method, 0))

    def grid(self) -> list[Any]:
        """Everything of the spreadsheet: values, formulas, formats, notes, sizes."""
        return self.client.spreadsheets.get(spreadsheetId=self.book, includeGridData=True).execute()["sheets"]

    def rows(self, tab: str = TAB) -> list[list[Any]]:
        return self.client.rows(self.book, f"'{tab}'")

    def put(self, *rows: list[Any], at: str = "A1", typed: bool = False) -> None:
        self.client.put(self.book, f"'{TAB}'!{at}", list(rows), "USER_ENTERED" if typed else "RAW")

    def write(
        self,
        fields: tuple[TargetColumn, ...],
        *rows: tuple[str, dict[str, Any] | None, dict[str, Any] | None],
        mode: Any = "upsert",
        connector: SheetsConnector | None = None,
        **request: Any,
    ) -> WriteResult:
        asked = WriteRequest(mode=mode, columns=fields, key=() if mode == "append" else (fields[0].name,), **request)
        return (connector or self.connector()).write(asked, changes(*rows, columns=fields))

    def read(
        self, connector: SheetsConnector | None = None, **types: str
    ) -> tuple[list[dict[str, Any]], list[Rejection]]:
        """Records as canonical texts, and what was refused."""
        wanted = tuple(ColumnRequest(name=name, type=parse_type(kind)) for name, kind in types.items())
        batches = list((connector or self.connector()).read(ReadRequest(columns=wanted)))
        records = [record for batch in batches for record in batch.records.select(list(types)).to_pylist()]
        return records, [rejection for batch in batches for rejection in batch.rejections]


def cell_differences(before: Sequence[Any], after: Sequence[Any]) -> dict[str, tuple[Any, Any]]:
    """Path → (before, after) of every leaf that differs between two JSON values."""
    found: dict[str, tuple[Any, Any]] = {}

    def walk(one: Any, other: Any, path: str) -> None:
        if isinstance(one, dict) and isinstance(other, dict):
            for name in one.keys() | other.keys():
                walk(one.get(name), other.get(name), f"{path}/{name}")
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            for at, pair in enumerate(zip(one, other, strict=True)):
                walk(*pair, f"{path}/{at}")
        elif one != other:
            found[path] = (one, other)

    walk(list(before), list(after), "")
    return found
