"""Our database of runs, cursors, rejections, leases and audit. Secrets and records never lie in it in clear."""

from __future__ import annotations

from sync_provider.engine.ledger.audit import AuditBreak, AuditRow
from sync_provider.engine.ledger.cursors import Baseline, Cursor
from sync_provider.engine.ledger.leases import Lease
from sync_provider.engine.ledger.ledger import Ledger
from sync_provider.engine.ledger.loads import Load
from sync_provider.engine.ledger.records import Event, PhaseRow, Run
from sync_provider.engine.ledger.rejections import StoredRejection
from sync_provider.engine.ledger.retention import Purged

__all__ = [
    "AuditBreak",
    "AuditRow",
    "Baseline",
    "Cursor",
    "Event",
    "Lease",
    "Ledger",
    "Load",
    "PhaseRow",
    "Purged",
    "Run",
    "StoredRejection",
]
