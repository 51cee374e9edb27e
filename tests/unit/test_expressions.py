"""What an expression may say, and what the refusals say."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml
from sync_provider.core.errors import MappingError, SyncDataError
from sync_provider.core.functions import FUNCTIONS, REFUSED
from sync_provider.core.macros import MACROS
from sync_provider.core.mapping import Mapping
from sync_provider.core.schema import LogicalType, parse_type
from sync_provider.engine.casts import plain, to_text
from sync_provider.engine.evaluator import Evaluator
from sync_provider.engine.expressions import check_expression, check_mapping_expressions
from sync_provider.engine.locked_duckdb import connect

TEXT = LogicalType("string")
COLUMNS: dict[str, LogicalType | None] = {"value": TEXT, "Prénom": TEXT, "Solde dû": TEXT}


def refusal(text: str, **options: Any) -> MappingError:
    with pytest.raises(MappingError) as caught:
        check_expression(text, COLUMNS, **options)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "value",
        "NULL",
        "'FR'",
        "lower(trim(value))",
        "VALUE || ' ' || \"Prénom\"",
        "CASE value WHEN 'O' THEN 'oui' WHEN 'N' THEN 'non' END",
        'CASE WHEN "Solde dû" = \'\' THEN NULL ELSE "Solde dû" END',
        "coalesce(nullif(value, ''), 'inconnu')",
        "value IN ('a', 'b') AND value NOT LIKE 'x%' OR value IS NULL",
        "value BETWEEN 'a' AND 'b'",
        "TRY_CAST(value AS INTEGER)",
        "parse_number(value, 'fr') * 1.2",
        "parse_date(value, '%d/%m/%Y') + INTERVAL 1 DAY",
        "extract(year FROM parse_date(value, '%d/%m/%Y'))",
        "split_part(value, ';', 2)",
        "regexp_replace(value, '[^0-9]', '', 'g')",
        "lpad(value, 8, '0')",
        "value->>'$.client.nom'",
        "list_extract(string_split(value, ','), 1)",
        "value[1:3]",
        "substring(value FROM 1 FOR 3)",
        "value SIMILAR TO '[a-z]+'",
        "'il l''a dit -- (vraiment) ; $'",
    ],
)
def test_one_scalar_expression_of_the_record_is_accepted(text):
    check_expression(text, COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "(",
        "value value",
        "value; DROP TABLE x",
        "value); DROP TABLE x; --",
        "1) FROM (SELECT 1",
        "1), (2",
        "1, 2",
        "(SELECT 1)",
        "EXISTS (SELECT 1)",
        "value IN (SELECT 1)",
        "value = ANY(SELECT 1)",
        "(VALUES (1))",
        "1 FROM range(10)",
        "1 WHERE true",
        "1 UNION SELECT 2",
        "1 ORDER BY 1",
        "1 LIMIT 1",
        "1 AS x",
        "DISTINCT value",
        "*",
        "COLUMNS(*)",
        "?",
        "$1",
        "#1",
        "DEFAULT",
        "count(*)",
        "sum(value)",
        "string_agg(value, ',')",
        "row_number() OVER ()",
        "lag(value) OVER ()",
        "upper(DISTINCT value)",
        "upper(value ORDER BY value)",
        "upper(value) FILTER (WHERE true)",
        "unnest([1, 2])",
        "range(1000000000)",
        "generate_series(1, 1000000000)",
        "[x FOR x IN range(1000000)]",
        "list_transform([1], lambda x: x)",
        "list_reduce(['a'], lambda x, y: x || x)",
        "random()",
        "uuid()",
        "now()",
        "today()",
        "current_date",
        "CURRENT_TIMESTAMP",
        "localtime",
        "age(TIMESTAMP '2024-01-01')",
        "current_user",
        "current_setting('memory_limit')",
        "getenv('HOME')",
        "getvariable('x')",
        "nextval('s')",
        "read_csv('/etc/passwd')",
        "read_text('/etc/passwd')",
        "glob('/*')",
        "query('SELECT 1')",
        "pg_catalog.version()",
        "main.upper(value)",
        "value.upper()",
        "json_serialize_sql('SELECT 1')",
        "error('x')",
        "sleep_ms(100000)",
        "write_log('x')",
        "format('{:1000000000}', 1)",
        "printf('%1000000000d', 1)",
        "bitstring('1', 1000000000)",
        "factorial(100)",
        "hash(value)",
        "value COLLATE nocase",
        "x'ab'",
        "E'\\n'",
        "$$text$$",
        "value -- remark",
        "value /* remark */",
        "value::BIGNUM",
        "value::BLOB",
        "value::TIMESTAMPTZ",
        "value::VARCHAR[]",
        "value::STRUCT(a INTEGER)",
        "value AT TIME ZONE 'UTC'",
        "inconnu",
        "a.b",
        "__class__",
        "value\u00a0|| 'a'",
        "value \ud800",
        "value\0",
    ],
)
def test_anything_else_is_refused_with_a_way_out(text):
    refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "repeat('a', 3000000000)",
        "repeat(value, 1000)",
        "repeat(repeat(value, 30), 30)",
        "repeat(value, length(value))",
        "lpad(value, 2000000000, 'x')",
        "lpad(value, length(value) * 1000, 'x')",
        "replace(value, 'a', value)",
        "replace(replace(replace(value, 'a', 'aaaaaaaaaa'), 'a', 'aaaaaaaaaa'), 'a', 'aaaaaaaaaa')",
        "regexp_replace(value, 'a', value, 'g')",
        "regexp_replace(value, '(a+)', '" + "\\1" * 100 + "', 'g')",
        "regexp_matches(value, value)",
        "json_extract(value, '$..*')",
        "title(title(value))",
        " || ".join(["value"] * 65),
        "'a'*10000000000",
        "nullif(" * 20 + "value" + ", '')" * 20,
        "split_part(" * 12 + "value" + ", ';', 1)" * 12,
        "case " * 8 + "value" + " when 'a' then 'b' when 'c' then 'd' end" * 8,
        "case '' || case value when 'a' then 'b' when 'c' then 'd' end when 'e' then 'f' end",
        "(" * 5000,
        "[" * 201,
        "upper(" * 150 + "value" + ")" * 150,
        "value" + "::VARCHAR" * 300,
        "value || " * 2000 + "value",
    ],
)
def test_an_expression_that_could_outgrow_its_record_never_runs(text):
    refusal(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("uper(value)", "upper"),
        ("valeu", "value"),
        ('"Solde du"', "Solde dû"),
        ("value->'a'", "->>"),
        ("now()", "expressions.md"),
        ("parse_number(value, 'french')", "expressions.md"),
    ],
)
def test_a_refusal_names_the_nearest_thing_that_works(text, hint):
    assert hint in (refusal(text).hint or "")


@pytest.mark.parametrize(
    "format_",
    ["%d/%m", "%Y", "%H:%M", "%d/%m/%Y %I:%M", "%d/%m/%Q", "%d/%m/%Y%", "jj/mm/aaaa"],
)
def test_a_date_format_that_leaves_something_out_is_refused(format_):
    refusal(f"parse_timestamp(value, '{format_}')")


def test_a_date_format_with_a_time_would_lose_it():
    assert "parse_timestamp" in refusal("parse_date(value, '%d/%m/%Y %H:%M')").message


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("parse_number(value, 'fr') / 100", "decimal(12,2)"),
        ("value = 'a'", "date"),
        ("parse_date(value, '%d/%m/%Y')", "integer"),
        ("length(value)", "timestamp"),
        ("string_split(value, ',')", "string"),
        ("INTERVAL 1 DAY", "string"),
    ],
)
def test_a_result_of_another_kind_than_the_field_is_refused(text, type_name):
    assert refusal(text, type=parse_type(type_name)).code == "expression_type"


def test_a_filter_must_be_true_or_false():
    assert refusal("value", boolean=True).code == "expression_type"
    check_expression("solde > 10.5", {"solde": parse_type("decimal(12,2)")}, boolean=True)


def test_text_used_as_a_number_is_refused_with_the_macros_that_read_it():
    assert "parse_number" in (refusal("value + 1").hint or "")


def test_types_that_only_the_data_will_tell_are_not_guessed():
    check_expression("value * 2", {"value": None})


def test_case_of_names_matters_only_where_two_columns_differ_by_nothing_else():
    columns: dict[str, LogicalType | None] = {"Solde": TEXT, "solde": TEXT, "Nom": TEXT}
    check_expression("NOM || Solde", columns)
    with pytest.raises(MappingError, match="could be"):
        check_expression("SOLDE", columns)
    with pytest.raises(MappingError, match="same"):
        check_expression("Solde || solde", columns)


def test_every_function_allowed_exists_and_gives_the_same_result_each_time():
    with connect() as connection:
        rows = connection.sql(
            "SELECT function_name, list(DISTINCT stability) FROM duckdb_functions()"
            " WHERE function_type IN ('scalar', 'macro') GROUP BY ALL"
        ).fetchall()
    kinds = {name.lower(): set(stabilities) for name, stabilities in rows}
    for name in FUNCTIONS:
        assert name in kinds, f"{name} does not exist"
        assert kinds[name] <= {"CONSISTENT", None}, name
    assert not FUNCTIONS.keys() & REFUSED.keys()


def test_nested_functions_that_duckdb_defines_as_macros_are_counted_as_often_as_they_repeat():
    with connect() as connection:
        macros = connection.sql(
            "SELECT function_name, parameters, macro_definition FROM duckdb_functions() WHERE function_type = 'macro'"
        ).fetchall()
    for name, parameters, definition in macros:
        if name in FUNCTIONS and name not in MACROS:
            repeated = max(definition.replace('"', "").count(parameter) for parameter in parameters)
            assert FUNCTIONS[name].copies >= min(repeated, 2), (name, definition)


@pytest.mark.parametrize("name", MACROS)
def test_each_macro_s_documented_example_holds(name):
    example, expected = MACROS[name].example
    check_expression(example, {})
    with Evaluator() as evaluator:
        values, failed = evaluator.evaluate(example, {}, 1)
    assert failed is None
    assert to_text(plain(values)).to_pylist() == [expected or None]


def given(expression: str, *texts: str | None, timezone: str = "UTC") -> list[Any]:
    """What an expression makes of each text; "refused" where it fails."""
    check_expression(expression, {"value": TEXT})
    with Evaluator(timezone=timezone) as evaluator:
        values, failed = evaluator.evaluate(expression, {"value": pa.array(texts, pa.string())}, len(texts))
    outcome = failed.to_pylist() if failed is not None else [False] * len(texts)
    return ["refused" if bad else value for bad, value in zip(outcome, values.to_pylist(), strict=True)]


@pytest.mark.parametrize(
    ("style", "text", "number"),
    [
        ("fr", "1 234,56", "1234.56"),
        ("fr", "1\u202f234\u00a0567,8", "1234567.8"),
        ("fr", " -12 ", "-12"),
        ("fr", "0,10000000000000", "0.1"),
        ("fr", "1.234,56", None),
        ("fr", "12 34,5", None),
        ("fr", "1,5€", None),
        ("fr", "1,12345678901", None),
        ("fr", "1e5", None),
        ("en", "1,234.56", "1234.56"),
        ("en", "1,23", None),
        ("de", "1.234.567,8", "1234567.8"),
        ("de", "1.23", None),
        ("ch", "1'234.5", "1234.5"),
        ("ch", "1’234.5", "1234.5"),
    ],
)
def test_parse_number_reads_one_country_s_style_and_refuses_the_others(style, text, number):
    assert given(f"parse_number(value, '{style}')", text) == [Decimal(number) if number else "refused"]


def test_macros_keep_null_and_make_blank_text_null():
    for call in (
        "parse_number(value, 'fr')",
        "parse_date(value, '%d/%m/%Y')",
        "parse_timestamp(value, '%d/%m/%Y %H:%M', 'Europe/Paris')",
        "parse_boolean(value, 'oui', 'non')",
        "empty_to_null(value)",
    ):
        assert given(call, None, "", " \u00a0 ") == [None, None, None], call


def test_a_day_that_does_not_exist_and_a_year_of_two_digits_are_refused():
    assert given("parse_date(value, '%d/%m/%Y')", "29/02/2023", "31/12/24", "1/1/2024 x") == ["refused"] * 3


def test_one_record_s_failure_is_its_own():
    assert given("CAST(value AS INTEGER)", "1", "x", None, "4") == [1, "refused", None, 4]


def test_the_regular_expression_engine_takes_time_in_proportion_to_its_input():
    assert given("regexp_matches(value, '^(a+)+$')", "a" * 100_000 + "!") == [False]


def test_an_expression_that_runs_into_its_deadline_stops():
    text = " || ".join([f"regexp_replace(value, '(a|b|c|d){{1,50}}x{i}', '')" for i in range(30)])
    with Evaluator(deadline_s=0.05) as evaluator, pytest.raises(SyncDataError) as stopped:
        evaluator.evaluate(text, {"value": pa.array(["abcd" * 500] * 20_000)}, 20_000)
    assert stopped.value.code == "expression_deadline"


def test_the_connection_reaches_nothing_and_stays_locked(tmp_path):
    path = tmp_path / "secret.csv"
    path.write_text("a\n1\n")
    with connect() as connection:
        for statement in (
            f"SELECT * FROM read_csv('{path}')",
            f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
            f"ATTACH '{tmp_path / 'x.db'}'",
            "SET enable_external_access = true",
            "SET memory_limit = '10GB'",
            "RESET lock_configuration",
            "INSTALL httpfs",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)
    assert list(tmp_path.iterdir()) == [path]


def mapping(fields: list[dict[str, Any]], source: dict[str, Any] | None = None, **more: Any) -> Mapping:
    return Mapping.model_validate(
        {
            "version": 1,
            "id": "m",
            "mode": "import",
            "source": source or {"type": "csv", "path": "in.csv"},
            "destination": {"type": "sql", "connection": "db", "table": "t"},
            "write": "append",
            "fields": fields,
            **more,
        }
    )


def test_a_mapping_s_errors_say_which_key_is_wrong():
    wrong = mapping(
        [
            {"source": "Nom", "destination": "nom", "to_destination": "uper(value)"},
            {"source": "Solde", "destination": "solde", "type": "decimal(12,2)"},
            {"source": "Jour", "destination": "jour", "type": "date", "to_destination": "length(value)"},
        ],
        filter="sold > 0",
    )
    errors = check_mapping_expressions(wrong)
    assert [error.where.field for error in errors] == ["fields[0].to_destination", "fields[2].to_destination", "filter"]
    assert "solde" in (errors[2].hint or "")


def test_unmapped_columns_may_be_used_and_are_checked_once_the_source_is_known():
    m = mapping([{"source": "Nom", "destination": "nom", "to_destination": "value || ' ' || Ville"}])
    assert check_mapping_expressions(m) == []
    assert check_mapping_expressions(m, ["Nom", "Ville"]) == []
    (error,) = check_mapping_expressions(m, ["Nom", "Villes"])
    assert "Villes" in (error.hint or "")


def test_a_column_of_a_file_is_not_read_in_two_ways_at_once():
    (error,) = check_mapping_expressions(
        mapping(
            [
                {"source": "Jour", "destination": "jour", "type": "date"},
                {"source": "Jour", "destination": "texte", "type": "string"},
            ]
        )
    )
    assert error.code == "column_read_twice"
    sql = {"type": "sql", "connection": "db", "table": "s"}
    both = [{"source": "j", "destination": "a", "type": "date"}, {"source": "j", "destination": "b"}]
    assert check_mapping_expressions(mapping(both, source=sql)) == []


def documentation() -> str:
    return (Path(__file__).parents[2] / "docs" / "expressions.md").read_text()


def test_the_documentation_names_every_function_and_no_other():
    section = documentation().split("### DuckDB's functions")[1].split("### What is refused")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    named = {name.replace("\\|", "|") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named == FUNCTIONS.keys() - MACROS.keys()


def test_the_documentation_s_examples_are_the_tested_ones():
    for macro in MACROS.values():
        example, result = macro.example
        assert (
            f"| `{macro.signature}` | {macro.about} | `{example}` | {f'`{result}`' if result else 'null'} |"
            in documentation()
        )


def test_the_documentation_s_mapping_is_accepted():
    block = re.search(r"```yaml\n(.*?)```", documentation(), re.DOTALL)
    assert block is not None
    assert check_mapping_expressions(mapping(**yaml.safe_load(block[1]))) == []
