"""Our files: staged batches, backups, baselines, validation reports. Encrypted, whole or absent, on any fsspec file system.

A path is relative, with ``/`` between its parts. A file takes its path only once it is complete; until then, and after a
crash, the old one stays. Encryption cannot tell an older version of the same path from the newest: keep
`Store.sha256` in the ledger where that matters.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from sync_provider.core.errors import SyncDataError, Where
from sync_provider.engine.crypto import Cipher
from sync_provider.engine.places import LocalPlace, Place, RemotePlace, StoredFile
from sync_provider.engine.sealed_file import SealedReader, SealedWriter

_READ_BYTES = 1024 * 1024
_LOCAL = re.compile(r"(?:file://|local://)?(/.*)")


class Store:
    """Files under one URL.

    Args:
        url: an absolute local folder, or an fsspec URL (``s3://bucket/prefix``); options of the latter come from fsspec's
            own configuration (``FSSPEC_S3_ENDPOINT_URL``…) or the machine's cloud identity.
        cipher: encrypts and decrypts.
    """

    def __init__(self, url: str, cipher: Cipher) -> None:
        self.url = url
        self._cipher = cipher
        local = _LOCAL.fullmatch(url)
        self._place: Place = LocalPlace(Path(local[1])) if local else RemotePlace(url)

    @contextlib.contextmanager
    def open_write(self, path: str) -> Iterator[SealedWriter]:
        """A binary file that takes its path when the block ends without an error, and never otherwise.

        After the block, the file's `size_bytes` counts the plain bytes.

        Raises:
            SyncConnectionError: the place cannot be written; code ``disk_full`` says how many bytes were needed.
        """
        path = _checked(path)
        sink = self._place.sink(path)
        try:
            writer = SealedWriter(sink.write, self._cipher, path)
            yield writer
            writer.seal()
            sink.commit()
        finally:
            sink.discard()

    def open_read(self, path: str) -> SealedReader:
        """A seekable binary file, also for `pyarrow.parquet`. Close it, or use it in a ``with`` block.

        Raises:
            SyncDataError: it is absent, altered, cut, belongs to another path, or its key is not configured.
            SyncConnectionError: the store cannot be reached.
        """
        path = _checked(path)
        file, stored_bytes = self._place.open(path)
        try:
            return SealedReader(file, stored_bytes, self._cipher, path)
        except BaseException:
            file.close()
            raise

    def exists(self, path: str) -> bool:
        return self._place.exists(_checked(path))

    def size(self, path: str) -> int:
        """Plain bytes."""
        with self.open_read(path) as file:
            return file.size_bytes

    def sha256(self, path: str) -> str:
        """SHA-256 of the plain bytes, hex. Reads, and so verifies, the whole file."""
        digest = hashlib.sha256()
        with self.open_read(path) as file:
            while data := file.read(_READ_BYTES):
                digest.update(data)
        return digest.hexdigest()

    def delete(self, path: str) -> bool:
        """Remove a file; False if there was none."""
        return self._place.delete(_checked(path))

    def files(self, prefix: str = "") -> Sequence[StoredFile]:
        """The files below a folder such as ``staging/x`` (all, if empty), by path. Files being written are left out."""
        found = self._place.walk(_checked(prefix.rstrip("/")) if prefix else "")
        return sorted((file for file in found if not file.unfinished), key=lambda file: file.path)

    def list(self, prefix: str = "") -> list[str]:
        """Their paths."""
        return [file.path for file in self.files(prefix)]

    def remove_unfinished(self, before: datetime) -> int:
        """Remove what crashed writers left behind before then; returns how many files. Object stores keep none."""
        left = [f for f in self._place.walk("") if f.unfinished and f.modified_at and f.modified_at < before]
        return sum(self._place.delete(file.path) for file in left)


def _checked(path: str) -> str:
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or re.search(r"[\\\x00-\x1f]", path):
        raise SyncDataError(
            "A path in the store is relative and has no empty, '.' or '..' part",
            where=Where(file=path),
            code="store_path",
        )
    return path
