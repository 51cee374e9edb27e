"""A DuckDB database for one computation: bounded memory, encrypted spill files, no way out to files or network.

DuckDB 2.0 without its httpfs extension (which nobody here may download) encrypts spill files only with the random numbers of its
own small library, which it calls unsafe. That is accepted: the files live for seconds, in a folder that only this user can
enter, and what they would show otherwise is plain records.
"""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import Self

MEMORY_LIMIT = "256MB"


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
                "force_mbedtls_unsafe": "true",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "preserve_insertion_order": "true",
                "threads": "2",
            }
        )
        # Results keep the mapped schema's zone, whatever the machine's is.
        self.db.execute("SET TimeZone = 'UTC'")
        # After the folder for spill files is known, which could not be set any more.
        self.db.execute("SET enable_external_access = false")
        self.db.execute("SET lock_configuration = true")

    def close(self) -> None:
        self.db.close()
        self._spill.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
