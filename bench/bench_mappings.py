"""How fast mappings load: a folder of them, checked, beside libyaml's own reading of the same files without any check."""

from __future__ import annotations

import json
from pathlib import Path

from bench.harness import Benchmark, Candidate, Job

ORDER = 4
TEXT = """\
version: 1
id: clients_{number}
description: Clients suivis par les commerciaux
mode: import
source: {{type: csv, connection: files, path: "in/clients_{number}_*.csv", encoding: cp1252, delimiter: ";", decimal: ","}}
destination:
  type: sql
  connection: app_db
  table: clients_{number}
key: [code]
fields:
  - {{source: Code client, destination: code, type: string}}
  - {{source: Nom, destination: nom}}
  - {{source: Solde, destination: solde, type: "decimal(12,2)", to_destination: "parse_number(value, 'fr')", nulls: clear}}
  - {{source: Modifié le, destination: modifie_le, type: timestamp}}
  - {{source: Ville, destination: ville}}
  - {{source: Actif, destination: actif, type: boolean}}
filter: "solde IS NOT NULL"
write: upsert
incremental: {{cursor: modifie_le, lookback: PT10M}}
validation:
  expectations:
    - {{type: expect_column_values_to_not_be_null, kwargs: {{column: code}}, severity: critical}}
    - {{type: expect_column_values_to_be_between, kwargs: {{column: solde, min_value: 0}}, severity: warning}}
  on_failure: quarantine
  max_rejected: 5%
guards: {{max_deletes: 20%, window: P1D, max_deletes_in_window: 40%, on_trip: ask, approval_timeout: PT24H}}
schedule: "*/15 * * * *"
timezone: Europe/Paris
alerts: {{emails: [data@example.org], on: [failure, rejected]}}
airflow: {{owner: data, tags: [ventes], retries: 3, retry_delay: PT1M, execution_timeout: PT1H}}
"""


def prepare(data: Path, rows: int) -> None:
    for number in range(rows):
        (data / f"clients_{number}.yaml").write_text(TEXT.format(number=number), encoding="utf-8")


def scan(job: Job) -> None:
    from sync_provider.engine.loader import scan_mappings

    with job.work():
        found = scan_mappings(job.data)
    keep(job, [source.mapping.id for source in found.sources])


def scan_again(job: Job) -> None:
    """As the DAG processor's next pass finds them: the files have not changed since."""
    from sync_provider.engine.loader import scan_mappings

    scan_mappings(job.data)
    with job.work():
        found = scan_mappings(job.data)
    keep(job, [source.mapping.id for source in found.sources])


def libyaml(job: Job) -> None:
    import yaml

    with job.work():
        found = [yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader) for path in job.data.iterdir()]
    keep(job, [mapping["id"] for mapping in found])


def keep(job: Job, ids: list[str]) -> None:
    (job.out / "ids.json").write_text(json.dumps(sorted(ids)), encoding="utf-8")


def ids(name: str, data: Path, out: Path) -> str:
    del name, data
    return (out / "ids.json").read_text(encoding="utf-8")


BENCHMARKS = (
    Benchmark(
        name="mappings",
        title="Mappings read and checked",
        unit="mappings",
        prepare=prepare,
        scale=0.001,
        fingerprint=ids,
        candidates=(
            Candidate("sync_provider, first time", scan, ours=True),
            Candidate("sync_provider, unchanged", scan_again, ours=True),
            Candidate("libyaml, nothing checked", libyaml),
        ),
    ),
)
