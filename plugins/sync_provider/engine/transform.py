"""Raw batches to records of the mapped types; what does not convert is refused, never nulled.

Clean data is converted a whole column at a time; only refused records cost Python time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sync_provider.connectors.base import COORDINATES, FILE, ROW, SHEET, ColumnRequest, RawBatch
from sync_provider.core.canonical import named_zone
from sync_provider.core.errors import MappingError, MappingErrors, SyncDataError, Where
from sync_provider.core.expressions import resolve
from sync_provider.core.mapping import Mapping as Integration
from sync_provider.core.report import Rejection
from sync_provider.core.schema import LogicalType
from sync_provider.engine.casts import Casts, plain
from sync_provider.engine.evaluator import DEADLINE_S, Evaluator
from sync_provider.engine.expressions import VALUE, analysis_of, check_expression, check_mapping_expressions
from sync_provider.engine.locked_duckdb import MEMORY_LIMIT
from sync_provider.engine.rejecting import Failure, describe

if TYPE_CHECKING:
    import pyarrow as pa

_TEXT = LogicalType("string")
RAW = "__raw_"  # prefix: a raw column carried along as it was read
OUT = "__out"  # boolean: the filter leaves this record out


@dataclass(frozen=True, slots=True)
class ConversionField:
    """One field to convert.

    Args:
        source: name of the raw column.
        destination: name of the converted column.
        type: the declared type.
        expression: what to compute from the raw record instead of reading the raw column as the declared type.
        optional: batches may lack the raw column.
    """

    source: str
    destination: str
    type: LogicalType
    expression: str | None = None
    optional: bool = False


@dataclass(slots=True)
class Converted:
    """What became of one raw batch: each of its records is in ``records``, in ``rejections`` or counted in ``filtered``.

    Args:
        records: records of `Conversion.schema`, in the source's order.
        rejections: refused records; not those that the connector refused.
        filtered: how many records the filter left out.
        missing: destination names of optional fields whose column this batch lacks; null in ``records``, which is not
            what the source says: the writer leaves the destination's values alone.
    """

    records: pa.RecordBatch
    rejections: list[Rejection] = field(default_factory=list)
    filtered: int = 0
    missing: frozenset[str] = frozenset()


class Conversion:
    """Converts raw batches. Use as a context manager.

    Args:
        fields: fields in the order of the mapping.
        key: destination names that identify a record, to name refused ones.
        filter: boolean expression over destination names; records for which it is not true are left out.
        timezone: zone of timestamps that name none.
        memory_limit: DuckDB's memory limit for expressions.
        deadline_s: seconds that one expression may take for one batch.
        positions: source column → letters of its column in a sheet, for cell addresses.
        carried: raw column → type in which it is given along with the records, as `RAW` + its name.
        mark_filtered: give what the filter leaves out too, told apart by `OUT`.

    Raises:
        MappingError: an expression, the filter or the time zone is refused.
    """

    def __init__(
        self,
        fields: Sequence[ConversionField],
        *,
        key: Sequence[str] = (),
        filter: str | None = None,  # noqa: A002 - the word of the mapping
        timezone: str = "UTC",
        memory_limit: str = MEMORY_LIMIT,
        deadline_s: float = DEADLINE_S,
        positions: Mapping[str, str] | None = None,
        carried: Mapping[str, LogicalType] | None = None,
        mark_filtered: bool = False,
    ) -> None:
        import pyarrow as pa

        self._fields, self._key, self._filter = tuple(fields), tuple(key), filter
        self._positions = positions or {}
        self._carried, self._mark_filtered = dict(carried or {}), mark_filtered
        try:
            self._zone = named_zone(timezone)
        except ValueError as error:
            raise MappingError(
                str(error), where=Where(field="timezone"), hint="Write a zone such as Europe/Paris."
            ) from error
        self._sees = {f.destination: _columns_seen(f, fields) for f in fields if f.expression is not None}
        self._filter_sees: dict[str, str] = {}
        if filter is not None:
            types = {f.destination: f.type for f in fields}
            analysis = check_expression(filter, types, boolean=True)
            self._filter_sees = resolve(analysis.columns, types, open_names=False)
        self._evaluator = Evaluator(timezone=timezone, memory_limit=memory_limit, deadline_s=deadline_s)
        self._casts = Casts(self._zone, self._evaluator.is_json)
        self.columns: tuple[ColumnRequest, ...] = _requests(self._fields, self._sees)
        self.schema = pa.schema(
            [
                *((f.destination, f.type.to_arrow()) for f in fields),
                (FILE, pa.string()),
                (SHEET, pa.string()),
                (ROW, pa.int64()),
                *((RAW + name, type_.to_arrow()) for name, type_ in self._carried.items()),
                *([(OUT, pa.bool_())] if mark_filtered else []),
            ]
        )

    @classmethod
    def for_source(cls, mapping: Integration, *, positions: Mapping[str, str] | None = None) -> Conversion:
        """From the mapping's source to its declared types, with its expressions and its filter.

        Raises:
            MappingErrors: every expression that is refused.
        """
        if errors := check_mapping_expressions(mapping):
            raise MappingErrors(errors)
        fields = [
            ConversionField(f.source, f.destination, f.logical_type, f.to_destination, f.optional)
            for f in mapping.fields
        ]
        return cls(fields, key=mapping.key, filter=mapping.filter, timezone=mapping.timezone, positions=positions)

    @classmethod
    def for_destination(cls, mapping: Integration) -> Conversion:
        """The mapping's destination read back as it is: the same types, no expressions, no filter."""
        fields = [ConversionField(f.destination, f.destination, f.logical_type) for f in mapping.fields]
        return cls(fields, key=mapping.key, timezone=mapping.timezone)

    def convert(self, raw: RawBatch) -> Converted:
        """Convert one batch.

        Args:
            raw: columns `columns` (optional ones may be absent) and, where known, the coordinate columns.

        Raises:
            SyncDataError: a column is absent that is not optional, or an expression takes too long or too much memory.
            MappingError: an expression does not fit the type of a column.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        batch = raw.records
        present = self._present(batch)
        results, failures = [], []
        for f in self._fields:
            result, failure = self._convert_field(f, present, batch.num_rows)
            results.append(result)
            if failure is not None:
                failures.append(failure)
        refused = _any_of([failure.records for failure in failures], batch.num_rows)
        kept, broken = self._keep(results, batch.num_rows)
        if broken is not None:
            refused = broken if refused is None else pc.or_(refused, broken)
        results += [_coordinate(batch, name, self.schema.field(name).type) for name in COORDINATES]
        results += [self._casts.cast(present[name], type_) for name, type_ in self._carried.items()]
        if self._mark_filtered:
            results.append(pa.repeat(pa.scalar(False), batch.num_rows) if kept is None else pc.invert(kept))
            kept = None
        records = pa.RecordBatch.from_arrays(results, schema=self.schema)
        missing = frozenset(f.destination for f in self._fields if f.source not in present)
        rejections: list[Rejection] = []
        if refused is not None:
            rejections = describe(
                batch,
                pc.indices_nonzero(refused),
                failures,
                raw=present,
                keys=[results[self.schema.get_field_index(name)] for name in self._key],
                zone=self._zone,
                filter=self._filter,
                positions=self._positions,
            )
            accepted = pc.invert(refused)
            kept = accepted if kept is None else pc.and_(accepted, kept)
        if kept is not None:
            records = records.filter(kept)
        filtered = batch.num_rows - records.num_rows - len(rejections)
        return Converted(records=records, rejections=rejections, filtered=filtered, missing=missing)

    def _present(self, batch: pa.RecordBatch) -> dict[str, Any]:
        names = set(batch.schema.names)
        if absent := [column.name for column in self.columns if column.name not in names and not column.optional]:
            raise SyncDataError(
                f"column {absent[0]!r} is absent from the records read",
                where=Where(field=absent[0]),
                hint=f"There are {', '.join(sorted(names - set(COORDINATES))[:20])}.",
                code="column_missing",
            )
        return {column.name: plain(batch.column(column.name)) for column in self.columns if column.name in names}

    def _convert_field(self, f: ConversionField, present: Mapping[str, Any], rows: int) -> tuple[Any, Failure | None]:
        import pyarrow as pa

        if f.source not in present:
            return pa.nulls(rows, f.type.to_arrow()), None
        values, broken = present[f.source], None
        if f.expression is not None:
            seen = {
                name: values if column == VALUE else present.get(column, pa.nulls(rows, pa.string()))
                for name, column in self._sees[f.destination].items()
            }
            values, broken = self._evaluator.evaluate(f.expression, seen, rows)
            values = plain(values)
        result = self._casts.cast(values, f.type)
        failed = _any_of(
            [mask for mask in (broken, self._casts.refused(values, result, f.type)) if mask is not None], rows
        )
        if failed is None:
            return result, None
        return result, Failure(f.source, f.destination, f.type, values, failed, f.expression, broken)

    def _keep(self, results: Sequence[Any], rows: int) -> tuple[Any | None, Any | None]:
        """Which records the filter keeps (None: all), and on which it fails (None: on none)."""
        import pyarrow.compute as pc

        if self._filter is None:
            return None, None
        seen = {name: results[self.schema.get_field_index(column)] for name, column in self._filter_sees.items()}
        true, broken = self._evaluator.evaluate(self._filter, seen, rows)
        return pc.fill_null(true, False), broken

    def close(self) -> None:
        """Close DuckDB; safe to call twice."""
        self._evaluator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _columns_seen(f: ConversionField, fields: Iterable[ConversionField]) -> dict[str, str]:
    """Name as written in the field's expression → raw column, or `VALUE` for the field's own."""
    analysis = analysis_of(f.expression or "")
    known = dict.fromkeys([VALUE, *(other.source for other in fields)])
    return resolve(analysis.columns, known, open_names=True)


def _requests(fields: Sequence[ConversionField], sees: Mapping[str, Mapping[str, str]]) -> tuple[ColumnRequest, ...]:
    """What to ask of the connector: each raw column once, by the conventions of its type or as it stands."""
    requests: dict[str, ColumnRequest] = {}
    for name in dict.fromkeys(f.source for f in fields):
        users = [f for f in fields if f.source == name]
        read = [f for f in users if f.expression is None]
        typed = next((f.type for f in read if f.type.kind != "string"), _TEXT)
        requests[name] = ColumnRequest(
            name=name, type=typed, verbatim=not read, optional=all(f.optional for f in users)
        )
    for mentioned in sees.values():
        for column in mentioned.values():
            if column != VALUE and column not in requests:
                requests[column] = ColumnRequest(name=column, type=_TEXT, verbatim=True)
    return tuple(requests.values())


def _any_of(masks: Sequence[Any], rows: int) -> Any | None:
    """Records that are in any of the masks; None where they are empty."""
    import pyarrow.compute as pc

    if not masks or rows == 0:
        return None
    result = masks[0]
    for mask in masks[1:]:
        result = pc.or_(result, mask)
    return result


def _coordinate(batch: pa.RecordBatch, name: str, type_: pa.DataType) -> Any:
    import pyarrow as pa

    return plain(batch.column(name)).cast(type_) if name in batch.schema.names else pa.nulls(batch.num_rows, type_)
