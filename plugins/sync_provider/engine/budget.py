"""Request allowances: which quotas a request falls under, and the waiting until it may be sent."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sync_provider.core.errors import SyncConnectionError, Where
from sync_provider.engine.ledger.budgets import WAY_S, WINDOW_S, next_moment

if TYPE_CHECKING:
    from sync_provider.connectors.base import Clock
    from sync_provider.engine.settings import Settings

log = logging.getLogger(__name__)

_SERVICE_ACCOUNT = re.compile(r"@([a-z0-9.:-]+)\.iam\.gserviceaccount\.com$")
_TOLD_FROM_S = 5.0


class Grants(Protocol):
    """Gives requests their moment; see `engine.ledger.budgets.Budgets.reserve`."""

    def reserve(self, quotas: Mapping[str, int], *, cost: int = 1, longest_s: float) -> float: ...


class LocalGrants:
    """Moments within this process alone, for commands that need no ledger. Any number of threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._grants: dict[str, list[float]] = {}

    def reserve(self, quotas: Mapping[str, int], *, cost: int = 1, longest_s: float) -> float:
        window_s = WINDOW_S + WAY_S
        with self._lock:
            now = self._clock.now().timestamp()
            grants = {name: [at for at in self._grants.get(name, ()) if at > now - window_s] for name in quotas}
            moment = next_moment(grants, quotas, now, cost, window_s)
            if moment - now <= longest_s:
                self._grants |= {name: sorted([*given, *[moment] * cost]) for name, given in grants.items()}
        return moment - now


@dataclass(slots=True)
class RequestBudget:
    """`connectors.base.Budget` over moments that others share.

    Args:
        grants: gives the moments.
        clock: waits.
        quotas: resource, as a connector names it → the quotas that such a request falls under, each a number a minute.
        total_wait_s: longest time that this instance waits in all.
    """

    grants: Grants
    clock: Clock
    quotas: Callable[[str], Mapping[str, int]]
    total_wait_s: float
    _waited_s: float = field(default=0.0, init=False)

    def acquire(self, resource: str, cost: int = 1) -> None:
        """Wait until ``cost`` requests may be sent.

        Raises:
            SyncConnectionError: it would take longer than the mapping allows (``budget_wait``).
        """
        quotas = self.quotas(resource)
        left_s = max(0.0, self.total_wait_s - self._waited_s)
        wait_s = self.grants.reserve(quotas, cost=cost, longest_s=left_s)
        if wait_s > left_s:
            raise SyncConnectionError(
                f"the quota of requests is used up for {wait_s:.0f} s more, and this run has waited {self._waited_s:.0f} s",
                where=Where(endpoint=resource),
                hint="It will be tried again. Run fewer integrations at once, raise limits.total_wait, or ask for a greater quota.",
                code="budget_wait",
                retry_after_s=wait_s,
            )
        if wait_s > 0:
            if wait_s >= _TOLD_FROM_S:
                log.info("waiting %.0f s for the quota of %s", wait_s, resource)
            self._waited_s += wait_s
            self.clock.sleep(wait_s)


def quotas_for(
    settings: Settings, integration: str | None = None, requests_per_minute: int | None = None
) -> Callable[[str], dict[str, int]]:
    """What `RequestBudget` asks for the quotas of a resource.

    Args:
        settings: the deployment's quotas.
        integration: id of the mapping on whose behalf requests are sent.
        requests_per_minute: its ``limits.requests_per_minute``; counts requests of every kind.
    """

    def quotas(resource: str) -> dict[str, int]:
        found: dict[str, int] = {}
        system, kind, account = [*resource.split(":", 2), "", ""][:3]
        if system == "google-sheets":
            found[resource] = settings.google_requests_per_account
            # Google counts a project's accounts together; an account of another kind does not tell its project.
            if project := _SERVICE_ACCOUNT.search(account):
                found[f"{system}:{kind}:project {project[1]}"] = settings.google_requests_per_project
        if integration is not None and requests_per_minute is not None:
            found[f"integration:{integration}"] = requests_per_minute
        return found

    return quotas
