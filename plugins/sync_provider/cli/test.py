"""`airflow-sync test`: whether both ends of an integration can be used as the mapping says."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

import click

from sync_provider.cli.probes import probe_line, probes_exit
from sync_provider.cli.sample import Sample, read_sample
from sync_provider.cli.session import Session, common_options, exit_code, pass_session
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
    source, sample, problem = _test(session, mapping, "source", rows)
    destination, _, _ = _test(session, mapping, "destination", 0)
    sides: dict[str, list[Probe]] = {"source": source, "destination": destination}
    code = max(probes_exit(source), probes_exit(destination), exit_code(problem) if problem else 0)
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


def _test(
    session: Session, mapping: Mapping, side: Side, rows: int
) -> tuple[list[Probe], Sample | None, SyncError | None]:
    """What testing one side gave, and where all is well its first records, or why they cannot be read."""
    there = side == "destination"
    columns = [f.destination if there else f.source for f in mapping.fields if there or not f.optional]
    try:
        connector = session.connect(mapping.endpoint(side))
    except SyncError as error:
        return [Probe.failed("connect", error)], None, None
    with connector:
        try:
            probes = connector.test(list(dict.fromkeys(columns)), write=there or mapping.two_way)
        except SyncError as error:
            return [Probe.failed("connect", error)], None, None
        if not rows or not all(probe.ok for probe in probes):
            return probes, None, None
        try:
            return probes, read_sample(connector, mapping, rows), None
        except SyncError as error:
            return probes, None, error


def _print(sides: dict[str, list[Probe]], sample: Sample | None, problem: SyncError | None) -> None:
    for side, probes in sides.items():
        for probe in probes:
            click.echo(f"{side:<11} {probe_line(probe)}")
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
