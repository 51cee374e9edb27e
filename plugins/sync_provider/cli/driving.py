"""Runs started from the command line: the phases of the engine, told one by one as they end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sync_provider.cli.progress import Display
from sync_provider.cli.session import Session
from sync_provider.cli.show import counts, duration
from sync_provider.core.changes import ONE_WAY, TWO_WAY, RunParams
from sync_provider.core.errors import SyncConnectionError

if TYPE_CHECKING:
    from sync_provider.engine.loader import MappingSource
    from sync_provider.engine.run import RunContext

F = TypeVar("F", bound=Callable[..., Any])

RUN_BY = "cli"
"""What the ledger names as the DAG and as the trigger of these runs."""

_WRITTEN = {
    "load": "what was not yet committed is undone",
    "apply": "what was not yet committed is undone; the next run finishes the rest",
    "report": "the records are written, the cursor has not moved",
}
"""What is in the destination when a run is stopped during a phase."""


def part_options(command: F) -> F:
    """The options that say which part of the source a run reads; see `core.changes.RunParams`."""
    for option in (
        click.option(
            "--key", "keys", metavar="KEY", multiple=True, help="Only this key; parts joined by |. Repeatable."
        ),
        click.option("--limit", type=click.IntRange(min=1), help="At most this many records."),
        click.option("--until", metavar="VALUE", help="Only records before this value of the cursor."),
        click.option("--since", metavar="VALUE", help="Only records from this value of the cursor on."),
        click.option(
            "--full-refresh",
            is_flag=True,
            help="Ignore the stored cursor, the files already read and the versions of spreadsheets.",
        ),
    ):
        command = option(command)
    return command


new_baseline_option = click.option(
    "--new-baseline", is_flag=True, help="Two-way: begin anew, as on the first run; nothing is deleted."
)


@dataclass(slots=True)
class Drive:
    """One run on its way.

    Args:
        ctx: the run.
        quiet: print no line per phase.
        phases: what has ended so far, JSON-ready.
    """

    ctx: RunContext
    display: Display
    quiet: bool
    phases: list[dict[str, Any]] = field(default_factory=list)
    present: str | None = None

    @property
    def _width(self) -> int:
        return max(map(len, TWO_WAY if self.ctx.mapping.two_way else ONE_WAY))

    def step(self, name: str, total: int | None = None) -> dict[str, Any]:
        """Carry out one phase and tell what it did.

        Raises:
            SyncError: the phase failed; the ledger has it.
        """
        from sync_provider.engine import pipeline

        started = time.monotonic()
        self.present = name
        with self.display.phase(name, total):
            counters: dict[str, Any] = getattr(pipeline, name)(self.ctx)
        seconds = time.monotonic() - started
        shown = {key: value for key, value in counters.items() if value is None or type(value) is int}
        self.phases.append({"phase": name, "duration_s": round(seconds, 3), "counters": shown})
        if not self.quiet:
            said = "" if name == "report" else counts(shown) or "nothing to do"
            click.echo(f"{name:<{self._width}} {duration(seconds):>8}  {said}".rstrip())
        return counters

    def counters(self, phase: str) -> dict[str, Any]:
        """What a phase that has ended counted."""
        return next(done["counters"] for done in self.phases if done["phase"] == phase)

    def facts(self) -> dict[str, Any]:
        """The run as the ledger has it, JSON-ready."""
        run = self.ctx.env.ledger.runs.get(self.ctx.id)
        return {
            "mapping": run.mapping_id,
            "run": run.id,
            "state": run.state,
            "dry_run": self.ctx.params.dry_run,
            "duration_s": run.duration_s,
            "counters": run.counters,
            "phases": self.phases,
        }


@contextmanager
def driving(session: Session, source: MappingSource, params: RunParams) -> Iterator[Drive]:
    """Open a run; if Ctrl-C or a termination signal stops it, close it, say so, and end.

    Args:
        session: the invocation.
        source: the integration.
        params: what was asked for.
    """
    from ulid import ULID

    from sync_provider.engine.run import open_run

    display = Display()
    with session.environment(display.update) as env:
        ctx = open_run(env, source, dag_id=RUN_BY, airflow_run_id=f"sync__{ULID()}", trigger=RUN_BY, params=params)
        drive = Drive(ctx, display, quiet=session.as_json)
        with _termination_interrupts():
            try:
                yield drive
            except KeyboardInterrupt:
                error = _close_stopped(drive)
                session.fail(error, **drive.facts())


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM stops a run the way Ctrl-C does: everything is unwound."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _close_stopped(drive: Drive) -> SyncConnectionError:
    ctx, ledger = drive.ctx, drive.ctx.env.ledger
    during = f" during {drive.present}" if drive.present else ""
    written = _WRITTEN.get(drive.present or "", "nothing was written")
    error = SyncConnectionError(
        f"stopped{during}: {written}; no lease is held any more",
        hint=f"`airflow-sync plan {ctx.mapping.id}` shows what is left to write; `airflow-sync run {ctx.mapping.id}` goes on.",
        code="stopped",
    )
    for lease in ledger.leases.held():
        if lease.holder == ctx.id:  # it was stopped between taking the lease and using it
            ledger.leases.release(lease)
    ledger.runs.finish(ctx.id, "failed", error=error.as_dict(), event="run.failed")
    return error


def conclusion(facts: Mapping[str, Any]) -> str:
    """The last line of a run: what became of it, in how long, how many records."""
    asked = " (dry run, nothing was written)" if facts["dry_run"] else ""
    took = f" in {duration(facts['duration_s'])}" if facts["duration_s"] is not None else ""
    said = counts(facts["counters"] or {}) or "no records"
    return f"{facts['mapping']} {facts['state']}{asked}{took}: {said}"
