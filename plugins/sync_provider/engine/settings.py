"""What a deployment can set: the `[sync_provider]` options, their one definition, and how they are found.

Read like Airflow reads its own, without Airflow: environment, then `airflow.cfg`, then the default. Reading settings writes
nothing and opens nothing, so DAG parsing may do it.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from sync_provider.connectors.base import Secret
from sync_provider.core.durations import parse_duration
from sync_provider.core.errors import SyncValidationError, Where

SECTION = "sync_provider"
PROJECT_FILE = "airflow_settings.yaml"

Kind = Literal["string", "path", "location", "sqlalchemy_url", "boolean", "duration", "number", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of `[sync_provider]`.

    Args:
        name: key in the section; the environment variable is `AIRFLOW__SYNC_PROVIDER__` and the name in capitals.
        kind: ``path`` and ``location`` (a path or an fsspec URL) are relative to the project's folder; a ``list`` is
            separated by commas; a ``duration`` is ISO 8601.
        default: as it would stand in the file; ``{AIRFLOW_HOME}`` is replaced.
        description: sentences for Airflow's configuration reference.
        example: a value to copy.
        sensitive: holds a secret; may also be given as a command, ``<name>_cmd``.
    """

    name: str
    kind: Kind
    default: str
    description: str
    example: str | None = None
    sensitive: bool = False

    @property
    def variable(self) -> str:
        return f"AIRFLOW__{SECTION.upper()}__{self.name.upper()}"


OPTIONS: tuple[Option, ...] = (
    Option(
        name="mappings_dir",
        kind="path",
        default="include/mappings",
        description="Folder of the mapping files. A relative path starts at the folder that holds airflow_settings.yaml, else at AIRFLOW_HOME.",
        example="/opt/airflow/include/mappings",
    ),
    Option(
        name="ledger_url",
        kind="sqlalchemy_url",
        default="sqlite:///{AIRFLOW_HOME}/sync/ledger.db",
        description="SQLAlchemy URL of the ledger, the database of runs, cursors, rejections, leases and audit. SQLite serves one machine; several need PostgreSQL.",
        example="postgresql://sync:password@db.example.org/sync_ledger",
        sensitive=True,
    ),
    Option(
        name="store_url",
        kind="location",
        default="{AIRFLOW_HOME}/sync/store",
        description="Folder or fsspec URL of the store: staged batches, backups, validation reports, all encrypted. Several machines need a shared one.",
        example="s3://my-bucket/sync",
    ),
    Option(
        name="files_root",
        kind="location",
        default="include",
        description="Folder or fsspec URL that file endpoints without a connection must stay under.",
        example="/srv/exchange",
    ),
    Option(
        name="encryption_keys",
        kind="list",
        default="",
        description="Keys of the store and of rejected values, separated by commas: the first encrypts, all decrypt. Make one with `airflow-sync keys new`. Required unless `demo` is true.",
        example="<new key>,<older key>",
        sensitive=True,
    ),
    Option(
        name="demo",
        kind="boolean",
        default="false",
        description="Only for trying things on one machine: without `encryption_keys`, a key is made and kept in a file under AIRFLOW_HOME.",
    ),
    Option(
        name="staging_retention",
        kind="duration",
        default="P7D",
        description="How long the staged batches of a finished run are kept. Within it a cleared task goes on from where it was; later the run is cleared from `extract`.",
        example="P14D",
    ),
    Option(
        name="history_retention",
        kind="duration",
        default="P400D",
        description="How long finished runs, their decided rejections and their events are kept. The newest run of each integration, what cursors come from, open rejections and the audit stay for good.",
        example="P90D",
    ),
    Option(
        name="google_requests_per_account",
        kind="number",
        default="60",
        description="Reads, and as many writes, that all runs together send to Google Sheets a minute for one account. Google's own quota unless it gave you another.",
        example="300",
    ),
    Option(
        name="google_requests_per_project",
        kind="number",
        default="300",
        description="The same for all service accounts of one Google Cloud project together.",
        example="1200",
    ),
    Option(
        name="warm_workers",
        kind="boolean",
        default="true",
        description="Import the heavy libraries once in the scheduler (LocalExecutor) or worker parent (Celery), not in every task. Costs about 250 MB there.",
    ),
    Option(
        name="notifiers",
        kind="list",
        default="",
        description="Import paths of the Airflow notifiers that mappings may name in `alerts.notifiers`.",
        example="airflow.providers.slack.notifications.slack.SlackNotifier",
    ),
    Option(
        name="approvers",
        kind="list",
        default="",
        description="Names of the Airflow users who may approve a run that a guard stopped; `id:name` where Airflow's id is not the name. Empty: the administrators among `[core] simple_auth_manager_users`; with any other auth manager nobody, and the run is blocked.",
        example="marie,paul",
    ),
    Option(
        name="role_administrateur",
        kind="list",
        default="ADMIN,Admin,Administrateur",
        description="Airflow roles that hold all rights on the synchronisation pages. A role in neither list is refused.",
    ),
    Option(
        name="role_superviseur",
        kind="list",
        default="VIEWER,Viewer,Superviseur",
        description="Airflow roles that may read the synchronisation pages and change nothing.",
    ),
    Option(
        name="base_url",
        kind="string",
        default="",
        description="Address under which people reach Airflow, for links in messages. Empty: `[api] base_url`, else http://localhost:8080.",
        example="https://airflow.example.org",
    ),
    Option(
        name="mail_from",
        kind="string",
        default="airflow@localhost",
        description="Sender of alert e-mails.",
        example="sync@example.org",
    ),
    Option(
        name="smtp_connection",
        kind="string",
        default="smtp_default",
        description="Airflow connection through which alert e-mails leave.",
    ),
    Option(
        name="support_email",
        kind="string",
        default="codsuitebackend@gmail.com",
        description="E-mail address of the people who help, shown in alerts.",
        example="support@example.org",
    ),
    Option(
        name="support_phone",
        kind="string",
        default="+212 779 635 687",
        description="Telephone number of the people who help, shown in alerts.",
        example="+33 1 23 45 67 89",
    ),
    Option(
        name="support_hours",
        kind="string",
        default="24/7",
        description="When they can be reached, shown in alerts.",
        example="9 h - 18 h",
    ),
)
"""The one definition: settings, Airflow's configuration reference and `docs/settings.md` come from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A deployment's settings, with paths made absolute. ``repr`` shows no secret.

    Args:
        home: AIRFLOW_HOME.
        project: folder that relative paths start at.
        ledger_url: SQLAlchemy URL; may hold a password.
        store_url: absolute path or fsspec URL.
        files_root: absolute path or fsspec URL.
        encryption_keys: as configured; `engine.crypto.open_cipher` knows the demo's.
    """

    home: Path
    project: Path
    mappings_dir: Path
    ledger_url: str = field(repr=False)
    store_url: str
    files_root: str
    encryption_keys: tuple[Secret, ...]
    demo: bool
    staging_retention: timedelta
    history_retention: timedelta
    google_requests_per_account: int
    google_requests_per_project: int
    warm_workers: bool
    notifiers: tuple[str, ...]
    approvers: tuple[str, ...]
    role_administrateur: tuple[str, ...]
    role_superviseur: tuple[str, ...]
    base_url: str
    mail_from: str
    smtp_connection: str
    support_email: str
    support_phone: str
    support_hours: str


def load_settings(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """Find AIRFLOW_HOME and read every option.

    Args:
        environ: environment variables; default the process's own.
        cwd: folder to look upwards from when AIRFLOW_HOME is not set; default the current one.

    Raises:
        SyncValidationError: a value does not fit its option; the message names where it was set.
    """
    env = os.environ if environ is None else environ
    home = find_home(env, cwd or Path.cwd())
    project = find_project(home)
    source = _Source(env, home)
    values = {option.name: _convert(option, *source.get(option), home, project) for option in OPTIONS}
    values["base_url"] = values["base_url"] or source.airflow("api", "base_url") or "http://localhost:8080"
    return Settings(home=home, project=project, **values)


def find_home(environ: Mapping[str, str], cwd: Path) -> Path:
    """AIRFLOW_HOME; else `.airflow` beside the nearest `airflow_settings.yaml` from ``cwd`` upwards; else Airflow's own default.

    The folder need not exist.
    """
    if configured := environ.get("AIRFLOW_HOME"):
        return Path(os.path.expandvars(configured)).expanduser().absolute()
    for folder in (cwd.absolute(), *cwd.absolute().parents):
        if (folder / PROJECT_FILE).is_file():
            return folder / ".airflow"
    return Path("~/airflow").expanduser()


def find_project(home: Path) -> Path:
    """The folder that relative paths start at: the one around AIRFLOW_HOME if it holds `airflow_settings.yaml`, else AIRFLOW_HOME."""
    return home.parent if (home.parent / PROJECT_FILE).is_file() else home


class _Source:
    """Where texts come from: environment, then airflow.cfg, then the default."""

    def __init__(self, environ: Mapping[str, str], home: Path) -> None:
        self._environ = environ
        self._path = Path(environ.get("AIRFLOW_CONFIG") or home / "airflow.cfg").expanduser()
        self._file = configparser.ConfigParser(strict=False)
        try:
            self._file.read(self._path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError) as exc:
            # Not chained: a parser's message quotes the line, which may hold a key.
            raise SyncValidationError(
                f"The file cannot be read: {type(exc).__name__}",
                where=Where(file=str(self._path), line=getattr(exc, "lineno", None)),
                hint="Mend it; `airflow config list` reads the same file.",
                code="settings_file",
            ) from None

    def get(self, option: Option) -> tuple[str, str]:
        """The text, and a name for where it was set."""
        variable = option.variable
        if variable in self._environ:
            return os.path.expandvars(self._environ[variable]), variable
        if option.sensitive and (command := self._environ.get(f"{variable}_CMD")):
            return _run(command, f"{variable}_CMD"), f"{variable}_CMD"
        place = f"[{SECTION}] {option.name} in {self._path}"
        if (text := self.airflow(SECTION, option.name)) is not None:
            return text, place
        if option.sensitive and (command := self.airflow(SECTION, f"{option.name}_cmd")):
            return _run(command, place), place
        return option.default, f"the default of {option.name}"

    def airflow(self, section: str, name: str) -> str | None:
        """An option of any section of Airflow's; None where neither environment nor file sets it."""
        variable = f"AIRFLOW__{section.upper()}__{name.upper()}"
        if section != SECTION and variable in self._environ:
            return os.path.expandvars(self._environ[variable])
        try:
            text = self._file.get(section, name, fallback=None)
        except configparser.InterpolationError:
            raise SyncValidationError(
                f"[{section}] {name} holds a lone %",
                where=Where(file=str(self._path)),
                hint="Write %% for a percent sign, as everywhere in airflow.cfg.",
                code="settings_value",
            ) from None
        return None if text is None else os.path.expandvars(text)


def _run(command: str, place: str) -> str:
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=30, check=True)
    except (OSError, ValueError, subprocess.SubprocessError) as exc:
        raise SyncValidationError(
            f"The command of {place} failed: {type(exc).__name__}",
            hint="Run it by hand as the user who runs Airflow; it must print the value and exit with 0.",
            code="settings_command",
        ) from exc
    return done.stdout.strip()


def _convert(option: Option, text: str, place: str, home: Path, project: Path) -> Any:
    text = text.strip().replace("{AIRFLOW_HOME}", str(home))
    match option.kind:
        case "boolean":
            return _boolean(text, place)
        case "duration":
            return _duration(text, place)
        case "number":
            return _number(text, place)
        case "list":
            items = tuple(item.strip() for item in text.split(",") if item.strip())
            return tuple(Secret(item) for item in items) if option.sensitive else items
        case "path":
            return _absolute(text, project)
        case "location":
            return text if re.match(r"[a-z0-9+]+:", text) else str(_absolute(text, project))
        case "sqlalchemy_url":
            return _anchor_sqlite(text, home)
        case "string":
            return text


def _boolean(text: str, place: str) -> bool:
    known = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
    if text.lower() not in known:
        raise SyncValidationError(f"{place} is {text!r}", hint="Write true or false.", code="settings_value")
    return known[text.lower()]


def _duration(text: str, place: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise SyncValidationError(f"{place}: {exc}", hint="Write for instance P7D.", code="settings_value") from exc


def _number(text: str, place: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise SyncValidationError(f"{place} is {text!r}", hint="Write a whole number from 1.", code="settings_value")
    return int(text)


def _absolute(text: str, base: Path) -> Path:
    return Path(os.path.normpath(base / Path(text).expanduser()))


def _anchor_sqlite(url: str, home: Path) -> str:
    """A relative SQLite file would be another one in every process that starts elsewhere."""
    match = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/:][^:]*)", url)
    return f"{match[1]}{home / match[2]}" if match else url
