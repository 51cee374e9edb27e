"""A lease held for as long as a block takes, renewed beside it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sync_provider.core.errors import SyncError

if TYPE_CHECKING:
    from sync_provider.engine.ledger import Ledger

log = logging.getLogger(__name__)

TTL = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class HeldLease:
    """`check` raises SyncDataError (``lease_lost``) unless the lease is still ours: call it right before a commit."""

    check: Callable[[], None]


@contextmanager
def held_lease(ledger: Ledger, resource: str, holder: str, ttl: timedelta = TTL) -> Iterator[HeldLease]:
    """Hold the lease on a resource; released on every way out, SIGTERM's exception included.

    Args:
        ledger: where leases live.
        resource: ``Capabilities.resource`` of the destination.
        holder: the run's id, named in the error that others get.
        ttl: how long the lease outlives a killed process; renewed every third of it.

    Raises:
        SyncConnectionError: another run holds it (``lease_held``; retryable).
    """
    lease = ledger.leases.acquire(resource, holder, ttl)
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(ttl.total_seconds() / 3):
            try:
                ledger.leases.renew(lease, ttl)
            except SyncError as error:
                # Not ours any more: the fence will stop the commit. Renewing again could only disturb the new holder.
                log.warning("lease on %s: %s", resource, error.code)
                return

    renewer = threading.Thread(target=renew, name=f"lease-{resource}", daemon=True)
    renewer.start()
    try:
        yield HeldLease(check=lambda: ledger.leases.check(lease))
    finally:
        stop.set()
        renewer.join()
        ledger.leases.release(lease)
