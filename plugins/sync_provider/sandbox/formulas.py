"""The text of formulas: tokens, the tree that evaluation walks, and references that follow their cells."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from sync_provider.sandbox.a1 import column_name, column_number, quoted

_REFERENCE = (
    r"(?:(?P<title>'(?:[^']|'')+'|[^\W\d][\w.]*)!)?"
    r"(?:(?P<a>\$?[A-Za-z]{1,3}\$?[1-9]\d*)(?::(?P<b>\$?[A-Za-z]{1,3}(?:\$?[1-9]\d*)?))?"
    r"|(?P<c>\$?[A-Za-z]{1,3}):(?P<d>\$?[A-Za-z]{1,3})|(?P<e>\$?[1-9]\d*):(?P<f>\$?[1-9]\d*))(?![\w(!])"
)
_TOKEN = re.compile(
    rf"(?P<space>\s+)|(?P<text>\"(?:[^\"]|\"\")*\")|(?P<error>#(?:REF!|N/A|VALUE!|DIV/0!|NAME\?|NUM!))"
    rf"|(?P<reference>{_REFERENCE})|(?P<name>[^\W\d][\w.]*)|(?P<number>(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?)"
    rf"|(?P<operator><>|<=|>=|[-+*/^&=<>%(),;])",
)
_CORNER = re.compile(r"(\$?)([A-Za-z]{0,3})(\$?)(\d*)")


class FormulaError(Exception):
    """The formula cannot be read."""


class Token(NamedTuple):
    """A piece of a formula's text."""

    kind: str
    text: str


class Reference(NamedTuple):
    """Cells named in a formula, 0-based, both ends included; None for an open side."""

    title: str | None
    top: int | None
    left: int | None
    bottom: int | None
    right: int | None


def tokens(formula: str, separator: str = ",") -> list[Token]:
    """The formula after its ``=`` cut up; joined again it is the same text.

    Raises:
        FormulaError: some character has no meaning.
    """
    found, position = [], 1
    while position < len(formula):
        match = _TOKEN.match(formula, position)
        if match is None:
            raise FormulaError(formula[position:])
        kind = "reference" if match["reference"] else str(match.lastgroup)
        text = match[0]
        if kind == "number" and "," in text and separator == ",":
            text = text.partition(",")[0]
            if not text:
                kind, text = "operator", ","
        found.append(Token(kind, text))
        position += len(text)
    return found


def _corner(text: str) -> tuple[int | None, int | None]:
    match = _CORNER.fullmatch(text)
    if match is None:
        raise FormulaError(text)
    return (int(match[4]) - 1 if match[4] else None), (column_number(match[2]) if match[2] else None)


def read_reference(text: str) -> Reference:
    """What a reference token names."""
    title, mark, cells = text.rpartition("!")
    name = (title[1:-1].replace("''", "'") if title.startswith("'") else title) if mark else None
    first, _, second = cells.partition(":")
    top, left = _corner(first)
    bottom, right = _corner(second or first)
    if top is not None and bottom is not None and top > bottom:
        top, bottom = bottom, top
    if left is not None and right is not None and left > right:
        left, right = right, left
    return Reference(name, top, left, bottom, right)


Shift = Callable[[str | None, int, str], int | None]
"""New place of a row or column, given the title of its sheet, its 0-based index, and whether it is the ``only`` corner
of its reference, or the ``first`` or the ``last``. None if it is gone."""


def move_rows(formula: str, shift: Shift) -> str:
    """The formula with the rows of its references moved."""
    return _rewrite(formula, shift, rows=True)


def move_columns(formula: str, shift: Shift) -> str:
    """The formula with the columns of its references moved."""
    return _rewrite(formula, shift, rows=False)


def offset(formula: str, down: int, right: int) -> str:
    """What the formula becomes when it is copied elsewhere: references without ``$`` move along."""
    return _map_references(formula, lambda text: _offset_reference(text, down, right))


def rename_sheet(formula: str, old: str, new: str) -> str:
    """The formula after a sheet got another title."""

    def renamed(text: str) -> str:
        title, mark, cells = text.rpartition("!")
        name = title[1:-1].replace("''", "'") if title.startswith("'") else title
        return f"{quoted(new)}!{cells}" if mark and name.casefold() == old.casefold() else text

    return _map_references(formula, renamed)


def _map_references(formula: str, change: Callable[[str], str]) -> str:
    try:
        found = tokens(formula, ";" if ";" in formula else ",")
    except FormulaError:
        return formula
    return "=" + "".join(change(token.text) if token.kind == "reference" else token.text for token in found)


def _offset_reference(text: str, down: int, right: int) -> str:
    title, mark, cells = text.rpartition("!")

    def moved(match: re.Match[str]) -> str:
        column, row = match[2], match[4]
        if column and not match[1]:
            number = column_number(column) + right
            column = column_name(number) if number >= 0 else "#"
        if row and not match[3]:
            row = str(int(row) + down)
        return "#" if column == "#" or (row and int(row) < 1) else f"{match[1]}{column}{match[3]}{row}"

    corners = [_CORNER.sub(moved, part, count=1) for part in cells.split(":")]
    return "#REF!" if "#" in corners else title + mark + ":".join(corners)


def _rewrite(formula: str, shift: Shift, *, rows: bool) -> str:
    part = 4 if rows else 2

    def changed(text: str) -> str:
        reference = read_reference(text)
        start, end = (reference.top, reference.bottom) if rows else (reference.left, reference.right)
        title, mark, cells = text.rpartition("!")
        corners = cells.split(":")
        places = {"first": start, "last": end} if len(corners) > 1 else {"only": start}
        moved = [None if place is None else shift(reference.title, place, role) for role, place in places.items()]
        if any(new is None and old is not None for new, old in zip(moved, places.values(), strict=True)) or (
            len(moved) > 1 and moved[0] is not None and moved[1] is not None and moved[1] < moved[0]
        ):
            return "#REF!"
        texts = [_replace(corner, part, new) for corner, new in zip(corners, moved, strict=True)]
        return title + mark + ":".join(texts)

    return _map_references(formula, changed)


def _replace(corner: str, part: int, place: int | None) -> str:
    match = _CORNER.fullmatch(corner)
    if match is None or place is None:
        return corner
    groups = list(match.groups())
    groups[part - 1] = str(place + 1) if part == 4 else column_name(place)
    return "".join(groups)


class Node(NamedTuple):
    """A piece of the tree: ``number``, ``text``, ``bool``, ``error``, ``reference``, ``name``, ``call``, ``binary``."""

    kind: str
    value: object
    parts: tuple[Node, ...] = ()


_LEVELS = (("=", "<>", "<", ">", "<=", ">="), ("&",), ("+", "-"), ("*", "/"), ("^",))


@lru_cache(maxsize=4096)
def parse(formula: str, separator: str) -> Node:
    """The tree of a formula.

    Raises:
        FormulaError: it cannot be read.
    """
    parser = _Parser([token for token in tokens(formula, separator) if token.kind != "space"], separator)
    tree = parser.binary(0)
    if parser.rest:
        raise FormulaError(formula)
    return tree


class _Parser:
    def __init__(self, found: list[Token], separator: str) -> None:
        self.rest = found[::-1]
        self.separators = {separator, ";"}

    def peek(self) -> str:
        return self.rest[-1].text if self.rest and self.rest[-1].kind == "operator" else ""

    def take(self) -> Token:
        if not self.rest:
            raise FormulaError
        return self.rest.pop()

    def expect(self, text: str) -> None:
        if self.peek() != text:
            raise FormulaError(text)
        self.take()

    def binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek() in _LEVELS[level]:
            operator = self.take().text
            left = Node("binary", operator, (left, self.binary(level + 1)))
        return left

    def unary(self) -> Node:
        if self.peek() in {"+", "-"}:
            operator = self.take().text
            return Node("unary", operator, (self.unary(),))
        node = self.atom()
        while self.peek() == "%":
            self.take()
            node = Node("unary", "%", (node,))
        return node

    def atom(self) -> Node:
        token = self.take()
        if token.text == "(" and token.kind == "operator":
            inner = self.binary(0)
            self.expect(")")
            return inner
        if token.kind == "number":
            return Node("number", float(token.text.replace(",", ".")))
        if token.kind == "text":
            return Node("text", token.text[1:-1].replace('""', '"'))
        if token.kind == "error":
            return Node("error", token.text)
        if token.kind == "reference":
            return Node("reference", read_reference(token.text))
        if token.kind == "name":
            return self.call(token.text) if self.peek() == "(" else Node("name", token.text)
        raise FormulaError(token.text)

    def call(self, name: str) -> Node:
        self.expect("(")
        arguments: list[Node] = []
        while self.peek() != ")":
            if arguments or self.peek() in self.separators:
                if self.peek() not in self.separators:
                    raise FormulaError(name)
                self.take()
                if not arguments:
                    arguments.append(Node("blank", None))
            blank = self.peek() in self.separators or self.peek() == ")"
            arguments.append(Node("blank", None) if blank else self.binary(0))
        self.expect(")")
        return Node("call", name.upper(), tuple(arguments))
