"""What a two-way mapping must not declare, each at its place."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from sync_provider.core.errors import MappingErrors
from sync_provider.core.mapping_text import parse_mapping
from sync_provider.engine.expressions import check_mapping_expressions


def text_of(**keys: Any) -> str:
    plain = {
        "version": 1,
        "id": "pair",
        "mode": "bidirectional",
        "source": {"type": "csv", "path": "a.csv"},
        "destination": {"type": "sql", "connection": "db", "table": "t"},
        "key": ["code"],
        "fields": [
            {"source": "code", "destination": "code"},
            {"source": "Solde", "destination": "solde", "type": "decimal(12,2)"},
        ],
    }
    return yaml.safe_dump({**plain, **keys}, allow_unicode=True)


def solde(**keys: Any) -> dict[str, Any]:
    return {
        "fields": [
            {"source": "code", "destination": "code"},
            {"source": "Solde", "destination": "solde", "type": "decimal(12,2)", **keys},
        ]
    }


def code(**keys: Any) -> dict[str, Any]:
    return {"fields": [{"source": "code", "destination": "code", **keys}]}


@pytest.mark.parametrize(
    ("keys", "place", "said"),
    [
        ({"source": {"type": "sql", "connection": "db", "query": "SELECT 1"}}, "source.query", "writes to the source"),
        ({"source": {"type": "csv", "path": "*.csv"}}, "source.path", "one file"),
        ({"source": {"type": "csv", "path": "a.csv", "only_new": True}}, "source.only_new", "everything"),
        ({"source": {"type": "excel", "path": "a.xlsx", "sheet": "/x/"}}, "source.sheet", "name one"),
        ({"source": {"type": "excel", "path": "a.xlsx", "sheet_field": "m"}}, "source.sheet_field", "one sheet"),
        ({"source": {"type": "sql", "connection": "db", "table": "t"}}, "destination", "same data"),
        ({"key": []}, "key", "needs a key"),
        (solde(optional=True), "fields[1].optional", "both sides"),
        (solde(to_destination="parse_number(value, 'fr')"), "fields[1].to_destination", "no way back"),
        (solde(to_source="value"), "fields[1].to_source", "give both"),
        (code(direction="to_source"), "fields[0].direction", "as it is"),
        (code(to_destination="lower(value)", to_source="value"), "fields[0].to_destination", "as it is"),
        ({"conflicts": {"fields": {"nope": "manual"}}}, "conflicts.fields.nope", "solde"),
        ({"conflicts": {"fields": {"solde": "manual"}, "granularity": "row"}}, "conflicts.fields", "whole records"),
        ({"conflicts": {"policy": "newest"}}, "conflicts.change_time", "each side"),
        ({"conflicts": {"policy": "newest", "change_time": {"source": "x"}}}, "conflicts.change_time", "each side"),
    ],
)
def test_each_is_refused_at_its_place(keys: dict[str, Any], place: str, said: str) -> None:
    with pytest.raises(MappingErrors) as caught:
        parse_mapping(text_of(**keys))
    found = [(error.where.field, error.message) for error in caught.value.errors]
    assert any(field == place and said in message for field, message in found), found
    assert all(error.where.line for error in caught.value.errors)


def test_keep_both_needs_a_text_in_the_key() -> None:
    fields = [{"source": "code", "destination": "code", "type": "integer"}]
    with pytest.raises(MappingErrors, match="needs a text in the key"):
        parse_mapping(text_of(fields=fields, conflicts={"policy": "keep_both"}))
    assert parse_mapping(text_of(conflicts={"policy": "keep_both"})).two_way


def test_two_fields_cannot_share_a_source_column() -> None:
    fields = [{"source": "code", "destination": "code"}, {"source": "code", "destination": "again"}]
    with pytest.raises(MappingErrors, match="'code' is mapped twice"):
        parse_mapping(text_of(fields=fields))


def test_what_is_written_back_reads_one_column_only() -> None:
    mapping = parse_mapping(text_of(**solde(to_destination='value || "code"', to_source="value", type="string")))
    (error,) = check_mapping_expressions(mapping)
    assert error.where.field == "fields[1].to_destination"
    assert "cannot undo" in error.message
