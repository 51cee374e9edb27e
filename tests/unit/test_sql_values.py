from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from sync_provider.connectors.sql.catalog import Column, nearest
from sync_provider.connectors.sql.fitting import misfits
from sync_provider.connectors.sql.postgres_types import storage_of as postgres_storage
from sync_provider.connectors.sql.reading import wrapped
from sync_provider.connectors.sql.sqlite_types import affinity, refused, storage_of, stored, type_of
from sync_provider.connectors.sql.values import array_text, cell_text, column_text, meaning
from sync_provider.core.errors import SyncDataError
from sync_provider.core.schema import LogicalType, parse_type


@pytest.mark.parametrize(
    ("cell", "kind", "text"),
    [
        (None, "string", None), ("", "string", ""), ("001", "string", "001"), (1, "string", "1"), (1.5, "string", "1.5"),
        (1e20, "decimal", "100000000000000000000"), (1e-7, "decimal", "0.0000001"), (0.1, "decimal", "0.1"), (3.0, "integer", "3"), (3.5, "integer", "3.5"),
        (9007199254740993, "decimal", "9007199254740993"), (Decimal("1E+3"), "decimal", "1000"), (Decimal("1.50"), "decimal", "1.50"),
        (1, "boolean", "true"), (0.0, "boolean", "false"), (2, "boolean", "2"), ("T", "boolean", "true"), ("yes", "boolean", "yes"), (True, "string", "true"),
        ("2024-01-02 03:04:05", "timestamp", "2024-01-02T03:04:05"), ("2024-01-02 03:04:05.5+01:00", "timestamp", "2024-01-02T03:04:05.5+01:00"), ("soon", "timestamp", "soon"),
        (datetime(2024, 1, 2, 3, tzinfo=UTC), "timestamp", "2024-01-02T03:00:00Z"), (b"\x00\xff", "string", "\\x00ff"), ({"a": [1]}, "json", '{"a": [1]}'),
    ],
)  # fmt: skip
def test_a_cell_becomes_canonical_text(cell: Any, kind: str, text: str | None) -> None:
    assert cell_text(cell, kind) == text
    assert column_text([cell, None], kind).to_pylist() == [text, None]


def test_wide_decimals_have_no_exponent() -> None:
    type_ = parse_type("decimal(38,10)")
    values = [Decimal("1E-10"), Decimal(0), None, Decimal("9999999999999999999999999999.9999999999")]
    texts = array_text(pa.array(values, type_.to_arrow()), type_).to_pylist()
    assert texts == ["0.0000000001", "0.0000000000", None, "9999999999999999999999999999.9999999999"]


def test_spellings_of_one_value_mean_the_same() -> None:
    assert meaning("1.5", parse_type("decimal(5,2)"), "UTC") == meaning(
        Decimal("1.50"), parse_type("decimal(5,2)"), "UTC"
    )
    assert meaning('{"a":1, "b":2}', LogicalType("json"), "UTC") == meaning('{"b":2,"a":1}', LogicalType("json"), "UTC")
    local = meaning("2024-07-01 12:00:00", LogicalType("timestamp"), "Europe/Paris")
    assert local == meaning("2024-07-01T10:00:00Z", LogicalType("timestamp"), "UTC")
    assert meaning("", LogicalType("string"), "UTC") != meaning(None, LogicalType("string"), "UTC")


# https://www.sqlite.org/datatype3.html, section 3.1.1
@pytest.mark.parametrize(
    ("declared", "expected"),
    [("INT", "INTEGER"), ("TINYINT", "INTEGER"), ("UNSIGNED BIG INT", "INTEGER"), ("VARYING CHARACTER(255)", "TEXT"), ("NATIVE CHARACTER(70)", "TEXT"), ("CLOB", "TEXT"), ("BLOB", "BLOB"), ("", "BLOB"), ("REAL", "REAL"), ("DOUBLE PRECISION", "REAL"), ("FLOAT", "REAL"), ("NUMERIC", "NUMERIC"), ("DECIMAL(10,5)", "NUMERIC"), ("BOOLEAN", "NUMERIC"), ("DATE", "NUMERIC"), ("DATETIME", "NUMERIC"), ("FLOATING POINT", "INTEGER"), ("CHARINT", "INTEGER"), ("STRING", "NUMERIC"), ("DECIMAL_TEXT(38,2)", "TEXT")],
)  # fmt: skip
def test_affinities_follow_sqlite_s_own_rules(declared: str, expected: str) -> None:
    assert affinity(declared) == expected


@pytest.mark.parametrize(
    ("declared", "type_"),
    [("DECIMAL(12,2)", "decimal(12,2)"), ("numeric(10)", "decimal(10,0)"), ("DECIMAL_TEXT(38,2)", "decimal(38,2)"), ("DECIMAL(99,2)", "double"), ("BOOLEAN", "boolean"), ("datetime", "timestamp"), ("VARCHAR(9)", "string")],
)  # fmt: skip
def test_sqlite_columns_are_described_by_what_they_declare(declared: str, type_: str) -> None:
    assert str(type_of(declared)) == type_


def test_fifteen_significant_digits_are_what_a_number_column_keeps() -> None:
    type_ = parse_type("decimal(38,4)")
    column = Column(name="v", declared="NUMERIC", type=type_, storage=storage_of("NUMERIC"))
    values = ["0.0001", "99999999999.9999", "123456789012345.6", "100000000000000000000", "-999999999999999", None]
    array = pa.array([None if v is None else Decimal(v) for v in values], type_.to_arrow())
    (found,) = refused(array, column, type_)
    assert found.mask.to_pylist() == [False, False, True, False, False, None]
    assert stored(array, column, type_).to_pylist()[0] == "0.0001"


@pytest.mark.parametrize(
    ("typmod", "expected"), [(-1, (None, None)), ((12 << 16 | 2) + 4, (12, 2)), ((5 << 16 | (2**11 - 3)) + 4, (5, -3))]
)
def test_precision_and_scale_are_read_from_the_type_modifier(
    typmod: int, expected: tuple[int | None, int | None]
) -> None:
    storage = postgres_storage("numeric", typmod)
    assert (storage.precision, storage.scale) == expected


def test_null_is_a_misfit_only_where_the_column_takes_none() -> None:
    array = pa.array(["a", None])
    for nullable, masks in ((True, []), (False, [[False, True]])):
        column = Column(
            name="v",
            declared="text",
            type=LogicalType("string"),
            storage=postgres_storage("text", -1),
            nullable=nullable,
        )
        assert [m.mask.to_pylist() for m in misfits(array, column, LogicalType("string"))] == masks


@pytest.mark.parametrize(
    "text", ["SELECT 1", "with a as (select 1) select * from a", "-- x\n/* y */ (SELECT 1)", "VALUES (1)"]
)
def test_a_query_begins_as_a_select(text: str) -> None:
    assert wrapped(text) == f"(\n{text}\n) AS q"


@pytest.mark.parametrize("text", ["", "DELETE FROM t", "-- SELECT", "/* SELECT", "EXPLAIN SELECT 1", "SET x = 1", "\0"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SyncDataError, match="no SELECT"):
        wrapped(text)


def test_the_nearest_names_are_offered() -> None:
    assert nearest("Client", ["clients", "orders"]) == "Did you mean clients?"
    assert nearest("zzz", ["clients", "orders"]) == "There are: clients, orders."
    assert nearest("zzz", []) == "There are none."
