"""What Airflow loads in every one of its processes: cheap, because the pages themselves are built in the API server only."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/synchronisation"


class SyncPlugin(AirflowPlugin):
    """Mounts our pages into Airflow's API server."""

    name = "sync_provider"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        from sync_provider.web.app import build_app

        return [{"app": build_app(), "url_prefix": PREFIX, "name": "synchronisation"}]

    @cached_property
    def fastapi_root_middlewares(self) -> list[dict[str, Any]]:  # type: ignore[override]
        from sync_provider.web.app import Slash

        return [{"middleware": Slash, "name": "sync-slash", "args": [], "kwargs": {}}]
