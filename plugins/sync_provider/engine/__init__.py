"""Orchestration over the connector protocol: load, transform, stage, validate, plan, write. No Airflow."""
