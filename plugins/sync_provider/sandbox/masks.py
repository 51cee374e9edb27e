"""Field masks: reading them, checking them against the API's schemas, applying them to answers."""

from __future__ import annotations

import re
from typing import Any

from sync_provider.sandbox.discovery import Api
from sync_provider.sandbox.errors import ApiError, bad_field

Mask = dict[str, "Mask"]
"""Names kept, each with the mask below it; an empty mask keeps all."""

_TOKEN = re.compile(r"\s*([\w$*]+|[.,/()])")


def parse_mask(text: str) -> Mask:
    """Read ``a,b(c,d/e),f.g``.

    Raises:
        ApiError: 400, the text is no mask.
    """
    tokens, position = [], 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _unmatched(text)
        tokens.append(match[1])
        position = match.end()
    mask: Mask = {}
    rest = _read_list(tokens, mask, text)
    if rest or not mask:
        raise _unmatched(text)
    return mask


def _read_list(tokens: list[str], into: Mask, text: str) -> list[str]:
    while True:
        at = into
        while True:
            if not tokens or not re.fullmatch(r"[\w$*]+", tokens[0]):
                raise _unmatched(text)
            at = at.setdefault(_camel(tokens[0]), {})
            tokens = tokens[1:]
            if tokens and tokens[0] in "./":
                tokens = tokens[1:]
                continue
            break
        if tokens and tokens[0] == "(":
            tokens = _read_list(tokens[1:], at, text)
            if not tokens or tokens[0] != ")":
                raise _unmatched(text)
            tokens = tokens[1:]
        if tokens and tokens[0] == ",":
            tokens = tokens[1:]
            continue
        return tokens


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _unmatched(path: str) -> ApiError:
    return bad_field(
        path,
        f"Error expanding 'fields' parameter. Cannot find matching fields for path '{path}'.",
        "Request contains an invalid argument.",
    )


def check_mask(api: Api, schema: dict[str, Any], mask: Mask, path: str = "") -> None:
    """Refuse a mask with a name that the schema does not have.

    Raises:
        ApiError: 400, with the path.
    """
    schema = api.resolve(schema)
    properties = schema.get("properties")
    for name, below in mask.items():
        here = f"{path}.{name}" if path else name
        if name == "*":
            continue
        if properties is not None and name in properties:
            check_mask(api, properties[name], below, here)
        elif "additionalProperties" not in schema:
            raise _unmatched(here)


def apply_mask(mask: Mask, value: Any) -> Any:
    """The parts of an answer that the mask keeps. Lists are walked through; what is left empty on the way stays ``{}``."""
    if not mask:
        return value
    if isinstance(value, list):
        return [apply_mask(mask, item) for item in value]
    if not isinstance(value, dict):
        return value
    star = mask.get("*")
    kept = {}
    for name, item in value.items():
        below = mask.get(name, star)
        if below is None:
            continue
        kept[name] = apply_mask(below, item)
    return kept


def covers(mask: Mask, *path: str) -> bool:
    """Whether the mask keeps something at or below `path`, named or by a wildcard."""
    for name in path:
        if name not in mask and "*" not in mask:
            return False
        mask = mask.get(name, mask.get("*", {}))
        if not mask:
            return True
    return True
