"""`airflow-sync plan`: what a run would change, cell by cell. Nothing is written to the destination."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from sync_provider.cli.changes import Change, planned_changes
from sync_provider.cli.conflicts import conflict_row
from sync_provider.cli.driving import Drive, driving, new_baseline_option, part_options
from sync_provider.cli.run import params
from sync_provider.cli.session import WAITS_FOR_A_PERSON, Session, common_options, pass_session
from sync_provider.cli.show import number, table, value
from sync_provider.core.conflicts import SIDES
from sync_provider.core.errors import SyncError

if TYPE_CHECKING:
    from sync_provider.core.endpoints import Endpoint
    from sync_provider.core.guards import Trip
    from sync_provider.engine.ledger.conflicts import LoggedConflict

_ARROWS = {"source": "← "}  # written back
_MARKS = {"insert": "+", "update": "~", "delete": "-"}
_CHANGES_PER_TABLE = 500


@click.command()
@click.argument("mapping_id", metavar="ID")
@part_options
@new_baseline_option
@click.option("--limit-shown", type=click.IntRange(min=0), default=20, show_default=True, help="Changes shown.")
@click.option("--all", "show_all", is_flag=True, help="Show every change, and values whole.")
@common_options
@pass_session
def plan(session: Session, /, mapping_id: str, *, limit_shown: int, show_all: bool, **asked: Any) -> None:
    """Show what a run of the integration ID would change: old → new for each cell. Writes nothing.

    The run is kept in the ledger as a dry run. Exits with 7 if a guard would stop it. With --json every change is printed,
    one a line inside one document.
    """
    from sync_provider.engine.pipeline import phases_of

    source = session.mapping(mapping_id)
    with driving(session, source, params({**asked, "dry_run": True})) as drive:
        drive.quiet = True
        try:
            for name in phases_of(source.mapping, dry_run=True)[:-1]:
                drive.step(name)
            stopped = _trips(drive)
            if session.as_json:
                _print_document(drive, stopped)
            else:
                _print_text(drive, stopped, limit=None if show_all else limit_shown)
            drive.step("report")
        except SyncError as error:
            session.fail(error, **drive.facts())
    if stopped:
        raise click.exceptions.Exit(WAITS_FOR_A_PERSON)


def _trips(drive: Drive) -> list[Trip]:
    from sync_provider.engine.pipeline import trips

    return trips(drive.ctx)


def _summary(drive: Drive) -> dict[str, Any]:
    """The plan in numbers, two-way for each side; None is not known, which is no 0."""
    ctx, planned = drive.ctx, drive.ctx.artifact("plan")
    rejected = ctx.artifact("validate")["rejected"] + planned["rejected"]
    if ctx.mapping.two_way:
        counted = drive.counters("plan")
        sides: dict[str, Any] = {
            side: {
                "read": planned["counts"][side]["read"],
                **{name: counted[f"{side}_{name}"] for name in ("inserts", "updates", "deletes")},
                "filtered": planned["counts"][side]["filtered"],
            }
            for side in SIDES
        }
        refused = rejected + sum(ctx.artifact(f"snapshot_{side}")["rejected"] for side in SIDES)
        return {**sides, "conflicts": planned["open"], "settled": planned["settled"], "rejected": refused}
    extracted = ctx.artifact("extract")
    numbers = {name: planned[name] for name in ("inserts", "updates", "deletes", "unchanged", "existing")}
    # A replace swaps the content without comparing: how many records stay as they are is not known.
    if ctx.mapping.write == "replace":
        numbers["updates"] = None
    return {"read": extracted["read"], **numbers, "rejected": rejected, "filtered": extracted["filtered"]}


def _print_summary(summary: dict[str, Any]) -> None:
    flat = {name: count for name, count in summary.items() if not isinstance(count, dict)}
    if "source" not in summary:
        table(["", "records"], [[name, number(count)] for name, count in flat.items()], numbers=(1,))
        return
    rows = [[name, *(number(summary[side][name]) for side in SIDES)] for name in summary["source"]]
    table(["", *SIDES], rows, numbers=(1, 2))
    click.echo("\n" + ", ".join(f"{name} {number(count)}" for name, count in flat.items()))


def _without_id(drive: Drive) -> dict[str, int]:
    """Side → rows that have no id yet, which no plan can name; sides without such rows are left out."""
    phases = {side: f"snapshot_{side}" for side in SIDES} if drive.ctx.mapping.two_way else {"source": "extract"}
    counted = {side: int(drive.ctx.artifact(name)["without_id"]) for side, name in phases.items()}
    return {side: count for side, count in counted.items() if count}


def _conflicts(drive: Drive) -> list[LoggedConflict]:
    if not drive.ctx.mapping.two_way:
        return []
    from sync_provider.engine.bidirectional.apply import planned_conflicts

    return list(planned_conflicts(drive.ctx))


def _print_document(drive: Drive, stopped: list[Trip]) -> None:
    """One JSON document, written as it comes: the changes need not fit in memory."""
    head = {
        "mapping": drive.ctx.mapping.id,
        "run": drive.ctx.id,
        "mode": drive.ctx.mapping.mode,
        "write": None if drive.ctx.mapping.two_way else drive.ctx.mapping.write,
        "digest": drive.ctx.artifact("plan")["digest"],
        "summary": _summary(drive),
        "without_id": _without_id(drive),
        "trips": [trip.as_dict() for trip in stopped],
        "conflicts": [conflict.as_dict() for conflict in _conflicts(drive)],
        "phases": drive.phases,
    }
    click.echo(json.dumps(head, ensure_ascii=False, indent=2)[:-2] + ',\n  "changes": [', nl=False)
    separator = "\n    "
    for change in planned_changes(drive.ctx):
        click.echo(separator + json.dumps(change.as_dict(), ensure_ascii=False), nl=False)
        separator = ",\n    "
    click.echo("\n  ]\n}")


def _print_text(drive: Drive, stopped: list[Trip], *, limit: int | None) -> None:
    from sync_provider.engine.identity import NONE_YET

    mapping, summary = drive.ctx.mapping, _summary(drive)
    what = f"{_place(mapping.source)} ↔ " if mapping.two_way else f"{mapping.write} into "
    click.echo(f"{mapping.id}: {what}{_place(mapping.destination)}\n")
    _print_summary(summary)
    changes = islice(planned_changes(drive.ctx), limit)
    while chunk := list(islice(changes, _CHANGES_PER_TABLE)):
        click.echo()
        rows = [row for change in chunk for row in _rows(change, whole=limit is None)]
        table(["", "key", "field", "old", "new"], rows)
    total = drive.ctx.artifact("plan")["rows"] if not mapping.two_way else _total(drive)
    if limit is not None and total > limit:
        click.echo(f"\n{number(limit)} of {number(total)} changes shown; --all shows every one.")
    elif not total:
        click.echo("\nNothing would change.")
    if conflicts := _conflicts(drive):
        click.echo("\nConflicts, recorded once a run has met them:\n")
        shown = conflicts[: limit if limit is not None else None]
        table(["key", "field", "base", "source", "destination", "becomes"], [conflict_row(each) for each in shown])
    click.echo(
        f"\nPlan {drive.ctx.artifact('plan')['digest'][:12]}; airflow-sync apply {drive.ctx.id} writes exactly this."
    )
    for side, waiting in _without_id(drive).items():
        click.echo(f"\n{number(waiting)} rows of the {side} {NONE_YET}.")
    if summary["rejected"]:
        click.echo(f"\nRejected records: airflow-sync rejects list --run {drive.ctx.id}")
    for trip in stopped:
        click.echo(f"\nGuard {trip.guard} would stop the run: {trip.message}")


def _total(drive: Drive) -> int:
    counters = drive.counters("plan")
    return sum(counters[name] for name in ("inserts", "updates", "deletes"))


def _place(endpoint: Endpoint) -> str:
    what = next(
        (value for name in ("table", "path", "spreadsheet") if (value := getattr(endpoint, name, None))), "the query"
    )
    connection = f" of connection {endpoint.connection}" if endpoint.connection else ""
    return f"{what}{connection}"


def _rows(change: Change, *, whole: bool) -> Iterator[list[str]]:
    """An update is a line for each cell that changes; an insert or a delete is one line of all its cells."""
    key = "|".join(value(part, whole=whole) for part in change.key.values())
    mark = f"{_ARROWS.get(change.side, '')}{_MARKS[change.op]}"
    if change.op == "update":
        for name, (old, new) in change.cells.items():
            yield [mark, key, name, value(old, whole=whole), value(new, whole=whole)]
            mark = key = ""
        return
    side = 1 if change.op == "insert" else 0
    cells = ", ".join(f"{name}: {value(pair[side], whole=whole)}" for name, pair in change.cells.items())
    yield [mark, key, "", "", cells] if side else [mark, key, "", cells, ""]
