"""Raw batches to typed records: what is asked of the connector, what is refused and how it says so, what is left alone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from sync_provider.connectors.base import FILE, ROW, SHEET, ColumnRequest, RawBatch
from sync_provider.core.errors import MappingError, MappingErrors, SyncDataError
from sync_provider.core.mapping import Mapping
from sync_provider.core.report import Rejection
from sync_provider.core.schema import LogicalType, parse_type
from sync_provider.engine.transform import Conversion, ConversionField, Converted

TEXT = LogicalType("string")


def field(
    source: str, destination: str, type_: str = "string", expression: str | None = None, **more: Any
) -> ConversionField:
    return ConversionField(source, destination, parse_type(type_), expression, **more)


def convert(fields: list[ConversionField], columns: dict[str, Any], **options: Any) -> Converted:
    with Conversion(fields, **options) as conversion:
        return conversion.convert(RawBatch(pa.RecordBatch.from_pydict(columns)))


def one(values: Any, type_: str, expression: str | None = None, **options: Any) -> tuple[list[Any], list[Rejection]]:
    converted = convert([field("a", "b", type_, expression)], {"a": values}, **options)
    return converted.records.column("b").to_pylist(), converted.rejections


def mapping(**more: Any) -> Mapping:
    return Mapping.model_validate(
        {
            "version": 1,
            "id": "clients",
            "mode": "import",
            "source": {"type": "csv", "path": "in.csv"},
            "destination": {"type": "sql", "connection": "db", "table": "clients"},
            "key": ["code"],
            "fields": [
                {"source": "Code", "destination": "code"},
                {
                    "source": "Solde",
                    "destination": "solde",
                    "type": "decimal(12,2)",
                    "to_destination": "parse_number(value, 'fr')",
                },
                {"source": "Né le", "destination": "ne_le", "type": "date", "optional": True},
                {"source": "Nom", "destination": "nom", "to_destination": "value || ' (' || Ville || ')'"},
            ],
            "filter": "solde IS NOT NULL",
            **more,
        }
    )


def test_the_connector_is_asked_for_each_column_once_and_as_expressions_need_it():
    with Conversion.for_source(mapping()) as conversion:
        assert conversion.columns == (
            ColumnRequest(name="Code", type=TEXT),
            ColumnRequest(name="Solde", type=TEXT, verbatim=True),
            ColumnRequest(name="Né le", type=LogicalType("date"), optional=True),
            ColumnRequest(name="Nom", type=TEXT, verbatim=True),
            ColumnRequest(name="Ville", type=TEXT, verbatim=True),
        )
        assert conversion.schema.names == ["code", "solde", "ne_le", "nom", FILE, SHEET, ROW]


def test_the_destination_is_read_back_without_expressions_and_filter():
    with Conversion.for_destination(mapping()) as conversion:
        assert [(c.name, str(c.type), c.verbatim) for c in conversion.columns] == [
            ("code", "string", False),
            ("solde", "decimal(12,2)", False),
            ("ne_le", "date", False),
            ("nom", "string", False),
        ]


def test_a_record_is_converted_with_its_expressions_and_the_filter_sees_the_result():
    with Conversion.for_source(mapping()) as conversion:
        converted = conversion.convert(
            RawBatch(
                pa.RecordBatch.from_pydict(
                    {
                        "Code": ["001", "002", "003"],
                        "Solde": ["1 234,50", "", "x"],
                        "Né le": ["1990-02-28", None, None],
                        "Nom": ["Anne", "Bob", "Chloé"],
                        "Ville": ["Lyon", "Nice", "Metz"],
                        FILE: ["in.csv"] * 3,
                        SHEET: pa.nulls(3, pa.string()),
                        ROW: [2, 3, 5],
                    }
                )
            )
        )
    (record,) = converted.records.to_pylist()
    assert record == {
        "code": "001",
        "solde": Decimal("1234.50"),
        "ne_le": date(1990, 2, 28),
        "nom": "Anne (Lyon)",
        FILE: "in.csv",
        SHEET: None,
        ROW: 2,
    }
    assert converted.filtered == 1
    (rejection,) = converted.rejections
    assert (rejection.rule, rejection.field, rejection.value, rejection.key) == ("convert", "solde", "x", "003")
    assert str(rejection.where) == "in.csv:5: Solde"
    assert rejection.record == {"Code": "003", "Solde": "x", "Né le": None, "Nom": "Chloé", "Ville": "Metz"}
    assert rejection.message == "'x': the expression parse_number(value, 'fr') cannot read this record"


def test_a_cell_s_address_is_given_where_the_sheet_s_columns_are_known():
    columns = {"a": ["x"], FILE: ["ventes.xlsx"], SHEET: ["Mars"], ROW: [7]}
    converted = convert([field("a", "b", "integer")], columns, positions={"a": "C"})
    assert str(converted.rejections[0].where) == "ventes.xlsx Mars!C7: a"
    converted = convert([field("a", "b", "integer")], columns)
    assert (converted.rejections[0].where.sheet, converted.rejections[0].where.row) == ("Mars", 7)


def test_only_the_first_field_at_fault_is_named_and_the_others_are_counted():
    converted = convert(
        [field("a", "a", "integer"), field("b", "b", "date"), field("c", "c", "boolean")],
        {"a": ["1", "x"], "b": ["z", "y"], "c": ["true", "oui"]},
    )
    first, second = converted.rejections
    assert (first.field, second.field) == ("b", "a")
    assert "2 more fields" in second.message
    assert converted.records.num_rows == 0


def test_a_composite_key_names_the_record_and_a_key_that_does_not_convert_names_none():
    fields = [field("a", "a", "date"), field("b", "b", "decimal(5,2)"), field("c", "c", "integer")]
    converted = convert(fields, {"a": ["2024-01-02", "x"], "b": ["1.5", "1"], "c": ["?", "1"]}, key=["a", "b"])
    assert [r.key for r in converted.rejections] == ["2024-01-02|1.50", None]


@pytest.mark.parametrize(
    ("type_", "text", "reason"),
    [
        ("integer", "12.7", "digits after the point"),
        ("integer", "9223372036854775808", "64 bits"),
        ("integer", "1.23457E+17", "exponent"),
        ("decimal(12,2)", "12,5a", "'12,5a' is not a decimal(12,2)"),
        ("decimal(12,2)", "1.235", "more than 2 digits after the point"),
        ("decimal(3,2)", "10", "more than 1 digits before the point"),
        ("double", "1e400", "range of doubles"),
        ("double", "NaN", "is not a double"),
        ("boolean", "oui", "true or false"),
        ("date", "2023-02-29", "no such day"),
        ("date", "31/12/2024", "2024-12-31"),
        ("timestamp", "2024-03-31T02:30:00", "skip this time"),
        ("timestamp", "2024-10-27T02:30:00", "twice"),
        ("timestamp", "2024-01-01T00:00:00.1234567Z", "6 digits"),
        ("json", "{'a': 1}", "is not a json"),
        ("json", "[" * 300 + "]" * 300, "levels deep"),
    ],
)
def test_a_refusal_says_why(type_, text, reason):
    _, (rejection,) = one([text], type_, timezone="Europe/Paris")
    assert reason in rejection.message
    assert rejection.value == text


def test_a_text_that_fills_a_page_is_shown_in_part_only():
    _, (rejection,) = one(["x" * 5000], "integer")
    assert len(rejection.message) < 200
    assert rejection.value == "x" * 5000


def test_null_empty_and_missing_stay_three_things():
    fields = [field("a", "a"), field("b", "b", "integer"), field("c", "c", optional=True)]
    converted = convert(fields, {"a": [None, ""], "b": [None, ""]})
    assert converted.records.column("a").to_pylist() == [None, ""]
    assert converted.records.column("b").to_pylist() == [None, None]
    assert converted.missing == {"c"}
    assert converted.rejections == []
    assert convert(fields, {"a": ["x"], "b": ["1"], "c": [None]}).missing == frozenset()


def test_keys_and_texts_are_kept_to_the_byte():
    texts = ["001", "1e5", "9007199254740993", "é", "e\u0301", "trailing ", "A", "a", "\0", "=1+1"]
    assert one(texts, "string") == (texts, [])
    assert one(texts, "string", "value") == (texts, [])


def test_a_missing_column_that_is_not_optional_stops_the_batch():
    with pytest.raises(SyncDataError) as stopped:
        convert([field("a", "b")], {"z": ["1"]})
    assert stopped.value.code == "column_missing"
    assert "z" in (stopped.value.hint or "")


def test_an_expression_sees_null_for_an_optional_column_that_is_missing():
    fields = [field("a", "x", expression="value || coalesce(c, '!')"), field("c", "c", optional=True)]
    assert convert(fields, {"a": ["1"]}).records.column("x").to_pylist() == ["1!"]


@pytest.mark.parametrize(
    ("values", "type_", "expected"),
    [
        (pa.array([12.0, 12.5, 1e300, None]), "integer", [12, "refused", "refused", None]),
        (pa.array([0.1, 1e-7, float("nan")]), "decimal(10,8)", [Decimal("0.10000000"), Decimal("0.00000010"), "refused"]),
        (pa.array([2**53 + 1]), "double", ["refused"]),
        (pa.array([2**63], pa.uint64()), "integer", ["refused"]),
        (pa.array([Decimal("1.230"), Decimal("1.235")]), "decimal(5,2)", [Decimal("1.23"), "refused"]),
        (pa.array([0, 1, 2]), "boolean", [False, True, "refused"]),
        (pa.array([True]), "integer", ["refused"]),
        (pa.array([datetime(2024, 1, 1), datetime(2024, 1, 1, 8)]), "date", [date(2024, 1, 1), "refused"]),  # noqa: DTZ001
        (pa.array([datetime(2024, 1, 1, tzinfo=UTC)]), "date", ["refused"]),
        (pa.array([datetime(2024, 7, 1, 12), datetime(2024, 3, 31, 2, 30)]), "timestamp", [datetime(2024, 7, 1, 10, tzinfo=UTC), "refused"]),  # noqa: DTZ001
        (pa.array([date(2050, 7, 1)]), "timestamp", [datetime(2050, 6, 30, 22, tzinfo=UTC)]),
        (pa.array([1], pa.timestamp("ns")), "timestamp", ["refused"]),
        (pa.array([b"abc"]), "string", ["refused"]),
        (pa.array([1.0, 1e20, 1e-7, 0.1]), "string", ["1", "100000000000000000000", "0.0000001", "0.1"]),
        (pa.array([Decimal("0E-10")], pa.decimal128(20, 10)), "string", ["0.0000000000"]),
        (pa.array([datetime(2024, 1, 1, 8, 0, 0, 500000, tzinfo=UTC)]), "string", ["2024-01-01T08:00:00.5Z"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "string", ["a", "b", "a"]),
        (pa.array(["1"], pa.large_string()), "integer", [1]),
        (pa.array(["1"], pa.string_view()), "integer", [1]),
    ],
)  # fmt: skip
def test_native_values_convert_exactly_or_are_refused(values, type_, expected):
    accepted, rejections = one(values, type_, timezone="Europe/Paris")
    assert accepted == [value for value in expected if not (isinstance(value, str) and value == "refused")]
    assert len(rejections) == expected.count("refused")


def test_bytes_are_shown_in_hexadecimal():
    _, (rejection,) = one(pa.array([b"\x00\xff"]), "string")
    assert rejection.value == "0x00ff"


def test_an_expression_s_result_is_converted_as_strictly_as_text():
    _, (rejection,) = one(["1,235"], "decimal(12,2)", "parse_number(value, 'fr')")
    assert "more than 2 digits after the point" in rejection.message
    assert rejection.value == "1,235"


def test_an_expression_over_native_values_that_does_not_fit_them_is_the_mapping_s_fault():
    with pytest.raises(MappingError) as wrong:
        one(pa.array([1, 2]), "string", "regexp_replace(value, 'a', 'b')")
    assert wrong.value.code == "expression_type"


def test_times_read_in_a_named_zone_are_refused_where_its_clocks_jump():
    accepted, rejections = one(
        ["31/03/2024 01:30", "31/03/2024 02:30", "27/10/2024 02:30", "01/07/2050 12:00"],
        "timestamp",
        "parse_timestamp(value, '%d/%m/%Y %H:%M', 'Europe/Paris')",
    )
    assert accepted == [datetime(2024, 3, 31, 0, 30, tzinfo=UTC), datetime(2050, 7, 1, 10, tzinfo=UTC)]
    assert ["skip" in r.message or "twice" in r.message for r in rejections] == [True, True]


def test_times_read_without_zone_are_in_the_mapping_s():
    accepted, _ = one(
        ["01/07/2024 12:00"], "timestamp", "parse_timestamp(value, '%d/%m/%Y %H:%M')", timezone="Europe/Paris"
    )
    assert accepted == [datetime(2024, 7, 1, 10, tzinfo=UTC)]


def test_an_offset_in_the_text_is_obeyed():
    accepted, _ = one(
        ["01/07/2024 12:00 +0530"], "timestamp", "parse_timestamp(value, '%d/%m/%Y %H:%M %z')", timezone="Europe/Paris"
    )
    assert accepted == [datetime(2024, 7, 1, 6, 30, tzinfo=UTC)]


def test_a_filter_that_fails_on_a_record_refuses_it():
    converted = convert([field("a", "b")], {"a": ["1", "x", "0"]}, filter="CAST(b AS INTEGER) > 0")
    assert converted.records.column("b").to_pylist() == ["1"]
    (rejection,) = converted.rejections
    assert (rejection.rule, rejection.field, rejection.record) == ("filter", None, {"a": "x"})
    assert converted.filtered == 1


def test_a_filter_compares_timestamps_dates_and_json_by_their_declared_types():
    fields = [field("t", "t", "timestamp"), field("d", "d", "date"), field("j", "j", "json")]
    columns = {"t": ["2024-01-01T10:00:00Z"] * 2, "d": ["2024-01-01", "2025-01-01"], "j": ['{"a": "x"}'] * 2}
    text = "t < TIMESTAMP '2024-06-01' AND year(d) = 2024 AND j->>'$.a' = 'x'"
    assert convert(fields, columns, filter=text).records.column("d").to_pylist() == [date(2024, 1, 1)]


def test_an_empty_batch_gives_an_empty_batch_of_the_same_schema():
    fields = [field("a", "b", "decimal(5,2)", "parse_number(value, 'fr')"), field("j", "j", "json")]
    converted = convert(fields, {"a": pa.array([], pa.string()), "j": pa.array([], pa.string())}, filter="b > 0")
    assert (converted.records.num_rows, converted.rejections, converted.filtered) == (0, [], 0)
    assert converted.records.schema.names == ["b", "j", FILE, SHEET, ROW]


def test_no_message_or_error_of_the_batch_holds_a_record_s_values():
    secret = "4f2d-secret"
    with pytest.raises(SyncDataError) as stopped:
        convert([field("a", "b"), field("z", "z")], {"a": [secret]})
    assert secret not in str(stopped.value)


def test_every_refused_expression_of_a_mapping_is_reported_at_once():
    broken = mapping(filter="solde")
    broken = broken.model_copy(
        update={"fields": (broken.fields[0], broken.fields[1].model_copy(update={"to_destination": "now()"}))}
    )
    with pytest.raises(MappingErrors) as wrong:
        Conversion.for_source(broken)
    assert [error.where.field for error in wrong.value.errors] == ["fields[1].to_destination", "filter"]


def test_an_unknown_time_zone_is_a_mapping_error():
    with pytest.raises(MappingError, match="no time zone"):
        Conversion([field("a", "b")], timezone="Europe/Pari")


def test_memory_does_not_grow_with_the_number_of_batches():
    fields = [
        field("a", "b", "decimal(12,2)", "parse_number(value, 'fr')"),
        field("t", "t", "timestamp"),
        field("j", "j", "json"),
    ]
    raw = RawBatch(
        pa.RecordBatch.from_pydict({"a": ["1,5"] * 5000, "t": ["2024-01-01T10:00:00"] * 5000, "j": ['{"a":1}'] * 5000})
    )
    with Conversion(fields, filter="b > 0", timezone="Europe/Paris") as conversion:
        conversion.convert(raw)
        before = pa.total_allocated_bytes()
        for _ in range(20):
            conversion.convert(raw)
        assert pa.total_allocated_bytes() <= before + 1_000_000
