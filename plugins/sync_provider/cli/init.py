"""`airflow-sync init`: a commented mapping to start from, made from a file or a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sync_provider.cli.inspect import sheets_endpoint
from sync_provider.cli.session import Session, common_options, pass_session
from sync_provider.core.errors import MappingError, Where

if TYPE_CHECKING:
    from sync_provider.cli.skeleton import Skeleton


@click.command()
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--connection", metavar="ID", help="Of the table or spreadsheet, instead of a file.")
@click.option("--table", metavar="NAME", help="table or schema.table.")
@click.option("--spreadsheet", metavar="ID", help="Id or address of a Google spreadsheet.")
@click.option(
    "--sheet", metavar="NAME", help="Of a workbook or spreadsheet; gid=N for a tab's number. Default: its first."
)
@click.option("--header-row", type=click.IntRange(min=1), help="Of a sheet. Default: the first of its rows of names.")
@click.option("--id", "mapping_id", metavar="ID", help="Of the new integration. Default: from the file or table.")
@click.option("--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Must not exist yet.")
@common_options
@pass_session
def init(
    session: Session,
    file: Path | None,
    connection: str | None,
    table: str | None,
    spreadsheet: str | None,
    sheet: str | None,
    header_row: int | None,
    mapping_id: str | None,
    output: Path | None,
) -> None:
    """Write a commented mapping whose source is FILE (CSV or a workbook), or a table or spreadsheet of a connection.

    What was guessed is marked "check". What the file does not decide is left "to be decided", which lint refuses.
    """
    given = (file is not None, connection is not None, table is not None, spreadsheet is not None)
    if given not in ((True, False, False, False), (False, True, True, False), (False, True, False, True)):
        raise click.UsageError("Give a file, or --connection with --table or --spreadsheet.")
    made = _make(session, file, connection, table, spreadsheet, sheet, header_row, mapping_id)
    if output is None:
        session.answer(made.as_dict(), made.text.rstrip("\n"))
    else:
        _write(output, made.text)
        session.answer({**made.as_dict(), "file": str(output)}, f"{output} written; airflow-sync lint {output}")
    if made.undecided and not session.as_json:
        click.echo(f"{made.undecided} left to be decided: look for it in the text.", err=True)


def _make(
    session: Session,
    file: Path | None,
    connection: str | None,
    table: str | None,
    spreadsheet: str | None,
    sheet: str | None,
    header_row: int | None,
    mapping_id: str | None,
) -> Skeleton:
    from sync_provider.cli import skeleton
    from sync_provider.connectors.files.inspect_workbook import is_workbook

    if spreadsheet is not None:
        with session.connect(sheets_endpoint(str(connection), spreadsheet, sheet)) as connector:
            return skeleton.from_tab(connector.inspect(header_row), mapping_id)
    if file is None:
        return skeleton.from_table(session.connect, str(connection), str(table), mapping_id)
    root = session.settings.files_root
    if is_workbook(file):
        return skeleton.from_workbook(file.resolve(), root, mapping_id, sheet, header_row)
    return skeleton.from_csv(file.resolve(), root, mapping_id)


def _write(output: Path, text: str) -> None:
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise MappingError(
            "exists already", where=Where(file=str(output)), hint="Choose another name.", code="mapping_exists"
        ) from error
    except OSError as error:
        raise click.FileError(str(output), error.strerror) from error
