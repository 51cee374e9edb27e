"""The JSON Schema and the reference page: they say what the loader does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from sync_provider.core.mapping_schema import mapping_reference, mapping_schema, mapping_schema_text
from sync_provider.core.mapping_text import parse_mapping
from sync_provider.core.yaml_text import parse_yaml

ROOT = Path(__file__).parents[2]

# Every key that a mapping can have, as the architecture fixes their names.
SAMPLE = """\
# yaml-language-server: $schema=./mapping.schema.json
version: 1
id: clients_ventes
description: Clients suivis par les commerciaux
mode: bidirectional
source:
  type: google_sheets
  connection: google_sheets_ventes
  spreadsheet: 1AbC
  sheet: Clients
destination:
  type: sql
  connection: app_db
  table: clients
key: [code]
fields:
  - {source: Code client, destination: code, type: string}
  - {source: Solde, destination: solde, type: "decimal(12,2)", to_destination: "parse_number(value, 'fr')", to_source: "value", nulls: clear}
  - {source: Modifié le, destination: modifie_le, type: timestamp}
filter: "solde IS NOT NULL"
write: upsert
incremental: {cursor: modifie_le, lookback: PT10M}
validation:
  expectations:
    - {type: expect_column_values_to_not_be_null, kwargs: {column: code}, severity: critical}
    - {type: expect_column_values_to_be_between, kwargs: {column: solde, min_value: 0}, severity: warning}
  on_failure: quarantine
  max_rejected: 5%
  on_partial: success
  atomic: false
conflicts:
  policy: merge
  granularity: cell
  change_time: {source: Modifié le, destination: modifie_le}
  fields: {solde: destination_wins}
deletes: none
delete_grace: P0D
guards: {max_deletes: 20%, window: P1D, max_deletes_in_window: 40%, on_trip: ask, approval_timeout: PT24H}
limits: {total_wait: PT30M, requests_per_minute: 60}
schedule: "*/15 * * * *"
timezone: Europe/Paris
alerts: {emails: [data@example.org], on: [failure, conflict, rejected, anomaly]}
webhooks: [{connection: hook_crm, events: [run.succeeded, run.failed]}]
backup: {keep: 10}
airflow: {owner: data, tags: [ventes], retries: 3, retry_delay: PT1M, execution_timeout: PT1H, pool: sheets, queue: null, priority_weight: 1, max_active_runs: 1}
"""
CSV_ENDPOINT = """{path: "in/*.csv", encoding: cp1252, delimiter: ";", quote: '"', header_row: 1, decimal: ",", date_order: dmy, only_new: true, settle: PT10S, type: csv}"""


def complaints(text: str) -> list[str]:
    return [error.message for error in Draft202012Validator(mapping_schema()).iter_errors(parse_yaml(text).data)]


def test_the_schema_is_a_valid_schema_of_its_dialect() -> None:
    Draft202012Validator.check_schema(mapping_schema())


def test_a_mapping_with_every_key_fits_schema_and_loader() -> None:
    assert complaints(SAMPLE) == []
    assert parse_mapping(SAMPLE).id == "clients_ventes"


def test_a_csv_endpoint_with_every_key_fits_schema_and_loader() -> None:
    lines = SAMPLE.splitlines()
    start = lines.index("source:")
    text = "\n".join([*lines[:start], f"source: {CSV_ENDPOINT}", *lines[start + 5 :]])
    # Patterns and only_new are for reading alone.
    text = re.sub(r"conflicts:\n(  .*\n)+", "", text.replace("mode: bidirectional", "mode: import"))
    text = text.replace('to_source: "value", ', "")
    assert complaints(text) == []
    assert parse_mapping(text).source.type == "csv"


@pytest.mark.parametrize("path", sorted((ROOT / "include" / "mappings").glob("[!_]*.yaml")), ids=lambda path: path.stem)
def test_the_samples_fit_the_schema(path: Path) -> None:
    assert complaints(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("id: clients_ventes", "id: Clients Ventes"),
        ("mode: bidirectional", "mode: both"),
        ("timestamp}", "datetime}"),
        ("lookback: PT10M", "lookback: 10 minutes"),
        ("max_rejected: 5%", "max_rejected: five"),
        ("keep: 10", "keep: ten"),
        ("backup:", "bakup:"),
        ("sheet: Clients", "sheet: {gid: -1}"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(old: str, new: str) -> None:
    from sync_provider.core.errors import MappingErrors

    text = SAMPLE.replace(old, new)
    assert text != SAMPLE
    assert complaints(text)
    with pytest.raises(MappingErrors):
        parse_mapping(text)


def test_the_files_made_from_the_models_are_up_to_date() -> None:
    """`airflow-sync schema --output … --docs …` writes them anew."""
    assert (ROOT / "include/mappings/mapping.schema.json").read_text(encoding="utf-8") == mapping_schema_text()
    assert (ROOT / "docs/mapping.md").read_text(encoding="utf-8") == mapping_reference()


def test_editors_see_a_title_and_a_description_for_every_key() -> None:
    schema = json.loads(mapping_schema_text())
    for part in (schema, *schema["$defs"].values()):
        assert part.get("description")
        for name, value in part["properties"].items():
            assert value["description"], name
            assert "\n" not in value["description"]
