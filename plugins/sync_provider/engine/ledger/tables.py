"""The ledger's tables. They change only together with a migration; a test compares the two.

All names start with ``sync_``, so that the ledger may share a database. Times are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware time; databases without zones keep it as UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(
        self,
        value: datetime | None,
        dialect: sa.Dialect,  # noqa: ARG002
    ) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _number(**options: Any) -> sa.Column[int]:
    """A number that only grows and is never used again, not even after rows were purged."""
    return sa.Column(
        "number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True, **options
    )


_json = sa.JSON(none_as_null=True)

mapping_versions = sa.Table(
    "sync_mapping_versions",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("mapping_id", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("first_seen_at", UtcTime, nullable=False),
)

runs = sa.Table(
    "sync_runs",
    metadata,
    sa.Column("id", sa.String(26), primary_key=True),
    sa.Column("mapping_id", sa.Text, nullable=False),
    sa.Column("mapping_sha256", sa.String(64), nullable=False),
    sa.Column("dag_id", sa.Text, nullable=False),
    sa.Column("airflow_run_id", sa.Text, nullable=False),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("params", _json, nullable=False),
    sa.Column("interval_start", UtcTime),
    sa.Column("interval_end", UtcTime),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("started_at", UtcTime),
    sa.Column("finished_at", UtcTime),
    sa.Column("counters", _json),
    sa.Column("error", _json),
    # What `finish` last concluded from, so that concluding the same again is recorded once.
    sa.Column("concluded", sa.Text),
    sa.UniqueConstraint("dag_id", "airflow_run_id"),
    sa.Index(None, "mapping_id", "created_at"),
    sa.Index(None, "state"),
    sa.Index(None, "created_at"),
)

# One row for every start of a phase; the newest of a run and phase is the one that counts.
phases = sa.Table(
    "sync_phases",
    metadata,
    _number(),
    sa.Column("run_id", sa.String(26), nullable=False),
    sa.Column("phase", sa.String(32), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("stale", sa.Boolean, nullable=False),
    sa.Column("started_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    sa.Column("counters", _json),
    sa.Column("artifact", _json),
    sa.Column("error", _json),
    sa.Index(None, "run_id", "phase"),
    sqlite_autoincrement=True,
)

loads = sa.Table(
    "sync_loads",
    metadata,
    sa.Column("run_id", sa.String(26), primary_key=True),
    sa.Column("mapping_id", sa.Text, nullable=False),
    sa.Column("plan_digest", sa.String(64), nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
    sa.Column("read_number", sa.BigInteger, nullable=False),
    sa.Column("result", _json),
    sa.Column("begun_at", UtcTime, nullable=False),
    sa.Column("done_at", UtcTime),
    sa.Index(None, "mapping_id", "read_number"),
)

cursors = sa.Table(
    "sync_cursors",
    metadata,
    sa.Column("mapping_id", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("run_id", sa.String(26), nullable=False),
    sa.Column("moved_at", UtcTime, nullable=False),
)

files = sa.Table(
    "sync_files",
    metadata,
    sa.Column("mapping_id", sa.Text, primary_key=True),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.String(26), nullable=False),
    sa.Column("read_at", UtcTime, nullable=False),
)

baselines = sa.Table(
    "sync_baselines",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64)),
    sa.Column("run_id", sa.String(26), nullable=False),
    sa.Column("read_number", sa.BigInteger, nullable=False),
    sa.Column("moved_at", UtcTime, nullable=False),
)

rejections = sa.Table(
    "sync_rejections",
    metadata,
    _number(),
    sa.Column("run_id", sa.String(26), nullable=False),
    sa.Column("mapping_id", sa.Text, nullable=False),
    sa.Column("phase", sa.String(32), nullable=False),
    # Keyed digest of the content: finds the same rejection again when a phase is retried.
    sa.Column("fingerprint", sa.String(32), nullable=False),
    sa.Column("pass_id", sa.String(26), nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("field", sa.Text),
    sa.Column("status", sa.String(16), nullable=False),
    # Encrypted: message, value, key, record and place; then the record as corrected.
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("correction", sa.LargeBinary),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("decided_at", UtcTime),
    sa.Column("decided_by", sa.Text),
    sa.Column("replayed_run_id", sa.String(26)),
    sa.UniqueConstraint("run_id", "phase", "fingerprint"),
    sa.Index(None, "mapping_id", "status"),
    sqlite_autoincrement=True,
)

# A conflict is known again by its fingerprint, a keyed digest of key, field and values, until a run closes it.
conflicts = sa.Table(
    "sync_conflicts",
    metadata,
    _number(),
    sa.Column("mapping_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.String(26), nullable=False),
    sa.Column("fingerprint", sa.String(32), nullable=False),
    sa.Column("field", sa.Text),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("winner", sa.String(16)),
    sa.Column("status", sa.String(16), nullable=False),
    # Encrypted: key and values; then what a person decided.
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("decision", sa.LargeBinary),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("decided_at", UtcTime),
    sa.Column("decided_by", sa.Text),
    sa.Column("closed_run_id", sa.String(26)),
    sa.Index(
        "uq_sync_conflicts_live",
        "mapping_id",
        "fingerprint",
        unique=True,
        sqlite_where=sa.text("closed_run_id IS NULL"),
        postgresql_where=sa.text("closed_run_id IS NULL"),
    ),
    sa.Index(None, "mapping_id", "status"),
    sa.Index(None, "run_id"),
    sqlite_autoincrement=True,
)

leases = sa.Table(
    "sync_leases",
    metadata,
    sa.Column("resource", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
)

audit = sa.Table(
    "sync_audit",
    metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    # Text, exactly as it was hashed.
    sa.Column("at", sa.String(32), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index(None, "subject"),
)

# One row: the chain's end. Locked by whoever appends; also tells when the last rows are missing.
audit_head = sa.Table(
    "sync_audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

events = sa.Table(
    "sync_events",
    metadata,
    _number(),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("mapping_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.String(26), nullable=False),
    sa.Column("payload", _json, nullable=False),
    sa.Index(None, "run_id"),
    sqlite_autoincrement=True,
)

alerts = sa.Table(
    "sync_alerts",
    metadata,
    sa.Column("mapping_id", sa.Text, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("fingerprint", sa.Text),
    sa.Column("since", UtcTime, nullable=False),
)

# ``grants``: seconds since 1970 at which a request was, or will be, sent; those of the last minute only.
budgets = sa.Table(
    "sync_budgets",
    metadata,
    sa.Column("resource", sa.Text, primary_key=True),
    sa.Column("grants", _json, nullable=False),
)

tokens = sa.Table(
    "sync_tokens",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("token", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
)

# The content token of a source as of the last run that brought all of it in.
sources = sa.Table(
    "sync_sources",
    metadata,
    sa.Column("mapping_id", sa.Text, primary_key=True),
    sa.Column("mapping_sha256", sa.String(64), nullable=False),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("run_id", sa.String(26), nullable=False),
    sa.Column("read_number", sa.BigInteger, nullable=False),
)

# The number behind a title, by which a tab is found again when it has been renamed.
tabs = sa.Table(
    "sync_tabs",
    metadata,
    sa.Column("mapping_id", sa.Text, primary_key=True),
    sa.Column("side", sa.String(16), primary_key=True),
    sa.Column("spreadsheet", sa.Text, primary_key=True),
    sa.Column("title", sa.Text, primary_key=True),
    sa.Column("sheet_id", sa.BigInteger, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
)
