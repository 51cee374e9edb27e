"""What a terminal shows while a phase works. Nothing of it reaches a file or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sync_provider.core.changes import SNAPSHOTS

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


_COUNTED = ("extract", *SNAPSHOTS, "load", "apply")
"""Phases that tell how many records they have taken so far."""


class Display:
    """A bar on the error stream, gone when its phase ends; silent where that is no terminal."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[None]:
        """Show one phase; ``total``: records it will take, if that is known."""
        if not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f} records" if name in _COUNTED else ""),
            TimeElapsedColumn(),
        )
        # The answer goes to standard output, which may be a file: it must not be drawn into.
        bar = Progress(
            *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
        )
        with bar:
            self._bar, self._task = bar, bar.add_task(name, total=total)
            try:
                yield
            finally:
                self._bar = None

    def update(self, _phase: str, records: int) -> None:
        """Records taken so far; `Environment.progress`."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=records)
