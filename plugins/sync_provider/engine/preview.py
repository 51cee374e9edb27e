"""What an expression gives for a few records, for text that nobody has vouched for yet.

DuckDB's own limits do not bound one expression, so it runs in a child process with a limit on its memory and its time, an
empty environment, and nothing to read but what it is handed. Whatever happens to it, the caller lives on.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sync_provider.core.errors import MappingError, SyncDataError
from sync_provider.core.schema import LogicalType, parse_type
from sync_provider.engine.expressions import VALUE

MAX_ROWS = 100
MAX_INPUT_BYTES = 1 << 20
MAX_VALUE = 2_000
MEMORY_BYTES = 1 << 30
DEADLINE_S = 10.0
_RESULT = "result"
# Arrow's and glibc's pools reserve a gigabyte of addresses before they hold anything.
_LEAN = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True, slots=True)
class Previewed:
    """What one record gives: the first `MAX_VALUE` characters of the value as canonical text (None: null), or why it would be refused."""

    value: str | None = None
    error: str | None = None


def preview(
    expression: str,
    rows: Sequence[Mapping[str, str | None]],
    *,
    type: LogicalType | None = None,  # noqa: A002 - the word of the mapping
    timezone: str = "UTC",
    memory_bytes: int = MEMORY_BYTES,
    deadline_s: float = DEADLINE_S,
) -> list[Previewed]:
    """Try an expression on records of text.

    Args:
        expression: any text at all.
        rows: at most `MAX_ROWS` records, column name → text; ``value`` is the field's own column.
        type: the declared type; text by default.
        timezone: the mapping's zone.
        memory_bytes: address space that the child may take.
        deadline_s: seconds that the child may take.

    Returns:
        One outcome for each record, in order.

    Raises:
        MappingError: the expression is refused.
        SyncDataError: it takes too much time or memory, or the records are too many or too large.
    """
    task = json.dumps(
        {
            "expression": expression,
            "rows": [dict(row) for row in rows],
            "type": str(type or "string"),
            "timezone": timezone,
            "memory_bytes": memory_bytes,
            "deadline_s": deadline_s,
        }
    )
    if len(rows) > MAX_ROWS or len(task) > MAX_INPUT_BYTES:
        raise SyncDataError(
            "these records are too many or too large to try an expression on",
            hint=f"Take at most {MAX_ROWS} records and 1 MB.",
            code="preview_too_large",
        )
    try:
        child = subprocess.run(
            [sys.executable, "-m", __name__],
            input=task.encode(),
            capture_output=True,
            timeout=deadline_s,
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LANG": "C.UTF-8", **_LEAN},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_costly() from None
    if child.returncode != 0:
        raise _too_costly()  # what it printed may hold values of the records
    answer = json.loads(child.stdout)
    if "refused" in answer:
        raise MappingError(answer["refused"], hint=answer["hint"], code=answer["code"])
    return [Previewed(**row) for row in answer["rows"]]


def _too_costly() -> SyncDataError:
    return SyncDataError("the expression takes too much time or memory", hint="Simplify it.", code="preview_limits")


def _limit(memory_bytes: int, deadline_s: float) -> None:
    seconds = max(1, int(deadline_s) + 1)
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, allowed))


def _answer(task: Mapping[str, Any]) -> dict[str, Any]:
    import pyarrow as pa

    from sync_provider.connectors.base import ROW, RawBatch
    from sync_provider.engine.casts import to_text
    from sync_provider.engine.expressions import check_expression
    from sync_provider.engine.transform import Conversion, ConversionField

    rows, type_ = task["rows"], parse_type(task["type"])
    names = list(dict.fromkeys([VALUE, *(name for row in rows for name in row)]))
    try:
        check_expression(task["expression"], dict.fromkeys(names, LogicalType("string")), type=type_)
        fields = [ConversionField(VALUE, _RESULT, type_, task["expression"])]
        with Conversion(fields, timezone=task["timezone"], deadline_s=task["deadline_s"]) as conversion:
            columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
            columns[ROW] = pa.array(range(len(rows)), pa.int64())
            converted = conversion.convert(RawBatch(pa.RecordBatch.from_pydict(columns)))
    except MappingError as error:
        return {"refused": error.message, "hint": error.hint, "code": error.code}
    outcomes: list[dict[str, Any]] = [{} for _ in rows]
    places = converted.records.column(ROW).to_pylist()
    for row, value in zip(places, to_text(converted.records.column(_RESULT)).to_pylist(), strict=True):
        outcomes[row] = {"value": value and value[:MAX_VALUE]}
    for rejection in converted.rejections:
        outcomes[rejection.where.row or 0] = {"error": rejection.message}
    return {"rows": outcomes}


def _main() -> None:
    task = json.load(sys.stdin)
    _limit(task["memory_bytes"], task["deadline_s"])
    sys.stdout.write(json.dumps(_answer(task)))


if __name__ == "__main__":
    _main()
