"""Times the engine beside its peers: ``python bench/run.py [--rows 100000] [--only NAME] [--runs 3]``.

Writes ``bench/results/<timestamp>.json`` and a table to standard output. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench import harness  # noqa: E402 - needs the path above

PACKAGES = (
    "adbc-driver-manager",
    "apache-airflow",
    "duckdb",
    "great-expectations",
    "numpy",
    "openpyxl",
    "pandas",
    "psycopg",
    "pyarrow",
    "python-calamine",
    "PyYAML",
    "rustpy-xlsxwriter",
    "sqlalchemy",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="size of the data (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each candidate; medians are shown")
    parser.add_argument("--only", action="append", choices=harness.names(), help="this benchmark; may be repeated")
    options = parser.parse_args()
    results = []
    print(f"{describe_machine()}\n", flush=True)
    for name in options.only or harness.names():
        benchmark = harness.load(name)
        with ExitStack() as stack:
            if benchmark.server is not None:
                environment = stack.enter_context(benchmark.server())
                if environment is None:
                    print(f"### {benchmark.title}\n\nLeft out: PostgreSQL is not installed.\n", flush=True)
                    continue
                os.environ.update(environment)
            results.append(harness.run(benchmark, rows=options.rows, runs=options.runs, say=say))
        print(harness.table(results[-1]) + "\n", flush=True)
    path = write(results)
    say(f"written to {path.relative_to(ROOT)}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    programs = {"sqlite3": ["sqlite3", "--version"], "psql": ["psql", "--version"]}
    if peers := os.environ.get("BENCH_PEERS"):
        programs["dlt"] = [peers, "-c", "from importlib.metadata import version; print(version('dlt'))"]
    versions |= {name: said(command) for name, command in programs.items()}
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory_gib),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "system": platform.system(),
        "versions": versions,
    }


def said(command: list[str]) -> str:
    """The first number with a dot in what a program says of itself."""
    try:
        words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return "not installed"
    return next((word for word in words if word[:1].isdigit() and "." in word), "unknown")


def describe_machine() -> str:
    """The machine in two lines."""
    here = machine()
    versions = ", ".join(f"{name} {number}" for name, number in here["versions"].items())
    return (
        f"{here['cores']} cores, {here['memory_gib']} GiB, {here['system']}, Python {here['python']}, "
        f"load {here['load']} at the start\n{versions}"
    )


def write(results: list[dict[str, Any]]) -> Path:
    """Keep everything that was measured."""
    now = datetime.now(UTC)
    folder = ROOT / "bench" / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    text = json.dumps(
        {"at": now.isoformat(), "machine": machine(), "benchmarks": results}, indent=2, ensure_ascii=False
    )
    path.write_text(text + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        harness.child(sys.argv[2:])
    else:
        main()
