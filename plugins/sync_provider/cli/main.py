"""The program `airflow-sync` and its commands. Starting it imports nothing heavy, and never Airflow."""

from __future__ import annotations

import click

from sync_provider import __version__
from sync_provider.cli.apply import apply
from sync_provider.cli.conflicts import conflicts
from sync_provider.cli.init import init
from sync_provider.cli.inspect import inspect
from sync_provider.cli.keys import keys
from sync_provider.cli.lint import lint
from sync_provider.cli.plan import plan
from sync_provider.cli.rejects import rejects
from sync_provider.cli.run import run
from sync_provider.cli.sandbox import sandbox
from sync_provider.cli.schema import schema
from sync_provider.cli.session import Program, common_options
from sync_provider.cli.status import status
from sync_provider.cli.test import test


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Exit codes: 0 done; 1 unexpected; 2 usage or mapping; 3 failed, a retry may help; "
    "4 failed, a retry will not help; 7 nothing written until a person decides.",
)
@click.version_option(__version__, prog_name="airflow-sync")
@common_options
def main() -> None:
    """Work on integrations without starting Airflow: the same mappings, connections, engine and ledger."""


for command in (apply, conflicts, init, inspect, keys, lint, plan, rejects, run, sandbox, schema, status, test):
    main.add_command(command)
