"""`python -m local run` and `python -m local demo`; see the Makefile."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from local import LocalError
from local.demo import demo
from local.run import run
from local.signals import Stop, StopRequestedError

ROOT = Path(__file__).resolve().parent.parent


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local")
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="start Airflow and leave it running until Ctrl-C")
    runner.add_argument("--host", default="127.0.0.1")
    runner.add_argument("--port", type=_port, default=8000)
    commands.add_parser("demo", help="run every sample once, then stop")
    for command in commands.choices.values():
        command.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
        command.add_argument("--home", type=Path, help="AIRFLOW_HOME; default .airflow, or .airflow/demo")
    args = parser.parse_args(argv)
    with Stop().listening() as stop:
        try:
            if args.command == "run":
                run(args.root, args.home or args.root / ".airflow", args.host, args.port, stop)
                return 0
            return 0 if demo(args.root, args.home or args.root / ".airflow" / "demo", stop) else 1
        except StopRequestedError:
            return 130
        except LocalError as exc:
            print(f"error: {exc}", file=sys.stderr)
            return 2


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; use 1 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
