"""Shared by the CSV tests: a connector on a directory, and short ways to read and write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract.harness import FixedClock, changes
from sync_provider.connectors.base import (
    COORDINATES,
    ColumnRequest,
    ReadRequest,
    TargetColumn,
    WriteRequest,
    WriteResult,
)
from sync_provider.connectors.files.csv_connector import CsvConnector
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.schema import parse_type


def connector(directory: Path, **options: Any) -> CsvConnector:
    endpoint = CsvEndpoint.model_validate({"type": "csv", "path": "data.csv", **options})
    return CsvConnector(endpoint, FileRoot(str(directory)), FixedClock())


def wanted(**types: str) -> tuple[ColumnRequest, ...]:
    return tuple(ColumnRequest(name=name, type=parse_type(kind)) for name, kind in types.items())


def targets(**types: str) -> tuple[TargetColumn, ...]:
    return tuple(TargetColumn(name=name, type=parse_type(kind)) for name, kind in types.items())


def read(
    directory: Path, data: bytes | str | None, columns: tuple[ColumnRequest, ...] = (), **options: Any
) -> tuple[list[Any], list[Any]]:
    """Rows as tuples of (line, values…) and rejections, after putting `data` there."""
    if data is not None:
        (directory / "data.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    rows, rejections = [], []
    for batch in connector(directory, **options).read(ReadRequest(columns=columns)):
        names = [n for n in batch.records.schema.names if n not in COORDINATES]
        rows += [(r["__row"], *(r[n] for n in names)) for r in batch.records.to_pylist()]
        rejections += batch.rejections
    return rows, rejections


def write(
    directory: Path,
    mode: Any,
    columns: tuple[TargetColumn, ...],
    *rows: Any,
    key: tuple[str, ...] = ("id",),
    timezone: str = "UTC",
    **options: Any,
) -> WriteResult:
    request = WriteRequest(
        mode=mode, columns=columns, key=key if mode in ("upsert", "mirror") else (), timezone=timezone
    )
    return connector(directory, **options).write(request, changes(*rows, columns=columns))
