"""What the sandbox remembers: files, people, keys. A journal of the calls that changed something brings it back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from threading import RLock
from typing import Any

from sync_provider.sandbox.calls import BOOK_READS, BOOK_WRITES, WORLD_READS, WORLD_WRITES, Call, Media
from sync_provider.sandbox.errors import ApiError, forbidden, not_found
from sync_provider.sandbox.model import Json, Spreadsheet

SHEETS_TYPE = "application/vnd.google-apps.spreadsheet"
_WRITERS = {"owner", "organizer", "fileOrganizer", "writer"}
PERSON = "person@sandbox.example"
"""Who edits on the page and over the control surface; may open every file."""


@dataclass
class File:
    """A file of the Drive.

    Args:
        resource: what Drive shows of it (id, name, mimeType, times, parents, properties…).
        permissions: Drive Permission resources.
        book: its spreadsheet, if it is one.
        version: grows with every change.
    """

    resource: Json
    permissions: list[Json]
    book: Spreadsheet | None = None
    version: int = 1

    def role(self, user: str) -> str | None:
        """The strongest role of a user, None without access."""
        if user == PERSON:
            return "owner"
        roles = [
            item["role"]
            for item in self.permissions
            if item["type"] == "anyone" or item.get("emailAddress", "").casefold() == user.casefold()
        ]
        order = ["owner", "organizer", "fileOrganizer", "writer", "commenter", "reader"]
        return min(roles, key=order.index, default=None)


@dataclass
class World:
    """All files, and the changes made to them, oldest first.

    Args:
        channels: Drive watch channels by id, stopped ones included: an id is good once.
    """

    files: dict[str, File] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    channels: dict[str, Json] = field(default_factory=dict)

    def file(self, call: Call, file_id: str, *, write: bool = False) -> File:
        """A file that the caller may read, or write.

        Raises:
            ApiError: 404 unknown; 403 without the right. A file nobody shared is 403 for Sheets, 404 for Drive.
        """
        drive = call.method.startswith("drive.")
        missing = ApiError(404, f"File not found: {file_id}.", reason="notFound", location="fileId")
        file = self.files.get(file_id)
        if file is None:
            raise missing if drive else not_found()
        role = file.role(call.user)
        if role is None:
            raise missing if drive else forbidden()
        if write and role not in _WRITERS:
            if drive:
                message = "The user does not have sufficient permissions for this file."
                raise ApiError(403, message, reason="insufficientFilePermissions")
            raise forbidden()
        return file

    def touched(self, call: Call, file: File) -> None:
        """Note that a file changed."""
        file.version += 1
        file.resource["modifiedTime"] = rfc3339(call.now)
        file.resource["lastModifyingUser"] = {"emailAddress": call.user, "displayName": call.user.partition("@")[0]}
        self.changes.append((file.resource["id"], rfc3339(call.now)))


def rfc3339(moment: datetime) -> str:
    """Drive's spelling: UTC, milliseconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def run(world: World, call: Call) -> Json | Media | None:
    """Answer one call; a call that is refused changes nothing.

    Raises:
        ApiError: refused.
    """
    if handler := BOOK_READS.get(call.method):
        return handler(call, _book(world.file(call, call.params["spreadsheetId"])))
    if handler := BOOK_WRITES.get(call.method):
        file = world.file(call, call.params["spreadsheetId"], write=True)
        draft = _book(file).copy()
        answer = handler(call, draft)
        file.book = draft
        file.resource["name"] = draft.properties["title"]
        world.touched(call, file)
        return answer
    table = WORLD_WRITES if call.method in WORLD_WRITES else WORLD_READS
    if call.method not in table:
        raise ApiError(501, f"The sandbox does not speak {call.method}.", reason="notImplemented")
    return table[call.method](call, world)


def _book(file: File) -> Spreadsheet:
    if file.book is None:
        raise ApiError(400, "This operation is not supported for this document")
    return file.book


class Store:
    """A world on disk: each change is in the journal before it is answered.

    Args:
        path: the SQLite file, made if missing.
        clock: gives the time of calls.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.lock = RLock()
        self.world = World()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS journal (number INTEGER PRIMARY KEY, at TEXT NOT NULL, seed INTEGER NOT NULL,"
            " method TEXT NOT NULL, user TEXT NOT NULL, params TEXT NOT NULL, body TEXT NOT NULL)"
        )
        self._database.execute("CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        self._replay()

    def _replay(self) -> None:
        rows = self._database.execute("SELECT at, seed, method, user, params, body FROM journal ORDER BY number")
        for at, seed, method, user, params, body in rows:
            now = datetime.fromisoformat(at)
            run(self.world, Call(method, user, json.loads(params), json.loads(body), now, Random(seed)))  # noqa: S311

    def answer(self, method: str, user: str, params: Json, body: Json, base_url: str) -> Json | Media | None:
        """Answer a call, and journal it if it changed something.

        Raises:
            ApiError: refused; nothing changed.
        """
        seed = Random().getrandbits(62)  # noqa: S311 - ids, no secrets
        call = Call(method, user, params, body, self.clock(), Random(seed), base_url)  # noqa: S311
        with self.lock:
            answer = run(self.world, call)
            if method in BOOK_WRITES or method in WORLD_WRITES:
                self._database.execute(
                    "INSERT INTO journal (at, seed, method, user, params, body) VALUES (?, ?, ?, ?, ?, ?)",
                    (call.now.isoformat(), seed, method, user, _dumps(params), _dumps(body)),
                )
            return answer

    def fact(self, name: str, make: Callable[[], Any]) -> Any:
        """A value made once and kept: keys, accounts."""
        with self.lock:
            row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
            if row is None:
                value = make()
                self.keep(name, value)
                return value
            return json.loads(row[0])

    def keep(self, name: str, value: Any) -> None:
        with self.lock:
            self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, _dumps(value)))

    def reset(self) -> None:
        """Forget all files; keys and accounts stay."""
        with self.lock:
            self._database.execute("DELETE FROM journal")
            self.world = World()

    def close(self) -> None:
        with self.lock:
            self._database.close()


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
