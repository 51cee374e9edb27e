"""Access tokens that workers share, so that each need not log in again. Encrypted, and bound to their name."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sync_provider.core.errors import SyncDataError
from sync_provider.engine.ledger.tables import tokens

if TYPE_CHECKING:
    from sync_provider.engine.crypto import Cipher
    from sync_provider.engine.ledger.database import Database


class Tokens:
    """`connectors.base.TokenStore` in the ledger."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._cipher = cipher

    def get(self, name: str) -> tuple[str, datetime] | None:
        """The token and when it expires; None if there is none in force, or none that can be read with today's keys."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            query = sa.select(tokens).where(tokens.c.name == name, tokens.c.expires_at > now)
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        try:
            return self._cipher.decrypt(row.token, _aad(name)).decode(), row.expires_at
        except SyncDataError:
            return None

    def put(self, name: str, token: str, expires_at: datetime) -> None:
        """Keep it for the others, and forget those that have expired."""
        fresh = {"token": self._cipher.encrypt(token.encode(), _aad(name)), "expires_at": expires_at}
        with self._database.write() as connection:
            connection.execute(tokens.delete().where(tokens.c.expires_at <= self._database.now(connection)))
            statement = self._database.insert(tokens).values(name=name, **fresh)
            connection.execute(statement.on_conflict_do_update(index_elements=[tokens.c.name], set_=fresh))


def _aad(name: str) -> bytes:
    return f"token\0{name}".encode()
