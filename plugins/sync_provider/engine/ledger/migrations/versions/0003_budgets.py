"""Shared request budgets and access tokens; what is known of sources and of tabs.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "sync_budgets",
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("grants", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("resource", name="pk_sync_budgets"),
    )
    op.create_table(
        "sync_tokens",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_sync_tokens"),
    )
    op.create_table(
        "sync_sources",
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("mapping_sha256", sa.String(64), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("read_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mapping_id", name="pk_sync_sources"),
    )
    op.create_table(
        "sync_tabs",
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("spreadsheet", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("sheet_id", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("mapping_id", "side", "spreadsheet", "title", name="pk_sync_tabs"),
    )


def downgrade() -> None:
    for name in ("sync_tabs", "sync_sources", "sync_tokens", "sync_budgets"):
        op.drop_table(name)
