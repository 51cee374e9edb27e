"""Whatever is written reads back as it was; whatever cannot be stored is refused by name; doing it again changes nothing."""

from __future__ import annotations

import itertools
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sql_support import columns, get, inserts, postgres_connection, put, sqlite_connection, table

TARGET = columns(
    code="string",
    text="string",
    whole="integer",
    money="decimal(12,2)",
    wide="decimal(38,10)",
    huge="decimal(38,0)",
    real="double",
    flag="boolean",
    day="date",
    moment="timestamp",
    document="json",
)

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.sampled_from(
        [
            "",
            " ",
            "001",
            "1e5",
            "9007199254740993",
            "NULL",
            "\\N",
            "\\.",
            '"',
            "a,b\nc",
            "é",
            "e\u0301",
            "x ",
            "\r\n",
            "0x1F",
            "-0",
            "inf",
        ]
    ),
)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    return st.integers(-limit, limit).map(lambda n: Decimal(f"{n}e-{scale}"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=32), max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
).map(lambda value: json.dumps(value, ensure_ascii=False))

RECORD = st.fixed_dictionaries(
    {
        "text": st.none() | TEXTS,
        "whole": st.none() | st.integers(-(2**63), 2**63 - 1),
        "money": st.none() | decimals(12, 2),
        "wide": st.none() | decimals(38, 10),
        "huge": st.none() | decimals(38, 0),
        "real": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "flag": st.none() | st.booleans(),
        "day": st.none() | st.dates(),
        "moment": st.none() | st.datetimes(timezones=st.just(UTC)),
        "document": st.none() | JSON,
    }
)
RECORDS = st.dictionaries(TEXTS, RECORD, max_size=6).map(
    lambda rows: [{"code": code, **row} for code, row in rows.items()]
)

# The database is shared by the examples of one test; each example has a table of its own.
own_table = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=settings.default.max_examples // 3,  # each one writes and reads a real table several times
)
_names = (f"t{n}" for n in itertools.count())


@pytest.fixture(
    params=["sqlite", *(pytest.param(name, marks=pytest.mark.postgres) for name in ("postgres", "portable"))]
)
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """``portable``: the way through SQLAlchemy that every other database takes."""
    if request.param == "sqlite":
        return sqlite_connection(tmp_path / "target.db")
    return postgres_connection(request.getfixturevalue("postgres_url"), bulk=request.param == "postgres")


def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Documents by what they say; signed zeros are one number."""
    shown = [
        {**row, "document": None if row["document"] is None else json.loads(row["document"]), "real": row["real"] and row["real"] + 0.0}
        for row in rows
    ]  # fmt: skip
    return sorted(shown, key=lambda row: row["code"])


@own_table
@given(records=RECORDS, mode=st.sampled_from(["append", "replace", "upsert", "mirror"]), size=st.integers(1, 4))
def test_what_was_written_reads_back(connection: Any, records: list[dict[str, Any]], mode: str, size: int) -> None:
    name = next(_names)
    result = put(table(connection, name), TARGET, *inserts(records), mode=mode, size=size)
    assert result.rejections == []
    assert result.inserted == len(records)
    assert comparable(get(table(connection, name), TARGET)) == comparable(records)


@own_table
@given(before=RECORDS, after=RECORDS, cut=st.integers(0, 12))
def test_applying_a_part_and_then_the_whole_ends_where_the_whole_does(
    connection: Any, before: list[dict[str, Any]], after: list[dict[str, Any]], cut: int
) -> None:
    old, new = ({row["code"]: row for row in rows} for rows in (before, after))
    changes: list[Any] = [("insert", row, None) for code, row in new.items() if code not in old]
    changes += [("update", row, old[code]) for code, row in new.items() if code in old]
    changes += [("delete", None, row) for code, row in old.items() if code not in new]
    name = next(_names)
    put(table(connection, name), TARGET, *inserts(before))
    put(table(connection, name), TARGET, *changes[:cut], mode="mirror")
    whole = put(table(connection, name), TARGET, *changes, mode="mirror")
    assert whole.deferred_keys == []
    assert whole.rejections == []
    assert comparable(get(table(connection, name), TARGET)) == comparable(after)
    again = put(table(connection, name), TARGET, *changes, mode="mirror")
    assert (again.inserted, again.updated, again.deleted, again.deferred_keys) == (0, 0, 0, [])


@own_table
@given(
    there=st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2)),
    planned=st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2)),
    wanted=st.dictionaries(st.sampled_from("abcde"), st.integers(0, 2)),
)
def test_a_record_changed_since_the_plan_is_deferred_and_never_overwritten(
    connection: Any, there: dict[str, int], planned: dict[str, int], wanted: dict[str, int]
) -> None:
    target = columns(code="string", n="integer")

    def row(code: str, n: int) -> dict[str, Any]:
        return {"code": code, "n": n}

    changes: list[Any] = [("insert", row(c, n), None) for c, n in wanted.items() if c not in planned]
    changes += [("update", row(c, n), row(c, planned[c])) for c, n in wanted.items() if c in planned]
    changes += [("delete", None, row(c, n)) for c, n in planned.items() if c not in wanted]
    name = next(_names)
    put(table(connection, name), target, *inserts([row(c, n) for c, n in there.items()]))
    result = put(table(connection, name), target, *changes, mode="mirror")

    expected, deferred = dict(there), set()
    for code in planned.keys() | wanted.keys():
        now, base, goal = there.get(code), planned.get(code), wanted.get(code)
        if now == goal:
            continue
        if now != base:
            deferred.add(code)
        elif goal is None:
            del expected[code]
        else:
            expected[code] = goal
    assert {r["code"]: r["n"] for r in get(table(connection, name), target)} == expected
    assert set(result.deferred_keys) == deferred
    assert len(result.deferred_keys) == len(deferred)


@own_table
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=0, max_size=6), where=st.integers(0, 6))
def test_nul_is_kept_or_refused_by_name(connection: Any, text: str, where: int) -> None:
    target = columns(code="string", text="string")
    nasty = text[:where] + "\0" + text[where:]
    name = next(_names)
    rows = [{"code": "bad", "text": nasty}, {"code": "good", "text": "x"}]
    result = put(table(connection, name), target, *inserts(rows))
    kept = {row["code"]: row["text"] for row in get(table(connection, name), target)}
    if result.rejections:
        (rejection,) = result.rejections
        assert (rejection.rule, rejection.field, rejection.key, rejection.value) == ("constraint", "text", "bad", nasty)
        assert "NUL" in rejection.message
        assert kept == {"good": "x"}
    else:
        assert kept == {"bad": nasty, "good": "x"}


@own_table
@given(value=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_special_doubles_are_kept_or_refused_by_name(connection: Any, value: float) -> None:
    target = columns(code="string", real="double")
    name = next(_names)
    result = put(table(connection, name), target, *inserts([{"code": "a", "real": value}]))
    with table(connection, name) as connector:
        from sync_provider.connectors.base import ReadRequest

        kept = [row["real"] for batch in connector.read(ReadRequest()) for row in batch.records.to_pylist()]
    if result.rejections:
        assert (result.rejections[0].field, kept) == ("real", [])
    else:
        assert [str(each) for each in kept] == [str(value)]


KEYS = {
    "integer": st.integers(-(2**63), 2**63 - 1),
    "decimal(20,3)": decimals(20, 3),
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "boolean": st.booleans(),
    "string": TEXTS,
}


@own_table
@given(data=st.data())
def test_keys_of_every_type_find_their_record(connection: Any, data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=2))
    target = columns(**{f"k{i}": kind for i, kind in enumerate(kinds)}, n="integer")
    key = tuple(f"k{i}" for i in range(len(kinds)))
    keys = data.draw(st.lists(st.tuples(*(KEYS[kind] for kind in kinds)), unique=True, max_size=5))
    rows = [dict(zip(key, parts, strict=True)) | {"n": i} for i, parts in enumerate(keys)]
    name = next(_names)
    put(table(connection, name), target, *inserts(rows), key=key)
    changed = [("update", {**row, "n": row["n"] + 100}, row) for row in rows]
    result = put(table(connection, name), target, *changed, key=key)
    assert (result.updated, result.deferred_keys) == (len(rows), [])
    moved = put(table(connection, name), target, *(("update", {**row, "n": -1}, row) for row in rows), key=key)
    assert sorted(moved.deferred_keys) == sorted("\x1f".join(_spelt(part) for part in parts) for parts in keys)


def _spelt(part: Any) -> str:
    if isinstance(part, bool):
        return "true" if part else "false"
    if isinstance(part, datetime):
        text = part.replace(tzinfo=None).isoformat()
        return (text.rstrip("0") if part.microsecond else text) + "Z"
    return part.isoformat() if isinstance(part, date) else str(part) if not isinstance(part, Decimal) else f"{part:f}"
