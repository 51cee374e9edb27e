"""Which files are read: by pattern, by content, once they are settled, and whole."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from contract.harness import FixedClock
from sync_provider.connectors.files.discovery import (
    FoundFile,
    TrackedFile,
    content_token,
    hash_file,
    select_files,
)
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.errors import SyncDataError

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(directory: Path, name: str, data: bytes, age: timedelta = timedelta(days=1)) -> None:
    (directory / name).write_bytes(data)
    moment = (NOW - age).timestamp()
    os.utime(directory / name, (moment, moment))


def select(directory: Path, known: frozenset[str] = frozenset(), **options: Any) -> Any:
    endpoint = CsvEndpoint.model_validate({"type": "csv", "path": "*.csv", **options})
    return select_files(FileRoot(str(directory)), endpoint, known, FixedClock(NOW))


def names(files: Any) -> list[str]:
    return [getattr(f, "name", None) or f.location.name for f in files]


def test_files_come_in_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv"):
        put(tmp_path, name, b"x")
    assert names(select(tmp_path).files) == ["a.csv", "b.csv"]


def test_a_pattern_without_matches_selects_nothing(tmp_path: Path) -> None:
    assert select(tmp_path).files == []


def test_a_plain_path_without_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SyncDataError) as caught:
        select(tmp_path, path="a.csv")
    assert caught.value.code == "file_missing"


def test_only_new_leaves_out_known_content_whatever_its_name(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", b"old")
    put(tmp_path, "copy_of_a.csv", b"old")
    put(tmp_path, "b.csv", b"new")
    found = select(tmp_path, frozenset({sha(b"old")}), only_new=True)
    assert names(found.files) == ["b.csv"]
    assert found.files[0].sha256 == sha(b"new")
    assert names(found.known) == ["a.csv", "copy_of_a.csv"]


def test_known_content_is_read_again_unless_only_new_is_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", b"old")
    assert names(select(tmp_path, frozenset({sha(b"old")})).files) == ["a.csv"]


def test_a_known_name_with_new_content_is_read(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", b"changed")
    assert names(select(tmp_path, frozenset({sha(b"old")}), only_new=True).files) == ["a.csv"]


def test_a_file_still_being_written_is_deferred(tmp_path: Path) -> None:
    put(tmp_path, "old.csv", b"x", timedelta(seconds=60))
    put(tmp_path, "young.csv", b"xy", timedelta(seconds=59))
    found = select(tmp_path, settle="PT1M")
    assert names(found.files) == ["old.csv"]
    assert [(f.name, f.deferred, f.size_bytes) for f in found.deferred] == [("young.csv", True, 2)]


def test_a_time_stamp_in_the_future_does_not_defer_for_ever(tmp_path: Path) -> None:
    # The inode itself was changed when the test wrote it, which is long before the clock's now.
    put(tmp_path, "a.csv", b"x", -timedelta(days=3650))
    assert names(select(tmp_path, settle="PT1M").files) == ["a.csv"]


def tracked(directory: Path, name: str = "a.csv", sha256: str | None = None) -> TrackedFile:
    root = FileRoot(str(directory))
    location = root.resolve(name)
    return TrackedFile(root, FoundFile(location, root.state(location), sha256))


def test_a_file_read_to_its_end_knows_its_hash(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", b"hello")
    file = tracked(tmp_path)
    assert file.read(2) == b"he"
    done = file.finish()
    assert (done.name, done.sha256, done.size_bytes, done.deferred) == ("a.csv", sha(b"hello"), 5, False)


@pytest.mark.parametrize("change", ["grows", "shrinks", "same size", "replaced", "not what was hashed"])
def test_a_file_that_changes_while_it_is_read_is_detected(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.csv"
    put(tmp_path, "a.csv", b"hello world")
    file = tracked(tmp_path, sha256=sha(b"something else") if change == "not what was hashed" else None)
    file.read(5)
    if change == "grows":
        with path.open("ab") as writer:
            writer.write(b"!")
    elif change == "shrinks":
        os.truncate(path, 7)
    elif change == "same size":
        path.write_bytes(b"HELLO WORLD")
    elif change == "replaced":
        put(tmp_path, "b.csv", b"HELLO WORLD!")
        (tmp_path / "b.csv").replace(path)
    with pytest.raises(SyncDataError) as caught:
        file.finish()
    assert caught.value.code == "file_changed"
    assert caught.value.retryable


def test_a_file_removed_while_it_is_read_is_detected(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", b"hello")
    file = tracked(tmp_path)
    (tmp_path / "a.csv").unlink()
    with pytest.raises(SyncDataError):
        file.finish()


def test_the_token_depends_on_names_and_bytes_not_on_order(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", b"1")
    put(tmp_path, "b.csv", b"2")
    one, two = (tracked(tmp_path, name).finish() for name in ("a.csv", "b.csv"))
    assert content_token([one, two]) == content_token([two, one])
    assert content_token([one]) != content_token([one, two])
    put(tmp_path, "a.csv", b"3")
    assert content_token([tracked(tmp_path).finish(), two]) != content_token([one, two])


def test_hashing_a_file_reads_all_of_it(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    put(tmp_path, "a.csv", data)
    root = FileRoot(str(tmp_path))
    assert hash_file(root, root.resolve("a.csv")) == sha(data)
