"""YAML text as plain data, with the place of every key and value. No I/O.

Scalars follow the YAML 1.2 core schema, narrowed: only ``true``, ``false``, ``null``, ``~``, nothing, whole numbers without
a leading zero and plain decimals mean anything but text. ``no``, ``on``, ``012``, ``1:30``, ``2024-01-01``, ``1_000`` and
``0o14`` stay the text that the author wrote; keys are always text. A number that Python could only hold by changing it is
an error, and so are a key given twice, a tag, a merge key and a second document.

Hostile text costs little: events are read one by one onto a stack of our own, so nothing recurses, and depth, size and the
number of nodes, aliases counted as what they stand for, are bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from sync_provider.core.errors import MappingError, MappingErrors, Where

MAX_CHARACTERS = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 40
MAX_PROBLEMS = 100
MAX_DIGITS = 38  # of a whole number: as many as a decimal(38,0) holds
FLOAT_DIGITS = 15  # as many as every double gives back unchanged

KeyPath = tuple[str | int, ...]
"""Keys and 0-based list positions from the top: ``("fields", 2, "type")``."""

Position = tuple[int, int]
"""1-based line and column."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+")
_STARTS_OTHER_THAN_TEXT = frozenset("0123456789+-tfn~")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document.

    Args:
        data: its top-level mapping, as dict, list, str, int, float, bool and None.
        file: name for messages.
        keys: where each key stands.
        values: where each value starts.
        problems: what is wrong though the text could be read to its end (keys given twice, numbers that would change).
    """

    data: dict[str, Any]
    file: str | None = None
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    values: dict[KeyPath, Position] = field(default_factory=dict)
    problems: tuple[MappingError, ...] = ()

    def depth_of(self, path: KeyPath) -> int:
        """How many leading parts of ``path`` this document holds."""
        return next((length for length in range(len(path), 0, -1) if path[:length] in self.values), 0)

    def where(self, path: KeyPath, *, at_key: bool = False) -> Where:
        """The place of a value, or of its key; for a path that is not there, of the nearest key above it."""
        depth = self.depth_of(path)
        known = path[:depth]
        wants_key = at_key or depth < len(path)
        line, column = (self.keys.get(known) if wants_key else None) or self.values.get(known, (1, 1))
        return Where(file=self.file, line=line, column=column, field=format_key_path(path) or None)


def format_key_path(path: KeyPath) -> str:
    """A path as people read it.

    >>> format_key_path(("fields", 2, "type"))
    'fields[2].type'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


_PART = re.compile(r"\[(\d+)\]|([^.\[]+)")


def parse_key_path(text: str) -> KeyPath:
    """The reverse of `format_key_path`, for keys without dots and brackets.

    >>> parse_key_path("fields[2].type")
    ('fields', 2, 'type')
    """
    return tuple(int(index) if index else key for index, key in _PART.findall(text))


def parse_yaml(text: str, *, file: str | None = None) -> Document:
    """Read one YAML document whose top is a mapping.

    Args:
        text: at most `MAX_CHARACTERS`, decoded.
        file: name for messages.

    Raises:
        MappingErrors: the text is too large, no YAML, empty, nested or aliased beyond bounds, or its top is no mapping.
    """
    return _Reader(text.removeprefix("\ufeff"), file).read()


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read yet.

    ``key`` waits for its value, which ``drop`` says to leave out; ``size`` counts nodes.
    """

    path: KeyPath
    container: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    drop: bool = False
    size: int = 1


class _Reader:
    def __init__(self, text: str, file: str | None) -> None:
        self._text = text
        self._file = file
        self._open: list[_Open] = []
        self._root: Any = None
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._keys: dict[KeyPath, Position] = {}
        self._values: dict[KeyPath, Position] = {}
        self._problems: list[MappingError] = []
        self._nodes = 0
        self._documents = 0

    def read(self) -> Document:
        if len(self._text) > MAX_CHARACTERS:
            self._fail((1, 1), f"more than {MAX_CHARACTERS:,} characters: this is no mapping")
        if unprintable := _UNPRINTABLE.search(self._text):
            position = _position(self._text, unprintable.start())
            self._fail(position, f"character U+{ord(unprintable[0]):04X} is not allowed in YAML")
        for event in self._events():
            self._take(event)
        if not isinstance(self._root, dict):
            empty = self._root is None
            self._fail(
                self._values.get((), (1, 1)),
                "the file is empty" if empty else "the top level is no set of `key: value` lines",
                hint="A mapping starts with version, id, mode, source, destination and fields.",
                code="yaml_empty" if empty else "yaml_top",
            )
        return Document(self._root, self._file, self._keys, self._values, tuple(self._problems))

    def _events(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self._text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            # The problem of an alias is seen after its star, that of an open quote at the end of the file.
            began = "alias" in (error.context or "") or "end of stream" in (error.problem or "")
            mark = (error.context_mark if began else None) or error.problem_mark or error.context_mark
            position = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self._fail(position, *_explain_syntax(error, self._text, position), cause=error)
        except yaml.YAMLError as error:
            self._fail((1, 1), f"not readable as YAML: {error}", cause=error)

    def _take(self, event: Any) -> None:
        mark = event.start_mark
        position = (mark.line + 1, mark.column + 1)
        if getattr(event, "tag", None) is not None:
            self._fail(
                position,
                f"tag {_short(event.tag)} is not allowed",
                hint="Only plain values are read; put text in quotes.",
                code="yaml_tag",
            )
        match event:
            case yaml.ScalarEvent():
                self._take_scalar(event, position)
            case yaml.MappingStartEvent():
                self._start({}, event.anchor, position)
            case yaml.SequenceStartEvent():
                self._start([], event.anchor, position)
            case yaml.CollectionEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._take_alias(str(event.anchor), position)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._fail(
                        position,
                        "a second document starts here",
                        hint="Write one mapping per file, without a further `---`.",
                        code="yaml_documents",
                    )

    def _take_scalar(self, event: Any, position: Position) -> None:
        self._count(1, position)
        top = self._open[-1] if self._open else None
        is_plain = event.implicit[0]
        if top is not None and isinstance(top.container, dict) and top.key is None:
            self._take_key(top, event.value, position, is_merge=is_plain and event.value == "<<")
            value: Any = event.value
        else:
            value = self._resolve(event.value, position) if is_plain else event.value
            self._place(value, 1, position)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1)

    def _take_key(self, top: _Open, key: str, position: Position, *, is_merge: bool) -> None:
        path = (*top.path, key)
        if is_merge:
            self._report(
                position,
                "merge keys (<<) are not read",
                path,
                hint="Write the keys out, or put what mappings share into _defaults.yaml.",
                code="yaml_merge",
            )
        elif path in self._keys:
            self._report(position, f"given twice; first on line {self._keys[path][0]}", path, code="yaml_duplicate_key")
        else:
            self._keys[path] = position
        # A value left out still gets a place of its own, so that keys inside it are not taken for repeated ones.
        top.drop = is_merge or self._keys.get(path) is not position
        top.key = f"{key} (line {position[0]}, column {position[1]})" if top.drop else key

    def _take_alias(self, anchor: str, position: Position) -> None:
        if anchor not in self._anchors:
            still_open = any(collection.anchor == anchor for collection in self._open)
            self._fail(
                position,
                f"*{_short(anchor)} {'stands inside itself' if still_open else 'names no anchor above it'}",
                hint='If it was meant as text, such as a cron expression, put it in quotes: "*/15 * * * *".',
                code="yaml_alias",
            )
        if self._waits_for_key():
            self._fail(position, "an alias cannot be a key", code="yaml_key")
        value, size = self._anchors[anchor]
        self._count(size, position)
        self._place(value, size, position)

    def _start(self, container: dict[str, Any] | list[Any], anchor: str | None, position: Position) -> None:
        self._count(1, position)
        if self._waits_for_key():
            self._fail(
                position,
                "a key must be text, not a list or a set of keys",
                hint="Put text that holds { } [ ] in quotes.",
                code="yaml_key",
            )
        if len(self._open) >= MAX_DEPTH:
            self._fail(position, f"nested more than {MAX_DEPTH} levels deep", code="yaml_depth")
        self._open.append(_Open(self._path_of_next(), container, anchor))
        self._values[self._open[-1].path] = position

    def _end(self) -> None:
        done = self._open.pop()
        if done.anchor:
            self._anchors[done.anchor] = (done.container, done.size)
        self._place(done.container, done.size, None)

    def _place(self, value: Any, size: int, position: Position | None) -> None:
        """Hang a finished value onto the collection around it; ``position`` is None where it is known already."""
        if position is not None:
            self._values[self._path_of_next()] = position
        if not self._open:
            self._root = value
            return
        top = self._open[-1]
        top.size += size
        if isinstance(top.container, list):
            top.container.append(value)
        elif top.key is not None:
            top.size += 1
            if not top.drop:
                top.container[top.key] = value
            top.key = None

    def _path_of_next(self) -> KeyPath:
        if not self._open:
            return ()
        top = self._open[-1]
        return (*top.path, len(top.container) if isinstance(top.container, list) else str(top.key))

    def _waits_for_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].container, dict) and self._open[-1].key is None

    def _count(self, nodes: int, position: Position) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._fail(
                position,
                f"more than {MAX_NODES:,} values, aliases counted as what they stand for",
                code="yaml_size",
            )

    def _resolve(self, text: str, position: Position) -> Any:
        if not text:
            return None
        if text[0] not in _STARTS_OTHER_THAN_TEXT:
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        digits = len(text.replace(".", "").lstrip("+-0"))
        if _INTEGER.fullmatch(text):
            if digits <= MAX_DIGITS:
                return int(text)
        elif _DECIMAL.fullmatch(text):
            if digits <= FLOAT_DIGITS:
                return float(text)
        else:
            return text
        self._report(
            position,
            f"a number of {digits} digits would not be kept exactly",
            self._path_of_next(),
            hint="Put it in quotes to keep every digit.",
            code="yaml_number",
        )
        return text

    def _report(self, position: Position, message: str, path: KeyPath, *, hint: str | None = None, code: str) -> None:
        where = Where(file=self._file, line=position[0], column=position[1], field=format_key_path(path))
        self._problems.append(MappingError(message, where=where, hint=hint, code=code))
        if len(self._problems) >= MAX_PROBLEMS:
            raise MappingErrors(self._problems)

    def _fail(
        self,
        position: Position,
        message: str,
        hint: str | None = None,
        *,
        code: str = "yaml_syntax",
        cause: Exception | None = None,
    ) -> NoReturn:
        where = Where(file=self._file, line=position[0], column=position[1])
        error = MappingError(message, where=where, hint=hint, code=code)
        raise MappingErrors([*self._problems, error]) from cause


_CONSTANTS = {"true": True, "false": False, "null": None, "~": None}


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _position(text: str, offset: int) -> Position:
    starts = [0, *(match.end() for match in _LINE_BREAK.finditer(text))]
    line = bisect_right(starts, offset)
    return line, offset - starts[line - 1] + 1


def _explain_syntax(error: yaml.MarkedYAMLError, text: str, position: Position) -> tuple[str, str | None]:
    """What a scanner's complaint most likely means, and what to do about it."""
    problem = error.problem or "not readable as YAML"
    context = error.context or ""
    lines = _LINE_BREAK.split(text)
    line = lines[position[0] - 1] if position[0] <= len(lines) else ""
    rest = line[position[1] - 1 :]
    if rest.startswith("\t") or "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab cannot indent YAML", "Use spaces."
    if rest[:1] in ("@", "`", "%"):
        return f"text cannot start with {rest[0]}", "Put it in quotes."
    if "alias" in context:
        return "text cannot start with *", 'Put it in quotes: "*/15 * * * *".'
    if "end of stream" in problem and "quoted scalar" in context:
        return "a quote opened here is never closed", "Close it, or leave it out."
    if "mapping values are not allowed" in problem:
        return "a `: ` is not expected here", "Check the indentation, and put text that holds `: ` in quotes."
    return f"{problem} {context}".strip(), "Check indentation, quotes and brackets up to this place."
