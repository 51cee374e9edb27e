"""`airflow_settings.yaml`, in the Astro CLI's format: read it, and create in Airflow what is missing.

What exists is never overwritten: what a person changed in Airflow's pages stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from local import LocalError
from local.api import Api, ApiError

_NOT_FOUND = 404
_HIDDEN = "***"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KEYS = {
    "connections": (
        "conn_id",
        {"conn_id", "conn_type", "conn_host", "conn_schema", "conn_login", "conn_password", "conn_port", "conn_extra"},
    ),
    "pools": ("pool_name", {"pool_name", "pool_slot", "pool_description"}),
    "variables": ("variable_name", {"variable_name", "variable_value"}),
}


@dataclass(frozen=True, slots=True)
class AirflowSettings:
    """Bodies for Airflow's API, references replaced."""

    connections: tuple[dict[str, Any], ...] = ()
    pools: tuple[dict[str, Any], ...] = ()
    variables: tuple[dict[str, Any], ...] = ()


def read_settings(path: Path, variables: Mapping[str, str]) -> AirflowSettings:
    """Read the file.

    Args:
        path: the file; one that does not exist declares nothing.
        variables: what ``${NAME}`` may name.

    Raises:
        LocalError: not YAML, not the format, or a reference to a variable that is not set.
    """
    if not path.exists():
        return AirflowSettings()
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise LocalError(f"{path.name} is not valid YAML: {' '.join(str(exc).split())}") from exc
    sections = (document.get("airflow") or {}) if isinstance(document, dict) else None
    if not isinstance(sections, dict) or set(sections) - set(_KEYS):
        raise LocalError(f"{path.name}: expected `airflow:` with the lists {', '.join(_KEYS)}")
    items = {section: _items(path, section, sections.get(section) or [], variables) for section in _KEYS}
    return AirflowSettings(
        connections=tuple(_connection(path, item) for item in items["connections"]),
        pools=tuple(_pool(path, item) for item in items["pools"]),
        variables=tuple(
            {"key": item["variable_name"], "value": _text(item.get("variable_value"))} for item in items["variables"]
        ),
    )


def apply_settings(api: Api, settings: AirflowSettings) -> list[str]:
    """Create what Airflow lacks; returns what was created, such as ``connection entrepot``."""
    wanted = [
        *(("connection", body["connection_id"], "/api/v2/connections", body) for body in settings.connections),
        *(("pool", body["name"], "/api/v2/pools", body) for body in settings.pools),
        *(("variable", body["key"], "/api/v2/variables", body) for body in settings.variables),
    ]
    created = []
    for kind, name, path, body in wanted:
        try:
            if not _exists(api, f"{path}/{name}"):
                api.request("POST", path, body)
                created.append(f"{kind} {name}")
        except ApiError as exc:
            raise LocalError(f"Airflow refused {kind} {name} of airflow_settings.yaml: {exc}") from exc
    return created


def follow_settings(api: Api, earlier: AirflowSettings, now: AirflowSettings) -> list[str]:
    """Let connections follow parts of this machine that moved to another port; returns their ids.

    One that a person pointed elsewhere stays: only what still is as the earlier start wrote it is changed.

    Args:
        api: of a user who may change connections.
        earlier: the file as the start before read it.
        now: the file as this start reads it.
    """
    before = {body["connection_id"]: body for body in earlier.connections}
    return [
        body["connection_id"] for body in now.connections if _follow(api, before.get(body["connection_id"], body), body)
    ]


def _follow(api: Api, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    path = quote(f"/api/v2/connections/{new['connection_id']}")
    if old == new or not _exists(api, path):
        return False
    current = api.request("GET", path)
    values, extra = _moved(old, new), _moved(_extra_of(old), _extra_of(new))
    values.pop("extra", None)
    held = _extra_of(current)
    pointed_elsewhere = any(current.get(name) != old.get(name) for name in ("host", *values)) or any(
        held.get(name) != _extra_of(old).get(name) for name in extra
    )
    # Airflow shows secrets as ***, and must not be given that back.
    if pointed_elsewhere or (extra and _HIDDEN in held.values()):
        return False
    if extra:
        values["extra"] = json.dumps({**held, **extra})
    body = {"connection_id": new["connection_id"], "conn_type": current["conn_type"], **values}
    api.request("PATCH", path, body, update_mask=sorted(values))
    return True


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in new.items() if value != old.get(name)}


def _extra_of(body: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(body.get("extra") or "{}"))


def _exists(api: Api, path: str) -> bool:
    try:
        api.request("GET", quote(path))
    except ApiError as exc:
        if exc.status == _NOT_FOUND:
            return False
        raise
    return True


def _items(path: Path, section: str, items: Any, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    name_key, allowed = _KEYS[section]
    if not isinstance(items, list):
        raise LocalError(f"{path.name}: airflow.{section} should be a list")
    result = []
    for index, item in enumerate(items):
        place = f"{path.name}: airflow.{section}[{index}]"
        if not isinstance(item, dict) or not item.get(name_key):
            # The Astro CLI writes a template of empty items.
            if isinstance(item, dict) and not any(item.values()):
                continue
            raise LocalError(f"{place}: {name_key} is missing")
        if unknown := sorted(set(item) - allowed):
            raise LocalError(
                f"{place}: unknown key {', '.join(map(str, unknown))}; known: {', '.join(sorted(allowed))}"
            )
        result.append(_substitute(item, variables, place))
    return result


def _substitute(value: Any, variables: Mapping[str, str], place: str) -> Any:
    if isinstance(value, dict):
        return {key: _substitute(inner, variables, place) for key, inner in value.items()}
    if isinstance(value, list):
        return [_substitute(inner, variables, place) for inner in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in variables:
            raise LocalError(f"{place}: the environment variable {name} is not set")
        return variables[name]

    return _REFERENCE.sub(replace, value)


def _connection(path: Path, item: dict[str, Any]) -> dict[str, Any]:
    place = f"{path.name}: connection {item['conn_id']}"
    port = item.get("conn_port")
    try:
        number = int(port) if port not in (None, "") else None
    except (TypeError, ValueError) as exc:
        raise LocalError(f"{place}: conn_port should be a number") from exc
    body = {
        "connection_id": item["conn_id"],
        "conn_type": item.get("conn_type") or "",
        "host": _text(item.get("conn_host")),
        "schema": _text(item.get("conn_schema")),
        "login": _text(item.get("conn_login")),
        "password": _text(item.get("conn_password")),
        "port": number,
        "extra": _extra(place, item.get("conn_extra")),
    }
    return {key: value for key, value in body.items() if value not in (None, "")} | {"conn_type": body["conn_type"]}


def _extra(place: str, extra: Any) -> str | None:
    """As JSON text, from a mapping or from JSON text."""
    if extra in (None, ""):
        return None
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except ValueError as exc:
            raise LocalError(f"{place}: conn_extra is not valid JSON: {exc}") from exc
    if not isinstance(extra, dict):
        raise LocalError(f"{place}: conn_extra should be a mapping")
    return json.dumps(extra)


def _pool(path: Path, item: dict[str, Any]) -> dict[str, Any]:
    slots = item.get("pool_slot")
    if not isinstance(slots, int):
        raise LocalError(f"{path.name}: pool {item['pool_name']}: pool_slot should be a number")
    return {
        "name": item["pool_name"],
        "slots": slots,
        "description": _text(item.get("pool_description")) or "",
        "include_deferred": False,
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
