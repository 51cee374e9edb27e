"""Two sides under one integration, its environment, and what stands where."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import sqlalchemy as sa
from sync_provider.core.errors import SyncError
from sync_provider.engine.bidirectional.baseline import pointer
from sync_provider.engine.crypto import Cipher, new_key, open_cipher
from sync_provider.engine.environment import Environment
from sync_provider.engine.ledger import Ledger
from sync_provider.engine.ledger.conflicts import StoredConflict
from sync_provider.engine.staging import unstage
from sync_provider.engine.store import Store
from two_way.options import SIDES, Options, Ticking
from two_way.sides import CHANGED, KINDS, Driver, Row
from workspace import Workspace


class Stage:
    """Two sides, empty at first. Use as a context manager.

    Args:
        options: the integration's.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.stack = ExitStack()
        self.clock = Ticking()
        self.count = 0
        self.live: dict[str, str] = {}
        """Every value that somebody wrote and nobody has knowingly replaced → what it was, for messages."""
        self.written: set[str | None] = {None}
        self.held: dict[tuple[str, str, str], set[str | None]] = defaultdict(set)
        """(side, key, field) → every value that has stood there."""
        self.remarks: dict[tuple[str, str], str | None] = {}
        self.skew = dict.fromkeys(SIDES, 0)
        self.hour = 0
        self.filter: str | None = None

    def __enter__(self) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="two-way-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Nobody cuts the power in these tests, and waiting for the disk is half of their time.
        self.stack.enter_context(patch("os.fsync", lambda _: None))
        self.workspace = Workspace(folder)
        self.sides: dict[str, Driver] = {
            "source": KINDS[self.options.source](self.workspace, "left"),
            "destination": KINDS[self.options.destination](self.workspace, "right"),
        }
        self.declare()
        self.env = self.stack.enter_context(self.environment())
        self.beside = {name: driver.others() for name, driver in self.sides.items()}
        return self

    def __exit__(self, *exc: object) -> None:
        self.stack.close()

    @contextmanager
    def environment(self) -> Iterator[Environment]:
        settings = self.workspace.settings
        cipher = open_cipher(settings)
        file = Path(sa.make_url(settings.ledger_url).database or "")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_empty_ledger())
        with Ledger.open(settings.ledger_url, cipher, self.clock) as ledger:
            engine = ledger._database.engine
            sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
            engine.dispose()
            yield Environment(
                settings=settings,
                ledger=ledger,
                store=Store(settings.store_url, cipher),
                connection=self.workspace.connections.__getitem__,
                clock=self.clock,
            )

    def declare(self) -> None:
        self.workspace.mapping(**self.options.mapping(self.sides["source"], self.sides["destination"], self.filter))
        self.mapping = self.workspace.sync.load("sample")
        for endpoint in (self.mapping.mapping.source, self.mapping.mapping.destination):
            self.workspace.sync._provide(endpoint)

    def fresh(self, what: str) -> str:
        self.count += 1
        value = f"v{self.count}"
        self.live[value] = what
        self.written.add(value)
        return value

    def forget(self, *values: Any) -> None:
        for value in values:
            self.live.pop(str(value), None)

    def pick(self, side: str, number: int) -> str | None:
        keys = sorted(self.sides[side].by_key())
        return keys[number % len(keys)] if keys else None

    def put(self, side: str, key: str, values: dict[str, str]) -> None:
        spelled = {name: self.spelled(side, name, value) for name, value in values.items()}
        self.sides[side].add(key, **spelled, **{CHANGED: self.side_time(side)})

    def side_time(self, side: str) -> str:
        return f"{datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=self.hour + self.skew[side]):%Y-%m-%dT%H:%M:%S}Z"

    def spelled(self, side: str, field: str, value: str | None) -> str | None:
        """A value as the side writes it."""
        return (
            f"p:{value}" if value is not None and self.options.lens and (side, field) == ("source", "note") else value
        )

    def rows(self, side: str) -> list[Row]:
        """All rows of a side, in destination space."""
        found = self.sides[side].rows()
        if self.options.lens and side == "source":
            found = [{**row, "note": row["note"] and row["note"].removeprefix("p:")} for row in found]
        return found

    def view(self, side: str) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for row in self.rows(side):
            found.setdefault(str(row["code"]), row)
        return found

    def everything(self) -> list[Any]:
        return [(driver.rows(), driver.others()) for driver in self.sides.values()]

    def conflicts(self, *statuses: str) -> list[StoredConflict]:
        return list(self.env.ledger.conflicts.list(statuses=statuses))

    def baseline_path(self) -> str | None:
        current = self.env.ledger.baselines.get(pointer("sample"))
        return current.path if current else None

    def baseline_readable(self) -> bool:
        path = self.baseline_path()
        try:
            return path is not None and bool(list(unstage(self.env.store, path)) or True)
        except SyncError:
            return False


@cache
def _empty_ledger() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        with Ledger.open(f"sqlite:///{file}", Cipher([new_key()]), Ticking()):
            pass
        return file.read_bytes()
