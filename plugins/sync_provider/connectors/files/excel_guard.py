"""Workbooks as containers, opened within limits: what is over_limits, broken or encrypted is refused before any parser sees it.

An .xlsx file is a ZIP archive of XML parts. The archive's directory is checked first (number, size and ratio of entries,
encryption, overlaps); parts are then only ever read as streams, whose real size cannot exceed the declared one and whose
CRC-32 is checked. XML is parsed with document type declarations forbidden, so no entity is ever defined, let alone expanded.

Source: ECMA-376 part 2 (packages); PKWARE APPNOTE 6.3 (ZIP).
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, BinaryIO, Self
from xml.parsers import expat

from sync_provider.core.errors import SyncDataError, Where

MAX_ENTRIES = 10_000
MAX_DIRECTORY_BYTES = 4 << 20
MAX_TOTAL_BYTES = 8 << 30
MAX_SMALL_PART_BYTES = 32 << 20
"""Parts that describe the workbook (styles, relations…), as opposed to sheets and shared strings."""
FREE_BYTES = 64 << 20
"""Uncompressed size below which the ratio does not matter: it fits in memory anyway."""
MAX_RATIO = 250
"""Repeated rows of constants reach 150; DEFLATE's own limit is 1032, and bombs come near it."""
MAX_STRINGS_RATIO = 40
"""Shared strings are all different, so they compress less, and they are the one part kept in memory."""
MAX_UNPARSED_BYTES = 16 << 20
"""One XML token (a tag, a comment) longer than this is no workbook's."""
MAX_CELL_CHARACTERS = 32_767
MAX_ROWS = 1_048_576
MAX_COLUMNS = 16_384
CHUNK_BYTES = 1 << 20

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")


def malformed(
    message: str, *, hint: str | None = None, code: str = "excel_malformed", where: Where | None = None
) -> SyncDataError:
    """The error for a workbook that is not as it should be."""
    hint = hint or "Open it in Excel or LibreOffice, save it again as .xlsx, and retry."
    return SyncDataError(message, where=where, hint=hint, code=code)


def over_limits(message: str) -> SyncDataError:
    """The error for a workbook beyond a limit that no ordinary workbook exceeds."""
    hint = "If the workbook is genuine, save it again in Excel without the unused content, or split it."
    return malformed(message, hint=hint, code="excel_limits")


def encrypted() -> SyncDataError:
    """The error for a workbook that only a password opens."""
    return malformed(
        "the workbook is protected by a password and cannot be read",
        hint="In Excel: File > Info > Protect Workbook > Encrypt with Password, empty the password, save.",
        code="excel_encrypted",
    )


def file_format(file: BinaryIO) -> str:
    """``zip`` (.xlsx, .xlsm, .xlsb, .ods) or ``ole`` (.xls), by content and not by name.

    Raises:
        SyncDataError: the file is empty, encrypted, or no workbook at all.
    """
    file.seek(0)
    head = file.read(8)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head == _OLE:
        if _mentions(file, "EncryptedPackage".encode("utf-16-le")):
            raise encrypted()
        return "ole"
    if not head:
        raise malformed("the file is empty", hint="Check how it was produced or transferred.", code="excel_empty")
    if head.lstrip()[:1] == b"<":
        raise malformed("this is HTML or XML under the name of a workbook", code="excel_not_a_workbook")
    raise malformed(
        "this is no Excel workbook",
        hint="If it holds delimited text, declare the endpoint as type: csv; otherwise save it as .xlsx.",
        code="excel_not_a_workbook",
    )


class Package:
    """The parts of a workbook, checked, read as streams.

    Args:
        file: seekable; must stay open as long as parts are read.

    Raises:
        SyncDataError: the archive is broken, encrypted or beyond the limits.
    """

    def __init__(self, file: BinaryIO) -> None:
        _check_directory(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeDecodeError, struct.error) as exc:
            raise _broken("the archive's directory is damaged") from exc
        self.entries = self._zip.infolist()
        _check_entries(self.entries)
        self._by_name = {entry.filename.lower(): entry for entry in self.entries}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._by_name

    def entry(self, name: str) -> zipfile.ZipInfo:
        """The archive's entry for a part. Part names do not distinguish case.

        Raises:
            SyncDataError: there is no such part.
        """
        try:
            return self._by_name[name.lower()]
        except KeyError:
            raise _broken(f"part {name} is missing") from None

    def open(self, name: str, *, max_bytes: int = MAX_TOTAL_BYTES) -> Part:
        """A part as a stream.

        Raises:
            SyncDataError: there is no such part, or it is larger than `max_bytes`.
        """
        entry = self.entry(name)
        if entry.file_size > max_bytes:
            raise over_limits(f"part {name} takes {entry.file_size} bytes, more than the {max_bytes} allowed")
        try:
            return Part(name, self._zip.open(entry))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, struct.error) as exc:
            raise _broken(f"part {name} is damaged") from exc

    def read(self, name: str) -> bytes:
        """A small part as a whole."""
        with self.open(name, max_bytes=MAX_SMALL_PART_BYTES) as part:
            return b"".join(part)

    def read_text(self, name: str) -> str:
        """A small part as a whole, to be changed as text.

        Raises:
            SyncDataError: it is not in UTF-8, as spreadsheet programs write.
        """
        try:
            return self.read(name).decode()
        except UnicodeDecodeError as exc:
            raise malformed(f"part {name} is not in UTF-8, and cannot be changed", code="excel_irregular") from exc


class Part:
    """One part of a workbook being read; damage is reported as a SyncDataError."""

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self.name = name
        self._stream = stream

    def read(self, size_bytes: int = CHUNK_BYTES) -> bytes:
        """The next bytes, at most `size_bytes`; none at the end."""
        try:
            return self._stream.read(size_bytes)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as exc:
            raise _broken(f"part {self.name} is damaged or cut short") from exc

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read():
            yield chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()


def inflate_all(package: Package) -> None:
    """Read every part once, so that a library that does not check sizes and CRCs itself meets no surprise.

    Raises:
        SyncDataError: some part is damaged, or larger than it declares.
    """
    for entry in package.entries:
        with package.open(entry.filename) as part:
            for _ in part:
                pass


Start = Callable[[str, dict[str, str]], None]
Named = Callable[[str], None]


def walk_xml(part: Part, start: Start, end: Named | None = None, text: Named | None = None) -> None:
    """Parse a part as XML; see `walk_steps`."""
    for _ in walk_steps(part, start, end, text):
        pass


def walk_steps(part: Part, start: Start, end: Named | None = None, text: Named | None = None) -> Iterator[None]:
    """Parse a part as XML, calling back with local names (namespaces are left out, for elements and attributes alike).

    Yields after each piece of the part, so that what the callbacks gathered can be taken.

    Raises:
        SyncDataError: the XML is not well-formed, or declares a document type or an entity.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.EntityDeclHandler = _refuse_doctype

    def started(name: str, attributes: dict[str, str]) -> None:
        start(_local(name), {_local(key): value for key, value in attributes.items()})

    parser.StartElementHandler = started
    if end is not None:
        finish = end
        parser.EndElementHandler = lambda name: finish(_local(name))
    parser.CharacterDataHandler = text
    fed = 0
    try:
        for chunk in part:
            parser.Parse(chunk, False)
            fed += len(chunk)
            if fed - parser.CurrentByteIndex > MAX_UNPARSED_BYTES:
                raise over_limits(f"part {part.name} holds one piece of markup of more than {MAX_UNPARSED_BYTES} bytes")
            yield
        parser.Parse(b"", True)
    except expat.ExpatError as exc:
        raise _broken(f"part {part.name} is no well-formed XML (line {exc.lineno})") from exc
    except (ValueError, LookupError) as exc:  # an unknown encoding
        raise _broken(f"part {part.name} is no readable XML") from exc
    yield


def is_plain_head(head: bytes) -> bool:
    """Whether what stands before some XML's content is UTF-8 without comments or a document type.

    Anything else is for the real XML parser to judge.
    """
    start = head.removeprefix(b"\xef\xbb\xbf")[:1]
    other = re.search(rb"encoding=.(?!utf-8|UTF-8)", head)
    return start == b"<" and b"<!" not in head and b"\x00" not in head and other is None


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _refuse_doctype(*_: object) -> None:
    raise malformed(
        "the workbook declares an XML document type or entity, which no spreadsheet program writes",
        hint="Do not trust this file; ask its sender for one saved by Excel or LibreOffice.",
        code="excel_hostile",
    )


def _broken(message: str) -> SyncDataError:
    return SyncDataError(
        f"the workbook is damaged: {message}",
        hint="Transfer it again, or open it in Excel or LibreOffice, repair and save it.",
        code="excel_damaged",
    )


def _mentions(file: BinaryIO, needle: bytes) -> bool:
    file.seek(0)
    tail = b""
    while chunk := file.read(CHUNK_BYTES):
        if needle in tail + chunk:
            return True
        tail = chunk[-len(needle) :]
    return False


def _check_directory(file: BinaryIO) -> None:
    """Bound the archive's directory before it is loaded: 10 million empty entries need only a few bytes each."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size - 65_535))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise _broken("its end is missing, so it was cut short or is no archive")
    _, _, _, _, entries, directory_bytes, _, _ = _END.unpack_from(tail, at)
    if at >= _END64_LOCATOR.size and tail[at - _END64_LOCATOR.size :].startswith(b"PK\x06\x07"):
        _, _, end64_at, _ = _END64_LOCATOR.unpack_from(tail, at - _END64_LOCATOR.size)
        file.seek(min(end64_at, size))
        record = file.read(_END64.size)
        if len(record) < _END64.size or not record.startswith(b"PK\x06\x06"):
            raise _broken("the archive's directory is damaged")
        fields = _END64.unpack(record)
        entries, directory_bytes = max(entries % 0xFFFF, fields[7]), max(directory_bytes % 0xFFFFFFFF, fields[8])
    if entries > MAX_ENTRIES or directory_bytes > MAX_DIRECTORY_BYTES:
        raise over_limits(f"the archive claims {entries} entries; a workbook has at most {MAX_ENTRIES}")


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MAX_ENTRIES:
        raise over_limits(f"the archive holds {len(entries)} entries; a workbook has at most {MAX_ENTRIES}")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_TOTAL_BYTES:
        raise over_limits(f"its parts take {total} bytes uncompressed, more than the {MAX_TOTAL_BYTES} allowed")
    end = 0
    seen: set[str] = set()
    for entry in sorted(entries, key=lambda e: e.header_offset):
        name = entry.filename.lower()
        if name in seen or entry.header_offset < end:
            raise over_limits(f"entry {entry.filename[:100]!r} of the archive is there twice or overlaps another")
        seen.add(name)
        end = entry.header_offset + entry.compress_size
        if entry.flag_bits & 0x1:
            raise encrypted()
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _broken(f"entry {entry.filename[:100]!r} is compressed by a method that workbooks do not use")
        _check_ratio(entry)


def _check_ratio(entry: zipfile.ZipInfo) -> None:
    strings = entry.filename.lower().endswith("sharedstrings.xml")
    ratio = MAX_STRINGS_RATIO if strings else MAX_RATIO
    if entry.file_size > FREE_BYTES and entry.file_size > ratio * max(entry.compress_size, 1):
        raise over_limits(
            f"entry {entry.filename[:100]!r} unpacks {entry.compress_size} bytes to {entry.file_size}, "
            f"as decompression bombs do (limit: {ratio} times)"
        )
