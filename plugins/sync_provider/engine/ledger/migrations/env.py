"""Run by Alembic, within the transaction that `migrations.upgrade` has opened."""

from __future__ import annotations

from alembic import context

from sync_provider.engine.ledger.migrations import VERSION_TABLE
from sync_provider.engine.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite changes tables by copying them.
    render_as_batch=True,
)
context.run_migrations()
