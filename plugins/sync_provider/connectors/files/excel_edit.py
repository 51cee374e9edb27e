"""Edits one sheet of an existing workbook: its rows pass by and are copied but for those that changes concern."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from sync_provider.connectors.base import WriteRequest, WriteResult
from sync_provider.connectors.files.csv_changes import DELETE, ChangeSet
from sync_provider.connectors.files.excel_guard import MAX_SMALL_PART_BYTES, Package, malformed
from sync_provider.connectors.files.excel_insert import Inserter, only_inserts, write_new_sheet
from sync_provider.connectors.files.excel_merge import Merger
from sync_provider.connectors.files.excel_new import header_cells, new_archive, part_writer
from sync_provider.connectors.files.excel_parts import (
    add_sheet,
    grow_tables,
    is_movable,
    recalculate,
    renumbered,
    widen_filter,
)
from sync_provider.connectors.files.excel_read import missing_column
from sync_provider.connectors.files.excel_scan import Rows, SheetMarkup
from sync_provider.connectors.files.excel_sheets import Header, XlsxSheet, read_header, select_sheets
from sync_provider.connectors.files.excel_strings import shared_strings
from sync_provider.connectors.files.excel_styles import GENERAL, StyleSheet, format_code
from sync_provider.connectors.files.excel_survey import Survey, regular_rows, survey
from sync_provider.connectors.files.excel_values import CellReader
from sync_provider.connectors.files.excel_workbook import Sheet, Workbook, open_workbook
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.errors import SyncDataError, Where

if TYPE_CHECKING:
    import pyarrow as pa

_DIMENSION = re.compile(rb"<dimension\b[^>]*/>")


def edit_workbook(
    package: Package,
    built: BinaryIO,
    file: str,
    endpoint: ExcelEndpoint,
    request: WriteRequest,
    change_set: ChangeSet | None,
    changes: Iterator[pa.RecordBatch],
) -> tuple[WriteResult, bool]:
    """Write a changed copy of a workbook.

    Args:
        package: the old one.
        built: takes the new one.
        file: its name, for rejections.
        endpoint: names the sheet, which is added if it is not there.
        request: what to write.
        change_set: the changes, if they go by key.
        changes: the inserts, if they do not.

    Returns:
        What was done, and whether that is nothing at all (then there is no new workbook).

    Raises:
        SyncDataError: the sheet lacks a mapped column, or cannot be edited without losing something.
    """
    if "mimetype" in package:
        raise malformed("only .xlsx and .xlsm workbooks can be written", code="excel_format")
    book = open_workbook(package)
    if book.part.endswith(".bin"):
        raise malformed("only .xlsx and .xlsm workbooks can be written", code="excel_format")
    editor = _Editor(book, file, endpoint, request, change_set, changes)
    editor.write(built)
    result = editor.result
    return result, not (result.inserted or result.updated or result.deleted or request.mode == "replace")


class _Editor:
    def __init__(
        self,
        book: Workbook,
        file: str,
        endpoint: ExcelEndpoint,
        request: WriteRequest,
        change_set: ChangeSet | None,
        changes: Iterator[pa.RecordBatch],
    ) -> None:
        self._book, self._endpoint, self._request = book, endpoint, request
        self._change_set, self._changes = change_set, changes
        self.result = WriteResult()
        styles = book.package.read_text(book.styles_part) if book.styles_part else ""
        self._styles = StyleSheet(styles, list(book.formats))
        self._codes = [format_code(c.type, plain=endpoint.style == "plain") for c in request.columns]
        self._parts: dict[str, bytes] = {}
        self._sheet = self._target()
        self._where = Where(file=file, sheet=self._sheet.name)

    def write(self, built: BinaryIO) -> None:
        """Write the whole new workbook."""
        with new_archive(built) as archive:
            if self._sheet.part not in self._book.package:
                self._write_added(archive)
            else:
                cells = CellReader(self._book, self._endpoint, self._sheet.name, shared_strings(self._book))
                chunks = XlsxSheet(self._book, self._sheet, cells).chunks()
                header = read_header(chunks, self._endpoint.header_row)[0]
                if not header.names and self._is_blank():
                    self._write_blank(archive)
                else:
                    self._write_sheet(archive, header, cells)
            self._copy_parts(archive)

    def _target(self) -> Sheet:
        try:
            sheet = select_sheets(self._book.sheets, self._endpoint.sheet)[0]
        except SyncDataError as error:
            if error.code != "sheet_missing" or not isinstance(self._endpoint.sheet, str):
                raise
            sheet, self._parts = add_sheet(self._book, self._endpoint.sheet)
        return sheet

    def _is_blank(self) -> bool:
        chunks = regular_rows(self._book, self._sheet, SheetMarkup())
        return not any((rows.has_value | rows.has_formula).any() for rows in chunks)

    def _write_added(self, archive: zipfile.ZipFile) -> None:
        """A sheet that the workbook did not have."""
        inserter = self._inserter(range(len(self._request.columns)))
        header_style = self._styles.bold() if self._endpoint.style == "table" else 0
        with part_writer(archive, self._sheet.part) as put:
            write_new_sheet(
                put, self._endpoint, self._request, self._inserts(), inserter, self._formats(), header_style
            )

    def _write_blank(self, archive: zipfile.ZipFile) -> None:
        """A sheet without content: what stands around its rows stays."""
        markup = SheetMarkup()
        for _ in regular_rows(self._book, self._sheet, markup):
            pass
        inserter = self._inserter(range(len(self._request.columns)))
        formats = self._formats()
        inserter.style = lambda column, _kind: formats[column]
        inserter.next_row = self._endpoint.header_row + 1
        with part_writer(archive, self._book.package.entry(self._sheet.part).filename) as put:
            put(_DIMENSION.sub(b"", markup.head))
            if self._endpoint.header_row:
                names = [column.name for column in self._request.columns]
                put(header_cells(names, self._endpoint.header_row, self._styles.bold()))
            for batch in self._inserts():
                for written in inserter.rows(batch):
                    put(written)
            put(markup.tail)

    def _inserter(self, positions: Sequence[int]) -> Inserter:
        return Inserter(self._request, self._where, positions, self.result, date1904=self._book.date1904)

    def _inserts(self) -> Iterator[pa.RecordBatch]:
        return self._changes if self._change_set is None else only_inserts(self._change_set, self.result)

    def _formats(self) -> list[int]:
        return [0 if code == GENERAL else self._styles.formatted(0, code) for code in self._codes]

    def _positions(self, header: Header) -> dict[str, int]:
        where = Where(file=self._where.file, sheet=self._sheet.name, cell=f"A{max(1, header.row)}")
        found: dict[str, int] = {}
        for column in self._request.columns:
            at = header.positions(column.name)
            if not at:
                raise missing_column(column.name, header, where)
            if len(at) > 1:
                raise malformed(
                    f"column {column.name!r} stands there {len(at)} times",
                    where=where,
                    hint="Give each column that is written a name of its own.",
                    code="column_twice",
                )
            found[column.name] = at[0]
        return found

    def _write_sheet(self, archive: zipfile.ZipFile, header: Header, cells: CellReader) -> None:
        positions = self._positions(header)
        markup = SheetMarkup()
        facts = survey(
            self._book, self._sheet, header.row, positions, self._request, self._change_set, cells, markup
        )  # fmt: skip
        order = [positions[column.name] for column in self._request.columns]
        inserter = self._inserter(order)
        # A new cell takes the format of its column's last one, where that suits.
        inserter.style = lambda column, kind: self._styles.suited(
            facts.styles.get(order[column], 0), kind, self._codes[column]
        )
        with part_writer(archive, self._book.package.entry(self._sheet.part).filename) as put:
            put(_DIMENSION.sub(b"", markup.head))
            if self._change_set is None:
                end = self._write_all(put, header.row, facts, inserter)
            else:
                end = self._write_changes(put, facts, inserter, cells, order, markup)
            tables = grow_tables(self._book, self._sheet, header.row, facts.last_row, end)
            self._parts |= tables
            put(widen_filter(markup.tail, header.row, facts.last_row, end))
        if facts.formulas or "xl/calcChain.xml" in self._book.package:
            self._parts |= recalculate(self._book, self._parts)

    def _write_all(self, put: Callable[[bytes], None], header_row: int, facts: Survey, inserter: Inserter) -> int:
        """Append or replace; gives the number of the last row with content."""
        replacing = self._request.mode == "replace"
        if replacing:
            self._check_replaceable(facts)
        keep_until = header_row if replacing else max(facts.last_row, header_row)
        rows = regular_rows(self._book, self._sheet, SheetMarkup())
        spare = self._copy_rows(put, rows, keep_until)
        inserter.next_row = keep_until + 1
        for batch in self._changes:
            for written in inserter.rows(batch):
                put(written)
        if not replacing:
            self._write_spare(put, spare, inserter.next_row)
        return inserter.next_row - 1

    def _check_replaceable(self, facts: Survey) -> None:
        if facts.foreign is not None:
            raise malformed(
                "replacing all records would leave the other columns' content beside the wrong records",
                where=Where(file=self._where.file, sheet=self._sheet.name, cell=facts.foreign),
                hint="Use write: upsert or mirror, move that content to another sheet, or map its column.",
                code="excel_foreign_content",
            )

    def _copy_rows(self, put: Callable[[bytes], None], chunks: Iterator[Rows], until: int) -> Iterator[bytes]:
        """Copy rows up to a number; gives those after it, which have no content."""
        for rows in chunks:
            kept = int(np.searchsorted(rows.number, until, side="right"))
            if kept == len(rows.number):
                put(rows.text)
                continue
            put(rows.text[: int(rows.start[kept])])
            return _spare_rows(rows, kept, chunks)
        return iter(())

    def _write_spare(self, put: Callable[[bytes], None], spare: Iterator[bytes], next_row: int) -> None:
        """Formatted rows without content below the records: those that new records took are dropped."""
        for row in spare:
            match = re.match(rb'<row r="(\d+)"', row)
            if match is not None and int(match[1]) >= next_row:
                put(row)

    def _write_changes(
        self,
        put: Callable[[bytes], None],
        facts: Survey,
        inserter: Inserter,
        cells: CellReader,
        order: list[int],
        markup: SheetMarkup,
    ) -> int:
        """Upsert or mirror; gives the number of the last row with content."""
        changes = self._change_set
        assert changes is not None
        changes.leave_out(facts.repeated)
        merger = Merger(
            changes, self._request, order, self._codes, cells, self._styles, inserter, self._where, self.result
        )
        deleting = bool((changes.operations == DELETE).any())
        movable = deleting and is_movable(self._book, self._sheet, markup, formulas=facts.formulas)
        gone: list[int] = []
        last = max(facts.last_row, self._endpoint.header_row)
        spare: Iterator[bytes] = iter(())
        chunks = regular_rows(self._book, self._sheet, SheetMarkup())
        for rows, numbers in zip(chunks, facts.matches, strict=False):
            edits, deleted = merger.edits(rows, numbers)
            for row in deleted:
                cleared = b"" if movable else merger.cleared(rows, row)
                if cleared is None:
                    self._refuse_clearing(merger, rows, row, int(numbers[row]))
                    continue
                edits[row] = cleared
                self.result.deleted += 1
            kept = int(np.searchsorted(rows.number, last, side="right"))
            text = _edited(rows, edits, kept)
            put(renumbered(text, gone, [int(rows.number[row]) for row in deleted]) if movable else text)
            if kept < len(rows.number):
                spare = _spare_rows(rows, kept, chunks)
                break
        inserter.next_row = last - len(gone) + 1
        for batch in merger.remaining():
            for written in inserter.rows(batch):
                put(written)
        merger.reject_repeated()
        self._write_spare(put, spare, inserter.next_row)
        return inserter.next_row - 1

    def _refuse_clearing(self, merger: Merger, rows: Rows, row: int, number: int) -> None:
        mapped = set(merger.positions)
        at = np.flatnonzero((rows.cell_row == row) & rows.has_formula)
        column = next(int(c) for c in rows.cell_column[at] if int(c) in mapped)
        merger.reject_formula(rows, row, column, number)

    def _copy_parts(self, archive: zipfile.ZipFile) -> None:
        """Carry all other parts over, changed ones changed."""
        if self._styles.changed and self._book.styles_part:
            self._parts[self._book.styles_part] = self._styles.text.encode()
        done = {name.lower() for name in archive.namelist()}
        for entry in self._book.package.entries:
            if entry.filename.lower() in done:
                continue
            done.add(entry.filename.lower())
            changed = self._parts.pop(entry.filename, None)
            copy = zipfile.ZipInfo(entry.filename, entry.date_time)
            copy.compress_type, copy.external_attr = entry.compress_type, entry.external_attr
            if changed is not None or entry.file_size <= MAX_SMALL_PART_BYTES:
                data = changed if changed is not None else self._book.package.read(entry.filename)
                archive.writestr(copy, data)
                continue
            with part_writer(archive, copy) as put, self._book.package.open(entry.filename) as part:
                for chunk in part:
                    put(chunk)
        for name, data in self._parts.items():
            archive.writestr(name, data)


def _spare_rows(rows: Rows, first: int, chunks: Iterator[Rows]) -> Iterator[bytes]:
    for row in range(first, len(rows.number)):
        yield rows.text[int(rows.start[row]) : int(rows.end[row])]
    for more in chunks:
        for row in range(len(more.number)):
            yield more.text[int(more.start[row]) : int(more.end[row])]


def _edited(rows: Rows, edits: dict[int, bytes], kept: int) -> bytes:
    """The XML of the first rows of a chunk, some of them changed."""
    end = len(rows.text) if kept == len(rows.number) else int(rows.start[kept])
    pieces, position = [], 0
    for row in sorted(edits):
        pieces += [rows.text[position : int(rows.start[row])], edits[row]]
        position = int(rows.end[row])
    return b"".join([*pieces, rows.text[position:end]])
