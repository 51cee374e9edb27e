"""Whole batches: every record is accepted, refused or filtered, once; nothing that is accepted has changed."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_provider.connectors.base import FILE, ROW, SHEET, RawBatch
from sync_provider.core.canonical import read_text
from sync_provider.core.errors import MappingError
from sync_provider.core.schema import LogicalType, parse_type
from sync_provider.engine.expressions import check_expression
from sync_provider.engine.transform import Conversion, ConversionField

PARIS = ZoneInfo("Europe/Paris")
TYPES = ["string", "integer", "decimal(12,2)", "double", "boolean", "date", "timestamp", "json"]
FIELDS = [ConversionField(f"Colonne {name}", f"c{i}", parse_type(name)) for i, name in enumerate(TYPES)]
value = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "1", "12.50", "12,5a", "true", "2024-02-29", "2023-02-29", "2024-03-31T02:30:00", "[1]", "NaN", "1e5"]
    ),
    st.text(max_size=8),
)
record = st.tuples(*[value for _ in TYPES])


@pytest.fixture(scope="module")
def conversion():
    with Conversion(FIELDS, key=["c0"], filter="c1 IS NULL OR c1 > 0", timezone="Europe/Paris") as conversion:
        yield conversion


def batch(records):
    columns = {f.source: pa.array([r[i] for r in records], pa.string()) for i, f in enumerate(FIELDS)}
    columns[FILE] = pa.array(["in.csv"] * len(records), pa.string())
    columns[SHEET] = pa.nulls(len(records), pa.string())
    columns[ROW] = pa.array(range(2, len(records) + 2), pa.int64())
    return RawBatch(pa.RecordBatch.from_pydict(columns))


def outcome(row):
    """What the definition says of one record: its values, or the first field that does not convert."""
    values = []
    for text, f in zip(row, FIELDS, strict=True):
        try:
            values.append(None if text is None else read_text(text, f.type, PARIS))
        except ValueError:
            return f.destination
    return values


@given(records=st.lists(record, max_size=10))
def test_each_record_is_accepted_unchanged_or_refused_at_its_line_or_filtered(conversion, records):
    converted = conversion.convert(batch(records))
    assert converted.records.schema == conversion.schema
    expected = {line: outcome(row) for line, row in enumerate(records, start=2)}
    refused = {r.where.line: r.field for r in converted.rejections}
    assert refused == {line: result for line, result in expected.items() if isinstance(result, str)}
    wanted = {
        line: result
        for line, result in expected.items()
        if not isinstance(result, str) and (result[1] is None or result[1] > 0)
    }
    accepted = {row.pop(ROW): list(row.values())[: len(FIELDS)] for row in converted.records.to_pylist()}
    assert accepted == wanted
    assert converted.filtered == len(records) - len(refused) - len(accepted)
    for rejection in converted.rejections:
        row = records[rejection.where.line - 2]
        assert rejection.record == {f.source: text for f, text in zip(FIELDS, row, strict=True)}
        assert rejection.value == row[[f.destination for f in FIELDS].index(rejection.field)]


fragments = st.sampled_from(
    [
        "value", '"Nom"', "'a'", "1", "2.5", "NULL", "(", ")", "[", "]", "{", "}", ",", ";", "+", "-", "*", "/", "||", "::", ".", "=", "<", "->", "->>", "--", "/*", "*/", "$$", "'", '"', "?", "@", "!", "**",
        "SELECT", "FROM", "WHERE", "CASE", "WHEN", "THEN", "ELSE", "END", "AND", "OR", "NOT", "IN", "IS", "LIKE", "BETWEEN", "CAST", "AS", "INTEGER", "VARCHAR", "TIMESTAMPTZ", "OVER", "FILTER", "DISTINCT", "ORDER BY", "LIMIT", "UNION", "EXISTS", "lambda x:", "x", "COLLATE", "AT TIME ZONE",
        "upper", "count", "now", "random", "repeat", "parse_number", "nullif", "read_csv", "unnest", "range", "DROP TABLE t", "ATTACH", "SET threads = 4", "COPY", "PRAGMA", "INTERVAL 1 DAY", "E'\\n'", "\n", "\u00a0", "é",
    ]
)  # fmt: skip
anything = st.one_of(
    st.text(max_size=40), st.lists(fragments, max_size=14).map(" ".join), st.lists(fragments, max_size=14).map("".join)
)


@settings(max_examples=300)
@given(text=anything)
def test_any_text_is_an_expression_that_runs_or_a_mapping_error(text):
    column = pa.array(["a", "", None, "12"], pa.string())
    try:
        check_expression(text, {"value": LogicalType("string"), "Nom": LogicalType("string")})
    except MappingError as error:
        assert error.hint  # noqa: PT017 - most texts raise, some do not
        return
    fields = [
        ConversionField("value", "v", LogicalType("string"), text),
        ConversionField("Nom", "n", LogicalType("string")),
    ]
    with Conversion(fields) as conversion:
        converted = conversion.convert(RawBatch(pa.RecordBatch.from_pydict({"value": column, "Nom": column})))
    assert converted.records.num_rows + len(converted.rejections) == len(column)
    assert converted.filtered == 0


@pytest.fixture(scope="module", params=["value", "CAST(value AS VARCHAR)", "coalesce(value, NULL)"])
def unchanging(request):
    type_ = parse_type("decimal(12,2)")
    fields = [ConversionField("a", "plain", type_), ConversionField("a", "computed", type_, request.param)]
    with Conversion(fields[:1]) as plain, Conversion(fields[1:]) as computed:
        yield plain, computed


@given(texts=st.lists(value, max_size=8))
def test_an_expression_that_changes_nothing_converts_like_no_expression(unchanging, texts):
    raw = RawBatch(pa.RecordBatch.from_pydict({"a": pa.array(texts, pa.string())}))
    plain, computed = (conversion.convert(raw) for conversion in unchanging)
    assert plain.records.column(0).to_pylist() == computed.records.column(0).to_pylist()
    assert [r.value for r in plain.rejections] == [r.value for r in computed.rejections]
