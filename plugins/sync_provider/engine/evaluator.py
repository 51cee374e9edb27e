"""Runs checked expressions over Arrow columns, one record's error at a time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Self

from sync_provider.core.errors import MappingError, SyncDataError
from sync_provider.engine.expressions import distinct, enclosed, reason_of
from sync_provider.engine.locked_duckdb import MEMORY_LIMIT, connect, quoted

DEADLINE_S = 300.0


class Evaluator:
    """Runs checked expressions over Arrow columns. One thread; use as a context manager.

    Args:
        timezone: zone in which timestamps with zone are taken apart.
        memory_limit: DuckDB's memory limit.
        deadline_s: seconds that one expression may take for one batch.
    """

    def __init__(
        self, *, timezone: str = "UTC", memory_limit: str = MEMORY_LIMIT, deadline_s: float = DEADLINE_S
    ) -> None:
        self._timezone, self._memory_limit, self._deadline_s = timezone, memory_limit, deadline_s
        self._opened: Any = None

    @property
    def _connection(self) -> Any:
        if self._opened is None:
            self._opened = connect(timezone=self._timezone, memory_limit=self._memory_limit)
        return self._opened

    def evaluate(self, text: str, columns: Mapping[str, Any], rows: int) -> tuple[Any, Any | None]:
        """The value of a checked expression for every record.

        Args:
            text: an expression that `check_expression` has accepted.
            columns: name as written in the expression → Arrow array.
            rows: number of records.

        Returns:
            The values in DuckDB's own type, and which records the expression failed on (None: on none). A failed
            record's value is null.

        Raises:
            MappingError: the expression does not fit the columns' types.
            SyncDataError: it took too long or too much memory.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        names = sorted(distinct(columns))
        # TRY gives null for an error; around a struct, a null result and an error differ.
        fields = ", ".join(f"c{i} AS {quoted(name)}" for i, name in enumerate(names)) or "nothing"
        query = f"SELECT TRY(struct_pack(v := {enclosed(text)})) AS e FROM (SELECT {fields} FROM batch)"  # noqa: S608
        arrays = [columns[name] for name in names] or [pa.nulls(rows, pa.int8())]
        labels = [f"c{i}" for i in range(len(names))] or ["nothing"]
        result = self._run(query, pa.RecordBatch.from_arrays(arrays, labels))
        values = result.field(0)
        return values, (pc.is_null(result) if result.null_count else None)

    def is_json(self, texts: Any) -> Any:
        """Whether each text is one JSON document; more generous than the standard (see `text_casts`)."""
        import pyarrow as pa

        return self._run("SELECT json_valid(c0) AS e FROM batch", pa.RecordBatch.from_arrays([texts], ["c0"]))

    def _run(self, query: str, batch: Any) -> Any:
        import duckdb
        import pyarrow as pa

        connection = self._connection
        connection.register("batch", batch)
        done = threading.Event()
        watchdog = threading.Thread(target=self._watch, args=(connection, done), daemon=True)
        watchdog.start()
        try:
            result = connection.sql(query).to_arrow_table().column(0)
        except duckdb.InterruptException as error:
            raise SyncDataError(
                f"an expression took longer than {self._deadline_s:g} s for one batch",
                hint="Simplify it, or prepare the data in the source.",
                code="expression_deadline",
            ) from error
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise SyncDataError(
                "an expression needed more memory than it may take",
                hint="Simplify it, or prepare the data in the source.",
                code="expression_memory",
            ) from error
        except duckdb.BinderException as error:
            raise MappingError(
                f"the expression does not fit its columns: {reason_of(error)}",
                hint="Cast the column first, for instance CAST(value AS VARCHAR).",
                code="expression_type",
            ) from error
        except duckdb.Error as error:
            # Its message may hold a record's values.
            raise SyncDataError(
                "an expression failed as a whole", hint="Simplify it.", code="expression_failed"
            ) from _without_values(error)
        finally:
            done.set()
            watchdog.join()
            connection.unregister("batch")
        chunks = result.combine_chunks()
        return pa.concat_arrays(chunks.chunks) if isinstance(chunks, pa.ChunkedArray) else chunks

    def _watch(self, connection: Any, done: threading.Event) -> None:
        # Again and again, because an interrupt between two queries is lost.
        wait_s = self._deadline_s
        while not done.wait(wait_s):
            connection.interrupt()
            wait_s = 0.05

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _without_values(error: BaseException) -> Exception:
    return RuntimeError(type(error).__name__)
