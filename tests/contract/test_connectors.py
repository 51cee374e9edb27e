"""What every connector does alike. How to plug one in: see `harness.py`."""

from __future__ import annotations

import importlib
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from contract.harness import COLUMNS, KEY, Harness, changes, record
from sync_provider.connectors.base import (
    COORDINATES,
    FILE,
    ROW,
    ColumnRequest,
    Connector,
    ReadRequest,
    WriteRequest,
    WriteResult,
)
from sync_provider.core.errors import SyncDataError, SyncError


def _harness_classes() -> list[Any]:
    modules = sorted(path.stem for path in Path(__file__).parent.glob("fixtures_*.py"))
    found = [cls for module in modules for cls in importlib.import_module(f"contract.{module}").HARNESSES]
    return [pytest.param(cls, id=cls.name, marks=[pytest.mark.postgres] if cls.needs_postgres else []) for cls in found]


@pytest.fixture(params=_harness_classes())
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    made: Harness = request.param(tmp_path, request)
    return made


def request_all(**options: Any) -> ReadRequest:
    return ReadRequest(columns=tuple(ColumnRequest(name=c.name, type=c.type) for c in COLUMNS), **options)


def read_all(harness: Harness, request: ReadRequest | None = None) -> list[dict[str, Any]]:
    with harness.open() as connector:
        return [row for batch in connector.read(request or request_all()) for row in batch.records.to_pylist()]


def write(harness: Harness, mode: Any, *rows: Any, **options: Any) -> WriteResult:
    request = WriteRequest(mode=mode, columns=COLUMNS, key=KEY, run_id="01J00000000000000000000000", **options)
    with harness.open() as connector:
        if mode not in connector.capabilities.modes:
            pytest.skip(f"{harness.name} has no mode {mode}")
        return connector.write(request, changes(*rows))


def typed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Raw rows as Python values, by the rules of canonical text alone."""
    return [{c.name: _value(row[c.name], c.type.kind) for c in COLUMNS} for row in rows]


def _value(raw: Any, kind: str) -> Any:
    if not isinstance(raw, str):
        return raw
    if kind == "timestamp":
        moment = datetime.fromisoformat(raw)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    read = {
        "decimal": Decimal,
        "integer": int,
        "double": float,
        "date": date.fromisoformat,
        "boolean": {"true": True, "false": False}.__getitem__,
    }
    return read.get(kind, str)(raw)


A, B, C = record("001"), record("1e5", balance=Decimal("-0.05")), record("é ", name=None, active=False)


def test_a_connector_follows_the_protocol(harness: Harness) -> None:
    with harness.open() as connector:
        assert isinstance(connector, Connector)
        assert connector.capabilities.resource
        assert connector.capabilities.modes <= {"append", "replace", "upsert", "mirror"}


def test_two_connectors_on_the_same_data_take_the_same_lease(harness: Harness) -> None:
    with harness.open() as one, harness.open() as other:
        assert one.capabilities.resource == other.capabilities.resource


def test_describing_what_does_not_exist_gives_no_columns(harness: Harness) -> None:
    with harness.open() as connector:
        assert connector.describe() == []


def test_describing_gives_the_columns_in_order(harness: Harness) -> None:
    harness.seed(COLUMNS, [A])
    with harness.open() as connector:
        assert [c.name for c in connector.describe()] == [c.name for c in COLUMNS]


def test_reading_gives_every_record_exactly(harness: Harness) -> None:
    harness.seed(COLUMNS, [A, B, C])
    assert typed(read_all(harness)) == [A, B, C]


def test_raw_batches_carry_coordinates(harness: Harness) -> None:
    harness.seed(COLUMNS, [A, B])
    rows = read_all(harness)
    assert all(name in row for row in rows for name in COORDINATES)
    assert rows[0][ROW] is None or rows[0][ROW] < rows[1][ROW]
    assert FILE in rows[0]


def test_null_and_empty_text_are_told_apart(harness: Harness) -> None:
    harness.seed(COLUMNS, [record("1", name=""), record("2", name=None)])
    empty = "" if harness.keeps_empty_text else None
    assert [row["name"] for row in read_all(harness)] == [empty, None]


def test_a_batch_has_at_most_the_rows_asked_for(harness: Harness) -> None:
    harness.seed(COLUMNS, [record(str(n)) for n in range(25)])
    with harness.open() as connector:
        sizes = [batch.records.num_rows for batch in connector.read(request_all(batch_rows=10))]
    assert sum(sizes) == 25
    assert max(sizes) <= 10


def test_reading_stops_at_the_limit(harness: Harness) -> None:
    harness.seed(COLUMNS, [record(str(n)) for n in range(25)])
    assert [row["code"] for row in read_all(harness, request_all(limit=7))] == [str(n) for n in range(7)]


def test_reading_without_columns_gives_all_of_them(harness: Harness) -> None:
    harness.seed(COLUMNS, [A])
    assert set(read_all(harness, ReadRequest())[0]) == {*COORDINATES, *(c.name for c in COLUMNS)}


def test_a_missing_column_is_named_with_its_nearest_neighbour(harness: Harness) -> None:
    harness.seed(COLUMNS, [A])
    with harness.open() as connector, pytest.raises(SyncDataError) as caught:
        connector.read(ReadRequest(columns=(ColumnRequest(name="balanse", type=COLUMNS[2].type),)))
    assert "balanse" in str(caught.value)
    assert "balance" in str(caught.value)


def test_an_optional_column_that_is_missing_is_absent_from_the_batch(harness: Harness) -> None:
    harness.seed(COLUMNS, [A])
    wanted = (
        ColumnRequest(name="code", type=COLUMNS[0].type),
        ColumnRequest(name="nowhere", type=COLUMNS[1].type, optional=True),
    )
    assert set(read_all(harness, ReadRequest(columns=wanted))[0]) == {*COORDINATES, "code"}


def test_appending_to_nothing_creates_the_target(harness: Harness) -> None:
    result = write(harness, "append", ("insert", A, None), ("insert", B, None))
    assert harness.holds(COLUMNS) == [A, B]
    assert (result.inserted, result.updated, result.deleted) == (2, 0, 0)


def test_appending_keeps_what_is_there(harness: Harness) -> None:
    harness.seed(COLUMNS, [A])
    write(harness, "append", ("insert", B, None))
    assert harness.holds(COLUMNS) == [A, B]


def test_an_append_that_is_tried_again_appends_nothing(harness: Harness) -> None:
    told: list[str] = []
    write(harness, "append", ("insert", A, None), marker="run:plan", intent=told.append)
    again = write(
        harness,
        "append",
        ("insert", A, None),
        marker="run:plan",
        intent=told.append,
        intended=told[-1] if told else None,
    )
    assert (again.inserted, again.rejections, len(read_all(harness))) == (0, [], 1)
    assert write(harness, "append", ("insert", B, None), marker="other:plan", intended="0" * 64).inserted == 1


def test_replacing_leaves_the_new_records_alone(harness: Harness) -> None:
    harness.seed(COLUMNS, [A, B])
    result = write(harness, "replace", ("insert", C, None))
    assert harness.holds(COLUMNS) == [C]
    assert result.inserted == 1


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_inserts_updates_and_deletes_are_applied_by_key(harness: Harness, mode: str) -> None:
    harness.seed(COLUMNS, [A, B])
    changed = {**A, "balance": Decimal("99.99"), "name": None}
    result = write(harness, mode, ("update", changed, A), ("delete", None, B), ("insert", C, None))
    assert sorted(harness.holds(COLUMNS), key=lambda r: r["code"]) == [changed, C]
    assert (result.inserted, result.updated, result.deleted) == (1, 1, 1)
    assert result.deferred_keys == []


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_writing_the_same_changes_again_changes_nothing(harness: Harness, mode: str) -> None:
    harness.seed(COLUMNS, [A, B])
    rows = (("update", {**A, "visits": 4}, A), ("delete", None, B), ("insert", C, None))
    write(harness, mode, *rows)
    before = harness.holds(COLUMNS)
    again = write(harness, mode, *rows)
    assert harness.holds(COLUMNS) == before
    assert again.deferred_keys == []
    assert again.rejections == []


def test_a_record_that_moved_is_deferred_and_left_alone(harness: Harness) -> None:
    moved = {**A, "name": "edited by a person"}
    harness.seed(COLUMNS, [moved, B])
    result = write(harness, "upsert", ("update", {**A, "visits": 9}, A), ("update", {**B, "visits": 9}, B))
    assert sorted(harness.holds(COLUMNS), key=lambda r: r["code"]) == [moved, {**B, "visits": 9}]
    assert result.deferred_keys == ["001"]
    assert result.updated == 1


def test_a_record_that_moved_is_not_deleted(harness: Harness) -> None:
    moved = {**A, "visits": 77}
    harness.seed(COLUMNS, [moved])
    result = write(harness, "mirror", ("delete", None, A))
    assert harness.holds(COLUMNS) == [moved]
    assert result.deferred_keys == ["001"]
    assert result.deleted == 0


def test_a_key_that_appeared_meanwhile_is_not_overwritten(harness: Harness) -> None:
    theirs = {**A, "name": "theirs"}
    harness.seed(COLUMNS, [theirs])
    result = write(harness, "upsert", ("insert", A, None))
    assert harness.holds(COLUMNS) == [theirs]
    assert result.deferred_keys == ["001"]


def test_columns_outside_the_mapping_stay_as_they_are(harness: Harness) -> None:
    extra = replace(COLUMNS[1], name="remark")
    wide = (*COLUMNS, extra)
    harness.seed(wide, [{**A, "remark": "keep me"}, {**B, "remark": None}])
    write(harness, "upsert", ("update", {**A, "visits": 4}, A))
    assert harness.holds(wide) == [{**A, "visits": 4, "remark": "keep me"}, {**B, "remark": None}]


@pytest.mark.parametrize("mode", ["append", "replace", "upsert", "mirror"])
def test_nothing_is_committed_when_the_lease_was_lost(harness: Harness, mode: str) -> None:
    harness.seed(COLUMNS, [A])

    def lost() -> None:
        raise SyncDataError("lease lost")

    with pytest.raises(SyncDataError, match="lease lost"):
        write(harness, mode, ("insert", B, None), fence=lost)
    assert harness.holds(COLUMNS) == [A]


@pytest.mark.parametrize("mode", ["append", "replace", "upsert", "mirror"])
def test_a_failing_change_stream_leaves_a_transactional_target_alone(harness: Harness, mode: str) -> None:
    harness.seed(COLUMNS, [A])
    with harness.open() as connector:
        able = connector.capabilities
        if mode not in able.modes or not able.transactional:
            pytest.skip("not transactional in this mode")

        def failing() -> Any:
            yield from changes(("insert", B, None))
            raise SyncDataError("the stage is corrupt")

        with pytest.raises(SyncDataError, match="the stage is corrupt"):
            connector.write(WriteRequest(mode=mode, columns=COLUMNS, key=KEY, run_id="01J0"), failing())
    assert harness.holds(COLUMNS) == [A]


def test_the_token_moves_only_with_the_content(harness: Harness) -> None:
    harness.seed(COLUMNS, [A])
    with harness.open() as connector:
        first, second = connector.token(), connector.token()
    assert first == second
    write(harness, "upsert", ("insert", B, None))
    with harness.open() as connector:
        third = connector.token()
    assert third is None or third != first


NASTY = [
    "=HYPERLINK(\"http://evil\")", "+cmd|' /C calc'!A0", "-1+1", "@SUM(1)", "\tx", "\rx", "'", "''", "'=1", "''=1", "'a",
    "a\nb", "a\r\nb", 'say "hi"', "a;b,c\td|e", " padded ", "NULL", "null", "NA", "#N/A", "001", "1e5", "9007199254740993",
    "é", "e\u0301", "日本語", "𝄞", "true", "2024-12-31", "-5", "0.1", "\u00a0", "ß",
]  # fmt: skip


@pytest.mark.parametrize("mode", ["append", "replace", "upsert", "mirror"])
def test_text_reads_back_as_it_was_written(harness: Harness, mode: str) -> None:
    records = [record(f"k{n:03}", name=text) for n, text in enumerate(NASTY)]
    result = write(harness, mode, *(("insert", each, None) for each in records))
    assert result.rejections == []
    read = sorted(typed(read_all(harness)), key=lambda r: r["code"])
    assert [r["name"] for r in read] == NASTY
    assert read == records


def test_keys_that_look_alike_stay_apart(harness: Harness) -> None:
    keys = ["1", "01", "1.0", "1e0", "a", "A", "a ", "é", "e\u0301", "-1", "'-1"]
    write(harness, "upsert", *(("insert", record(key), None) for key in keys))
    write(harness, "upsert", *(("update", record(key, visits=4), record(key)) for key in keys))
    assert sorted(row["code"] for row in read_all(harness)) == sorted(keys)
    assert {row["visits"] for row in harness.holds(COLUMNS)} == {4}


EXTREMES = [
    {"balance": Decimal("9999999999.99"), "visits": 9223372036854775807},
    {"balance": Decimal("-9999999999.99"), "visits": -9223372036854775808},
    {"balance": Decimal("0.00"), "visits": 9007199254740993},
    {"since": date(1900, 3, 1), "seen": datetime(2024, 3, 31, 1, 30, 0, tzinfo=UTC)},
    {"since": date(9999, 12, 31), "seen": datetime(2024, 10, 27, 0, 30, 0, 120000, tzinfo=UTC)},
    {"balance": None, "visits": None, "active": None, "since": None, "seen": None, "name": None},
]


def test_extreme_values_read_back_exactly(harness: Harness) -> None:
    records = [record(str(n), **values) for n, values in enumerate(EXTREMES)]
    write(harness, "replace", *(("insert", each, None) for each in records))
    assert typed(read_all(harness)) == records


def test_testing_an_endpoint_reports_and_changes_nothing(harness: Harness) -> None:
    harness.seed(COLUMNS, [A])
    with harness.open() as connector:
        probes = connector.test([c.name for c in COLUMNS], write=True)
        assert probes
        assert all(p.ok for p in probes), [p.detail for p in probes if not p.ok]
        bad = connector.test(["code", "balanse"], write=False)
    assert any(not p.ok and "balanse" in p.detail for p in bad)
    assert harness.holds(COLUMNS) == [A]


def test_every_failure_is_a_sync_error(harness: Harness) -> None:
    with harness.open() as connector, pytest.raises(SyncError):
        list(connector.read(request_all()))
