"""How one CSV endpoint writes records as text, checked once, and what every part of the CSV connector refuses. No I/O."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import cached_property

from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.errors import MappingError, SyncDataError, Where

MAX_FIELD_BYTES = 1 << 20
"""A larger field is a rejection: no spreadsheet holds one, and it is mostly the sign of a lost quote."""
MAX_RECORD_BYTES = 16 << 20
"""A record that does not end within this is an error: what is held in memory stays bounded."""
BOM = "\ufeff"

_NOT_TEXT = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"}
_LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True)
class Dialect:
    """Delimiter, quote and encoding of one endpoint.

    Args:
        quote: None: values are never quoted.
        codec: Python's own name of the encoding.
    """

    delimiter: str
    quote: str | None
    codec: str
    header_row: int

    @classmethod
    def of(cls, endpoint: CsvEndpoint) -> Dialect:
        """The endpoint's dialect.

        Raises:
            MappingError: the encoding is unknown, or delimiter and quote cannot be told apart from each other or a line end.
        """
        try:
            codec = codecs.lookup(endpoint.encoding)
        except (LookupError, ValueError) as exc:
            raise _no_encoding(endpoint.encoding) from exc
        # Only CPython's own flag tells text encodings from rot13, base64 and the like.
        if not getattr(codec, "_is_text_encoding", True) or codec.name.replace("-", "_") in _NOT_TEXT:
            raise _no_encoding(endpoint.encoding)
        marks = [("delimiter", endpoint.delimiter), ("quote", endpoint.quote)]
        for field, mark in marks:
            if mark is not None and mark in ("\r", "\n", "\x00", BOM):
                raise MappingError(f"{mark!r} cannot be the {field}", where=Where(field=field), code="csv_dialect")
        if endpoint.delimiter == endpoint.quote:
            raise MappingError(
                f"delimiter and quote are both {endpoint.quote!r}", where=Where(field="quote"), code="csv_dialect"
            )
        return cls(endpoint.delimiter, endpoint.quote, codec.name, endpoint.header_row)

    @property
    def is_bytewise(self) -> bool:
        """Whether records can be found by looking at single UTF-8 bytes."""
        return self.delimiter.isascii() and (self.quote is None or self.quote.isascii())

    @cached_property
    def field(self) -> re.Pattern[str]:
        """One field and what ends it: groups quoted content, plain content, end."""
        delimiter = re.escape(self.delimiter)
        end = f"({delimiter}|\r\n|\r|\n|\\Z)"
        if self.quote is None:
            return re.compile(f"(?:(?!)()|([^{delimiter}\r\n]*+)){end}")
        quote = re.escape(self.quote)
        return re.compile(
            f"(?:{quote}((?:[^{quote}]++|{quote}{quote})*+){quote}|(?!{quote})([^{delimiter}\r\n]*+)){end}"
        )


@dataclass(frozen=True, slots=True)
class Field:
    """One field as it stands in a record: its text, whether it was quoted, and its span (with quotes) in the text given."""

    text: str
    quoted: bool
    start: int
    end: int

    @property
    def is_blank(self) -> bool:
        """Empty and not quoted: null."""
        return not self.text and not self.quoted


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its fields, where its text ends (before the line end) and where the next record starts."""

    fields: list[Field]
    end: int
    next: int

    @property
    def is_blank(self) -> bool:
        """A line with nothing in it at all."""
        return len(self.fields) == 1 and self.fields[0].is_blank


def split_record(text: str, start: int, dialect: Dialect, *, line: int, final: bool) -> Record | None:
    """Split the record that starts at an offset of `text`.

    Args:
        text: decoded text.
        start: offset < len(text).
        dialect: delimiter and quote.
        line: 1-based line of the file at `start`, for errors.
        final: no more text follows.

    Returns:
        The record; None if it may go on beyond the end of `text`.

    Raises:
        SyncDataError: a quote is never closed, or text follows a closing quote. The line is that of the opening quote.
    """
    fields: list[Field] = []
    position = start
    while True:
        match = dialect.field.match(text, position)
        if match is None:
            _check_quote(text, start, position, dialect, line=line, final=final)
            return None
        quoted = match[1] is not None
        content = match[1].replace(dialect.quote * 2, dialect.quote) if quoted and dialect.quote else match[2]
        fields.append(Field(content, quoted, match.start(), match.start(3)))
        position = match.end()
        if not final and (not match[3] or (match[3] == "\r" and position == len(text))):
            return None  # the field, or its line end, may go on in what is not read yet
        if match[3] != dialect.delimiter:
            return Record(fields, match.start(3), position)


def count_lines(text: str) -> int:
    """Line ends in a text, whatever their kind."""
    return len(_LINE_END.findall(text)) if "\r" in text else text.count("\n")


def _check_quote(text: str, start: int, position: int, dialect: Dialect, *, line: int, final: bool) -> None:
    """Raise unless the quoted field at `position` may still be closed, and well, by text to come."""
    quote = re.escape(dialect.quote or "")
    closed = re.compile(f"{quote}(?:[^{quote}]++|{quote}{quote})*+{quote}").match(text, position)
    if not final and (closed is None or closed.end() == len(text)):
        return
    opened = line + count_lines(text[start:position])
    if closed is None:
        raise SyncDataError(
            "a quote opened on this line is never closed",
            where=Where(line=opened),
            hint="Close or double the quote there; `quote: null` reads files that never quote.",
            code="csv_unclosed_quote",
        )
    raise SyncDataError(
        f"text follows a closing quote (line {opened + count_lines(closed[0])})",
        where=Where(line=opened),
        hint="Double the quotes inside a quoted value; `quote: null` reads files that never quote.",
        code="csv_stray_quote",
    )


def _no_encoding(name: str) -> MappingError:
    return MappingError(
        f"{name[:60]!r} is no text encoding that Python knows",
        where=Where(field="encoding"),
        hint="Use utf-8, utf-8-sig, utf-16, cp1252, latin-1…; `airflow-sync inspect FILE` finds it.",
        code="encoding_unknown",
    )
