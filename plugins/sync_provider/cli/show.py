"""How answers look: numbers, durations, values and tables. Tables are drawn on a terminal only; elsewhere they are plain text."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click

VALUE_CHARACTERS = 60


def number(count: int | None) -> str:
    """A count as people write it; what is not known is no 0.

    >>> number(1200), number(None)
    ('1,200', 'unknown')
    """
    return "unknown" if count is None else f"{count:,}"


def duration(seconds: float | None) -> str:
    """Seconds as people write them; nothing where they are not known.

    >>> duration(1.234), duration(125), duration(7384)
    ('1.2 s', '2 min 05 s', '2 h 03 min')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def moment(at: datetime | None) -> str:
    """A time in the zone of the machine, to the second, with its offset."""
    return "" if at is None else at.astimezone().isoformat(sep=" ", timespec="seconds")


def counts(counters: Mapping[str, Any]) -> str:
    """The counters that say something: those that are not 0, or not known.

    >>> counts({"read": 1200, "rejected": 0, "unchanged": None, "digest": "ab"})
    'read 1,200, unchanged unknown'
    """
    said = {
        name: count
        for name, count in counters.items()
        # ``written`` is what was inserted and updated, which is said by itself.
        if name != "written" and (count is None or (type(count) is int and count))
    }
    return ", ".join(f"{name.replace('_', ' ')} {number(count)}" for name, count in said.items())


def side_table(counters: Mapping[str, Any]) -> None:
    """Print what a two-way run counted on each side, without columns that are all 0; nothing for a one-way run."""
    sides: Mapping[str, Mapping[str, int]] = counters.get("sides") or {}
    names = [name for name in next(iter(sides.values()), {}) if any(counted[name] for counted in sides.values())]
    if names:
        rows = [[side, *(number(counted[name]) for name in names)] for side, counted in sides.items()]
        table(["", *names], rows, numbers=range(1, len(names) + 1))


def value(text: str | None, *, whole: bool = False) -> str:
    r"""One value of a record for a terminal: null, empty and missing apart, shortened, and nothing that steers the terminal.

    >>> value(None), value(""), value("null"), value("a\x1b[31m\n")
    ('null', '""', '"null"', 'a\\x1b[31m\\n')
    """
    if text is None:
        return "null"
    if text in ("", "null"):
        return f'"{text}"'
    short = text if whole or len(text) <= VALUE_CHARACTERS else f"{text[: VALUE_CHARACTERS - 1]}…"
    return "".join(_harmless(character) for character in short)


def _harmless(character: str) -> str:
    # Cc steers terminals, Cf reorders what people read, Cs cannot be written at all.
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs"):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> None:
    """Print rows under headers; the columns in ``numbers`` stand at the right."""
    if sys.stdout.isatty():
        _draw(headers, rows, numbers)
        return
    for line in table_lines(headers, rows, numbers=numbers):
        click.echo(line)


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> Iterator[str]:
    """The lines of a plain table.

    >>> list(table_lines(["name", "n"], [["a", "12"]], numbers=[1]))
    ['name   n', 'a     12']
    """
    widths = [max(len(row[at]) for row in [headers, *rows]) for at in range(len(headers))]
    for row in [headers, *rows]:
        cells = [c.rjust(w) if at in numbers else c.ljust(w) for at, (c, w) in enumerate(zip(row, widths, strict=True))]
        yield "  ".join(cells).rstrip()


def _draw(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, header in enumerate(headers):
        drawn.add_column(header, justify="right" if at in numbers else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))  # Text: a value is never read as markup
    Console(highlight=False).print(drawn)
