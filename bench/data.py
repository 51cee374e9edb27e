"""The records that benchmarks move: 12 mixed columns with leading zeros, nulls, empty texts, quotes, accents and decimals."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

FIELDS = {
    "code": "string",
    "name": "string",
    "city": "string",
    "quantity": "integer",
    "reference": "integer",
    "price": "decimal(12,2)",
    "rate": "decimal(18,4)",
    "ratio": "double",
    "active": "boolean",
    "day": "date",
    "seen": "timestamp",
    "note": "string",
}
NAMES = tuple(FIELDS)


def texts(number: int) -> list[str]:
    """One record as a CSV file holds it; an empty text is a null."""
    return [
        f"{number:07d}",
        f'Café "numéro", {number}' if number % 50 == 0 else f"Café numéro {number}",
        "" if number % 10 == 0 else f"Ville {number % 997}",
        str(number * 7919 % 1_000_003),
        "" if number % 7 == 0 else str(-number),
        f"{number % 100_000}.{number % 100:02d}",
        f"{number}.{number % 10_000:04d}",
        repr(number / 7),
        "true" if number % 3 else "false",
        f"20{number % 24:02d}-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
        f"20{number % 24:02d}-{number % 12 + 1:02d}-{number % 28 + 1:02d}T12:{number % 60:02d}:00Z",
        f"Remarque {number % 13} sur un client parmi d'autres",
    ]


def write_csv(path: Path, rows: int) -> None:
    """Write the records; only values with quotes in them are quoted, so that a null can be told from an empty text."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(NAMES)
        writer.writerows(texts(number) for number in range(rows))


def typed(record: list[str]) -> dict[str, Any]:
    """One record of texts as Python values of the declared types."""
    return {name: _read(text, kind) for (name, kind), text in zip(FIELDS.items(), record, strict=True)}


def _read(text: str, kind: str) -> Any:
    if text == "":
        return None
    if kind.startswith("decimal"):
        return Decimal(text)
    return _READERS.get(kind, str)(text)


_READERS: dict[str, Any] = {
    "integer": int,
    "double": float,
    "boolean": lambda text: text == "true",
    "date": dt.date.fromisoformat,
    "timestamp": dt.datetime.fromisoformat,
}


def digest(rows: Iterator[Any]) -> str:
    """The same text for the same records in any order, values compared as the declared types."""
    kinds = tuple(FIELDS.values())
    total = count = 0
    for row in rows:
        text = "\x1f".join(canonical(value, kind) for value, kind in zip(row, kinds, strict=True))
        total += int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
        count += 1
    return f"{count}:{total % 2**64:016x}"


def canonical(value: Any, kind: str) -> str:
    """A value's text by its declared type, however a system holds it: ``t``, 1 and True are one boolean."""
    if value is None:
        return "\\N"
    if value == "":
        return "empty"
    if kind == "string":
        return f"{type(value).__name__}:{value}"
    if kind == "boolean":
        return str(value in (True, 1, "1", "true", "t"))
    if kind == "double":
        return repr(float(value))
    if kind == "integer" or kind.startswith("decimal"):
        return format(Decimal(str(value)).normalize(), "f")
    text = str(value).replace("T", " ").removesuffix("Z").removesuffix("+00:00").removesuffix("+00")
    return text.split(".")[0] if kind == "timestamp" else text.removesuffix(" 00:00:00")
