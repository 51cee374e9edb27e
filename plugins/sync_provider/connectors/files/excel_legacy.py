"""Workbooks of the older and rarer formats (.xls, .xlsb, .ods), read by calamine; one sheet is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from sync_provider.connectors.files.excel_guard import Package, encrypted, file_format, inflate_all, malformed
from sync_provider.connectors.files.excel_legacy_scan import SheetFacts, scan_legacy
from sync_provider.connectors.files.excel_scan import Ints
from sync_provider.connectors.files.excel_values import STRING, Column, number_text
from sync_provider.connectors.files.excel_workbook import Sheet
from sync_provider.connectors.files.text_values import canonical_text
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    from python_calamine import CalamineWorkbook

CHUNK_ROWS = 4096


class LegacyBook:
    """A workbook read by calamine.

    Raises:
        SyncDataError: it is damaged, encrypted, hostile or no workbook.
    """

    def __init__(self, file: BinaryIO, endpoint: ExcelEndpoint) -> None:
        from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

        self._endpoint = endpoint
        package = Package(file) if file_format(file) == "zip" else None
        if package is not None:
            inflate_all(package)
        self._facts = scan_legacy(file, package)
        file.seek(0)
        with _translating():
            self._book: CalamineWorkbook = CalamineWorkbook.from_filelike(file)
            self.sheets = [
                Sheet(s.name, "", s.visible != SheetVisibleEnum.Visible, s.typ == SheetTypeEnum.WorkSheet)
                for s in self._book.sheets_metadata
            ]

    def sheet(self, sheet: Sheet) -> LegacySheet:
        facts = self._facts.get(sheet.name, SheetFacts())
        return LegacySheet(sheet.name, self._book, self._endpoint, facts)


@dataclass(slots=True)
class LegacySheet:
    """One sheet of an older workbook."""

    name: str
    book: CalamineWorkbook
    endpoint: ExcelEndpoint
    facts: SheetFacts

    def chunks(self) -> Iterator[LegacyChunk]:
        with _translating():
            sheet = self.book.get_sheet_by_name(self.name)
            rows = iter(sheet.iter_rows())
            # calamine leaves out the empty columns on the left, yet not the empty rows above.
            shift = [""] * (sheet.start[1] if sheet.start else 0)
        number = 1
        while True:
            taken: list[list[Any]] = []
            with _translating():
                for row in rows:
                    taken.append(shift + row)
                    if len(taken) == CHUNK_ROWS:
                        break
            if not taken:
                return
            yield LegacyChunk(np.arange(number, number + len(taken)), taken, self.endpoint, self.facts)
            number += len(taken)


@dataclass(slots=True)
class LegacyChunk:
    """Some rows of an older workbook's sheet."""

    number: Ints
    rows: list[list[Any]]
    endpoint: ExcelEndpoint
    facts: SheetFacts

    @property
    def width(self) -> int:
        return max(len(row) for row in self.rows)

    def column(self, column: int, logical: LogicalType = STRING, *, verbatim: bool = True) -> Column:
        """One column; see `CellReader.column`."""
        import pyarrow as pa

        texts = [self._text(row[column], logical, verbatim) if column < len(row) else None for row in self.rows]
        first = int(self.number[0])
        errors = {
            row - first: text
            for (row, at), text in self.facts.errors.items()
            if at == column and first <= row <= self.number[-1]
        }
        for index, text in errors.items():
            texts[index] = text
        return Column(pa.array(texts, pa.string()), np.array(sorted(errors), np.int64), np.zeros(0, np.int64))

    def _text(self, value: Any, logical: LogicalType, verbatim: bool) -> str | None:
        if isinstance(value, str):
            if value == "":
                return None  # calamine does not tell an empty cell from an empty text
            if verbatim:
                return value
            return canonical_text(value, logical, self.endpoint.decimal, self.endpoint.date_order)
        return value_text(value, logical)


def value_text(value: object, logical: LogicalType) -> str:
    """Canonical text of a value that calamine gives for a cell that is not text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.time() == time(0) and logical.kind == "date":
            return value.date().isoformat()
        return _without_zeros(value.isoformat())
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00" if logical.kind == "timestamp" else value.isoformat()
    if isinstance(value, time):
        return _without_zeros(value.isoformat())
    if isinstance(value, timedelta):
        micros = value // timedelta(microseconds=1)
        sign, micros = ("-", -micros) if micros < 0 else ("", micros)
        seconds, rest = divmod(micros, 1_000_000)
        text = f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return _without_zeros(f"{text}.{rest:06}") if rest else text
    return number_text(float(value))  # type: ignore[arg-type]


def _without_zeros(text: str) -> str:
    return text.rstrip("0") if "." in text else text


@contextmanager
def _translating() -> Iterator[None]:
    from python_calamine import CalamineError, PasswordError

    try:
        yield
    except PasswordError as exc:
        raise encrypted() from exc
    except (CalamineError, OSError, ValueError) as exc:
        raise malformed(f"the workbook is damaged: {str(exc)[:200]}", code="excel_damaged") from exc
    except BaseException as exc:
        # A panic inside calamine is no Exception; it is a damaged file all the same.
        if type(exc).__name__ != "PanicException":
            raise
        raise malformed("the workbook is damaged beyond reading", code="excel_damaged") from exc
