"""The first tables.

Revision ID: 0001
Revises: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True)


def upgrade() -> None:
    op.create_table(
        "sync_alerts",
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("mapping_id", name="pk_sync_alerts"),
    )
    op.create_table(
        "sync_audit",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_sync_audit"),
    )
    op.create_index("ix_sync_audit_subject", "sync_audit", ["subject"])
    op.create_table(
        "sync_audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sync_audit_head"),
    )
    op.create_table(
        "sync_baselines",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("read_number", sa.BigInteger(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_sync_baselines"),
    )
    op.create_table(
        "sync_cursors",
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("mapping_id", name="pk_sync_cursors"),
    )
    op.create_table(
        "sync_events",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("payload", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_sync_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sync_events_run_id", "sync_events", ["run_id"])
    op.create_table(
        "sync_files",
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("mapping_id", "sha256", name="pk_sync_files"),
    )
    op.create_table(
        "sync_leases",
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text()),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("resource", name="pk_sync_leases"),
    )
    op.create_table(
        "sync_loads",
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("plan_digest", sa.String(64), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("read_number", sa.BigInteger(), nullable=False),
        sa.Column("result", _JSON),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("run_id", name="pk_sync_loads"),
    )
    op.create_index("ix_sync_loads_mapping_id_read_number", "sync_loads", ["mapping_id", "read_number"])
    op.create_table(
        "sync_mapping_versions",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_sync_mapping_versions"),
    )
    op.create_table(
        "sync_phases",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("counters", _JSON),
        sa.Column("artifact", _JSON),
        sa.Column("error", _JSON),
        sa.PrimaryKeyConstraint("number", name="pk_sync_phases"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sync_phases_run_id_phase", "sync_phases", ["run_id", "phase"])
    op.create_table(
        "sync_rejections",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(26), nullable=False),
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("fingerprint", sa.String(32), nullable=False),
        sa.Column("pass_id", sa.String(26), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("field", sa.Text()),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("correction", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("decided_by", sa.Text()),
        sa.Column("replayed_run_id", sa.String(26)),
        sa.PrimaryKeyConstraint("number", name="pk_sync_rejections"),
        sa.UniqueConstraint("run_id", "phase", "fingerprint", name="uq_sync_rejections_run_id_phase_fingerprint"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sync_rejections_mapping_id_status", "sync_rejections", ["mapping_id", "status"])
    op.create_table(
        "sync_runs",
        sa.Column("id", sa.String(26), nullable=False),
        sa.Column("mapping_id", sa.Text(), nullable=False),
        sa.Column("mapping_sha256", sa.String(64), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("airflow_run_id", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("params", _JSON, nullable=False),
        sa.Column("interval_start", sa.DateTime(timezone=True)),
        sa.Column("interval_end", sa.DateTime(timezone=True)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("counters", _JSON),
        sa.Column("error", _JSON),
        sa.Column("concluded", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_sync_runs"),
        sa.UniqueConstraint("dag_id", "airflow_run_id", name="uq_sync_runs_dag_id_airflow_run_id"),
    )
    op.create_index("ix_sync_runs_created_at", "sync_runs", ["created_at"])
    op.create_index("ix_sync_runs_mapping_id_created_at", "sync_runs", ["mapping_id", "created_at"])
    op.create_index("ix_sync_runs_state", "sync_runs", ["state"])
    op.execute(f"INSERT INTO sync_audit_head (id, number, hash) VALUES (1, 0, '{'0' * 64}')")


def downgrade() -> None:
    for table in (
        "sync_alerts",
        "sync_audit",
        "sync_audit_head",
        "sync_baselines",
        "sync_cursors",
        "sync_events",
        "sync_files",
        "sync_leases",
        "sync_loads",
        "sync_mapping_versions",
        "sync_phases",
        "sync_rejections",
        "sync_runs",
    ):
        op.drop_table(table)
