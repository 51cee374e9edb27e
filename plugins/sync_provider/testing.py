"""For tests of mappings: a deployment in a temporary folder, and runs in the test's own process. A pytest plugin.

Installing the package is enough: pytest then knows the fixture `sync_workspace`. Loading this module imports nothing heavy.
"""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sync_provider.connectors.base import ConnectionInfo
    from sync_provider.core.conflicts import Side
    from sync_provider.core.endpoints import Endpoint
    from sync_provider.core.report import Counters, SideCounters
    from sync_provider.engine.environment import Environment
    from sync_provider.engine.ledger.conflicts import StoredConflict
    from sync_provider.engine.ledger.rejections import StoredRejection
    from sync_provider.engine.loader import MappingSource
    from sync_provider.engine.run import RunContext

__all__ = ["RunResult", "SyncWorkspace", "sync_workspace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What one run did.

    Args:
        id: ULID of the run.
        state: ``succeeded``, or ``partial`` if records were rejected.
        counters: records, each counted once; of a two-way run the sums over both sides.
        rejections: the refused records, in the order in which they were found, with rule, field, value and place.
        sides: of a two-way run, each side's own counters.
        conflicts: of a two-way run, the conflicts that it recorded, settled by a policy or open.
    """

    id: str
    state: str
    counters: Counters
    rejections: list[StoredRejection] = field(repr=False)
    sides: dict[Side, SideCounters] = field(default_factory=dict)
    conflicts: list[StoredConflict] = field(default_factory=list, repr=False)


class SyncWorkspace:
    """A deployment of its own: files, databases, ledger, store, and the connections that mappings name.

    A connection that is not in ``connections`` is made when a mapping needs it: a SQL endpoint's is a SQLite file, a file
    endpoint's is the folder ``files``; a spreadsheet's must be there. Put a `ConnectionInfo` there to use a real database.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        from sync_provider.engine.settings import load_settings

        self.folder = folder
        self.files = folder / "files"
        self.mappings = folder / "mappings"
        for path in (self.files, self.mappings, folder / "home"):
            path.mkdir()
        self.settings = load_settings(
            {
                "AIRFLOW_HOME": str(folder / "home"),
                "AIRFLOW__SYNC_PROVIDER__DEMO": "true",
                "AIRFLOW__SYNC_PROVIDER__FILES_ROOT": str(self.files),
                "AIRFLOW__SYNC_PROVIDER__MAPPINGS_DIR": str(self.mappings),
            },
            folder,
        )
        self.connections: dict[str, ConnectionInfo] = {}
        self._numbers = itertools.count(1)

    def add_file(self, name: str, content: str | bytes | Path, encoding: str = "utf-8") -> Path:
        """Put a file where file endpoints look for it.

        Args:
            name: path as the mapping gives it.
            content: text, bytes, or a file to copy.
            encoding: of a text.
        """
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content.encode(encoding) if isinstance(content, str) else content)
        return path

    def run(
        self,
        mapping: str | Path,
        *,
        run: str | None = None,
        interval: tuple[datetime, datetime] | None = None,
        **params: Any,
    ) -> RunResult:
        """Run an integration, all phases.

        Args:
            mapping: a mapping's file, or the id of one in the folder ``mappings``.
            run: a name; the same one is the same run again, as when it is cleared in Airflow.
            interval: data interval of a backfill, with time zones.
            params: see `core.changes.RunParams`: ``dry_run``, ``limit``…

        Raises:
            SyncError: the run failed or was stopped by a guard, as in Airflow.
        """
        from sync_provider.core.report import Counters, SideCounters
        from sync_provider.engine.pipeline import run_all

        with self.open(mapping, run=run, interval=interval, **params) as ctx:
            told = run_all(ctx)
            return RunResult(
                id=ctx.id,
                state=told["state"],
                counters=Counters(**{each.name: told[each.name] for each in fields(Counters)}),
                rejections=list(ctx.env.ledger.rejections.list(run_id=ctx.id)),
                sides={side: SideCounters(**counters) for side, counters in told.get("sides", {}).items()},
                conflicts=list(ctx.env.ledger.conflicts.list(run_id=ctx.id)),
            )

    @contextmanager
    def open(
        self,
        mapping: str | Path,
        *,
        run: str | None = None,
        interval: tuple[datetime, datetime] | None = None,
        **params: Any,
    ) -> Iterator[RunContext]:
        """Open a run without starting it, for `engine.pipeline`'s phases one by one; arguments as for `run`."""
        from sync_provider.core.changes import RunParams
        from sync_provider.engine.pipeline import open_run

        source = self.load(mapping)
        for endpoint in (source.mapping.source, source.mapping.destination):
            self._provide(endpoint)
        with self.environment() as env:
            yield open_run(
                env,
                source,
                dag_id=source.mapping.dag_id,
                airflow_run_id=run or f"run-{next(self._numbers)}",
                trigger="test",
                params=RunParams(**params),
                interval=interval,
            )

    def load(self, mapping: str | Path) -> MappingSource:
        """Load a mapping: from its file, or by its id from the folder ``mappings``.

        Raises:
            MappingError: it is wrong, or not there.
        """
        from sync_provider.engine.loader import load_file, load_mapping

        path = Path(mapping)
        return load_file(path) if path.suffix else load_mapping(str(mapping), self.mappings)

    @contextmanager
    def environment(self) -> Iterator[Environment]:
        """The ledger, the store and the connections, open meanwhile."""
        from sync_provider.engine.environment import open_environment

        with open_environment(self.settings, self._find) as env:
            yield env

    def database(self, connection_id: str) -> Path:
        """The SQLite file behind a connection, made on demand."""
        from sync_provider.connectors.base import ConnectionInfo

        path = self.folder / f"{connection_id}.db"
        info = self.connections.setdefault(
            connection_id, ConnectionInfo(id=connection_id, type="sqlite", host=str(path))
        )
        return Path(info.host or path)

    def rows(self, connection_id: str, query: str) -> list[dict[str, Any]]:
        """What a query of a SQLite connection gives: one dictionary a row."""
        with closing(sqlite3.connect(self.database(connection_id))) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query)]

    def execute(self, connection_id: str, statement: str, *values: Any) -> None:
        """Run one statement on a SQLite connection, to prepare what a mapping reads."""
        with closing(sqlite3.connect(self.database(connection_id))) as database, database:
            database.execute(statement, values)

    def _provide(self, endpoint: Endpoint) -> None:
        """Make the endpoint's connection if nobody has."""
        from sync_provider.connectors.base import ConnectionInfo
        from sync_provider.core.endpoints import FileEndpoint, SqlEndpoint

        if endpoint.connection is None or endpoint.connection in self.connections:
            return
        if isinstance(endpoint, SqlEndpoint):
            self.database(endpoint.connection)
        elif isinstance(endpoint, FileEndpoint):
            self.connections[endpoint.connection] = ConnectionInfo(
                id=endpoint.connection, type="fs", extra={"path": str(self.files)}
            )

    def _find(self, connection_id: str) -> ConnectionInfo:
        from sync_provider.core.errors import SyncConnectionError

        if connection_id not in self.connections:
            raise SyncConnectionError(f"no connection {connection_id}", code="connection_unknown", retryable=False)
        return self.connections[connection_id]


@pytest.fixture
def sync_workspace(tmp_path: Path) -> SyncWorkspace:
    """A deployment in a folder of this test's own."""
    folder = tmp_path / "sync"
    folder.mkdir()
    return SyncWorkspace(folder)
