"""What Airflow knows about this provider: options, operators, hooks, links, notifications. No I/O.

Every Airflow process calls this while it starts, before its configuration is complete: it must be light and must
import nothing of Airflow.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from sync_provider.engine.settings import OPTIONS, SECTION, Option

NAME = "sync-provider"
INTEGRATION = "Synchronisation"

FORMS: tuple[dict[str, Any], ...] = (
    {
        "connection-type": "sqlite",
        "hook-class-name": "sync_provider.sql_hooks.SqliteHook",
        "hook-name": "SQLite",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "port", "login", "password"],
            "relabeling": {"host": "Database file"},
            "placeholders": {"host": "/srv/data/warehouse.db"},
        },
    },
    {
        "connection-type": "postgres",
        "hook-class-name": "sync_provider.sql_hooks.PostgresHook",
        "hook-name": "PostgreSQL",
        "ui-field-behaviour": {
            "relabeling": {"schema": "Database"},
            "placeholders": {"port": "5432", "extra": '{"sslmode": "verify-full"}'},
        },
    },
)
"""Connection forms, with Test. A file root's (`fs`) comes with Airflow's standard provider."""


def get_provider_info() -> dict[str, Any]:
    """The `apache_airflow_provider` entry point; Airflow checks it against its `provider_info.schema.json`."""
    return {
        "package-name": NAME,
        "name": INTEGRATION,
        "description": "Declarative, validated and reversible integrations: one YAML mapping, one generated DAG.",
        "integrations": [{"integration-name": INTEGRATION, "tags": ["service"]}],
        "operators": [{"integration-name": INTEGRATION, "python-modules": ["sync_provider.operators"]}],
        "hooks": [{"integration-name": INTEGRATION, "python-modules": ["sync_provider.sql_hooks"]}],
        "connection-types": [form for form in FORMS if not _has_provider(form["connection-type"])],
        "extra-links": [f"sync_provider.links.{name}" for name in ("PlanLink", "RejectionsLink", "ReportLink")],
        "notifications": ["sync_provider.alert_mail.AlertMail"],
        "config": {
            SECTION: {
                "description": "Settings of the synchronisation provider.",
                "options": {option.name: _described(option) for option in OPTIONS},
            }
        },
    }


def _has_provider(connection_type: str) -> bool:
    """Whether Airflow's own provider brings this form: a second one of the same type would be a warning in every process."""
    try:
        distribution(f"apache-airflow-providers-{connection_type}")
    except PackageNotFoundError:
        return False
    return True


def _described(option: Option) -> dict[str, Any]:
    return {
        "description": f"{option.description}\n",
        "version_added": "0.1.0",
        # Airflow's own types are fewer than ours; the engine reads durations, lists and paths from text.
        "type": {"boolean": "boolean", "number": "integer"}.get(option.kind, "string"),
        "example": option.example,
        "default": option.default,
        **({"sensitive": True} if option.sensitive else {}),
    }
