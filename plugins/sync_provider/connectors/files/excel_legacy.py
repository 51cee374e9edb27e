"""Workbooks of the older and rarer formats (.xls, .xlsb, .ods), read by calamine in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from sync_provider.connectors.files import excel_calamine
from sync_provider.connectors.files.excel_guard import Package, encrypted, file_format, inflate_all, malformed
from sync_provider.connectors.files.excel_legacy_scan import SheetFacts, scan_legacy
from sync_provider.connectors.files.excel_scan import Ints
from sync_provider.connectors.files.excel_values import STRING, Column, number_text
from sync_provider.connectors.files.excel_workbook import Sheet
from sync_provider.connectors.files.text_values import canonical_text
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.schema import LogicalType

CHUNK_ROWS = 4096


class LegacyBook:
    """A workbook read by calamine.

    Raises:
        SyncDataError: it is damaged, encrypted, hostile or no workbook.
    """

    def __init__(self, file: BinaryIO, endpoint: ExcelEndpoint) -> None:
        self._endpoint = endpoint
        package = Package(file) if file_format(file) == "zip" else None
        if package is not None:
            inflate_all(package)
        self._facts = scan_legacy(file, package)
        file.flush()
        self._reader = _Reader(file)
        try:
            listed = self._reader.ask("sheets")
        except BaseException:
            self._reader.close()
            raise
        self.sheets = [Sheet(name, "", hidden=not visible, is_grid=is_grid) for name, visible, is_grid in listed]

    def sheet(self, sheet: Sheet) -> LegacySheet:
        return LegacySheet(sheet.name, self._reader, self._endpoint, self._facts.get(sheet.name, SheetFacts()))

    def close(self) -> None:
        self._reader.close()


class _Reader:
    """The process that calamine runs in."""

    def __init__(self, file: BinaryIO) -> None:
        descriptor = os.dup(file.fileno())
        try:
            self._process = subprocess.Popen(
                # -P: the directory of the program is no place to import from.
                [sys.executable, "-P", excel_calamine.__file__, str(descriptor)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=[descriptor],
                env={name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ},
                text=True,
                encoding="utf-8",
            )
        finally:
            os.close(descriptor)

    def ask(self, *request: Any) -> Any:
        """One answer.

        Raises:
            SyncDataError: calamine refuses the workbook, or did not survive it.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line.endswith("\n"):
            raise malformed("the workbook is damaged, or too large for this format", code="excel_damaged")
        answer = json.loads(line)
        if isinstance(answer, dict):
            if answer["error"] == "password":
                raise encrypted()
            raise malformed(f"the workbook is damaged: {answer['error']}", code="excel_damaged")
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass(slots=True)
class LegacySheet:
    """One sheet of an older workbook."""

    name: str
    reader: _Reader
    endpoint: ExcelEndpoint
    facts: SheetFacts

    def chunks(self) -> Iterator[LegacyChunk]:
        first = 0
        while True:
            shift, rows = self.reader.ask("rows", self.name, first, CHUNK_ROWS)
            if not rows:
                return
            yield LegacyChunk(np.arange(first + 1, first + 1 + len(rows)), rows, shift, self.endpoint, self.facts)
            first += len(rows)


@dataclass(slots=True)
class LegacyChunk:
    """Some rows of an older workbook's sheet; `shift` columns on their left are empty and left out."""

    number: Ints
    rows: list[list[Any]]
    shift: int
    endpoint: ExcelEndpoint
    facts: SheetFacts

    @property
    def width(self) -> int:
        return self.shift + max(len(row) for row in self.rows)

    def column(self, column: int, logical: LogicalType = STRING, *, verbatim: bool = True) -> Column:
        """One column; see `CellReader.column`."""
        import pyarrow as pa

        at = column - self.shift
        texts = [self._text(row[at], logical, verbatim) if 0 <= at < len(row) else None for row in self.rows]
        first, last = int(self.number[0]), int(self.number[-1])
        errors = {
            row - first: text
            for (row, where), text in self.facts.errors.items()
            if where == column and first <= row <= last
        }
        for index, text in errors.items():
            texts[index] = text
        return Column(pa.array(texts, pa.string()), np.array(sorted(errors), np.int64), np.zeros(0, np.int64))

    def text_rows(self, column: int) -> Ints:
        """See `excel_sheets.Chunk.text_rows`."""
        at = column - self.shift
        return np.array(
            [index for index, row in enumerate(self.rows) if 0 <= at < len(row) and isinstance(row[at], str)], np.int64
        )

    def _text(self, value: Any, logical: LogicalType, verbatim: bool) -> str | None:
        if isinstance(value, str):
            if value == "":
                return None  # calamine does not tell an empty cell from an empty text
            if verbatim:
                return value
            return canonical_text(value, logical, self.endpoint.decimal, self.endpoint.date_order)
        return value_text(value, logical)


def value_text(value: Any, logical: LogicalType) -> str:
    """Canonical text of a value that is not text, as `excel_calamine` hands it over."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, dict):
        return number_text(float(value))
    ((kind, content),) = value.items()
    if kind == "us":
        sign, micros = ("-", -content) if content < 0 else ("", content)
        seconds, rest = divmod(micros, 1_000_000)
        text = f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return f"{text}.{rest:06}".rstrip("0") if rest else text
    if kind == "date":
        return f"{content}T00:00:00" if logical.kind == "timestamp" else str(content)
    if kind == "datetime" and logical.kind == "date":
        return str(content).removesuffix("T00:00:00")
    return str(content).rstrip("0") if "." in content else str(content)
