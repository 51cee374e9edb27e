"""Typed records as CSV text by an endpoint's conventions, so that reading it back gives the same values. No I/O.

Whatever cannot be written so that it reads back is a rejection of its record, never a different value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import TargetColumn
from sync_provider.connectors.files.csv_dialect import BOM, MAX_FIELD_BYTES, Dialect
from sync_provider.connectors.files.formulas import escape, escape_text
from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.report import Rejection
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa


class Renderer:
    """Turns typed columns into the text of fields and records.

    Args:
        endpoint: its conventions.
        dialect: its delimiter and quote.
        codec: codec of the file, for characters that it does not have.
    """

    def __init__(self, endpoint: CsvEndpoint, dialect: Dialect, codec: str) -> None:
        self._endpoint = endpoint
        self._dialect = dialect
        self._codec = codec
        self._line_end = endpoint.line_end

    def texts(self, batch: pa.RecordBatch, columns: Sequence[TargetColumn]) -> list[pa.Array]:
        """The columns' values as text, before quoting; nulls stay null."""
        return [self._text(batch.column(c.name), c.type) for c in columns]

    def problems(self, texts: Sequence[pa.Array], columns: Sequence[TargetColumn]) -> dict[int, Rejection]:
        """For each row that cannot be written so that it reads back: why (without key and place)."""
        found: dict[int, Rejection] = {}
        for array, column in zip(texts, columns, strict=True):
            for row, rule, message in self._column_problems(array, column):
                value = array[row].as_py() if rule != "too_long" else None
                found.setdefault(row, Rejection(rule=rule, field=column.name, value=value, message=message))
        return found

    def fields(self, array: pa.Array) -> pa.Array:
        """Texts as they stand in a file: quoted where necessary; null becomes nothing at all."""
        import pyarrow as pa
        import pyarrow.compute as pc

        quote = self._dialect.quote
        if quote is not None:
            needs = self._needs_quotes(array)
            if pc.any(needs).as_py():
                doubled = pc.replace_substring(array, quote, quote * 2) if _holds(array, quote) else array
                quoted = pc.binary_join_element_wise(pa.scalar(quote), doubled, pa.scalar(quote), "")
                array = pc.if_else(needs, quoted, array)
        return pc.fill_null(array, "")

    def records(self, fields: Sequence[pa.Array]) -> bytes:
        """Whole records as UTF-8, end to end. All arrays have the same length, > 0, and no null."""
        return _bytes(self.lines(fields))

    def lines(self, fields: Sequence[pa.Array]) -> pa.Array:
        """One text for each record, with its line end."""
        import pyarrow as pa
        import pyarrow.compute as pc

        lines = pc.binary_join_element_wise(*fields, self._dialect.delimiter) if len(fields) > 1 else fields[0]
        return pc.binary_join_element_wise(lines, pa.scalar(self._line_end), "")

    def header(self, names: Sequence[str]) -> bytes:
        """The header record; names are texts like any other."""
        import pyarrow as pa

        shown = [escape_text(name) if self._endpoint.formulas == "escape" else name for name in names]
        return self.records([self.fields(pa.array([name], pa.string())) for name in shown])

    def _text(self, array: pa.Array, type_: LogicalType) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        if type_.kind in ("string", "json"):
            return escape(array) if self._endpoint.formulas == "escape" else array
        if type_.kind == "date":
            return self._ordered(pc.cast(array, pa.string()))
        if type_.kind == "timestamp":
            return self._ordered(_iso_timestamps(array))
        text = plain_decimals(array) if type_.kind == "decimal" else pc.cast(array, pa.string())
        if self._endpoint.decimal == "," and type_.kind in ("decimal", "double"):
            text = pc.replace_substring(text, ".", ",")
        return text

    def _ordered(self, text: pa.Array) -> pa.Array:
        """ISO dates and timestamps in the endpoint's order."""
        import pyarrow.compute as pc

        target = {"dmy": r"\3/\2/\1", "mdy": r"\2/\3/\1"}.get(self._endpoint.date_order)
        if target is None:
            return text
        text = pc.replace_substring_regex(text, "^([0-9]{4})-([0-9]{2})-([0-9]{2})", target)
        return pc.replace_substring(text, "T", " ")

    def _needs_quotes(self, array: pa.Array) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        needs = pc.equal(array, "")
        for mark in (self._dialect.delimiter, self._dialect.quote or "", "\n", "\r", BOM):
            if mark and _holds(array, mark):
                needs = pc.or_(needs, pc.match_substring(array, mark))
        return pc.fill_null(pa.array(needs), False)

    def _column_problems(self, array: pa.Array, column: TargetColumn) -> list[tuple[int, str, str]]:
        """(row, rule, message) of the values that would not come back."""
        import pyarrow.compute as pc

        checks = list(self._quote_checks(array, column.type))
        if column.type.kind in ("string", "json"):
            long = pc.greater(pc.binary_length(array), MAX_FIELD_BYTES)
            checks.append((long, "too_long", f"the value is longer than {MAX_FIELD_BYTES >> 10} KiB"))
            if _holds(array, "\x00"):
                nul = pc.match_substring(array, "\x00")
                checks.append((nul, "nul_character", "the value holds a NUL character"))
        elif column.type.kind == "double":
            special = pc.match_substring_regex(array, "[a-df-z]")
            checks.append((special, "out_of_range", "NaN and infinity are no numbers in a file"))
        elif column.type.kind in ("date", "timestamp"):
            odd = pc.invert(pc.match_substring_regex(array, "^[0-9]{4}-|/[0-9]{4}( |$)"))
            checks.append((odd, "out_of_range", "the year has not four digits"))
        found = self._unencodable(array)
        for mask, rule, message in checks:
            if pc.any(mask).as_py():
                rows = pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()
                found.extend((row, rule, message) for row in rows)
        return found

    def _quote_checks(self, array: pa.Array, type_: LogicalType) -> Iterator[tuple[Any, str, str]]:
        """(mask, rule, message) of texts that would be taken for something else."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._dialect.quote is None:
            for mark in (self._dialect.delimiter, "\n", "\r"):
                if _holds(array, mark):
                    held = pc.match_substring(array, mark)
                    yield held, "unquotable", f"the value holds {mark!r}, and quote is null"
        if type_.kind != "string":
            return
        if self._dialect.quote is None:
            empty = pc.equal(array, "")
            yield empty, "unquotable", "an empty text cannot be told from null, since quote is null"
        if self._endpoint.null_values:
            nulls = pc.is_in(array, value_set=pa.array(list(self._endpoint.null_values), pa.string()))
            yield nulls, "null_text", "this very text means null in the file (null_values)"

    def _unencodable(self, array: pa.Array) -> list[tuple[int, str, str]]:
        if self._codec.startswith(("utf-8", "utf-16", "utf-32")):
            return []
        try:
            _bytes(array).decode().encode(self._codec)
        except UnicodeEncodeError:
            return [
                (row, "unencodable", f"{bad!r} (U+{ord(bad):04X}) does not exist in {self._codec}")
                for row, value in enumerate(array.to_pylist())
                if value is not None and (bad := _first_unencodable(value, self._codec)) is not None
            ]
        return []


def _first_unencodable(text: str, codec: str) -> str | None:
    try:
        text.encode(codec)
    except UnicodeEncodeError as exc:
        return text[exc.start]
    return None


def _iso_timestamps(array: pa.Array) -> pa.Array:
    """``2024-12-31T23:59:59.5Z``, with as many digits of a second as there are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    micros = array.cast(pa.int64())
    days = pc.floor_temporal(array, unit="day")
    seconds = pc.divide(pc.subtract(micros, days.cast(pa.int64())), 1_000_000)
    if pc.all(pc.equal(pc.add(days.cast(pa.int64()), pc.multiply(seconds, 1_000_000)), micros)).as_py() is False:
        text = pc.replace_substring(pc.cast(array, pa.string()), " ", "T")
        text = pc.replace_substring_regex(text, r"\.([0-9]*?)0+Z$", r".\1Z")
        return pc.replace_substring_regex(text, r"\.Z$", "Z")
    # Whole seconds, the usual case: days and times of day repeat, so each is put into words once.
    day, time = days.dictionary_encode(), seconds.dictionary_encode()
    shown_day = pc.cast(day.dictionary.cast(pa.date32()), pa.string()).take(day.indices)
    shown_time = pc.cast(time.dictionary.cast(pa.int32()).cast(pa.time32("s")), pa.string())
    return pc.binary_join_element_wise(
        shown_day, pc.binary_join_element_wise(shown_time, "Z", "").take(time.indices), "T"
    )


def plain_decimals(array: pa.Array) -> pa.Array:
    """Decimals without an exponent, which Arrow uses for small values of a large scale."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.cast(array, pa.string())
    if _holds(text, "E"):
        values = array.to_pylist()
        return pa.array([None if v is None else format(v, "f") for v in values], pa.string())
    return text


def _holds(array: pa.Array, mark: str) -> bool:
    """Whether the mark may occur in some value, by one look at all bytes."""
    return mark.encode() in _bytes(array)


def _bytes(array: pa.Array) -> bytes:
    """All values end to end."""
    import numpy as np

    if len(array) == 0 or array.buffers()[2] is None:
        return b""
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    return bytes(memoryview(array.buffers()[2])[int(offsets[0]) : int(offsets[-1])])
