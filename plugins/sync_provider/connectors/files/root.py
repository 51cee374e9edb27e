"""The directory or URL that files must stay under, and the only place that touches the file system for reading.

A mapping names files relative to its root. Whatever could lead elsewhere is refused before anything is opened: absolute
paths, ``..``, ``~``, NUL and other control characters, percent-encoded forms of these, and symbolic links that leave the root.
Errors of the operating system and of fsspec are translated here, once.
"""

from __future__ import annotations

import errno
import glob
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from sync_provider.connectors.base import ConnectionInfo, Probe
from sync_provider.core.errors import (
    MappingError,
    SyncAuthenticationError,
    SyncConnectionError,
    SyncDataError,
    SyncError,
    Where,
)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PATTERN = re.compile(r"[*?\[]")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DECODINGS = 3
"""How often percent-encoding is undone while looking for a hidden ``..``: once by a careless server, once by a proxy, once spare."""


@dataclass(frozen=True, slots=True)
class Location:
    """One file below a root.

    Args:
        name: path relative to the root, with ``/``; what users see.
        path: the file system's own path, links resolved.
    """

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells a changed file from an unchanged one: size in bytes, times in seconds since the epoch (None: unknown)."""

    size_bytes: int
    modified: float | None
    changed: float | None = None


class FileRoot:
    """A directory (``/data``, ``file:///data``) or fsspec URL (``s3://bucket/in``) that files must stay under.

    Args:
        path_or_url: the root itself.
        options: fsspec storage options (credentials, endpoint); never shown.

    Raises:
        SyncConnectionError: the URL's protocol is not installed here.
    """

    def __init__(self, path_or_url: str, *, options: dict[str, Any] | None = None) -> None:
        url = _URL.match(path_or_url)
        self._fs: Any = None
        if url and url[0] not in ("file://", "local://"):
            self._open_remote(path_or_url, options or {})
            self.url = path_or_url.rstrip("/")
        else:
            plain = path_or_url[url.end() :] if url else path_or_url
            self._base = os.path.realpath(plain)
            self.url = self._base

    @classmethod
    def from_connection(cls, info: ConnectionInfo | None, default: str) -> FileRoot:
        """The root that a connection of type ``fs`` declares in ``extra.path``; without a connection, `default`.

        ``extra.storage_options`` goes to fsspec.

        Raises:
            MappingError: the connection is of another type or declares no path.
        """
        if info is None:
            return cls(default)
        path = info.extra.get("path")
        if info.type != "fs" or not isinstance(path, str) or not path.strip():
            raise MappingError(
                f"connection {info.id!r} (type {info.type!r}) declares no root for files",
                where=Where(field="connection"),
                hint='Use a connection of type fs with extra {"path": "/directory"}.',
                code="files_connection",
            )
        return cls(path, options=info.extra.get("storage_options"))

    @property
    def is_local(self) -> bool:
        return self._fs is None

    @property
    def file_system(self) -> Any:
        """The fsspec file system; None for a local directory."""
        return self._fs

    def resolve(self, path: str) -> Location:
        """The location of a path written in a mapping. The file need not exist.

        Raises:
            MappingError: the path could lead outside the root.
        """
        name = self._relative(path)
        if not self.is_local:
            return Location(name, f"{self._base}/{name}" if self._base else name)
        real = os.path.realpath(os.path.join(self._base, name))  # noqa: PTH118 - text in, text out
        if not Path(real).is_relative_to(self._base):
            raise _refused(path, "a symbolic link leads outside the root")
        return Location(name, real)

    def glob(self, pattern: str) -> list[Location]:
        """Files that match, sorted by name; hidden files are left out. ``**`` spans directories.

        A path without ``*``, ``?`` or ``[`` gives itself if it exists.

        Raises:
            MappingError: the pattern, or a link that it meets, leads outside the root.
            SyncConnectionError: the root cannot be reached.
        """
        name = self._relative(pattern)
        self._check_reachable()
        if not _PATTERN.search(name):
            location = self.resolve(name)
            return [location] if self.exists(location) else []
        if self.is_local:
            names = glob.glob(name, root_dir=self._base, recursive=True)  # noqa: PTH207 - Path.glob matches hidden files
            found = [self.resolve(each) for each in names]
            return sorted((f for f in found if stat.S_ISREG(_mode(f.path))), key=lambda f: f.name)
        with translating(name, "list"):
            matched = self._fs.glob(f"{self._base}/{name}" if self._base else name, detail=True)
        names = [
            str(p)[len(self._base) :].lstrip("/") for p, info in matched.items() if info.get("type") != "directory"
        ]
        return [self.resolve(each) for each in sorted(names) if not _is_hidden(each)]

    def exists(self, location: Location) -> bool:
        """Whether there is something at that place."""
        if self.is_local:
            return os.path.lexists(location.path)
        with translating(location.name, "look up"):
            self._fs.invalidate_cache()
            return bool(self._fs.exists(location.path))

    def state(self, location: Location) -> FileState:
        """Size and times now.

        Raises:
            SyncDataError: there is no such file.
        """
        with translating(location.name, "look up", missing=lambda: self._missing(location)):
            if self.is_local:
                found = os.stat(location.path)  # noqa: PTH116 - the path is text
                return FileState(found.st_size, found.st_mtime, found.st_ctime)
            self._fs.invalidate_cache()
            info = self._fs.info(location.path)
            modified = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or info.get("created")
        stamp = modified.timestamp() if hasattr(modified, "timestamp") else modified
        return FileState(int(info.get("size") or 0), float(stamp) if isinstance(stamp, (int, float)) else None)

    def probe_write(self, location: Location) -> Probe:
        """Whether we may replace or create the file; nothing is written."""
        if not self.is_local:
            return Probe(aspect="write", ok=True, detail="not checked: the store tells only when it is written to")
        folder = Path(location.path).parent
        while not folder.exists():
            folder = folder.parent
        if os.access(folder, os.W_OK | os.X_OK):
            return Probe(aspect="write", ok=True, detail="the directory may be written to")
        hint = "Give the account that runs the tasks write access to the directory: files are replaced whole."
        return Probe(
            aspect="write", ok=False, detail=f"we may not write to the directory of {location.name}", hint=hint
        )

    def open_read(self, location: Location) -> BinaryIO:
        """Open a regular file for reading, seekable.

        Raises:
            SyncDataError: there is no such file, or it is no regular file.
            SyncAuthenticationError: we may not read it.
        """
        with translating(location.name, "read", missing=lambda: self._missing(location)):
            if not self.is_local:
                return cast("BinaryIO", self._fs.open(location.path, "rb"))
            # The path is resolved: a link standing there now was put there since. A FIFO must not block us.
            descriptor = os.open(location.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise SyncDataError("this is no regular file", where=Where(file=location.name), code="file_irregular")
        return io.open(descriptor, "rb")  # noqa: UP020 - the builtin is the same; io says it takes a descriptor

    def _open_remote(self, url: str, options: dict[str, Any]) -> None:
        import fsspec

        try:
            self._fs, base = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as exc:
            protocol = url.partition("://")[0]
            raise SyncConnectionError(
                f"files under {protocol}:// cannot be reached: {exc}",
                hint=f"Install the fsspec package for {protocol}.",
                code="files_protocol",
                retryable=False,
            ) from exc
        self._base = str(base).rstrip("/")

    def _relative(self, path: str) -> str:
        """The path below the root with ``/``, after every check that needs no file system."""
        if not path.strip():
            raise _refused(path, "it is empty")
        if _URL.match(path):
            if self.is_local or not path.startswith(self.url + "/"):
                raise _refused(path, "the URL is not below the root")
            path = path[len(self.url) + 1 :]
        for decoded in _decodings(path):
            _check_segments(path, decoded)
        return "/".join(part for part in path.split("/") if part not in ("", "."))

    def _check_reachable(self) -> None:
        if self.is_local and not Path(self._base).is_dir():
            raise SyncConnectionError(
                f"the root {self._base} is no directory here",
                hint="Create or mount it, or correct extra.path of the connection (without one: [sync_provider] files_root).",
                code="files_root_missing",
            )

    def _missing(self, location: Location) -> SyncError:
        if self.is_local:
            self._check_reachable()
            folder = Path(location.path).parent
            names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
            near = get_close_matches(location.name.rsplit("/", 1)[-1], names, n=3)
        else:
            near = []
        hint = f"Did you mean {', '.join(near)}?" if near else "Check the path and the root it is relative to."
        return SyncDataError("there is no such file", where=Where(file=location.name), hint=hint, code="file_missing")


@contextmanager
def translating(name: str, action: str, missing: Any = None) -> Iterator[None]:
    """Turn any error of the operating system or of fsspec into a SyncError that names the file.

    Wrap only calls to the file system: everything else passing through would be called a connection problem.
    """
    try:
        yield
    except SyncError:
        raise
    except FileNotFoundError as exc:
        error = (
            missing()
            if missing
            else SyncDataError("there is no such file", where=Where(file=name), code="file_missing")
        )
        raise error from exc
    except PermissionError as exc:
        raise SyncAuthenticationError(
            f"we may not {action} this file",
            where=Where(file=name),
            hint="Give the account that runs the tasks access to it.",
            code="file_permission",
        ) from exc
    except IsADirectoryError as exc:
        raise SyncDataError("this is a directory, not a file", where=Where(file=name), code="file_irregular") from exc
    except OSError as exc:
        raise _os_error(exc, name, action) from exc
    except Exception as exc:  # each fsspec implementation raises errors of its own library
        raise SyncConnectionError(
            f"cannot {action} this file ({type(exc).__name__})", where=Where(file=name), code="file_access"
        ) from exc


def _os_error(exc: OSError, name: str, action: str) -> SyncError:
    if exc.errno in (errno.ELOOP, errno.ENAMETOOLONG):
        return _refused(name, exc.strerror or "the system refuses it")
    full = exc.errno in DISK_FULL
    return SyncConnectionError(
        "the disk is full" if full else f"cannot {action} this file: {exc.strerror or type(exc).__name__}",
        where=Where(file=name),
        hint="Free some space; the file there is unchanged." if full else None,
        code="disk_full" if full else "file_access",
    )


def _decodings(path: str) -> Iterator[str]:
    """The path itself and what percent-decoding makes of it, until nothing changes any more."""
    yield path
    for _ in range(_DECODINGS):
        decoded = unquote(path)
        if decoded == path:
            return
        # A decoded slash would make segments that nobody wrote.
        if decoded.count("/") > path.count("/"):
            raise _refused(path, "it holds an encoded /")
        yield decoded
        path = decoded


def _check_segments(path: str, decoded: str) -> None:
    if _CONTROL.search(decoded):
        raise _refused(path, "it holds a control character")
    if "\\" in decoded:
        raise _refused(path, "it holds a backslash; separate directories with /")
    if decoded.startswith("/"):
        raise _refused(path, "it is absolute")
    if decoded.startswith("~"):
        raise _refused(path, "~ is not expanded")
    if ".." in decoded.split("/"):
        raise _refused(path, "it holds ..")


def _refused(path: str, reason: str) -> MappingError:
    return MappingError(
        f"path {path[:200]!r} is refused: {reason}",
        where=Where(field="path"),
        hint="Write a path relative to the declared root, that stays below it.",
        code="path_outside_root",
    )


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - the path is text
    except OSError:
        return 0  # removed since it was listed


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
