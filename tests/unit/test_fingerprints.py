"""Narrow tables find exactly what differs, and positions lead back to the records."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_provider.core.schema import parse_type
from sync_provider.engine.fingerprints import FINGERPRINTS, POSITION, Fingerprints, picked

FIELDS = {
    "code": parse_type("string"),
    "amount": parse_type("decimal(8,2)"),
    "rate": parse_type("double"),
    "doc": parse_type("json"),
    "note": parse_type("string"),
}
SCHEMA = pa.schema([(name, type_.to_arrow()) for name, type_ in FIELDS.items()])
RECORDS = st.fixed_dictionaries(
    {
        "amount": st.none() | st.decimals(-9, 9, places=2),
        "rate": st.sampled_from([None, 0.0, -0.0, 1.5, math.nan, math.inf]),
        "doc": st.sampled_from([None, '{"a":1,"b":2}', '{"b": 2, "a": 1}', "null", "[]"]),
        "note": st.sampled_from([None, "", " ", "a", "ab", "b"]),
    }
)


def batches(records: list[dict[str, Any]]) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pylist(records[at : at + 2], schema=SCHEMA) for at in range(0, len(records), 2)]


def sameness(record: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two records equal, by Python alone."""
    import json

    rate = record["rate"]
    doc = record["doc"]
    return (
        record["amount"],
        "nan" if rate is not None and math.isnan(rate) else rate,
        None if doc is None else json.dumps(json.loads(doc), sort_keys=True),
        record["note"],
    )


@settings(max_examples=40)
@given(st.lists(st.tuples(RECORDS, RECORDS), max_size=7))
def test_fingerprints_differ_exactly_where_records_do(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    left = [{"code": str(n), **one} for n, (one, _) in enumerate(pairs)]
    right = [{"code": str(n), **other} for n, (_, other) in enumerate(pairs)]
    with Fingerprints(FIELDS, ["code"]) as sets:
        assert sets.load("l", batches(left)) == len(pairs)
        sets.load("r", batches(list(reversed(right))))
        one, two = FINGERPRINTS
        query = (
            f"SELECT l.{POSITION} FROM l JOIN r USING (code) WHERE l.{one} <> r.{one} OR l.{two} <> r.{two} ORDER BY 1"
        )
        found = [row[0] for row in sets.db.execute(query).fetchall()]
    assert found == [n for n, (one, other) in enumerate(pairs) if sameness(one) != sameness(other)]


@given(st.lists(st.integers(0, 20), unique=True), st.integers(0, 21))
def test_positions_lead_back_to_the_records(wanted: list[int], size: int) -> None:
    records = [{"code": str(n), "amount": None, "rate": None, "doc": None, "note": None} for n in range(size)]
    positions = sorted(n for n in wanted if n < size)
    found = [row for batch in picked(batches(records), pa.array(positions, pa.int64())) for row in batch.to_pylist()]
    assert [(row["code"], row[POSITION]) for row in found] == [(str(n), n) for n in positions]
