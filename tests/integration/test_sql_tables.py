"""Tables that others made, alike on every database: constraints, keys, names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sql_support import Postgres, Sqlite, columns, get, inserts, put, table
from sync_provider.core.errors import SyncDataError

TARGET = columns(code="string", n="integer")


def row(code: str, n: int | None) -> dict[str, Any]:
    return {"code": code, "n": n}


@pytest.fixture
def sqlite(tmp_path: Path) -> Sqlite:
    return Sqlite(tmp_path / "target.db")


@pytest.fixture
def postgres(postgres_url: str) -> Postgres:
    return Postgres(postgres_url)


@pytest.fixture
def portable(postgres_url: str) -> Postgres:
    """The way through SQLAlchemy that every other database takes."""
    return Postgres(postgres_url, bulk=False)


@pytest.fixture(
    params=["sqlite", *(pytest.param(name, marks=pytest.mark.postgres) for name in ("postgres", "portable"))]
)
def database(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("mode", ["append", "replace", "upsert", "mirror"])
def test_records_that_violate_a_constraint_are_named_and_the_rest_is_written(database: Any, mode: str) -> None:
    database.run("CREATE TABLE clients (code varchar(9) PRIMARY KEY, n integer CHECK (n < 100))")
    wrong = {3, 17, 18, 64}
    rows = [row(f"k{i:02}", 500 if i in wrong else i) for i in range(70)]
    result = put(table(database.connection), TARGET, *inserts(rows), mode=mode, size=20)
    assert result.inserted == 66
    assert sorted((r.rule, r.key) for r in result.rejections) == [("constraint", f"k{i:02}") for i in sorted(wrong)]
    assert all("500" not in r.message and "check" in r.message.lower() for r in result.rejections)
    assert len(get(table(database.connection), TARGET)) == 66


def test_a_unique_column_outside_the_key_refuses_one_record_only(database: Any) -> None:
    database.run(
        "CREATE TABLE clients (code varchar(9) PRIMARY KEY, n integer UNIQUE)",
        "INSERT INTO clients VALUES ('a', 1), ('b', 2), ('c', 3)",
    )
    changes = (
        ("update", row("a", 3), row("a", 1)),
        ("update", row("b", 20), row("b", 2)),
        ("insert", row("d", 4), None),
    )
    result = put(table(database.connection), TARGET, *changes)
    assert [(r.rule, r.key) for r in result.rejections] == [("constraint", "a")]
    assert (result.inserted, result.updated, result.deferred_keys) == (1, 1, [])
    assert database.run("SELECT code, n FROM clients ORDER BY code") == [("a", 1), ("b", 20), ("c", 3), ("d", 4)]


def test_unique_values_may_move_from_one_record_to_the_next(database: Any) -> None:
    database.run(
        "CREATE TABLE clients (code varchar(9) PRIMARY KEY, n integer UNIQUE)",
        "INSERT INTO clients VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4)",
    )
    changes = (
        ("delete", None, row("d", 4)),
        ("update", row("a", 2), row("a", 1)),
        ("update", row("b", 3), row("b", 2)),
        ("update", row("c", 4), row("c", 3)),
    )
    result = put(table(database.connection), TARGET, *changes, mode="mirror")
    assert (result.rejections, result.updated, result.deleted) == ([], 3, 1)
    assert database.run("SELECT code, n FROM clients ORDER BY code") == [("a", 2), ("b", 3), ("c", 4)]


def test_a_broken_reference_refuses_one_record_only(database: Any) -> None:
    database.run(
        "CREATE TABLE towns (id integer PRIMARY KEY)",
        "INSERT INTO towns VALUES (1), (2)",
        "CREATE TABLE clients (code varchar(9) PRIMARY KEY, n integer REFERENCES towns (id))",
    )
    result = put(table(database.connection), TARGET, *inserts([row("a", 1), row("b", 7), row("c", 2), row("d", None)]))
    assert [(r.rule, r.key) for r in result.rejections] == [("constraint", "b")]
    assert result.inserted == 3


def test_null_where_the_column_takes_none_is_refused_by_name(database: Any) -> None:
    database.run("CREATE TABLE clients (code varchar(9) PRIMARY KEY, n integer NOT NULL)")
    result = put(table(database.connection), TARGET, *inserts([row("a", 1), row("b", None)]))
    assert [(r.rule, r.field, r.key) for r in result.rejections] == [("constraint", "n", "b")]
    assert database.run("SELECT code FROM clients") == [("a",)]


def test_a_column_that_must_be_filled_and_is_not_mapped_stops_the_write(database: Any) -> None:
    database.run("CREATE TABLE clients (code varchar(9) PRIMARY KEY, n integer, owner varchar(9) NOT NULL)")
    with pytest.raises(SyncDataError, match=r"clients\.owner must have a value"):
        put(table(database.connection), TARGET, *inserts([row("a", 1)]))


def test_defaults_fill_columns_that_are_not_mapped(database: Any) -> None:
    database.run(
        "CREATE TABLE clients (code varchar(9) PRIMARY KEY, n integer, owner varchar(9) NOT NULL DEFAULT 'us')"
    )
    put(table(database.connection), TARGET, *inserts([row("a", 1)]))
    assert database.run("SELECT code, n, owner FROM clients") == [("a", 1, "us")]


def test_a_key_without_an_index_works(database: Any) -> None:
    database.run("CREATE TABLE clients (code varchar(9), n integer)", "INSERT INTO clients VALUES ('a', 1), ('b', 2)")
    changes = (("update", row("a", 9), row("a", 1)), ("delete", None, row("b", 2)), ("insert", row("c", 3), None))
    result = put(table(database.connection), TARGET, *changes, mode="mirror")
    assert (result.inserted, result.updated, result.deleted) == (1, 1, 1)
    assert database.run("SELECT code, n FROM clients ORDER BY code") == [("a", 9), ("c", 3)]
    again = put(table(database.connection), TARGET, *changes, mode="mirror")
    assert (again.inserted, again.updated, again.deleted, again.deferred_keys) == (0, 0, 0, [])


def test_a_key_that_stands_twice_is_refused_and_left_alone(database: Any) -> None:
    before = [("a", 1), ("a", 2), ("b", 3)]
    database.run(
        "CREATE TABLE clients (code varchar(9), n integer)", "INSERT INTO clients VALUES ('a', 1), ('a', 2), ('b', 3)"
    )
    changes = (("update", row("a", 9), row("a", 1)), ("update", row("b", 4), row("b", 3)))
    result = put(table(database.connection), TARGET, *changes)
    assert [(r.rule, r.key) for r in result.rejections] == [("duplicate_key", "a")]
    assert result.deferred_keys == []
    assert sorted(database.run("SELECT code, n FROM clients")) == [*before[:2], ("b", 4)]


def test_a_table_is_created_only_where_the_mapping_allows_it(database: Any) -> None:
    database.run("CREATE TABLE customers (code varchar(9) PRIMARY KEY)")
    with pytest.raises(SyncDataError, match="no table customer") as caught:
        put(table(database.connection, "customer", create=False), TARGET, *inserts([row("a", 1)]))
    assert "customers" in str(caught.value)


def test_a_created_table_has_the_mapped_types_and_the_key(database: Any) -> None:
    target = columns(
        code="string", n="integer", d="decimal(12,2)", x="double", f="boolean", day="date", t="timestamp", j="json"
    )
    put(table(database.connection), target)
    with table(database.connection) as connector:
        described = connector.describe()
    # Through SQLAlchemy a document is kept as text: databases disagree about JSON.
    as_text = database.connection.extra.get("bulk") is False
    expected = [(c.name, "string" if as_text and c.type.kind == "json" else str(c.type)) for c in target]
    assert [(c.name, str(c.type)) for c in described] == expected
    assert [c.nullable for c in described] == [False] + [True] * 7
    result = put(
        table(database.connection),
        target[:1],
        ("insert", {"code": "a"}, None),
        ("insert", {"code": "a"}, None),
        mode="append",
    )
    assert (result.inserted, len(result.rejections)) == (1, 1)


HOSTILE = [
    "x; DROP TABLE victim",
    'x"; DROP TABLE victim; --',
    "x'; DROP TABLE victim; --",
    "victim; --",
    'victim" --',
    "main.victim; DROP TABLE victim",
    "x\0y",
    "pg_catalog.pg_class; --",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_table_names_are_refused_and_nothing_runs(database: Any, name: str) -> None:
    database.run("CREATE TABLE victim (code varchar(9) PRIMARY KEY, n integer)", "INSERT INTO victim VALUES ('a', 1)")
    with pytest.raises(SyncDataError):
        put(table(database.connection, name), TARGET, *inserts([row("b", 2)]))
    with pytest.raises(SyncDataError):
        get(table(database.connection, name), TARGET)
    assert database.run("SELECT code, n FROM victim") == [("a", 1)]


@pytest.mark.parametrize("name", ['a" --', "n; DROP TABLE victim", "n) VALUES (1); --", "*"])
def test_hostile_column_names_are_refused_and_nothing_runs(database: Any, name: str) -> None:
    database.run("CREATE TABLE victim (code varchar(9) PRIMARY KEY, n integer)", "INSERT INTO victim VALUES ('a', 1)")
    target = columns(**{"code": "string", name: "integer"})
    with pytest.raises(SyncDataError):
        put(table(database.connection, "victim"), target, ("insert", {"code": "b", name: 2}, None))
    with pytest.raises(SyncDataError):
        get(table(database.connection, "victim"), target)
    assert database.run("SELECT code, n FROM victim") == [("a", 1)]


@pytest.mark.parametrize(
    "name", ["Order", "select", "weiß é", 'say "hi"', "semi;colon", "a.b", "UPPER", "100%", "%s", "it's"]
)
def test_odd_names_that_exist_work(database: Any, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    database.run(f"CREATE TABLE odd (code varchar(9) PRIMARY KEY, {quoted} integer)")
    target = columns(**{"code": "string", name: "integer"})
    put(table(database.connection, "odd"), target, ("insert", {"code": "a", name: 1}, None))
    put(table(database.connection, "odd"), target, ("update", {"code": "a", name: 2}, {"code": "a", name: 1}))
    assert get(table(database.connection, "odd"), target) == [{"code": "a", name: 2}]


def test_replacing_what_others_refer_to_says_what_to_do_instead(database: Any) -> None:
    database.run(
        "CREATE TABLE clients (code varchar(9) PRIMARY KEY, n integer)",
        "INSERT INTO clients VALUES ('a', 1)",
        "CREATE TABLE orders (client varchar(9) REFERENCES clients (code))",
        "INSERT INTO orders VALUES ('a')",
    )
    with pytest.raises(SyncDataError, match="write: mirror"):
        put(table(database.connection), TARGET, *inserts([row("a", 2)]), mode="replace")
    assert database.run("SELECT code, n FROM clients") == [("a", 1)]


def test_a_view_is_read_and_not_written(database: Any) -> None:
    database.run(
        "CREATE TABLE clients (code varchar(9) PRIMARY KEY, n integer)",
        "INSERT INTO clients VALUES ('a', 1)",
        "CREATE VIEW seen AS SELECT * FROM clients",
    )
    assert get(table(database.connection, "seen"), TARGET) == [row("a", 1)]
    with pytest.raises(SyncDataError, match="no ordinary table"):
        put(table(database.connection, "seen"), TARGET, *inserts([row("b", 2)]))
