"""The types a mapping can declare, and their Arrow form. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from sync_provider.core.errors import MappingError

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("string", "integer", "decimal", "double", "boolean", "date", "timestamp", "json")
MAX_PRECISION = 38


@dataclass(frozen=True, slots=True)
class LogicalType:
    """One declared type.

    Args:
        kind: one of `KINDS`. ``integer`` is signed 64-bit; ``timestamp`` is an instant (stored in UTC, µs);
            ``json`` is text holding one JSON document.
        precision: decimal digits in all, 1 to 38; only for ``decimal``.
        scale: decimal digits after the point, 0 to precision; only for ``decimal``.
    """

    kind: str
    precision: int | None = None
    scale: int | None = None

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind

    @property
    def is_number(self) -> bool:
        return self.kind in ("integer", "decimal", "double")

    def to_arrow(self) -> pa.DataType:
        """The Arrow type that batches of the mapped schema hold."""
        import pyarrow as pa  # imported late: DAG parsing reads mappings and must not pay for it

        if self.kind == "decimal":
            return pa.decimal128(self.precision or MAX_PRECISION, self.scale or 0)
        return {
            "string": pa.string(),
            "integer": pa.int64(),
            "double": pa.float64(),
            "boolean": pa.bool_(),
            "date": pa.date32(),
            "timestamp": pa.timestamp("us", tz="UTC"),
            "json": pa.string(),
        }[self.kind]

    @classmethod
    def of_arrow(cls, type_: pa.DataType) -> LogicalType:
        """The type whose Arrow form this is; ``string`` for any other."""
        import pyarrow.types as kinds

        if kinds.is_decimal(type_):
            return cls("decimal", type_.precision, type_.scale)
        plain = (cls(kind) for kind in KINDS if kind not in ("decimal", "json"))
        return next((each for each in plain if each.to_arrow() == type_), cls("string"))


_OTHER_NAMES = {
    **dict.fromkeys(("text", "varchar", "char", "str"), "string"),
    **dict.fromkeys(("int", "bigint", "smallint", "long"), "integer"),
    **dict.fromkeys(("number", "numeric", "money"), "decimal(p,s)"),
    **dict.fromkeys(("float", "real"), "double"),
    **dict.fromkeys(("datetime", "timestamptz"), "timestamp"),
    "bool": "boolean",
    "jsonb": "json",
}
"""What the types are called elsewhere."""
_DECIMAL = re.compile(r"decimal\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)")


def parse_type(text: str) -> LogicalType:
    """Read a declared type.

    >>> parse_type("decimal(12, 2)")
    LogicalType(kind='decimal', precision=12, scale=2)

    Raises:
        MappingError: unknown name, or a precision or scale out of range.
    """
    name = text.strip().lower()
    if name in KINDS and name != "decimal":
        return LogicalType(name)
    if match := _DECIMAL.fullmatch(name):
        precision, scale = int(match[1]), int(match[2])
        if not 1 <= precision <= MAX_PRECISION or scale > precision:
            raise MappingError(
                f"{text!r} is out of range", hint="Write decimal(p,s) with 1 ≤ p ≤ 38 and 0 ≤ s ≤ p.", code="type_range"
            )
        return LogicalType("decimal", precision, scale)
    raise MappingError(f"{text!r} is no type", hint=_type_hint(name), code="type_unknown")


def _type_hint(name: str) -> str:
    """What was most likely meant."""
    if name.startswith("decimal"):
        return 'Write it with digits and decimal places, in quotes where braces are around: "decimal(12,2)".'
    nearest = get_close_matches(name[:100], KINDS, n=1)
    meant = _OTHER_NAMES.get(name.partition("(")[0].strip()) or (nearest[0] if nearest else None)
    known = "string, integer, decimal(p,s), double, boolean, date, timestamp or json"
    return f"Did you mean {meant}? Types are {known}." if meant else f"Use {known}."
