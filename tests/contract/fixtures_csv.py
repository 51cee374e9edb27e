"""CSV endpoints in the conformance suite, inspected with Python's own `csv` module."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from contract.harness import Harness, Record, as_text
from sync_provider.connectors.base import Connector, TargetColumn
from sync_provider.connectors.files.csv_connector import CsvConnector
from sync_provider.connectors.files.formulas import escape_text, unescape_text
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.endpoints import CsvEndpoint


class CsvHarness(Harness):
    """Plain CSV as we write it by default."""

    name = "csv"
    options: ClassVar[dict[str, Any]] = {}
    encoding = "utf-8"

    def open(self) -> Connector:
        return CsvConnector(self.endpoint, FileRoot(str(self.directory)), self.clock)

    @property
    def endpoint(self) -> CsvEndpoint:
        return CsvEndpoint.model_validate({"type": "csv", "path": "data.csv", **self.options})

    def seed(self, columns: Sequence[TargetColumn], records: Sequence[Record]) -> None:
        lines = [[escape_text(c.name) for c in columns]]
        lines += [[self._cell(record[c.name], c) for c in columns] for record in records]
        text = "\n".join(self.endpoint.delimiter.join(line) for line in lines) + "\n"
        (self.directory / "data.csv").write_bytes(text.encode(self.encoding))

    def holds(self, columns: Sequence[TargetColumn]) -> list[dict[str, Any]]:
        path = self.directory / "data.csv"
        if not path.exists():
            return []
        text = path.read_bytes().decode(self.encoding)
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=self.endpoint.delimiter, strict=True)
        return [{c.name: self._value(row[c.name], c) for c in columns} for row in rows]

    def _cell(self, value: Any, column: TargetColumn) -> str:
        text = as_text(value, column.type)
        if text is None:
            return ""
        if column.type.kind == "string":
            text = escape_text(text)
            if text == "" or any(mark in text for mark in (self.endpoint.delimiter, '"', "\n", "\r")):
                return '"' + text.replace('"', '""') + '"'
        return self.shown(text, column.type.kind)

    def shown(self, text: str, kind: str) -> str:  # noqa: ARG002 - for those who override it
        return text

    def hidden(self, text: str, kind: str) -> str:  # noqa: ARG002 - for those who override it
        return text

    def _value(self, text: str, column: TargetColumn) -> Any:
        kind = column.type.kind
        if text == "":
            return None
        text = self.hidden(text, kind)
        read: dict[str, Any] = {
            "string": unescape_text,
            "decimal": Decimal,
            "integer": int,
            "boolean": {"true": True, "false": False}.__getitem__,
            "date": date.fromisoformat,
            "timestamp": lambda t: datetime.fromisoformat(t).astimezone(UTC),
        }
        return read[kind](text)


class FrenchCsvHarness(CsvHarness):
    """As French office software has it: semicolons, decimal commas, day first, Windows line ends, a byte order mark."""

    name = "csv-french"
    options: ClassVar[dict[str, Any]] = {
        "encoding": "utf-8-sig",
        "delimiter": ";",
        "decimal": ",",
        "date_order": "dmy",
        "line_end": "\r\n",
    }
    encoding = "utf-8-sig"

    def shown(self, text: str, kind: str) -> str:
        if kind == "decimal":
            return text.replace(".", ",")
        if kind in ("date", "timestamp"):
            return f"{text[8:10]}/{text[5:7]}/{text[:4]}{text[10:].replace('T', ' ')}"
        return text

    def hidden(self, text: str, kind: str) -> str:
        if kind == "decimal":
            return text.replace(",", ".")
        if kind in ("date", "timestamp"):
            return f"{text[6:10]}-{text[3:5]}-{text[:2]}{text[10:]}"
        return text


class Utf16CsvHarness(CsvHarness):
    """What Excel calls "Unicode text": UTF-16 with a mark, tabs between the values."""

    name = "csv-utf16-tab"
    options: ClassVar[dict[str, Any]] = {"encoding": "utf-16", "delimiter": "\t"}
    encoding = "utf-16"


HARNESSES = [CsvHarness, FrenchCsvHarness, Utf16CsvHarness]
