"""Where the store's bytes lie: a local folder, or an object store through fsspec. Knows nothing of encryption.

Both promise the same: a file written through a `Sink` takes its name whole, on `commit`, or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from sync_provider.core.errors import SyncAuthenticationError, SyncConnectionError, SyncDataError, SyncError, Where

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.unfinished")
# Held in memory while uploading; S3 takes 10,000 parts, hence 80 GB a file.
_PART_BYTES = 8 * 1024 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file of the store: its path, size as stored (encrypted) in bytes, and time of writing (UTC) where known."""

    path: str
    stored_bytes: int
    modified_at: datetime | None

    @property
    def unfinished(self) -> bool:
        """Whether it is what a writer that crashed left behind."""
        return _TEMPORARY.fullmatch(self.path.rpartition("/")[2]) is not None


class Sink(Protocol):
    """A file being written."""

    def write(self, data: bytes) -> None: ...

    def commit(self) -> None: ...

    def discard(self) -> None:
        """Forget what was written; nothing after `commit`."""
        ...


class Place(Protocol):
    """A folder of files. Paths are relative and already checked."""

    def sink(self, path: str) -> Sink: ...

    def open(self, path: str) -> tuple[BinaryIO, int]:
        """The file, seekable, and its size in bytes."""
        ...

    def exists(self, path: str) -> bool: ...

    def delete(self, path: str) -> bool: ...

    def walk(self, folder: str) -> Iterator[StoredFile]: ...


class LocalPlace:
    """A folder of this machine, private to its user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def sink(self, path: str) -> Sink:
        with translated(path):
            return _LocalSink(self._folder, path)

    def open(self, path: str) -> tuple[BinaryIO, int]:
        with translated(path):
            file = (self._folder / path).open("rb", buffering=0)
            return cast("BinaryIO", file), os.fstat(file.fileno()).st_size

    def exists(self, path: str) -> bool:
        return (self._folder / path).is_file()

    def delete(self, path: str) -> bool:
        file = self._folder / path
        with translated(path):
            try:
                file.unlink()
            except FileNotFoundError:
                return False
        for folder in file.parents:
            if folder == self._folder:
                break
            try:
                folder.rmdir()
            except OSError:  # not empty, or somebody just put a file there
                break
        return True

    def walk(self, folder: str) -> Iterator[StoredFile]:
        for parent, _, names in os.walk(self._folder / folder):
            for name in names:
                file = Path(parent, name)
                with contextlib.suppress(FileNotFoundError):  # removed while we walk
                    stat = file.stat()
                    yield StoredFile(
                        path=file.relative_to(self._folder).as_posix(),
                        stored_bytes=stat.st_size,
                        modified_at=datetime.fromtimestamp(stat.st_mtime, UTC),
                    )


class _LocalSink:
    """Temporary file beside the target, synced, then renamed over it."""

    def __init__(self, root: Path, path: str) -> None:
        self._path = path
        self._target = root / path
        self._temporary = self._target.with_name(f".{secrets.token_hex(8)}.unfinished")
        self._written_bytes = 0
        self._target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor: int | None = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, data: bytes) -> None:
        assert self._descriptor is not None
        view = memoryview(data)
        try:
            while view:
                done = os.write(self._descriptor, view)
                self._written_bytes += done
                view = view[done:]
        except OSError as exc:
            raise self._failure(exc, len(view)) from exc

    def commit(self) -> None:
        assert self._descriptor is not None
        try:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
            self._temporary.replace(self._target)
            _sync_folder(self._target.parent)
        except OSError as exc:
            raise self._failure(exc, 0) from exc

    def discard(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._temporary.unlink(missing_ok=True)

    def _failure(self, exc: OSError, missing_bytes: int) -> SyncError:
        if exc.errno not in _NO_ROOM:
            return translate(exc, self._path)
        free = shutil.disk_usage(self._target.parent).free
        return SyncConnectionError(
            f"No room: {self._written_bytes:,} bytes were written and at least {missing_bytes:,} more are needed,"
            f" {free:,} are free; the file that was there is untouched",
            where=Where(file=str(self._target)),
            hint="Free space or raise the quota, then run again.",
            code="disk_full",
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RemotePlace:
    """An object store, or another file system that fsspec knows."""

    def __init__(self, url: str) -> None:
        import fsspec

        with translated(url):
            self._fs, root = fsspec.core.url_to_fs(url)
        self._root = root.rstrip("/")

    def sink(self, path: str) -> Sink:
        with translated(path):
            return _RemoteSink(self._fs, self._full(path), path)

    def open(self, path: str) -> tuple[BinaryIO, int]:
        with translated(path):
            # Chunks are cached decrypted: a second cache of encrypted bytes would only cost memory.
            file = self._fs.open(self._full(path), "rb", cache_type="readahead", block_size=1024 * 1024)
            return file, int(file.size)

    def exists(self, path: str) -> bool:
        with translated(path):
            self._fs.invalidate_cache()
            return bool(self._fs.isfile(self._full(path)))

    def delete(self, path: str) -> bool:
        with translated(path):
            # S3 does not say whether there was anything to remove.
            if not self.exists(path):
                return False
            self._fs.rm_file(self._full(path))
            return True

    def walk(self, folder: str) -> Iterator[StoredFile]:
        with translated(folder):
            self._fs.invalidate_cache()
            found = self._fs.find(self._full(folder) if folder else self._root, detail=True)
        skip = len(self._fs._strip_protocol(self._root)) + 1  # noqa: SLF001  fsspec has no public name for it
        for name, info in found.items():
            yield StoredFile(path=name[skip:], stored_bytes=info["size"], modified_at=_modified(info))

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"


class _RemoteSink:
    """An upload completed on `commit` where the file system can hold one open; else another name, moved at the end."""

    def __init__(self, fs: Any, target: str, path: str) -> None:
        self._fs = fs
        self._path = path
        self._target = target
        self._done = False
        self._temporary: str | None = None
        if _holds_uploads(fs):
            self._file = fs.open(target, "wb", block_size=_PART_BYTES, autocommit=False)
        else:
            self._temporary = f"{target.rpartition('/')[0]}/.{secrets.token_hex(8)}.unfinished"
            self._file = fs.open(self._temporary, "wb")

    def write(self, data: bytes) -> None:
        with translated(self._path):
            self._file.write(data)

    def commit(self) -> None:
        with translated(self._path):
            self._file.close()
            if self._temporary:
                self._fs.mv(self._temporary, self._target)
            else:
                self._file.commit()
        self._done = True

    def discard(self) -> None:
        if self._done:
            return
        self._done = True
        # The upload is being given up: whatever goes wrong now must not hide why.
        with contextlib.suppress(Exception):
            if self._temporary:
                self._file.close()
                self._fs.rm_file(self._temporary)
            else:
                self._file.discard()


def _holds_uploads(fs: Any) -> bool:
    """Whether a file closed but not committed stays invisible (S3, GCS). Others ignore ``autocommit``."""
    return not {"s3", "gs"}.isdisjoint([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)


def _modified(info: dict[str, Any]) -> datetime | None:
    """Each file system has its own name for it."""
    for name in ("LastModified", "last_modified", "updated", "mtime", "created"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif isinstance(value, int | float):
            value = datetime.fromtimestamp(value, UTC)
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return None


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn what file systems raise into SyncErrors about ``path``."""
    try:
        yield
    except SyncError:
        raise
    except Exception as exc:  # each cloud library has exceptions of its own, with no common base
        raise translate(exc, path) from exc


def translate(exc: Exception, path: str) -> SyncError:
    """The SyncError for one exception of a file system."""
    where = Where(file=path)
    if isinstance(exc, FileNotFoundError):
        return SyncDataError(
            "The store has no such file (any more)",
            where=where,
            hint="It was removed after staging_retention: clear the run from `extract`.",
            code="store_missing",
        )
    if isinstance(exc, PermissionError):
        return SyncAuthenticationError(
            "The store refuses access",
            where=where,
            hint="Let the user that runs Airflow read and write [sync_provider] store_url.",
            code="store_refused",
        )
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
    return SyncConnectionError(
        f"The store cannot be used: {reason}",
        where=where,
        hint="Check [sync_provider] store_url and that this machine reaches it.",
        code="store_unreachable",
    )
