"""The only file of this folder that Airflow's plugin loader runs; `plugins/.airflowignore` hides the rest from it.

An installed package brings the same plugin by its entry point, and Airflow reports a second one of that name as an error.
"""

from importlib.metadata import entry_points

if not any(point.name == "sync_provider" for point in entry_points(group="airflow.plugins")):
    from sync_provider.web.plugin import SyncPlugin

    __all__ = ["SyncPlugin"]
