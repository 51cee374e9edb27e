"""`airflow-sync inspect`: what a file is, as values to paste into a mapping."""

from __future__ import annotations

from pathlib import Path

import click

from sync_provider.cli.session import Session, common_options, pass_session


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@common_options
@pass_session
def inspect(session: Session, file: Path) -> None:
    """Find out a CSV file's encoding, delimiter, header, conventions and column types.

    Prints the source and fields of a mapping, each value with a confidence and its reason. What the file does not decide
    is left "to be decided", which no mapping accepts.
    """
    from sync_provider.connectors.files.inspect import inspect_file
    from sync_provider.connectors.files.root import FileRoot

    path = file.resolve()
    root = FileRoot(str(path.parent))
    found = inspect_file(root, root.resolve(path.name))
    session.answer(found.as_dict(), found.as_yaml().rstrip())
