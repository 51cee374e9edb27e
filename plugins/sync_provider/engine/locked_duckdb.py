"""A DuckDB that can open nothing: no file, no network, no extension, and its configuration is locked."""

from __future__ import annotations

from typing import Any

from sync_provider.core.expressions import MAX_DEPTH
from sync_provider.core.macros import MACROS

MEMORY_LIMIT = "256MB"


def connect(*, timezone: str = "UTC", memory_limit: str = MEMORY_LIMIT) -> Any:
    """A new locked DuckDB connection that knows the macros.

    Args:
        timezone: zone in which it takes apart timestamps with zone (`year(…)`, `strftime(…)`).
        memory_limit: DuckDB's own limit; it bounds buffers, not the size of one value.
    """
    import duckdb

    connection = duckdb.connect(
        config={
            "enable_external_access": "false",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
            # Files below the temporary directory may be read and written in spite of the first line. One expression over one
            # batch has nothing to spill, so there is none.
            "temp_directory": "",
            "memory_limit": memory_limit,
            "threads": "1",
            "max_expression_depth": str(4 * MAX_DEPTH),
        }
    )
    connection.execute("SET enable_progress_bar = false")  # on a terminal it would draw into our answers
    connection.execute(f"SET TimeZone = {quoted(timezone, chr(39))}")
    for name, macro in MACROS.items():
        connection.execute(macro.sql(name))
    connection.execute("SET lock_configuration = true")
    return connection


def quoted(text: str, mark: str = '"') -> str:
    """An SQL identifier, or with ``'`` a text."""
    return mark + text.replace(mark, mark * 2) + mark
