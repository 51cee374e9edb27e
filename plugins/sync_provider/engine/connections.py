"""Airflow connections for the command line, without importing Airflow.

Looked for where Airflow and the project keep them, in this order: the environment variable ``AIRFLOW_CONN_<ID>`` (URI or
JSON, by Airflow's own rules), ``airflow_settings.yaml``, and ``airflow connections get`` in a process of its own, which
knows Airflow's database and secrets backends. No message, and no exception behind one, holds a value.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sync_provider.connectors.base import ConnectionInfo, Secret
from sync_provider.core.errors import MappingErrors, SyncConnectionError, SyncError, SyncValidationError, Where
from sync_provider.core.yaml_text import parse_yaml
from sync_provider.engine.settings import PROJECT_FILE, Settings

AIRFLOW_TIMEOUT_S = 120
_KEYS = frozenset({"conn_type", "description", "host", "login", "password", "schema", "port", "extra"})
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _NotUsableError(Exception):
    """Why a place that should hold the connection gives none; the text is shown, so it holds no value."""


def resolve_connection(
    connection_id: str, settings: Settings, environ: Mapping[str, str] | None = None
) -> ConnectionInfo:
    """Find one connection.

    Args:
        connection_id: as a mapping names it.
        settings: for AIRFLOW_HOME and the project's folder.
        environ: environment variables; default the process's own.

    Raises:
        SyncConnectionError: it is nowhere; the message names every place looked in.
        SyncValidationError: it is declared in a form that Airflow could not read either.
    """
    env = os.environ if environ is None else environ
    variable = f"AIRFLOW_CONN_{connection_id.upper()}"
    if text := env.get(variable, "").strip():
        try:
            return parse_connection(connection_id, text)
        except _NotUsableError as problem:
            raise _malformed(f"{variable} {problem}") from None
    looked = [f"{variable} is not set"]
    for path in _project_files(settings):
        try:
            if found := _from_project(connection_id, path, settings, env):
                return found
            looked.append(f"{path} does not declare it")
        except _NotUsableError as problem:
            looked.append(f"{path} {problem}")
        break
    else:
        looked.append(f"there is no {PROJECT_FILE}")
    try:
        if found := _from_airflow(connection_id, settings, env):
            return found
        looked.append(f"`airflow connections get` (AIRFLOW_HOME {settings.home}) does not know it")
    except _NotUsableError as problem:
        looked.append(f"`airflow connections get` {problem}")
    raise SyncConnectionError(
        f"connection {connection_id!r} is not declared: {'; '.join(looked)}",
        where=Where(endpoint=f"connection {connection_id}"),
        hint=f"Set {variable} to a URI or JSON, or add the connection in Airflow.",
        code="connection_unknown",
        retryable=False,
    )


def parse_connection(connection_id: str, text: str) -> ConnectionInfo:
    """Read a connection's URI or JSON as Airflow does for tasks.

    Source: ``Connection.from_uri`` and ``from_json`` of apache-airflow-task-sdk as shipped with Airflow 3.3.2.
    """
    if text.lstrip().startswith("{"):
        return _from_json(connection_id, text)
    try:
        return _from_uri(connection_id, text.strip())
    except ValueError:
        raise _NotUsableError("is no connection URI") from None


def _from_json(connection_id: str, text: str) -> ConnectionInfo:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise _NotUsableError("starts with { but is no JSON object") from None
    if unknown := sorted(values.keys() - _KEYS):
        raise _NotUsableError(f"has keys that Airflow does not know: {', '.join(unknown)}")
    return _info(connection_id, values.get("conn_type"), values)


def _from_uri(connection_id: str, uri: str) -> ConnectionInfo:
    schemes = uri.count("://")
    scheme, found, rest = uri.partition("://")
    if not found or schemes > 2:
        raise _NotUsableError("is no connection URI such as postgres://login:password@host:5432/database")
    protocol = ""
    if schemes == 2:  # http://https://host: a type, then the host with its own protocol
        protocol, _, rest = rest.partition("://")
        if re.search(r"[@:/?#]", protocol):
            raise _NotUsableError("holds :// inside a value, which must be percent-encoded (%3A%2F%2F)")
    parts = urlsplit(f"//{rest}")
    host = _host(parts)
    values: dict[str, Any] = {
        "host": f"{protocol}://{host}" if protocol and host else host,
        "schema": unquote(parts.path[1:]),
        "login": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "port": parts.port,
    }
    if parts.query:
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        values["extra"] = query.get("__extra__", query)
    return _info(connection_id, scheme.lower(), values)


def _host(parts: SplitResult) -> str:
    host = unquote(parts.hostname or "")
    if "/" not in host:
        return host
    # A file path, whose capitals matter and which `hostname` has put into lower case.
    return unquote(parts.netloc.rpartition("@")[2].partition(":")[0])


def _info(connection_id: str, kind: Any, values: Mapping[str, Any]) -> ConnectionInfo:
    """Build the connection; empty values are None, and ``extra`` may be an object or its JSON text."""
    kind = str(kind or "")
    port = values.get("port")
    if isinstance(port, bool) or not re.fullmatch(r"\d{0,5}", str(port or "")):
        raise _NotUsableError("has a port that is no number")
    texts = {name: _text(values.get(name)) for name in ("host", "schema", "login", "password")}
    return ConnectionInfo(
        id=connection_id,
        type="postgres" if kind == "postgresql" else kind.replace("-", "_"),
        host=texts["host"],
        port=int(port) if port else None,
        schema=texts["schema"],
        login=texts["login"],
        password=Secret(texts["password"]) if texts["password"] else None,
        extra=_extra(values.get("extra")),
    )


def _extra(extra: Any) -> dict[str, Any]:
    if isinstance(extra, str) and extra.strip():
        try:
            extra = json.loads(extra)
        except (ValueError, RecursionError):
            raise _NotUsableError("has an extra that is no JSON") from None
    if extra and not isinstance(extra, dict):
        raise _NotUsableError("has an extra that is no JSON object")
    return dict(extra or {})


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _malformed(message: str) -> SyncError:
    return SyncValidationError(
        message,
        hint="Airflow's guide on connections gives the URI and the JSON form.",
        code="settings_connection",
    )


def _project_files(settings: Settings) -> Iterator[Path]:
    """The project's settings file: beside AIRFLOW_HOME, else upwards from the current folder; at most one exists twice."""
    for folder in (settings.project, Path.cwd(), *Path.cwd().parents):
        if (path := folder / PROJECT_FILE).is_file():
            yield path


def _from_project(
    connection_id: str, path: Path, settings: Settings, environ: Mapping[str, str]
) -> ConnectionInfo | None:
    """One connection of a file in the Astro CLI's format; only its own ``${NAME}`` references need to be set."""
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"), file=str(path))
    except (OSError, UnicodeDecodeError) as exc:
        raise _NotUsableError(f"cannot be read ({type(exc).__name__})") from None
    if document.problems:
        raise MappingErrors(document.problems)
    airflow = document.data.get("airflow")
    declared = airflow.get("connections") if isinstance(airflow, dict) else None
    for item in declared if isinstance(declared, list) else []:
        if isinstance(item, dict) and item.get("conn_id") == connection_id:
            known = {
                "OUTPUT_DIR": str(settings.project / "include" / "out"),
                **environ,
                "PROJECT_DIR": str(settings.project),
                "AIRFLOW_HOME": str(settings.home),
            }
            values = {str(key).removeprefix("conn_"): _filled(value, known) for key, value in item.items()}
            try:
                if values.get("uri"):
                    return parse_connection(connection_id, str(values["uri"]))
                return _info(connection_id, values.get("type"), values)
            except _NotUsableError as problem:
                raise _malformed(f"{path}: connection {connection_id!r} {problem}") from None
    return None


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, known) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, known) for inner in value]
    if not isinstance(value, str):
        return value
    if missing := [name for name in _REFERENCE.findall(value) if name not in known]:
        raise _NotUsableError(f"declares it with ${{{missing[0]}}}, which is not set")
    return _REFERENCE.sub(lambda match: known[match[1]], value)


def _from_airflow(connection_id: str, settings: Settings, environ: Mapping[str, str]) -> ConnectionInfo | None:
    beside = Path(sys.executable).parent / "airflow"
    program = str(beside) if beside.is_file() else shutil.which("airflow", path=environ.get("PATH"))
    if program is None:
        raise _NotUsableError("is not installed here")
    if not settings.home.is_dir():  # Airflow would create it
        raise _NotUsableError(f"has no AIRFLOW_HOME at {settings.home}")
    try:
        done = subprocess.run(
            [program, "connections", "get", connection_id, "--output", "json"],
            env={**environ, "AIRFLOW_HOME": str(settings.home)},
            capture_output=True,
            text=True,
            timeout=AIRFLOW_TIMEOUT_S,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        raise _NotUsableError(f"failed ({type(exc).__name__})") from None
    if done.returncode != 0:
        if "Connection not found" in done.stdout + done.stderr:
            return None
        raise _NotUsableError(f"failed (exit {done.returncode}; AIRFLOW_HOME {settings.home})")
    values = _first_object(done.stdout)
    return _info(connection_id, values.get("conn_type"), {**values, "extra": values.get("extra_dejson")})


def _first_object(output: str) -> dict[str, Any]:
    """The object in Airflow's list of one; log lines may stand before it."""
    for match in re.finditer(r"^\[", output, re.MULTILINE):
        try:
            rows, _ = json.JSONDecoder().raw_decode(output, match.start())
        except ValueError:
            continue
        if rows and isinstance(rows[0], dict) and "conn_type" in rows[0]:
            return dict(rows[0])
    raise _NotUsableError("answered something else than a connection")
