"""The format of the store's files: chunks of AES-256-GCM that can be read at random.

::

    header   "SPS1" · key id (8) · salt (32) · plain bytes per chunk (4, big endian)
    chunk i  its plain bytes, encrypted, and a tag (16); all chunks are full but the last, which may be shorter, and empty
             only in an empty file

Every file has its own key, derived by HKDF from the named key, the salt, and the file's path. A chunk's nonce is its index and
whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015), and its tag also covers
the header. So a chunk that was altered, moved, dropped, repeated or brought from another file or path does not decrypt, and
neither does a file cut at a chunk's end.
"""

from __future__ import annotations

import io
import secrets
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

from sync_provider.core.errors import SyncDataError, Where
from sync_provider.engine.crypto import KEY_ID_BYTES, TAG_BYTES, Cipher

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MAGIC = b"SPS1"
_SALT_BYTES = 32
_HEADER = struct.Struct(f">4s{KEY_ID_BYTES}s{_SALT_BYTES}sI")
CHUNK_BYTES = 256 * 1024
_MAX_CHUNK_BYTES = 16 * 1024 * 1024
_CACHED_CHUNKS = 4
_PEEK_BYTES = 8192


class SealedWriter(io.RawIOBase):
    """Encrypts what is written into a sink; `seal` writes the last chunk, after which `size_bytes` is final.

    Args:
        sink: takes the encrypted bytes, in order.
        cipher: its first key is used.
        path: what the file is bound to.
    """

    def __init__(self, sink: Callable[[bytes], Any], cipher: Cipher, path: str, chunk_bytes: int = CHUNK_BYTES) -> None:
        super().__init__()
        salt = secrets.token_bytes(_SALT_BYTES)
        self._header = _HEADER.pack(_MAGIC, cipher.key_id, salt, chunk_bytes)
        self._gcm = _file_cipher(cipher, cipher.key_id, salt, path)
        self._sink = sink
        self._chunk_bytes = chunk_bytes
        self._pending = bytearray()
        self._index = 0
        self.size_bytes = 0
        sink(self._header)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        view = memoryview(data).cast("B")
        self.size_bytes += len(view)
        start = 0
        # A full chunk stays pending until more follows: only then is it known not to be the last.
        while len(self._pending) + len(view) - start > self._chunk_bytes:
            take = self._chunk_bytes - len(self._pending)
            if self._pending:
                self._pending += view[start : start + take]
                self._emit(self._pending, last=False)
                self._pending = bytearray()
            else:
                self._emit(view[start : start + take], last=False)
            start += take
        self._pending += view[start:]
        return len(view)

    def tell(self) -> int:
        return self.size_bytes

    def seal(self) -> None:
        self._emit(self._pending, last=True)
        self._pending = bytearray()
        self.close()

    def _emit(self, plain: bytearray | memoryview, *, last: bool) -> None:
        self._sink(self._gcm.encrypt(_nonce(self._index, last), plain, self._header))
        self._index += 1


class SealedReader(io.RawIOBase):
    """Decrypts at random from a seekable file. The last chunk is checked at once, so that a cut file never opens.

    Args:
        source: the encrypted file; closed with this one.
        size_bytes: its size.
        path: what it must be bound to.

    Raises:
        SyncDataError: on opening or on any read, when something does not decrypt; no byte of that chunk is given.
    """

    def __init__(self, source: BinaryIO, size_bytes: int, cipher: Cipher, path: str) -> None:
        super().__init__()
        self._source = source
        self._path = path
        self._header = source.read(_HEADER.size)
        if len(self._header) != _HEADER.size:
            raise self._damaged("was cut")
        magic, key_id, salt, chunk_bytes = _HEADER.unpack(self._header)
        self._chunk_bytes: int = chunk_bytes
        if magic != _MAGIC or not 0 < self._chunk_bytes <= _MAX_CHUNK_BYTES:
            raise self._damaged("is no file of the store")
        try:
            self._gcm = _file_cipher(cipher, key_id, salt, path)
        except SyncDataError as error:
            raise error.at(file=path) from None
        sealed = size_bytes - _HEADER.size
        self._chunks = -(-sealed // (self._chunk_bytes + TAG_BYTES))
        self.size_bytes: int = sealed - self._chunks * TAG_BYTES
        if self._chunks < 1 or self.size_bytes < 0:
            raise self._damaged("was cut")
        self._position = 0
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._chunk(self._chunks - 1)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError(f"seek before the start: {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Up to ``size`` bytes; fewer only at the end."""
        if self.closed:
            raise ValueError("read of a closed file")
        rest = max(0, self.size_bytes - self._position)
        wanted = rest if size is None or size < 0 else min(size, rest)
        parts: list[bytes | memoryview] = []
        while wanted > 0:
            index, start = divmod(self._position, self._chunk_bytes)
            chunk = self._chunk(index)
            part = chunk if start == 0 and len(chunk) <= wanted else memoryview(chunk)[start : start + wanted]
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def peek(self, size: int = 0) -> bytes:  # noqa: ARG002
        """Some bytes from here on without moving; with it, reading by lines does not go byte by byte."""
        index, start = divmod(self._position, self._chunk_bytes)
        return self._chunk(index)[start : start + _PEEK_BYTES] if self._position < self.size_bytes else b""

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()

    def _chunk(self, index: int) -> bytes:
        from cryptography.exceptions import InvalidTag

        if (cached := self._cache.get(index)) is not None:
            self._cache.move_to_end(index)
            return cached
        sealed_bytes = self._chunk_bytes + TAG_BYTES
        self._source.seek(_HEADER.size + index * sealed_bytes)
        last = index == self._chunks - 1
        try:
            plain = self._gcm.decrypt(_nonce(index, last), self._source.read(sealed_bytes), self._header)
        except InvalidTag as exc:
            raise self._damaged("was altered, cut, or belongs elsewhere") from exc
        self._cache[index] = plain
        if len(self._cache) > _CACHED_CHUNKS:
            self._cache.popitem(last=False)
        return plain

    def _damaged(self, what: str) -> SyncDataError:
        return SyncDataError(
            f"The stored file {what}",
            where=Where(file=self._path),
            hint="Clear the run from `extract`; restore a backup if this file was one.",
            code="store_damaged",
        )


def _nonce(index: int, last: bool) -> bytes:
    return index.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _file_cipher(cipher: Cipher, key_id: bytes, salt: bytes, path: str) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(cipher.derive(b"sync_provider store\0" + path.encode(), salt=salt, key_id=key_id))
