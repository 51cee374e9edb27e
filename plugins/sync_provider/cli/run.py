"""`airflow-sync run`: one run of one integration, now, in this process."""

from __future__ import annotations

import sys
from typing import Any

import click

from sync_provider.cli.driving import Drive, conclusion, driving, new_baseline_option, part_options
from sync_provider.cli.session import Session, common_options, pass_session
from sync_provider.cli.show import number, side_table
from sync_provider.core.changes import RunParams
from sync_provider.core.errors import SyncError, SyncValidationError


def _needs_terminal(_ctx: click.Context, _param: click.Parameter, approve: bool) -> bool:
    if approve and not sys.stdin.isatty():
        raise click.UsageError("--approve asks a person: it needs a terminal.")
    return approve


approve_option = click.option(
    "--approve",
    is_flag=True,
    callback=_needs_terminal,
    help="If a guard trips, ask the person at this terminal, who is audited.",
)


@click.command()
@click.argument("mapping_id", metavar="ID")
@click.option("--dry-run", is_flag=True, help="Stop after the plan; write nothing.")
@part_options
@click.option("--allow-deletes-once", is_flag=True, help="Let this run pass the guards.")
@new_baseline_option
@approve_option
@common_options
@pass_session
def run(session: Session, /, mapping_id: str, *, approve: bool, **asked: Any) -> None:
    """Run the integration ID now: the same phases, ledger and leases as in Airflow."""
    source = session.mapping(mapping_id)
    with driving(session, source, params(asked)) as drive:
        carry_out(session, drive, approve=approve)


def carry_out(session: Session, drive: Drive, *, approve: bool = False, only: str | None = None) -> None:
    """All phases, then the answer; a failure ends the program with its code. ``only`` is the digest of the one plan to write."""
    try:
        _phases(session, drive, approve=approve, only=only)
    except SyncError as error:
        if error.needs_decision:
            error.hint = error.hint or _way_on(drive, error)
        session.fail(error, **drive.facts())
    facts = drive.facts()
    if session.as_json:
        session.answer(facts, "")
        return
    click.echo(conclusion(facts))
    counters = facts["counters"] or {}
    side_table(counters)
    if counters.get("rejected"):
        click.echo(f"Rejected records: airflow-sync rejects list --run {facts['run']}")
    if waiting := counters.get("conflicts_open"):
        click.echo(
            f"Conflicts that wait for a decision: {number(waiting)}, airflow-sync conflicts list {facts['mapping']}"
        )


def params(asked: dict[str, Any]) -> RunParams:
    """The options as the engine takes them."""
    return RunParams(**{**asked, "keys": tuple(asked["keys"])})


def _phases(session: Session, drive: Drive, *, approve: bool, only: str | None) -> None:
    from sync_provider.engine.pipeline import phases_of, require_plan

    for name in phases_of(drive.ctx.mapping, dry_run=drive.ctx.params.dry_run):
        if name == "backup" and only is not None:
            require_plan(drive.ctx, only)
        if name == "backup" and approve:
            _ask(session, drive)
        drive.step(name, total=_to_write(drive) if name in ("load", "apply") else None)


def _to_write(drive: Drive) -> int:
    planned = drive.counters("plan")
    return sum(planned[name] or 0 for name in ("inserts", "updates", "deletes"))


def _ask(session: Session, drive: Drive) -> None:
    """Put a stopped plan to the person at the terminal.

    Raises:
        SyncValidationError: this person may not approve, or said no; nothing has been written.
    """
    from sync_provider.engine.pipeline import approve, trips

    tripped = trips(drive.ctx)
    if not tripped:
        return
    actor = session.person
    allowed = {name.rpartition(":")[2] for name in session.settings.approvers}
    if allowed and actor.removeprefix("cli:") not in allowed:
        raise SyncValidationError(
            f"{actor} may not approve; nothing was written",
            hint="[sync_provider] approvers names who may.",
            code="approval_refused",
        )
    for trip in tripped:
        click.echo(f"Guard {trip.guard}: {trip.message}", err=True)
    try:
        agreed = click.confirm(f"Write all the same, as {actor}?", err=True)
    except click.Abort:
        agreed = False
    approve(drive.ctx, actor=actor, approved=agreed)


def _way_on(drive: Drive, error: SyncError) -> str:
    name = drive.ctx.mapping.id
    asks = "--approve asks you at a terminal, " if error.code == "approval_missing" else ""
    return (
        f"`airflow-sync plan {name}` shows it; with `airflow-sync run {name}`, {asks}--allow-deletes-once lets it pass."
    )
