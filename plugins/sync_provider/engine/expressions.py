"""Expressions in a locked DuckDB: checked before they run, run one record's error at a time.

The connection can open nothing: no file, no network, no extension, and its configuration is locked. What an expression
may say is decided by `core.expressions`; the text that runs is the very text that was checked.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Self

from sync_provider.core.canonical import named_zone
from sync_provider.core.errors import MappingError, SyncDataError
from sync_provider.core.expressions import MAX_DEPTH, Analysis, analyse, check_text, resolve
from sync_provider.core.macros import MACROS
from sync_provider.core.schema import LogicalType

DEADLINE_S = 300.0
MEMORY_LIMIT = "256MB"
VALUE = "value"
"""Name by which an expression reads its own field's raw value."""

_SQL_TYPES = {
    "string": "VARCHAR",
    "json": "VARCHAR",
    "integer": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
}
_INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
_FLOATS = frozenset({"FLOAT", "DOUBLE"})
_TEXTS = frozenset({"VARCHAR", "JSON", "NULL", '"NULL"'})
_TIMES = frozenset({"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"})
_ZONED = "TIMESTAMP WITH TIME ZONE"


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
    connection.execute(f"SET TimeZone = {_quoted(timezone, chr(39))}")
    for name, macro in MACROS.items():
        connection.execute(macro.sql(name))
    connection.execute("SET lock_configuration = true")
    return connection


def _quoted(text: str, mark: str = '"') -> str:
    return mark + text.replace(mark, mark * 2) + mark


class _Parser:
    """One connection for checking, per process, made when first needed: nothing is open before a worker forks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._process: int | None = None

    @contextmanager
    def open(self) -> Iterator[Any]:
        with self._lock:
            if self._process != os.getpid():
                self._connection, self._process = connect(), os.getpid()
            yield self._connection


_parser = _Parser()


@lru_cache(maxsize=4096)
def _analysis(text: str) -> Analysis | MappingError:
    import json

    import duckdb

    try:
        check_text(text)
        with _parser.open() as connection:
            row = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {_enclosed(text)}"]).fetchone()
        analysis = analyse(json.loads(row[0]))
        for zone in analysis.zones:
            named_zone(zone)
    except MappingError as error:
        return error
    except ValueError as error:
        return MappingError(str(error), hint="Write a zone such as 'Europe/Paris'.", code="expression_refused")
    except (duckdb.Error, RecursionError) as error:
        return MappingError(
            f"the expression cannot be read: {_reason(error)}",
            hint="Write one SQL expression.",
            code="expression_refused",
        )
    return analysis


def _enclosed(text: str) -> str:
    return f"({text}\n)"


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].split(": ", 1)[-1][:300] if lines else type(error).__name__


def analysis_of(text: str) -> Analysis:
    """What an expression uses, once it has been found allowed. Remembered by its text.

    Raises:
        MappingError: it must not run.
    """
    result = _analysis(text)
    if isinstance(result, MappingError):
        raise MappingError(result.message, hint=result.hint, code=result.code)
    return result


def check_expression(
    text: str,
    columns: Mapping[str, LogicalType | None],
    *,
    boolean: bool = False,
    type: LogicalType | None = None,  # noqa: A002 - the word of the mapping
    open_names: bool = False,
) -> Analysis:
    """Check one expression before it meets data.

    Args:
        text: the expression.
        columns: names it may use, with their types; None where only the data will tell (then types are not checked).
        boolean: it must be true or false.
        type: the declared type that its result is to be converted to.
        open_names: it may name other columns too, which are text.

    Returns:
        What the expression uses.

    Raises:
        MappingError: it is refused, names no column, or its types do not fit; with a hint.
    """
    analysis = analysis_of(text)
    meant = resolve(analysis.columns, columns, open_names=open_names)
    types = {name: columns.get(column, LogicalType("string")) for name, column in meant.items()}
    if all(types.values()):
        result = _result_type(text, tuple((name, _sql_type(type_)) for name, type_ in types.items() if type_))
        if isinstance(result, MappingError):
            raise MappingError(result.message, hint=result.hint, code=result.code)
        _check_result(result, LogicalType("boolean") if boolean else type, strict=boolean)
    return analysis


def _sql_type(type_: LogicalType) -> str:
    return str(type_).upper() if type_.kind == "decimal" else _SQL_TYPES[type_.kind]


@lru_cache(maxsize=4096)
def _result_type(text: str, columns: tuple[tuple[str, str], ...]) -> str | MappingError:
    """DuckDB's name for the type of an expression over columns of these types."""
    import duckdb

    names = _distinct(name for name, _ in columns)
    fields = [f"NULL::{type_} AS {_quoted(name)}" for name, type_ in columns if name in names]
    query = f"DESCRIBE SELECT {_enclosed(text)} AS result FROM (SELECT {', '.join(fields) or 'NULL AS nothing'})"  # noqa: S608
    try:
        with _parser.open() as connection:
            return str(connection.execute(query).fetchone()[1])
    except duckdb.Error as error:
        return MappingError(
            f"the expression does not fit its columns: {_reason(error)}",
            hint="Columns of files are text: read numbers with parse_number(value, 'fr') and dates with parse_date(value, …).",
            code="expression_type",
        )


def _distinct(names: Any) -> set[str]:
    """One spelling of each name: SQL takes names that differ by case only for the same."""
    return set({name.lower(): name for name in names}.values())


def _check_result(found: str, declared: LogicalType | None, *, strict: bool) -> None:
    base = found.partition("(")[0]
    scalar = base in _INTEGERS | _FLOATS | _TEXTS | _TIMES | {"DECIMAL", "BOOLEAN", "DATE", "TIME", _ZONED}
    if found.endswith("]") or not scalar:
        raise _misfit(
            found, "a field", "Give one text, number, boolean, date or timestamp: list_extract(…, 1) picks an item."
        )
    if declared is None:
        return
    if strict and base != "BOOLEAN":
        raise _misfit(found, "true or false", "Compare it with something.")
    if declared.kind == "decimal" and base in _FLOATS:
        raise _misfit(
            found, f"a {declared}", "Binary floats change decimals: multiply by 0.01 instead of dividing by 100."
        )
    fitting = {
        "integer": _INTEGERS | _FLOATS | {"DECIMAL"},
        "decimal": _INTEGERS | {"DECIMAL"},
        "double": _INTEGERS | _FLOATS | {"DECIMAL"},
        "boolean": _INTEGERS | {"BOOLEAN"},
        "date": _TIMES | {"DATE"},
        "timestamp": _TIMES | {"DATE", _ZONED},
    }.get(declared.kind)
    if fitting is not None and base not in fitting | _TEXTS:
        raise _misfit(found, f"a {declared}", "Change the expression or the field's type.")


def _misfit(found: str, wanted: str, hint: str) -> MappingError:
    return MappingError(f"the expression gives {found}, not {wanted}", hint=hint, code="expression_type")


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

        names = sorted(_distinct(columns))
        # TRY gives null for an error; around a struct, a null result and an error differ.
        fields = ", ".join(f"c{i} AS {_quoted(name)}" for i, name in enumerate(names)) or "nothing"
        query = f"SELECT TRY(struct_pack(v := {_enclosed(text)})) AS e FROM (SELECT {fields} FROM batch)"  # noqa: S608
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
        watchdog = threading.Timer(self._deadline_s, connection.interrupt)
        watchdog.daemon = True
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
                f"the expression does not fit its columns: {_reason(error)}",
                hint="Cast the column first, for instance CAST(value AS VARCHAR).",
                code="expression_type",
            ) from error
        except duckdb.Error as error:
            # Its message may hold a record's values.
            raise SyncDataError(
                "an expression failed as a whole", hint="Simplify it.", code="expression_failed"
            ) from _without_values(error)
        finally:
            watchdog.cancel()
            connection.unregister("batch")
        chunks = result.combine_chunks()
        return pa.concat_arrays(chunks.chunks) if isinstance(chunks, pa.ChunkedArray) else chunks

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
