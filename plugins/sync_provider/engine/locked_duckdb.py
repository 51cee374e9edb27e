"""A DuckDB that can open nothing: no file, no network, no extension, and its configuration is locked."""

from __future__ import annotations

import tempfile
from typing import Any

from sync_provider.core.expressions import MAX_DEPTH
from sync_provider.core.macros import MACROS

MEMORY_LIMIT = "256MB"


def connect(*, timezone: str = "UTC", memory_limit: str = MEMORY_LIMIT) -> Any:
    """A new locked DuckDB connection that knows the macros.

    Args:
        timezone: zone in which it takes apart timestamps with zone (`year(…)`, `strftime(…)`).
        memory_limit: DuckDB's own limit; beyond it, it spills to the temporary directory where it can.
    """
    import duckdb

    connection = duckdb.connect(
        config={
            "enable_external_access": "false",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
            "temp_directory": tempfile.gettempdir(),
            "memory_limit": memory_limit,
            "threads": "1",
            "max_expression_depth": str(4 * MAX_DEPTH),
        }
    )
    connection.execute(f"SET TimeZone = {quoted(timezone, chr(39))}")
    for name, macro in MACROS.items():
        connection.execute(macro.sql(name))
    connection.execute("SET lock_configuration = true")
    return connection


def quoted(text: str, mark: str = '"') -> str:
    """An SQL identifier, or with ``'`` a text."""
    return mark + text.replace(mark, mark * 2) + mark
