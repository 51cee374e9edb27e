"""What pydantic found wrong with a mapping, in the words of its author. No I/O.

pydantic speaks of its own union branches and tags; here every problem is said once, at the key it belongs to, with what is
accepted there and the nearest valid name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sync_provider.core.descriptions import described
from sync_provider.core.values import Model
from sync_provider.core.yaml_text import KeyPath

LONGEST_HINT = 240

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a set of keys",
    "model_type": "a set of keys",
    "model_attributes_type": "a set of keys",
}
_BOUNDS = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_short": "needs at least {min_length} item(s)",
    "too_long": "takes at most {max_length} item(s)",
    "string_too_short": "needs at least {min_length} character(s)",
    "string_too_long": "takes at most {max_length} character(s)",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, how to put it right, and whether the key itself is meant."""

    path: KeyPath
    message: str
    hint: str | None = None
    at_key: bool = False
    code: str = "mapping_value"


@dataclass(frozen=True, slots=True)
class _Placed:
    """An error with the path that its author knows; ``union`` is where pydantic tried several types."""

    path: KeyPath
    union: KeyPath | None
    error: ErrorDetails


def explain(errors: Iterable[ErrorDetails], data: Any, model: type[Model]) -> list[Problem]:
    """Turn pydantic's errors into problems.

    Args:
        errors: ``ValidationError.errors()``.
        data: what was validated.
        model: the model it was validated by.
    """
    placed = [_place(error, data) for error in errors]
    problems: list[Problem] = []
    for group in _grouped(placed):
        problems += _explain_group(group, data, model)
    suggested = {(*p.path[:-1], _suggestion(p)) for p in problems if p.code == "mapping_unknown_key"}
    return [p for p in problems if p.code != "mapping_missing_key" or p.path not in suggested]


def _place(error: ErrorDetails, data: Any) -> _Placed:
    """Follow pydantic's location through the data, leaving out the parts that are not keys but names of types."""
    path: KeyPath = ()
    union: KeyPath | None = None
    here: Any = data
    steps = error["loc"]
    for index, step in enumerate(steps):
        is_last = index == len(steps) - 1
        if isinstance(here, dict):
            is_tag = not is_last and here.get("type") == step
            if step in here and not is_tag:
                path, here = (*path, step), here[step]
            elif is_last and error["type"] == "missing":
                path = (*path, step)
            elif step not in ("[key]", here.get("type")):
                union = path
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            path, here = (*path, step), here[step]
        elif step != "[key]":
            union = path
    return _Placed(path, union, error)


def _grouped(placed: list[_Placed]) -> Iterator[list[_Placed]]:
    """Errors one by one, but all that came from trying several types for one value together."""
    unions: dict[KeyPath, list[_Placed]] = {}
    for item in placed:
        if item.union is not None:
            unions.setdefault(item.union, []).append(item)
    for item in placed:
        if item.union is None:
            yield [item]
        elif item is unions[item.union][0]:
            yield unions[item.union]


def _explain_group(group: list[_Placed], data: Any, model: type[Model]) -> Iterator[Problem]:
    mismatches = [item for item in group if item.path == item.union and item.error["type"] in _EXPECTED]
    specific = [item for item in group if item not in mismatches]
    # Some type fitted and complained about the content: only that complaint is of interest.
    for item in specific if len(group) > 1 else group:
        yield from _explain_one(item, data, model)
    if len(group) > 1 and not specific:
        expected = " or ".join(dict.fromkeys(_EXPECTED[item.error["type"]] for item in mismatches))
        hint = _description(group[0].path, data, model)
        yield Problem(group[0].path, f"expected {expected}, not {_found(group[0].error['input'])}", hint)


def _explain_one(item: _Placed, data: Any, model: type[Model]) -> Iterator[Problem]:
    error, path = item.error, item.path
    kind, context = error["type"], error.get("ctx", {})
    if kind == "inconsistent":
        for inner, message in context["problems"]:
            of_key = len(inner) == 1 and isinstance(data.get(inner[0]), dict | list)
            yield Problem((*path, *inner), message, at_key=of_key, code="mapping_inconsistent")
    elif kind == "missing":
        description = _description(path, data, model)
        yield Problem(path, "this key is missing", description, at_key=True, code="mapping_missing_key")
    elif kind == "extra_forbidden":
        yield _unknown_key(path, data, model)
    elif kind == "union_tag_not_found":
        yield _missing_type(path, data, model)
    elif kind == "union_tag_invalid":
        yield _choice((*path, "type"), str(context["tag"]), _quoted(context["expected_tags"]))
    elif kind == "literal_error":
        accepted = _quoted(context["expected"]) or [str(context["expected"])]
        yield _choice(path, error["input"], accepted, at_key=error["loc"][-1] == "[key]")
    elif kind in _EXPECTED:
        yield _mismatch(item, _EXPECTED[kind], data, model)
    elif kind == "too_short" and context["actual_length"] < len(error["input"] or ()):
        return  # the items are there, and wrong: they have been reported
    elif kind in _BOUNDS:
        yield Problem(path, _BOUNDS[kind].format(**context), _description(path, data, model))
    elif kind == "value_error":
        yield Problem(path, str(context["error"]), at_key=isinstance(error["input"], dict))
    else:
        yield Problem(path, error["msg"])


def _mismatch(item: _Placed, expected: str, data: Any, model: type[Model]) -> Problem:
    value = item.error["input"]
    hint = _description(item.path, data, model)
    if "text" in expected and isinstance(value, bool | int | float | None):
        hint = (
            "Put it in quotes if it is meant as text." if value is not None else "Leave the key out, or give it text."
        )
    elif expected == "true or false" and isinstance(value, str):
        hint = "Write true or false, without quotes."
    elif expected == "a list":
        hint = "Write it as [a, b] or as lines that start with `- `."
    return Problem(item.path, f"expected {expected}, not {_found(value)}", hint)


def _unknown_key(path: KeyPath, data: Any, model: type[Model]) -> Problem:
    accepted = sorted(_fields_at(path[:-1], data, model))
    nearest = _nearest(str(path[-1]), accepted)
    hint = f"Did you mean {nearest}?" if nearest else f"Keys here are {', '.join(accepted)}."
    return Problem(path, "this key is unknown", hint, at_key=True, code="mapping_unknown_key")


def _missing_type(path: KeyPath, data: Any, model: type[Model]) -> Problem:
    accepted = [name for branch in _branches_at(path, data, model) for name in _type_names(branch)]
    hint = f"Types are {', '.join(accepted)}."
    return Problem((*path, "type"), "this key is missing", hint, at_key=True, code="mapping_missing_key")


def _choice(path: KeyPath, given: Any, accepted: list[str], *, at_key: bool = False) -> Problem:
    nearest = _nearest(given, accepted) if isinstance(given, str) else None
    message = f"expected {'one of ' if len(accepted) > 1 else ''}{', '.join(accepted)}, not {_found(given)}"
    return Problem(path, message, f"Did you mean {nearest}?" if nearest else None, at_key=at_key)


def _suggestion(problem: Problem) -> str | None:
    match = re.fullmatch(r"Did you mean (.+)\?", problem.hint or "")
    return match[1] if match else None


def _nearest(name: str, accepted: Iterable[str]) -> str | None:
    by_lower = {option.lower(): option for option in accepted}
    nearest = get_close_matches(name.lower()[:100], by_lower, n=1)
    return by_lower[nearest[0]] if nearest else None


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _found(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"{value!r}" if len(value) <= 60 else f"{value[:60]!r}…"
    return "a list" if isinstance(value, list) else "a set of keys"


def _description(path: KeyPath, data: Any, model: type[Model]) -> str | None:
    if not path or not isinstance(path[-1], str):
        return None
    branches = _branches_at(path[:-1], data, model)
    text = next((texts[path[-1]] for texts in map(described, branches) if path[-1] in texts), "")
    if len(text) > LONGEST_HINT:
        text = text.split(". ", 1)[0]
    return f"It means: {text}" if text else None


def _fields_at(path: KeyPath, data: Any, model: type[Model]) -> dict[str, FieldInfo]:
    """The keys that the models accept at ``path``; empty where anything goes."""
    return {name: field for branch in _branches_at(path, data, model) for name, field in branch.model_fields.items()}


def _branches_at(path: KeyPath, data: Any, model: type[Model]) -> list[type[Model]]:
    """The models that ``path`` may hold, narrowed by its ``type`` where that tells them apart."""
    branches, here = [model], data
    for step in path:
        if isinstance(step, str):
            fields = {name: field for branch in branches for name, field in branch.model_fields.items()}
            branches = list(_models(fields[step].annotation)) if step in fields else []
        here = here[step]
        if len(branches) > 1 and isinstance(here, dict):
            branches = [branch for branch in branches if here.get("type") in _type_names(branch)] or branches
    return branches


def _models(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _models(part)


def _type_names(branch: type[Model]) -> tuple[str, ...]:
    field = branch.model_fields.get("type")
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
