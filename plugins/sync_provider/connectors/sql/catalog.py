"""Tables and columns as a database's catalogue knows them. No I/O.

Every name that a mapping gives is looked up here first and then used as the catalogue spells it, quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sync_provider.core.errors import SyncDataError, Where
from sync_provider.core.schema import LogicalType

# What would be read as SQL if quoting ever failed has no place in the name of something that we create.
_UNFIT_TO_CREATE = re.compile(r"""["'`;\\\[\]\x00-\x1f\x7f]|--|/\*|\*/""")


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's name; ``schema`` is None where the database's default is meant."""

    schema: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What a column can hold.

    Args:
        family: text, integer, numeric, float, boolean, date, timestamp (without zone), timestamptz, json, jsonb, uuid, enum,
            any (SQLite, no affinity) or other.
        length: characters, for text.
        padded: text is padded with spaces, which then mean nothing.
        bits: 16, 32 or 64 for integers; 32 or 64 for floats.
        precision: digits in all, for numeric; None is unbounded.
        scale: digits after the point, for numeric.
        fraction: digits after the second, for times.
        zone: IANA name of the zone in which the column's times are meant, where they name none; None: they are instants.
        labels: the texts an enum allows.
    """

    family: str
    length: int | None = None
    padded: bool = False
    bits: int = 64
    precision: int | None = None
    scale: int | None = None
    fraction: int = 6
    zone: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Args:
        name: as the catalogue spells it.
        declared: its SQL type as the database prints it, safe to put into a statement.
        type: the type that a mapping would declare for it.
        storage: what it can hold.
        nullable: whether it takes NULL.
        has_default: whether it fills itself in when an insert leaves it out.
        generated: whether it refuses to be written.
    """

    name: str
    declared: str
    type: LogicalType
    storage: Storage
    nullable: bool = True
    has_default: bool = False
    generated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table or view, as of when it was looked up.

    Args:
        name: as the catalogue spells it.
        columns: in the table's order.
        unique: the column sets that a unique index covers wholly.
        exists: false for a table that is about to be created.
        writable: false for a view.
    """

    name: TableName
    columns: tuple[Column, ...]
    unique: tuple[frozenset[str], ...] = ()
    exists: bool = True
    writable: bool = True

    def is_unique(self, names: Iterable[str]) -> bool:
        """Whether no two rows can agree on all these columns."""
        wanted = frozenset(names)
        return any(columns <= wanted for columns in self.unique)


def nearest(name: str, candidates: Iterable[str]) -> str:
    """A hint that names what the user may have meant."""
    names = list(candidates)
    by_fold = {candidate.casefold(): candidate for candidate in names}
    close = [by_fold[fold] for fold in get_close_matches(name.casefold(), by_fold, n=3, cutoff=0.6)]
    if close:
        return f"Did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:20]) + ("…" if len(names) > 20 else "")
    return f"There are: {shown}." if names else "There are none."


def pick(columns: Sequence[Column], names: Iterable[str], table: str) -> list[Column]:
    """The columns of these names.

    Raises:
        SyncDataError: one is missing, or stands there twice.
    """
    known: dict[str, Column] = {}
    twice = set()
    for column in columns:
        if column.name in known:
            twice.add(column.name)
        known[column.name] = column
    found = []
    for name in names:
        if name in twice:
            raise SyncDataError(
                f"{table} has two columns named {name!r}",
                where=Where(field=name),
                hint="Give one of them another name in the query (… AS other_name).",
                code="column_twice",
            )
        if name not in known:
            raise SyncDataError(
                f"{table} has no column {name!r}",
                where=Where(field=name),
                hint=nearest(name, known),
                code="column_missing",
            )
        found.append(known[name])
    return found


def check_new_name(name: str, what: str) -> None:
    """Refuse a name for something to create that holds quotes, control characters or the marks of SQL.

    Raises:
        SyncDataError: it does, or is empty or longer than 63 bytes.
    """
    if not name.strip() or _UNFIT_TO_CREATE.search(name) or len(name.encode()) > 63:
        raise SyncDataError(
            f"{name[:80]!r} is no name for a {what} that we would create",
            hint="Use letters, digits, spaces and _, at most 63 bytes; or create it yourself first.",
            code="name_refused",
        )
