"""The SQL of a write, as PostgreSQL speaks it. No I/O.

Under READ COMMITTED a statement that meets a record changed meanwhile looks at it again before it writes: comparing in the
``WHERE`` of the very ``UPDATE`` or ``DELETE`` leaves no gap (https://www.postgresql.org/docs/current/transaction-iso.html).
"""

from __future__ import annotations

from dataclasses import dataclass

from sync_provider.connectors.sql.statements import DELETE, UPDATE, Statements


@dataclass(frozen=True)
class PostgresStatements(Statements):
    """`Statements` for PostgreSQL.

    Args:
        staged_types: SQL types of the staged columns.
    """

    staged_types: tuple[str, ...] = ()

    def staged(self, position: int, prefix: str) -> str:
        value = f"s.{prefix}{position}"
        declared = self.columns[position].declared
        return value if declared == self.staged_types[position] else f"CAST({value} AS {declared})"

    def same(self, position: int, prefix: str) -> str:
        there = f"t.{self.column(position)}"
        # json has no equality, and citext's ignores case: both are compared as text.
        if self.columns[position].storage.family == "json" or self.columns[position].declared == "citext":
            return f"CAST({there} AS text) IS NOT DISTINCT FROM s.{prefix}{position}"
        return f"{there} IS NOT DISTINCT FROM {self.staged(position, prefix)}"

    def update(self, where: str) -> str:
        sets = ", ".join(f"{self.column(i)} = {self.staged(i, 'c')}" for i in self.changed)
        return (
            f"UPDATE {self.target} AS t SET {sets} FROM {self.stage} AS s "  # noqa: S608
            f"WHERE s.op = {UPDATE} AND {where} AND {self.joined} AND {self.all_same('o')} AND NOT ({self.all_same('c')})"
        )

    def delete(self, where: str) -> str:
        return (
            f"DELETE FROM {self.target} AS t USING {self.stage} AS s "  # noqa: S608
            f"WHERE s.op = {DELETE} AND {where} AND {self.joined} AND {self.all_same('o')}"
        )

    def different(self) -> str:
        # The records are looked at twice, here and when they are written: they must hold still in between.
        return super().different() + " FOR UPDATE OF t"

    def adopt(self, where: str) -> str:
        sets = ", ".join(f"o{i} = CAST(t.{self.column(i)} AS {self.staged_types[i]})" for i in range(len(self.columns)))
        return f"UPDATE {self.stage} AS s SET {sets} FROM {self.target} AS t WHERE {where} AND {self.joined}"  # noqa: S608

    def prepare(self) -> str | None:
        # Temporary tables are never analysed on their own, and joins are planned by their statistics.
        return f"ANALYZE {self.stage}"
