"""Great Expectations over staged records: every record rule names exactly the failing records."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_provider.connectors.base import FILE, ROW, SHEET
from sync_provider.core.errors import MappingError
from sync_provider.core.expectations import BATCH, OFFERED, RECORD, UNIQUE, check_expectations
from sync_provider.core.mapping import Mapping
from sync_provider.engine import quality
from sync_provider.engine.quality import assess

TYPES = {
    "code": "string",
    "name": "string",
    "amount": "decimal(12,2)",
    "other": "decimal(12,4)",
    "count": "integer",
    "day": "date",
    "at": "timestamp",
    "active": "boolean",
    "ratio": "double",
    "doc": "json",
}


def mapping(expectations: list[dict[str, Any]], *, key: list[str] | None = None, **validation: Any) -> Mapping:
    return Mapping.model_validate(
        {
            "version": 1,
            "id": "sample",
            "mode": "import",
            "write": "upsert" if key else "append",
            "source": {"type": "csv", "path": "in.csv"},
            "destination": {"type": "sql", "connection": "db", "table": "t"},
            "key": key or [],
            "fields": [{"source": name, "destination": name, "type": kind} for name, kind in TYPES.items()],
            "validation": {"expectations": expectations, **validation},
        }
    )


def run(rules: Mapping, records: list[dict[str, Any]]) -> quality.Quality:
    fields = [pa.field(f.destination, f.logical_type.to_arrow()) for f in rules.fields]
    schema = pa.schema([*fields, pa.field(FILE, pa.string()), pa.field(SHEET, pa.string()), pa.field(ROW, pa.int64())])
    rows = [{FILE: "in.csv", ROW: line, **record} for line, record in enumerate(records, start=2)]
    batches = [pa.RecordBatch.from_pylist(rows[i : i + 3], schema=schema) for i in range(0, len(rows), 3)]

    def staged(columns: list[str] | None) -> Any:
        return iter(batches if columns is None else [batch.select(columns) for batch in batches])

    return assess(rules, staged, rows=len(records))


def present(*names: str) -> Any:
    return lambda r: all(r[name] is not None for name in names)


# One case per offered record rule at least: (type, kwargs, which records fail). Nulls are skipped, as GX documents.
CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("expect_column_values_to_not_be_null", {"column": "name"}, lambda r: r["name"] is None),
    ("expect_column_values_to_be_null", {"column": "count"}, lambda r: r["count"] is not None),
    (
        "expect_column_values_to_be_between",
        {"column": "amount", "min_value": 0.1, "max_value": 0.3},
        lambda r: r["amount"] is not None and not Decimal("0.1") <= r["amount"] <= Decimal("0.3"),
    ),
    (
        "expect_column_values_to_be_between",
        {"column": "amount", "min_value": 0.105, "strict_min": True},
        lambda r: r["amount"] is not None and not r["amount"] > Decimal("0.105"),
    ),
    (
        "expect_column_values_to_be_between",
        {"column": "count", "max_value": 9007199254740992},
        lambda r: r["count"] is not None and r["count"] > 9007199254740992,
    ),
    (
        "expect_column_values_to_be_between",
        {"column": "day", "min_value": "2024-02-29"},
        lambda r: r["day"] is not None and r["day"] < date(2024, 2, 29),
    ),
    (
        "expect_column_values_to_be_between",
        {"column": "at", "max_value": "2024-03-31T02:00:00+01:00"},
        lambda r: r["at"] is not None and r["at"] > datetime(2024, 3, 31, 1, tzinfo=UTC),
    ),
    (
        "expect_column_values_to_be_between",
        {"column": "ratio", "min_value": -1, "max_value": 1, "strict_max": True},
        lambda r: r["ratio"] is not None and not -1 <= r["ratio"] < 1,
    ),
    (
        "expect_column_values_to_be_in_set",
        {"column": "amount", "value_set": [0.1, "0.30", 5]},
        lambda r: r["amount"] is not None and r["amount"] not in {Decimal("0.1"), Decimal("0.3"), Decimal(5)},
    ),
    (
        "expect_column_values_to_be_in_set",
        {"column": "count", "value_set": [9007199254740992, 1]},
        lambda r: r["count"] is not None and r["count"] not in {9007199254740992, 1},
    ),
    (
        "expect_column_values_to_be_in_set",
        {"column": "day", "value_set": ["2024-02-29"]},
        lambda r: r["day"] is not None and r["day"] != date(2024, 2, 29),
    ),
    (
        "expect_column_values_to_be_in_set",
        {"column": "active", "value_set": [True]},
        lambda r: r["active"] is False,
    ),
    (
        "expect_column_values_to_not_be_in_set",
        {"column": "code", "value_set": ["001", "NA"]},
        lambda r: r["code"] in {"001", "NA"},
    ),
    (
        "expect_column_values_to_match_regex",
        {"column": "code", "regex": r"^\d+$"},
        lambda r: r["code"] is not None and not re.search(r"^\d+$", r["code"]),
    ),
    (
        "expect_column_values_to_not_match_regex",
        {"column": "code", "regex": "^0"},
        lambda r: r["code"] is not None and bool(re.search("^0", r["code"])),
    ),
    (
        "expect_column_values_to_match_regex_list",
        {"column": "code", "regex_list": ["^0", "^N"], "match_on": "any"},
        lambda r: r["code"] is not None and not re.search("^0|^N", r["code"]),
    ),
    (
        "expect_column_values_to_not_match_regex_list",
        {"column": "code", "regex_list": ["^0", "^N"]},
        lambda r: r["code"] is not None and bool(re.search("^0|^N", r["code"])),
    ),
    (
        "expect_column_value_lengths_to_be_between",
        {"column": "code", "min_value": 2, "max_value": 3},
        lambda r: r["code"] is not None and not 2 <= len(r["code"]) <= 3,
    ),
    (
        "expect_column_value_lengths_to_equal",
        {"column": "code", "value": 3},
        lambda r: r["code"] is not None and len(r["code"]) != 3,
    ),
    (
        "expect_column_values_to_be_json_parseable",
        {"column": "doc"},
        lambda _r: False,
    ),
    (
        "expect_column_values_to_match_json_schema",
        {"column": "doc", "json_schema": {"type": "object", "required": ["a"]}},
        lambda r: r["doc"] is not None and "a" not in json.loads(r["doc"]),
    ),
    (
        "expect_column_values_to_match_strftime_format",
        {"column": "day", "strftime_format": "%Y-%m-%d"},
        lambda _r: False,
    ),
    (
        "expect_column_values_to_be_dateutil_parseable",
        {"column": "day"},
        lambda _r: False,
    ),
    (
        "expect_column_pair_values_to_be_equal",
        {"column_A": "amount", "column_B": "other", "ignore_row_if": "either_value_is_missing"},
        lambda r: present("amount", "other")(r) and r["amount"] != r["other"],
    ),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": "amount", "column_B": "other", "ignore_row_if": "either_value_is_missing"},
        lambda r: present("amount", "other")(r) and not r["amount"] > r["other"],
    ),
    (
        "expect_column_pair_values_to_be_in_set",
        {
            "column_A": "code",
            "column_B": "count",
            "value_pairs_set": [["001", 1], ["NA", 2]],
            "ignore_row_if": "either_value_is_missing",
        },
        lambda r: present("code", "count")(r) and (r["code"], r["count"]) not in {("001", 1), ("NA", 2)},
    ),
    (
        "expect_multicolumn_sum_to_equal",
        {"column_list": ["amount", "other"], "sum_total": 0.3, "ignore_row_if": "any_value_is_missing"},
        lambda r: present("amount", "other")(r) and r["amount"] + r["other"] != Decimal("0.3"),
    ),
    (
        "expect_select_column_values_to_be_unique_within_record",
        {"column_list": ["code", "name"], "ignore_row_if": "any_value_is_missing"},
        lambda r: present("code", "name")(r) and r["code"] == r["name"],
    ),
]

texts = st.sampled_from(["001", "1", "NA", "é", "", "0042", "x" * 5])
records = st.fixed_dictionaries(
    {
        "code": st.none() | texts,
        "name": st.none() | texts,
        "amount": st.none()
        | st.sampled_from([Decimal(t) for t in ("0.10", "0.30", "0.11", "-5.00", "5", "9999999999.99")]),
        "other": st.none() | st.sampled_from([Decimal(t) for t in ("0.10", "0.20", "0.3000", "-0.0001", "5")]),
        "count": st.none() | st.sampled_from([0, 1, 2, 9007199254740992, 9007199254740993, -(2**63)]),
        "day": st.none() | st.sampled_from([date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1), date(1700, 1, 1)]),
        "at": st.none()
        | st.sampled_from([datetime(2024, 3, 31, 0, 59, tzinfo=UTC), datetime(2024, 3, 31, 1, 0, 0, 1, tzinfo=UTC)]),
        "active": st.none() | st.booleans(),
        "ratio": st.none() | st.sampled_from([-1.0, 1.0, 0.1, -1.5]),
        "doc": st.none() | st.sampled_from(['{"a": 1}', '{"b": []}', "{}"]),
    }
)


def test_every_offered_record_rule_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == RECORD


@settings(max_examples=8)
@given(st.lists(records, min_size=1, max_size=25))
def test_record_rules_name_exactly_the_failing_records(sample: list[dict[str, Any]]) -> None:
    rules = mapping([{"type": name, "kwargs": kwargs} for name, kwargs, _ in CASES])
    result = run(rules, sample)
    for verdict, (name, kwargs, fails) in zip(result.verdicts, CASES, strict=True):
        expected = [i for i, record in enumerate(sample) if fails(record)]
        assert verdict.error is None, (name, verdict.error)
        assert verdict.rows == expected, (name, kwargs, sample)
        assert verdict.success == (not expected)
    assert result.rejected_rows == {i for verdict in result.verdicts for i in verdict.rows}
    assert len(list(result.rejections)) == len(result.rejected_rows)


@settings(max_examples=8)
@given(st.lists(records, min_size=1, max_size=25))
def test_unique_rules_name_every_record_of_a_group(sample: list[dict[str, Any]]) -> None:
    rules = mapping(
        [
            {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "amount"}},
            {
                "type": "expect_compound_columns_to_be_unique",
                "kwargs": {"column_list": ["code", "count"], "ignore_row_if": "any_value_is_missing"},
            },
        ]
    )
    result = run(rules, sample)
    amounts = Counter(r["amount"] for r in sample)
    pairs = Counter((r["code"], r["count"]) for r in sample)
    assert result.verdicts[0].rows == [
        i for i, r in enumerate(sample) if r["amount"] is not None and amounts[r["amount"]] > 1
    ]
    assert result.verdicts[1].rows == [
        i for i, r in enumerate(sample) if present("code", "count")(r) and pairs[r["code"], r["count"]] > 1
    ]


def record(**values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(TYPES), "code": "a", **values}


def test_judging_in_pieces_gives_the_same_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = [record(code=f"{i % 7}", count=i) for i in range(50)]
    rules = mapping(
        [
            {"type": "expect_column_values_to_be_between", "kwargs": {"column": "count", "max_value": 20}},
            {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "code"}},
        ]
    )
    whole = run(rules, sample)
    monkeypatch.setattr(quality, "PIECE_ROWS", 4)
    pieces = run(rules, sample)
    assert (
        [v.rows for v in pieces.verdicts] == [v.rows for v in whole.verdicts] == [list(range(21, 50)), list(range(50))]
    )


def test_the_key_is_never_null_and_never_twice_even_when_failures_only_warn() -> None:
    rules = mapping([], key=["code"], on_failure="warn")
    result = run(rules, [record(code="1"), record(code=None), record(code="1"), record(code="2")])
    assert result.rejected_rows == {0, 1, 2}
    assert [(r.rule, r.key, r.where.line) for r in result.rejections] == [
        ("expect_column_values_to_be_unique", "1", 2),
        ("expect_column_values_to_not_be_null", None, 3),
        ("expect_column_values_to_be_unique", "1", 4),
    ]


def test_mostly_tolerates_its_share_of_the_whole() -> None:
    rule = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "count", "min_value": 1, "mostly": 0.9}}
    good = run(mapping([rule]), [record(count=int(i > 0)) for i in range(10)])
    bad = run(mapping([rule]), [record(count=int(i > 1)) for i in range(10)])
    assert (good.failed, good.rejected_rows) == (0, frozenset())
    assert (bad.failed, bad.rejected_rows) == (1, {0, 1})


def test_a_warning_is_reported_and_rejects_nothing() -> None:
    rule = {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "count", "min_value": 1},
        "severity": "warning",
    }
    result = run(mapping([rule]), [record(count=0), record(count=1)])
    assert (result.failed, result.warnings, result.rejected_rows, result.batch_failures) == (1, 1, frozenset(), [])


@pytest.mark.parametrize(
    ("rule", "fails"),
    [
        ({"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 3}}, True),
        ({"type": "expect_table_row_count_to_equal", "kwargs": {"value": 2}}, False),
        ({"type": "expect_column_mean_to_be_between", "kwargs": {"column": "amount", "max_value": 1}}, True),
        ({"type": "expect_column_sum_to_be_between", "kwargs": {"column": "amount", "min_value": 4}}, False),
        ({"type": "expect_column_max_to_be_between", "kwargs": {"column": "amount", "max_value": 4.99}}, True),
        ({"type": "expect_column_min_to_be_between", "kwargs": {"column": "day", "min_value": "2024-01-01"}}, False),
        ({"type": "expect_column_median_to_be_between", "kwargs": {"column": "count", "max_value": 9}}, False),
        ({"type": "expect_column_stdev_to_be_between", "kwargs": {"column": "count", "max_value": 0.1}}, True),
        ({"type": "expect_column_distinct_values_to_be_in_set", "kwargs": {"column": "amount", "value_set": [5, 0.1]}}, False),
        ({"type": "expect_column_distinct_values_to_contain_set", "kwargs": {"column": "count", "value_set": [7]}}, True),
        ({"type": "expect_column_distinct_values_to_equal_set", "kwargs": {"column": "count", "value_set": [1, 2]}}, False),
        ({"type": "expect_column_most_common_value_to_be_in_set", "kwargs": {"column": "code", "value_set": ["a"]}}, False),
        ({"type": "expect_column_unique_value_count_to_be_between", "kwargs": {"column": "count", "min_value": 3}}, True),
        ({"type": "expect_column_proportion_of_unique_values_to_be_between", "kwargs": {"column": "count", "min_value": 1}}, False),
        ({"type": "expect_column_proportion_of_non_null_values_to_be_between", "kwargs": {"column": "name", "min_value": 0.5}}, True),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_rule_about_the_batch_fails_the_batch_and_no_record(rule: dict[str, Any], fails: bool) -> None:
    sample = [
        record(amount=Decimal(5), count=1, day=date(2024, 1, 1)),
        record(amount=Decimal("0.1"), count=2, day=date(2024, 5, 1)),
    ]
    result = run(mapping([rule]), sample)
    assert result.verdicts[0].error is None
    assert (bool(result.batch_failures), result.rejected_rows) == (fails, frozenset())


def test_every_batch_rule_is_tried() -> None:
    parameters = next(
        m for m in test_a_rule_about_the_batch_fails_the_batch_and_no_record.pytestmark if m.name == "parametrize"
    )
    assert {rule["type"] for rule, _ in parameters.args[1]} == BATCH
    assert len(OFFERED) == len(RECORD) + len(UNIQUE) + len(BATCH)


def test_the_page_holds_rules_and_counts_but_no_value() -> None:
    rules = mapping([{"type": "expect_column_values_to_match_regex", "kwargs": {"column": "code", "regex": "<b>"}}])
    page = run(rules, [record(code="SECRET-VALUE")]).html
    assert "expect_column_values_to_match_regex" in page
    assert "SECRET-VALUE" not in page
    assert "<b>" not in page
    assert "http" not in page


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ({"type": "expect_column_values_to_be_betwen", "kwargs": {}}, "expect_column_values_to_be_between"),
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "cod"}}, "code"),
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "code", "row_condition": "x"}}, "filter"),
    ],
)
def test_a_wrong_expectation_is_named_with_the_way_out(rule: dict[str, Any], hint: str) -> None:
    (error,) = check_expectations(mapping([rule]))
    assert error.where.field.startswith("validation.expectations[0]")
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "day", "min_value": "31/12/2024"}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "count", "value_set": ["a"]}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "count", "minimum": 1}},
    ],
)
def test_arguments_that_do_not_fit_are_a_mapping_error(rule: dict[str, Any]) -> None:
    with pytest.raises(MappingError):
        run(mapping([rule]), [record()])
