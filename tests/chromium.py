"""Debian's browser: where it is, and how a test starts it."""

from __future__ import annotations

import os
import shutil

import pytest

# Without these, Chromium looks up its maker's hosts at every start.
_QUIET = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def launch_options() -> dict[str, object]:
    """What Playwright's ``launch`` needs; a missing browser skips the test at home and fails it in CI."""
    path = shutil.which("chromium")
    if path is None:
        missing = "needs a browser: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return {"executable_path": path, "args": [*_QUIET, *root]}
