"""`make run` as a person uses it: start, stop by a signal, start again, a part that dies.

Two starts beside the suite's own Airflow serve all tests of this file.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from local.airflow import LocalAirflow
from local.api import Api
from local.home import Home, Project
from local.ports import free_port, is_free
from local.sandbox import SheetsSandbox

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

REPO = Path(__file__).resolve().parents[2]
READY = "Ctrl-C stops everything"
SPREADSHEET = """\
- {id: book, title: Classeur, locale: fr_FR, timeZone: Europe/Paris, sheets: {Feuille: [[code], ["'001"]]}}
"""


@dataclass
class Started:
    """One `python -m local run` that is ready."""

    process: subprocess.Popen[str]
    output: str
    pids: list[int]

    @property
    def ports(self) -> list[int]:
        return [int(port) for port in re.findall(r"(?:127\.0\.0\.1:|port )(\d+)", self.output)]

    def api(self, home: Home) -> Api:
        url = re.search(r"Airflow\s+(http\S+)", self.output)
        assert url
        return Api.login(url[1], "administrateur", home.passwords["administrateur"])

    def sandbox(self, home: Home) -> SheetsSandbox:
        url = re.search(r"Sheets\s+(http\S+)", self.output)
        assert url
        return SheetsSandbox(url[1], home.sandbox)

    def end(self) -> tuple[int, str]:
        """Wait for the end; exit status and the rest of what it wrote."""
        rest, _ = self.process.communicate(timeout=120)
        return self.process.returncode, rest


def start(root: Path, port: int) -> Started:
    command = [sys.executable, "-m", "local", "run", "--root", str(root), "--port", str(port)]
    process = subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if READY in line:
            break
    pids = (
        [child.pid for child in psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    )
    return Started(process, "".join(lines), pids)


def running_among(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@dataclass
class Story:
    """What was seen during two starts of one home."""

    first: Started
    first_status: int
    first_left: list[int]
    first_ports_free: list[bool]
    neighbour_healthy: bool
    second_start_s: float
    second: Started
    kept: dict[str, object]
    second_status: int
    second_rest: str
    second_left: list[int]


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, airflow: LocalAirflow, make_project: Callable[[Path, bool], Project]
) -> Story:
    root = tmp_path_factory.mktemp("second")
    project = make_project(root, False)
    settings = project.settings_file.read_text()
    (root / "include" / "samples").mkdir(parents=True)
    project.spreadsheets.write_text(SPREADSHEET, encoding="utf-8")
    project.settings_file.write_text(
        settings.replace("variables: []", "variables: [{variable_name: v, variable_value: un}]")
    )
    port = free_port()

    first = start(root, port)
    try:
        home = Home(root / ".airflow")
        api = first.api(home)
        api.request("PATCH", "/api/v2/variables/v", {"key": "v", "value": "changed by hand"})
        api.request("POST", "/api/v2/variables", {"key": "mine", "value": "kept"})
        first.sandbox(home).type_in("book", "Feuille", "A3", "'002")
        neighbour = Api(airflow.url).healthy()
    finally:
        first.process.send_signal(signal.SIGTERM)
    first_status, _ = first.end()
    left = running_among(first.pids)
    ports_free = [is_free("127.0.0.1", number) for number in first.ports]

    began = time.monotonic()
    second = start(root, port)
    took = time.monotonic() - began
    try:
        api = second.api(home)
        kept = {key: api.request("GET", f"/api/v2/variables/{key}")["value"] for key in ("v", "mine")}
        kept["sheet"] = second.sandbox(home).rows("book", "Feuille")
    finally:
        victim = next(p for p in map(psutil.Process, second.pids) if "triggerer" in " ".join(p.cmdline()))
        os.kill(victim.pid, signal.SIGKILL)
        second_status, rest = second.end()
    return Story(
        first,
        first_status,
        left,
        ports_free,
        neighbour,
        took,
        second,
        kept,
        second_status,
        rest,
        running_among(second.pids),
    )


def test_the_addresses_and_three_logins_are_printed(story):
    assert all(user in story.first.output for user in ("administrateur", "superviseur", "operateur"))
    assert "Mails       http://127.0.0.1:" in story.first.output
    assert "Sheets      http://127.0.0.1:" in story.first.output


def test_sigterm_leaves_no_process_and_frees_every_port(story):
    assert story.first_status == 0
    assert len(story.first.pids) >= 7
    assert story.first_left == []
    assert len(story.first_ports_free) >= 6
    assert all(story.first_ports_free)


def test_two_instances_run_side_by_side(story):
    assert story.neighbour_healthy


def test_a_second_start_keeps_the_data_and_overwrites_nothing(story):
    assert story.kept == {"v": "changed by hand", "mine": "kept", "sheet": [["code"], ["001"], ["002"]]}
    assert "Preparing Airflow's database" in story.first.output
    assert "Preparing Airflow's database" not in story.second.output
    assert "Created variable v" in story.first.output
    assert "Created spreadsheet Classeur" in story.first.output
    assert "Created" not in story.second.output


def test_when_a_part_dies_the_rest_stops_and_the_message_names_it(story):
    assert story.second_status == 2
    assert "triggerer ended with status" in story.second_rest
    assert story.second_left == []


def test_a_port_in_use_is_a_clear_error(airflow, tmp_path):
    taken = airflow.addresses.port
    command = [sys.executable, "-m", "local", "run", "--root", str(tmp_path), "--port", str(taken)]
    refused = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert f"Port {taken} of 127.0.0.1 is in use" in refused.stderr
    assert re.search(r"PORT=\d+ make run", refused.stderr)


def test_a_home_in_use_is_a_clear_error(airflow):
    command = [sys.executable, "-m", "local", "run", "--root", str(airflow.project.root), "--port", str(free_port())]
    refused = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "already runs from" in refused.stderr
    assert airflow.url in refused.stderr
