"""`make demo`: every sample through a real Airflow, without a person, and the story of the one that goes both ways."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local import LocalError
from local.airflow import LocalAirflow, running, samples
from local.api import Api
from local.home import Home, Project
from local.signals import Stop
from local.two_sides import DAG_ID, TwoSides

_RUN_TIMEOUT_S = 300
_ENDED = ("success", "failed")
_FAILS_ON_DEMAND = "echec-demo"
_NEW_HOME = {"lock", "local.json", "passwords.json"}
"""What `Home.hold` itself makes."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one sample went; the counts are None where its report has none."""

    dag_id: str
    state: str
    read: int | None
    written: int | None
    rejected: int | None
    duration_s: float | None

    def __str__(self) -> str:
        counts = f"read {_count(self.read)}   written {_count(self.written)}   rejected {_count(self.rejected)}"
        duration = "" if self.duration_s is None else f"   {self.duration_s:.1f} s"
        return f"{self.dag_id:40} {self.state:8} {counts}{duration}"


def demo(root: Path, home: Path, stop: Stop) -> bool:
    """Run every sample, print a line for each and the story of `clients_ventes`; returns whether all went as it should.

    It uses an AIRFLOW_HOME, ports and an output folder of its own: a `make run` beside it notices nothing. What an earlier
    demo left is removed first, so that every demo writes the same rows; afterwards all stays, to be looked at.

    Raises:
        LocalError: Airflow could not start, or a part of it ended.
        StopRequestedError: a signal asked to stop.
    """
    _empty(home)
    standard = Project.at(root)
    project = Project(standard.root, standard.dags, standard.plugins, standard.settings_file, home / "out")
    with running(project, home, stop=stop, say=_say) as airflow:
        results = run_samples(airflow, airflow.login())
        succeeded = bool(results) and all(result.state == "success" for result in results)
        if any(result.dag_id == DAG_ID and result.state == "success" for result in results):
            succeeded &= all(check.holds for check in TwoSides(airflow, airflow.login(), _say).tell())
    return succeeded


def run_samples(airflow: LocalAirflow, api: Api) -> list[Result]:
    """Run every sample but those that fail on demand, imports before exports, and print a line for each.

    Returns:
        One result per sample; state ``missing`` for a mapping that gave no DAG.
    """
    ids, missing = samples(airflow, api)
    for line in missing:
        _say(line)
    spared = {dag["dag_id"] for dag in api.dags(_FAILS_ON_DEMAND)}
    exports = {dag["dag_id"] for dag in api.dags("export")}
    results = [Result(line, "missing", None, None, None, None) for line in missing]
    # Exports may read what imports have written.
    for group in ([i for i in ids if i not in exports], [i for i in ids if i in exports]):
        results += _run_all(airflow, api, [dag_id for dag_id in group if dag_id not in spared])
    if not results:
        _say("There is no sample to run: no DAG has the tag `sync`")
    return results


def _empty(home: Path) -> None:
    """Remove what an earlier demo left, and nothing that a demo has not made."""
    with Home.hold(home) as opened:
        entries = [entry for entry in home.iterdir() if entry.name not in _NEW_HOME]
        if entries and not opened.state.get("demo"):
            raise LocalError(f"{home} was not made by `make demo`, which would empty it. Name another folder")
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        opened.state = {name: value for name, value in opened.state.items() if name != "migrated"} | {"demo": True}
        opened.save_state()


def _run_all(airflow: LocalAirflow, api: Api, dag_ids: list[str]) -> list[Result]:
    """Run DAGs side by side and report each as it ends.

    One that is due by its schedule runs by itself once unpaused; the others are triggered. Should there be several runs, the
    oldest is reported, unless another one failed: later ones find the work done.
    """
    now = datetime.now(UTC)
    due = {dag["dag_id"] for dag in api.dags("sync") if (at := dag["next_dagrun_run_after"]) and _moment(at) <= now}
    waiting = set(dag_ids)
    for dag_id in dag_ids:
        api.unpause(dag_id)
        if dag_id not in due:
            api.trigger(dag_id)
    results: list[Result] = []

    def all_ended() -> bool:
        for dag_id in sorted(waiting):
            runs = api.runs(dag_id)
            if runs and all(run["state"] in _ENDED for run in runs):
                waiting.remove(dag_id)
                results.append(_report(api, next((run for run in runs if run["state"] == "failed"), runs[0])))
        return not waiting

    airflow.wait_until(all_ended, timeout_s=_RUN_TIMEOUT_S)
    for dag_id in sorted(waiting):
        unfinished = [run for run in api.runs(dag_id) if run["state"] not in _ENDED]
        if unfinished:
            results.append(_report(api, unfinished[0]))
        else:
            results.append(Result(dag_id, "missing", None, None, None, None))
            _say(f"{dag_id} did not run within {_RUN_TIMEOUT_S} s")
    return results


def _report(api: Api, run: dict[str, Any]) -> Result:
    dag_id, run_id = run["dag_id"], run["dag_run_id"]
    counters = api.xcom(dag_id, run_id, "report") or {}
    read, written, rejected = (counters.get(name) for name in ("read", "written", "rejected"))
    result = Result(dag_id, run["state"], read, written, rejected, _seconds(run))
    _say(str(result))
    if result.state != "success":
        for task in api.task_instances(dag_id, run_id):
            if task["state"] not in (None, "success", "skipped", "upstream_failed", "removed"):
                _say(f"  {task['task_id']} is {task['state']}; the end of its log:")
                lines = api.log_lines(dag_id, run_id, task["task_id"], max(1, task["try_number"]))
                _say("\n".join(f"    {line}" for line in lines[-15:]))
    return result


def _seconds(run: dict[str, Any]) -> float | None:
    if not (run.get("start_date") and run.get("end_date")):
        return None
    start, end = (_moment(run[name]) for name in ("start_date", "end_date"))
    return (end - start).total_seconds()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _count(number: int | None) -> str:
    return f"{'?':>7}" if number is None else f"{number:>7,}".replace(",", " ")


def _say(line: str) -> None:
    print(line, flush=True)
