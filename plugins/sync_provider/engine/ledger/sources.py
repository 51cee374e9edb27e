"""What is known of the systems at both ends: a source's content token, and the number behind a tab's title."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from sync_provider.engine.ledger.tables import runs, sources, tabs

if TYPE_CHECKING:
    from sync_provider.engine.ledger.database import Database


class Sources:
    """The content token of each source as of the run that last brought all of it in; `Runs.finish` moves it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unchanged_since(self, run_id: str, token: str) -> str | None:
        """The run that has brought in what this one would read, under the same mapping; None if there is none.

        None too for a run that was over before: who clears it wants it done again.
        """
        query = (
            sa.select(sources.c.run_id)
            .join(
                runs,
                sa.and_(runs.c.mapping_id == sources.c.mapping_id, runs.c.mapping_sha256 == sources.c.mapping_sha256),
            )
            .where(runs.c.id == run_id, runs.c.concluded.is_(None), sources.c.token == token)
        )
        with self._database.read() as connection:
            return connection.scalar(query)

    def move(
        self, connection: sa.Connection, run: sa.Row[tuple[object, ...]], token: str | None, read_number: int
    ) -> None:
        """Remember the token, or with None that the source must be read; not over a run that read later.

        Part of a write transaction.
        """
        mine = sa.and_(sources.c.mapping_id == run.mapping_id, sources.c.read_number <= read_number)
        if token is None:
            connection.execute(sources.delete().where(mine))
            return
        fresh = {"mapping_sha256": run.mapping_sha256, "token": token, "run_id": run.id, "read_number": read_number}
        statement = self._database.insert(sources).values(mapping_id=run.mapping_id, **fresh)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=[sources.c.mapping_id], set_=fresh, where=sources.c.read_number <= read_number
            )
        )


class Tabs:
    """Title → number of the tabs that integrations use: a tab that was renamed is found again by its number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, mapping_id: str, side: str, spreadsheet: str) -> SideTabs:
        """The tabs of one side of an integration, in one spreadsheet."""
        return SideTabs(self._database, {"mapping_id": mapping_id, "side": side, "spreadsheet": spreadsheet})


class SideTabs:
    """`connectors.base.TabMemory` in the ledger."""

    def __init__(self, database: Database, place: dict[str, str]) -> None:
        self._database, self._place = database, place

    def number(self, title: str) -> int | None:
        """The number that stood behind the title when it was last seen."""
        mine = [tabs.c[name] == value for name, value in {**self._place, "title": title}.items()]
        with self._database.read() as connection:
            return connection.scalar(sa.select(tabs.c.sheet_id).where(*mine))

    def remember(self, title: str, number: int) -> None:
        """Note it; nothing is written where it is known already."""
        if self.number(title) == number:
            return
        with self._database.write() as connection:
            fresh = {"sheet_id": number, "seen_at": self._database.now(connection)}
            statement = self._database.insert(tabs).values(**self._place, title=title, **fresh)
            connection.execute(statement.on_conflict_do_update(index_elements=list(tabs.primary_key), set_=fresh))
