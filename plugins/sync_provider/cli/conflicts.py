"""`airflow-sync conflicts`: what two sides could not both have, and a person's decisions about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sync_provider.cli.session import Session, common_options, pass_session
from sync_provider.cli.show import moment, number, table, value

if TYPE_CHECKING:
    from sync_provider.core.mapping import Mapping
    from sync_provider.engine.ledger.conflicts import LoggedConflict, StoredConflict

STATUSES = ("open", "decided", "settled", "applied", "superseded", "agreed")  # as the log has them


@click.group()
def conflicts() -> None:
    """See conflicts of two-way integrations, and decide open ones."""


@conflicts.command("list")
@click.argument("mapping_id", metavar="[ID]", required=False)
@click.option("--run", "run_id", metavar="RUN", help="Recorded by this run only.")
@click.option("--status", type=click.Choice(STATUSES), help="Default: those that are open or decided.")
@click.option("--all", "show_all", is_flag=True, help="In any status.")
@common_options
@pass_session
def list_(session: Session, mapping_id: str | None, run_id: str | None, status: str | None, *, show_all: bool) -> None:
    """List conflicts, of the integration ID or of all."""
    statuses = (status,) if status else () if show_all or run_id else STATUSES[:2]
    with session.environment() as env:
        found = env.ledger.conflicts.list(mapping_id=mapping_id, run_id=run_id, statuses=statuses)
    if session.as_json:
        session.answer({"conflicts": [each.as_dict() for each in found]}, "")
        return
    if not found:
        click.echo("No conflicts.")
        return
    headers = ["no.", "integration", "key", "field", "base", "source", "destination", "since", "policy", "status"]
    rows = []
    for each in found:
        key, field, base, source, destination, _ = conflict_row(each.conflict)
        rows.append(
            [
                str(each.id),
                each.mapping_id,
                key,
                field,
                base,
                source,
                destination,
                moment(each.created_at),
                each.conflict.policy,
                _status(each),
            ]
        )
    table(headers, rows, numbers=(0,))
    undecided = sum(each.status == "open" for each in found)
    if undecided:
        click.echo(
            f"\n{number(undecided)} open. airflow-sync conflicts resolve NO. --source, --destination or --value TEXT decides."
        )


@conflicts.command("show")
@click.argument("conflict", metavar="NO.", type=int)
@common_options
@pass_session
def show(session: Session, conflict: int) -> None:
    """Show one conflict in full, values whole."""
    with session.environment() as env:
        found = env.ledger.conflicts.get(conflict)
    lines = [
        f"conflict {found.id} of {found.mapping_id}, {_status(found)}, recorded {moment(found.created_at)} by run {found.run_id}"
    ]
    lines.append(
        f"key {value(found.conflict.key, whole=True)}, {_field(found.conflict)}, policy {found.conflict.policy}"
    )
    for name in ("base", "source", "destination"):
        held = getattr(found.conflict, name)
        known = name != "base" or found.conflict.has_base
        changed = getattr(found.conflict, f"{name}_time", None)
        lines.append(
            f"{name:<12} {_shown(held, whole=True) if known else 'never agreed'}"
            + (f", changed {changed}" if changed else "")
        )
    if found.choice:
        chosen = f": {value(found.value, whole=True)}" if found.choice == "value" else ""
        lines.append(f"{found.decided_by} decided for the {found.choice}{chosen}, {moment(found.decided_at)}")
    session.answer(found.as_dict(), "\n".join(lines))


@conflicts.command("resolve")
@click.argument("conflict", metavar="NO.", type=int)
@click.option("--source", "choice", flag_value="source", help="The source's value holds.")
@click.option("--destination", "choice", flag_value="destination", help="The destination's value holds.")
@click.option(
    "--value", "text", metavar="TEXT", help="This third value holds: canonical text (1234.5, 2024-12-31, true)."
)
@click.option("--null", "null", is_flag=True, help="No value holds.")
@common_options
@pass_session
def resolve(session: Session, conflict: int, choice: str | None, text: str | None, *, null: bool) -> None:
    """Decide the open conflict NO. The next run applies it, unless a side has moved since: then it says so and asks again."""
    if sum((choice is not None, text is not None, null)) != 1:
        raise click.UsageError("Give one of --source, --destination, --value TEXT and --null.")
    with session.environment() as env:
        stored = env.ledger.conflicts.get(conflict)
        if text is not None:
            text = _canonical(session.mapping(stored.mapping_id).mapping, stored, text)
        decided = env.ledger.conflicts.resolve(
            conflict,
            choice or "value",  # type: ignore[arg-type]  # click's flag values
            session.person,
            text,
        )
    session.answer(
        decided.as_dict(),
        f"Decided. The next run of {decided.mapping_id} applies it: airflow-sync run {decided.mapping_id}",
    )


def _canonical(mapping: Mapping, stored: StoredConflict, text: str) -> str | None:
    """A typed value as canonical text of the field's type; None where it means null.

    Raises:
        UsageError: it is no value of that type.
    """
    from sync_provider.core.canonical import named_zone, read_text, write_text

    field = next((f for f in mapping.fields if f.destination == stored.conflict.field), None)
    if field is None:
        return text  # the log says why
    try:
        read = read_text(text, field.logical_type, named_zone(mapping.timezone))
    except ValueError as error:
        reason = f": {error}" if str(error) else ""
        raise click.UsageError(f"{value(text)} is no {field.type}{reason}.") from error
    return None if read is None else write_text(read)


def conflict_row(conflict: LoggedConflict) -> list[str]:
    """Key, field, base, both sides, and what becomes of it, each as one cell."""
    becomes = {None: "open", "both": "two records"}.get(conflict.winner, f"the {conflict.winner}'s")
    base = _shown(conflict.base) if conflict.has_base else "never agreed"
    return [
        value(conflict.key),
        _field(conflict),
        base,
        _shown(conflict.source),
        _shown(conflict.destination),
        becomes,
    ]


def _field(conflict: LoggedConflict) -> str:
    return conflict.field or "whole record"


def _status(stored: StoredConflict) -> str:
    return f"{stored.status} by {stored.decided_by}" if stored.status == "decided" else stored.status


def _shown(held: Any, *, whole: bool = False) -> str:
    """A value, or a record as its fields."""
    if isinstance(held, dict):
        return ", ".join(f"{name}: {value(text, whole=whole)}" for name, text in held.items())
    return value(held, whole=whole)
