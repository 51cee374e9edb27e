"""The SQL of a write, as SQLite speaks it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from sync_provider.connectors.sql.statements import DELETE, UPDATE, Statements


@dataclass(frozen=True)
class SqliteStatements(Statements):
    """`Statements` for SQLite. Staged columns have the affinity of the table's, so both sides spell a value alike."""

    def staged(self, position: int, prefix: str) -> str:
        return f"s.{prefix}{position}"

    def same(self, position: int, prefix: str) -> str:
        # A column may fold case by its collation; a changed case is a change.
        return f"t.{self.column(position)} COLLATE BINARY IS s.{prefix}{position}"

    def update(self, where: str) -> str:
        sets = ", ".join(f"{self.column(i)} = s.c{i}" for i in self.changed)
        return (
            f"UPDATE {self.target} AS t SET {sets} FROM {self.stage} AS s "  # noqa: S608
            f"WHERE s.op = {UPDATE} AND {where} AND {self.joined} AND {self.all_same('o')} AND NOT ({self.all_same('c')})"
        )

    def delete(self, where: str) -> str:
        there = ", ".join(f"t.{self.column(k)}" for k in self.key)
        here = ", ".join(f"d.{self.column(k)}" for k in self.key)
        return (
            f"DELETE FROM {self.target} AS d WHERE ({here}) IN "  # noqa: S608
            f"(SELECT {there} FROM {self.stage} s JOIN {self.target} t ON {self.joined} "
            f"WHERE s.op = {DELETE} AND {where} AND {self.all_same('o')})"
        )

    def adopt(self, where: str) -> str:
        sets = ", ".join(f"o{i} = t.{self.column(i)}" for i in range(len(self.columns)))
        return f"UPDATE {self.stage} AS s SET {sets} FROM {self.target} AS t WHERE {where} AND {self.joined}"  # noqa: S608

    def prepare(self) -> str | None:
        if self.indexed or not self.key:
            return None
        schema, _, name = self.stage.partition(".")
        return f"CREATE INDEX {schema}.{name}_key ON {name} ({', '.join(f'c{k}' for k in self.key)})"
