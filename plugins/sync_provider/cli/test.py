"""`airflow-sync test`: whether both ends of an integration can be used as the mapping says."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

import click

from sync_provider.cli.sample import Sample, read_sample
from sync_provider.cli.session import FAILED, FAILED_RETRY_MAY_HELP, Session, common_options, exit_code, pass_session
from sync_provider.cli.show import number, table, value
from sync_provider.connectors.base import Probe
from sync_provider.core.errors import SyncError

if TYPE_CHECKING:
    from sync_provider.core.mapping import Mapping

Side = Literal["source", "destination"]


@click.command()
@click.argument("mapping_id", metavar="ID")
@click.option("--rows", type=click.IntRange(min=0), default=10, show_default=True, help="Records of the source shown.")
@common_options
@pass_session
def test(session: Session, mapping_id: str, rows: int) -> None:
    """Test both ends of the integration ID: reach, login, rights, columns; and show the source's first records, converted.

    Changes nothing. Exits with 3 if trying again may help, with 4 if not.
    """
    mapping = session.mapping(mapping_id).mapping
    code, sides = 0, {}
    for side in ("source", "destination"):
        sides[side], worst = _probe(session, mapping, side)
        code = max(code, worst)
    sample, problem = None, None
    if rows and all(probe.ok for probe in sides["source"]):
        try:
            with session.connect(mapping.source) as source:
                sample = read_sample(source, mapping, rows)
        except SyncError as error:
            problem, code = error, max(code, exit_code(error))
    if session.as_json:
        data = {
            "mapping": mapping.id,
            **{side: [asdict(probe) for probe in probes] for side, probes in sides.items()},
            "sample": asdict(sample) if sample else None,
            **({"error": problem.as_dict()} if problem else {}),
        }
        session.answer(data, "")
    else:
        _print(sides, sample, problem)
    if code:
        raise click.exceptions.Exit(code)


def _probe(session: Session, mapping: Mapping, side: Side) -> tuple[list[Probe], int]:
    """What testing one side gave, and the exit code that follows from it."""
    there = side == "destination"
    write = there or mapping.two_way
    columns = [f.destination if there else f.source for f in mapping.fields if there or not f.optional]
    try:
        with session.connect(mapping.endpoint(side)) as connector:
            probes = connector.test(list(dict.fromkeys(columns)), write=write)
    except SyncError as error:
        return [Probe(aspect="connect", ok=False, detail=error.message, hint=error.hint)], exit_code(error)
    failed = [probe.aspect for probe in probes if not probe.ok]
    if not failed:
        return probes, 0
    return probes, FAILED_RETRY_MAY_HELP if failed == ["reach"] else FAILED


def _print(sides: dict[str, list[Probe]], sample: Sample | None, problem: SyncError | None) -> None:
    for side, probes in sides.items():
        for probe in probes:
            hint = f". {probe.hint}" if probe.hint and not probe.ok else ""
            click.echo(
                f"{side:<11} {probe.aspect:<12} {'ok' if probe.ok else 'FAILED':<6}  {probe.detail.rstrip('.')}{hint}"
            )
    if problem is not None:
        click.echo(f"\nThe source cannot be read: {problem}", err=True)
    if sample is None:
        return
    click.echo()
    table(sample.columns, [[value(text) for text in row] for row in sample.rows])
    if sample.filtered:
        click.echo(f"\n{number(sample.filtered)} of the first {number(sample.read)} records left out by the filter")
    if sample.without_id:
        from sync_provider.engine.identity import NONE_YET

        click.echo(f"\n{number(sample.without_id)} of the first {number(sample.read)} records {NONE_YET}")
    for reason in sample.refused:
        click.echo(f"rejected: {value(reason, whole=True)}")
