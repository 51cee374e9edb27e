"""A DuckDB database for one computation: bounded memory, encrypted spill files, no way out to files or network.

DuckDB 2.0 without its httpfs extension (which nobody here may download) encrypts spill files only with the random numbers of its
own small library, which it calls unsafe. That is accepted: the files live for seconds, in a folder that only this user can
enter, and what they would show otherwise is plain records.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pyarrow as pa

_LEAST_BYTES, _MOST_BYTES = 256 << 20, 768 << 20
_SHARE = 16  # of the memory there is: several tasks run on one machine
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def memory_limit_bytes() -> int:
    """How much one computation may hold before it spills: a sixteenth of the machine's or container's memory, 256 to 768 MiB.

    A million records of a dozen fields on each side fit without spilling where there is enough memory; spilling, which is
    encrypted, takes five times as long.
    """
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # no cgroup, or "max"
        there = min(there, int(_CGROUP.read_text()))
    return min(_MOST_BYTES, max(_LEAST_BYTES, there // _SHARE))


def interrupted(error: BaseException) -> bool:
    """Whether a query ended because of a signal: DuckDB drops the exception that the signal's handler raised."""
    return type(error) is RuntimeError and str(error) == "Query interrupted"


@contextlib.contextmanager
def streamed(db: Any, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[None]:
    """While the block runs, one query may read these batches under that name.

    Raises:
        Exception: what goes wrong in the batches, or stops them, as it is: DuckDB by itself would raise its text only.
    """
    import duckdb
    import pyarrow as pa

    failure: list[BaseException] = []

    def kept() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except GeneratorExit:
            raise
        except BaseException as error:
            failure.append(error)
            raise

    db.register(name, pa.RecordBatchReader.from_batches(schema, kept()))
    try:
        yield
    except (duckdb.Error, RuntimeError):
        if failure:
            raise failure[0] from None
        raise
    finally:
        db.unregister(name)


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
                "memory_limit": f"{memory_limit_bytes()}B",
                "temp_directory": self._spill.name,
                "temp_file_encryption": "true",
                "force_mbedtls_unsafe": "true",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "preserve_insertion_order": "true",
                # With more, DuckDB 2.0 may wait for ever when a signal stops a query; they would save a tenth of the time.
                "threads": "1",
            }
        )
        # On a terminal it would draw into our answers.
        self.db.execute("SET enable_progress_bar = false")
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
