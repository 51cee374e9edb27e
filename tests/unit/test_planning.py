"""What the planner says would change, against an oracle in plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_provider.connectors.base import OLD, OP
from sync_provider.core.canonical import write_text
from sync_provider.core.errors import SyncConnectionError
from sync_provider.core.mapping import Mapping
from sync_provider.engine.planning import ABSENT, Planner

TYPES = {"code": "string", "amount": "decimal(8,2)", "doc": "json", "at": "timestamp"}


def mapping(**options: dict[str, Any]) -> Mapping:
    return Mapping.model_validate(
        {
            "version": 1,
            "id": "sample",
            "mode": "import",
            "write": "mirror",
            "source": {"type": "csv", "path": "in.csv"},
            "destination": {"type": "sql", "connection": "db", "table": "t"},
            "key": ["code"],
            "fields": [
                {"source": n, "destination": n, "type": kind, **options.get(n, {})} for n, kind in TYPES.items()
            ],
        }
    )


def schema_of(rules: Mapping) -> pa.Schema:
    return pa.schema([pa.field(f.destination, f.logical_type.to_arrow()) for f in rules.fields])


def batches(rules: Mapping, records: list[dict[str, Any]]) -> list[pa.RecordBatch]:
    flags = [pa.field(ABSENT + f.destination, pa.bool_()) for f in rules.fields if f.optional]
    schema = pa.schema([*schema_of(rules), *flags])
    return [pa.RecordBatch.from_pylist(records[i : i + 2], schema=schema) for i in range(0, len(records), 2)]


def plan(
    rules: Mapping,
    incoming: list[dict[str, Any]],
    existing: list[dict[str, Any]],
    tracked: list[str] = [],  # noqa: B006 - never changed
    kept: list[str] = [],  # noqa: B006
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    with Planner(rules, schema_of(rules)) as planner:
        planner.load_incoming(batches(rules, incoming))
        planner.load_existing(batches(rules, existing))
        planner.load_tracked(pa.RecordBatch.from_pydict({"code": pa.array([k], pa.string())}) for k in tracked)
        planner.load_kept(kept)
        changes = [row for batch in planner.changes(deletes=True) for row in batch.to_pylist()]
        return changes, planner.counts(deletes=True)


def record(code: str, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(TYPES), "code": code, **values}


AT = datetime(2024, 3, 31, 1, tzinfo=UTC)
values = st.fixed_dictionaries(
    {
        "amount": st.none() | st.sampled_from([Decimal("1.10"), Decimal("-0.01"), Decimal("999999.99")]),
        "doc": st.none() | st.sampled_from(['{"a":1,"b":[]}', "1", "null", '"é"']),
        "at": st.none() | st.sampled_from([AT, AT.replace(microsecond=1)]),
    }
)
sides = st.dictionaries(st.sampled_from(["001", "1", "é", "É", " 1", "x"]), values)


@settings(max_examples=40)
@given(sides, sides, st.sets(st.sampled_from(["001", "1", "é", "x"])), st.sets(st.sampled_from(["001", "x"])))
def test_the_plan_is_exactly_the_difference(
    source: dict[str, Any], target: dict[str, Any], tracked: set[str], kept: set[str]
) -> None:
    incoming = [record(code, **v) for code, v in source.items()]
    existing = [record(code, **v) for code, v in target.items()]
    changes, counts = plan(mapping(), incoming, existing, sorted(tracked), sorted(kept))
    inserts = [c for c in source if c not in target]
    updates = [c for c in source if c in target and source[c] != target[c]]
    deletes = [c for c in target if c in tracked and c not in source and c not in kept]
    assert [(c[OP], c["code"]) for c in changes if c[OP] != "delete"] == [
        ("insert" if c not in target else "update", c) for c in source if c in inserts or c in updates
    ]
    assert [c["code"] for c in changes if c[OP] == "delete"] == deletes
    assert counts == {
        "inserts": len(inserts),
        "updates": len(updates),
        "unchanged": len(source) - len(inserts) - len(updates),
        "existing": len(target),
        "deletable": len(tracked & target.keys()),
        "deletes": len(deletes),
    }
    for change in changes:
        if change[OP] != "insert":
            assert {n: change[OLD + n] for n in TYPES} == record(change["code"], **target[change["code"]])
        if change[OP] != "delete":
            assert {n: change[n] for n in TYPES} == record(change["code"], **source[change["code"]])


def test_equal_json_in_another_spelling_is_no_change() -> None:
    changes, counts = plan(mapping(), [record("1", doc='{"a": 1, "b": 2}')], [record("1", doc='{"b":2,"a":1}')])
    assert (changes, counts["unchanged"]) == ([], 1)


def test_a_kept_null_leaves_the_value_and_a_cleared_one_does_not() -> None:
    existing = [record("1", amount=Decimal("5.00"), at=AT)]
    rules = mapping(amount={"nulls": "keep"})
    assert plan(rules, [record("1", at=AT)], existing)[0] == []
    (change,) = plan(rules, [record("1")], existing)[0]
    assert (change["amount"], change["at"]) == (Decimal("5.00"), None)


def test_a_skipped_null_leaves_the_whole_record() -> None:
    rules = mapping(amount={"nulls": "skip"})
    assert plan(rules, [record("1")], [record("1", amount=Decimal(5), at=AT)])[0] == []
    assert [c[OP] for c in plan(rules, [record("2")], [])[0]] == ["insert"]


def test_an_absent_column_is_left_alone_which_is_not_null() -> None:
    rules = mapping(amount={"optional": True})
    existing = [record("1", amount=Decimal("5.00"))]
    absent, null = ({**record("1"), ABSENT + "amount": flag} for flag in (True, False))
    assert plan(rules, [absent], existing)[0] == []
    assert [c["amount"] for c in plan(rules, [null], existing)[0]] == [None]


def test_a_key_that_the_destination_holds_twice_is_named_and_left_out() -> None:
    rules = mapping()
    with Planner(rules, schema_of(rules)) as planner:
        planner.load_incoming(batches(rules, [record("1"), record("2")]))
        planner.load_existing(batches(rules, [record("1"), record("1", at=AT), record("3"), record("3")]))
        assert planner.ambiguous() == [("1", 2, [])]
        planner.drop_ambiguous()
        assert [c["code"] for b in planner.changes(deletes=False) for c in b.to_pylist()] == ["2"]


@given(st.sampled_from([AT, AT.replace(microsecond=500_000), AT.replace(second=10), AT.replace(microsecond=1)]))
def test_a_kept_key_is_recognised_in_its_canonical_spelling(moment: datetime) -> None:
    rules = mapping().model_copy(update={"key": ("code", "at")})
    with Planner(rules, schema_of(rules)) as planner:
        planner.load_incoming([])
        planner.load_existing(batches(rules, [record("1", at=moment), record("2", at=moment)]))
        planner.load_tracked(
            [batches(rules, [record("1", at=moment), record("2", at=moment)])[0].select(["code", "at"])]
        )
        planner.load_kept([f"1|{write_text(moment)}"])
        assert [c["code"] for b in planner.changes(deletes=True) for c in b.to_pylist()] == ["2"]


def test_an_error_of_a_side_that_is_read_meanwhile_stays_the_error_it_was() -> None:
    def read() -> Iterator[pa.RecordBatch]:
        yield from batches(mapping(), [{"code": "1"}])
        raise SyncConnectionError("the quota is used up", retryable=True, code="quota")

    with Planner(mapping(), schema_of(mapping())) as planner, pytest.raises(SyncConnectionError) as raised:
        planner.load_existing(read())
    assert (raised.value.code, raised.value.retryable) == ("quota", True)
