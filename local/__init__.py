"""One machine's Airflow: what `make run` and `make demo` start, and what the end-to-end tests start too.

Airflow's own commands run as child processes; nothing here is imported by the product.
"""

from __future__ import annotations


class LocalError(Exception):
    """Something a person can mend; shown as one sentence, without a traceback."""
