"""Sides of a two-way integration as a person edits them: by the csv module, openpyxl, sqlite3, psycopg or Google's client.

Never by our connectors: what they get wrong, these must be able to see.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import openpyxl
from openpyxl.styles import Font
from sync_provider.connectors.base import ConnectionInfo
from workspace import Workspace

MAPPED = ("code", "name", "note")
EXTRA = "remark"  # a column outside the mapping
CHANGED = "changed"  # when the row was edited, by the side's own clock
ALL = (*MAPPED, EXTRA, CHANGED)

Row = dict[str, str | None]


class Driver(ABC):
    """One side. A row is all of `ALL`, as text; None is null. Keys need not be unique where the kind does not see to it.

    Args:
        workspace: where the side's file or connection is made; an empty side is made at once.
        name: of the file, table or tab.
    """

    kind: ClassVar[str]
    unique: ClassVar[bool] = False
    """Whether the kind itself refuses a second row of a key."""
    locked: ClassVar[bool] = False
    """Whether nobody can edit while a write goes on."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace, self.name = workspace, name
        self.create()

    @property
    @abstractmethod
    def endpoint(self) -> dict[str, Any]:
        """As a mapping names it."""

    @abstractmethod
    def create(self) -> None:
        """Make the side, with a header and no row, and something beside it that no run may touch."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """All rows, in order."""

    @abstractmethod
    def add(self, key: str, **values: str | None) -> None: ...

    @abstractmethod
    def edit(self, key: str, column: str, value: str | None) -> None:
        """Change one value of the first row of the key."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove every row of the key."""

    @abstractmethod
    def reorder(self) -> None:
        """Turn the rows upside down."""

    @abstractmethod
    def others(self) -> Any:
        """What else stands there, for comparison."""

    def by_key(self) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for row in self.rows():
            found.setdefault(str(row["code"]), row)
        return found


class _Grid(Driver):
    """A side that is saved as a whole."""

    def add(self, key: str, **values: str | None) -> None:
        self.save([*self.rows(), {**dict.fromkeys(ALL), "code": key, **values}])

    def edit(self, key: str, column: str, value: str | None) -> None:
        rows = self.rows()
        next(row for row in rows if row["code"] == key)[column] = value
        self.save(rows)

    def delete(self, key: str) -> None:
        self.save([row for row in self.rows() if row["code"] != key])

    def reorder(self) -> None:
        self.save(self.rows()[::-1])

    @abstractmethod
    def save(self, rows: list[Row]) -> None: ...


class CsvSide(_Grid):
    kind = "csv"

    @property
    def endpoint(self) -> dict[str, Any]:
        return {"type": "csv", "path": f"{self.name}.csv"}

    @property
    def path(self) -> Path:
        return self.workspace.files / f"{self.name}.csv"

    def create(self) -> None:
        self.save([])

    def rows(self) -> list[Row]:
        rows = csv.DictReader(io.StringIO(self.path.read_text(encoding="utf-8"), newline=""), strict=True)
        return [{name: value or None for name, value in row.items()} for row in rows]

    def save(self, rows: list[Row]) -> None:
        text = io.StringIO(newline="")
        out = csv.writer(text, lineterminator="\n")
        out.writerow(ALL)
        out.writerows([row[name] or "" for name in ALL] for row in rows)
        self.path.write_text(text.getvalue(), encoding="utf-8")

    def others(self) -> Any:
        return self.path.read_text(encoding="utf-8").splitlines()[0]


class ExcelSide(_Grid):
    """A sheet with a bold header, and a second one with a formula."""

    kind = "excel"

    @property
    def endpoint(self) -> dict[str, Any]:
        return {"type": "excel", "path": f"{self.name}.xlsx", "sheet": "Feuille"}

    @property
    def path(self) -> Path:
        return self.workspace.files / f"{self.name}.xlsx"

    def create(self) -> None:
        book = openpyxl.Workbook()
        sheet = book.worksheets[0]
        sheet.title = "Feuille"
        sheet.append(ALL)
        for cell in sheet[1]:
            cell.font = Font(bold=True)
        other = book.create_sheet("Autre")
        other.append(["total", 3, "=B1*2"])
        book.save(self.path)

    def rows(self) -> list[Row]:
        with closing(openpyxl.load_workbook(self.path)) as book:
            header, *rest = book["Feuille"].iter_rows(values_only=True)
        rows = [dict(zip(header, row, strict=True)) for row in rest]
        # Of a deleted record, only the mapped cells are emptied where formulas may refer to its row.
        return [row for row in rows if any(row[name] is not None for name in MAPPED)]  # type: ignore[misc]

    def save(self, rows: list[Row]) -> None:
        book = openpyxl.load_workbook(self.path)
        sheet = book["Feuille"]
        sheet.delete_rows(2, sheet.max_row)
        for number, row in enumerate(rows, 2):
            for column, name in enumerate(ALL, 1):
                sheet.cell(number, column, row[name])
        book.save(self.path)

    def others(self) -> Any:
        with closing(openpyxl.load_workbook(self.path)) as book:
            cells = [[cell.value for cell in row] for row in book["Autre"].iter_rows()]
            return cells, [(cell.value, cell.font.bold) for cell in book["Feuille"][1]], book.sheetnames


class _Table(Driver):
    """A table with a primary key, beside another one."""

    unique = True
    locked = True
    mark: ClassVar[str]

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.positions = itertools.count(1)
        super().__init__(workspace, name)

    @property
    def endpoint(self) -> dict[str, Any]:
        return {"type": "sql", "connection": self.name, "table": "records"}

    @contextmanager
    @abstractmethod
    def connected(self) -> Iterator[Any]:
        """A connection that commits when the block ends."""

    def create(self) -> None:
        columns = ", ".join(f"{name} text" for name in ALL[1:])
        with self.connected() as database:
            database.execute("DROP TABLE IF EXISTS records")
            database.execute("DROP TABLE IF EXISTS unrelated")
            database.execute(f"CREATE TABLE records (code text PRIMARY KEY, {columns}, position integer)")
            database.execute("CREATE TABLE unrelated (code text)")
            database.execute("INSERT INTO unrelated VALUES ('a')")

    def rows(self) -> list[Row]:
        with self.connected() as database:
            rows = database.execute(f"SELECT {', '.join(ALL)} FROM records ORDER BY position, code").fetchall()
        return [dict(zip(ALL, row, strict=True)) for row in rows]

    def add(self, key: str, **values: str | None) -> None:
        row = {**dict.fromkeys(ALL), **values, "code": key}
        marks = ", ".join([self.mark] * (len(ALL) + 1))
        with self.connected() as database:
            database.execute(f"INSERT INTO records VALUES ({marks})", (*row.values(), next(self.positions)))

    def edit(self, key: str, column: str, value: str | None) -> None:
        with self.connected() as database:
            database.execute(f"UPDATE records SET {column} = {self.mark} WHERE code = {self.mark}", (value, key))

    def delete(self, key: str) -> None:
        with self.connected() as database:
            database.execute(f"DELETE FROM records WHERE code = {self.mark}", (key,))

    def reorder(self) -> None:
        with self.connected() as database:
            database.execute("UPDATE records SET position = -coalesce(position, 0)")

    def others(self) -> Any:
        with self.connected() as database:
            return database.execute("SELECT * FROM unrelated").fetchall()


class SqliteSide(_Table):
    kind = "sqlite"
    mark = "?"

    @contextmanager
    def connected(self) -> Iterator[Any]:
        with closing(sqlite3.connect(self.workspace.sync.database(self.name))) as database, database:
            database.execute("PRAGMA synchronous = OFF")
            yield database


class PostgresSide(_Table):
    kind = "postgres"
    mark = "%s"
    url: ClassVar[str] = ""
    """Of an empty database; set by the test."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        from urllib.parse import urlsplit

        parts = urlsplit(self.url)
        workspace.connections[name] = ConnectionInfo(
            id=name,
            type="postgres",
            host=parts.hostname,
            port=parts.port,
            login=parts.username,
            schema=parts.path.removeprefix("/"),
        )
        super().__init__(workspace, name)

    @contextmanager
    def connected(self) -> Iterator[Any]:
        import psycopg

        with psycopg.connect(self.url) as database:
            yield database


class SheetsSide(Driver):
    """A tab of a spreadsheet in the sandbox, beside another one; edited cell by cell, as people do."""

    kind = "sheets"
    sandbox: ClassVar[Any] = None
    """A running `Sandbox`; set by the test."""

    @property
    def endpoint(self) -> dict[str, Any]:
        return {"type": "google_sheets", "connection": self.name, "spreadsheet": self.book, "sheet": "Clients"}

    def create(self) -> None:
        from sandbox_support import Client

        self.client = Client(self.sandbox)
        self.book = self.client.create(rows=40, columns=8)
        self.client.batch(
            self.book,
            {"addSheet": {"properties": {"sheetId": 7, "title": "Clients", "gridProperties": {"rowCount": 40}}}},
        )
        self.client.put(self.book, "Clients!A1", [list(ALL)])
        self.client.put(self.book, "Sheet1!A1", [["total", 3, "=B1*2"]], "USER_ENTERED")
        key = json.loads(self.sandbox.service_account_file.read_text())
        self.workspace.connections[self.name] = ConnectionInfo(
            id=self.name,
            type="google_cloud_platform",
            extra={"keyfile_dict": key, "base_url": self.sandbox.base_url},
        )

    def _grid(self) -> list[list[Any]]:
        return self.client.rows(self.book, "Clients!A2:E")

    def rows(self) -> list[Row]:
        padded = ([*row, *([None] * (len(ALL) - len(row)))] for row in self._grid())
        return [dict(zip(ALL, (cell or None for cell in row), strict=True)) for row in padded if any(row)]

    def _number(self, key: str) -> int:
        return next(number for number, row in enumerate(self._grid(), 2) if row and row[0] == key)

    def add(self, key: str, **values: str | None) -> None:
        row = {**dict.fromkeys(ALL), **values, "code": key}
        self.client.append(self.book, "Clients!A1", [[value or "" for value in row.values()]])

    def edit(self, key: str, column: str, value: str | None) -> None:
        cell = f"Clients!{'ABCDE'[ALL.index(column)]}{self._number(key)}"
        self.client.put(self.book, cell, [[value or ""]])

    def delete(self, key: str) -> None:
        while any(row and row[0] == key for row in self._grid()):
            row = self._number(key)
            place = {"sheetId": 7, "dimension": "ROWS", "startIndex": row - 1, "endIndex": row}
            self.client.batch(self.book, {"deleteDimension": {"range": place}})

    def reorder(self) -> None:
        rows = self._grid()
        if len(rows) > 1:
            place = {"sheetId": 7, "dimension": "ROWS", "startIndex": len(rows), "endIndex": len(rows) + 1}
            self.client.batch(self.book, {"moveDimension": {"source": place, "destinationIndex": 1}})

    def others(self) -> Any:
        return self.client.rows(self.book, "Sheet1", "FORMULA"), self.client.rows(self.book, "Clients!1:1")


KINDS: dict[str, type[Driver]] = {
    side.kind: side for side in (CsvSide, ExcelSide, SqliteSide, PostgresSide, SheetsSide)
}
