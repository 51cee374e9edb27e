"""The API as Google describes it: the discovery documents that ship with google-api-python-client.

Paths, parameters, scopes, bodies and field masks are checked against them, so nothing here repeats a route or a field.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sync_provider.sandbox.errors import ApiError, bad_field, invalid

_ROOT_OF_BODY = {
    "sheets.spreadsheets.values.update": "data",
    "sheets.spreadsheets.values.append": "data",
    "sheets.spreadsheets.create": "spreadsheet",
}
_NOT_PARAMETERS = {"$.xgafv", "access_token", "callback", "oauth_token"}
_INTEGER = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Method:
    """One method of an API.

    Args:
        name: its id, for instance ``sheets.spreadsheets.values.get``.
        pattern: matches the path, still percent-encoded.
        spec: what the document says of it.
    """

    name: str
    verb: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    spec: dict[str, Any]

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.spec.get("scopes", ()))


class Api:
    """One discovery document: `service` is ``sheets`` or ``drive``."""

    def __init__(self, service: str, document: dict[str, Any]) -> None:
        self.service = service
        self.document = document
        self.schemas: dict[str, Any] = document["schemas"]
        self.methods = sorted(self._walk(document), key=lambda method: -_weight(method.spec["path"]))

    def _walk(self, node: dict[str, Any]) -> list[Method]:
        found = []
        for spec in node.get("methods", {}).values():
            names: list[str] = re.findall(r"{(\w+)}", spec["path"])
            parts = re.split(r"{\w+}", self.document["servicePath"] + spec["path"])
            pattern = re.compile("/" + "([^/]+?)".join(re.escape(part) for part in parts))
            found.append(Method(spec["id"], spec["httpMethod"], pattern, tuple(names), spec))
        for below in node.get("resources", {}).values():
            found += self._walk(below)
        return found

    def find(self, verb: str, path: str) -> tuple[Method, dict[str, Any]] | None:
        """The method at a percent-encoded path, and the parameters of the path."""
        for method in self.methods:
            if method.verb == verb and (match := method.pattern.fullmatch(path)):
                return method, dict(zip(method.names, map(unquote, match.groups()), strict=True))
        return None

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema behind a reference or a list of them."""
        while True:
            if "$ref" in schema:
                schema = self.schemas[schema["$ref"]]
            elif schema.get("type") == "array":
                schema = schema["items"]
            else:
                return schema

    def query(self, method: Method, raw: dict[str, list[str]]) -> dict[str, Any]:
        """The query's parameters, typed.

        Raises:
            ApiError: 400, one is unknown or has a wrong value.
        """
        known = method.spec.get("parameters", {})
        common = self.document["parameters"]
        values: dict[str, Any] = {}
        for name, texts in raw.items():
            spec = known.get(name) or common.get(name)
            if spec is None and self.service == "drive":
                continue  # Drive passes over what it does not know
            if spec is None:
                message = (
                    f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
                    f"Field '{name}' could not be found in request message."
                )
                raise bad_field("", message)
            if name in _NOT_PARAMETERS:
                continue
            typed = [_typed(name, spec, text) for text in texts]
            values[name] = typed if spec.get("repeated") else typed[-1]
        return values

    def check_body(self, method: Method, body: Any) -> dict[str, Any]:
        """The body without what is unset (null).

        Raises:
            ApiError: 400, a name is unknown or a value has the wrong type.
        """
        reference = method.spec.get("request")
        if reference is None:
            return {}
        if not isinstance(body, dict):
            raise invalid("Invalid JSON payload received. Unexpected token.\n")
        root = _ROOT_OF_BODY.get(method.name, "")
        checked: dict[str, Any] = self._checked(reference, body, root, "")
        return checked

    def _checked(self, schema: dict[str, Any], value: Any, path: str, name: str) -> Any:
        if "$ref" in schema:
            target = schema["$ref"]
            if not isinstance(value, dict):
                raise _wrong(path, f"type.googleapis.com/google.apps.sheets.v4.{target}", value)
            return self._message(self.schemas[target], value, path)
        kind = schema.get("type")
        if kind == "array":
            return self._list(schema["items"], value, path, name)
        if kind == "object" or (kind == "any" and isinstance(value, dict | list)):
            return value
        return _scalar(schema, value, path, name)

    def _message(self, schema: dict[str, Any], value: dict[str, Any], path: str) -> dict[str, Any]:
        properties = schema.get("properties", {})
        result = {}
        for key, item in value.items():
            camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), key)
            if camel not in properties and self.service == "drive":
                continue
            if camel not in properties:
                place = f" at '{path}'" if path else ""
                text = f'Invalid JSON payload received. Unknown name "{key}"{place}: Cannot find field.'
                raise bad_field(path, text)
            if item is None:
                continue
            below = f"{path}.{_snake(camel)}" if path else _snake(camel)
            result[camel] = self._checked(properties[camel], item, below, camel)
        return result

    def _list(self, items: dict[str, Any], value: Any, path: str, name: str) -> Any:
        if items.get("type") == "array":
            # The rows of a ValueRange: what is inside is any JSON, and there may be a million of them.
            if not isinstance(value, list):
                raise _wrong(path, "type.googleapis.com/google.protobuf.ListValue", value)
            for number, row in enumerate(value):
                if not isinstance(row, list):
                    raise _wrong(f"{path}[{number}]", "type.googleapis.com/google.protobuf.ListValue", row)
            return value
        if not isinstance(value, list):
            return [self._checked(items, value, path, name)]
        return [self._checked(items, item, f"{path}[{number}]", name) for number, item in enumerate(value)]


def _weight(path: str) -> int:
    return len(re.sub(r"{\w+}", "", path))


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)


def _wrong(path: str, kind: str, value: Any) -> ApiError:
    shown = json.dumps(value, ensure_ascii=False) if not isinstance(value, dict | list) else ""
    text = f"Invalid value at '{path}' ({kind})" + (f", {shown}" if shown else "")
    return bad_field(path, text)


def _enum_type(name: str) -> str:
    short = "Dimension" if name == "majorDimension" else re.sub("^response", "", name)
    return f"type.googleapis.com/google.apps.sheets.v4.{short[0].upper()}{short[1:]}"


def _scalar(schema: dict[str, Any], value: Any, path: str, name: str) -> Any:
    kind = schema.get("type")
    if kind == "string" and "enum" in schema:
        if value not in schema["enum"]:
            raise _wrong(path, _enum_type(name), value)
        return value
    if kind == "string":
        if not isinstance(value, str) and not (schema.get("format") == "int64" and isinstance(value, int)):
            raise _wrong(path, "TYPE_STRING", value)
        return value
    if kind == "boolean":
        if not isinstance(value, bool):
            raise _wrong(path, "TYPE_BOOL", value)
        return value
    if kind == "integer":
        text = str(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, bool) or not _INTEGER.fullmatch(text):
            raise _wrong(path, "TYPE_INT32", value)
        return int(text)
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(path, "TYPE_DOUBLE", value)
        return value
    return value


def _typed(name: str, spec: dict[str, Any], text: str) -> Any:
    kind = spec.get("type")
    if "enum" in spec and text not in spec["enum"]:
        raise _wrong(_snake(name), _enum_type(name), text)
    if kind == "boolean":
        if text.lower() not in {"true", "false", "1", "0"}:
            raise _wrong(_snake(name), "TYPE_BOOL", text)
        return text.lower() in {"true", "1"}
    if kind == "integer":
        if not _INTEGER.fullmatch(text):
            raise _wrong(_snake(name), "TYPE_INT32", text)
        return int(text)
    return text


@cache
def load_api(service: str) -> Api:
    """The API of a service: ``sheets`` or ``drive``."""
    spec = find_spec("googleapiclient")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("google-api-python-client is not installed", name="googleapiclient")
    version = {"sheets": "v4", "drive": "v3"}[service]
    folder = Path(spec.submodule_search_locations[0], "discovery_cache", "documents")
    return Api(service, json.loads((folder / f"{service}.{version}.json").read_text("utf-8")))
