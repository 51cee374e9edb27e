"""The two ends of an integration, as a mapping declares them. No I/O.

An endpoint says where data is; how to get at it (`connections`) and how to read it (`connectors`) live elsewhere.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sync_provider.core.values import ConnectionId, Duration, Encoding, FilePath, Items, Model, Text


def is_pattern(sheet: object) -> bool:
    """Whether an endpoint's ``sheet`` is a regular expression: every tab whose whole title matches."""
    return isinstance(sheet, str) and len(sheet) > 1 and sheet.startswith("/") and sheet.endswith("/")


class FileEndpoint(Model):
    """What CSV and Excel endpoints share."""

    connection: ConnectionId | None = None
    """Airflow connection of type `fs` whose `extra.path` is the root that files must stay under. Default: the
    directory of `[sync_provider] files_root`."""
    path: FilePath
    """File below the root, or an fsspec URL. As a source it may be a pattern (`in/*.csv`)."""
    header_row: int = Field(default=1, ge=0)
    """1-based row that holds the column names; 0: there is none, and columns are named `column_1`, `column_2`…"""
    only_new: bool = False
    """Read only files whose content has not been read by this integration before (by SHA-256)."""
    settle: Duration = "PT0S"
    """ISO 8601 duration for which size and modification time must not have changed; a younger file is deferred."""


class CsvEndpoint(FileEndpoint):
    """Delimited text. `airflow-sync inspect FILE` finds these values and says how sure it is."""

    type: Literal["csv"]
    """Delimited text."""
    encoding: Encoding = "utf-8"
    """Python codec name: `utf-8` (a byte order mark is accepted), `utf-8-sig` (one is written), `utf-16`, `cp1252`…"""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """One character between values; `"\\t"` in double quotes is a tab."""
    quote: str | None = Field(default='"', min_length=1, max_length=1)
    """Quote character, doubled inside a value; null: values are never quoted."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of number fields that have no expression of their own; spaces, and the other mark where it
    stands between groups of three digits, are taken as thousands separators."""
    date_order: Literal["ymd", "dmy", "mdy"] = "ymd"
    """Order of the parts of date and timestamp fields that have no expression. Years have four digits."""
    null_values: Items[str] = ()
    """Texts that mean null, quoted or not, besides an empty value that is not quoted (a quoted empty value is an empty
    text, unless `""` is listed here)."""
    formulas: Literal["escape", "keep"] = "escape"
    """Writing: a text that a spreadsheet would run (`=…`, `+…`, `-…`, `@…`, tab, carriage return) gets a leading `'`,
    which is taken off again when we read the file. `keep` writes it as it is."""
    line_end: Literal["\n", "\r\n"] = "\n"
    """Line end written; every line end is read."""


class ExcelEndpoint(FileEndpoint):
    """An Excel workbook (`.xlsx`, and for reading `.xls`, `.xlsb`, `.ods`)."""

    type: Literal["excel"]
    """A workbook."""
    sheet: str | int = 0
    """Name, 0-based index, or `/regular expression/`: all sheets whose whole name matches."""
    sheet_field: Text | None = None
    """Adds a source column of this name that holds the sheet's name."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of *text* cells found in number fields; number cells need none."""
    date_order: Literal["ymd", "dmy", "mdy"] = "ymd"
    """Order of the parts of *text* cells found in date fields; date cells need none."""
    style: Literal["table", "plain"] = "table"
    """Writing a new sheet: `table` freezes and formats the header, sets column widths, number and date formats."""


class SqlEndpoint(Model):
    """A table or query of a SQL database, through SQLAlchemy; SQLite and PostgreSQL have bulk paths."""

    type: Literal["sql"]
    """A database."""
    connection: ConnectionId
    """Airflow connection id (`sqlite`, `postgres`, or any with a SQLAlchemy dialect)."""
    table: Text | None = None
    """`table` or `schema.table`; checked against the catalogue and quoted."""
    query: Text | None = None
    """One SELECT statement; reading only."""
    create: bool = True
    """Writing: create the table with the mapped types when it does not exist."""

    @model_validator(mode="after")
    def _one_of(self) -> SqlEndpoint:
        if (self.table is None) == (self.query is None):
            raise ValueError("give either table or query")
        return self


def _spreadsheet_id(value: str) -> str:
    found = re.fullmatch(
        r"(?:https?://[^/]+/(?:a/[^/]+/)?spreadsheets/(?:u/\d+/)?d/(?!e/))?([A-Za-z0-9_-]{1,200})(?:[/?#].*)?", value
    )
    if found is None:
        raise ValueError(f"{value[:60]!r} is no id or address of a spreadsheet")
    return found[1]


SpreadsheetId = Annotated[str, AfterValidator(_spreadsheet_id)]
"""The id of a Google spreadsheet, taken from its address if that is given."""


class GoogleSheetsEndpoint(Model):
    """A tab of a Google spreadsheet."""

    type: Literal["google_sheets"]
    """A Google spreadsheet."""
    connection: ConnectionId
    """Airflow connection of type `google_cloud_platform`; `extra.base_url` points it at the local sandbox."""
    spreadsheet: SpreadsheetId
    """The id in the spreadsheet's address, or the whole address."""
    sheet: str | int | SheetGid = 0
    """Title, 0-based index, `{gid: 123}`, or for reading `/regular expression/`: all tabs whose whole title matches. A tab named by its title is followed by its number when it is renamed."""
    range: Text | None = None
    """Reading: name of a named range, instead of `sheet`. Its first row is the header, its other rows are the records; what stands beside it is not read."""
    header_row: int = Field(default=1, ge=1)
    """1-based row that holds the column names."""
    id_column: Text | None = None
    """Where rows have no key of their own: header of a column of ids, which is added to the tab and protected; each row gets an id when it is first read. The mapping's `key` is this column's field. For a source, and for either side of a two-way integration."""
    sheet_field: Text | None = None
    """Adds a source column of this name that holds the tab's title."""
    decimal: Literal[".", ","] = "."
    """Decimal mark of *text* cells found in number fields; number cells need none."""
    date_order: Literal["ymd", "dmy", "mdy"] = "ymd"
    """Order of the parts of *text* cells found in date fields; date cells need none."""
    create: bool = True
    """Writing: create the tab, with a frozen header, when it does not exist."""
    always_read: bool = False
    """Read the tab even if Drive says that the spreadsheet has not changed: for formulas that change by themselves (`NOW`, `IMPORTRANGE`…)."""
    rejects_tab: Text | None = None
    """Source of a one-way integration: title of a tab that shows its refused records with the reason; what people correct there is replayed by the next run."""

    @model_validator(mode="after")
    def _one_place(self) -> GoogleSheetsEndpoint:
        if self.range is not None:
            if "sheet" in self.model_fields_set:
                raise ValueError("give either sheet or range")
            if "header_row" in self.model_fields_set:
                raise ValueError("the header of a named range is its first row; leave header_row out")
        return self


class SheetGid(Model):
    """A tab by the number that stays with it when it is renamed."""

    gid: int = Field(ge=0)
    """The number after `gid=` in the tab's URL."""


GoogleSheetsEndpoint.model_rebuild()

Endpoint = Annotated[
    CsvEndpoint | ExcelEndpoint | SqlEndpoint | GoogleSheetsEndpoint,
    Field(discriminator="type"),
]
