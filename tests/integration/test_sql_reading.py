"""Reading: cursors, limits, queries, one snapshot."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sql_support import Postgres, Sqlite, columns, get, inserts, put, query, table
from sync_provider.connectors.base import ROW, ColumnRequest, CursorRange, ReadRequest
from sync_provider.core.errors import SyncDataError, SyncError


@pytest.fixture(
    params=["sqlite", *(pytest.param(name, marks=pytest.mark.postgres) for name in ("postgres", "portable"))]
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """``portable``: the way through SQLAlchemy that every other database takes."""
    if request.param == "sqlite":
        return Sqlite(tmp_path / "source.db")
    return Postgres(request.getfixturevalue("postgres_url"), bulk=request.param == "postgres")


START = datetime(2024, 2, 28, 23, 59, 59, 500_000, tzinfo=UTC)
CURSORS: dict[str, list[Any]] = {
    "integer": [-1, 0, 5, 5, 2**60, 2**60 + 1],
    "decimal(30,2)": [Decimal("-0.01"), Decimal("9.00"), Decimal("9.00"), Decimal("10.00"), Decimal("123456789012345678.90")],
    "date": [date(2023, 12, 31), date(2024, 2, 29), date(2024, 2, 29), date(9999, 12, 31)],
    "timestamp": [START, START + timedelta(microseconds=1), START + timedelta(microseconds=1), START + timedelta(hours=1)],
    "string": ["", "A", "a", "a", "é", "𝄞"],
}  # fmt: skip


def text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)


@pytest.mark.parametrize("kind", CURSORS)
def test_bounds_take_the_lower_end_and_leave_the_upper(database: Any, kind: str) -> None:
    values = CURSORS[kind]
    target = columns(code="string", at=kind)
    rows = [{"code": str(n), "at": value} for n, value in enumerate(values)]
    put(table(database.connection), target, *inserts([*reversed(rows), {"code": "none", "at": None}]))
    ranges = [(value, None) for value in values] + [(None, value) for value in values] + [(values[1], values[-1])]
    for since, until in ranges:
        bounds = CursorRange(
            column="at", since=None if since is None else text(since), until=None if until is None else text(until)
        )
        read = get(table(database.connection), target, cursor=bounds)
        expected = [r for r in rows if (since is None or r["at"] >= since) and (until is None or r["at"] < until)]
        assert sorted(r["code"] for r in read) == [r["code"] for r in expected]
        assert [r["at"] for r in read] == [r["at"] for r in expected]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=settings.default.max_examples // 3)
@given(
    moments=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    later=st.lists(st.integers(0, 3), max_size=6),
    data=st.data(),
)
def test_following_a_cursor_skips_no_record_with_an_equal_timestamp(
    database: Any, moments: list[int], later: list[int], data: st.DataObject
) -> None:
    target = columns(code="string", at="timestamp")

    def rows(numbers: list[int], first: int) -> list[dict[str, Any]]:
        return [{"code": str(first + n), "at": START + timedelta(seconds=at)} for n, at in enumerate(numbers)]

    put(table(database.connection), target, *inserts(rows(moments, 0)), mode="replace")
    seen = {r["code"]: r for r in get(table(database.connection), target)}
    cursor = max(r["at"] for r in seen.values())
    top = max(moments)
    # Records that arrive after the first read carry the same time as the last one read, or a later one.
    put(table(database.connection), target, *inserts(rows([top + n for n in later], 100)))
    bounds = CursorRange(column="at", since=text(cursor))
    seen |= {r["code"]: r for r in get(table(database.connection), target, cursor=bounds)}
    assert sorted(seen) == sorted(r["code"] for r in get(table(database.connection), target))


def test_a_limit_with_a_cursor_takes_the_oldest(database: Any) -> None:
    target = columns(code="string", at="timestamp")
    rows = [{"code": f"{n}", "at": START + timedelta(minutes=n)} for n in range(9)]
    put(table(database.connection), target, *inserts(list(reversed(rows))))
    bounds = CursorRange(column="at", since=text(START + timedelta(minutes=3)))
    assert get(table(database.connection), target, cursor=bounds, limit=2) == rows[3:5]


def test_a_cursor_value_that_is_none_is_refused(database: Any) -> None:
    target = columns(code="string", at="integer")
    put(table(database.connection), target, *inserts([{"code": "a", "at": 1}]))
    with pytest.raises(SyncDataError):
        get(table(database.connection), target, cursor=CursorRange(column="at", since="1; DROP TABLE clients"))
    with pytest.raises(SyncDataError, match="no column 'att'"):
        get(table(database.connection), target, cursor=CursorRange(column="att", since="1"))
    assert len(get(table(database.connection), target)) == 1


def test_hostile_cursor_values_are_values(database: Any) -> None:
    target = columns(code="string", at="string")
    put(table(database.connection), target, *inserts([{"code": "a", "at": "' OR 1=1 --"}]))
    assert get(table(database.connection), target, cursor=CursorRange(column="at", since="' OR 1=1 --")) != []
    assert get(table(database.connection), target, cursor=CursorRange(column="at", until="' OR 1=1 --")) == []


@pytest.fixture
def filled(database: Any) -> Any:
    target = columns(code="string", n="integer")
    put(table(database.connection), target, *inserts([{"code": "abc"[i], "n": i} for i in range(3)]))
    return database


@pytest.mark.parametrize(
    "text",
    [
        "SELECT code, n FROM clients",
        "  select code, n from clients ;  ",
        "-- which\nSELECT code, n FROM clients -- all of them",
        "/* a; b */ WITH c AS (SELECT * FROM clients) SELECT code, n FROM c",
        "(SELECT code, n FROM clients)",
        "SELECT code, n FROM clients WHERE code <> ';' ORDER BY n",
    ],
)
def test_a_query_is_read_like_a_table(filled: Any, text: str) -> None:
    target = columns(code="string", n="integer")
    assert get(query(filled.connection, text), target) == [{"code": "abc"[i], "n": i} for i in range(3)]
    bounded = get(query(filled.connection, text), target, cursor=CursorRange(column="n", since="1"), limit=1)
    assert bounded == [{"code": "b", "n": 1}]
    with query(filled.connection, text) as connector:
        assert [c.name for c in connector.describe()] == ["code", "n"]
        assert connector.capabilities.modes == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM clients",
        "SELECT 1; DELETE FROM clients",
        "SELECT 1) AS q; DELETE FROM clients; --",
        "SELECT code FROM clients) AS q; DROP TABLE clients; SELECT * FROM (SELECT 1",
        "WITH gone AS (DELETE FROM clients RETURNING *) SELECT * FROM gone",
        "INSERT INTO clients VALUES ('z', 9)",
        "PRAGMA journal_mode = DELETE",
        "SELECT * FROM",
    ],
)
def test_a_query_that_would_do_anything_else_is_refused(filled: Any, text: str) -> None:
    with pytest.raises(SyncError), query(filled.connection, text) as connector:
        list(connector.read(ReadRequest()))
    assert filled.run("SELECT count(*) FROM clients") == [(3,)]


def test_two_columns_of_one_name_are_refused(filled: Any) -> None:
    with (
        pytest.raises(SyncDataError, match="two columns named 'code'"),
        query(filled.connection, "SELECT code, n AS code FROM clients") as q,
    ):
        q.read(ReadRequest(columns=(ColumnRequest(name="code", type=columns(code="string")[0].type),)))


def test_an_empty_query_result_keeps_its_columns(filled: Any) -> None:
    with query(filled.connection, "SELECT * FROM clients WHERE n > 99") as connector:
        assert [c.name for c in connector.describe()] == ["code", "n"]
        assert sum(b.records.num_rows for b in connector.read(ReadRequest())) == 0


def test_records_are_numbered(filled: Any) -> None:
    with table(filled.connection) as connector:
        rows = [r for b in connector.read(ReadRequest(batch_rows=2)) for r in b.records.to_pylist()]
    assert [r[ROW] for r in rows] == [1, 2, 3]


@pytest.mark.postgres
def test_a_read_is_one_snapshot(postgres_url: str) -> None:
    database = Postgres(postgres_url)
    database.run("CREATE TABLE clients AS SELECT n::text AS code, n FROM generate_series(1, 200000) n")
    with table(database.connection) as connector:
        batches = iter(connector.read(ReadRequest(batch_rows=1000)))
        read = next(batches).records.num_rows
        database.run("DELETE FROM clients")
        assert read + sum(b.records.num_rows for b in batches) == 200_000


def test_a_sqlite_read_that_is_under_way_is_one_snapshot(tmp_path: Path) -> None:
    database = Sqlite(tmp_path / "source.db")
    database.run("PRAGMA journal_mode = WAL", "CREATE TABLE clients (code TEXT, n INTEGER)")
    database.run(
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 5000) INSERT INTO clients SELECT n, n FROM s"
    )
    with table(database.connection) as connector:
        batches = iter(connector.read(ReadRequest(batch_rows=1000)))
        read = next(batches).records.num_rows
        database.run("DELETE FROM clients")
        assert read + sum(b.records.num_rows for b in batches) == 5000
