"""Sides of a two-way integration as a person edits them: by the csv module, openpyxl, sqlite3 or psycopg, never by our connectors."""

from __future__ import annotations

import csv
import io
import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import openpyxl
from sync_provider.connectors.base import ConnectionInfo
from workspace import Workspace

COLUMNS = ("code", "name", "note")  # what is mapped
EXTRA = "remark"  # what is not

Row = dict[str, str | None]


class Driver(ABC):
    """One side. A row is ``COLUMNS`` and `EXTRA`, all text; None is null."""

    kind: ClassVar[str]

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace, self.name = workspace, name
        self.write([])

    @property
    @abstractmethod
    def endpoint(self) -> dict[str, Any]: ...

    @abstractmethod
    def rows(self) -> list[Row]: ...

    @abstractmethod
    def write(self, rows: list[Row]) -> None:
        """Make the side hold exactly these rows, in this order."""

    def by_key(self) -> dict[str, Row]:
        return {str(row["code"]): row for row in self.rows()}

    def edit(self, key: str, column: str, value: str | None) -> None:
        self.write([{**row, column: value} if row["code"] == key else row for row in self.rows()])

    def add(self, key: str, **values: str | None) -> None:
        self.write([*self.rows(), {**dict.fromkeys((*COLUMNS, EXTRA)), "code": key, **values}])

    def delete(self, key: str) -> None:
        self.write([row for row in self.rows() if row["code"] != key])

    def reorder(self) -> None:
        self.write(list(reversed(self.rows())))


class CsvSide(Driver):
    kind = "csv"

    @property
    def endpoint(self) -> dict[str, Any]:
        return {"type": "csv", "path": f"{self.name}.csv"}

    @property
    def path(self) -> Path:
        return self.workspace.files / f"{self.name}.csv"

    def rows(self) -> list[Row]:
        rows = csv.DictReader(io.StringIO(self.path.read_text(encoding="utf-8"), newline=""), strict=True)
        return [{name: value or None for name, value in row.items()} for row in rows]

    def write(self, rows: list[Row]) -> None:
        text = io.StringIO(newline="")
        out = csv.writer(text, lineterminator="\n")
        out.writerow((*COLUMNS, EXTRA))
        out.writerows([row[name] or "" for name in (*COLUMNS, EXTRA)] for row in rows)
        self.path.write_text(text.getvalue(), encoding="utf-8")


class ExcelSide(Driver):
    kind = "excel"

    @property
    def endpoint(self) -> dict[str, Any]:
        return {"type": "excel", "path": f"{self.name}.xlsx"}

    @property
    def path(self) -> Path:
        return self.workspace.files / f"{self.name}.xlsx"

    def rows(self) -> list[Row]:
        sheet = openpyxl.load_workbook(self.path).worksheets[0]
        header, *rest = sheet.iter_rows(values_only=True)
        return [dict(zip(header, row, strict=True)) for row in rest if any(value is not None for value in row)]  # type: ignore[misc]

    def write(self, rows: list[Row]) -> None:
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("Feuille")
        sheet.append((*COLUMNS, EXTRA))
        for row in rows:
            sheet.append([row[name] for name in (*COLUMNS, EXTRA)])
        book.save(self.path)


class SqliteSide(Driver):
    kind = "sqlite"

    @property
    def endpoint(self) -> dict[str, Any]:
        return {"type": "sql", "connection": self.name, "table": "records"}

    @property
    def path(self) -> Path:
        return self.workspace.sync.database(self.name)

    def rows(self) -> list[Row]:
        with closing(sqlite3.connect(self.path)) as database:
            rows = database.execute(f"SELECT {', '.join((*COLUMNS, EXTRA))} FROM records ORDER BY rowid").fetchall()
        return [dict(zip((*COLUMNS, EXTRA), row, strict=True)) for row in rows]

    def write(self, rows: list[Row]) -> None:
        with closing(sqlite3.connect(self.path)) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS records (code TEXT PRIMARY KEY, name TEXT, note TEXT, remark TEXT)"
            )
            database.execute("DELETE FROM records")
            marks = [[row[name] for name in (*COLUMNS, EXTRA)] for row in rows]
            database.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", marks)


class PostgresSide(Driver):
    kind = "postgres"
    url: ClassVar[str] = ""

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

    @property
    def endpoint(self) -> dict[str, Any]:
        return {"type": "sql", "connection": self.name, "table": f"records_{self.name}"}

    def rows(self) -> list[Row]:
        import psycopg

        with psycopg.connect(self.url) as database:
            query = f"SELECT {', '.join((*COLUMNS, EXTRA))} FROM records_{self.name} ORDER BY code"
            return [dict(zip((*COLUMNS, EXTRA), row, strict=True)) for row in database.execute(query)]  # type: ignore[call-overload]

    def write(self, rows: list[Row]) -> None:
        import psycopg

        with psycopg.connect(self.url) as database:
            table = f"records_{self.name}"
            database.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (code text PRIMARY KEY, name text, note text, remark text)"
            )  # type: ignore[call-overload]
            database.execute(f"DELETE FROM {table}")  # type: ignore[call-overload]
            with database.cursor() as cursor:
                marks = [[row[name] for name in (*COLUMNS, EXTRA)] for row in rows]
                cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s, %s, %s)", marks)  # type: ignore[arg-type]
