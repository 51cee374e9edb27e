"""The ledger as one value: open it, then use its parts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from sync_provider.connectors.base import Clock
from sync_provider.engine.crypto import Cipher
from sync_provider.engine.ledger import migrations, retention
from sync_provider.engine.ledger.alerts import Alerts
from sync_provider.engine.ledger.audit import Audit
from sync_provider.engine.ledger.budgets import Budgets
from sync_provider.engine.ledger.conflicts import Conflicts
from sync_provider.engine.ledger.cursors import Baselines, Cursors, Files
from sync_provider.engine.ledger.database import Database
from sync_provider.engine.ledger.leases import Leases
from sync_provider.engine.ledger.loads import Loads
from sync_provider.engine.ledger.redaction import Redactor
from sync_provider.engine.ledger.rejections import Rejections
from sync_provider.engine.ledger.runs import Runs
from sync_provider.engine.ledger.sources import Sources, Tabs
from sync_provider.engine.ledger.tokens import Tokens


class Ledger:
    """Runs, cursors, files, loads, rejections, conflicts, leases, baselines, audit, alerts and request budgets of every integration.

    One instance may be used by several threads, and by several processes each with its own. Every method may raise
    SyncConnectionError (``ledger_busy``, ``ledger_unreachable``), SyncAuthenticationError (``ledger_refused``) and
    SyncDataError (``ledger_damaged``).
    """

    def __init__(self, database: Database, cipher: Cipher, secrets: Iterable[str] = ()) -> None:
        self._database = database
        self._redact = Redactor(secrets)
        self.audit = Audit(database, self._redact)
        self.cursors = Cursors(database, self.audit)
        self.files = Files(database)
        self.baselines = Baselines(database)
        self.rejections = Rejections(database, cipher, self.audit)
        self.conflicts = Conflicts(database, cipher, self.audit)
        self.loads = Loads(database)
        self.leases = Leases(database)
        self.alerts = Alerts(database)
        self.budgets = Budgets(database)
        self.sources = Sources(database)
        self.tabs = Tabs(database)
        self.tokens = Tokens(database, cipher)
        self.runs = Runs(
            database,
            self._redact,
            cursors=self.cursors,
            files=self.files,
            baselines=self.baselines,
            rejections=self.rejections,
            sources=self.sources,
            audit=self.audit,
        )

    @classmethod
    def open(cls, url: str, cipher: Cipher, clock: Clock, secrets: Iterable[str] = ()) -> Self:
        """Open the ledger, creating or migrating its tables first if need be.

        Args:
            url: SQLAlchemy URL, SQLite or PostgreSQL.
            cipher: encrypts rejected records and access tokens.
            clock: gives the time; see `Database`.
            secrets: values that must never be stored; more can be added with `protect`.

        Raises:
            SyncConnectionError: it cannot be reached.
            SyncDataError: it is damaged, or was written by a newer version of this package (``ledger_newer``).
        """
        database = Database(url, clock)
        try:
            migrations.upgrade(database)
        except BaseException:
            database.close()
            raise
        return cls(database, cipher, secrets)

    def protect(self, *secrets: str) -> None:
        """From now on replace these values by ``***`` in parameters, errors, events and audit."""
        self._redact.add(*secrets)

    def purge(self, before: datetime) -> retention.Purged:
        """Remove what ended before then; see `retention.purge` for what stays."""
        purged = retention.purge(self._database, before)
        if purged.run_ids:
            after = {
                "runs": len(purged.run_ids),
                "rejections": purged.rejections,
                "conflicts": purged.conflicts,
                "events": purged.events,
            }
            self.audit.append("sync_provider", "ledger.purged", f"before {before.isoformat()}", after=after)
        return purged

    def close(self) -> None:
        """Close the connections; the ledger opens new ones if it is used again."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
