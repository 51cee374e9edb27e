"""Replacing a file so that an observer sees the whole old content or the whole new one, never anything between.

A temporary file in the same directory is written, flushed to disk, renamed over the old one, and the directory is flushed. A
killed writer leaves a temporary file whose lock died with it: the next writer of the same file removes it. Its name starts with
a dot and ends in ``.sync-tmp``, so patterns never find it.

Source: rename(2) and fsync(2); the directory itself must be flushed for the rename to survive a power cut.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

from sync_provider.connectors.files.root import DISK_FULL, FileRoot, Location, translating
from sync_provider.core.errors import SyncConnectionError, Where

_SUFFIX = ".sync-tmp"
_BUFFER_BYTES = 1 << 20


@contextmanager
def atomic_write(
    root: FileRoot, location: Location, *, before_commit: Callable[[], None] = lambda: None
) -> Iterator[BinaryIO]:
    """Give a binary file that becomes `location` when the block ends without an error; otherwise nothing has changed.

    For a local root the file's ``name`` is the path of the temporary file, for libraries that insist on writing to a path.

    Args:
        root: where the file belongs.
        location: the file to replace or create; missing directories are made.
        before_commit: called when all is written, just before the rename; raises to give up (a lost lease).

    Raises:
        SyncConnectionError: the disk is full (the message tells the bytes needed), or the file system failed.
        SyncAuthenticationError: we may not write there.
    """
    if root.is_local:
        with _local(location, before_commit) as file:
            yield file
    else:
        with _remote(root, location, before_commit) as file:
            yield file


@contextmanager
def _local(location: Location, before_commit: Callable[[], None]) -> Iterator[BinaryIO]:
    target = Path(location.path)
    with translating(location.name, "write"):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_strays(target)
        temporary = target.with_name(f".{target.name[:180]}.{uuid4().hex}{_SUFFIX}")
        raw = _CheckedFile(location.name, temporary)
    try:
        file = io.BufferedWriter(raw, _BUFFER_BYTES)
        yield cast("BinaryIO", file)
        with translating(location.name, "write"):
            if not file.closed:
                file.flush()
            _flush_to_disk(temporary)
            _copy_mode(target, temporary)
        before_commit()
        with translating(location.name, "write"):
            temporary.replace(target)
            _flush_to_disk(target.parent)
    finally:
        with contextlib.suppress(OSError, SyncConnectionError):
            raw.close()
        temporary.unlink(missing_ok=True)


@contextmanager
def _remote(root: FileRoot, location: Location, before_commit: Callable[[], None]) -> Iterator[BinaryIO]:
    folder, _, name = location.path.rpartition("/")
    temporary = f"{folder}/.{name}.{uuid4().hex}{_SUFFIX}" if folder else f".{name}.{uuid4().hex}{_SUFFIX}"
    fs = root.file_system
    file: Any = None
    try:
        with translating(location.name, "write"):
            if folder:
                fs.makedirs(folder, exist_ok=True)
            raw = _RemoteFile(location.name, fs.open(temporary, "wb"))
        file = io.BufferedWriter(raw, _BUFFER_BYTES)
        yield cast("BinaryIO", file)
        file.close()
        before_commit()
        with translating(location.name, "write"):
            fs.mv(temporary, location.path)
    except BaseException:
        with contextlib.suppress(Exception):
            file.close()
        with contextlib.suppress(Exception):
            fs.rm(temporary)
        raise


class _CheckedFile(io.FileIO):
    """A temporary file, locked while it is open, whose failing writes tell how much space was needed."""

    def __init__(self, shown_name: str, path: Path) -> None:
        super().__init__(path, "xb+")
        self._shown_name = shown_name
        fcntl.flock(self.fileno(), fcntl.LOCK_EX)

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as exc:
            if exc.errno not in DISK_FULL:
                raise
            written = self.tell()
            free = shutil.disk_usage(Path(os.fsdecode(self.name)).parent).free
            raise SyncConnectionError(
                f"the disk is full: at least {written + memoryview(data).nbytes} bytes are needed, {written} were written, "
                f"{free} are free",
                where=Where(file=self._shown_name),
                hint="Free some space; the file there is unchanged.",
                code="disk_full",
            ) from exc


class _RemoteFile(io.RawIOBase):
    """An fsspec file whose failures are SyncErrors, whatever library they come from."""

    def __init__(self, shown_name: str, file: Any) -> None:
        self._shown_name = shown_name
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with translating(self._shown_name, "write"):
            self._file.write(bytes(data))
        return memoryview(data).nbytes

    def close(self) -> None:
        if not self.closed:
            super().close()
            with translating(self._shown_name, "write"):
                self._file.close()


def _remove_strays(target: Path) -> None:
    """Remove what killed writers of the same file left behind; a live writer still holds its lock."""
    prefix = f".{target.name[:180]}."
    for entry in os.scandir(target.parent):
        if not (entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX)):
            continue
        with contextlib.suppress(OSError), open(entry.path, "rb") as stray:  # noqa: PTH123 - entry.path is text
            fcntl.flock(stray.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(entry.path)  # noqa: PTH108 - entry.path is text


def _copy_mode(target: Path, temporary: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
