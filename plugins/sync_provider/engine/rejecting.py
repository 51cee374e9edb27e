"""Refused records in words: which value of which field, where it stands, and why it does not convert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import COORDINATES, FILE, ROW, SHEET
from sync_provider.core.canonical import read_text
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection
from sync_provider.core.schema import LogicalType
from sync_provider.engine.casts import to_text

if TYPE_CHECKING:
    import pyarrow as pa

CONVERT = "convert"
FILTER = "filter"
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Failure:
    """Records in which one field did not convert.

    Args:
        source: the field's source column.
        destination: its destination name.
        type: its declared type.
        values: what was to be converted, one for each record of the batch.
        records: booleans, one for each record: whether this field failed.
        expression: the field's expression, if it has one.
        broken: booleans: where the expression itself failed, so that ``values`` says nothing.
    """

    source: str
    destination: str
    type: LogicalType
    values: Any
    records: Any
    expression: str | None = None
    broken: Any | None = None


def describe(
    batch: pa.RecordBatch,
    rows: Any,
    failures: Sequence[Failure],
    *,
    raw: Mapping[str, Any],
    keys: Sequence[Any],
    zone: tzinfo,
    filter: str | None,  # noqa: A002 - the word of the mapping
    positions: Mapping[str, str],
) -> list[Rejection]:
    """One rejection for each refused record, naming the first field at fault in the order of the mapping.

    Args:
        batch: the raw batch, for its coordinates.
        rows: positions of the refused records in the batch.
        failures: fields that failed, in the order of the mapping; a record in none of them failed in the filter.
        raw: source column → values.
        keys: converted key columns.
        zone: the mapping's zone.
        filter: the mapping's filter.
        positions: source column → letters of its column in a sheet.
    """
    texts = {name: shown(values.take(rows)) for name, values in raw.items()}
    places = {name: _coordinate(batch, name, rows) for name in COORDINATES}
    key_texts = [to_text(key.take(rows)).to_pylist() for key in keys]
    failed = [failure.records.take(rows).to_pylist() for failure in failures]
    computed = [shown(failure.values.take(rows)) for failure in failures]
    broken = [[] if failure.broken is None else failure.broken.take(rows).to_pylist() for failure in failures]
    rejections = []
    for row in range(len(rows)):
        record = {name: column[row] for name, column in texts.items()}
        parts = [column[row] for column in key_texts]
        key = "|".join(parts) if parts and None not in parts else None
        guilty = [index for index, records in enumerate(failed) if records[row]]
        if guilty:
            failure, index = failures[guilty[0]], guilty[0]
            is_broken = bool(broken[index]) and broken[index][row]
            message = _message(failure, record.get(failure.source), computed[index][row], is_broken, zone)
            if len(guilty) > 1:
                more = len(guilty) - 1
                message += f" ({more} more field{'s' if more > 1 else ''} of this record did not convert)"
            where = _where(places, row, failure.source, positions)
            rejections.append(
                Rejection(
                    rule=CONVERT, message=message, field=failure.destination, value=record.get(failure.source),
                    where=where, key=key, record=record,
                )
            )  # fmt: skip
        else:
            message = f"the filter {filter} fails on this record"
            rejections.append(
                Rejection(rule=FILTER, message=message, where=_where(places, row, None, {}), key=key, record=record)
            )
    return rejections


def shown(values: Any) -> list[str | None]:
    """Canonical text of values for people and for replay; what has none is shown in Python's or, for bytes, in hex."""
    texts: list[str | None] = to_text(values).to_pylist()
    if texts.count(None) > values.null_count:
        for index, value in enumerate(values.to_pylist()):
            if texts[index] is None and value is not None:
                texts[index] = f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
    return texts


def _coordinate(batch: pa.RecordBatch, name: str, rows: Any) -> list[Any]:
    return batch.column(name).take(rows).to_pylist() if name in batch.schema.names else [None] * len(rows)


def _where(places: Mapping[str, list[Any]], row: int, source: str | None, positions: Mapping[str, str]) -> Where:
    file, sheet, line = (places[name][row] for name in (FILE, SHEET, ROW))
    if sheet is not None:
        letters = positions.get(source or "")
        cell = f"{letters}{line}" if letters and line is not None else None
        return Where(file=file, sheet=sheet, cell=cell, row=None if cell else line, field=source)
    if file is not None:
        return Where(file=file, line=line, field=source)
    return Where(row=line, field=source)


def _message(failure: Failure, raw: str | None, computed: str | None, broken: bool, zone: tzinfo) -> str:
    if broken:
        return f"{_quoted(raw)}: the expression {failure.expression} cannot read this record"
    origin = f" (what {failure.expression} gives)" if failure.expression else ""
    article = "an" if failure.type.kind == "integer" else "a"
    message = f"{_quoted(computed)}{origin} is not {article} {failure.type}"
    reason = _reason(computed, failure.type, zone)
    return f"{message}: {reason}" if reason else message


def _reason(text: str | None, type_: LogicalType, zone: tzinfo) -> str:
    try:
        read_text(text or "", type_, zone)
    except ValueError as error:
        return str(error)
    return "it is a value of another kind"


def _quoted(text: str | None) -> str:
    if text is None:
        return "null"
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
