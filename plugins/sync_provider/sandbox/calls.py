"""One call of the API, and the table of what answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any

from sync_provider.sandbox.model import Json, Spreadsheet

if TYPE_CHECKING:
    from sync_provider.sandbox.state import World


@dataclass(frozen=True)
class Media:
    """An answer that is a file and no JSON."""

    content: bytes
    content_type: str


@dataclass
class Call:
    """A call that was let in. Everything that could differ when it is replayed from the journal is here.

    Args:
        method: the API's name for it.
        user: e-mail of the caller.
        params: of path and query, typed.
        body: checked against the API's schema.
        now: the one time of the call.
        rng: where its random ids come from.
    """

    method: str
    user: str
    params: Json
    body: Json
    now: datetime
    rng: Random = field(default_factory=Random)
    base_url: str = ""

    def new_id(self, length: int) -> str:
        """A random id as Google's look."""
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
        return "1" + "".join(self.rng.choices(letters, k=length - 1))


BookHandler = Callable[[Call, Spreadsheet], Json]
WorldHandler = Callable[[Call, "World"], Json | Media | None]

BOOK_READS: dict[str, BookHandler] = {}
BOOK_WRITES: dict[str, BookHandler] = {}
WORLD_READS: dict[str, WorldHandler] = {}
WORLD_WRITES: dict[str, WorldHandler] = {}


def answers(table: dict[str, Any], method: str) -> Callable[[Any], Any]:
    """Enter a function into one of the tables."""

    def entered(handler: Any) -> Any:
        table[method] = handler
        return handler

    return entered
