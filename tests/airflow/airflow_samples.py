"""The mapping that the tests of this folder start from."""

from __future__ import annotations

from pathlib import Path

MAPPING = """\
version: 1
id: {id}
description: Clients suivis
mode: import
source: {{type: csv, connection: fichiers, path: clients.csv}}
destination: {{type: sql, connection: entrepot, table: clients}}
key: [code]
fields:
  - {{source: Code, destination: code}}
  - {{source: Vu, destination: vu, type: timestamp}}
schedule: "0 6 * * *"
airflow: {{owner: ventes, tags: [ventes], retries: 2, retry_delay: PT1S}}
"""


def write_mapping(folder: Path, mapping_id: str = "clients", **changes: str) -> Path:
    """Write the sample mapping with some top-level lines replaced (``schedule="PT5M"``) or added."""
    text = MAPPING.format(id=mapping_id)
    for key, value in changes.items():
        lines = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
        text = "\n".join([*lines, f"{key}: {value}"]) + "\n"
    path = folder / f"{mapping_id}.yaml"
    path.write_text(text, encoding="utf-8")
    return path
