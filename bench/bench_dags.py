"""DAGs from YAML: every mapping of a folder, and the one that a task's process needs.

The floor is what a person would write by hand: libyaml and Airflow's own classes, the same tasks, nothing checked.
"""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.bench_mappings import prepare
from bench.harness import Benchmark, Candidate, Goal, Job

ORDER = 4
TASKS = ("extract", "validate", "plan", "approve", "backup", "load", "report")


def airflow(job: Job) -> None:
    """Airflow's settings and ours, before anything of Airflow is imported."""
    os.environ["AIRFLOW_HOME"] = str(job.out)
    os.environ["AIRFLOW__SYNC_PROVIDER__DEMO"] = "true"
    os.environ["AIRFLOW__SYNC_PROVIDER__MAPPINGS_DIR"] = str(job.data)


def ours_all(job: Job) -> None:
    airflow(job)
    from sync_provider.dag_factory import build_all

    with job.work():
        dags, errors = build_all(job.data)
    if errors:
        raise errors[0]
    keep(job, dags)


def ours_one(job: Job) -> None:
    airflow(job)
    from sync_provider.dag_factory import build_dag
    from sync_provider.engine.loader import load_mapping

    with job.work():
        dag = build_dag(load_mapping(f"clients_{job.rows // 2}", job.data))
    keep(job, [dag])


def floor_all(job: Job) -> None:
    airflow(job)
    build = by_hand()
    with job.work():
        dags = [build(path) for path in sorted(job.data.iterdir())]
    keep(job, dags)


def floor_one(job: Job) -> None:
    airflow(job)
    build = by_hand()
    with job.work():
        dag = build(job.data / f"clients_{job.rows // 2}.yaml")
    keep(job, [dag])


def by_hand() -> Any:
    from datetime import timedelta

    import pendulum
    import yaml
    from airflow.sdk import DAG, BaseOperator, CronDataIntervalTimetable, Param

    class Step(BaseOperator):
        def __init__(self, *, mapping_id: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.mapping_id = mapping_id

    def build(path: Path) -> DAG:
        text = path.read_bytes()
        mapping = yaml.load(text, Loader=yaml.CSafeLoader)
        dag = DAG(
            dag_id=f"sync__{mapping['id']}",
            description=mapping["description"],
            schedule=CronDataIntervalTimetable(mapping["schedule"], timezone=mapping["timezone"]),
            start_date=pendulum.datetime(2025, 1, 1, tz=mapping["timezone"]),
            catchup=False,
            max_active_runs=1,
            default_args={"owner": mapping["airflow"]["owner"], "retries": 3, "retry_delay": timedelta(minutes=1)},
            params={"dry_run": Param(False, type="boolean"), "limit": Param(None, type=["null", "integer"])},
            tags=mapping["airflow"]["tags"],
            doc_md=text.decode(),
        )
        tasks = [Step(task_id=name, mapping_id=mapping["id"], dag=dag) for name in TASKS]
        for before, after in pairwise(tasks):
            before >> after
        return dag

    return build


def keep(job: Job, dags: list[Any]) -> None:
    shape = {dag.dag_id: {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks} for dag in dags}
    (job.out / "dags.json").write_text(json.dumps(shape, sort_keys=True), encoding="utf-8")


def shape(name: str, data: Path, out: Path) -> str:
    del name, data
    return (out / "dags.json").read_text(encoding="utf-8")


FLOOR = "by hand, libyaml"
BENCHMARKS = (
    Benchmark(
        name="dags",
        title="DAGs from YAML, all of a folder",
        unit="mappings",
        prepare=prepare,
        scale=0.001,
        fingerprint=shape,
        candidates=(Candidate("sync_provider", ours_all, ours=True), Candidate(FLOOR, floor_all)),
        goals=(Goal("≤ 1.2 × by hand, checks included", 1.2),),
    ),
    Benchmark(
        name="dag-of-task",
        title="DAGs from YAML, the one of a task's process",
        unit="mappings",
        prepare=prepare,
        scale=0.001,
        fingerprint=shape,
        candidates=(Candidate("sync_provider", ours_one, ours=True), Candidate(FLOOR, floor_one)),
        goals=(Goal("≤ 50 ms", 0.05, absolute=True),),
    ),
)
