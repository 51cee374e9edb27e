"""A file is replaced whole or not at all, whatever happens to the writer."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations import memory
from sync_provider.connectors.files.atomic import atomic_write
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.errors import SyncConnectionError, SyncDataError


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def fail_while_writing(root: FileRoot, data: bytes) -> None:
    with atomic_write(root, root.resolve("out.csv")) as file:
        file.write(data)
        raise SyncDataError("no")


OLD, NEW = b"old" * 1000, b"new!" * 500_000


@pytest.fixture
def root(tmp_path: Path) -> FileRoot:
    (tmp_path / "out.csv").write_bytes(OLD)
    return FileRoot(str(tmp_path))


def test_the_new_content_appears_at_the_end_only(root: FileRoot, tmp_path: Path) -> None:
    with atomic_write(root, root.resolve("out.csv")) as file:
        file.write(NEW)
        assert (tmp_path / "out.csv").read_bytes() == OLD
    assert (tmp_path / "out.csv").read_bytes() == NEW
    assert names_in(tmp_path) == ["out.csv"]


def test_missing_directories_are_made(root: FileRoot, tmp_path: Path) -> None:
    with atomic_write(root, root.resolve("a/b/c.csv")) as file:
        file.write(b"x")
    assert (tmp_path / "a/b/c.csv").read_bytes() == b"x"


def test_an_error_leaves_the_old_file_and_nothing_else(root: FileRoot, tmp_path: Path) -> None:
    with pytest.raises(SyncDataError, match="no"):
        fail_while_writing(root, NEW)
    assert (tmp_path / "out.csv").read_bytes() == OLD
    assert names_in(tmp_path) == ["out.csv"]


def test_the_last_check_before_the_rename_can_stop_it(root: FileRoot, tmp_path: Path) -> None:
    def lost() -> None:
        raise SyncDataError("lease lost")

    with (
        pytest.raises(SyncDataError, match="lease lost"),
        atomic_write(root, root.resolve("out.csv"), before_commit=lost) as file,
    ):
        file.write(NEW)
    assert (tmp_path / "out.csv").read_bytes() == OLD
    assert names_in(tmp_path) == ["out.csv"]


def test_permissions_stay_and_new_files_follow_the_umask(root: FileRoot, tmp_path: Path) -> None:
    (tmp_path / "out.csv").chmod(0o640)
    for name in ("out.csv", "new.csv"):
        with atomic_write(root, root.resolve(name)) as file:
            file.write(b"x")
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o640
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "new.csv").stat().st_mode == plain.stat().st_mode


def test_a_link_stays_a_link(root: FileRoot, tmp_path: Path) -> None:
    (tmp_path / "latest.csv").symlink_to("out.csv")
    with atomic_write(root, root.resolve("latest.csv")) as file:
        file.write(b"x")
    assert (tmp_path / "latest.csv").is_symlink()
    assert (tmp_path / "out.csv").read_bytes() == b"x"


def test_an_observer_sees_the_whole_old_or_the_whole_new_file(root: FileRoot, tmp_path: Path) -> None:
    seen: set[bytes] = set()
    done = threading.Event()

    def observe() -> None:
        while not done.is_set():
            seen.add((tmp_path / "out.csv").read_bytes())

    observer = threading.Thread(target=observe)
    observer.start()
    contents = [bytes([65 + n]) * 300_000 for n in range(20)]
    for content in contents:
        with atomic_write(root, root.resolve("out.csv")) as file:
            for start in range(0, len(content), 1000):
                file.write(content[start : start + 1000])
    done.set()
    observer.join()
    assert seen <= {OLD, *contents}


CHILD = """
import os, sys
from sync_provider.connectors.files import atomic
from sync_provider.connectors.files.root import FileRoot

root = FileRoot(sys.argv[1])
step = sys.argv[2]

def stop():
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    sys.stdin.read()

if step == "before rename":
    from pathlib import Path
    Path.replace = lambda *_: stop()
with atomic.atomic_write(root, root.resolve("out.csv")) as file:
    file.write(b"new" * 700_000)
    if step == "in the middle":
        stop()
"""


@pytest.mark.parametrize("step", ["in the middle", "before rename"])
def test_a_killed_writer_leaves_the_old_file_and_the_next_one_cleans_up(
    root: FileRoot, tmp_path: Path, step: str
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path), step],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    strays = [name for name in names_in(tmp_path) if name != "out.csv"]
    assert len(strays) == 1
    # A writer that still lives keeps its file.
    with atomic_write(root, root.resolve("out.csv")) as file:
        file.write(OLD)
    assert strays[0] in names_in(tmp_path)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()  # type: ignore[union-attr]
    child.stdout.close()
    assert (tmp_path / "out.csv").read_bytes() == OLD
    assert [f.name for f in root.glob("*")] == ["out.csv"]
    with atomic_write(root, root.resolve("out.csv")) as file:
        file.write(NEW)
    assert names_in(tmp_path) == ["out.csv"]


FULL = """
import json, resource, sys
from sync_provider.connectors.files.atomic import atomic_write
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.errors import SyncError

root = FileRoot(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
try:
    with atomic_write(root, root.resolve("out.csv")) as file:
        file.write(b"x" * 1_000_000)
        file.write(b"x" * 1_000_000)
except SyncError as error:
    print(json.dumps(error.as_dict()))
"""


def test_a_full_disk_leaves_the_old_file_and_tells_the_bytes_needed(root: FileRoot, tmp_path: Path) -> None:
    import json

    ran = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, check=True)
    error = json.loads(ran.stdout)
    assert (error["type"], error["code"], error["where"]["file"]) == ("SyncConnectionError", "disk_full", "out.csv")
    assert "2000000 bytes are needed" in error["message"]
    assert (tmp_path / "out.csv").read_bytes() == OLD
    assert names_in(tmp_path) == ["out.csv"]


def test_a_remote_file_appears_whole_and_temporaries_go(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/atomic/out.csv", OLD)
    root = FileRoot("memory://atomic")
    location = root.resolve("out.csv")
    with atomic_write(root, location) as file:
        file.write(NEW)
        assert fs.cat("/atomic/out.csv") == OLD
    assert fs.cat("/atomic/out.csv") == NEW
    with pytest.raises(SyncDataError):
        fail_while_writing(root, OLD)
    assert fs.cat("/atomic/out.csv") == NEW
    assert fs.ls("/atomic", detail=False) == ["/atomic/out.csv"]


class QuotaError(Exception):
    """As cloud libraries have them: of no common base."""


@pytest.mark.parametrize("step", ["open", "write", "close", "mv"])
def test_errors_of_a_remote_store_are_translated_and_the_old_file_stays(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/atomic/out.csv", OLD)
    root = FileRoot("memory://atomic")

    def fail(*_: object, **__: object) -> None:
        raise QuotaError("bucket secret-name is over quota")

    target = type(fs) if step in ("open", "mv") else memory.MemoryFile
    monkeypatch.setattr(target, step, fail)
    with pytest.raises(SyncConnectionError) as caught, atomic_write(root, root.resolve("out.csv")) as file:
        file.write(NEW)
    assert "QuotaError" in str(caught.value)
    assert "secret-name" not in str(caught.value)
    monkeypatch.undo()
    assert fs.cat("/atomic/out.csv") == OLD
