"""Whatever the text: a mapping, or errors with file and line; never another exception, never a changed value."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sync_provider.core.errors import MappingErrors
from sync_provider.core.mapping import Mapping
from sync_provider.core.mapping_text import parse_defaults, parse_mapping
from sync_provider.core.yaml_text import parse_yaml
from sync_provider.engine.loader import Scan, scan_mappings

VALID = (
    """\
version: 1
id: clients
mode: import
source: {type: csv, path: "in/*.csv", encoding: cp1252, delimiter: ";", null_values: [NULL, n/a]}
destination:
  type: sql
  connection: app_db
  table: clients
key: [code]
fields:
  - {source: Code, destination: code}
  - source: Solde
    destination: solde
    type: decimal(12,2)
    to_destination: "parse_number(value, 'fr')"
filter: "solde IS NOT NULL"
validation:
  expectations: [{type: expect_column_values_to_be_between, kwargs: {column: solde, min_value: 0, max_value: 1.5}}]
  max_rejected: 5%
schedule: "*/15 * * * *"
""",
    """\
version: 1
id: export
mode: bidirectional
source: {type: google_sheets, connection: g, spreadsheet: s, sheet: {gid: 12}}
destination: {type: excel, path: out.xlsx, sheet: Feuille 1}
key: [a]
fields: [{source: A, destination: a, type: timestamp, nulls: keep}]
conflicts: {policy: newest, change_time: {source: a, destination: a}}
schedule: {assets: [x], cron: "@daily"}
alerts: {emails: [a@example.org], on: [failure]}
airflow: {retries: 2, execution_timeout: null}
""",
)
# Pieces that YAML gives a meaning, or that mappings do.
TOKENS = st.sampled_from(
    [": ", "- ", "? ", "[", "]", "{", "}", ",", "#", "&a ", "*a", "!", "!!python/object:os.system ", "'", '"', "\\", "%", "@", "`", "~", "null", "true", "no", "012", "1:30", "1_000", "2024-01-01", "\n", "\n  ", "\n- ", "\t", "\r\n", "---\n", "...\n", "<<: *a", ">", "\n  - ", "\x00", "\x1b", "\ufeff", "é", "\u2028", "💥", "1e999", "-0", ".5", "999999999999999999999", "source", "destination", "type", "csv", "sql", "fields", "key", "id", "version", "schedule", "[]", "{}", "\\x00", '"\\ud800"']
) | st.just("|")  # fmt: skip
DEFAULTS = "timezone: UTC\nschedule: '@daily'\nguards: {max_deletes: 1%}\nairflow: {tags: [x]}\n"


def outcome(text: str, defaults: str | None = None) -> Mapping | MappingErrors:
    """The one of two things that may happen."""
    try:
        shared = parse_defaults(defaults, file="_defaults.yaml") if defaults else None
        return parse_mapping(text, file="m.yaml", defaults=shared)
    except MappingErrors as errors:
        found = errors
    assert found.errors
    for error in found.errors:
        where = error.where
        assert where.file in ("m.yaml", "_defaults.yaml")
        assert where.line is not None
        assert where.line >= 1
        assert error.message
        assert str(error).startswith(f"{where.file}:{where.line}:")
    return found


@given(st.text())
@example("a: &a [*a]")
@example("'\\0': 1")
@example('a: "\\ud800"')
@example("? ")
@example("{? a}")
def test_any_text_is_a_mapping_or_errors_with_file_and_line(text: str) -> None:
    outcome(text)


@given(st.lists(TOKENS | st.text(max_size=4), max_size=40).map("".join))
def test_any_sequence_of_yaml_pieces_is_a_mapping_or_errors(text: str) -> None:
    outcome(text)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid mapping with some stretches replaced, removed, doubled or swapped."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(TOKENS | st.text(max_size=3) | st.just(text[start:stop] * 2) | st.sampled_from(text.splitlines()))
        text = text[:start] + piece + text[stop:]
    return text


@given(mutated(), st.none() | st.just(DEFAULTS))
def test_a_mapping_with_typing_errors_is_a_mapping_or_errors(text: str, defaults: str | None) -> None:
    outcome(text, defaults)


@given(mutated())
def test_mutated_defaults_are_defaults_or_errors(text: str) -> None:
    body = "\n".join(line for line in text.splitlines() if not line.startswith(("id:", "source:", "destination:")))
    outcome(VALID[0], body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, inner in children for deeper in paths(inner, (*path, key)))]


@given(st.data())
def test_any_value_at_any_key_is_a_mapping_or_errors(data: st.DataObject) -> None:
    document = yaml.safe_load(data.draw(st.sampled_from(VALID)))
    path = data.draw(st.sampled_from([path for path in paths(document) if path]))
    holder = document
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = data.draw(VALUES)
    outcome(yaml.safe_dump(document, allow_unicode=True, sort_keys=False))


@given(st.lists(st.binary(max_size=200) | mutated().map(lambda text: text.encode("utf-8", "replace")), max_size=4))
def test_any_bytes_in_files_leave_the_good_mapping_standing(contents: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "good.yaml").write_text(VALID[0].replace("id: clients", "id: good"), encoding="utf-8")
        for number, content in enumerate(contents):
            (directory / f"f{number}.yaml").write_bytes(content)
        scan = scan_mappings(directory)
        assert isinstance(scan, Scan)
        assert "good" in [source.mapping.id for source in scan.sources]
        for error in scan.errors:
            assert error.where.file is not None
            assert Path(error.where.file).parent == directory
            assert error.where.line is not None


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_text_in_quotes_reaches_the_data_unchanged(text: str) -> None:
    written = yaml.safe_dump({"a": [text, {"k": text}]}, default_style='"', allow_unicode=False)
    assert parse_yaml(written).data == {"a": [text, {"k": text}]}


@given(st.from_regex(r"[A-Za-z0-9_.+\-~/=]{1,12}", fullmatch=True))
def test_a_plain_scalar_is_its_text_or_exactly_the_number_it_shows(text: str) -> None:
    assume(text.strip("-"))  # dashes alone are a list or a document
    value = parse_yaml(f"a: {text}").data["a"]
    if isinstance(value, bool) or value is None:
        assert text in ("true", "false", "null", "~")
    elif isinstance(value, int):
        assert (int(text), str(abs(value))) == (value, text.lstrip("+-"))
    elif isinstance(value, float):
        assert Decimal(repr(value)) == Decimal(text)
    else:
        assert value == text


@pytest.mark.long
@given(mutated(), st.none() | st.just(DEFAULTS))
def test_thousands_of_mutated_mappings_are_mappings_or_errors(text: str, defaults: str | None) -> None:
    outcome(text, defaults)


def test_the_mappings_that_are_mutated_are_valid() -> None:
    assert all(isinstance(outcome(text), Mapping) for text in VALID)
