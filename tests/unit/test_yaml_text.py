"""YAML text as data with positions: what the author wrote, where it stands, and hostile text."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from sync_provider.core.errors import MappingErrors
from sync_provider.core.yaml_text import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_NODES,
    MAX_PROBLEMS,
    Document,
    format_key_path,
    parse_key_path,
    parse_yaml,
)


def refused(text: str) -> str:
    with pytest.raises(MappingErrors) as caught:
        parse_yaml(text, file="f.yaml")
    return str(caught.value)


def problems(document: Document) -> list[str]:
    return [str(problem) for problem in document.problems]


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "y",
        "012",
        "1:30",
        "2024-01-01",
        "1_000",
        "0o14",
        "0x1F",
        "1e5",
        ".5",
        "5.",
        ".inf",
        "1-2",
        "True",
        "FALSE",
        "NULL",
        "Null",
        "2024-01-01T00:00:00Z",
        "=",
        "12:30:45",
        "+",
        "1.2.3",
        "007.5",
    ],
)
def test_what_other_yaml_readers_turn_into_something_else_stays_text(text: str) -> None:
    assert parse_yaml(f"a: {text}\nb: [{text}]").data == {"a": text, "b": [text]}


def test_only_the_plainest_scalars_are_more_than_text() -> None:
    document = parse_yaml("a: [true, false, null, ~, 0, -5, +5, 12, 1.5, -0.25, '1', \"true\", 'null']\nb:\nc: ''")
    assert document.data == {
        "a": [True, False, None, None, 0, -5, 5, 12, 1.5, -0.25, "1", "true", "null"],
        "b": None,
        "c": "",
    }
    assert [type(value) for value in document.data["a"][4:10]] == [int, int, int, int, float, float]


def test_keys_are_always_text() -> None:
    assert parse_yaml("on: 1\n12: 2\ntrue: 3\nnull: 4\n").data == {"on": 1, "12": 2, "true": 3, "null": 4}


def test_a_number_that_would_change_is_reported_and_kept_as_written() -> None:
    document = parse_yaml("a: 0.12345678901234567\nb: 123456789012345678901234567890123456789\nc: 0.000000000000000001")
    assert document.data["a"] == "0.12345678901234567"
    assert [problem.where.line for problem in document.problems] == [1, 2]
    assert "quotes" in problems(document)[0]


def test_every_key_and_value_keeps_its_place() -> None:
    document = parse_yaml("a: 1\nb:\n  - c: x\n    d: y\n  -  z\n", file="f.yaml")
    assert str(document.where(("b", 0, "d"))) == "f.yaml:4:8: b[0].d"
    assert str(document.where(("b", 0, "d"), at_key=True)) == "f.yaml:4:5: b[0].d"
    assert str(document.where(("b", 1))) == "f.yaml:5:6: b[1]"
    assert str(document.where(("b", 0, "missing"))) == "f.yaml:3:5: b[0].missing"
    assert str(document.where(("b", "nowhere", "at all"))) == "f.yaml:2:1: b.nowhere.at all"


def test_a_byte_order_mark_does_not_shift_the_first_line() -> None:
    assert str(parse_yaml("\ufeffa: 1", file="f").where(("a",))) == "f:1:4: a"


def test_a_key_given_twice_is_reported_at_its_second_place_and_only_once() -> None:
    document = parse_yaml("a: {x: 1, y: 2}\nb: 1\na: {x: 3, y: 4}\n", file="f")
    assert problems(document) == ["f:3:1: a: given twice; first on line 1"]
    assert document.data["a"] == {"x": 1, "y": 2}


def test_the_same_key_in_different_places_is_fine() -> None:
    assert parse_yaml("a: {x: 1}\nb: [{x: 1}, {x: 2}]").problems == ()


def test_aliases_stand_for_their_anchor() -> None:
    assert parse_yaml("a: &x [1, {k: v}]\nb: *x\nc: &y text\nd: *y").data == {
        "a": [1, {"k": "v"}],
        "b": [1, {"k": "v"}],
        "c": "text",
        "d": "text",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        ("# only words\n", "f.yaml:1:1: the file is empty"),
        ("- a\n- b\n", "f.yaml:1:1: the top level is no set of"),
        ("\n  text", "f.yaml:2:3: the top level is no set of"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document"),
        ("a:\n\tb: 1\n", "f.yaml:2:1: a tab cannot indent YAML. Use spaces"),
        ("a:\n  b: 1\n\tc: 2\n", "f.yaml:3:1: a tab cannot indent YAML"),
        ("schedule: @daily\n", "f.yaml:1:11: text cannot start with @. Put it in quotes"),
        ("schedule: */15 * * * *\n", "f.yaml:1:11: text cannot start with *. Put it in quotes"),
        ("schedule: * * * * *\n", "f.yaml:1:11: text cannot start with *. Put it in quotes"),
        ("a: 1\nb: c: d\n", "f.yaml:2:5: a `: ` is not expected here"),
        ("b: 1\na: 'open\nc: 2\n", "f.yaml:2:4: a quote opened here is never closed"),
        (
            "a: !!python/object/apply:os.system [id]\n",
            "f.yaml:1:4: tag tag:yaml.org,2002:python/object/apply:os.system",
        ),
        ("a: !!str 12\n", "f.yaml:1:4: tag tag:yaml.org,2002:str is not allowed"),
        ("a: &x [1, *x]\n", "f.yaml:1:11: *x stands inside itself"),
        ("a: *nowhere\n", "f.yaml:1:4: *nowhere names no anchor above it"),
        ("? [a, b]\n: c\n", "f.yaml:1:3: a key must be text"),
        ("{a: b}: c\n", "f.yaml:1:1: a key must be text"),
        ("a: &x 1\n*x : 2\n", "f.yaml:2:1: an alias cannot be a key"),
        ("a: \x07\n", "f.yaml:1:4: character U+0007"),
        ("a: 1\r\nb: \ud800\n", "f.yaml:2:4: character U+D800"),
    ],
)
def test_what_is_no_mapping_is_refused_with_line_and_column(text: str, expected: str) -> None:
    assert refused(text).startswith(expected)


def test_a_merge_key_is_reported_and_what_follows_is_still_read() -> None:
    document = parse_yaml("a: &x {k: 1}\nb:\n  <<: *x\n  l: 2\n", file="f")
    assert problems(document)[0].startswith("f:3:3: b.<<: merge keys (<<) are not read")
    assert document.data["b"] == {"l": 2}


def test_a_quoted_merge_sign_is_a_key_like_any_other() -> None:
    assert parse_yaml("'<<': 1").data == {"<<": 1}


def test_problems_before_a_syntax_error_are_not_lost() -> None:
    assert refused("a: 1\na: 2\nb: 'open").splitlines()[0] == "f.yaml:2:1: a: given twice; first on line 1"


def test_problems_are_bounded_in_number() -> None:
    with pytest.raises(MappingErrors) as caught:
        parse_yaml("a: 1\n" * 50_000)
    assert len(caught.value.errors) == MAX_PROBLEMS


HOSTILE = {
    "alias bomb": "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)),
    "brackets": "[" * 900_000,
    "braces": "{a: " * 200_000,
    "closed brackets": "a: " + "[" * 3000 + "]" * 3000,
    "indentation": "".join(" " * i + "a:\n" for i in range(1300)),
    "question marks": "? " * 400_000,
    "dashes": "- " * 400_000,
    "too many values": "a: [" + "x," * (MAX_NODES + 1) + "]",
    "too many keys": "".join(f"k{i}: 1\n" for i in range(MAX_NODES)),
    "too long": "a: " + "x" * MAX_CHARACTERS,
    "50 MB": "a: b\n" * 10_000_000,
    "quotes": '"' * 900_000,
    "percent signs": "%a " * 300_000,
    "tags": "!a " * 300_000,
    "anchors": "&a " * 300_000,
    "colons": "a:" * 450_000,
    "numbers": "a: " + "9" * 900_000 + "\nb: 'x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_after_bounded_work_and_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = HOSTILE[name]
    events = 0
    parse = yaml.parse

    def counted(*args: Any, **kwargs: Any) -> Iterator[Any]:
        nonlocal events
        for event in parse(*args, **kwargs):
            events += 1
            yield event

    monkeypatch.setattr(yaml, "parse", counted)
    memory_before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused(text).startswith("f.yaml:")
    assert events <= MAX_NODES + 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_before_kb < 150_000


def test_nesting_up_to_the_bound_is_read() -> None:
    inner = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert parse_yaml(f"a: {inner}").data
    assert "nested more than" in refused(f"a: [{inner}]")


def test_aliases_count_as_what_they_stand_for() -> None:
    thousand = ", ".join(["x"] * 1000)
    few, many = 90, 120
    assert len(parse_yaml(f"a: &a [{thousand}]\nb: [{', '.join(['*a'] * few)}]").data["b"]) == few
    assert "aliases counted" in refused(f"a: &a [{thousand}]\nb: [{', '.join(['*a'] * many)}]")


def test_key_paths_read_back_what_they_show() -> None:
    path = ("fields", 2, "to_destination")
    assert format_key_path(path) == "fields[2].to_destination"
    assert parse_key_path(format_key_path(path)) == path
