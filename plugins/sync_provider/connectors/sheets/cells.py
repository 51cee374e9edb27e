"""Cells as the API gives and takes them, and the canonical text and typed values that they mean. No I/O.

A cell holds a number (a double), a truth value or a text; dates are numbers, days since 1899-12-30 on the clocks of the spreadsheet's time
zone. Nothing else is known of a cell's meaning, so the declared type decides.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sync_provider.connectors.files.text_values import canonical_text
from sync_provider.core.canonical import to_instant, write_text
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

MAX_TEXT = 50_000  # characters in a cell (sheets-api: a longer one is refused by Google)
_EPOCH = date(1899, 12, 30)
UNIX_DAYS = (date(1970, 1, 1) - _EPOCH).days
_DAY_MICROS = 86_400_000_000
NOISE_MICROS = 21
"""What a double adds to or takes from a time at most, up to the year 9999; Sheets itself shows milliseconds."""
EXACT = 2**53
"""Whole numbers below it are exact in a double; from it on, a cell's number may stand for several."""
ERRORS = frozenset({"#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#ERROR!", "#SPILL!"})
"""What a formula that failed shows; unformatted values do not tell it from the same text."""

DATE_FORMAT = {"type": "DATE", "pattern": "yyyy-mm-dd"}
TIMESTAMP_FORMAT = {"type": "DATE_TIME", "pattern": "yyyy-mm-dd hh:mm:ss"}
FORMATS = {"date": DATE_FORMAT, "timestamp": TIMESTAMP_FORMAT}


def text_of(cell: Any, type_: LogicalType, zone: ZoneInfo, decimal: str, date_order: str) -> str | None:
    """Canonical text of a cell under a declared type; what is no such value stays as it is, for the transform to refuse.

    Args:
        cell: as `SheetsApi.values` gives it.
        type_: the declared type.
        zone: the spreadsheet's.
        decimal: decimal mark of texts in number fields.
        date_order: order of the parts of texts in date fields.
    """
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return ("true" if cell else "false") if type_.kind != "string" else str(cell).upper()
    if isinstance(cell, str):
        return canonical_text(cell, type_, decimal, date_order)
    if type_.kind in ("date", "timestamp"):
        return _moment(cell, type_, zone)
    if type_.kind == "boolean":
        return {1: "true", 0: "false"}.get(cell, str(cell))
    return plain_number(cell, exact=type_.kind != "double")


def verbatim(cell: Any) -> str | None:
    """A cell as text, whatever is declared."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return str(cell).upper()
    return cell if isinstance(cell, str) else plain_number(cell, exact=True)


def plain_number(number: float, *, exact: bool) -> str:
    """A cell's number without exponent. ``exact``: one from 2^53 on may have been rounded: it keeps its exponent, and is refused.

    >>> plain_number(1500.0, exact=True), plain_number(1e21, exact=True)
    ('1500', '1E+21')
    """
    value = Decimal(repr(number))
    if exact and abs(value) >= EXACT:
        return f"{value.normalize():E}"
    return format(value.normalize(), "f")


def _moment(cell: float, type_: LogicalType, zone: ZoneInfo) -> str:
    try:
        micros = int((Decimal(cell) * _DAY_MICROS).to_integral_value())
        shown = round(micros, -3)
        days, rest = divmod(shown if abs(micros - shown) <= NOISE_MICROS else micros, _DAY_MICROS)
        local = datetime.combine(_EPOCH + timedelta(days=days), datetime.min.time()) + timedelta(microseconds=rest)
    except (InvalidOperation, OverflowError, ValueError):
        return str(cell)
    if type_.kind == "date":
        return local.date().isoformat() if not rest else local.isoformat()
    try:
        return write_text(to_instant(local, zone))
    except ValueError:
        # Clocks show it twice or never: said by the transform, with the cell.
        return f"{local.isoformat()}[{zone.key}]"


Scalar = str | int | float | bool | None
"""What a cell holds: text, number, truth value or nothing."""


def entered(value: Scalar) -> dict[str, Any]:
    """A cell that holds a value, as ``CellData``: a text is never parsed."""
    if value is None:
        return {}
    kind = "boolValue" if isinstance(value, bool) else "stringValue" if isinstance(value, str) else "numberValue"
    return {"userEnteredValue": {kind: value}}


def scalar_of(value: Any, type_: LogicalType, zone: ZoneInfo, decimal: str = ".") -> Scalar:
    """A typed value as a cell holds it.

    Numbers and times that a cell's double cannot hold exactly are written as text, which is read back exactly.

    Args:
        value: as Arrow gives it.
        type_: its type.
        zone: the spreadsheet's.
        decimal: the endpoint's decimal mark of numbers in text cells.

    Raises:
        ValueError: a cell cannot hold it; says why.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return value
    match type_.kind:
        case "integer" | "decimal" | "double":
            number = _double(value)
            return number if number is not None else write_text(value).replace(".", decimal)
        case "date":
            return int((value - _EPOCH).days)
        case "timestamp":
            serial = _serial(value, zone)
            return serial if serial is not None else write_text(value)
        case _:
            text = str(value)
            length = len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2  # as JavaScript counts
            if length > MAX_TEXT:
                raise ValueError(f"it has {length:,} characters, and a cell holds {MAX_TEXT:,}")
            return text


def serials(array: pa.Array) -> list[Scalar] | None:
    """Dates, or times of a spreadsheet in UTC, as a cell holds them; None if one of them needs a closer look."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_date32(array.type):
        return list(pc.add(pc.cast(array, pa.int32()), UNIX_DAYS).to_pylist())
    if not pa.types.is_timestamp(array.type) or array.type.unit != "us":
        return None
    micros = pc.fill_null(pc.cast(array, pa.int64()), 0).to_numpy(zero_copy_only=False) + UNIX_DAYS * _DAY_MICROS
    days = micros / _DAY_MICROS
    if not np.array_equal(np.rint(days * 86_400_000).astype(np.int64) * 1000, micros):
        return None
    return list(pa.array(days, mask=pc.is_null(array).to_numpy(zero_copy_only=False)).to_pylist())


def _double(value: Any) -> float | int | None:
    """The number as a cell holds it; None if its digits are too many."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a cell holds no infinite number")
        return value
    if isinstance(value, int):
        return value if abs(value) < EXACT else None
    number = float(value)
    return number if abs(value) < EXACT and Decimal(repr(number)) == value else None


def _serial(value: datetime, zone: ZoneInfo) -> float | None:
    """The time on the spreadsheet's clocks, as a cell holds it; None if that does not lead back to this very instant."""
    local = value.astimezone(zone).replace(tzinfo=None)
    micros = (local - datetime.combine(_EPOCH, datetime.min.time())) // timedelta(microseconds=1)
    serial = micros / _DAY_MICROS
    try:
        back = to_instant(local, zone)
    except ValueError:
        return None
    exact = round(Decimal(repr(serial)) * 86_400_000) * 1000 == micros
    return serial if exact and back == value.astimezone(UTC) else None
