"""What only PostgreSQL has: its types, schemas, grants, triggers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sql_support import Postgres, columns, get, inserts, put, table
from sync_provider.connectors.base import CursorRange
from sync_provider.core.errors import SyncDataError

pytestmark = pytest.mark.postgres
TARGET = columns(code="string", n="integer")


def row(code: str, n: int | None) -> dict[str, Any]:
    return {"code": code, "n": n}


@pytest.fixture
def postgres(postgres_url: str) -> Postgres:
    return Postgres(postgres_url)


@pytest.mark.parametrize(
    ("declared", "kind", "good", "bad"),
    [
        ("varchar(3)", "string", ["", "abc", "é𝄞x"], ["abcd"]),
        ("char(3)", "string", ["abc", "a"], ["a ", "abcd"]),
        ("smallint", "integer", [-32768, 32767], [32768, -32769]),
        ("integer", "integer", [-(2**31), 2**31 - 1], [2**31]),
        ("bigint", "decimal(30,2)", [Decimal(2**63 - 1), Decimal(-(2**63))], [Decimal(2**63), Decimal("1.50")]),
        ("numeric(5,2)", "decimal(12,4)", [Decimal("999.9900"), Decimal("-0.5000")], [Decimal("0.0050"), Decimal("1000.0000")]),
        ("numeric(5,0)", "integer", [99999], [100000]),
        ("numeric", "decimal(38,10)", [Decimal("1234567890123456789012345678.0123456789")], []),
        ("numeric", "double", [0.1, 1e300, -2.5], []),
        ("real", "double", [0.1, 0.5, 1e10], [0.1 + 1e-9]),
        ("double precision", "integer", [2**53], [2**53 + 1]),
        ("uuid", "string", ["123e4567-e89b-12d3-a456-426614174000"], ["x"]),
        ("mood", "string", ["sad", "ok"], ["angry"]),
        ("short", "string", ["abc"], ["abcd"]),
        ("timestamp", "timestamp", [datetime(2024, 3, 31, 2, 30, tzinfo=UTC)], []),
        ("timestamp(3) with time zone", "timestamp", [datetime(2024, 1, 1, 0, 0, 0, 5000, tzinfo=UTC)], [datetime(2024, 1, 1, 0, 0, 0, 5001, tzinfo=UTC)]),
        ("text", "decimal(12,2)", [Decimal("1.50")], []),
        ("text", "timestamp", [datetime(2024, 1, 1, tzinfo=UTC)], []),
        ("text", "boolean", [True, False], []),
        ("json", "json", ['{"b": 1, "a": [1.0]}'], []),
        ("jsonb", "json", ['{"a": 1}'], ['"\\u0000"']),
        ("citext", "string", ["Paris"], []),
    ],
)  # fmt: skip
def test_values_fit_exactly_or_are_refused_one_by_one(
    postgres: Postgres, declared: str, kind: str, good: list[Any], bad: list[Any]
) -> None:
    postgres.run(
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE DOMAIN short AS varchar(3)",
        "CREATE EXTENSION IF NOT EXISTS citext",
        f"CREATE TABLE clients (code text PRIMARY KEY, v {declared})",
    )
    target = columns(code="string", v=kind)
    rows = [{"code": f"{n:03}", "v": value} for n, value in enumerate([*good, None, *bad])]
    result = put(table(postgres.connection), target, *inserts(rows))
    assert [r.key for r in result.rejections] == [r["code"] for r in rows[len(good) + 1 :]]
    kept = rows[: len(good) + 1]
    assert get(table(postgres.connection), target) == kept
    empty = [("update", {**r, "v": None}, r) for r in kept]
    cleared = put(table(postgres.connection), target, *empty)
    assert (cleared.updated, cleared.deferred_keys) == (len(good), [])
    appended = put(table(postgres.connection, "more"), target, *inserts(kept), mode="append")
    assert appended.inserted == len(kept)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [("integer", "string"), ("boolean", "integer"), ("numeric(5,2)", "double"), ("text[]", "string"), ("date", "timestamp"), ("bytea", "string"), ("interval", "string"), ("integer GENERATED ALWAYS AS (1) STORED", "integer"), ("integer GENERATED ALWAYS AS IDENTITY", "integer")],
)  # fmt: skip
def test_a_column_that_cannot_hold_the_type_stops_the_write_before_it_begins(
    postgres: Postgres, declared: str, kind: str
) -> None:
    postgres.run(f"CREATE TABLE clients (code text PRIMARY KEY, v {declared})")
    with pytest.raises(SyncDataError, match=r"clients\.v cannot take"):
        put(table(postgres.connection), columns(code="string", v=kind), ("insert", {"code": "a", "v": None}, None))
    assert postgres.run("SELECT count(*) FROM clients") == [(0,)]


def test_every_postgres_type_reads_as_exact_values_or_text(postgres: Postgres) -> None:
    cells = {
        "i2": ("smallint '-5'", -5), "i4": ("integer '7'", 7), "i8": ("bigint '9007199254740993'", 9007199254740993),
        "n": ("numeric '12345678901234567890.5'", "12345678901234567890.5"), "np": ("numeric(12,2) '1.5'", Decimal("1.50")),
        "f4": ("real '0.1'", 0.1), "f8": ("double precision '0.1'", 0.1), "b": ("true", True), "d": ("date '2024-02-29'", date(2024, 2, 29)),
        "ts": ("timestamp '2024-01-01 10:00'", datetime.fromisoformat("2024-01-01T10:00")), "tz": ("timestamptz '2024-01-01 10:00+02'", datetime(2024, 1, 1, 8, tzinfo=UTC)),
        "t": ("text ''", ""), "c": ("char(4) 'ab'", "ab"), "j": ("""jsonb '{"b": [1.10], "a": "é"}'""", '{"a": "é", "b": [1.10]}'), "js": ("""json '{"b":  1}'""", '{"b":  1}'),
        "u": ("uuid '123e4567-e89b-12d3-a456-426614174000'", "123e4567-e89b-12d3-a456-426614174000"), "by": (r"bytea '\x00ff'", "\\x00ff"),
        "a": ("ARRAY['x', NULL, 'é\"']", '["x",null,"é\\""]'), "iv": ("interval '1 day 2 hours'", "1 day 02:00:00"), "tm": ("time '10:00'", "10:00:00"),
        "inet": ("inet '10.0.0.1'", "10.0.0.1/32"), "r": ("int4range '[1,5)'", "[1,5)"), "nothing": ("NULL::integer", None),
    }  # fmt: skip
    postgres.run(
        "CREATE TABLE clients AS SELECT " + ", ".join(f"{text} AS {name}" for name, (text, _) in cells.items())
    )
    from sync_provider.connectors.base import ReadRequest

    with table(postgres.connection) as connector:
        (record,) = [r for batch in connector.read(ReadRequest()) for r in batch.records.to_pylist()]
    assert {name: record[name] for name in cells} == {name: value for name, (_, value) in cells.items()}


def test_values_without_a_canonical_form_are_refused_one_by_one(postgres: Postgres) -> None:
    postgres.run(
        "CREATE TABLE clients (code text, d date, t timestamptz, n numeric(10,2))",
        "INSERT INTO clients VALUES ('ok', '9999-12-31', '0001-01-01 00:00+00', 1), ('d', 'infinity', NULL, 1), "
        "('t', NULL, '-infinity', 2), ('bc', '0044-03-15 BC', NULL, 1), ('n', NULL, NULL, 'NaN'), ('far', '10000-01-01', NULL, 1)",
    )
    from sync_provider.connectors.base import ColumnRequest, ReadRequest

    target = columns(code="string", d="date", t="timestamp", n="decimal(10,2)")
    with table(postgres.connection) as connector:
        batches = list(
            connector.read(ReadRequest(columns=tuple(ColumnRequest(name=c.name, type=c.type) for c in target)))
        )
    assert [r["code"] for batch in batches for r in batch.records.to_pylist()] == ["ok"]
    refused = [r for batch in batches for r in batch.rejections]
    assert [(r.rule, r.field, r.where.row) for r in refused] == [("convert", "d", 2), ("convert", "t", 3), ("convert", "d", 4), ("convert", "n", 5), ("convert", "d", 6)]  # fmt: skip


def test_another_schema_is_addressed_by_name(postgres: Postgres) -> None:
    postgres.run("CREATE SCHEMA sales", "CREATE TABLE clients (code text PRIMARY KEY, n bigint)")
    put(table(postgres.connection, "sales.clients"), TARGET, *inserts([row("a", 1)]))
    assert postgres.run("SELECT code, n FROM sales.clients") == [("a", 1)]
    assert postgres.run("SELECT count(*) FROM clients") == [(0,)]


def test_replacing_keeps_grants_indexes_views_and_identity(postgres: Postgres) -> None:
    postgres.run(
        "DROP ROLE IF EXISTS sync_reader", "CREATE ROLE sync_reader",
        "CREATE TABLE clients (id bigserial, code text PRIMARY KEY, n bigint)", "CREATE INDEX by_n ON clients (n)",
        "GRANT SELECT ON clients TO sync_reader", "CREATE VIEW seen AS SELECT code FROM clients", "INSERT INTO clients (code, n) VALUES ('old', 1)",
    )  # fmt: skip
    put(table(postgres.connection), TARGET, *inserts([row("new", 2)]), mode="replace")
    assert postgres.run("SELECT * FROM seen") == [("new",)]
    assert postgres.run(
        "SELECT has_table_privilege('sync_reader', 'clients', 'SELECT'), to_regclass('by_n') IS NOT NULL"
    ) == [(True, True)]
    postgres.run("DROP OWNED BY sync_reader", "DROP ROLE sync_reader")


def test_a_trigger_that_swallows_records_is_noticed(postgres: Postgres) -> None:
    postgres.run(
        "CREATE TABLE clients (code text PRIMARY KEY, n bigint)",
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER swallow BEFORE INSERT ON clients FOR EACH ROW WHEN (new.n = 2) EXECUTE FUNCTION swallow()",
    )
    result = put(table(postgres.connection), TARGET, *inserts([row("a", 1), row("b", 2)]))
    assert (result.inserted, result.deferred_keys) == (1, ["b"])
    with pytest.raises(SyncDataError, match=r"holds 1 records|took 1 records"):
        put(table(postgres.connection), TARGET, *inserts([row("c", 1), row("d", 2)]), mode="replace")
    assert postgres.run("SELECT code FROM clients") == [("a",)]


def test_times_without_a_zone_are_local_to_the_mapping(postgres: Postgres) -> None:
    target = columns(code="string", at="timestamp")
    postgres.run(
        "CREATE TABLE clients (code text PRIMARY KEY, at timestamp)",
        "INSERT INTO clients VALUES ('a', '2024-07-01 12:00')",
    )
    summer, second_time = datetime(2024, 7, 1, 10, tzinfo=UTC), datetime(2024, 10, 27, 1, 30, tzinfo=UTC)
    changes = [
        ("update", {"code": "a", "at": summer.replace(hour=11)}, {"code": "a", "at": summer}),
        ("insert", {"code": "b", "at": second_time}, None),
        ("insert", {"code": "c", "at": datetime(9999, 12, 31, 23, 30, tzinfo=UTC)}, None),
    ]
    result = put(table(postgres.connection), target, *changes, timezone="Europe/Paris")
    assert (result.updated, result.deferred_keys) == (1, [])
    assert [(r.key, r.field) for r in result.rejections] == [("b", "at"), ("c", "at")]
    assert postgres.run("SELECT at::text FROM clients") == [("2024-07-01 13:00:00",)]


def test_bounds_on_times_without_a_zone_lose_no_record_wherever_the_mapping_is(postgres: Postgres) -> None:
    target = columns(code="string", at="timestamp")
    postgres.run(
        "CREATE TABLE clients (code text, at timestamp)", "INSERT INTO clients VALUES ('a', '2024-07-01 00:00')"
    )
    for offset in range(-12, 15):
        instant = datetime(2024, 7, 1, tzinfo=UTC) - timedelta(hours=offset)
        bounds = CursorRange(
            column="at", since=instant.isoformat(), until=(instant + timedelta(microseconds=1)).isoformat()
        )
        assert len(get(table(postgres.connection), target, cursor=bounds)) == 1
