"""A mapping's text: what is accepted, and every problem said once, at its place, with what would be right."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from sync_provider.core.descriptions import described
from sync_provider.core.endpoints import GoogleSheetsEndpoint
from sync_provider.core.errors import MappingError, MappingErrors
from sync_provider.core.mapping import Mapping
from sync_provider.core.mapping_text import NOT_SHARED, parse_defaults, parse_mapping
from sync_provider.core.schedule import Schedule

MINIMAL = """\
version: 1
id: clients
mode: import
source: {type: csv, path: in/clients.csv}
destination: {type: sql, connection: app_db, table: clients}
key: [code]
fields:
  - {source: Code client, destination: code}
  - {source: Solde, destination: solde, type: "decimal(12,2)"}
"""


def mapping(extra: str = "", **changed: str | None) -> str:
    """The minimal mapping with top-level lines replaced (None: left out) and lines added."""
    document = dict(line.split(": ", 1) for line in MINIMAL.splitlines()[:6])
    fields = "\n".join(MINIMAL.splitlines()[6:])
    document.update({key: value for key, value in changed.items() if value is not None})
    lines = [f"{key}: {value}" for key, value in document.items() if changed.get(key, "") is not None]
    return "\n".join([*lines, fields, extra]) + "\n"


def errors(text: str) -> list[MappingError]:
    with pytest.raises(MappingErrors) as caught:
        parse_mapping(text, file="m.yaml")
    return list(caught.value.errors)


def said(text: str) -> list[str]:
    return [str(error) for error in errors(text)]


def only(text: str) -> str:
    messages = said(text)
    assert len(messages) == 1, messages
    return messages[0]


def test_the_smallest_mapping_gets_every_default() -> None:
    parsed = parse_mapping(MINIMAL)
    assert parsed.dag_id == "sync__clients"
    assert (parsed.write, parsed.deletes, parsed.timezone) == ("upsert", "none", "Europe/Paris")
    assert parsed.when == Schedule("none")
    assert [field.logical_type.kind for field in parsed.fields] == ["string", "decimal"]


def test_the_key_on_of_alerts_is_read() -> None:
    assert parse_mapping(mapping("alerts: {emails: [a@example.org], on: [failure, rejected]}")).alerts.on == (
        "failure",
        "rejected",
    )


def test_texts_that_look_like_something_else_reach_the_mapping_as_written() -> None:
    source = "{type: csv, path: 2024-01-01, null_values: [no, 012, 1:30, 2024-01-01, 1_000, 0o14, yes, on, NULL]}"
    parsed = parse_mapping(mapping("description: no", source=source))
    assert parsed.description == "no"
    assert parsed.source.model_dump()["path"] == "2024-01-01"
    assert parsed.source.model_dump()["null_values"] == (
        "no", "012", "1:30", "2024-01-01", "1_000", "0o14", "yes", "on", "NULL",
    )  # fmt: skip


@pytest.mark.parametrize("value", ["true", "12", "1.5"])
def test_a_value_that_is_no_text_is_not_taken_for_text_silently(value: str) -> None:
    assert "Put it in quotes" in only(mapping(f"description: {value}"))
    assert parse_mapping(mapping(f"description: '{value}'")).description == value


def test_schedules_by_assets_are_told_apart() -> None:
    parsed = parse_mapping(mapping("schedule: {assets: ['s3://b/x'], cron: '@daily'}"))
    assert parsed.when == Schedule("assets", "@daily", assets=("s3://b/x",))


PROBLEMS = {
    "an unknown key": (
        mapping("shedule: '@daily'"),
        "m.yaml:10:1: shedule: this key is unknown. Did you mean schedule?",
    ),
    "an unknown key of a nested part": (
        mapping("guards: {max_delete: 5}"),
        "m.yaml:10:10: guards.max_delete: this key is unknown. Did you mean max_deletes?",
    ),
    "an unknown key of an endpoint": (
        mapping(source="{type: csv, path: a.csv, delimitr: ';'}"),
        "m.yaml:4:34: source.delimitr: this key is unknown. Did you mean delimiter?",
    ),
    "a key of another type of endpoint": (
        mapping(source="{type: csv, path: a.csv, table: x}"),
        "m.yaml:4:34: source.table: this key is unknown. Keys here are connection, date_order",
    ),
    "an unknown key of a field": (
        MINIMAL + "  - {source: a, destination: b, typ: date}\n",
        "m.yaml:10:33: fields[2].typ: this key is unknown. Did you mean type?",
    ),
    "a wrong choice": (
        mapping(mode="imprt"),
        "m.yaml:3:7: mode: expected one of import, export, bidirectional, not 'imprt'. Did you mean import?",
    ),
    "a wrong type of endpoint": (
        mapping(source="{type: cvs, path: a}"),
        "m.yaml:4:16: source.type: expected one of csv, excel, sql, google_sheets, not 'cvs'. Did you mean csv?",
    ),
    "an endpoint without type": (
        mapping(source="{path: a}"),
        "m.yaml:4:1: source.type: this key is missing. Types are csv, excel, sql, google_sheets",
    ),
    "an endpoint that is no set of keys": (
        mapping(source="in/clients.csv"),
        "m.yaml:4:9: source: expected a set of keys, not 'in/clients.csv'",
    ),
    "a missing key": (mapping(destination=None), "m.yaml:1:1: destination: this key is missing"),
    "a missing key of a nested part": (
        mapping(source="{type: csv}"),
        "m.yaml:4:1: source.path: this key is missing. It means: File below the root",
    ),
    "a schedule that is a number": (
        mapping("schedule: 5"),
        "m.yaml:10:11: schedule: expected text or a set of keys, not the number 5. It means: cron, preset",
    ),
    "a schedule that is no schedule": (
        mapping("schedule: 1:30"),
        "m.yaml:10:11: schedule: '1:30' is not a cron expression such as",
    ),
    "a schedule with an unknown key": (
        mapping("schedule: {assets: [a], crn: '@daily'}"),
        "m.yaml:10:25: schedule.crn: this key is unknown. Did you mean cron?",
    ),
    "a schedule whose cron is none": (
        mapping("schedule: {assets: [a], cron: daily}"),
        "m.yaml:10:31: schedule.cron: 'daily' is not a cron expression",
    ),
    "a time zone": (
        mapping("timezone: Europe/Pari"),
        "m.yaml:10:11: timezone: 'Europe/Pari' is no time zone; did you mean Europe/Paris?",
    ),
    "a share that is a fraction": (
        mapping("guards: {max_deletes: 1.5}"),
        "m.yaml:10:23: guards.max_deletes: expected a whole number or text, not the number 1.5",
    ),
    "a negative share": (
        mapping("validation: {max_rejected: -1}"),
        "m.yaml:10:28: validation.max_rejected: a number of records cannot be negative",
    ),
    "a type": (
        MINIMAL + "  - {source: a, destination: b, type: text}\n",
        "m.yaml:10:39: fields[2].type: 'text' is no type. Did you mean string? Types are string, integer",
    ),
    "a type in other letters": (
        MINIMAL + "  - {source: a, destination: b, type: intger}\n",
        "m.yaml:10:39: fields[2].type: 'intger' is no type. Did you mean integer?",
    ),
    "a decimal without digits": (
        MINIMAL + "  - {source: a, destination: b, type: decimal}\n",
        "m.yaml:10:39: fields[2].type: 'decimal' is no type. Write it with digits and decimal places, in quotes where",
    ),
    "a sheet that is no regular expression": (
        mapping(source="{type: excel, path: a.xlsx, sheet: '/[/'}"),
        "m.yaml:4:44: source.sheet: '/[/' is no regular expression: unterminated character set",
    ),
    "a cursor that does not grow": (
        MINIMAL + "  - {source: b, destination: b, type: boolean}\nincremental: {cursor: b}\n",
        "m.yaml:11:23: incremental.cursor: 'b' is a boolean; follow an integer, date",
    ),
    "a cursor that cannot look back": (
        mapping("incremental: {cursor: code, lookback: P1D}"),
        "m.yaml:10:39: incremental.lookback: 'code' is of type string: only date and timestamp cursors can look back",
    ),
    "deletions of one way": (mapping("deletes: propagate"), "m.yaml:10:10: deletes: only mode: bidirectional passes"),
    "a way back of one way": (
        MINIMAL + "  - {source: a, destination: b, to_source: value}\n",
        "m.yaml:10:44: fields[2].to_source: only mode: bidirectional writes to the source",
    ),
    "a direction of one way": (
        MINIMAL + "  - {source: a, destination: b, direction: to_source}\n",
        "m.yaml:10:44: fields[2].direction: only mode: bidirectional has directions",
    ),
    "a switch that is a word": (
        mapping("validation: {atomic: yes}"),
        "m.yaml:10:22: validation.atomic: expected true or false, not 'yes'. Write true or false",
    ),
    "a list that is one text": (
        mapping(key="code"),
        "m.yaml:6:6: key: expected a list, not 'code'. Write it as [a, b]",
    ),
    "an empty list": (
        mapping("schedule: {assets: []}"),
        "m.yaml:10:20: schedule.assets: needs at least 1 item(s)",
    ),
    "a number out of bounds": (mapping("airflow: {retries: 99}"), "m.yaml:10:20: airflow.retries: must be at most 20"),
    "a null where text is expected": (mapping("description:"), "m.yaml:10:13: description: expected text, not null"),
    "a duration": (mapping("delete_grace: 1 day"), "m.yaml:10:15: delete_grace: '1 day' is no ISO 8601 duration"),
    "an encoding": (
        mapping(source="{type: csv, path: a, encoding: klingon}"),
        "m.yaml:4:40: source.encoding: 'klingon' is no text encoding",
    ),
    "an encoding of bytes": (
        mapping(source="{type: csv, path: a, encoding: base64}"),
        "m.yaml:4:40: source.encoding: 'base64' is no text encoding",
    ),
    "a table and a query": (
        mapping(destination="{type: sql, connection: c, table: t, query: SELECT 1}"),
        "m.yaml:5:1: destination: give either table or query",
    ),
    "a key of a dictionary": (
        mapping("conflicts: {change_time: {sorce: a}}", mode="bidirectional"),
        "m.yaml:10:27: conflicts.change_time.sorce: expected one of source, destination, not 'sorce'. Did you mean",
    ),
    "a tab of a spreadsheet": (
        mapping(source="{type: google_sheets, connection: g, spreadsheet: s, sheet: {gd: 1}}"),
        "m.yaml:4:70: source.sheet.gd: this key is unknown. Did you mean gid?",
    ),
    "a version of tomorrow": (mapping(version="2"), "m.yaml:1:10: version: expected 1, not the number 2"),
    "a field mapped twice": (
        MINIMAL + "  - {source: a, destination: code}\n",
        "m.yaml:10:30: fields[2].destination: 'code' is mapped twice",
    ),
    "a key that is no field": (
        mapping(key="[code, nom]"),
        "m.yaml:6:13: key[1]: 'nom' is no destination field; fields are code, solde",
    ),
    "no key to update by": (mapping(key=None), "m.yaml:1:1: key: write: upsert needs a key"),
    "a pattern to write to": (
        mapping(destination="{type: csv, path: 'out/*.csv'}"),
        "m.yaml:5:32: destination.path: a pattern can only be read",
    ),
    "conflicts of one way": (mapping("conflicts: {}"), "m.yaml:10:1: conflicts: only mode: bidirectional"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_one_problem_is_said_once_at_its_place_with_what_would_be_right(name: str) -> None:
    text, expected = PROBLEMS[name]
    assert only(text).startswith(expected)


@pytest.mark.parametrize("bad", ["X", "a b", "../../etc", "é", "1a", "a" * 81, "", "💥", "a/b", "sync.x", "a" * 300])
def test_an_id_outside_the_rule_is_refused_with_the_rule(bad: str) -> None:
    assert "use 1 to 80 characters a-z, 0-9 and _, starting with a letter" in only(mapping(id=f"'{bad}'"))


def test_all_problems_of_a_file_are_reported_in_the_order_of_the_file() -> None:
    text = mapping("airflow: {retries: -1}\nwrite: up\nid: again\n", mode="x", source="{type: csv, pth: a}")
    assert [(error.where.line, error.where.field) for error in errors(text)] == [
        (3, "mode"),
        (4, "source.pth"),
        (10, "airflow.retries"),
        (11, "write"),
        (12, "id"),
    ]


def test_a_misspelt_key_is_not_reported_as_missing_too() -> None:
    text = mapping(source=None) + "soruce: {type: csv, path: a}\n"
    assert [error.code for error in errors(text)] == ["mapping_unknown_key"]


def test_a_wrong_item_does_not_make_its_list_too_short() -> None:
    assert len(said(mapping().replace("{source: Code client, destination: code}", "5").replace("code", "solde"))) == 1


def test_a_stray_key_named_like_the_type_is_placed_where_it_stands() -> None:
    assert only(mapping(source="{type: csv, path: a, csv: {x: 1}}")).startswith("m.yaml:4:30: source.csv: this key is")


@pytest.mark.parametrize(
    "text",
    [
        mapping(destination="{type: sql, connection: 'postgres://u:S3CRET@db/x', table: t}"),
        mapping(source="{type: csv, path: 's3://key:S3CRET@bucket/a.csv'}"),
        mapping("schedule: {assets: ['postgres://u:S3CRET@db/x']}"),
        mapping("password: S3CRET"),
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(text: str) -> None:
    error = errors(text)[0]
    assert "S3CRET" not in f"{error}{error.as_dict()}"


def test_every_error_survives_pickling_with_its_place() -> None:
    with pytest.raises(MappingErrors) as caught:
        parse_mapping(mapping(mode="x", key="y"), file="m.yaml")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.as_dict() == caught.value.as_dict()
    assert len(again.as_dict()["errors"]) == 2


def test_defaults_fill_in_key_by_key_and_lists_as_a_whole() -> None:
    defaults = parse_defaults(
        "guards: {max_deletes: 1%, on_trip: fail}\nairflow: {owner: équipe, tags: [a, b]}\nschedule: '@daily'\n"
    )
    parsed = parse_mapping(mapping("guards: {max_deletes: 2%}\nairflow: {tags: [c]}"), defaults=defaults)
    assert (parsed.guards.max_deletes, parsed.guards.on_trip) == ("2%", "fail")
    assert (parsed.airflow.owner, parsed.airflow.tags) == ("équipe", ("c",))
    assert parsed.when.text == "@daily"


def test_an_explicit_null_wins_over_a_default() -> None:
    defaults = parse_defaults("schedule: '@daily'\n")
    assert parse_mapping(mapping("schedule: null"), defaults=defaults).schedule is None


def test_defaults_are_checked_by_themselves() -> None:
    with pytest.raises(MappingErrors) as caught:
        parse_defaults("airflow: {retris: 3}\nid: x\ntimezone: Nowhere\n", file="_defaults.yaml")
    assert [str(error).split(". ")[0] for error in caught.value.errors] == [
        "_defaults.yaml:1:11: airflow.retris: this key is unknown",
        "_defaults.yaml:2:1: id: this key belongs to each mapping and has no default",
        "_defaults.yaml:3:11: timezone: 'Nowhere' is no time zone; write a name such as Europe/Paris or UTC",
    ]


@pytest.mark.parametrize("key", sorted(NOT_SHARED))
def test_what_makes_a_mapping_its_own_has_no_default(key: str) -> None:
    with pytest.raises(MappingErrors, match="belongs to each mapping"):
        parse_defaults(f"{key}: x\n")


def test_a_problem_that_defaults_bring_names_both_files() -> None:
    defaults = parse_defaults("conflicts: {policy: newest}\n", file="_defaults.yaml")
    with pytest.raises(MappingErrors) as caught:
        parse_mapping(MINIMAL, file="m.yaml", defaults=defaults)
    assert str(caught.value).startswith("_defaults.yaml:1:1: conflicts: only mode: bidirectional has conflicts")
    assert "m.yaml" in str(caught.value)


def test_reading_what_was_dumped_gives_the_same_mapping() -> None:
    parsed = parse_mapping(mapping("schedule: {assets: [x]}\nvalidation: {max_rejected: 5%}"))

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value

    assert parse_mapping(yaml.safe_dump(plain(parsed.model_dump()), allow_unicode=True)) == parsed


def test_every_key_of_every_model_is_described() -> None:
    def undescribed(model: Any) -> list[str]:
        own = [f"{model.__name__}.{name}" for name in model.model_fields if not described(model).get(name)]
        return own + [name for child in model.__subclasses__() for name in undescribed(child)]

    assert undescribed(Mapping.__base__) == []


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"write": "mirror", "incremental": {"cursor": "at"}}, ("incremental",)),
        ({"write": "replace", "source": {"type": "csv", "path": "*.csv", "only_new": True}}, ("source", "only_new")),
        ({"key": ["ratio"]}, ("key", 0)),
    ],
)
def test_what_could_only_go_wrong_is_refused(keys: dict[str, object], path: tuple[object, ...]) -> None:
    data = {
        "version": 1,
        "id": "sample",
        "mode": "import",
        "source": {"type": "csv", "path": "in.csv"},
        "destination": {"type": "sql", "connection": "db", "table": "t"},
        "key": ["at"],
        "fields": [
            {"source": "at", "destination": "at", "type": "timestamp"},
            {"source": "ratio", "destination": "ratio", "type": "double"},
        ],
    }
    with pytest.raises(ValidationError) as caught:
        Mapping.model_validate({**data, **keys})
    (error,) = caught.value.errors()
    assert [tuple(where) for where, _ in error["ctx"]["problems"]] == [path]


@pytest.mark.parametrize(
    "given",
    [
        "1AbC_-9",
        "https://docs.google.com/spreadsheets/d/1AbC_-9/edit?usp=sharing#gid=7",
        "https://docs.google.com/spreadsheets/u/1/d/1AbC_-9/edit",
        "https://docs.google.com/a/example.org/spreadsheets/d/1AbC_-9",
    ],
)
def test_a_spreadsheet_is_known_by_its_id_or_any_of_its_addresses(given: str) -> None:
    endpoint = GoogleSheetsEndpoint(type="google_sheets", connection="g", spreadsheet=given)
    assert endpoint.spreadsheet == "1AbC_-9"


def test_the_address_of_a_published_copy_is_not_taken_for_the_spreadsheet() -> None:
    published = "https://docs.google.com/spreadsheets/d/e/2PACX-1vQ/pubhtml"
    with pytest.raises(ValidationError, match="is no id or address of a spreadsheet"):
        GoogleSheetsEndpoint(type="google_sheets", connection="g", spreadsheet=published)
