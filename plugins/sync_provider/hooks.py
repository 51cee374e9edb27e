"""Where Airflow meets the engine: settings, connections, and the environment that a run needs.

The only module that turns Airflow's own objects into ours. Importing it is cheap; the ledger, the store and their
libraries are opened when first asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sync_provider.connectors.base import ConnectionInfo, Secret
from sync_provider.core.errors import SyncConnectionError, Where
from sync_provider.engine.settings import OPTIONS, SECTION, Settings, find_home, find_project, load_settings

if TYPE_CHECKING:
    from sync_provider.engine.environment import Environment


def airflow_settings() -> Settings:
    """Our options as Airflow's configuration holds them: environment, `airflow.cfg`, commands and secrets backends alike.

    Raises:
        SyncValidationError: an option's value is not valid.
    """
    from airflow.sdk.configuration import conf

    found = {option.variable: conf.get(SECTION, option.name, fallback=None) for option in OPTIONS}
    known = {name: value for name, value in found.items() if value is not None}
    return load_settings({**os.environ, "AIRFLOW_HOME": str(airflow_home()), **known})


def mappings_dir() -> Path:
    """Where the mappings are. Nothing else is read: DAG parsing must not run the commands behind secret options."""
    from airflow.sdk.configuration import conf

    configured = Path(conf.get(SECTION, "mappings_dir")).expanduser()
    return Path(os.path.normpath(find_project(airflow_home()) / configured))


def allowed_notifiers() -> tuple[str, ...]:
    """The notifiers that mappings may name; for DAG parsing, like `mappings_dir`."""
    from airflow.sdk.configuration import conf

    return tuple(name.strip() for name in conf.get(SECTION, "notifiers").split(",") if name.strip())


def approvers(settings: Settings) -> tuple[str, ...]:
    """Who may approve a run that a guard stopped, as ``name`` or ``id:name``; empty: nobody.

    `[sync_provider] approvers`; where that is empty, the administrators that Airflow's configuration itself names. Only
    SimpleAuthManager has them there: a task cannot see the users or roles of any other auth manager.
    """
    from airflow.sdk.configuration import conf

    if settings.approvers or not conf.get("core", "auth_manager", fallback="").endswith(".SimpleAuthManager"):
        return settings.approvers
    if conf.getboolean("core", "simple_auth_manager_all_admins", fallback=False):
        return ("Anonymous",)  # Airflow's one user in that mode
    declared = (
        entry.strip().split(":") for entry in conf.get("core", "simple_auth_manager_users", fallback="").split(",")
    )
    admins = set(settings.role_administrateur)
    return tuple(name for name, *rest in declared if rest and rest[0].upper() in admins)


def airflow_home() -> Path:
    """AIRFLOW_HOME as this Airflow has it, absolute."""
    return find_home({"AIRFLOW_HOME": os.environ.get("AIRFLOW_HOME", "~/airflow")}, Path.cwd())


def connection_info(connection_id: str) -> ConnectionInfo:
    """Look a connection up in Airflow: environment, secrets backends, then its database.

    Raises:
        SyncConnectionError: there is no such connection.
    """
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowException

    try:
        connection = BaseHook.get_connection(connection_id)
    except (AirflowException, KeyError) as error:
        raise SyncConnectionError(
            f"Airflow knows no connection {connection_id!r}",
            where=Where(endpoint=f"connection {connection_id}"),
            hint="Create it under Admin → Connections, or correct the mapping.",
            code="connection_unknown",
            retryable=False,
        ) from error
    info = ConnectionInfo(
        id=connection_id,
        type=connection.conn_type or "",
        host=connection.host or None,
        port=connection.port,
        schema=connection.schema or None,
        login=connection.login or None,
        password=Secret(connection.password) if connection.password else None,
        extra=dict(connection.extra_dejson),
    )
    mask(*info.secrets())
    return info


def mask(*secrets: str) -> None:
    """Have Airflow replace these texts by `***` in every log line from now on."""
    from airflow.sdk.log import mask_secret

    for secret in secrets:
        mask_secret(str(secret))


@contextmanager
def environment() -> Iterator[Environment]:
    """Open the ledger and the store, for a task or a page; what must stay secret is masked in logs and ledger.

    Raises:
        SyncConnectionError: the ledger or the store cannot be reached.
        SyncValidationError: a setting is wrong, or no encryption key is set.
    """
    from sync_provider.engine.environment import open_environment

    with open_environment(airflow_settings(), connection_info, mask=mask) as opened:
        yield opened


def ui_path(path: str) -> str:
    """A path of Airflow's UI, below the prefix of `[api] base_url` if it has one.

    Relative to the origin, so that the link works under whatever name the browser reached Airflow by.
    """
    from airflow.sdk.configuration import conf

    base: Any = conf.get("api", "base_url", fallback=None) or "/"
    return f"{urlsplit(base).path.rstrip('/')}/{path}"
