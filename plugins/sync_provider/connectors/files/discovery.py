"""Which files to read now, and whether a file stayed as it was while it was read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from sync_provider.connectors.base import Clock, SourceFile, WriteRequest
from sync_provider.connectors.files.root import FileRoot, FileState, Location, translating
from sync_provider.core.durations import parse_duration
from sync_provider.core.endpoints import FileEndpoint
from sync_provider.core.errors import SyncDataError, Where

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to read: where it is, its state when it was found, and its SHA-256 (hex) where it had to be known before reading."""

    location: Location
    state: FileState
    sha256: str | None = None


@dataclass(slots=True)
class Selection:
    """What `select_files` found, in order of names.

    Args:
        files: to be read.
        deferred: still being written; for `Reading.files`.
        known: read by this integration before, left out by ``only_new``.
    """

    files: list[FoundFile] = field(default_factory=list)
    deferred: list[SourceFile] = field(default_factory=list)
    known: list[SourceFile] = field(default_factory=list)


def select_files(root: FileRoot, endpoint: FileEndpoint, known_files: frozenset[str], clock: Clock) -> Selection:
    """Find the files behind an endpoint's path.

    A file is deferred until it has not changed for the endpoint's ``settle``. Its modification time decides; where that lies
    in the future (a wrong clock somewhere), the time at which the file system saw it change does.

    Args:
        root: where the endpoint's path is looked up.
        endpoint: its path, ``only_new`` and ``settle``.
        known_files: SHA-256 (hex) of the contents already read; used with ``only_new``.
        clock: tells how old a file is.

    Raises:
        SyncDataError: a path without wildcards names no file.
        SyncConnectionError: the root cannot be reached.
    """
    selection = Selection()
    locations = root.glob(endpoint.path)
    if not locations and not any(c in endpoint.path for c in "*?["):
        locations = [root.resolve(endpoint.path)]  # `state` says what is wrong, and what is there instead
    settle_s = parse_duration(endpoint.settle).total_seconds()
    for location in locations:
        state = root.state(location)
        if settle_s and _age_s(state, clock) < settle_s:
            selection.deferred.append(
                SourceFile(name=location.name, sha256="", size_bytes=state.size_bytes, deferred=True)
            )
            continue
        sha256 = hash_file(root, location) if endpoint.only_new else None
        if sha256 is not None and sha256 in known_files:
            selection.known.append(SourceFile(name=location.name, sha256=sha256, size_bytes=state.size_bytes))
            continue
        selection.files.append(FoundFile(location, state, sha256))
    return selection


def hash_file(root: FileRoot, location: Location) -> str:
    """SHA-256 of a file's content, hex."""
    digest = hashlib.sha256()
    with root.open_read(location) as file, translating(location.name, "read"):
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def appended_already(root: FileRoot, location: Location, request: WriteRequest) -> bool:
    """Whether an earlier try of this append, of which nobody heard, did swap its content in."""
    wanted = request.intended if request.mode == "append" else None
    return wanted is not None and root.exists(location) and hash_file(root, location) == wanted


def content_token(files: Iterable[SourceFile]) -> str:
    """One token for the content of several files: equal tokens mean equal names and equal bytes."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda f: f.name):
        digest.update(f"{file.name}\x00{file.sha256}\n".encode())
    return digest.hexdigest()


class TrackedFile:
    """A file being read from front to back: bytes are hashed as they pass, and `finish` proves that it did not change.

    Args:
        found: the file as `select_files` found it.

    Raises:
        SyncDataError: the file is gone.
    """

    def __init__(self, root: FileRoot, found: FoundFile) -> None:
        self._root = root
        self._found = found
        self._digest = hashlib.sha256()
        self._file: BinaryIO = root.open_read(found.location)
        self.bytes_read = 0

    @property
    def name(self) -> str:
        return self._found.location.name

    def read(self, size_bytes: int) -> bytes:
        """The next bytes, at most `size_bytes`; none at the end."""
        with translating(self.name, "read"):
            data = self._file.read(size_bytes)
        self._digest.update(data)
        self.bytes_read += len(data)
        return data

    def finish(self) -> SourceFile:
        """Read what is left, and check that what was read is the whole of one unchanged file.

        Raises:
            SyncDataError: the file changed meanwhile; retryable, since it may be whole next time.
        """
        while self.read(_CHUNK_BYTES):
            pass
        sha256 = self._digest.hexdigest()
        before, after = self._found.state, self._root.state(self._found.location)
        changed = (
            self.bytes_read != before.size_bytes
            or (before.size_bytes, before.modified) != (after.size_bytes, after.modified)
            or self._found.sha256 not in (None, sha256)
        )
        if changed:
            raise SyncDataError(
                "the file changed while it was being read; nothing of it was used",
                where=Where(file=self.name),
                hint="Try again when it is complete; `settle` (for instance PT1M) waits for files still being written.",
                code="file_changed",
                retryable=True,
            )
        return SourceFile(name=self.name, sha256=sha256, size_bytes=self.bytes_read)

    def close(self) -> None:
        self._file.close()


def _age_s(state: FileState, clock: Clock) -> float:
    now = clock.now().timestamp()
    if state.modified is None:
        return float("inf")  # the store keeps no times; its objects appear whole
    if state.modified > now and state.changed is not None:
        return now - state.changed
    return now - state.modified
