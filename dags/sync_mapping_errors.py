"""Holds no Airflow DAG. Raises one error that lists the broken mappings, for Airflow's own import-error banner."""

from sync_provider.dag_factory import report_broken_mappings

report_broken_mappings()
