"""What a run needs from the outside, in one value: settings, ledger, store, connections, clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from sync_provider.core.conflicts import Side
from sync_provider.core.endpoints import (
    CsvEndpoint,
    Endpoint,
    ExcelEndpoint,
    FileEndpoint,
    GoogleSheetsEndpoint,
    SqlEndpoint,
)

if TYPE_CHECKING:
    from sync_provider.connectors.base import Budget, Clock, ConnectionInfo, Connector, TabMemory, TokenStore
    from sync_provider.connectors.files.root import FileRoot
    from sync_provider.core.mapping import Mapping
    from sync_provider.engine.ledger import Ledger
    from sync_provider.engine.settings import Settings
    from sync_provider.engine.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What a connector shares with other processes.

    Args:
        budget: allowance of requests; None: none.
        total_wait_s: longest time that a connector waits for its system in all, and for the budget.
        tokens: access tokens; None: each connector gets its own.
        tabs: numbers of the tabs of this side; None: not remembered.
    """

    budget: Budget | None = None
    total_wait_s: float = 1800.0
    tokens: TokenStore | None = None
    tabs: TabMemory | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything outside the mapping.

    Args:
        connection: looks an Airflow connection up by id; may raise SyncErrors.
        progress: told by extract and load how many records they have taken so far, after each batch.
    """

    settings: Settings
    ledger: Ledger
    store: Store
    connection: Callable[[str], ConnectionInfo]
    clock: Clock
    progress: Callable[[str, int], None] = lambda _phase, _records: None

    def connect(self, endpoint: Endpoint) -> Connector:
        """Open an endpoint's connector, on behalf of no integration; see `connect`."""
        return connect(endpoint, self.settings, self.connection, self.clock)

    def connect_side(self, mapping: Mapping, side: Side) -> Connector:
        """Open the connector of an integration's side, within its limits and those of all runs together; see `connect`."""
        from sync_provider.core.durations import parse_duration
        from sync_provider.engine.budget import RequestBudget, quotas_for

        total_wait_s = parse_duration(mapping.limits.total_wait).total_seconds()
        quotas = quotas_for(self.settings, mapping.id, mapping.limits.requests_per_minute)
        budget = RequestBudget(self.ledger.budgets, self.clock, quotas, total_wait_s)
        endpoint, tabs = mapping.endpoint(side), None
        if isinstance(endpoint, GoogleSheetsEndpoint):
            tabs = self.ledger.tabs.of(mapping.id, side, endpoint.spreadsheet)
        shared = Shared(budget=budget, total_wait_s=total_wait_s, tokens=self.ledger.tokens, tabs=tabs)
        return connect(endpoint, self.settings, self.connection, self.clock, shared)


def connect(
    endpoint: Endpoint,
    settings: Settings,
    connection: Callable[[str], ConnectionInfo],
    clock: Clock,
    shared: Shared = Shared(),
) -> Connector:
    """Open an endpoint's connector; it needs neither ledger nor store. Use it as a context manager.

    Raises:
        SyncConnectionError: the connection is unknown, or the system cannot be reached.
        SyncAuthenticationError: its credentials are refused.
    """
    # Each family is imported only when used: a task pays for its own libraries alone.
    match endpoint:
        case CsvEndpoint():
            from sync_provider.connectors.files.csv_connector import CsvConnector

            return CsvConnector(endpoint, _root(endpoint, settings, connection), clock)
        case ExcelEndpoint():
            from sync_provider.connectors.files.excel_connector import ExcelConnector

            return ExcelConnector(endpoint, _root(endpoint, settings, connection), clock)
        case SqlEndpoint():
            from sync_provider.connectors.sql.connector import SqlConnector

            return SqlConnector(endpoint, connection(endpoint.connection), clock)
        case GoogleSheetsEndpoint():
            from sync_provider.connectors.sheets.connector import SheetsConnector

            return SheetsConnector(
                endpoint,
                connection(endpoint.connection),
                clock,
                budget=shared.budget,
                total_wait_s=shared.total_wait_s,
                memory=shared.tabs,
                tokens=shared.tokens,
            )


def _root(endpoint: FileEndpoint, settings: Settings, connection: Callable[[str], ConnectionInfo]) -> FileRoot:
    from sync_provider.connectors.files.root import FileRoot

    info = connection(endpoint.connection) if endpoint.connection else None
    return FileRoot.from_connection(info, settings.files_root)


@contextmanager
def open_environment(
    settings: Settings, find: Callable[[str], ConnectionInfo], *, mask: Callable[..., None] = lambda *_: None
) -> Iterator[Environment]:
    """Open the ledger and the store for as long as a task, a page or a command needs them.

    Args:
        settings: the deployment's.
        find: looks a connection up by id; may raise SyncErrors.
        mask: told every secret as it becomes known, to keep it out of logs; the ledger is told by itself.

    Raises:
        SyncConnectionError: the ledger or the store cannot be reached.
        SyncValidationError: no encryption key is set.
    """
    from sync_provider.engine.clock import SystemClock
    from sync_provider.engine.crypto import open_cipher
    from sync_provider.engine.ledger import Ledger
    from sync_provider.engine.store import Store

    passwords = [urlsplit(url).password for url in (settings.ledger_url, settings.store_url)]
    secrets = [str(key) for key in settings.encryption_keys]
    secrets += [form for password in passwords if password for form in (password, unquote(password))]
    mask(*secrets)
    cipher, clock = open_cipher(settings), SystemClock()
    with Ledger.open(settings.ledger_url, cipher, clock, secrets) as ledger:

        def connection(connection_id: str) -> ConnectionInfo:
            info = find(connection_id)
            mask(*info.secrets())
            ledger.protect(*info.secrets())
            return info

        yield Environment(
            settings=settings,
            ledger=ledger,
            store=Store(settings.store_url, cipher),
            connection=connection,
            clock=clock,
        )
