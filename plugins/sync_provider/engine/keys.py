"""A record's key as text: canonical parts in the mapping's order, in Arrow and in DuckDB alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import KEY_SEPARATOR
from sync_provider.core.canonical import write_text
from sync_provider.core.mapping import Mapping as Integration
from sync_provider.engine.scratch import quote

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_SEPARATOR = "|"
"""Between the parts of a key that people see; connectors use `KEY_SEPARATOR`."""


def key_texts(batch: pa.RecordBatch, key: tuple[str, ...], separator: str = KEY_SEPARATOR) -> list[str | None]:
    """Each record's key as canonical text; None where a part is null."""
    columns = [batch.column(name).to_pylist() for name in key]
    return [
        None if any(part is None for part in parts) else separator.join(write_text(part) for part in parts)
        for parts in zip(*columns, strict=True)
    ]


def key_text(record: Mapping[str, Any], key: Sequence[str]) -> str:
    """One record's key, its parts joined by `SHOWN_SEPARATOR`; no part is None."""
    return SHOWN_SEPARATOR.join(write_text(record[name]) for name in key)


def key_text_sql(mapping: Integration, alias: str) -> str:
    """SQL for the key of a table's rows, its parts joined by `SHOWN_SEPARATOR`; null where a part is null.

    Args:
        mapping: names the key and its types.
        alias: of the table, which has the key columns by their destination names.
    """
    texts = {}
    for field in mapping.fields:
        column = f"{alias}.{quote(field.destination)}"
        if field.logical_type.kind == "timestamp":
            column = f"regexp_replace(strftime({column}, '%Y-%m-%dT%H:%M:%S.%fZ'), '\\.?0+Z$', 'Z')"
        texts[field.destination] = f"CAST({column} AS VARCHAR)"
    return f" || '{SHOWN_SEPARATOR}' || ".join(texts[name] for name in mapping.key)
