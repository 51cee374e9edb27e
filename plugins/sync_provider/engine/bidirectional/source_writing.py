"""Changes in destination space, as changes of the source: expressions backwards, and proof that they read back the same."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from sync_provider.connectors.base import OLD, OP, ROW, RawBatch, TargetColumn
from sync_provider.core.canonical import named_zone, write_text
from sync_provider.core.mapping import FieldMapping, Mapping
from sync_provider.core.report import Rejection
from sync_provider.core.schema import LogicalType
from sync_provider.engine.casts import Casts, plain, to_text
from sync_provider.engine.evaluator import Evaluator
from sync_provider.engine.expressions import result_type
from sync_provider.engine.transform import Conversion, ConversionField

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class _Field:
    """A mapped field on its way back: its destination name, its column in the source, its expression."""

    name: str
    column: TargetColumn
    to_source: str | None
    raw: bool  # the source holds something else than the field's value
    fixed: bool  # only the source may change it


class SourceWriter:
    """Translates change streams. Use as a context manager.

    Args:
        mapping: the integration.
        raw_types: source column behind an expression → Arrow type in which its snapshot carries it.
    """

    def __init__(self, mapping: Mapping, raw_types: Dict[str, pa.DataType]) -> None:
        self._mapping = mapping
        self._evaluator = Evaluator(timezone=mapping.timezone)
        self._casts = Casts(named_zone(mapping.timezone), self._evaluator.is_json)
        self._fields = [_field(mapping, f, raw_types) for f in mapping.fields]
        self._checked = [field for field in self._fields if field.raw and not field.fixed]
        names = {field.name for field in self._checked}
        back = [f for f in mapping.fields if f.destination in names]
        self._back = Conversion(
            [ConversionField(f.source, f.destination, f.logical_type, f.to_destination) for f in back],
            timezone=mapping.timezone,
        )

    @property
    def columns(self) -> tuple[TargetColumn, ...]:
        """The source's columns as they are written."""
        return tuple(field.column for field in self._fields)

    @property
    def key(self) -> tuple[str, ...]:
        """The key, in the source's names."""
        names = {field.name: field.column.name for field in self._fields}
        return tuple(names[name] for name in self._mapping.key)

    @property
    def schema(self) -> pa.Schema:
        """Of the change streams that `convert` gives."""
        import pyarrow as pa

        mapped = [pa.field(c.name, c.type.to_arrow()) for c in self.columns]
        return pa.schema([pa.field(OP, pa.string()), *mapped, *(pa.field(OLD + f.name, f.type) for f in mapped)])

    def convert(
        self, changes: pa.RecordBatch, raws: Dict[str, pa.Array]
    ) -> tuple[pa.RecordBatch, dict[int, Rejection]]:
        """Translate one batch.

        Args:
            changes: a change stream in destination space.
            raws: source column behind an expression → what the source holds now, row by row (null for inserts).

        Returns:
            The same rows in the source's terms; and of the rows that cannot be written so that they read back the same,
            by number, why.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        inserts = pc.equal(changes.column(OP), "insert")
        news, olds = [], []
        impossible: dict[str, Any] = {}
        for field in self._fields:
            wanted, before = changes.column(field.name), changes.column(OLD + field.name)
            old = self._held(field, raws[field.column.name]) if field.raw else before
            if field.fixed:
                new = pc.if_else(inserts, pa.nulls(len(old), old.type) if field.raw else wanted, old)
            elif field.raw:
                value, impossible[field.name] = self._value(field, changes)
                new = pc.if_else(_moved(changes, field), value, old)
            else:
                new = wanted
            news.append(new)
            olds.append(old)
        batch = pa.RecordBatch.from_arrays([changes.column(OP), *news, *olds], schema=self.schema)
        return batch, self._unfit(changes, batch, impossible)

    def _held(self, field: _Field, raw: Any) -> Any:
        """What the source holds, in the type in which it is written and compared; null where it is no such value."""
        from sync_provider.connectors.files.text_values import canonical

        type_ = field.column.type
        if raw.type == type_.to_arrow():
            return raw
        endpoint: Any = self._mapping.source
        texts = canonical(raw, type_, getattr(endpoint, "decimal", "."), getattr(endpoint, "date_order", "ymd"))
        return self._casts.cast(texts, type_)

    def _value(self, field: _Field, changes: pa.RecordBatch) -> tuple[Any, Any | None]:
        """What the expression gives for each row, and on which rows it fails (None: on none)."""
        import pyarrow.compute as pc

        assert field.to_source is not None
        seen = {f.destination: changes.column(f.destination) for f in self._mapping.fields}
        value, broken = self._evaluator.evaluate(
            field.to_source, {**seen, "value": changes.column(field.name)}, changes.num_rows
        )
        value = plain(value)
        result = self._casts.cast(value, field.column.type)
        refused = self._casts.refused(value, result, field.column.type)
        return result, broken if refused is None else refused if broken is None else pc.or_(broken, refused)

    def _unfit(
        self, changes: pa.RecordBatch, batch: pa.RecordBatch, impossible: dict[str, Any]
    ) -> dict[int, Rejection]:
        """Rows of which some value, once written, would be read as another one than was meant."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._checked or batch.num_rows == 0:
            return {}
        rows = pa.array(range(batch.num_rows), pa.int64())
        written = {f.column.name: self._as_read(batch.column(f.column.name), f.column.type) for f in self._checked}
        back = self._back.convert(RawBatch(records=pa.RecordBatch.from_pydict({**written, ROW: rows}))).records
        readable = pc.is_in(rows, value_set=back.column(ROW))
        found: dict[int, Rejection] = {}
        for field in self._checked:
            wanted = changes.column(field.name)
            read = pc.replace_with_mask(pa.nulls(len(rows), wanted.type), readable, back.column(field.name))
            wrong = pc.or_(pc.invert(readable), differ(read, wanted))
            if impossible[field.name] is not None:
                wrong = pc.or_(wrong, impossible[field.name])
            for row in pc.indices_nonzero(pc.and_(wrong, _moved(changes, field))).to_pylist():
                value = wanted[row].as_py()
                found.setdefault(
                    row,
                    Rejection(
                        rule="round_trip",
                        field=field.name,
                        value=None if value is None else write_text(value),
                        message=f"to_source would write to {field.column.name} what to_destination does not read as this value",
                    ),
                )
        return found

    def _as_read(self, column: Any, type_: LogicalType) -> Any:
        """A written column as a verbatim read gives it: text by the endpoint's conventions, or a database's own values."""
        import pyarrow.compute as pc

        endpoint: Any = self._mapping.source
        if endpoint.type == "sql":
            return column
        text = to_text(column)
        if endpoint.type == "csv" and type_.is_number and endpoint.decimal == ",":
            return pc.replace_substring(text, ".", ",")
        if endpoint.type == "csv" and type_.kind in ("date", "timestamp") and endpoint.date_order != "ymd":
            order = {"dmy": r"\3/\2/\1", "mdy": r"\2/\3/\1"}[endpoint.date_order]
            return pc.replace_substring_regex(text, r"^(\d{4})-(\d{2})-(\d{2})", order)
        return text

    def close(self) -> None:
        self._evaluator.close()
        self._back.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _field(mapping: Mapping, field: FieldMapping, raw_types: Dict[str, Any]) -> _Field:
    raw = field.to_destination is not None
    type_ = field.logical_type
    if raw:
        # A database's column has its own type; a file's takes what the expression gives.
        type_ = LogicalType("string")
        if mapping.source.type == "sql" and field.source in raw_types:
            type_ = LogicalType.of_arrow(raw_types[field.source])
        elif field.to_source is not None:
            types = {f.destination: f.logical_type for f in mapping.fields}
            type_ = result_type(field.to_source, {**types, "value": field.logical_type})
    return _Field(
        name=field.destination,
        column=TargetColumn(name=field.source, type=type_, nullable=field.destination not in mapping.key),
        to_source=field.to_source,
        raw=raw,
        fixed=field.direction == "to_destination",
    )


def _moved(changes: pa.RecordBatch, field: _Field) -> Any:
    """Rows in which this field is written: new records, and changes of it."""
    import pyarrow.compute as pc

    changed = differ(changes.column(field.name), changes.column(OLD + field.name))
    operation = changes.column(OP)
    return pc.or_(pc.equal(operation, "insert"), pc.and_(pc.equal(operation, "update"), changed))


def differ(one: Any, two: Any) -> Any:
    """Row by row, whether two columns of one type hold different values; two nulls or NaNs do not differ."""
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    unequal = pc.not_equal(one, two)
    if kinds.is_floating(one.type):
        unequal = pc.and_(unequal, pc.invert(pc.and_(pc.is_nan(one), pc.is_nan(two))))
    present, there = pc.is_valid(one), pc.is_valid(two)
    return pc.if_else(pc.and_(present, there), unequal, pc.xor(present, there))
