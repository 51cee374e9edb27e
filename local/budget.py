"""Fails when a file has grown over the length budget: then a room is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIMIT = 600
SUFFIXES = (".py", ".html", ".css", ".js")


def too_long(root: Path) -> list[tuple[str, int]]:
    """Tracked source files over the limit, with their number of lines."""
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
    lengths = [
        (name, len((root / name).read_text(encoding="utf-8").splitlines()))
        for name in listed.splitlines()
        if name.endswith(SUFFIXES) and (root / name).exists()
    ]
    return [(name, length) for name, length in lengths if length > LIMIT]


def main() -> int:
    """Print the files over the limit; returns the exit status."""
    found = too_long(Path.cwd())
    for name, length in found:
        print(f"{name}: {length} lines, {LIMIT} at most")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
