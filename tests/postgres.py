"""One throw-away PostgreSQL per test session, from Debian's binaries; one fresh database per test."""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

HOW_TO_INSTALL = "PostgreSQL is not installed; run: apt-get install --no-install-recommends postgresql"
_PR_SET_PDEATHSIG = 1
_numbers = itertools.count(1)


def _binaries() -> Path | None:
    """The newest directory that holds ``initdb`` and ``postgres``: Debian keeps them off PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found and (on_path := shutil.which("initdb")):
        found = [Path(on_path).resolve()]
    return found[-1].parent if found else None


def _account() -> str | None:
    """PostgreSQL refuses to run as root: the account Debian made for it, or None to run as ourselves."""
    return "postgres" if os.geteuid() == 0 else None


def _die_with_parent() -> None:
    # Without this a test run that is killed leaves its server behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers; false if it ended instead (its port was taken in between)."""
    while process.poll() is None:
        try:
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        else:
            return True
    return False


def _start(binaries: Path, data: Path) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(5):
        port = _free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "50",
        }
        with (data.parent / "log").open("ab") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=data,
                user=_account(),
                group=_account(),
                extra_groups=[] if _account() else None,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads yet that could hold a lock
            )
        if _accepts(port, process):
            return process, port
    pytest.fail(f"PostgreSQL did not start: {(data.parent / 'log').read_text()[-2000:]}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the running server, without a database."""
    with running_server() as url:
        if url is None:
            if os.environ.get("CI") == "true":
                pytest.fail(HOW_TO_INSTALL)
            pytest.skip(HOW_TO_INSTALL)
        yield url


@contextmanager
def running_server() -> Iterator[str | None]:
    """A server while the context is open: its URL, without a database; None if PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        yield None
        return
    home = Path(tempfile.mkdtemp(prefix="sync-postgres-"))
    try:
        if account := _account():
            owner = pwd.getpwnam(account)
            os.chown(home, owner.pw_uid, owner.pw_gid)
        subprocess.run(
            [
                binaries / "initdb",
                "-D",
                home / "data",
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "-N",
            ],
            check=True,
            capture_output=True,
            cwd=home,
            user=_account(),
            group=_account(),
            extra_groups=[] if _account() else None,
        )
        process, port = _start(binaries, home / "data")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)  # fast shutdown: open sessions are cut
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of a fresh database, dropped afterwards: ``postgresql://postgres@127.0.0.1:<port>/<database>``."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        yield f"{postgres_server}/{name}"
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
