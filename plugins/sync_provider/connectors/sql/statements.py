"""The SQL of a write: from a staged change stream to the table, compare and write in one statement. No I/O.

The staged stream is a table with the columns ``n`` (1, 2, 3…), ``op`` (`OPS`), ``c0``… (the mapped columns) and ``o0``… (the values
that are expected to be replaced). It is called ``s`` in every statement, the destination ``t``. Every statement takes a
condition on ``s``, so that a part of the stream can be applied alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from sync_provider.connectors.sql.catalog import Column

OPS = {"insert": 1, "update": 2, "delete": 3}
INSERT, UPDATE, DELETE = OPS.values()
EVERY = "1 = 1"


def quoted(name: str) -> str:
    """A name as SQL's standard quotes it; the catalogue has been asked for it before."""
    return '"' + name.replace('"', '""') + '"'


def span(first: int, last: int) -> str:
    """The condition that picks staged records by number."""
    return f"s.n BETWEEN {int(first)} AND {int(last)}"


def among(numbers: Sequence[int]) -> str:
    """The condition that picks these staged records."""
    return f"s.n IN ({', '.join(str(int(n)) for n in numbers)})"


@dataclass(frozen=True)
class Statements(ABC):
    """Statements for one table and one column list.

    Args:
        target: the table's quoted name.
        stage: the staged stream's quoted name.
        columns: the mapped columns of the table, in the stream's order.
        key: positions of the key columns among them.
        indexed: whether the table finds records by this key through an index.
    """

    target: str
    stage: str
    columns: tuple[Column, ...]
    key: tuple[int, ...] = ()
    indexed: bool = True

    @abstractmethod
    def staged(self, position: int, prefix: str) -> str:
        """A staged value as the column's type: prefix ``c`` for the new one, ``o`` for the old."""

    @abstractmethod
    def same(self, position: int, prefix: str) -> str:
        """Whether the table's value is the staged one; null is the same as null."""

    @abstractmethod
    def update(self, where: str) -> str: ...

    @abstractmethod
    def delete(self, where: str) -> str: ...

    def column(self, position: int) -> str:
        return quoted(self.columns[position].name)

    @property
    def names(self) -> str:
        return ", ".join(quoted(column.name) for column in self.columns)

    @property
    def joined(self) -> str:
        """The destination's record of a staged key."""
        return " AND ".join(f"t.{self.column(k)} = {self.staged(k, 'c')}" for k in self.key)

    def all_same(self, prefix: str) -> str:
        return " AND ".join(self.same(i, prefix) for i in range(len(self.columns)))

    @property
    def changed(self) -> list[int]:
        """The columns that an update sets."""
        return [i for i in range(len(self.columns)) if i not in self.key] or list(self.key)

    def append(self, where: str) -> str:
        values = ", ".join(self.staged(i, "c") for i in range(len(self.columns)))
        return f"INSERT INTO {self.target} ({self.names}) SELECT {values} FROM {self.stage} s WHERE s.op = {INSERT} AND {where}"  # noqa: S608

    def insert(self, where: str) -> str:
        """Insert what is not there; a key that is there is left alone."""
        values = ", ".join(self.staged(i, "c") for i in range(len(self.columns)))
        # A left join lets a database without an index on the key build one for the statement.
        return (
            f"INSERT INTO {self.target} ({self.names}) SELECT {values} FROM {self.stage} s "  # noqa: S608
            f"LEFT JOIN {self.target} t ON {self.joined} "
            f"WHERE s.op = {INSERT} AND {where} AND t.{self.column(self.key[0])} IS NULL"
        )

    def clear(self) -> str:
        return f"DELETE FROM {self.target}"  # noqa: S608

    def count(self) -> str:
        return f"SELECT count(*) FROM {self.target}"  # noqa: S608

    def missing(self) -> str:
        """Staged records to update or insert whose key is not there now: (n,)."""
        return (
            f"SELECT s.n FROM {self.stage} s LEFT JOIN {self.target} t ON {self.joined} "  # noqa: S608
            f"WHERE s.op <> {DELETE} AND t.{self.column(self.key[0])} IS NULL"
        )

    def different(self) -> str:
        """Staged records whose key is there but not as wanted: (n, op, table's values, new values, old values)."""
        everything = [
            *(f"t.{self.column(i)}" for i in range(len(self.columns))),
            *(f"s.c{i}" for i in range(len(self.columns))),
            *(f"s.o{i}" for i in range(len(self.columns))),
        ]
        return (
            f"SELECT s.n, s.op, {', '.join(everything)} FROM {self.stage} s JOIN {self.target} t ON {self.joined} "  # noqa: S608
            f"WHERE s.op = {DELETE} OR NOT ({self.all_same('c')})"
        )

    @abstractmethod
    def adopt(self, where: str) -> str:
        """Take the table's own spelling of the old values for the staged ones."""

    def keys(self, where: str) -> str:
        """(n, key values) of staged records."""
        values = ", ".join(f"s.c{k}" for k in self.key)
        return f"SELECT s.n, {values} FROM {self.stage} s WHERE {where} ORDER BY s.n"  # noqa: S608

    def drop(self, where: str) -> str:
        """Take records out of the stage."""
        return f"DELETE FROM {self.stage} AS s WHERE {where}"  # noqa: S608

    def ambiguous(self) -> str:
        """Staged records whose key several records of the table have, or several of the stream: (n,)."""
        there = ", ".join(f"t.{self.column(k)}" for k in self.key)
        here = ", ".join(f"s.c{k}" for k in self.key)
        staged = ", ".join(self.staged(k, "c") for k in self.key)
        other = ", ".join(f"d.c{k}" for k in self.key)
        return (
            f"SELECT s.n FROM {self.stage} s WHERE ({staged}) IN "  # noqa: S608
            f"(SELECT {there} FROM {self.target} t GROUP BY {there} HAVING count(*) > 1) "
            f"OR ({here}) IN (SELECT {other} FROM {self.stage} d GROUP BY {other} HAVING count(*) > 1)"
        )

    @abstractmethod
    def prepare(self) -> str | None:
        """What helps the database find its way through a filled stage."""
