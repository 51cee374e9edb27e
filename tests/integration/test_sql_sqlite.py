"""What only SQLite has: cells of any type, affinities, other spellings."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sql_support import Sqlite, columns, get, inserts, put, table
from sync_provider.core.errors import SyncDataError

TARGET = columns(code="string", n="integer")


def row(code: str, n: int | None) -> dict[str, Any]:
    return {"code": code, "n": n}


@pytest.fixture
def sqlite(tmp_path: Path) -> Sqlite:
    return Sqlite(tmp_path / "target.db")


@pytest.mark.parametrize(
    ("declared", "kind", "cell", "value", "new"),
    [
        ("TEXT", "decimal(12,2)", "'1.5'", Decimal("1.50"), Decimal("2.00")),
        ("TEXT", "integer", "'007'", 7, 8),
        ("TEXT", "timestamp", "'2024-01-02T03:04:05+01:00'", datetime(2024, 1, 2, 2, 4, 5, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
        ("DATETIME", "timestamp", "'2024-01-02 03:04'", datetime(2024, 1, 2, 3, 4, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)),
        ("TEXT", "boolean", "'t'", True, False),
        ("", "boolean", "1", True, False),
        ("DATE", "date", "'2024-02-29'", date(2024, 2, 29), date(2024, 3, 1)),
        ("NUMERIC", "decimal(12,2)", "12", Decimal("12.00"), Decimal("12.34")),
        ("REAL", "decimal(12,2)", "0.1", Decimal("0.10"), Decimal("0.30")),
        ("JSON", "json", "'{\"b\": 1,  \"a\": 2}'", '{"b": 1,  "a": 2}', '{"a": 3}'),
        ("INTEGER", "double", "3", 3.0, 3.5),
    ],
)  # fmt: skip
def test_spellings_of_others_are_read_compared_and_replaced(
    sqlite: Sqlite, declared: str, kind: str, cell: str, value: Any, new: Any
) -> None:
    sqlite.run(
        f"CREATE TABLE clients (code TEXT PRIMARY KEY, v {declared})",
        f"INSERT INTO clients VALUES ('a', {cell}), ('b', {cell})",
    )
    target = columns(code="string", v=kind)
    read = get(table(sqlite.connection), target)
    assert read == [{"code": "a", "v": value}, {"code": "b", "v": value}]
    changes = (("update", {"code": "a", "v": new}, read[0]), ("delete", None, read[1]))
    result = put(table(sqlite.connection), target, *changes, mode="mirror")
    assert (result.updated, result.deleted, result.deferred_keys) == (1, 1, [])
    assert get(table(sqlite.connection), target) == [{"code": "a", "v": new}]


def test_mixed_cells_of_one_column_are_all_read(sqlite: Sqlite) -> None:
    sqlite.run(
        "CREATE TABLE clients (code TEXT PRIMARY KEY, v)",
        "INSERT INTO clients VALUES ('1', 1), ('2', 2.5), ('3', '9007199254740993'), ('4', NULL), ('5', 9007199254740993), ('6', '0.10')",
    )
    read = get(table(sqlite.connection), columns(code="string", v="decimal(20,2)"))
    exact = [
        Decimal(1),
        Decimal("2.5"),
        Decimal(9007199254740993),
        None,
        Decimal(9007199254740993),
        Decimal("0.10"),
    ]
    assert [r["v"] for r in read] == exact


def test_decimals_beyond_fifteen_digits_are_refused_by_a_number_column(sqlite: Sqlite) -> None:
    sqlite.run("CREATE TABLE clients (code TEXT PRIMARY KEY, v DECIMAL(20,2))")
    target = columns(code="string", v="decimal(20,2)")
    values = {
        "ok": Decimal("9999999999999.99"),
        "zeros": Decimal("100000000000000000.00"),
        "bad": Decimal("99999999999999.99"),
    }
    result = put(table(sqlite.connection), target, *inserts([{"code": c, "v": v} for c, v in values.items()]))
    assert [(r.key, r.field) for r in result.rejections] == [("bad", "v")]
    kept = {r["code"]: r["v"] for r in get(table(sqlite.connection), target)}
    assert kept == {name: value for name, value in values.items() if name != "bad"}


@pytest.mark.parametrize("declared", ["STRING", "INTEGER", "REAL", "NUMERIC"])
def test_texts_are_kept_out_of_columns_that_would_turn_them_into_numbers(sqlite: Sqlite, declared: str) -> None:
    sqlite.run(f"CREATE TABLE clients (code {declared}, n INTEGER)")
    with pytest.raises(SyncDataError, match="declare it TEXT"):
        put(table(sqlite.connection), TARGET, *inserts([row("001", 1)]))


def test_case_insensitive_columns_still_tell_a_changed_case(sqlite: Sqlite) -> None:
    sqlite.run(
        "CREATE TABLE clients (code TEXT PRIMARY KEY, v TEXT COLLATE NOCASE)",
        "INSERT INTO clients VALUES ('a', 'Paris'), ('b', 'LYON')",
    )
    target = columns(code="string", v="string")
    changes = (
        ("update", {"code": "a", "v": "PARIS"}, {"code": "a", "v": "Paris"}),
        ("update", {"code": "b", "v": "x"}, {"code": "b", "v": "Lyon"}),
    )
    result = put(table(sqlite.connection), target, *changes)
    assert (result.updated, result.deferred_keys) == (1, ["b"])
    assert sqlite.run("SELECT v FROM clients ORDER BY code") == [("PARIS",), ("LYON",)]


def test_tables_without_row_numbers_and_strict_tables_are_written(sqlite: Sqlite) -> None:
    sqlite.run(
        "CREATE TABLE clients (code TEXT PRIMARY KEY, n INTEGER) STRICT, WITHOUT ROWID",
        "INSERT INTO clients VALUES ('a', 1), ('b', 2)",
    )
    changes = (("update", row("a", 5), row("a", 1)), ("delete", None, row("b", 2)), ("insert", row("c", 3), None))
    result = put(table(sqlite.connection), TARGET, *changes, mode="mirror")
    assert (result.inserted, result.updated, result.deleted) == (1, 1, 1)
    target = columns(code="string", n="decimal(5,2)")
    refused = put(
        table(sqlite.connection),
        target,
        *inserts([{"code": "d", "n": Decimal("1.50")}, {"code": "e", "n": Decimal("2.00")}]),
    )
    assert [r.key for r in refused.rejections] == ["d"]
    assert sqlite.run("SELECT code, n FROM clients") == [("a", 5), ("c", 3), ("e", 2)]


def test_bytes_are_shown_in_hexadecimal(sqlite: Sqlite) -> None:
    sqlite.run("CREATE TABLE clients (code TEXT, n BLOB)", "INSERT INTO clients VALUES ('a', x'00ff')")
    assert get(table(sqlite.connection), columns(code="string", n="string")) == [{"code": "a", "n": "\\x00ff"}]


def test_text_that_is_no_utf_8_is_an_error_without_the_text(sqlite: Sqlite) -> None:
    sqlite.run(
        "CREATE TABLE clients (code TEXT, n TEXT)", "INSERT INTO clients VALUES ('a', CAST(x'73656372e974' AS TEXT))"
    )
    with pytest.raises(SyncDataError, match="no UTF-8") as caught:
        get(table(sqlite.connection), columns(code="string", n="string"))
    assert "secr" not in str(caught.value)


PARIS = "Europe/Paris"
SUMMER = datetime(2024, 7, 1, 10, 0, tzinfo=UTC)
SECOND_TIME = datetime(2024, 10, 27, 1, 30, tzinfo=UTC)  # clocks in Paris show 02:30 again


def test_times_keep_to_the_column_s_habit_of_naming_a_zone_or_not(sqlite: Sqlite) -> None:
    target = columns(code="string", at="timestamp")
    sqlite.run(
        "CREATE TABLE clients (code TEXT PRIMARY KEY, at DATETIME)",
        "INSERT INTO clients VALUES ('a', '2024-07-01 12:00:00')",
    )
    changes = [
        ("update", {"code": "a", "at": SUMMER.replace(hour=11)}, {"code": "a", "at": SUMMER}),
        ("insert", {"code": "b", "at": SECOND_TIME}, None),
    ]
    result = put(table(sqlite.connection), target, *changes, timezone=PARIS)
    assert (result.updated, result.deferred_keys) == (1, [])
    assert [(r.key, r.field) for r in result.rejections] == [("b", "at")]
    assert "show this time twice" in result.rejections[0].message
    assert sqlite.run("SELECT at FROM clients") == [("2024-07-01 13:00:00",)]


def test_times_in_our_own_tables_are_instants(sqlite: Sqlite) -> None:
    target = columns(code="string", at="timestamp")
    rows = [{"code": "a", "at": SECOND_TIME}, {"code": "b", "at": SUMMER.replace(microsecond=120)}]
    assert put(table(sqlite.connection), target, *inserts(rows), timezone=PARIS).rejections == []
    cells = [("2024-10-27 01:30:00+00:00",), ("2024-07-01 10:00:00.000120+00:00",)]
    assert sqlite.run("SELECT at FROM clients") == cells
    assert sqlite.run("SELECT datetime(at) FROM clients WHERE code = 'a'") == [("2024-10-27 01:30:00",)]
    assert get(table(sqlite.connection), target) == rows
