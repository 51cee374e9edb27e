"""The protocol that every connector implements, and what passes through it. No I/O.

Reading gives *raw batches*: Arrow batches whose columns are named as in the source and hold either native values (SQL) or
text (files, sheets, JSON), plus the coordinate columns `FILE`, `SHEET` and `ROW`, and the records that could not be read
at all. Text of fields without an expression is *canonical*: numbers as ``-1234.5``, booleans as ``true``/``false``, dates
as ``2024-12-31``, timestamps as ``2024-12-31T23:59:59.5`` with ``Z`` or an offset where one is known; a text that the
endpoint's conventions cannot read is left as it was, for the transform to reject with its coordinates. Text of a column asked
for as ``verbatim`` is exactly what the source holds.

Writing takes a *change stream*: Arrow batches with the column `OP`, the mapped columns, and `OLD` + name for the value that is
expected to be replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

from sync_provider.core.errors import SyncError
from sync_provider.core.report import Rejection
from sync_provider.core.schema import LogicalType

if TYPE_CHECKING:
    import pyarrow as pa

# Coordinate columns of a raw batch: where the record starts, for rejections and reports. All may be null.
FILE = "__file"  # string, as the user knows it (relative to the root)
SHEET = "__sheet"  # string
ROW = "__row"  # int64, 1-based: line of a text file, row of a sheet, record number of a query
COORDINATES = (FILE, SHEET, ROW)

# Columns of a change stream.
OP = "__op"  # string: insert, update or delete
OLD = "__old_"  # prefix: the value the plan saw, for compare-before-write; null columns for inserts

BATCH_ROWS = 65_536


class Secret(str):
    """Text that must not be shown: ``repr`` and formatting with ``!r`` hide it."""

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionInfo:
    """One Airflow connection, without Airflow. ``repr`` shows no secret."""

    id: str
    type: str
    host: str | None = None
    port: int | None = None
    schema: str | None = None
    login: str | None = None
    password: Secret | None = field(default=None, repr=False)
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    def secrets(self) -> tuple[str, ...]:
        """Everything in it that nobody may read: the password, and what the extra calls a secret."""
        found = [str(self.password)] if self.password else []
        return (*found, *_secret_texts(self.extra, secret=False))


_SECRET_NAME = re.compile(r"passw|secret|token|key|credential|private|\bsas\b", re.IGNORECASE)


def _secret_texts(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _secret_texts(item, secret=secret or bool(_SECRET_NAME.search(str(name))))
    elif isinstance(value, list):
        for item in value:
            yield from _secret_texts(item, secret=secret)
    elif secret and isinstance(value, str) and value:
        yield value


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRequest:
    """One column wanted from a source.

    Args:
        name: the source's own name for it.
        type: type the mapping declares, by which text is made canonical.
        verbatim: leave text exactly as it is (the field has an expression of its own).
        optional: the source may lack it; the batch then lacks it too.
    """

    name: str
    type: LogicalType
    verbatim: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorRange:
    """Bounds on one source column, both inclusive of ``since`` and exclusive of ``until``; None is unbounded.

    Values are canonical text. A connector that cannot filter ignores it; the engine filters again.
    """

    column: str
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """What to read.

    Args:
        columns: the columns wanted; empty means every column, verbatim.
        cursor: bounds on one column.
        limit: at most this many records, > 0.
        known_files: content hashes (SHA-256, hex) already read, for ``only_new``.
        batch_rows: rows per batch, > 0.
    """

    columns: tuple[ColumnRequest, ...] = ()
    cursor: CursorRange | None = None
    limit: int | None = None
    known_files: frozenset[str] = frozenset()
    batch_rows: int = BATCH_ROWS


@dataclass(slots=True)
class RawBatch:
    """Some records as the source holds them, and the ones that could not be read."""

    records: pa.RecordBatch
    rejections: list[Rejection] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that was read: its name below the root, SHA-256 in hex, size in bytes. ``deferred``: still being written."""

    name: str
    sha256: str
    size_bytes: int
    deferred: bool = False


@dataclass(slots=True)
class Reading:
    """An open read. Iterate once; afterwards `files` and `token` are complete.

    Args:
        batches: the raw batches, in the source's order.
        files: files behind the batches (file connectors only).
        token: the source's own content token as of the read (file digest, Drive version), if it has one.
    """

    batches: Iterator[RawBatch]
    files: list[SourceFile] = field(default_factory=list)
    token: str | None = None

    def __iter__(self) -> Iterator[RawBatch]:
        return self.batches


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetColumn:
    """One destination column with its mapped type; ``nullable`` is false for key columns."""

    name: str
    type: LogicalType
    nullable: bool = True


WriteMode = Literal["append", "replace", "upsert", "mirror"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequest:
    """What to write, and how.

    Args:
        mode: ``append`` inserts; ``replace`` swaps the whole content atomically for the inserts given; ``upsert`` and
            ``mirror`` apply inserts, updates and deletes by key.
        columns: the mapped columns, in order.
        key: destination names of the key columns; may be empty for append and replace.
        run_id: ULID, for names of temporary objects and for idempotence markers.
        timezone: IANA name of the zone in which the target's timestamps without a zone are meant.
        marker: names this very append, the same when it is tried again. A connector that commits in transactions keeps it
            beside the data, and does nothing where it is kept already: records without a key are appended once.
        intent: the same for connectors that swap files: told the SHA-256 (hex) of the new content right before the swap.
        intended: what `intent` was told by an earlier try of this append; content with this digest holds it already.
        fence: called immediately before each commit; raises if our lease was lost.
    """

    mode: WriteMode
    columns: tuple[TargetColumn, ...]
    key: tuple[str, ...] = ()
    run_id: str = ""
    timezone: str = "UTC"
    marker: str = ""
    intent: Callable[[str], None] = lambda _: None
    intended: str | None = None
    fence: Callable[[], None] = lambda: None


@dataclass(slots=True, kw_only=True)
class WriteResult:
    """What a write did. ``deferred_keys``: keys (as canonical text, parts joined by `KEY_SEPARATOR`) whose record had moved."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    deferred_keys: list[str] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


KEY_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnInfo:
    """A column that a system has: its name, type as we would declare it, and where it stands (``B`` in a sheet)."""

    name: str
    type: LogicalType
    position: str | None = None
    nullable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Outcome of testing one aspect: ``reach``, ``authenticate``, ``read``, ``write`` or ``header``.

    ``retryable``: it failed, and trying again unchanged may help.
    """

    aspect: str
    ok: bool
    detail: str
    hint: str | None = None
    retryable: bool = False

    @classmethod
    def failed(cls, aspect: str, error: SyncError) -> Probe:
        """The outcome of an aspect whose test ended in an error."""
        place = str(error.where)
        detail = f"{place}: {error.message}" if place else error.message
        return cls(aspect=aspect, ok=False, detail=detail, hint=error.hint, retryable=error.retryable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a connector can do; the engine asks before it tries.

    Args:
        modes: write modes supported; empty: read only.
        transactional: a write is all or nothing.
        filters_cursor: `CursorRange` is applied by the system itself.
        tells_version: `Connector.token` is one small request, which reads no content.
        resource: name under which leases are taken (``sql:app_db:public.clients``); the same for every mapping that
            touches the same data.
    """

    modes: frozenset[str]
    transactional: bool
    filters_cursor: bool
    resource: str
    tells_version: bool = False


@runtime_checkable
class Connector(Protocol):
    """One endpoint of one mapping, open. Use as a context manager; every method may raise SyncErrors."""

    @property
    def capabilities(self) -> Capabilities: ...

    def test(self, columns: Sequence[str], *, write: bool) -> list[Probe]:
        """Reach, authenticate, check rights and the header; changes nothing."""
        ...

    def describe(self) -> list[ColumnInfo]:
        """The columns the system has now, in order; empty if the table or file does not exist yet."""
        ...

    def token(self) -> str | None:
        """A cheap content token: equal tokens mean unchanged content. None: unknown, read and see."""
        ...

    def read(self, request: ReadRequest) -> Reading:
        """Start reading. The column set is checked before the first batch is given.

        Raises:
            SyncDataError: a wanted column is missing (nearest names in the hint) or stands there twice.
        """
        ...

    def write(self, request: WriteRequest, changes: Iterator[pa.RecordBatch]) -> WriteResult:
        """Apply a change stream; compare before write, verify after. Inserting or deleting what is already so is a no-op."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


@runtime_checkable
class Identifying(Protocol):
    """A connector whose endpoint may declare an ``id_column``: rows without a key of their own are given ids, once.

    `Connector.read` gives null in this column for rows that have no id (yet), and for all where the column is not there.
    """

    def lacks_ids(self, columns: Sequence[ColumnRequest]) -> bool:
        """Whether the column is missing, or a row that holds something in one of these columns has no id; changes nothing."""
        ...

    def give_ids(self, columns: Sequence[ColumnRequest], fence: Callable[[], None]) -> int:
        """Add the column where it is missing, and give such rows ids; compared right before, read back after. Asks for new tokens after.

        Args:
            columns: as they will be asked for, the id column among them.
            fence: called immediately before each write; raises if our lease was lost.

        Returns:
            How many rows were given one. Rows that others kept moving meanwhile may still have none.

        Raises:
            SyncDataError: one of the columns is missing or stands there twice; nothing was written.
        """
        ...


class Clock(Protocol):
    """Time, given from outside so that tests can set it. ``now`` is timezone-aware UTC; ``sleep`` takes seconds ≥ 0."""

    def now(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...


class Budget(Protocol):
    """A request allowance shared by every process: ``acquire`` waits until ``cost`` requests may be sent.

    Raises:
        SyncConnectionError: the wait would exceed the mapping's ``limits.total_wait``.
    """

    def acquire(self, resource: str, cost: int = 1) -> None: ...


class TabMemory(Protocol):
    """The tabs of one side of an integration as they were seen last: title in the mapping → number of the tab."""

    def number(self, title: str) -> int | None: ...

    def remember(self, title: str, number: int) -> None: ...


class TokenStore(Protocol):
    """Access tokens shared between workers, encrypted at rest."""

    def get(self, name: str) -> tuple[str, datetime] | None: ...

    def put(self, name: str, token: str, expires_at: datetime) -> None: ...
