"""In which form a column is shown to Great Expectations, so that its verdict is exact.

Measured with GX 1.24 on pandas: bounds and sets given as Decimal become floats, so ``between 0.1 and 0.3`` refuses 0.3; sets of
dates match nothing; sums over Decimal columns with nulls fail. So each rule sees the form in which it is right:

``native``  Arrow's values as pandas holds them exactly (nullable integers, booleans, Decimal objects, instants)
``text``    canonical text, for sets, patterns, lengths and uniqueness
``scaled``  a decimal as an integer of its last digit, for bounds and sums
``float``   for averages and deviations, where GX computes in floats anyway
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from sync_provider.core.canonical import write_text
from sync_provider.core.errors import MappingError, SyncDataError, Where
from sync_provider.core.expectations import columns_of
from sync_provider.core.mapping import Expectation
from sync_provider.core.schema import LogicalType
from sync_provider.engine.phases.bounds import parse_canonical

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_TEXT_RULES = ("_in_set", "_set", "unique", "match", "lengths", "parseable", "strftime")
_BOUND_RULES = (
    "expect_column_values_to_be_between",
    "expect_column_max_to_be_between",
    "expect_column_min_to_be_between",
)
_FLOAT_RULES = ("mean", "median", "stdev", "sum_to_be")


@dataclass(frozen=True, slots=True)
class Form:
    """One column in one form; ``scale`` is the power of ten of ``scaled``."""

    column: str
    kind: str
    scale: int = 0

    @property
    def alias(self) -> str:
        """Its name in the frame."""
        return self.column if self.kind == "native" else f"{self.column} as {self.kind}{self.scale or ''}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One expectation, with the forms it sees and its arguments rewritten for them."""

    expectation: Expectation
    forms: tuple[Form, ...]
    kwargs: dict[str, Any]


def rule_for(expectation: Expectation, types: dict[str, LogicalType], path: str) -> Rule:
    """Choose forms and rewrite arguments.

    Raises:
        MappingError: an argument does not fit the column's type.
    """
    columns = columns_of(expectation)
    forms = _forms(expectation.type, columns, types)
    names = {form.column: form.alias for form in forms}
    kwargs = dict(expectation.kwargs)
    kwargs.pop("mostly", None)  # judged over the whole batch, see quality
    for argument in ("column", "column_A", "column_B"):
        if argument in kwargs:
            kwargs[argument] = names[kwargs[argument]]
    if "column_list" in kwargs:
        kwargs["column_list"] = [names[name] for name in kwargs["column_list"]]
    try:
        _rewrite_values(kwargs, forms, [types[name] for name in columns])
    except (SyncDataError, InvalidOperation) as error:
        message = error.message if isinstance(error, SyncDataError) else "a bound is no number"
        raise MappingError(
            f"{expectation.type}: {message}",
            where=Where(field=f"{path}.kwargs"),
            hint="Write the argument as the field's type would be written.",
            code="expectation_arguments",
        ) from error
    return Rule(expectation, forms, kwargs)


def _forms(rule: str, columns: list[str], types: dict[str, LogicalType]) -> tuple[Form, ...]:
    if rule == "expect_multicolumn_sum_to_equal":
        scale = max((types[name].scale or 0 for name in columns), default=0)
        exact = all(types[name].kind in ("decimal", "integer") for name in columns)
        return tuple(Form(name, "scaled" if exact else "float", scale if exact else 0) for name in columns)
    return tuple(Form(name, *_form(rule, types[name])) for name in columns)


def _form(rule: str, logical: LogicalType) -> tuple[str, int]:
    if rule in _BOUND_RULES:
        return ("scaled", logical.scale or 0) if logical.kind == "decimal" else ("native", 0)
    if any(part in rule for part in _FLOAT_RULES):
        return "float", 0
    if logical.kind not in ("string", "json") and any(part in rule for part in _TEXT_RULES):
        return "text", 0
    return "native", 0


def _rewrite_values(kwargs: dict[str, Any], forms: tuple[Form, ...], types: list[LogicalType]) -> None:
    if not forms:
        return
    form, logical = forms[0], types[0]
    if "value_set" in kwargs and kwargs["value_set"] is not None:
        kwargs["value_set"] = [_set_value(value, form, logical) for value in kwargs["value_set"]]
    if "value_pairs_set" in kwargs:
        kwargs["value_pairs_set"] = [
            tuple(_set_value(value, f, t) for value, f, t in zip(pair, forms, types, strict=True))
            for pair in kwargs["value_pairs_set"]
        ]
    if "sum_total" in kwargs and form.kind == "scaled":
        kwargs["sum_total"] = _scaled(kwargs["sum_total"], form.scale, ROUND_FLOOR)
    for name, rounding in (("min_value", ROUND_CEILING), ("max_value", ROUND_FLOOR)):
        if kwargs.get(name) is None:
            continue
        if form.kind == "scaled":
            kwargs[name] = _scaled_bound(kwargs, name, form.scale, rounding)
        elif logical.kind in ("date", "timestamp"):
            kwargs[name] = _moment(str(kwargs[name]), logical)


def _set_value(value: Any, form: Form, logical: LogicalType) -> Any:
    if form.kind != "text" or value is None:
        return value
    text = write_text(value)
    return write_text(parse_canonical(text, logical))


def _scaled(value: Any, scale: int, rounding: str) -> int:
    return int((Decimal(str(value)).scaleb(scale)).to_integral_value(rounding=rounding))


def _scaled_bound(kwargs: dict[str, Any], name: str, scale: int, rounding: str) -> int:
    """A bound between two representable values moves inwards, and a strict one then is strict no more."""
    exact = Decimal(str(kwargs[name])).scaleb(scale)
    if exact != exact.to_integral_value():
        kwargs.pop(f"strict_{name[:3]}", None)
    return int(exact.to_integral_value(rounding=rounding))


def _moment(text: str, logical: LogicalType) -> Any:
    import pandas as pd

    return pd.Timestamp(parse_canonical(text, logical))


def to_pandas(column: pa.Array, form: Form, logical: LogicalType) -> pd.Series:
    """One column in one form."""
    return _CONVERTERS[form.kind](column, form, logical)


def _native(column: pa.Array, _form: Form, logical: LogicalType) -> pd.Series:
    import pandas as pd

    match logical.kind:
        case "integer":
            return column.to_pandas(types_mapper={column.type: pd.Int64Dtype()}.get)
        case "boolean":
            return column.to_pandas(types_mapper={column.type: pd.BooleanDtype()}.get)
        case "date":
            import pyarrow as pa

            return column.cast(pa.timestamp("us")).to_pandas()
        case _:
            return column.to_pandas()


def _text(column: pa.Array, _form: Form, logical: LogicalType) -> pd.Series:
    import pyarrow as pa
    import pyarrow.compute as pc

    match logical.kind:
        case "string" | "json":
            texts = column
        case "timestamp" | "double":
            texts = pa.array(
                [None if value is None else write_text(value) for value in column.to_pylist()], pa.string()
            )
        case "boolean":
            texts = pc.if_else(column, "true", "false")
        case _:
            texts = column.cast(pa.string())
    return texts.to_pandas()


def _scaled_column(column: pa.Array, form: Form, logical: LogicalType) -> pd.Series:
    import pandas as pd

    power = form.scale
    values = [None if value is None else int(Decimal(value).scaleb(power)) for value in column.to_pylist()]
    return (
        pd.Series(values, dtype="Int64") if (logical.precision or 18) + power <= 18 else pd.Series(values, dtype=object)
    )


def _float(column: pa.Array, _form: Form, _logical: LogicalType) -> pd.Series:
    import pyarrow as pa

    return column.cast(pa.float64()).to_pandas()


_CONVERTERS: dict[str, Callable[[pa.Array, Form, LogicalType], pd.Series]] = {
    "native": _native,
    "text": _text,
    "scaled": _scaled_column,
    "float": _float,
}
