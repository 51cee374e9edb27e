"""The `q` of files.list: `name = 'x' and (mimeType contains "y" or not trashed = true)`."""

from __future__ import annotations

import re

from sync_provider.sandbox.errors import ApiError
from sync_provider.sandbox.state import File

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<word>[A-Za-z][\w.]*)|(?P<sign>!=|<=|>=|[=<>()]))"
)
_FIELDS = {"name", "fullText", "mimeType", "modifiedTime", "createdTime", "trashed", "starred", "id"}


def matches(query: str, file: File, user: str) -> bool:
    """Whether a file answers a query; the empty one matches all.

    Raises:
        ApiError: 400, it cannot be read.
    """
    if not query.strip():
        return True
    tokens, position = [], 0
    while query[position:].strip():
        match = _TOKEN.match(query, position)
        if match is None:
            raise _invalid()
        tokens.append((str(match.lastgroup), match[match.lastgroup or 0]))
        position = match.end()
    reader = _Reader(tokens[::-1], file, user)
    result = reader.either()
    if reader.rest:
        raise _invalid()
    return result


def _invalid() -> ApiError:
    return ApiError(400, "Invalid Value", reason="invalid", location="q")


class _Reader:
    def __init__(self, rest: list[tuple[str, str]], file: File, user: str) -> None:
        self.rest, self.file, self.user = rest, file, user

    def word(self, *wanted: str) -> bool:
        if self.rest and self.rest[-1][1].lower() in wanted and self.rest[-1][0] != "text":
            self.rest.pop()
            return True
        return False

    def take(self, *kinds: str) -> str:
        if not self.rest or self.rest[-1][0] not in kinds:
            raise _invalid()
        return self.rest.pop()[1]

    def either(self) -> bool:
        result = self.both()
        while self.word("or"):
            result = self.both() or result
        return result

    def both(self) -> bool:
        result = self.term()
        while self.word("and"):
            result = self.term() and result
        return result

    def term(self) -> bool:
        if self.word("not"):
            return not self.term()
        if self.word("("):
            result = self.either()
            if not self.word(")"):
                raise _invalid()
            return result
        if self.rest and self.rest[-1][0] == "text":
            return self.membership()
        return self.comparison()

    def membership(self) -> bool:
        wanted = _plain(self.take("text"))
        if self.take("word") != "in":
            raise _invalid()
        where = self.take("word")
        roles = {"owners": {"owner"}, "writers": {"owner", "writer"}, "readers": {"owner", "writer", "reader"}}
        if where == "parents":
            return wanted in self.file.resource["parents"]
        if where not in roles:
            raise _invalid()
        return self.file.role(self.user if wanted == "me" else wanted) in roles[where]

    def comparison(self) -> bool:
        name = self.take("word")
        if name == "sharedWithMe":
            return self.file.role(self.user) != "owner"
        if name not in _FIELDS:
            raise _invalid()
        sign = self.take("sign", "word")
        wanted = _plain(self.take("text", "word"))
        value = self.file.resource.get("name" if name == "fullText" else name)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if sign == "contains":
            return wanted.casefold() in text.casefold()
        tests = {"=": text == wanted, "!=": text != wanted, "<": text < wanted, ">": text > wanted}
        tests |= {"<=": text <= wanted, ">=": text >= wanted}
        if sign not in tests:
            raise _invalid()
        return tests[sign]


def _plain(text: str) -> str:
    if text[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
