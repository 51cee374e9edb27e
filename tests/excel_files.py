"""Workbooks for tests, made by hand part by part, and the connector on them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.harness import FixedClock
from sync_provider.connectors.base import ColumnRequest, ReadRequest
from sync_provider.connectors.files.excel_connector import ExcelConnector
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.endpoints import ExcelEndpoint
from sync_provider.core.report import Rejection
from sync_provider.core.schema import parse_type

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STYLES = (
    f'<styleSheet xmlns="{MAIN}"><numFmts count="3"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd hh:mm:ss"/>'
    '<numFmt numFmtId="165" formatCode="[h]:mm:ss"/><numFmt numFmtId="166" formatCode="0.00&quot; days&quot;"/></numFmts>'
    '<cellXfs count="6"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="21"/>'
    '<xf numFmtId="165"/><xf numFmtId="166"/></cellXfs></styleSheet>'
)
"""Cell formats: 0 general, 1 date, 2 date and time, 3 time of day, 4 elapsed time, 5 a number."""


@dataclass
class SheetXml:
    """One sheet of a workbook made by hand; `rows` is what stands between the sheetData tags."""

    rows: str
    name: str = "Data"
    state: str = ""
    head: str = ""
    tail: str = ""


def workbook(
    *sheets: SheetXml,
    strings: str | None = None,
    date1904: bool = False,
    extra: Mapping[str, bytes | str] | None = None,
) -> bytes:
    """A workbook of these sheets; `extra` adds or replaces parts."""
    listed = "".join(
        f'<sheet name="{s.name}" sheetId="{n}"{f" state={chr(34)}{s.state}{chr(34)}" if s.state else ""} r:id="rId{n}"/>'
        for n, s in enumerate(sheets, 1)
    )
    links = "".join(
        f'<Relationship Id="rId{n}" Type="{RELATIONS}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n, _ in enumerate(sheets, 1)
    )
    links += f'<Relationship Id="rS" Type="{RELATIONS}/styles" Target="styles.xml"/>'
    package = "http://schemas.openxmlformats.org/package/2006"
    parts: dict[str, bytes | str] = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"></Types>',
        "_rels/.rels": (
            f'<Relationships xmlns="{package}/relationships">'
            f'<Relationship Id="rId1" Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": (
            f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><workbookPr date1904="{int(date1904)}"/>'
            f"<sheets>{listed}</sheets></workbook>"
        ),
        "xl/styles.xml": STYLES,
    }
    if strings is not None:
        links += f'<Relationship Id="rT" Type="{RELATIONS}/sharedStrings" Target="sharedStrings.xml"/>'
        parts["xl/sharedStrings.xml"] = f'<sst xmlns="{MAIN}">{strings}</sst>'
    parts["xl/_rels/workbook.xml.rels"] = f'<Relationships xmlns="{package}/relationships">{links}</Relationships>'
    for n, sheet in enumerate(sheets, 1):
        parts[f"xl/worksheets/sheet{n}.xml"] = (
            f'<worksheet xmlns="{MAIN}">{sheet.head}<sheetData>{sheet.rows}</sheetData>{sheet.tail}</worksheet>'
        )
    return archive({**parts, **(extra or {})})


def archive(parts: Mapping[str, bytes | str]) -> bytes:
    """A ZIP archive of these parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in parts.items():
            made.writestr(name, data)
    return file.getvalue()


def parts_of(data: bytes | Path) -> dict[str, bytes]:
    """The parts of a workbook."""
    with zipfile.ZipFile(io.BytesIO(data) if isinstance(data, bytes) else data) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def text_cell(reference: str, text: str) -> str:
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


def table(header: Sequence[str], *rows: str) -> str:
    """Rows of a sheet: a header of texts, then rows given as their cells (numbered from 2)."""
    names = "".join(text_cell(f"{chr(65 + at)}1", name) for at, name in enumerate(header))
    return f'<row r="1">{names}</row>' + "".join(f'<row r="{n}">{cells}</row>' for n, cells in enumerate(rows, 2))


@dataclass
class Read:
    """What reading a workbook gave."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def column(self, name: str) -> list[Any]:
        return [row[name] for row in self.rows]


def connector(directory: Path, path: str = "book.xlsx", **options: Any) -> ExcelConnector:
    endpoint = ExcelEndpoint.model_validate({"type": "excel", "path": path, **options})
    return ExcelConnector(endpoint, FileRoot(str(directory)), FixedClock())


def read(
    directory: Path,
    data: bytes | None = None,
    columns: Mapping[str, str] | None = None,
    *,
    path: str = "book.xlsx",
    request: Mapping[str, Any] | None = None,
    **options: Any,
) -> Read:
    """Read a workbook: all columns as they are, or those given with their types."""
    if data is not None:
        (directory / path).write_bytes(data)
    wanted = tuple(ColumnRequest(name=n, type=parse_type(t)) for n, t in (columns or {}).items())
    found = Read()
    with connector(directory, path, **options) as opened:
        for batch in opened.read(ReadRequest(columns=wanted, **(request or {}))):
            found.rows += batch.records.to_pylist()
            found.rejections += batch.rejections
    return found
