"""`airflow-sync sandbox`: a stand-in for Google Sheets on this machine."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import click


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free port.")
@click.option(
    "--state",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".sandbox"),
    show_default=True,
    help="Directory that keeps the spreadsheets and the key file.",
)
def sandbox(port: int, directory: Path) -> None:
    """Serve Google Sheets, Drive and OAuth from this machine until interrupted.

    Prints one line of JSON once it answers: base_url, and service_account_file for Google's clients. Its page and its
    control surface are under /__sandbox__/. It listens on loopback only.
    """
    from sync_provider.sandbox.server import Sandbox

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        server = Sandbox(directory, port)
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error.strerror or error}") from error
    try:
        ready = {"base_url": server.base_url, "service_account_file": str(server.service_account_file.resolve())}
        click.echo(json.dumps(ready))
        server.serve()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
