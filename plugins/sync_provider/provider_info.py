"""What Airflow knows about this provider: options, operators, hooks, links. No I/O.

Every Airflow process calls this while it starts, before its configuration is complete: it must be light and must
import nothing of Airflow.
"""

from __future__ import annotations

from typing import Any

NAME = "sync-provider"


def get_provider_info() -> dict[str, Any]:
    """The `apache_airflow_provider` entry point; Airflow checks it against its `provider_info.schema.json`."""
    return {
        "package-name": NAME,
        "name": "Synchronisation",
        "description": "Declarative, validated and reversible integrations: one YAML mapping, one generated DAG.",
        "integrations": [{"integration-name": "Synchronisation"}],
    }
