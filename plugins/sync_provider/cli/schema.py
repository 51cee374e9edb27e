"""`airflow-sync schema`: what a mapping may hold, for editors and for readers."""

from __future__ import annotations

from pathlib import Path

import click

from sync_provider.cli.session import Session, common_options, pass_session
from sync_provider.core.errors import MappingError, Where


@click.command()
@click.option(
    "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON Schema."
)
@click.option(
    "--docs", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write the reference page."
)
@click.option("--check", is_flag=True, help="Write nothing; fail if a file is not up to date.")
@common_options
@pass_session
def schema(session: Session, output: Path | None, docs: Path | None, *, check: bool) -> None:
    """Print the JSON Schema of mappings, or write it and the reference page made from the same models."""
    from sync_provider.core.mapping_schema import mapping_reference, mapping_schema_text

    made = [(output, mapping_schema_text), (docs, mapping_reference)]
    wanted = [(path, make()) for path, make in made if path is not None]
    if not wanted:
        click.echo(mapping_schema_text(), nl=False)
        return
    for path, text in wanted:
        if check:
            _check(path, text)
        else:
            _write(path, text)
    verb = "is up to date" if check else "written"
    names = [str(path) for path, _ in wanted]
    session.answer({"files": names, "checked": check}, "\n".join(f"{name} {verb}" for name in names))


def _check(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        raise MappingError(
            "not up to date with the models",
            where=Where(file=str(path)),
            hint="Run the same command without --check.",
            code="schema_stale",
        )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from error
