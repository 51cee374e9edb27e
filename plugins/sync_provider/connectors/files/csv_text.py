"""The bytes of a CSV file as UTF-8 blocks that start where a record starts. Knows encodings, not records."""

from __future__ import annotations

import codecs
import sys
from typing import Protocol

from sync_provider.connectors.files.csv_dialect import BOM, MAX_RECORD_BYTES, Dialect, count_lines
from sync_provider.core.errors import SyncDataError, Where

BLOCK_BYTES = 6 << 20


class ByteSource(Protocol):
    """What is read: named, front to back."""

    @property
    def name(self) -> str: ...

    def read(self, size_bytes: int) -> bytes: ...


class Blocks:
    """A buffer of UTF-8 over a file: `fill` it, take records off its front with `consume`.

    Args:
        source: the file.
        dialect: tells the encoding.
        block_bytes: how much to read at a time, > 0.

    After the first `fill`, ``bom`` holds the byte order mark that the file starts with, and ``written_codec`` the codec that
    writes the same bytes again after that mark.
    """

    def __init__(self, source: ByteSource, dialect: Dialect, block_bytes: int = BLOCK_BYTES) -> None:
        self._source = source
        self._codec = dialect.codec
        self._decoder = codecs.getincrementaldecoder(dialect.codec)("strict")
        self._block_bytes = block_bytes
        self._bytes_read = 0
        self.buffer = b""
        self.line = 1
        self.final = False
        self.bom = b""
        self.written_codec = dialect.codec

    def fill(self) -> bool:
        """Add the next piece of the file to the buffer; False at the end of the file.

        Raises:
            SyncDataError: a byte is not of the encoding (line and offset are told), or the record at the front of the
                buffer is longer than `MAX_RECORD_BYTES`.
        """
        if self.final:
            return False
        if len(self.buffer) >= MAX_RECORD_BYTES:
            raise SyncDataError(
                f"the record starting on this line is longer than {MAX_RECORD_BYTES >> 20} MiB",
                where=Where(file=self._source.name, line=self.line),
                hint="A quote that is never closed makes one record of the rest of the file; check the one there.",
                code="csv_record_too_long",
            )
        # Doubling keeps the work linear where a record is looked for again and again in a growing buffer.
        data = self._source.read(max(self._block_bytes, len(self.buffer), 0 if self._bytes_read else _LONGEST_MARK))
        text = self._decode(data)
        if self._bytes_read == 0:
            self.bom, self.written_codec = _mark(data, self._codec)
            text = text.removeprefix(BOM.encode())
        self._bytes_read += len(data)
        self.buffer += text
        self.final = not data
        return True

    def consume(self, size_bytes: int, lines: int) -> None:
        """Drop what was dealt with from the front of the buffer."""
        self.buffer = self.buffer[size_bytes:]
        self.line += lines

    def _decode(self, data: bytes) -> bytes:
        pending = self._decoder.getstate()[0]
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as exc:
            raise self._undecodable(exc, pending) from exc
        except UnicodeError as exc:  # utf-16 and utf-32 without the mark that they promise
            raise SyncDataError(
                f"this is no {self._codec} text: {exc}",
                where=Where(file=self._source.name),
                hint="`airflow-sync inspect FILE` finds the encoding.",
                code="csv_undecodable",
            ) from exc
        if self._codec == "utf-8" and not pending and not self._decoder.getstate()[0]:
            return data  # it has just been proved to be UTF-8
        return text.encode()

    def _undecodable(self, exc: UnicodeDecodeError, pending: bytes) -> SyncDataError:
        offset = self._bytes_read - len(pending) + exc.start
        before = exc.object[: exc.start].decode(self._codec, "replace")
        line = self.line + count_lines(self.buffer.decode() + before)
        found = exc.object[exc.start : exc.start + 1].hex()
        return SyncDataError(
            f"byte 0x{found} at offset {offset} is not {self._codec} text ({exc.reason})",
            where=Where(file=self._source.name, line=line),
            hint="Declare the file's real encoding; `airflow-sync inspect FILE` finds it.",
            code="csv_undecodable",
        )


_LONGEST_MARK = 4
_MARKS = {
    "utf-8": ((codecs.BOM_UTF8, "utf-8"),),
    "utf-8-sig": ((codecs.BOM_UTF8, "utf-8"),),
    "utf-16": ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
    "utf-16-le": ((codecs.BOM_UTF16_LE, "utf-16-le"),),
    "utf-16-be": ((codecs.BOM_UTF16_BE, "utf-16-be"),),
    "utf-32": ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
}
_UNMARKED = {"utf-8-sig": "utf-8", "utf-16": f"utf-16-{sys.byteorder[0]}e", "utf-32": f"utf-32-{sys.byteorder[0]}e"}


def _mark(data: bytes, codec: str) -> tuple[bytes, str]:
    """The byte order mark at the start of a file, and the codec of what follows it."""
    for mark, rest in _MARKS.get(codec, ()):
        if data.startswith(mark):
            return mark, rest
    return b"", _UNMARKED.get(codec, codec)


def new_file_codec(codec: str) -> tuple[bytes, str]:
    """Mark and codec for a file that we create: encodings that promise a mark get one."""
    written = _UNMARKED.get(codec, codec)
    return (BOM.encode(written) if codec in _UNMARKED else b""), written
