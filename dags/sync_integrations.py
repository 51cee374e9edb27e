"""Registers every mapping as an Airflow DAG. An Airflow of your own needs this file and `pip install sync-provider`."""

from sync_provider.dag_factory import register_integrations

register_integrations(globals())
