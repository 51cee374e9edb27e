"""A DuckDB database for one computation: bounded memory, encrypted spill files, no way out to files or network."""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import Self

MEMORY_LIMIT = "384MB"


def quote(name: str) -> str:
    """A SQL identifier, quoted for DuckDB."""
    return '"' + name.replace('"', '""') + '"'


class Scratch:
    """Use as a context manager; `db` is the connection. What it holds is gone on the way out."""

    def __init__(self) -> None:
        import duckdb

        self._spill = tempfile.TemporaryDirectory(prefix="sync-scratch-")
        self.db = duckdb.connect(
            config={
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": self._spill.name,
                "temp_file_encryption": "true",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "preserve_insertion_order": "true",
                "threads": "2",
            }
        )
        # Results keep the mapped schema's zone, whatever the machine's is.
        self.db.execute("SET TimeZone = 'UTC'")

    def close(self) -> None:
        self.db.close()
        self._spill.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
