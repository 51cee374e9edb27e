"""`make run`: Airflow with the samples, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path

from local.airflow import LocalAirflow, logins, running, samples
from local.api import Api
from local.home import Project
from local.signals import Stop, StopRequestedError


def run(root: Path, home: Path, host: str, port: int, stop: Stop) -> None:
    """Start, print where things are, wait for a signal, stop.

    Raises:
        LocalError: it could not start, or a part of it ended.
    """
    try:
        with running(Project.at(root), home, host=host, port=port, stop=stop, say=_say) as airflow:
            _unpause_samples(airflow, airflow.login())
            _say(_welcome(airflow))
            while True:
                airflow.wait_until(lambda: False, timeout_s=60)
    except StopRequestedError:
        return


def _unpause_samples(airflow: LocalAirflow, api: Api) -> None:
    """On the first start only: what a person paused later stays paused."""
    if airflow.home.state.get("unpaused"):
        return
    ids, missing = samples(airflow, api)
    for dag_id in ids:
        api.unpause(dag_id)
    for line in missing:
        _say(line)
    airflow.home.state["unpaused"] = not missing
    airflow.home.save_state()


def _welcome(airflow: LocalAirflow) -> str:
    a = airflow.addresses
    return f"""
Airflow     {airflow.url}
{logins(airflow)}
Sheets      {a.sandbox_url}   (a stand-in for Google Sheets: open a spreadsheet, edit a cell)
Mails       {a.mails_url}   (SMTP on port {a.smtp})
Inside      tasks reach Airflow on port {a.tasks}, it reads their logs on port {a.logs}
Logs        {airflow.home.component_logs}
Commands    AIRFLOW_HOME={airflow.home.path} .venv/bin/airflow …

Ctrl-C stops everything; the data stays.
"""


def _say(line: str) -> None:
    print(line, flush=True)
