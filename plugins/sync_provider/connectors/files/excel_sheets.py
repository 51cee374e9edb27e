"""Sheets of an open workbook, whatever its format, as chunks of rows whose columns can be asked for."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from typing import BinaryIO, Protocol, TypeVar, cast

import numpy as np

from sync_provider.connectors.files.excel_guard import Package, file_format
from sync_provider.connectors.files.excel_scan import INLINE, SHARED, TEXT, Ints, IrregularError, Rows, scan_rows
from sync_provider.connectors.files.excel_strings import shared_strings
from sync_provider.connectors.files.excel_values import STRING, CellReader, Column
from sync_provider.connectors.files.excel_workbook import Sheet, Workbook, open_workbook, workbook_part
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.errors import MappingError, SyncDataError, Where
from sync_provider.core.schema import LogicalType

T = TypeVar("T")
_AHEAD = 3
_END = object()


class Chunk(Protocol):
    """Some consecutive rows of a sheet; blank rows may be left out."""

    @property
    def number(self) -> Ints:
        """1-based row numbers, ascending."""
        ...

    @property
    def width(self) -> int:
        """Columns up to the last one with a cell in it."""
        ...

    def column(self, column: int, logical: LogicalType = STRING, *, verbatim: bool = True) -> Column:
        """One column, 0-based; see `CellReader.column`."""
        ...

    def text_rows(self, column: int) -> Ints:
        """Indices of the rows whose cell in that column holds text, rather than a number, a date or a truth value."""
        ...


class OpenSheet(Protocol):
    """One sheet to read."""

    @property
    def name(self) -> str: ...

    def chunks(self) -> Iterator[Chunk]:
        """The rows from the first; may be called again."""
        ...


class OpenBook(Protocol):
    """An open workbook."""

    @property
    def sheets(self) -> list[Sheet]: ...

    def sheet(self, sheet: Sheet) -> OpenSheet: ...

    def close(self) -> None: ...


def open_book(file: BinaryIO, endpoint: ExcelEndpoint) -> OpenBook:
    """Open a workbook for reading.

    Raises:
        SyncDataError: it is broken, encrypted, hostile or no workbook.
    """
    if file_format(file) == "zip":
        package = Package(file)
        if "mimetype" not in package and not workbook_part(package).endswith(".bin"):
            return XlsxBook(open_workbook(package), endpoint)
    from sync_provider.connectors.files.excel_legacy import LegacyBook

    return LegacyBook(file, endpoint)


class XlsxBook:
    """A workbook of the .xlsx family. Shared strings are read once, when the first sheet is opened."""

    def __init__(self, book: Workbook, endpoint: ExcelEndpoint) -> None:
        self.book = book
        self.sheets = book.sheets
        self._endpoint = endpoint
        self._strings: object = None

    def sheet(self, sheet: Sheet) -> XlsxSheet:
        if self._strings is None:
            self._strings = shared_strings(self.book)
        return XlsxSheet(self.book, sheet, CellReader(self.book, self._endpoint, sheet.name, self._strings))

    def close(self) -> None:
        """The file belongs to who opened it."""


@dataclass(slots=True)
class XlsxSheet:
    """One sheet of an .xlsx workbook."""

    book: Workbook
    sheet: Sheet
    cells: CellReader

    @property
    def name(self) -> str:
        return self.sheet.name

    def chunks(self) -> Iterator[Chunk]:
        try:
            for rows in ahead(sheet_rows(self.book, self.sheet)):
                yield XlsxChunk(rows, self.cells)
        except SyncDataError as error:
            raise error.at(sheet=self.name) from error.__cause__


@dataclass(slots=True)
class XlsxChunk:
    """Some rows of an .xlsx sheet."""

    rows: Rows
    cells: CellReader

    @property
    def number(self) -> Ints:
        return self.rows.number

    @property
    def width(self) -> int:
        return int(self.rows.cell_column.max()) + 1 if len(self.rows.cell_column) else 0

    def column(self, column: int, logical: LogicalType = STRING, *, verbatim: bool = True) -> Column:
        return self.cells.column(self.rows, column, logical, verbatim=verbatim)

    def text_rows(self, column: int) -> Ints:
        there = self.rows.cell_column == column
        texts: Ints = self.rows.cell_row[there & np.isin(self.rows.cell_kind, (SHARED, TEXT, INLINE))]
        return texts


def sheet_rows(book: Workbook, sheet: Sheet) -> Generator[Rows, None, None]:
    """The rows of a sheet, by the fast way as far as it goes."""
    try:
        with book.package.open(sheet.part) as part:
            yield from scan_rows(part)
    except IrregularError as irregular:
        from sync_provider.connectors.files.excel_normal import normal_rows

        with book.package.open(sheet.part) as part:
            yield from normal_rows(part, irregular.after_row)


def ahead(source: Generator[T, None, None]) -> Iterator[T]:
    """The items of a generator, made a few ahead in a thread of its own.

    Taking XML apart keeps one processor busy, what comes after it another.
    """
    with closing(source), ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(next, source, _END) for _ in range(_AHEAD))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(pool.submit(next, source, _END))
                yield cast("T", item)
        finally:
            for future in waiting:
                future.cancel()


def is_pattern(selector: str | int) -> bool:
    """Whether an endpoint's ``sheet`` is a regular expression."""
    return isinstance(selector, str) and len(selector) > 2 and selector[0] == selector[-1] == "/"


def select_sheets(sheets: list[Sheet], selector: str | int) -> list[Sheet]:
    """The sheets an endpoint's ``sheet`` names, in the workbook's order.

    A name or index may be that of a hidden sheet; a pattern finds visible sheets only. Chart sheets do not count.

    Raises:
        SyncDataError: there is none.
        MappingError: the regular expression is broken.
    """
    grids = [sheet for sheet in sheets if sheet.is_grid]
    if isinstance(selector, int):
        found = grids[selector : selector + 1] if selector >= 0 else []
    elif is_pattern(selector):
        try:
            pattern = re.compile(selector[1:-1])
        except re.error as exc:
            raise MappingError(
                f"{selector!r} is no regular expression: {exc}", where=Where(field="sheet"), code="sheet_pattern"
            ) from exc
        found = [sheet for sheet in grids if not sheet.hidden and pattern.fullmatch(sheet.name)]
    else:
        found = [sheet for sheet in grids if sheet.name == selector]
    if found:
        return found
    names = [sheet.name for sheet in grids]
    near = get_close_matches(str(selector), names, n=3) or names[:20]
    raise SyncDataError(
        f"the workbook has no sheet {selector!r}",
        where=Where(field="sheet"),
        hint=f"Its sheets are {', '.join(map(repr, near))}." if near else "It has no sheet with cells.",
        code="sheet_missing",
    )


@dataclass(slots=True)
class Header:
    """Where the columns of a sheet stand.

    Args:
        names: 0-based column → name, in order; columns without a name are left out.
    """

    names: dict[int, str]
    row: int

    def positions(self, name: str) -> list[int]:
        return [column for column, each in self.names.items() if each == name]


def read_header(chunks: Iterator[Chunk], header_row: int) -> tuple[Header, Chunk | None]:
    """The header, and the chunk it was found in (whose later rows are data); None where the rows end before it.

    Args:
        chunks: the sheet's, from its first row.
        header_row: 1-based; 0: there is none, and columns are called ``column_1``, ``column_2``…
    """
    for chunk in chunks:
        if header_row == 0:
            return Header({column: f"column_{column + 1}" for column in range(chunk.width)}, 0), chunk
        at = np.flatnonzero(chunk.number >= header_row)
        if not len(at):
            continue
        if chunk.number[at[0]] != header_row:
            return Header({}, header_row), chunk
        names: dict[int, str] = {}
        for column in range(chunk.width):
            text = chunk.column(column).texts[int(at[0])].as_py()
            if text is not None and text.strip():
                names[column] = text
        return Header(names, header_row), chunk
    return Header({}, header_row), None
