"""A workbook being written: killed at any point, or watched by an observer, it is the whole old or the whole new one."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import openpyxl
import pytest
from contract.harness import changes
from excel_files import connector, read
from sync_provider.connectors.base import TargetColumn, WriteRequest
from sync_provider.core.schema import parse_type

COLUMNS = (TargetColumn(name="k", type=parse_type("string")), TargetColumn(name="n", type=parse_type("integer")))

WRITER = """
    import sys
    from pathlib import Path
    from contract.harness import changes
    from excel_files import connector
    from sync_provider.connectors.base import TargetColumn, WriteRequest
    from sync_provider.core.schema import parse_type
    COLUMNS = (TargetColumn(name="k", type=parse_type("string")), TargetColumn(name="n", type=parse_type("integer")))

    def wait():
        print("here", flush=True)
        sys.stdin.read()

    def stream():
        yield from changes(*(("insert", {"k": f"n{i}", "n": i}, None) for i in range(5000)), columns=COLUMNS)
        if sys.argv[1] == "stream":
            wait()

    fence = wait if sys.argv[1] == "fence" else (lambda: None)
    with connector(Path(".")) as opened:
        opened.write(WriteRequest(mode=sys.argv[2], columns=COLUMNS, key=("k",), fence=fence), stream())
"""


def write(directory: Path, mode: str, *keys: str) -> None:
    stream = changes(*(("insert", {"k": k, "n": 1}, None) for k in keys), columns=COLUMNS)
    with connector(directory) as opened:
        opened.write(WriteRequest(mode=mode, columns=COLUMNS, key=("k",)), stream)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mode", "point", "exists"),
    [
        ("append", "stream", True),
        ("replace", "fence", True),
        ("upsert", "fence", True),
        ("upsert", "stream", False),
        ("append", "fence", False),
    ],
)
def test_a_killed_writer_leaves_the_old_workbook(tmp_path: Path, mode: str, point: str, exists: bool) -> None:
    if exists:
        write(tmp_path, "append", "old")
    before = sorted(path.name for path in tmp_path.iterdir())
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), point, mode],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    assert sorted(path.name for path in tmp_path.glob("*.xlsx")) == before
    assert [row["k"] for row in read(tmp_path, path="*.xlsx").rows] == (["old"] if exists else [])
    write(tmp_path, "append", "next")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book.xlsx"]
    assert read(tmp_path).column("k") == (["old"] if exists else []) + ["next"]


def test_an_observer_sees_whole_workbooks_only(tmp_path: Path) -> None:
    write(tmp_path, "replace", "start")
    done = threading.Event()
    seen: list[int] = []

    def observe() -> None:
        while not done.is_set():
            seen.append(openpyxl.load_workbook(tmp_path / "book.xlsx").active.max_row)

    observer = threading.Thread(target=observe)
    observer.start()
    sizes = [1, 400, 3, 900]
    for size in sizes * 3:
        write(tmp_path, "replace", *(f"k{n}" for n in range(size)))
    done.set()
    observer.join()
    assert seen
    assert set(seen) <= {2, *(size + 1 for size in sizes)}
