"""Google Sheets endpoints in the conformance suite, prepared and inspected with Google's own client against the sandbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from contract.harness import Harness, Record
from sandbox_support import Client
from sync_provider.connectors.base import ConnectionInfo, Connector, TargetColumn
from sync_provider.connectors.sheets.connector import SheetsConnector
from sync_provider.core.endpoints import GoogleSheetsEndpoint
from sync_provider.sandbox.server import Sandbox

_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - on the clocks of the spreadsheet


class SheetsHarness(Harness):
    """A tab of a spreadsheet in UTC."""

    name = "sheets"
    keeps_empty_text = False
    title = "Clients"
    header_row = 1

    def __init__(self, directory: Path, request: pytest.FixtureRequest) -> None:
        super().__init__(directory, request)
        self.sandbox = Sandbox(directory / "sandbox")
        self.sandbox.start()
        request.addfinalizer(self.sandbox.stop)
        self.client = Client(self.sandbox)
        self.book = self.client.create()

    @property
    def _quoted(self) -> str:
        return "'" + self.title.replace("'", "''") + "'"

    def open(self) -> Connector:
        endpoint = GoogleSheetsEndpoint.model_validate(
            {
                "type": "google_sheets",
                "connection": "g",
                "spreadsheet": self.book,
                "sheet": self.title,
                "header_row": self.header_row,
            }
        )
        key = json.loads(self.sandbox.service_account_file.read_text())
        extra = {"keyfile_dict": key, "base_url": self.sandbox.base_url}
        info = ConnectionInfo(id="g", type="google_cloud_platform", extra=extra)
        return SheetsConnector(endpoint, info, self.clock)

    def seed(self, columns: Sequence[TargetColumn], records: Sequence[Record]) -> None:
        self.client.batch(self.book, {"addSheet": {"properties": {"title": self.title}}})
        rows: list[list[Any]] = [["a title"]] * (self.header_row - 1)
        rows.append([c.name for c in columns])
        rows += [[_entered(record[c.name]) for c in columns] for record in records]
        self.client.put(self.book, f"{self._quoted}!A1", rows)

    def holds(self, columns: Sequence[TargetColumn]) -> list[dict[str, Any]]:
        tabs = self.client.spreadsheets.get(spreadsheetId=self.book).execute()["sheets"]
        if self.title not in [tab["properties"]["title"] for tab in tabs]:
            return []
        rows = self.client.rows(self.book, self._quoted)
        names = rows[self.header_row - 1]
        found = []
        for row in rows[self.header_row :]:
            if any(cell != "" for cell in row):
                cells = dict(zip(names, [*row, *[""] * (len(names) - len(row))], strict=True))
                found.append({c.name: _value(cells[c.name], c) for c in columns})
        return found


def _entered(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return (value.astimezone(UTC).replace(tzinfo=None) - _EPOCH) / timedelta(days=1)
    if isinstance(value, date):
        return (value - _EPOCH.date()).days
    return float(value) if isinstance(value, Decimal) else value


def _value(cell: Any, column: TargetColumn) -> Any:
    if cell == "":
        return None
    read: dict[str, Any] = {
        "string": str,
        "decimal": lambda v: Decimal(repr(v)).quantize(Decimal("0.01")),
        "integer": int,
        "boolean": bool,
        "date": lambda v: (_EPOCH + timedelta(days=v)).date(),
        "timestamp": lambda v: (_EPOCH + timedelta(milliseconds=round(v * 86_400_000))).replace(tzinfo=UTC),
    }
    return read[column.type.kind](cell)


class SheetsBelowATitleHarness(SheetsHarness):
    """A header in the third row of a tab whose title needs quotes."""

    name: ClassVar[str] = "sheets-below-a-title"
    title = "L'été 2025"
    header_row = 3


HARNESSES = [SheetsHarness, SheetsBelowATitleHarness]
