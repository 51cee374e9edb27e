"""Expressions, checked before they run.

What they may say is decided by `core.expressions`; the text that runs is the very text that was checked.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sync_provider.core.canonical import named_zone
from sync_provider.core.errors import MappingError, SyncDataError
from sync_provider.core.expressions import Analysis, analyse, check_text, resolve
from sync_provider.core.mapping import FieldMapping
from sync_provider.core.mapping import Mapping as Integration
from sync_provider.core.schema import LogicalType
from sync_provider.engine.locked_duckdb import connect, quoted

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


@contextmanager
def _enough_memory() -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise SyncDataError("there is too little memory to check an expression", code="expression_memory") from error


@lru_cache(maxsize=4096)
def _analysis(text: str) -> Analysis | MappingError:
    import json

    import duckdb

    try:
        check_text(text)
        with _parser.open() as connection:
            row = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {enclosed(text)}"]).fetchone()
        analysis = analyse(json.loads(row[0]))
        _check_zones(analysis)
    except MappingError as error:
        return error
    except duckdb.OutOfMemoryException:
        raise  # says nothing about the expression, so must not be remembered
    except (duckdb.Error, RecursionError) as error:
        return MappingError(
            f"the expression cannot be read: {reason_of(error)}",
            hint="Write one SQL expression.",
            code="expression_refused",
        )
    return analysis


def _check_zones(analysis: Analysis) -> None:
    for zone in analysis.zones:
        try:
            named_zone(zone)
        except ValueError as error:
            hint = "Write a zone such as 'Europe/Paris'."
            raise MappingError(str(error), hint=hint, code="expression_refused") from error


def enclosed(text: str) -> str:
    """The expression as it is both checked and run; the line end keeps a remark from swallowing the bracket."""
    return f"({text}\n)"


def reason_of(error: BaseException) -> str:
    """DuckDB's reason in one line. Only for errors that came before any record: others may hold values."""
    lines = str(error).strip().splitlines()
    return lines[0].split(": ", 1)[-1][:300] if lines else type(error).__name__


def analysis_of(text: str) -> Analysis:
    """What an expression uses, once it has been found allowed. Remembered by its text.

    Raises:
        MappingError: it must not run.
        SyncDataError: there is no memory to find out.
    """
    with _enough_memory():
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
        with _enough_memory():
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

    names = distinct(name for name, _ in columns)
    fields = [f"NULL::{type_} AS {quoted(name)}" for name, type_ in columns if name in names]
    query = f"DESCRIBE SELECT {enclosed(text)} AS result FROM (SELECT {', '.join(fields) or 'NULL AS nothing'})"  # noqa: S608
    try:
        with _parser.open() as connection:
            return str(connection.execute(query).fetchone()[1])
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        return MappingError(
            f"the expression does not fit its columns: {reason_of(error)}",
            hint="Columns of files are text: read numbers with parse_number(value, 'fr') and dates with parse_date(value, …).",
            code="expression_type",
        )


def result_type(text: str, columns: Mapping[str, LogicalType]) -> LogicalType:
    """The declared type that holds every result of a checked expression; text for what none holds.

    Raises:
        MappingError: the expression does not fit the columns.
    """
    meant = resolve(analysis_of(text).columns, columns, open_names=False)
    found = _result_type(text, tuple((name, _sql_type(columns[column])) for name, column in meant.items()))
    if isinstance(found, MappingError):
        raise MappingError(found.message, hint=found.hint, code=found.code)
    if match := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", found):
        return LogicalType("decimal", int(match[1]), int(match[2]))
    kinds = [
        (_INTEGERS, "integer"),
        (_FLOATS, "double"),
        ({"BOOLEAN"}, "boolean"),
        ({"DATE"}, "date"),
        ({*_TIMES, _ZONED}, "timestamp"),
    ]
    return LogicalType(next((kind for names, kind in kinds if found in names), "string"))


def distinct(names: Iterable[str]) -> set[str]:
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


_TEXT = LogicalType("string")


def check_mapping_expressions(mapping: Integration, source_columns: Sequence[str] | None = None) -> list[MappingError]:
    """Everything wrong with the expressions of a mapping.

    Args:
        mapping: the mapping.
        source_columns: all columns the source has, where they are known; otherwise a name that is not mapped is taken for
            one of them, and the connector checks it.

    Returns:
        Errors with ``where.field`` such as ``fields[2].to_destination`` or ``filter``; empty if all is well.
    """
    errors: list[MappingError] = []
    # Columns of files are text; those of databases have types that only reading them tells.
    raw = None if mapping.source.type == "sql" else _TEXT
    sources = dict.fromkeys(source_columns or [field.source for field in mapping.fields], raw)
    for index, field in enumerate(mapping.fields):
        place = f"fields[{index}].to_destination"
        if field.to_destination is not None:
            columns = {VALUE: raw, **{name: type_ for name, type_ in sources.items() if name != VALUE}}
            _collect(
                errors, place, field.to_destination, columns, field.logical_type, open_names=source_columns is None
            )
        elif raw is not None and (error := _read_twice(field, mapping.fields)):
            error.at(field=place)
            errors.append(error)
    types: dict[str, LogicalType | None] = {field.destination: field.logical_type for field in mapping.fields}
    for index, field in enumerate(mapping.fields):
        if field.to_source is not None:
            columns = {**types, VALUE: field.logical_type}
            _collect(errors, f"fields[{index}].to_source", field.to_source, columns, None)
            if error := _no_way_back(field):
                error.at(field=f"fields[{index}].to_destination")
                errors.append(error)
    if mapping.filter is not None:
        _collect(errors, "filter", mapping.filter, types, None, boolean=True)
    return errors


def _collect(
    errors: list[MappingError],
    place: str,
    text: str,
    columns: Mapping[str, LogicalType | None],
    type_: LogicalType | None,
    *,
    boolean: bool = False,
    open_names: bool = False,
) -> None:
    try:
        check_expression(text, columns, boolean=boolean, type=type_, open_names=open_names)
    except MappingError as error:
        error.at(field=place)
        errors.append(error)


def _no_way_back(field: FieldMapping) -> MappingError | None:
    """What is written back must be readable from its own column alone."""
    try:
        used = analysis_of(field.to_destination or VALUE).columns
    except MappingError:
        return None  # said already
    others = sorted(name for name in used if name.lower() != VALUE)
    if not others:
        return None
    return MappingError(
        f"to_source cannot undo what is made of {', '.join(others)} too",
        hint=f"Use `{VALUE}` only, or direction: to_destination without to_source.",
        code="expression_one_way",
    )


def _read_twice(field: FieldMapping, fields: Sequence[FieldMapping]) -> MappingError | None:
    """A column of a file is read one way only: by the conventions of one type, or as it is."""
    if field.logical_type.kind == "string":
        return None
    other = next(
        (
            o
            for o in fields
            if o.source == field.source and (o.to_destination or o.logical_type.kind != field.logical_type.kind)
        ),
        None,
    )
    if other is None:
        return None
    return MappingError(
        f"column {field.source!r} is read both as {field.type} and as it stands, for {other.destination!r}",
        hint="Give this field an expression that reads the text, such as parse_number(value, 'fr') or parse_date(value, …).",
        code="column_read_twice",
    )
