"""Declarative, two-way data integration on Apache Airflow.

One YAML file declares one integration; this package turns it into an Airflow DAG. Importing the package itself
imports nothing heavy: Airflow does so each time it parses a DAG file.
"""

from __future__ import annotations

__version__ = "0.1.0"
