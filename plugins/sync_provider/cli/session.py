"""What every command shares: its options, its way of printing, and what its errors exit with."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from sync_provider.core.errors import MappingError, MappingErrors, SyncError

if TYPE_CHECKING:
    from sync_provider.engine.settings import Settings

UNEXPECTED = 1
USAGE_OR_MAPPING = 2
FAILED_RETRY_MAY_HELP = 3
FAILED = 4
WAITS_FOR_A_PERSON = 7

_ASKS = ("guard_", "baseline_", "approval_missing")
"""Starts of the codes of errors after which nothing was written and a person must decide."""


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

    def answer(self, data: Mapping[str, Any], text: str) -> None:
        """Print the result: ``data`` as JSON if asked for, else ``text``."""
        click.echo(json.dumps(data, ensure_ascii=False, indent=2) if self.as_json else text)

    def fail(self, error: SyncError) -> NoReturn:
        """Print one error and end with the code of its kind."""
        if self.debug:
            traceback.print_exc()
        if self.as_json:
            click.echo(json.dumps({"error": error.as_dict()}, ensure_ascii=False, indent=2))
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
    if code.startswith(_ASKS):
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
