"""What every command shares: its options, its way of printing, and what its errors exit with."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from pwd import getpwuid
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from sync_provider.core.errors import MappingError, MappingErrors, SyncError, SyncValidationError

if TYPE_CHECKING:
    from sync_provider.connectors.base import ConnectionInfo
    from sync_provider.core.endpoints import Endpoint
    from sync_provider.engine.environment import Environment, Shared
    from sync_provider.engine.loader import MappingSource
    from sync_provider.engine.settings import Settings

UNEXPECTED = 1
USAGE_OR_MAPPING = 2
FAILED_RETRY_MAY_HELP = 3
FAILED = 4
WAITS_FOR_A_PERSON = 7

_PATIENCE_S = 15.0  # longest wait in all for a system that a person at a terminal asks about

F = TypeVar("F", bound=Callable[..., Any])


class Session:
    """One invocation of the program: the options that every command takes, and how it answers."""

    def __init__(self) -> None:
        self.mappings: Path | None = None
        self.as_json = False
        self.debug = False

    @cached_property
    def settings(self) -> Settings:
        """The deployment's settings.

        Raises:
            SyncValidationError: a value does not fit its option.
        """
        from sync_provider.engine.settings import load_settings

        return load_settings()

    @property
    def mappings_dir(self) -> Path:
        """``--mappings``, else the deployment's; relative to the current folder where it lies below it."""
        directory = self.mappings or self.settings.mappings_dir
        here = Path.cwd()
        return directory.relative_to(here) if directory.is_relative_to(here) else directory

    def mapping(self, mapping_id: str) -> MappingSource:
        """The mapping of that id.

        Raises:
            MappingError: there is none, or it is wrong.
        """
        from sync_provider.engine.loader import load_mapping

        return load_mapping(mapping_id, self.mappings_dir)

    @cached_property
    def find_connection(self) -> Callable[[str], ConnectionInfo]:
        """Looks connections up without Airflow, each once."""
        from sync_provider.engine.connections import resolve_connection

        return cache(lambda connection_id: resolve_connection(connection_id, self.settings))

    def connect(self, endpoint: Endpoint) -> Any:
        """Open an endpoint's connector, without ledger or store; use it as a context manager."""
        from sync_provider.engine.clock import SystemClock
        from sync_provider.engine.environment import connect

        return connect(endpoint, self.settings, self.find_connection, SystemClock(), self._shared)

    @cached_property
    def _shared(self) -> Shared:
        """Without a ledger, only this command's own requests are known to its budget."""
        from sync_provider.engine.budget import LocalGrants, RequestBudget, quotas_for
        from sync_provider.engine.clock import SystemClock
        from sync_provider.engine.environment import Shared

        clock = SystemClock()
        budget = RequestBudget(LocalGrants(clock), clock, quotas_for(self.settings), _PATIENCE_S)
        return Shared(budget=budget, total_wait_s=_PATIENCE_S)

    @contextmanager
    def environment(
        self, progress: Callable[[str, int], None] = lambda _phase, _records: None
    ) -> Iterator[Environment]:
        """The deployment's ledger, store and connections, open meanwhile.

        Raises:
            SyncValidationError: there is no deployment here, or it has no encryption key.
            SyncConnectionError: the ledger or the store cannot be reached.
        """
        from sync_provider.engine.environment import open_environment

        home = self.settings.home
        if not home.is_dir():
            # Made here, it would be a second deployment with a ledger of its own, which nobody asked for.
            raise SyncValidationError(
                f"there is no AIRFLOW_HOME at {home}",
                hint="Start the project once with `make run`, or set AIRFLOW_HOME to that of your Airflow.",
                code="settings_home",
            )
        with open_environment(self.settings, self.find_connection) as opened:
            yield replace(opened, progress=progress)

    @property
    def person(self) -> str:
        """Who is at the command line, for the audit: the operating system's user, whatever the environment says."""
        return f"cli:{getpwuid(os.getuid()).pw_name}"

    def answer(self, data: Mapping[str, Any], text: str) -> None:
        """Print the result: ``data`` as JSON if asked for, else ``text``."""
        click.echo(json.dumps(data, ensure_ascii=False, indent=2) if self.as_json else text)

    def fail(self, error: SyncError, **facts: Any) -> NoReturn:
        """Print one error, in JSON with the facts beside it, and end with the code of its kind."""
        if self.debug:
            traceback.print_exc()
        if self.as_json:
            click.echo(json.dumps({**facts, "error": error.as_dict()}, ensure_ascii=False, indent=2))
        else:
            for line in error.errors if isinstance(error, MappingErrors) else (error,):
                click.echo(str(line), err=True)
        sys.exit(exit_code(error))

    def fail_unexpectedly(self, error: Exception) -> NoReturn:
        """Print that something happened which nobody foresaw: what and where, but not its text, which may hold anything."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        message = f"unexpected {type(error).__name__} at {place}. Run again with --debug for the traceback."
        if self.as_json:
            click.echo(json.dumps({"error": {"type": type(error).__name__, "message": message}}, indent=2))
        else:
            click.echo(message, err=True)
        sys.exit(UNEXPECTED)


def exit_code(error: SyncError) -> int:
    """What the program exits with when a command ends in ``error``; the one place that decides."""
    code = error.code or ""
    if isinstance(error, MappingError) or code.startswith("settings_"):
        return USAGE_OR_MAPPING
    if error.needs_decision:
        return WAITS_FOR_A_PERSON
    return FAILED_RETRY_MAY_HELP if error.retryable else FAILED


class Program(click.Group):
    """A group whose commands may raise SyncErrors: they end as one sentence and an exit code, not as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        session = ctx.ensure_object(Session)
        try:
            return super().invoke(ctx)
        except SyncError as error:
            session.fail(error)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if session.debug:
                raise
            session.fail_unexpectedly(error)


def common_options(command: F) -> F:
    """Give a command, or the group itself, ``--mappings``, ``--json`` and ``--debug``."""
    for option in (
        click.option(
            "--mappings",
            metavar="DIR",
            type=click.Path(file_okay=False, path_type=Path),
            callback=_remember,
            expose_value=False,
            help="Folder of the mappings. Default: [sync_provider] mappings_dir.",
        ),
        click.option(
            "--json", "as_json", is_flag=True, callback=_remember, expose_value=False, help="Print JSON for programs."
        ),
        click.option("--debug", is_flag=True, callback=_remember, expose_value=False, help="Show tracebacks."),
    ):
        command = option(command)
    return command


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value and param.name:
        setattr(ctx.ensure_object(Session), param.name, value)


pass_session = click.make_pass_decorator(Session, ensure=True)
