"""`airflow-sync inspect`: what a file or a Google spreadsheet holds, as values to paste into a mapping."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sync_provider.cli.probes import probe_line, probes_exit
from sync_provider.cli.session import Session, common_options, pass_session
from sync_provider.cli.show import number, table_lines, value

if TYPE_CHECKING:
    from sync_provider.cli.sample import Sample
    from sync_provider.connectors.base import Probe
    from sync_provider.connectors.files.inspect_cells import SheetInspection
    from sync_provider.connectors.sheets.inspecting import TabInspection
    from sync_provider.core.endpoints import GoogleSheetsEndpoint

_SHOWN = 10
_GID = re.compile(r"gid=\d+")


@click.command()
@click.argument("what", metavar="FILE | CONNECTION SPREADSHEET", nargs=-1, required=True)
@click.option(
    "--sheet", metavar="NAME", help="Of a workbook or spreadsheet; gid=N for a tab's number. Default: its first."
)
@click.option("--header-row", type=click.IntRange(min=1), help="Of a sheet. Default: the first of its rows of names.")
@common_options
@pass_session
def inspect(session: Session, what: tuple[str, ...], sheet: str | None, header_row: int | None) -> None:
    """Find out what FILE holds (CSV or a workbook), or the Google spreadsheet SPREADSHEET (its id or address).

    Prints the source and fields of a mapping, each value with a confidence and its reason: of a CSV file its encoding,
    delimiter, header, conventions and column types; of a sheet its header, column types, likely key and first records, and of
    a spreadsheet what the account may do. What is not decided is left "to be decided", which no mapping accepts.
    """
    from sync_provider.connectors.files.inspect_workbook import is_workbook

    if len(what) > 2:
        raise click.UsageError("Give a file, or a connection and a spreadsheet.")
    if len(what) == 2:
        _inspect_spreadsheet(session, *what, sheet, header_row)
        return
    path = Path(what[0]).resolve()
    if is_workbook(path):
        _inspect_workbook(session, path, sheet, header_row)
    elif sheet is not None or header_row is not None:
        raise click.UsageError("--sheet and --header-row are for workbooks and spreadsheets.")
    else:
        _inspect_csv(session, path)


def _inspect_csv(session: Session, path: Path) -> None:
    from sync_provider.connectors.files.inspect import inspect_file
    from sync_provider.connectors.files.root import FileRoot

    root = FileRoot(str(path.parent))
    found = inspect_file(root, root.resolve(path.name))
    session.answer(found.as_dict(), found.as_yaml().rstrip())


def _inspect_workbook(session: Session, path: Path, sheet: str | None, header_row: int | None) -> None:
    from sync_provider.cli.sample import sample_inspected
    from sync_provider.cli.skeleton import open_file
    from sync_provider.connectors.files.inspect_workbook import inspect_workbook
    from sync_provider.connectors.files.root import FileRoot

    root = FileRoot(str(path.parent))
    found = inspect_workbook(root, root.resolve(path.name), sheet=sheet, header_row=header_row)
    sample = None
    if found.sheet.columns:
        sample = sample_inspected(found.sheet, lambda endpoint: open_file(root, endpoint, path.name))
    names = [repr(each["name"]) + (" (hidden)" if each["hidden"] else "") for each in found.sheets]
    _answer(
        session, {"sheets": found.sheets, **found.sheet.as_dict()}, [f"sheets: {', '.join(names)}"], found.sheet, sample
    )


def _inspect_spreadsheet(
    session: Session, connection: str, spreadsheet: str, sheet: str | None, header_row: int | None
) -> None:
    from sync_provider.cli.sample import sample_inspected
    from sync_provider.cli.skeleton import open_tab

    with session.connect(sheets_endpoint(connection, spreadsheet, sheet)) as connector:
        probes = connector.access()
        if unreadable := [probe for probe in probes if not probe.ok and probe.aspect != "write"]:
            session.answer({"probes": [asdict(probe) for probe in probes]}, "\n".join(map(probe_line, probes)))
            raise click.exceptions.Exit(probes_exit(unreadable))
        found: TabInspection = connector.inspect(header_row)
        sample = None
        if found.sheet.columns:
            sample = sample_inspected(found.sheet, lambda endpoint: open_tab(found, endpoint))
    data = {"probes": [asdict(probe) for probe in probes], **found.as_dict()}
    _answer(session, data, list(_about_spreadsheet(found, probes)), found.sheet, sample)


def sheets_endpoint(connection: str, spreadsheet: str, sheet: str | None) -> GoogleSheetsEndpoint:
    """The tab that a person means: by its title, or ``gid=N``, which addresses end in, too; else the first.

    Raises:
        click.BadParameter: what was given names no connection, spreadsheet or tab.
    """
    from pydantic import ValidationError

    from sync_provider.core.endpoints import GoogleSheetsEndpoint

    given = sheet if sheet is not None else next(iter(_GID.findall(spreadsheet)), None)
    number = _GID.fullmatch(given or "")
    chosen: Any = {"gid": int(number[0].partition("=")[2])} if number else 0 if given is None else given
    try:
        return GoogleSheetsEndpoint.model_validate(
            {"type": "google_sheets", "connection": connection, "spreadsheet": spreadsheet, "sheet": chosen}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise click.BadParameter(f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from None


def _about_spreadsheet(found: TabInspection, probes: Sequence[Probe]) -> Iterator[str]:
    yield from (probe_line(probe, "no") for probe in probes)  # a source need not be editable
    yield ""
    rows = [[tab.title, str(tab.sheet_id), number(tab.rows), number(tab.columns)] for tab in found.book.tabs]
    yield from table_lines(
        ["tab", "gid", "rows", "columns"], [[value(c) for c in row] for row in rows], numbers=(1, 2, 3)
    )
    for name, place in found.named_ranges().items():
        yield f"named range {name}: {place}"


def _answer(
    session: Session, data: dict[str, Any], about: Sequence[str], found: SheetInspection, sample: Sample | None
) -> None:
    """Print it all as YAML: what is not to be pasted stands in comments."""
    from sync_provider.cli.sample import likely_key
    from sync_provider.connectors.files.inspect_yaml import destination_names, one_line, scalar

    names = destination_names([column.name for column in found.columns])
    types = dict(zip(names, [column.type for column in found.columns], strict=True))
    key = likely_key(sample, types) if sample else []
    lines = [*about, ""]
    text = "".join(f"# {one_line(line)}".rstrip() + "\n" for line in lines) + found.as_yaml()
    shown: dict[str, Any] = {"key": key, "preview": None}
    if sample is not None:
        seen = f"the first {number(len(sample.rows))} records"
        text += (
            f"key: [{', '.join(map(scalar, key))}]  # its values differ in {seen}\n"
            if key
            else f"# key: neither one column nor two differ in {seen}\n"
        )
        shown["preview"] = {**asdict(sample), "rows": sample.rows[:_SHOWN], "refused": sample.refused[:_SHOWN]}
        rows = [[value(cell) for cell in row] for row in sample.rows[:_SHOWN]]
        preview = ["", f"The first {len(rows)} records as they would be read:", *table_lines(sample.columns, rows)]
        preview += [f"rejected: {value(reason, whole=True)}" for reason in sample.refused[:_SHOWN]]
        text += "".join(f"# {one_line(line)}".rstrip() + "\n" for line in preview)
    session.answer({**data, **shown}, text.rstrip())
