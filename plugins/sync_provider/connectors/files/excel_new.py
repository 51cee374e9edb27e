"""New sheets, and new workbooks of one sheet. No I/O but on the file given."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, BinaryIO
from xml.sax.saxutils import quoteattr

import numpy as np

from sync_provider.connectors.base import TargetColumn
from sync_provider.connectors.files.excel_address import column_letters
from sync_provider.connectors.files.excel_cells import BLANK, SPACED, Cells, escape_text
from sync_provider.connectors.files.excel_guard import malformed
from sync_provider.connectors.files.excel_rows import cell_xml

if TYPE_CHECKING:
    import pyarrow as pa

COMPRESSION_LEVEL = 3
"""Half the time of level 6 for a tenth more bytes."""
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_WIDEST, _NARROWEST = 60, 8


def sheet_head(widths: Sequence[float], styles: Sequence[int], *, header_row: int, frozen: bool) -> bytes:
    """A sheet's XML up to its first row.

    Args:
        widths: of the columns, in characters; empty: the program's own.
        styles: cell format of the columns' empty cells.
        header_row: 1-based, 0 for none.
        frozen: keep the header in view.
    """
    view = '<sheetView workbookViewId="0"/>'
    if frozen and header_row:
        view = (
            f'<sheetView workbookViewId="0"><pane ySplit="{header_row}" topLeftCell="A{header_row + 1}" '
            'activePane="bottomLeft" state="frozen"/><selection pane="bottomLeft"/></sheetView>'
        )
    columns = "".join(
        f'<col min="{at}" max="{at}" width="{width}" style="{style}" customWidth="1"/>'
        for at, (width, style) in enumerate(zip(widths, styles, strict=False), 1)
    )
    columns = f"<cols>{columns}</cols>" if columns else ""
    return (
        f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews>{view}</sheetViews><sheetFormatPr defaultRowHeight="15"/>'
        f"{columns}<sheetData>"
    ).encode()


def sheet_tail(text_columns: Sequence[int], first_row: int, last_row: int) -> bytes:
    """A sheet's XML after its last row.

    Args:
        text_columns: 0-based columns where text that looks like a number is meant as text.
        first_row: of the records, 1-based.
        last_row: of the records; before `first_row` if there is none.
    """
    ignored = ""
    if text_columns and last_row >= first_row:
        ranges = " ".join(f"{column_letters(c)}{first_row}:{column_letters(c)}{last_row}" for c in text_columns)
        ignored = f'<ignoredErrors><ignoredError sqref="{ranges}" numberStoredAsText="1"/></ignoredErrors>'
    margins = '<pageMargins left="0.7" right="0.7" top="0.75" bottom="0.75" header="0.3" footer="0.3"/>'
    return f"</sheetData>{margins}{ignored}</worksheet>".encode()


def header_cells(names: Sequence[str], row: int, style: int) -> bytes:
    """The header row of a new sheet."""
    cells = b"".join(
        cell_xml(f"{column_letters(at)}{row}", style, SPACED, escape_text(name)) for at, name in enumerate(names)
    )
    return f'<row r="{row}">'.encode() + cells + b"</row>"


def column_widths(names: Sequence[str], cells: Sequence[Cells]) -> list[float]:
    """Widths that show the header and most of the first records."""
    import pyarrow.compute as pc

    widths = []
    for name, column in zip(names, cells, strict=True):
        lengths = pc.utf8_length(column.payloads.filter(_not_blank(column))).to_numpy(zero_copy_only=False)
        longest = float(np.quantile(lengths, 0.95)) if len(lengths) else 0
        widths.append(round(min(_WIDEST, max(_NARROWEST, len(name) + 2, longest + 2)), 2))
    return widths


def _not_blank(column: Cells) -> pa.Array:
    import pyarrow as pa

    return pa.array(column.kinds != BLANK)


def check_sheet_name(name: str) -> str:
    """A name that Excel accepts.

    Raises:
        SyncDataError: it does not.
    """
    if not 0 < len(name) <= 31 or any(c in name for c in "[]:*?/\\") or name[0] == "'" or name[-1] == "'":
        raise malformed(
            f"{name[:50]!r} cannot be the name of a sheet",
            hint="Use 1 to 31 characters without [ ] : * ? / \\ and without ' at either end.",
            code="sheet_name",
        )
    return name


def write_workbook_parts(archive: zipfile.ZipFile, sheet_name: str, styles: str) -> None:
    """All parts of a workbook of one sheet but the sheet itself, ``xl/worksheets/sheet1.xml``."""
    kinds = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": (
            f'<Types xmlns="{_PACKAGE}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/xl/workbook.xml" ContentType="{kinds}.sheet.main+xml"/>'
            f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{SHEET_TYPE}"/>'
            f'<Override PartName="/xl/styles.xml" ContentType="{kinds}.styles+xml"/></Types>'
        ),
        "_rels/.rels": (
            f'<Relationships xmlns="{_PACKAGE}/relationships">'
            f'<Relationship Id="rId1" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": (
            f'<workbook xmlns="{_MAIN}" xmlns:r="{RELATIONS}"><bookViews><workbookView/></bookViews><sheets>'
            f'<sheet name={quoteattr(sheet_name)} sheetId="1" r:id="rId1"/></sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": (
            f'<Relationships xmlns="{_PACKAGE}/relationships">'
            f'<Relationship Id="rId1" Type="{RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>'
            f'<Relationship Id="rId2" Type="{RELATIONS}/styles" Target="styles.xml"/></Relationships>'
        ),
    }
    for name, text in parts.items():
        archive.writestr(name, _XML + text)
    archive.writestr("xl/styles.xml", styles)


def new_archive(file: BinaryIO) -> zipfile.ZipFile:
    """An archive to write a workbook into."""
    return zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL)


@contextmanager
def part_writer(archive: zipfile.ZipFile, name: str | zipfile.ZipInfo) -> Iterator[Callable[[bytes], None]]:
    """A function that writes one part, compressing in a thread of its own while the caller makes the next piece.

    Raises:
        SyncDataError: the part grew beyond the 2 GiB that every spreadsheet program can read.
    """
    pending: list[Future[int]] = []

    def put(data: bytes) -> None:
        pending.append(pool.submit(handle.write, data))
        if len(pending) > 2:
            pending.pop(0).result()

    try:
        with archive.open(name, "w") as opened, ThreadPoolExecutor(1) as pool:
            handle: IO[bytes] = opened
            yield put
            for each in pending:
                each.result()
    except RuntimeError as exc:
        raise malformed(
            "the sheet would take more than 2 GiB", hint="Write fewer records or columns to it.", code="sheet_full"
        ) from exc


def text_columns(columns: Sequence[TargetColumn]) -> list[int]:
    """Positions of the columns whose text may look like numbers."""
    return [at for at, column in enumerate(columns) if column.type.kind in ("string", "integer", "decimal")]
