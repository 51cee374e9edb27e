"""The folder `.airflow/`: secrets, passwords, airflow.cfg and what a start remembers for the next one.

airflow.cfg is written anew at each start; ``AIRFLOW_HOME=$PWD/.airflow .venv/bin/airflow …`` in another terminal reads
the same one.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import LocalError
from local.sandbox import KEY_FILE

USERS = {"administrateur": "ADMIN", "superviseur": "VIEWER", "operateur": "USER"}
"""Who can log in, with the role of Airflow's SimpleAuthManager."""

_SECRETS = {"fernet_key": 32, "encryption_key": 32, "jwt_secret": 64, "api_secret": 64}
"""Random bytes of each."""

_LOCAL_SETTINGS = '''\
"""Written by `make run`. Airflow imports it in each of its processes."""

from sync_provider.warm import warm_up

__all__ = []
warm_up()


def loopback() -> str:
    return "127.0.0.1"
'''


@dataclass(frozen=True, slots=True)
class Project:
    """The folders that Airflow reads."""

    root: Path
    dags: Path
    plugins: Path
    settings_file: Path
    output: Path

    @property
    def spreadsheets(self) -> Path:
        """What the sandbox is filled with."""
        return self.root / "include" / "samples" / "classeurs.yaml"

    @classmethod
    def at(cls, root: Path) -> Project:
        return cls(root, root / "dags", root / "plugins", root / "airflow_settings.yaml", root / "include" / "out")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts listen; all but Airflow itself on the loopback address only."""

    host: str
    port: int
    tasks: int
    logs: int
    smtp: int
    mails: int
    sandbox: int

    @property
    def url(self) -> str:
        """Airflow's address as a browser on this machine writes it, without a final slash."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def tasks_url(self) -> str:
        """Where tasks reach Airflow."""
        return f"http://127.0.0.1:{self.tasks}"

    @property
    def mails_url(self) -> str:
        return f"http://127.0.0.1:{self.mails}"

    @property
    def sandbox_url(self) -> str:
        """Where the stand-in for Google Sheets answers, and where a browser opens its spreadsheets."""
        return f"http://127.0.0.1:{self.sandbox}"


class Home:
    """One AIRFLOW_HOME. Secrets are made once and kept, readable by their owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.mails = self.path / "mails"
        self.sandbox = self.path / "sandbox"
        self.component_logs = self.path / "logs" / "components"
        self._state_file = self.path / "local.json"
        self._passwords_file = self.path / "passwords.json"
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.state: dict[str, Any] = _read(self._state_file)
        if not self.state:
            # 32 bytes in URL-safe base64 is how Fernet and AES-256 keys are written; SHA-512 signatures ask for 64.
            self.state = {
                name: base64.urlsafe_b64encode(secrets.token_bytes(n)).decode() for name, n in _SECRETS.items()
            }
            self.save_state()
        self.passwords: dict[str, str] = _read(self._passwords_file)
        if not self.passwords:
            self.passwords = {user: secrets.token_urlsafe(12) for user in USERS}
            _write_private(self._passwords_file, json.dumps(self.passwords, indent=1))

    @classmethod
    @contextmanager
    def hold(cls, path: Path) -> Iterator[Home]:
        """Open a home for one start: two schedulers over one SQLite file would destroy each other's work.

        Raises:
            LocalError: another start holds it, or a file of it is damaged.
        """
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                url = _read(path / "local.json").get("url", "an address of its own")
                raise LocalError(
                    f"Airflow already runs from {path}, at {url}. Stop it with Ctrl-C in its terminal, or use another clone"
                ) from exc
            yield cls(path)

    def save_state(self) -> None:
        """Keep what this start learnt."""
        _write_private(self._state_file, json.dumps(self.state, indent=1))

    def write(self, project: Project, addresses: Addresses) -> None:
        """Write airflow.cfg and airflow_local_settings.py for this start."""
        options = airflow_options(self, project, addresses)
        text = "# Written by `make run` at each start; an AIRFLOW__SECTION__OPTION variable adds an option that is not here.\n"
        for section, values in options.items():
            text += f"\n[{section}]\n" + "".join(f"{k} = {v.replace('%', '%%')}\n" for k, v in values.items())
        _write_private(self.path / "airflow.cfg", text)
        config = self.path / "config"
        config.mkdir(exist_ok=True)
        (config / "airflow_local_settings.py").write_text(_LOCAL_SETTINGS)

    def environment(self, project: Project, addresses: Addresses, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment of Airflow's processes.

        Airflow's variables of another project (a database!) must not reach this one, so those for an option that
        airflow.cfg sets are dropped; ``AIRFLOW__SYNC_PROVIDER__…`` and others pass.
        """
        options = airflow_options(self, project, addresses)
        ours = {f"AIRFLOW__{s}__{k}".upper() for s, values in options.items() if s != "sync_provider" for k in values}
        env = {
            name: value
            for name, value in inherited.items()
            if name.removesuffix("_CMD").removesuffix("_SECRET") not in ours
        }
        no_proxy = [part for part in env.get("NO_PROXY", env.get("no_proxy", "")).split(",") if part]
        loopback = ",".join([*no_proxy, "127.0.0.1", "localhost", "::1"])
        return env | {
            "AIRFLOW_HOME": str(self.path),
            "AIRFLOW_CONFIG": str(self.path / "airflow.cfg"),
            "NO_PROXY": loopback,
            "no_proxy": loopback,
            "PYTHONUNBUFFERED": "1",
        }

    def variables(self, project: Project, addresses: Addresses) -> dict[str, str]:
        """What ``${…}`` of airflow_settings.yaml can name beside the environment."""
        return {
            "PROJECT_DIR": str(project.root),
            "OUTPUT_DIR": str(project.output),
            "AIRFLOW_HOME": str(self.path),
            "SMTP_PORT": str(addresses.smtp),
            "SANDBOX_URL": addresses.sandbox_url,
            "SANDBOX_KEY_FILE": str(self.sandbox / KEY_FILE),
        }


def airflow_options(home: Home, project: Project, addresses: Addresses) -> dict[str, dict[str, str]]:
    """Everything that differs from Airflow's defaults, by section."""
    cores = os.cpu_count() or 2
    return {
        "core": {
            "dags_folder": str(project.dags),
            "plugins_folder": str(project.plugins),
            "load_examples": "False",
            "executor": "LocalExecutor",
            "parallelism": str(min(16, max(4, 2 * cores))),
            "fernet_key": home.state["fernet_key"],
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": ",".join(f"{user}:{role}" for user, role in USERS.items()),
            "simple_auth_manager_all_admins": "False",
            "simple_auth_manager_passwords_file": str(home.path / "passwords.json"),
            "execution_api_server_url": f"{addresses.tasks_url}/execution/",
            "hostname_callable": "airflow_local_settings.loopback",
            "test_connection": "Enabled",
            "min_serialized_dag_update_interval": "2",
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{home.path}/airflow.db"},
        "api": {
            "host": addresses.host,
            "port": str(addresses.port),
            "base_url": addresses.url,
            "secret_key": home.state["api_secret"],
            "workers": "1",
        },
        "api_auth": {"jwt_secret": home.state["jwt_secret"]},
        # A new or edited mapping should show while its author still looks at the page.
        "dag_processor": {
            "refresh_interval": "10",
            "min_file_process_interval": "5",
            "bundle_refresh_check_interval": "2",
        },
        "logging": {
            "base_log_folder": str(home.path / "logs"),
            "dag_processor_child_process_log_directory": str(home.path / "logs" / "dag_processor"),
            "colored_console_log": "False",
            "worker_log_server_port": str(addresses.logs),
            "trigger_log_server_port": str(addresses.logs),
        },
        "sync_provider": {
            "demo": "True",
            "encryption_keys": home.state["encryption_key"],
            "mappings_dir": str(project.root / "include" / "mappings"),
            "files_root": str(project.root / "include"),
            "approvers": "administrateur",
        },
    }


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise LocalError(f"{path} is damaged: it should hold one JSON object. Mend it, or `make clean` to begin anew")
    return content


def _write_private(path: Path, text: str) -> None:
    """Replace a file atomically, readable by its owner only from its first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    temporary.replace(path)
