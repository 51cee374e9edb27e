from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from local import LocalError
from local.ports import free_port, is_free, require_free
from local.processes import Processes
from local.signals import Stop, StopRequestedError

REPO = Path(__file__).resolve().parents[2]
IGNORES_SIGTERM = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setpgid(0, 0)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def processes(tmp_path):
    made = Processes(Stop(), tmp_path / "logs", dict(os.environ), tmp_path)
    yield made
    made.stop([(["part", "other"], 0.1)])


def ready(component):
    return "ready" in component.last_lines()


def test_every_descendant_is_stopped_even_one_with_its_own_group_that_ignores_sigterm(processes):
    part = processes.start("part", [sys.executable, "-c", IGNORES_SIGTERM])
    assert Stop().wait_until(lambda: part.last_lines().count("ready") == 2, timeout_s=30)
    pids = processes.survivors()
    assert len(pids) == 2
    assert processes.stop([(["part"], 0.1)]) == []
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def test_a_part_that_ended_is_reported_with_the_end_of_its_log(processes):
    processes.start("other", [sys.executable, "-c", "import time; time.sleep(600)"])
    part = processes.start("part", [sys.executable, "-c", "print('first'); raise SystemExit('last words')"])
    assert Stop().wait_until(lambda: processes.ended() is not None, timeout_s=30)
    assert processes.ended() is part
    assert part.last_lines(1) == "last words"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_parts_end_when_their_starter_is_killed_outright(tmp_path):
    script = f"""
import os, pathlib, time
from local.processes import Processes
from local.signals import Stop
made = Processes(Stop(), pathlib.Path({str(tmp_path)!r}), dict(os.environ), pathlib.Path.cwd())
print(made.start("part", ["sleep", "600"]).process.pid, flush=True)
time.sleep(600)
"""
    starter = subprocess.Popen([sys.executable, "-c", script], cwd=REPO, stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    part = psutil.Process(int(starter.stdout.readline()))
    starter.kill()
    starter.wait()
    gone, _ = psutil.wait_procs([part], timeout=30)
    assert gone or part.status() == psutil.STATUS_ZOMBIE


def test_a_signal_ends_a_wait_and_a_second_one_asks_to_hurry():
    with Stop().listening() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(StopRequestedError):
            stop.wait_until(lambda: False, timeout_s=60)
        assert not stop.hurry
        signal.raise_signal(signal.SIGINT)
        assert stop.hurry


def test_signals_are_given_back_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with Stop().listening():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_wait_ends_at_its_deadline():
    assert Stop().wait_until(lambda: False, timeout_s=0.01, step_s=0.001) is False


def test_a_free_port_is_the_preferred_one_unless_it_is_taken():
    port = free_port()
    assert free_port(port) == port
    with threading_server() as taken:
        assert free_port(taken) != taken


def test_a_port_in_use_is_refused_with_one_to_use_instead():
    with (
        threading_server() as taken,
        pytest.raises(LocalError, match=rf"Port {taken} .* in use.*PORT=(\d+) make run") as refused,
    ):
        require_free("127.0.0.1", taken)
    assert is_free("127.0.0.1", int(str(refused.value).partition("PORT=")[2].split()[0]))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_this_machine_is_refused(host):
    with pytest.raises(LocalError, match="no address of this machine"):
        require_free(host, 8000)


class threading_server:  # noqa: N801
    """A listener on the loopback address; its port is the context's value."""

    def __enter__(self):
        import socketserver

        self.server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_address[1]

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
