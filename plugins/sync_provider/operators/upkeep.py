"""Upkeep of ledger and store, as a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from sync_provider import hooks
from sync_provider.operators.base import LogGroup

if TYPE_CHECKING:
    from airflow.sdk import Context


class UpkeepOperator(BaseOperator):
    """Close runs that were lost, and remove staged batches, backups' leftovers and history past their retention.

    Safe at any time. What it did is its XCom.
    """

    ui_color = "#eeeeee"

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002  # Airflow's signature
        """Clean once; Airflow calls this."""
        from sync_provider.engine.retention import clean

        with LogGroup("upkeep"), hooks.environment() as env:
            done = clean(
                env.ledger,
                env.store,
                env.clock,
                staging_retention=env.settings.staging_retention,
                history_retention=env.settings.history_retention,
            )
        return done.as_dict()
