"""Excel endpoints in the conformance suite, prepared and inspected with openpyxl and xlsx parts of our own making."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import openpyxl
from contract.harness import Harness, Record
from openpyxl.cell import WriteOnlyCell
from sync_provider.connectors.base import Connector, TargetColumn
from sync_provider.connectors.files.excel_connector import ExcelConnector
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.endpoints import ExcelEndpoint


class ExcelHarness(Harness):
    """A workbook with one sheet, as openpyxl writes it."""

    name = "excel"
    options: ClassVar[dict[str, Any]] = {}
    sheet_name = "Sheet1"
    extra_sheets: ClassVar[tuple[str, ...]] = ()

    def open(self) -> Connector:
        endpoint = ExcelEndpoint.model_validate({"type": "excel", "path": "data.xlsx", **self.options})
        return ExcelConnector(endpoint, FileRoot(str(self.directory)), self.clock)

    def seed(self, columns: Sequence[TargetColumn], records: Sequence[Record]) -> None:
        book = openpyxl.Workbook(write_only=True)
        for name in (*self.extra_sheets, self.sheet_name):
            sheet = book.create_sheet(name)
            for _ in range(self.options.get("header_row", 1) - 1):
                sheet.append(["a title"])
            sheet.append([c.name for c in columns])
            for record in records:
                sheet.append([self._cell(sheet, record[c.name], c) for c in columns])
        book.save(self.directory / "data.xlsx")

    def holds(self, columns: Sequence[TargetColumn]) -> list[dict[str, Any]]:
        path = self.directory / "data.xlsx"
        if not path.exists():
            return []
        sheet = openpyxl.load_workbook(path)[self.sheet_name]
        header = self.options.get("header_row", 1)
        names = [cell.value for cell in sheet[header]]
        rows = [
            dict(zip(names, row, strict=True))
            for row in sheet.iter_rows(min_row=header + 1)
            if any(c.value is not None for c in row)
        ]
        return [{c.name: self._value(row[c.name].value, c) for c in columns} for row in rows]

    def _cell(self, sheet: Any, value: Any, column: TargetColumn) -> Any:
        if isinstance(value, datetime):
            value = value.astimezone(UTC).replace(tzinfo=None)
        cell = WriteOnlyCell(sheet, value)
        if column.type.kind == "string" and value is not None:
            cell.value, cell.data_type = value, "s"  # openpyxl would take "=1" for a formula
        return cell

    def _value(self, value: Any, column: TargetColumn) -> Any:
        if value is None:
            return None
        read: dict[str, Any] = {
            "string": str,
            "decimal": lambda v: Decimal(str(v)).quantize(Decimal(1).scaleb(-(column.type.scale or 0))),
            "integer": int,
            "boolean": bool,
            "date": lambda v: date.fromisoformat(v) if isinstance(v, str) else v.date(),
            "timestamp": lambda v: v.replace(tzinfo=UTC),
        }
        return read[column.type.kind](value)


class SecondSheetHarness(ExcelHarness):
    """A sheet between others, its header below a title, and nothing but the formats that reading back needs."""

    name = "excel-second-sheet"
    options: ClassVar[dict[str, Any]] = {"sheet": "À suivre", "header_row": 3, "style": "plain"}
    sheet_name = "À suivre"
    extra_sheets = ("Autre",)


HARNESSES = [ExcelHarness, SecondSheetHarness]
