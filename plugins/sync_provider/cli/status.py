"""`airflow-sync status`: the last run of every integration, or one run in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sync_provider.cli.session import Session, common_options, pass_session
from sync_provider.cli.show import counts, duration, moment, number, side_table, table
from sync_provider.core.errors import SyncDataError, SyncError, Where

if TYPE_CHECKING:
    from sync_provider.engine.environment import Environment
    from sync_provider.engine.ledger.records import PhaseRow, Run


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@common_options
@pass_session
def status(session: Session, run_id: str | None) -> None:
    """Show the last run of every integration, or all about RUN: a run's id, the start of one, or an integration's id."""
    with session.environment() as env:
        if run_id is None:
            _overview(session, env)
        else:
            _one(session, env, _find(env, run_id))


def _find(env: Environment, text: str) -> Run:
    """The run that a person means.

    Raises:
        SyncDataError: none starts so, or several do.
    """
    if runs := env.ledger.runs.list(mapping_id=text, limit=1):
        return runs[0]
    found = env.ledger.runs.matching(text, limit=2)
    if len(found) == 1:
        return found[0]
    what = "several runs start" if found else "no run or integration that has run starts"
    raise SyncDataError(f"{what} with {text!r}", hint="`airflow-sync status` lists the last runs.", code="run_unknown")


def _overview(session: Session, env: Environment) -> None:
    from sync_provider.engine.loader import scan_mappings

    scan = scan_mappings(session.mappings_dir)
    ids = [source.mapping.id for source in scan.sources]
    waiting = {
        source.mapping.id: env.ledger.conflicts.count(mapping_id=source.mapping.id, statuses=("open",))
        for source in scan.sources
        if source.mapping.two_way
    }
    last = {mapping_id: next(iter(env.ledger.runs.list(mapping_id=mapping_id, limit=1)), None) for mapping_id in ids}
    broken = sorted({error.where.file for error in scan.errors if error.where.file})
    data = {
        "integrations": [
            {
                "mapping": mapping_id,
                "last_run": run and _as_data(run, _seconds(env, run)),
                "conflicts_open": waiting.get(mapping_id),
            }
            for mapping_id, run in last.items()
        ],
        "broken_mappings": broken,
    }
    if session.as_json:
        session.answer(data, "")
        return
    headers = ["integration", "state", "started", "took", "read", "written", "rejected", "conflicts", "run"]
    rows = [_line(env, name, run, waiting.get(name)) for name, run in last.items()]
    table(headers, rows, numbers=(4, 5, 6, 7))
    for name, run in last.items():
        if run is not None and run.error:
            click.echo(f"\n{name}: {sentence(run.error)}")
    if broken:
        click.echo(f"\nBroken, see airflow-sync lint: {', '.join(broken)}", err=True)


def _line(env: Environment, name: str, run: Run | None, conflicts: int | None) -> list[str]:
    """One integration; ``conflicts`` wait for a decision now, None where there can be none."""
    if run is None:
        return [name, "never run", *[""] * 7]
    counters = run.counters
    numbers = [number(counters[each]) if counters else "" for each in ("read", "written", "rejected")]
    return [
        name,
        _state(run),
        moment(run.started_at),
        duration(_seconds(env, run)),
        *numbers,
        "" if conflicts is None else number(conflicts),
        run.id,
    ]


def _state(run: Run) -> str:
    return f"{run.state} (dry run)" if run.params.get("dry_run") else run.state


def _seconds(env: Environment, run: Run) -> float | None:
    """Seconds it took, or has taken so far."""
    if run.started_at is not None and run.finished_at is None:
        return (env.clock.now() - run.started_at).total_seconds()
    return run.duration_s


def _one(session: Session, env: Environment, run: Run) -> None:
    phases = env.ledger.runs.phases(run.id)
    rules = env.ledger.rejections.by_rule(run.id)
    conflicts = env.ledger.conflicts.count(run_id=run.id, statuses=("open",))
    data = {
        **_as_data(run, _seconds(env, run)),
        "params": run.params,
        "phases": [_phase_data(row) for row in phases],
        "rejections": [{"rule": rule, "field": field, "records": records} for rule, field, records in rules],
        "conflicts_open": conflicts,
    }
    if session.as_json:
        session.answer(data, "")
        return
    click.echo(f"{run.mapping_id} {_state(run)}, run {run.id}, started by {run.trigger} {moment(run.started_at)}")
    if asked := {name: value for name, value in run.params.items() if value}:
        click.echo(f"asked for: {', '.join(f'{name} {value}' for name, value in asked.items())}")
    click.echo()
    rows = [[row.phase, row.state, duration(row.duration_s), str(row.attempt), counts(row.counters)] for row in phases]
    table(["phase", "state", "took", "try", "counters"], rows, numbers=(2, 3))
    if run.counters:
        click.echo(f"\n{counts(run.counters) or 'no records'}")
        side_table(run.counters)
    if conflicts:
        click.echo(f"Conflicts that it recorded and that wait for a decision: {number(conflicts)}")
        click.echo(f"See airflow-sync conflicts list --run {run.id}")
    for rule, field, records in rules:
        click.echo(f"rejected by {rule}{f' on {field}' if field else ''}: {number(records)}")
    if rules:
        click.echo(f"See airflow-sync rejects list --run {run.id}")
    if run.error:
        click.echo(f"\n{sentence(run.error)}")


def sentence(error: dict[str, Any]) -> str:
    """An error of the ledger as its one sentence: where, what, how to fix it.

    >>> sentence({"message": "no such column", "hint": "Add it.", "where": {"file": "a.csv", "line": 1}})
    'a.csv:1: no such column. Add it.'
    """
    return str(SyncError(error["message"], where=Where(**error.get("where") or {}), hint=error.get("hint")))


def _as_data(run: Run, seconds: float | None) -> dict[str, Any]:
    return {
        "run": run.id,
        "mapping": run.mapping_id,
        "state": run.state,
        "dry_run": bool(run.params.get("dry_run")),
        "trigger": run.trigger,
        "dag_id": run.dag_id,
        "airflow_run_id": run.airflow_run_id,
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "duration_s": seconds,
        "counters": run.counters,
        "error": run.error,
    }


def _phase_data(row: PhaseRow) -> dict[str, Any]:
    return {
        "phase": row.phase,
        "state": row.state,
        "attempt": row.attempt,
        "started_at": row.started_at.isoformat(),
        "duration_s": row.duration_s,
        "counters": row.counters,
        "error": row.error,
    }
