"""How fast mappings load: 1,000 files, beside libyaml's own reading of the same files without any check.

python bench/bench_mappings.py [mappings]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import yaml
from sync_provider.engine import loader

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
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def timed(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def cold(work: Callable[[], object]) -> float:
    loader._parse.cache_clear()  # noqa: SLF001 - what a new process starts with
    return timed(work)


def libyaml(directory: Path) -> None:
    for path in directory.iterdir():
        yaml.load(path.read_bytes(), Loader=LOADER)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for number in range(count):
            (directory / f"clients_{number}.yaml").write_text(TEXT.format(number=number), encoding="utf-8")

        def scan() -> object:
            return loader.scan_mappings(directory)

        def load_one() -> object:
            return loader.load_mapping(f"clients_{count // 2}", directory)

        assert len(loader.scan_mappings(directory).sources) == count
        rounds = [
            {
                "libyaml safe_load": timed(lambda: libyaml(directory)),
                "scan, nothing cached": cold(scan),
                "scan, unchanged": timed(scan),
                "load one by id": cold(load_one),
            }
            for _ in range(5)
        ]
    for name in rounds[0]:
        print(f"{name:22} {median(each[name] for each in rounds) * 1000:9.1f} ms")


if __name__ == "__main__":
    main()
