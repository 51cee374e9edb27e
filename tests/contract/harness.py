"""How a connector plugs into the conformance suite.

Write ``tests/contract/fixtures_<family>.py`` with one `Harness` subclass for each kind of endpoint, and list the classes in its
``HARNESSES``. `test_connectors.py` finds every such file and runs the whole suite against each class. The suite speaks only the
protocol of `connectors.base`; a harness prepares and inspects the target by means of its own (the `csv` module, openpyxl,
SQL), so that a connector is never judged by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from sync_provider.connectors.base import OLD, OP, Connector, TargetColumn
from sync_provider.core.schema import LogicalType, parse_type

Record = Mapping[str, Any]
"""Column → Python value of the column's type (str, int, Decimal, float, bool, date, aware datetime) or None."""

COLUMNS = (
    TargetColumn(name="code", type=parse_type("string"), nullable=False),
    TargetColumn(name="name", type=parse_type("string")),
    TargetColumn(name="balance", type=parse_type("decimal(12,2)")),
    TargetColumn(name="visits", type=parse_type("integer")),
    TargetColumn(name="active", type=parse_type("boolean")),
    TargetColumn(name="since", type=parse_type("date")),
    TargetColumn(name="seen", type=parse_type("timestamp")),
)
KEY = ("code",)


def record(code: str, **values: Any) -> dict[str, Any]:
    """A record of `COLUMNS`; what is not given is ordinary."""
    ordinary = {
        "name": f"Name {code}",
        "balance": Decimal("12.50"),
        "visits": 3,
        "active": True,
        "since": date(2024, 2, 29),
        "seen": datetime(2024, 12, 31, 23, 59, 58, tzinfo=UTC),
    }
    return {"code": code, **ordinary, **values}


class FixedClock:
    """A clock that tests set; sleeping moves it."""

    def __init__(self, now: datetime | None = None) -> None:
        self.time = now or datetime(2030, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Harness(ABC):
    """One kind of endpoint under test; a new one, with nothing in it, for each test.

    Class attributes tell what the format cannot do; the suite then expects the documented substitute.
    """

    name: ClassVar[str]
    keeps_empty_text: ClassVar[bool] = True
    """False: an empty text comes back as null."""
    needs_postgres: ClassVar[bool] = False
    """True: the harness is given the `postgres_url` fixture as `self.postgres_url`."""

    def __init__(self, directory: Path, request: pytest.FixtureRequest) -> None:
        self.directory = directory
        self.request = request
        self.clock = FixedClock()

    @abstractmethod
    def open(self) -> Connector:
        """A connector on the target; called several times in one test."""

    @abstractmethod
    def seed(self, columns: Sequence[TargetColumn], records: Sequence[Record]) -> None:
        """Make the target hold exactly these columns and records, without using the connector."""

    @abstractmethod
    def holds(self, columns: Sequence[TargetColumn]) -> list[dict[str, Any]]:
        """What the target holds now, in its order, as Python values of the types; without using the connector."""


def changes(
    *rows: tuple[str, Record | None, Record | None],
    columns: Sequence[TargetColumn] = COLUMNS,
    rows_per_batch: int = 1000,
) -> Iterator[pa.RecordBatch]:
    """A change stream from ``(operation, new, old)`` triples; a delete's new record is None, an insert's old one is."""
    for start in range(0, len(rows), rows_per_batch):
        part = rows[start : start + rows_per_batch]
        arrays: dict[str, pa.Array] = {OP: pa.array([operation for operation, _, _ in part], pa.string())}
        for column in columns:
            # A delete names its key in the mapped columns too, and the whole record it expects in OLD.
            news = [(new or old or {}).get(column.name) for _, new, old in part]
            arrays[column.name] = pa.array(news, column.type.to_arrow())
        for column in columns:
            olds = [(old or {}).get(column.name) for _, _, old in part]
            arrays[OLD + column.name] = pa.array(olds, column.type.to_arrow())
        yield pa.RecordBatch.from_pydict(arrays)


def as_text(value: Any, type_: LogicalType) -> str | None:
    """Canonical text of a Python value, to compare a raw batch with."""
    if value is None:
        return None
    if type_.kind == "boolean":
        return "true" if value else "false"
    if type_.kind == "timestamp":
        return str(value.astimezone(UTC).isoformat()).replace("+00:00", "Z")
    if type_.kind == "double":
        return repr(value)
    return str(value)
