"""The text of a mapping as a Mapping, or as everything that is wrong with it. No I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from sync_provider.core.errors import MappingError, MappingErrors, Where
from sync_provider.core.mapping import Mapping
from sync_provider.core.problems import Problem, explain
from sync_provider.core.yaml_text import Document, KeyPath, parse_key_path, parse_yaml

NOT_SHARED = frozenset({"id", "source", "destination", "fields"})
"""Keys that belong to one mapping and cannot have a default."""

_LEAST = {
    "version": 1,
    "id": "defaults",
    "mode": "import",
    "source": {"type": "csv", "path": "any"},
    "destination": {"type": "sql", "connection": "any", "table": "any"},
    "key": ["any"],
    "fields": [{"source": "any", "destination": "any"}],
}


def parse_mapping(text: str, *, file: str | None = None, defaults: Document | None = None) -> Mapping:
    """Read one mapping.

    Args:
        text: YAML, decoded.
        file: name for messages.
        defaults: values for keys that the text leaves out, from `parse_defaults`; merged key by key, lists as a whole.

    Raises:
        MappingErrors: everything that is wrong, in the order of the file.
    """
    document = parse_yaml(text, file=file)
    data = _merged(defaults.data, document.data) if defaults else document.data
    documents = [document, defaults] if defaults else [document]
    mapping, problems = _validate(data)
    errors = [_error(problem, documents) for problem in problems]
    if document.problems or errors:
        raise MappingErrors(_in_order([*document.problems, *errors], document))
    assert mapping is not None
    return mapping


def parse_defaults(text: str, *, file: str | None = None) -> Document:
    """Read ``_defaults.yaml``: any part of a mapping but the keys of `NOT_SHARED`.

    Raises:
        MappingErrors: everything that is wrong with it by itself.
    """
    document = parse_yaml(text, file=file)
    own = [
        Problem((key,), "this key belongs to each mapping and has no default", at_key=True, code="mapping_not_shared")
        for key in document.data
        if key in NOT_SHARED
    ]
    shared = {key: value for key, value in document.data.items() if key not in NOT_SHARED}
    _, problems = _validate({**_LEAST, **shared})
    # What keys must say together is known only with a mapping's own keys.
    alone = [problem for problem in problems if problem.code != "mapping_inconsistent"]
    errors = [_error(problem, [document]) for problem in (*own, *alone)]
    if document.problems or errors:
        raise MappingErrors(_in_order([*document.problems, *errors], document))
    return document


def locate(error: MappingError, documents: list[Document]) -> MappingError:
    """Give an error that knows its field, such as ``fields[2].to_destination``, its file, line and column.

    Args:
        error: as raised where only the mapping's values are known.
        documents: the mapping, then its defaults if it has any.
    """
    path = parse_key_path(error.where.field or "")
    place = _holder(path, documents).where(path)
    where = replace(error.where, file=place.file, line=place.line, column=place.column)
    return MappingError(error.message, where=where, hint=error.hint, code=error.code)


def _validate(data: dict[str, Any]) -> tuple[Mapping | None, list[Problem]]:
    try:
        return Mapping.model_validate(data), []
    except ValidationError as error:
        return None, explain(error.errors(include_url=False), data, Mapping)


def _merged(defaults: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **own}
    for key in defaults.keys() & own.keys():
        if isinstance(defaults[key], dict) and isinstance(own[key], dict):
            merged[key] = _merged(defaults[key], own[key])
    return merged


def _holder(path: KeyPath, documents: list[Document]) -> Document:
    """The document that holds the longest part of ``path``; the mapping itself comes first."""
    return max(documents, key=lambda document: document.depth_of(path))


def _error(problem: Problem, documents: list[Document]) -> MappingError:
    holder = _holder(problem.path, documents)
    where = holder.where(problem.path, at_key=problem.at_key)
    message = problem.message
    if holder is not documents[0]:
        message = f"{message} (as a default of {documents[0].file or 'this mapping'})"
    return MappingError(message, where=where, hint=problem.hint, code=problem.code)


def _in_order(errors: list[MappingError], document: Document) -> list[MappingError]:
    def place(error: MappingError) -> tuple[bool, int, int]:
        where: Where = error.where
        return (where.file != document.file, where.line or 0, where.column or 0)

    return sorted(errors, key=place)
