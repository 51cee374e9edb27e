"""What a run needs from the outside, in one value: settings, ledger, store, connections, clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync_provider.core.endpoints import (
    CsvEndpoint,
    Endpoint,
    ExcelEndpoint,
    FileEndpoint,
    GoogleSheetsEndpoint,
    SqlEndpoint,
)
from sync_provider.core.errors import MappingError

if TYPE_CHECKING:
    from sync_provider.connectors.base import Clock, ConnectionInfo, Connector
    from sync_provider.connectors.files.root import FileRoot
    from sync_provider.engine.ledger import Ledger
    from sync_provider.engine.settings import Settings
    from sync_provider.engine.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything outside the mapping. ``connection`` looks an Airflow connection up by id; it may raise SyncErrors."""

    settings: Settings
    ledger: Ledger
    store: Store
    connection: Callable[[str], ConnectionInfo]
    clock: Clock

    def connect(self, endpoint: Endpoint) -> Connector:
        """Open the endpoint's connector. Use it as a context manager.

        Raises:
            SyncConnectionError: the connection is unknown, or the system cannot be reached.
            SyncAuthenticationError: its credentials are refused.
        """
        # Each family is imported only when used: a task pays for its own libraries alone.
        match endpoint:
            case CsvEndpoint():
                from sync_provider.connectors.files.csv_connector import CsvConnector

                return CsvConnector(endpoint, self._root(endpoint), self.clock)
            case ExcelEndpoint():
                from sync_provider.connectors.files.excel_connector import ExcelConnector

                return ExcelConnector(endpoint, self._root(endpoint), self.clock)
            case SqlEndpoint():
                from sync_provider.connectors.sql.connector import SqlConnector

                return SqlConnector(endpoint, self.connection(endpoint.connection), self.clock)
            case GoogleSheetsEndpoint():
                raise MappingError("google_sheets is not available in this version", code="not_available")

    def _root(self, endpoint: FileEndpoint) -> FileRoot:
        from sync_provider.connectors.files.root import FileRoot

        info = self.connection(endpoint.connection) if endpoint.connection else None
        return FileRoot.from_connection(info, self.settings.files_root)
