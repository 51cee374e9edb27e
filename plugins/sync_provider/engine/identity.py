"""Sides whose rows have no key of their own: they are given ids before they are read (``id_column``).

A crash afterwards is harmless: the next run finds the ids. A dry run gives none, and leaves out the rows that have none; so does a run in
whose midst a row was added. They are counted among those that wait.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sync_provider.connectors.base import ColumnRequest, Connector, Identifying, RawBatch
from sync_provider.core.conflicts import Side
from sync_provider.core.mapping import Mapping
from sync_provider.engine.lease import held_lease
from sync_provider.engine.run import RunContext
from sync_provider.engine.steps import reached

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

NONE_YET = "have no id yet: a run gives them one, and brings them in as new"
"""What is said of such rows where nothing is written."""


def give_ids(ctx: RunContext, side: Side, connector: Connector, columns: Sequence[ColumnRequest]) -> int:
    """Give ids to the rows of a side that need them and have none; returns to how many.

    Args:
        ctx: the run; a dry one gives none.
        side: the side.
        connector: its own.
        columns: that will be read.

    Raises:
        SyncError: the side may not be edited, cannot be reached, or another run is writing to it.
    """
    if ctx.mapping.id_column(side) is None or ctx.params.dry_run:
        return 0
    assert isinstance(connector, Identifying)
    given = 0
    if connector.lacks_ids(columns):
        # The sides may be two tabs of one spreadsheet, and read at the same time: each holds the lease for itself.
        with held_lease(ctx.env.ledger, connector.capabilities.resource, f"{ctx.id}:{side}") as lease:
            given = connector.give_ids(columns, lease.check)
        log.info("%d rows of the %s were given ids", given, side)
    reached("identified")
    return given


class Unidentified:
    """Leaves out the rows of a side that have no id (yet), and counts them.

    Args:
        mapping: the integration.
        side: the side; where it has no ids of ours, nothing is left out.
    """

    def __init__(self, mapping: Mapping, side: Side) -> None:
        self._side, self._column = side, mapping.id_column(side)
        self.count = 0

    def leave_out(self, raw: RawBatch) -> RawBatch:
        """The batch without them."""
        if self._column is None or self._column not in raw.records.schema.names:
            return raw
        ids: pa.Array = raw.records.column(self._column)
        if not ids.null_count:
            return raw
        self.count += ids.null_count
        return replace(raw, records=raw.records.filter(ids.is_valid()))

    def tell(self) -> None:
        """Say in the log how many were left out."""
        if self.count:
            log.warning("%d rows of the %s %s", self.count, self._side, NONE_YET)


def copied_hint(mapping: Mapping, side: Side) -> str:
    """What to do about an id that stands twice; empty where ids are not ours."""
    return "" if mapping.id_column(side) is None else "Empty the id of the copied row: it gets its own"
