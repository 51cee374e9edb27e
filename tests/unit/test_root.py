"""Nothing outside the declared root is ever opened."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_provider.connectors.base import ConnectionInfo
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.errors import MappingError, SyncAuthenticationError, SyncConnectionError, SyncDataError

ESCAPES = [
    "../secret.txt",
    "in/../../secret.txt",
    "in/..",
    "/etc/passwd",
    "//etc/passwd",
    "~/secret.txt",
    "~root/secret.txt",
    "a\x00b.csv",
    "a\nb.csv",
    "..\\secret.txt",
    "C:\\secret.txt",
    "%2e%2e/secret.txt",
    "%2E%2E%2fsecret.txt",
    "%252e%252e/secret.txt",
    "in%2f..%2f..%2fsecret.txt",
    "%2fetc/passwd",
    "%7e/secret.txt",
    "a%00b.csv",
    "file:///etc/passwd",
    "s3://bucket/secret.txt",
    "",
    "  ",
]


@pytest.fixture
def root(tmp_path: Path) -> FileRoot:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root" / "in").mkdir(parents=True)
    return FileRoot(str(tmp_path / "root"))


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_could_lead_outside_is_refused(root: FileRoot, path: str) -> None:
    for attempt in (root.resolve, root.glob):
        with pytest.raises(MappingError) as caught:
            attempt(path)
        assert caught.value.code == "path_outside_root"
        assert caught.value.hint


@given(
    st.lists(
        st.sampled_from(["..", ".", "%2e%2e", "in", "~", "/", "%2f", "\\", "a.csv", "\x00", "*", "%25", "2e"]),
        max_size=6,
    )
)
def test_whatever_resolves_lies_below_the_root(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    directory = tmp_path_factory.getbasetemp() / "anywhere"
    for joiner in ("/", ""):
        try:
            location = FileRoot(str(directory)).resolve(joiner.join(parts))
        except MappingError:
            continue
        assert Path(location.path).resolve().is_relative_to(directory.resolve())


@pytest.mark.parametrize("target", ["../secret.txt", "..", "/etc"])
def test_a_link_that_leaves_the_root_is_refused(root: FileRoot, tmp_path: Path, target: str) -> None:
    (tmp_path / "root" / "link").symlink_to(target)
    with pytest.raises(MappingError, match="symbolic link"):
        root.resolve("link")
    with pytest.raises(MappingError, match="symbolic link"):
        root.glob("l*")


def test_a_link_within_the_root_is_followed(root: FileRoot, tmp_path: Path) -> None:
    (tmp_path / "root" / "in" / "a.csv").write_text("a")
    (tmp_path / "root" / "latest.csv").symlink_to("in/a.csv")
    location = root.resolve("latest.csv")
    assert location.name == "latest.csv"
    with root.open_read(location) as file:
        assert file.read() == b"a"


def test_a_link_put_there_after_the_check_is_not_followed(root: FileRoot, tmp_path: Path) -> None:
    path = tmp_path / "root" / "a.csv"
    path.write_text("a")
    location = root.resolve("a.csv")
    path.unlink()
    path.symlink_to(tmp_path / "secret.txt")
    with pytest.raises(MappingError):
        root.open_read(location)


def test_percent_signs_that_hide_nothing_are_ordinary(root: FileRoot, tmp_path: Path) -> None:
    (tmp_path / "root" / "100%.csv").write_text("a")
    assert [f.name for f in root.glob("100%.csv")] == ["100%.csv"]


def test_patterns_give_sorted_visible_files_only(root: FileRoot, tmp_path: Path) -> None:
    base = tmp_path / "root"
    for name in ("in/b.csv", "in/a.csv", "in/.hidden.csv", "in/c.txt", "in/[x].csv"):
        (base / name).write_text("x")
    (base / "in" / "folder.csv").mkdir()
    assert [f.name for f in root.glob("in/*.csv")] == ["in/[x].csv", "in/a.csv", "in/b.csv"]
    assert [f.name for f in root.glob("**/a.csv")] == ["in/a.csv"]
    assert root.glob("in/*.xlsx") == []


def test_what_is_no_regular_file_is_refused_without_waiting(root: FileRoot, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "root" / "pipe.csv")
    for name in ("pipe.csv", "in"):
        with pytest.raises(SyncDataError):
            root.open_read(root.resolve(name))


def test_a_missing_file_names_what_is_there_instead(root: FileRoot, tmp_path: Path) -> None:
    (tmp_path / "root" / "clients.csv").write_text("a")
    with pytest.raises(SyncDataError) as caught:
        root.open_read(root.resolve("client.csv"))
    assert caught.value.code == "file_missing"
    assert "clients.csv" in (caught.value.hint or "")


def test_a_missing_root_is_a_connection_problem(tmp_path: Path) -> None:
    root = FileRoot(str(tmp_path / "unmounted"))
    for attempt in (lambda: root.glob("*.csv"), lambda: root.open_read(root.resolve("a.csv"))):
        with pytest.raises(SyncConnectionError, match="is no directory"):
            attempt()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_we_may_not_read_is_an_authentication_problem(root: FileRoot, tmp_path: Path) -> None:
    (tmp_path / "root" / "a.csv").write_text("a")
    (tmp_path / "root" / "a.csv").chmod(0)
    with pytest.raises(SyncAuthenticationError):
        root.open_read(root.resolve("a.csv"))


def test_the_root_comes_from_the_connection_or_the_default(tmp_path: Path) -> None:
    info = ConnectionInfo(id="files", type="fs", extra={"path": str(tmp_path)})
    assert FileRoot.from_connection(info, "/elsewhere").url == str(tmp_path.resolve())
    assert FileRoot.from_connection(None, str(tmp_path)).url == str(tmp_path.resolve())


@pytest.mark.parametrize(
    "info", [ConnectionInfo(id="c", type="fs"), ConnectionInfo(id="c", type="http", extra={"path": "/x"})]
)
def test_a_connection_that_declares_no_root_is_refused(info: ConnectionInfo) -> None:
    with pytest.raises(MappingError, match="declares no root"):
        FileRoot.from_connection(info, "/tmp")


def test_a_remote_root_reads_its_files_and_nothing_beside_it() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe({"/bucket/in/b.csv": b"b", "/bucket/in/a.csv": b"a", "/bucket/in/.x.csv": b"x", "/bucket/other.csv": b"o"})
    root = FileRoot("memory://bucket/in")
    assert [f.name for f in root.glob("*.csv")] == ["a.csv", "b.csv"]
    with root.open_read(root.resolve("memory://bucket/in/a.csv")) as file:
        assert file.read() == b"a"
    assert root.state(root.resolve("b.csv")).size_bytes == 1
    for path in ("../other.csv", "memory://bucket/other.csv", "memory://bucket/in/../other.csv", "/bucket/other.csv"):
        with pytest.raises(MappingError):
            root.resolve(path)
    with pytest.raises(SyncDataError):
        root.open_read(root.resolve("missing.csv"))


def test_an_unknown_protocol_says_so() -> None:
    with pytest.raises(SyncConnectionError, match="nosuch://"):
        FileRoot("nosuch://bucket")


def test_errors_never_hold_storage_options() -> None:
    root = FileRoot("memory://bucket", options={"skip_instance_cache": True, "secret_key": "hush"})
    with pytest.raises(SyncDataError) as caught:
        root.open_read(root.resolve("a.csv"))
    assert "hush" not in str(caught.value) + repr(caught.value.as_dict()) + repr(root)
