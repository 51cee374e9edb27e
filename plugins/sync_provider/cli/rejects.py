"""`airflow-sync rejects`: the quarantine, for a person to look at, correct and bring back in.

The only command that shows rejected values in clear, because somebody asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sync_provider.cli.driving import driving
from sync_provider.cli.run import carry_out
from sync_provider.cli.session import Session, common_options, pass_session
from sync_provider.cli.show import number, table, value
from sync_provider.core.changes import RunParams
from sync_provider.core.errors import SyncDataError

if TYPE_CHECKING:
    from sync_provider.engine.ledger.ledger import Ledger
    from sync_provider.engine.ledger.rejections import StoredRejection

_STATUSES = ("open", "corrected", "replayed", "dismissed", "all")


@click.group()
@common_options
def rejects() -> None:
    """List, export, correct, replay or dismiss rejected records."""


def _which(command: Any) -> Any:
    """Give a command the options that select rejections."""
    for option in (
        click.argument("mapping_id", metavar="[ID]", required=False),
        click.option("--run", "run_id", metavar="RUN", help="Rejected by this run only."),
        click.option("--status", type=click.Choice(_STATUSES), default="open", show_default=True),
        click.option("--rule", help="By this rule only, such as convert."),
        click.option("--field", help="For this destination field only."),
    ):
        command = option(command)
    return command


def _filters(mapping_id: str | None, status: str, **others: str | None) -> dict[str, Any]:
    """What selects them in the ledger. Without a run, a record that each run refuses anew counts once."""
    return {
        "mapping_id": mapping_id,
        "status": None if status == "all" else status,
        "current": others["run_id"] is None,
        **others,
    }


@rejects.command("list")
@_which
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Records shown.")
@common_options
@pass_session
def list_(session: Session, /, limit: int, **which: Any) -> None:
    """List rejected records, with the values at fault in clear: those of the integration ID, or of all."""
    filters = _filters(**which)
    with session.environment() as env:
        found = list(env.ledger.rejections.list(limit=limit, **filters))
        total = env.ledger.rejections.count(**filters)
    if session.as_json:
        session.answer({"total": total, "rejections": [each.as_dict() for each in found]}, "")
        return
    if not found:
        click.echo("No rejected records.")
        return
    headers = ["number", "integration", "place", "key", "rule", "field", "value", "status"]
    rows = [
        [
            str(each.id),
            each.mapping_id,
            value(str(each.where)),
            value(each.key) if each.key is not None else "",
            each.rule,
            each.field or "",
            value(each.value) if each.field else "",
            each.status,
        ]
        for each in found
    ]
    table(headers, rows, numbers=(0,))
    if total > len(found):
        click.echo(f"\n{number(len(found))} of {number(total)} shown; see --limit, or airflow-sync rejects export.")


@rejects.command()
@click.argument("rejection", metavar="NUMBER", type=int)
@common_options
@pass_session
def show(session: Session, rejection: int) -> None:
    """Show one rejected record in full: why, where, and every column."""
    with session.environment() as env:
        found = env.ledger.rejections.get(rejection)
    if session.as_json:
        session.answer(found.as_dict(), "")
        return
    place = value(str(found.where), whole=True)
    click.echo(f"{found.id}, {found.status}: {place}: {value(found.message, whole=True)}")
    click.echo(f"rule {found.rule}{f', field {found.field}' if found.field else ''}, run {found.run_id}\n")
    columns = [
        [name, value(text, whole=True), "" if text == found.record[name] else value(found.record[name], whole=True)]
        for name, text in found.original.items()
    ]
    table(["column", "as read", "corrected"], columns)


@rejects.command()
@_which
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@click.option(
    "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output."
)
@common_options
@pass_session
def export(session: Session, /, form: str, output: Path | None, **which: Any) -> None:
    """Write rejected records with all their columns: one JSON object a line, or CSV that a spreadsheet may open."""
    from sync_provider.cli.exporting import write_rejections

    with session.environment() as env:

        def found() -> Iterator[StoredRejection]:
            return env.ledger.rejections.list(**_filters(**which))

        records = write_rejections(found, "json" if session.as_json else form, output)
    if output is not None:
        session.answer({"file": str(output), "records": records}, f"{number(records)} rejected records in {output}")


@rejects.command()
@click.argument("rejection", metavar="NUMBER", type=int)
@click.argument("values", metavar="[COLUMN=VALUE]...", nargs=-1)
@click.option("--null", "nulls", metavar="COLUMN", multiple=True, help="Make this column null. Repeatable.")
@common_options
@pass_session
def correct(session: Session, rejection: int, values: tuple[str, ...], nulls: tuple[str, ...]) -> None:
    """Correct a rejected record; the next run of its integration brings it in.

    Columns and values are written as the source writes them. Without any, the record comes back as it was, because what
    refused it has been mended.
    """
    with session.environment() as env:
        found = env.ledger.rejections.get(rejection)
        record: dict[str, str | None] = dict(_pair(text, found) for text in values)
        record.update(dict.fromkeys(nulls))
        env.ledger.rejections.correct(rejection, record or None, session.person)
    session.answer(
        {"rejection": rejection, "mapping": found.mapping_id, "status": "corrected", "columns": sorted(record)},
        f"{rejection} waits for the next run of {found.mapping_id}; airflow-sync rejects replay {found.mapping_id} starts one",
    )


def _pair(text: str, rejection: StoredRejection) -> tuple[str, str]:
    """``column=value``; a column's own name may hold an equals sign.

    Raises:
        SyncDataError: the record has no such column.
    """
    known = [name for name in rejection.original if text.startswith(f"{name}=")]
    if not known:
        raise SyncDataError(
            f"{text.partition('=')[0]!r} is no column of rejection {rejection.id}, or has no value",
            hint=f"Write column=value; its columns are {', '.join(rejection.original)}.",
            code="rejection_column",
        )
    name = max(known, key=len)
    return name, text[len(name) + 1 :]


@rejects.command()
@click.argument("mapping_id", metavar="ID")
@click.option(
    "--all", "take_all", is_flag=True, help="Take the open ones too, as they are: what refused them is mended."
)
@common_options
@pass_session
def replay(session: Session, mapping_id: str, *, take_all: bool) -> None:
    """Run the integration ID now, so that its corrected records come in."""
    source = session.mapping(mapping_id)
    with session.environment() as env:
        if take_all:
            _reopen(env.ledger, mapping_id, session.person)
        waiting = env.ledger.rejections.count(mapping_id=mapping_id, status="corrected")
        still_open = env.ledger.rejections.count(mapping_id=mapping_id, status="open", current=True)
    if not waiting:
        session.answer(
            {"mapping": mapping_id, "replayed": 0, "open": still_open},
            f"No corrected record of {mapping_id} waits ({number(still_open)} open); see airflow-sync rejects correct.",
        )
        return
    with driving(session, source, RunParams()) as drive:
        carry_out(session, drive)


def _reopen(ledger: Ledger, mapping_id: str, actor: str) -> None:
    for number_ in [each.id for each in ledger.rejections.list(mapping_id=mapping_id, status="open", current=True)]:
        ledger.rejections.correct(number_, None, actor)


@rejects.command()
@click.argument("numbers", metavar="NUMBER...", type=int, nargs=-1, required=True)
@common_options
@pass_session
def dismiss(session: Session, numbers: tuple[int, ...]) -> None:
    """Set rejected records aside for good; no run brings them in."""
    with session.environment() as env:
        dismissed = env.ledger.rejections.dismiss(numbers, session.person)
    session.answer({"dismissed": dismissed}, f"{number(dismissed)} dismissed")
