"""A whole Airflow on this machine: scheduler, DAG processor, API server, triggerer, task logs, mail catcher, Sheets sandbox.

`airflow standalone` does not serve: stopped by SIGTERM it leaves its children running, and it listens on all addresses.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from local import LocalError
from local.api import Api
from local.home import USERS, Addresses, Home, Project
from local.ports import free_port, require_free
from local.processes import Component, Processes
from local.sandbox import SheetsSandbox
from local.settings_file import AirflowSettings, apply_settings, follow_settings, read_settings
from local.signals import Stop

# -P: the working directory is no place to import from, as with the `airflow` command.
_AIRFLOW = (sys.executable, "-P", "-m", "airflow")
_OURS = Path(__file__).resolve().parent.parent
# Running tasks talk to the execution API while they end, so it goes after the scheduler, which waits for them.
_STOPPING = (
    (("migrate", "scheduler", "dag-processor", "triggerer"), 15.0),
    (("api-server", "task-api", "task-logs", "mails", "sandbox"), 4.0),
)
_LOG_SERVER = "airflow.utils.serve_logs.log_server:get_app"
_FREE_PORTS = ("tasks", "logs", "smtp", "mails", "sandbox")
_MIGRATE_TIMEOUT_S = 300
_PARKED, _NOTED = "Pausing task as AWAITING_INPUT", "Received executor event with state success"
_START_TIMEOUT_S = 240


class LocalAirflow:
    """One instance. Use `running`; the rest is for what runs while it does.

    Args:
        project: the folders that Airflow reads.
        home: AIRFLOW_HOME, made if missing, kept between starts.
        host: address for the pages and the API.
        port: their port; None takes a free one.
        stop: what signals ask.
        say: called with one line for each step.
    """

    def __init__(
        self, project: Project, home: Home, *, host: str, port: int | None, stop: Stop, say: Callable[[str], None]
    ) -> None:
        self.project = project
        self.home = home
        self._stop = stop
        self._say = say
        if port is not None:
            require_free(host, port)
        remembered = home.state.get("ports", {})
        self.addresses = Addresses(
            host,
            free_port(remembered.get("airflow")) if port is None else port,
            **{name: free_port(remembered.get(name)) for name in _FREE_PORTS},
        )
        self.sandbox = SheetsSandbox(self.addresses.sandbox_url, home.sandbox)
        self._processes = Processes(
            stop, home.component_logs, home.environment(project, self.addresses, os.environ), _OURS
        )

    @property
    def url(self) -> str:
        return self.addresses.url

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of its processes, for an `airflow` or `airflow-sync` command beside them."""
        return self.home.environment(self.project, self.addresses, os.environ)

    def login(self, user: str = "administrateur") -> Api:
        """A session of one of `USERS`."""
        return Api.login(self.url, user, self.home.passwords[user])

    def sync(self, *arguments: str) -> Any:
        """Run `airflow-sync` beside it, with the same bookkeeping; returns its answer.

        Raises:
            LocalError: it failed.
        """
        program = Path(sys.executable).with_name("airflow-sync")
        done = subprocess.run(
            [program, *arguments, "--json"], env=dict(self.environment), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LocalError(f"airflow-sync {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return json.loads(done.stdout)

    def question(self, api: Api, dag_id: str, run_id: str, task_id: str) -> dict[str, Any] | None:
        """What a task asks in Airflow's Required Actions, once it may be answered; None while it asks nothing.

        Airflow 3.3.2 takes a task for killed from outside if an answer wakes it before the scheduler has noted that the process
        which asked is gone: a person is never so quick, a program is. Both stand in the scheduler's log, in order.
        """
        question = api.question(dag_id, run_id, task_id)
        if question is None:
            return None
        names = (dag_id, run_id, task_id)
        log = (self.home.component_logs / "scheduler.log").read_text(errors="replace")
        about = [line for line in log.splitlines() if all(name in line for name in names)]
        told = [line for line in about if _PARKED in line or _NOTED in line]
        # Nothing is told of a question of an earlier start.
        return None if told and _PARKED in told[-1] else question

    def ended(self) -> Component | None:
        """A part that died, if one did."""
        return self._processes.ended()

    def survivors(self) -> list[int]:
        """Ids of all processes of this instance."""
        return self._processes.survivors()

    def check(self) -> None:
        """Check that every part still runs.

        Raises:
            LocalError: one ended; with the end of its log.
        """
        if dead := self.ended():
            raise LocalError(
                f"{dead.name} ended with status {dead.process.returncode}. The end of {dead.log}:\n{dead.last_lines()}"
            )

    def wait_until(self, condition: Callable[[], bool], *, timeout_s: float, step_s: float = 0.5) -> bool:
        """Wait for the condition while every part runs; returns whether it held in time.

        Raises:
            LocalError: a part ended.
            StopRequestedError: a signal asked to stop.
        """

        def holds() -> bool:
            self.check()
            return condition()

        return self._stop.wait_until(holds, timeout_s=timeout_s, step_s=step_s)

    def start(self) -> None:
        """Start every part and wait until all are healthy and the settings file is applied.

        Raises:
            LocalError: a part ended or did not get ready, or airflow_settings.yaml or the samples' spreadsheets are wrong.
        """
        ports = self.home.state.get("ports", {})
        earlier = replace(self.addresses, **{name: ports[name] for name in _FREE_PORTS if name in ports})
        settings, earlier_settings = self._settings(self.addresses), self._settings(earlier)
        self.project.output.mkdir(parents=True, exist_ok=True)
        self.home.write(self.project, self.addresses)
        self._migrate()
        self._say("Starting Airflow")
        for name, command in self._commands().items():
            self._processes.start(name, command)
        people, tasks = Api(self.url), Api(self.addresses.tasks_url)
        if not self.wait_until(
            lambda: self.sandbox.answers() and tasks.serves_tasks() and people.healthy(), timeout_s=_START_TIMEOUT_S
        ):
            raise LocalError(f"Airflow did not get ready in {_START_TIMEOUT_S} s. Look into {self.home.component_logs}")
        for title in self.sandbox.fill(self.project.spreadsheets):
            self._say(f"Created spreadsheet {title}")
        for created in apply_settings(self.login(), settings):
            self._say(f"Created {created}")
        follow_settings(self.login(), earlier_settings, settings)
        a = self.addresses
        self.home.state["ports"] = {"airflow": a.port, **{name: getattr(a, name) for name in _FREE_PORTS}}
        self.home.state["url"] = self.url
        self.home.save_state()

    def stop(self) -> None:
        """Stop every process.

        Raises:
            LocalError: one outlived SIGKILL.
        """
        if left := self._processes.stop(_STOPPING):
            raise LocalError(f"These processes could not be stopped: {', '.join(map(str, left))}")

    def _commands(self) -> dict[str, list[str]]:
        """The parts, by name.

        People and tasks get an API server each. In one process with SQLite, a click and a task's change of state block each
        other until the database gives up: Airflow 3.3.2 writes its audit log on the event loop, which then cannot end the
        other request's transaction.
        """
        a = self.addresses
        loopback = ["--host", "127.0.0.1", "--port"]
        return {
            "scheduler": [*_AIRFLOW, "scheduler", "--skip-serve-logs"],
            "dag-processor": [*_AIRFLOW, "dag-processor"],
            "triggerer": [*_AIRFLOW, "triggerer", "--skip-serve-logs"],
            "api-server": [*_AIRFLOW, "api-server", "--apps", "core"],
            "task-api": [*_AIRFLOW, "api-server", "--apps", "execution", *loopback, str(a.tasks)],
            # The scheduler's and the triggerer's own log servers would listen on all addresses.
            "task-logs": [sys.executable, "-m", "uvicorn", "--factory", _LOG_SERVER, *loopback, str(a.logs)],
            "mails": [
                *(sys.executable, "-m", "local.mail", "--folder", str(self.home.mails)),
                *("--smtp-port", str(a.smtp), "--page-port", str(a.mails)),
            ],
            "sandbox": self.sandbox.command(a.sandbox),
        }

    def _settings(self, addresses: Addresses) -> AirflowSettings:
        return read_settings(self.project.settings_file, {**os.environ, **self.home.variables(self.project, addresses)})

    def _migrate(self) -> None:
        """Bring Airflow's database to this version; each part checks that by itself too."""
        wanted = version("apache-airflow-core")
        if self.home.state.get("migrated") == wanted and (self.home.path / "airflow.db").exists():
            return
        self._say("Preparing Airflow's database (first start only)")
        migration = self._processes.start("migrate", [*_AIRFLOW, "db", "migrate"])
        if not self._stop.wait_until(lambda: migration.process.poll() is not None, timeout_s=_MIGRATE_TIMEOUT_S):
            raise LocalError(f"`airflow db migrate` took longer than {_MIGRATE_TIMEOUT_S} s. Look into {migration.log}")
        if migration.process.returncode != 0:
            raise LocalError(f"`airflow db migrate` failed. The end of {migration.log}:\n{migration.last_lines()}")
        self._processes.forget(migration)
        self.home.state["migrated"] = wanted
        self.home.save_state()


@contextmanager
def running(
    project: Project,
    home_path: Path,
    *,
    stop: Stop,
    host: str = "127.0.0.1",
    port: int | None = None,
    say: Callable[[str], None] = print,
) -> Iterator[LocalAirflow]:
    """A started Airflow for as long as the block runs; afterwards none of its processes is left.

    Raises:
        LocalError: it could not start, or not end.
        StopRequestedError: a signal came while it started.
    """
    with Home.hold(home_path) as home:
        airflow = LocalAirflow(project, home, host=host, port=port, stop=stop, say=say)
        try:
            airflow.start()
            yield airflow
        finally:
            started = time.monotonic()
            airflow.stop()
            say(f"Stopped, no process left ({time.monotonic() - started:.0f} s)")


def samples(airflow: LocalAirflow, api: Api, *, timeout_s: float = 180) -> tuple[list[str], list[str]]:
    """Wait until the mappings have been parsed.

    Returns:
        Ids of the DAGs with tag ``sync``; and a line for each mapping that gave none, with Airflow's errors after them.
    """
    folder = airflow.project.root / "include" / "mappings"
    wanted = {f"sync__{path.stem}" for path in folder.glob("*.yaml") if not path.name.startswith("_")}
    known: set[str] = set()

    def parsed() -> bool:
        known.update(str(dag["dag_id"]) for dag in api.dags("sync"))
        return wanted <= known or bool(known and api.import_errors())

    airflow.wait_until(parsed, timeout_s=timeout_s)
    missing = [f"warning: Airflow knows no DAG {dag_id}" for dag_id in sorted(wanted - known)]
    if missing:
        missing += [f"{error['filename']}: {error['stack_trace']}" for error in api.import_errors()]
    return sorted(known), missing


def logins(airflow: LocalAirflow) -> str:
    """Users, passwords and roles, one a line."""
    return "\n".join(f"  {user:15} {airflow.home.passwords[user]}   ({role})" for user, role in USERS.items())
