"""How many requests all processes together may send a minute.

Every request is given its moment: the earliest at which no minute holds more than the quota. Moments are given in one short
transaction, in the order in which they are asked for, and waited for outside it; so of many that wait, each wakes up once. A process
that dies while it waits has used its moment up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sync_provider.engine.ledger.tables import budgets

if TYPE_CHECKING:
    from sync_provider.engine.ledger.database import Database

WINDOW_S = 60.0
WAY_S = 1.5
"""Requests take their time, and not all the same: those of one minute here may arrive in a shorter one there."""


def next_moment(
    grants: Mapping[str, Sequence[float]], quotas: Mapping[str, int], now: float, cost: int, window_s: float
) -> float:
    """The earliest moment for ``cost`` more requests at once, in seconds since 1970.

    Args:
        grants: resource → moments given so far, ascending.
        quotas: resource → requests in any window.
        now: the earliest moment of all.
        cost: > 0; one that is greater than a quota gets a window of its own.
        window_s: length of a window.

    >>> next_moment({"a": [0.0, 1.0]}, {"a": 2}, 5.0, 1, 60.0)
    60.0
    """
    moment = now
    for resource, quota in quotas.items():
        given = grants[resource]
        # Of the newest `quota` moments, this and `cost - 1` others take the place of the oldest.
        oldest = max(1, quota - cost + 1)
        if len(given) >= oldest:
            moment = max(moment, given[-oldest] + window_s)
    return moment


class Budgets:
    """Moments for requests, given to all processes of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(
        self, quotas: Mapping[str, int], *, cost: int = 1, longest_s: float, window_s: float = WINDOW_S + WAY_S
    ) -> float:
        """Reserve the next moment that every quota allows.

        Args:
            quotas: resource → requests in any window; reserved together.
            cost: number of requests, > 0.
            longest_s: nothing is reserved if it would take longer.
            window_s: length of a window.

        Returns:
            Seconds until the moment; more than ``longest_s`` if nothing was reserved.
        """
        if not quotas:
            return 0.0
        names = sorted(quotas)
        with self._database.write() as connection:
            fresh = [{"resource": name, "grants": []} for name in names]
            connection.execute(self._database.insert(budgets).on_conflict_do_nothing(), fresh)
            # In one order everywhere, so that two processes never wait for each other.
            query = sa.select(budgets).where(budgets.c.resource.in_(names)).order_by(budgets.c.resource)
            rows = connection.execute(query.with_for_update()).all()
            now = self._database.now(connection).timestamp()  # asked for last: waiting for the rows takes time
            grants = {row.resource: [at for at in row.grants if at > now - window_s] for row in rows}
            moment = next_moment(grants, quotas, now, cost, window_s)
            if moment - now <= longest_s:
                for name in names:
                    kept = sorted([*grants[name], *[moment] * cost])
                    connection.execute(budgets.update().where(budgets.c.resource == name).values(grants=kept))
        return moment - now
