"""`airflow-sync lint`: everything that is wrong with mappings, before Airflow sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sync_provider.cli.session import USAGE_OR_MAPPING, Session, common_options, pass_session
from sync_provider.core.errors import MappingError, MappingErrors
from sync_provider.core.expectations import check_expectations
from sync_provider.core.mapping_checks import unavailable
from sync_provider.engine.loader import DEFAULTS, MappingSource, Scan, load_file, scan_mappings


@click.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(exists=True, path_type=Path))
@common_options
@pass_session
def lint(session: Session, paths: tuple[Path, ...]) -> None:
    """Check mappings: structure, names, schedules, expressions and the names of expectations.

    PATH is a mapping or a folder of mappings; default: the folder of the mappings. Nothing is connected to.
    """
    checked = 0
    errors: list[MappingError] = []
    for path in paths or (session.mappings_dir,):
        scan = _scan_file(path) if path.is_file() else scan_mappings(path)
        checked += len(scan.sources)
        errors += scan.errors
        for source in scan.sources:
            errors += _deeper_errors(source)
    broken = {error.where.file for error in errors}
    session.answer(_as_data(checked, errors), _as_text(checked, errors, len(broken)))
    if errors:
        raise click.exceptions.Exit(USAGE_OR_MAPPING)


def _scan_file(path: Path) -> Scan:
    if path.stem == DEFAULTS:  # what it says shows in the mappings beside it
        return scan_mappings(path.parent)
    try:
        return Scan([load_file(path)], [])
    except MappingErrors as error:
        return Scan([], list(error.errors))


def _deeper_errors(source: MappingSource) -> list[MappingError]:
    """What DAG parsing leaves unchecked because it costs too much: expressions; and names of rules and of their columns.

    The rules' other arguments are checked by the run: Great Expectations takes seconds to load.
    """
    from sync_provider.engine.expressions import check_mapping_expressions  # loads DuckDB

    found = [
        *unavailable(source.mapping),
        *check_mapping_expressions(source.mapping),
        *check_expectations(source.mapping),
    ]
    return [source.locate(error) for error in found]


def _as_data(loaded: int, errors: list[MappingError]) -> dict[str, Any]:
    return {"mappings": loaded, "errors": [error.as_dict() for error in errors]}


def _as_text(loaded: int, errors: list[MappingError], broken: int) -> str:
    if not errors:
        return f"{_count(loaded, 'mapping')} checked, nothing to report"
    lines = [str(error) for error in errors]
    return "\n".join([*lines, "", f"{_count(len(errors), 'problem')} in {_count(broken, 'file')}"])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
