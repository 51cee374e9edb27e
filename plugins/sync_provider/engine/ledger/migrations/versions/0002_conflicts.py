"""The conflict log.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "sync_conflicts",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("fingerprint", sa.String(32), nullable=False),
        sa.Column("field", sa.Text()),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("winner", sa.String(16)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("decision", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("decided_by", sa.Text()),
        sa.Column("closed_run_id", sa.String(26)),
        sa.PrimaryKeyConstraint("number", name="pk_sync_conflicts"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_sync_conflicts_live",
        "sync_conflicts",
        ["mapping_id", "fingerprint"],
        unique=True,
        sqlite_where=sa.text("closed_run_id IS NULL"),
        postgresql_where=sa.text("closed_run_id IS NULL"),
    )
    op.create_index("ix_sync_conflicts_mapping_id_status", "sync_conflicts", ["mapping_id", "status"])
    op.create_index("ix_sync_conflicts_run_id", "sync_conflicts", ["run_id"])


def downgrade() -> None:
    op.drop_table("sync_conflicts")
