"""A mapping's text made from what a source holds. Guesses are marked for a person to check."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sync_provider.cli.sample import Readable, likely_key, read_sample
from sync_provider.connectors.files.inspect import Inspection, inspect_file
from sync_provider.connectors.files.inspect_cells import SheetInspection
from sync_provider.connectors.files.inspect_workbook import inspect_workbook
from sync_provider.connectors.files.inspect_yaml import OPEN, destination_names, scalar
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.endpoints import CsvEndpoint, Endpoint, ExcelEndpoint, GoogleSheetsEndpoint, SqlEndpoint
from sync_provider.core.errors import MappingError, MappingErrors, SyncDataError, SyncError, Where
from sync_provider.core.mapping_text import parse_mapping
from sync_provider.engine.clock import SystemClock

if TYPE_CHECKING:
    from sync_provider.connectors.base import Connector
    from sync_provider.connectors.sheets.inspecting import TabInspection
    from sync_provider.core.mapping import Mapping

SAMPLE_RECORDS = 1_000

_FRAME = """\
# yaml-language-server: $schema=./mapping.schema.json
# Made from {origin}. Look at the lines marked "check"; docs/mapping.md explains every key.
version: 1
id: {id}
description: ""
mode: {mode}
{source}\
{destination}\
{key}
{fields}\
write: {write}
# filter: "… IS NOT NULL"            # one boolean expression over destination names
# incremental: {{cursor: …}}           # read only what is new since the last run
# validation:
#   expectations:                    # Great Expectations' own names and arguments
#     - {{type: expect_column_values_to_not_be_null, kwargs: {{column: …}}}}
#   max_rejected: 5%                 # beyond it, nothing is written
schedule: null                       # cron, @daily, ISO 8601 duration such as PT6H; null: started by hand
# alerts: {{emails: [you@example.org]}}
"""

_INTO_A_TABLE = """\
destination:
  type: sql
  connection: my_database            # check: an Airflow connection
  table: {table:<27} # check; created at the first run if it does not exist
"""

_INTO_A_FILE = """\
destination:
  type: csv
  path: {file:<28} # check; below [sync_provider] files_root, or give a connection of type fs
"""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A mapping's text; ``undecided``: how many values it leaves open, so that lint refuses it."""

    id: str
    text: str
    undecided: int

    def as_dict(self) -> dict[str, Any]:
        return {"id": self.id, "mapping": self.text, "undecided": self.undecided}


def from_csv(path: Path, files_root: str, mapping_id: str | None) -> Skeleton:
    """From a CSV file.

    Args:
        path: absolute.
        files_root: the root that the deployment's files lie below; the path is written relative to it if it does.
        mapping_id: default: made from the file's name.

    Raises:
        SyncDataError: it is no CSV file, or no column of it has a name.
    """
    root = FileRoot(str(path.parent))
    found = inspect_file(root, root.resolve(path.name))
    if not found.columns:
        raise SyncDataError(
            "no column of this file has a name",
            where=Where(file=str(path)),
            hint="Write the column names into a line above the records.",
            code="csv_no_header",
        )
    name, note = _below(path, files_root)
    pieces = _pieces(path.name, replace(found, file=name), note)
    return _assemble(pieces, mapping_id or _id(path.stem), lambda mapping: open_file(root, mapping.source, path.name))


def from_workbook(
    path: Path, files_root: str, mapping_id: str | None, sheet: str | None, header_row: int | None
) -> Skeleton:
    """From one sheet of a workbook.

    Raises:
        SyncDataError: it is no workbook, has no such sheet, or the sheet no header.
    """
    root = FileRoot(str(path.parent))
    found = inspect_workbook(root, root.resolve(path.name), sheet=sheet, header_row=header_row).sheet
    name, note = _below(path, files_root)
    _need_columns(found, Where(file=str(path), sheet=found.source["sheet"]))
    pieces = _pieces(path.name, replace(found, source={**found.source, "path": name}), note)
    return _assemble(pieces, mapping_id or _id(path.stem), lambda mapping: open_file(root, mapping.source, path.name))


def from_tab(tab: TabInspection, mapping_id: str | None) -> Skeleton:
    """From a tab of a Google spreadsheet, which has been inspected.

    Raises:
        SyncDataError: the tab has no header.
    """
    title = tab.tab.title
    _need_columns(tab.sheet, Where(endpoint=f"spreadsheet {tab.book.id}", sheet=title))
    pieces = _pieces(f"the tab {json.dumps(title, ensure_ascii=False)} of a spreadsheet", tab.sheet)
    return _assemble(pieces, mapping_id or _id(title), lambda mapping: open_tab(tab, mapping.source))


def open_tab(tab: TabInspection, endpoint: Endpoint) -> AbstractContextManager[Readable]:
    """The first rows of the tab, as the endpoint says that they are read."""
    assert isinstance(endpoint, GoogleSheetsEndpoint)
    return nullcontext(tab.as_read_by(endpoint))


def from_table(
    connect: Callable[[Endpoint], Connector], connection: str, table: str, mapping_id: str | None
) -> Skeleton:
    """From a table of a database, to be exported to a file.

    Raises:
        SyncDataError: there is no such table.
        SyncConnectionError: the database cannot be reached.
    """
    endpoint = SqlEndpoint(type="sql", connection=connection, table=table, create=False)
    with connect(endpoint) as connector:
        columns = [(column.name, str(column.type)) for column in connector.describe()]
    if not columns:
        raise SyncDataError(
            f"there is no table {table!r}",
            where=Where(endpoint=f"sql, connection {connection}"),
            hint="Write table or schema.table as the database spells it.",
            code="table_missing",
        )
    source = f"source:\n  type: sql\n  connection: {connection}\n  table: {_text(table)}\n"
    names = destination_names([name for name, _ in columns])
    lines = [
        f"  - {{source: {_text(name)}, destination: {scalar(to)}, type: {_text(kind)}}}"
        for (name, kind), to in zip(columns, names, strict=True)
    ]
    pieces = _Pieces(
        f"table {table}",
        source,
        "\n".join(["fields:", *lines, ""]),
        names,
        _INTO_A_FILE,
        mode="export",
        write="replace",
    )
    return _assemble(pieces, mapping_id or _id(table), lambda _: connect(endpoint))


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Parts of the text, and the destination names of the fields."""

    origin: str
    source: str
    fields: str
    names: list[str]
    into: str = _INTO_A_TABLE
    mode: str = "import"
    write: str = "upsert"


def _pieces(origin: str, found: Inspection | SheetInspection, note: str = "") -> _Pieces:
    source, _, fields = found.as_yaml().partition("fields:\n")
    return _Pieces(origin, note + source, f"fields:\n{fields}", destination_names([c.name for c in found.columns]))


def _need_columns(found: SheetInspection, where: Where) -> None:
    if not found.columns:
        raise SyncDataError(
            "this sheet has no header",
            where=where,
            hint="Write the column names above the records, or tell their row with --header-row.",
            code="sheet_empty",
        )


def _assemble(
    pieces: _Pieces, mapping_id: str, open_source: Callable[[Mapping], AbstractContextManager[Readable]]
) -> Skeleton:
    """Put the parts together, with the first field as the key; then look for a better one in the records themselves."""

    def text(key: str, write: str) -> str:
        return _FRAME.format(
            origin=pieces.origin,
            id=scalar(mapping_id),
            mode=pieces.mode,
            source=pieces.source,
            destination=pieces.into.format(table=mapping_id, file=f"{mapping_id}.csv"),
            key=key,
            fields=pieces.fields,
            write=write,
        )

    def keyed(names: Sequence[str], why: str) -> str:
        return text(f"key: [{', '.join(map(scalar, names))}]".ljust(37) + f"# check: {why}", pieces.write)

    draft = keyed(pieces.names[:1], "what identifies a record? this is only the first field")
    undecided = len(re.findall(rf": {OPEN}(?=\s)", draft))
    try:
        mapping = parse_mapping(draft, file=mapping_id)
        with open_source(mapping) as source:
            sample = read_sample(source, mapping, SAMPLE_RECORDS)
    except MappingErrors as error:
        if not undecided:
            raise
        del error  # lint will say so in full: that is what an undecided value is for
        return Skeleton(mapping_id, draft, undecided)
    except MappingError:
        raise
    except SyncError:
        return Skeleton(mapping_id, draft, undecided)
    if key := likely_key(sample, {f.destination: f.type for f in mapping.fields}):
        seen = f"its values differ in the first {len(sample.rows):,} records"
        return Skeleton(mapping_id, keyed(key, seen), undecided)
    if pieces.write == "replace":
        return Skeleton(mapping_id, text("key: []", "replace"), undecided)
    none = "# check: neither one field nor two identify a record; name those that do, then write: upsert"
    return Skeleton(mapping_id, text(f"key: []  {none}", "append"), undecided)


def open_file(root: FileRoot, endpoint: Endpoint, name: str) -> Connector:
    """The file where it lies now, whatever path the mapping will give it."""
    here = endpoint.model_copy(update={"path": name})
    if isinstance(here, CsvEndpoint):
        from sync_provider.connectors.files.csv_connector import CsvConnector

        return CsvConnector(here, root, SystemClock())
    from sync_provider.connectors.files.excel_connector import ExcelConnector

    assert isinstance(here, ExcelEndpoint)
    return ExcelConnector(here, root, SystemClock())


def _below(path: Path, files_root: str) -> tuple[str, str]:
    """The path as a mapping gives it, and a note where the file lies outside the root."""
    if path.is_relative_to(files_root):
        return path.relative_to(files_root).as_posix(), ""
    return path.name, "# check: the file must lie below [sync_provider] files_root, or give a connection of type fs\n"


def _id(text: str) -> str:
    (name,) = destination_names([text.lower()])
    return name[:80]


def _text(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*[A-Za-z0-9_]", value)
    if plain and value.lower() not in ("null", "true", "false", "yes", "no", "on", "off"):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
