"""Applies a change stream: stage it, compare and write in set-based statements, isolate what is refused, verify, commit.

One transaction from the first change to the commit. What a write counts is what it changed: a record that is as wanted already is
counted nowhere, so applying a stream again counts nothing.

``replace`` deletes the old content and inserts the new one in that transaction. Readers see the old content until the commit and the
new one from then on, never less; and grants, indexes, constraints, views and triggers stay, which a swap of tables would
lose. On PostgreSQL readers are not even made to wait; other writers are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Self

from sync_provider.connectors.base import KEY_SEPARATOR, WriteRequest, WriteResult
from sync_provider.connectors.sql.catalog import Table, TableName
from sync_provider.connectors.sql.database import BulkDatabase, Session
from sync_provider.connectors.sql.faults import RowFault
from sync_provider.connectors.sql.intake import Intake
from sync_provider.connectors.sql.statements import DELETE, EVERY, INSERT, UPDATE, Statements, among, span
from sync_provider.connectors.sql.target import MARKERS, MOST_REFUSED, check_required, target, target_columns, too_many
from sync_provider.connectors.sql.values import meaning
from sync_provider.core.canonical import write_text
from sync_provider.core.errors import SyncDataError
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa

# Statements name records one by one only in handfuls.
_HANDFUL = 500


def write(
    database: BulkDatabase, name: TableName, request: WriteRequest, changes: Iterator[pa.RecordBatch], *, create: bool
) -> WriteResult:
    """Apply a change stream to a table.

    Raises:
        SyncDataError: the table or a column is missing or cannot hold its type; nothing was written.
    """
    table = target(database, name, request, create=create)
    columns = target_columns(database, table, request)
    intake = Intake(database, columns, request)
    statements = database.statements(table, columns, intake.schema, request.key)
    with database.writer(request.run_id) as session:
        work = _Work(session, statements, request, intake, partial(check_required, table, columns))
        markers = _Markers(database, session, table, request) if request.mode == "append" and request.marker else None
        if markers is not None and markers.holds_ours():
            return WriteResult()
        if intake.insert_only and database.is_direct(columns, intake.schema):
            work.begin(table)
            work.put(table, changes)
        else:
            session.stage(intake.schema, columns, intake.batches(changes))
            work.begin(table)
            work.apply_stage()
        work.verify()
        if markers is not None:
            markers.leave()
        request.fence()
        session.commit()
    work.result.rejections[:0] = intake.rejections
    return work.result


class _Markers:
    """Which appends a schema has taken: a table beside the data, written in the same transaction.

    Records without a key cannot be recognised; without this note, a try whose commit nobody heard of would be repeated.
    """

    def __init__(self, database: BulkDatabase, session: Session, table: Table, request: WriteRequest) -> None:
        self._session, self._text = session, request.marker.replace("'", "''")
        self._table = TableName(table.name.schema, MARKERS)
        self._exists = database.find(self._table) is not None
        self._relation = database.relation(self._table)

    def holds_ours(self) -> bool:
        if not self._exists:
            return False
        return any(self._session.rows(f"SELECT 1 FROM {self._relation} WHERE marker = '{self._text}'"))  # noqa: S608

    def leave(self) -> None:
        if not self._exists:
            self._session.execute(f"CREATE TABLE {self._relation} (marker VARCHAR(200) PRIMARY KEY)")
        self._session.execute(f"INSERT INTO {self._relation} (marker) VALUES ('{self._text}')")  # noqa: S608


class _Work:
    """One write under way."""

    def __init__(
        self,
        session: Session,
        statements: Statements,
        request: WriteRequest,
        intake: Intake,
        check_inserts: Callable[[], None],
    ) -> None:
        self._session, self._statements, self._request, self._intake = session, statements, request, intake
        self._check_inserts = check_inserts
        self._refused: dict[int, RowFault] = {}
        self.result = WriteResult()

    def begin(self, table: Table) -> None:
        """Open the transaction; make or clear the table where the mode asks for it."""
        self._session.begin()
        if not table.exists:
            self._session.create(table, self._request.key)
        elif self._request.mode == "replace":
            self._session.lock(table)
            try:
                self._session.execute(self._statements.clear())
            except RowFault as fault:
                raise SyncDataError(
                    f"the old records cannot be replaced: {fault.message}",
                    hint="Other tables refer to them. Use write: mirror, which changes only what differs.",
                    code="referenced",
                ) from fault

    def put(self, table: Table, changes: Iterator[pa.RecordBatch]) -> None:
        """Load batches straight into the table; only one that is refused takes the way through the stage."""
        names = [column.name for column in self._statements.columns]
        for batch in self._intake.batches(changes):
            if batch.num_rows:
                self._check_inserts()
            with self._savepoint() as part:
                part.run(partial(self._session.put, table, names, batch.select(range(2, batch.num_columns))))
            if part.done is not None:
                self._count(INSERT, part.done)
                continue
            self._session.stage(batch.schema, self._statements.columns, iter([batch]))
            first = batch.column("n")[0].as_py()
            self._apply(INSERT, self._statements.append, range(first, first + batch.num_rows))
            self._report_refused()
            self._session.unstage()

    def apply_stage(self) -> None:
        """Apply everything that is staged."""
        if self._intake.counts[INSERT]:
            self._check_inserts()
        if (preparation := self._statements.prepare()) is not None:
            self._session.execute(preparation)
        every = range(1, self._intake.total + 1)
        if self._intake.insert_only:
            self._apply(INSERT, self._statements.append, every)
            self._report_refused()
            return
        if not self._statements.indexed:
            self._refuse_ambiguous()
        # Deletions first, then updates: both may free a unique value that a later record takes.
        steps = (
            (DELETE, self._statements.delete),
            (UPDATE, self._statements.update),
            (INSERT, self._statements.insert),
        )
        for operation, statement in steps:
            if self._intake.counts[operation]:
                self._apply(operation, statement, every)
        self._retry_refused(steps)
        settled = self.result.inserted + self.result.updated + self.result.deleted + len(self._refused)
        self._report_refused()
        if settled < self._intake.total:
            self._settle()

    def verify(self) -> None:
        """Make sure that what was counted as written is there."""
        result, intake = self.result, self._intake
        if not intake.insert_only:
            # Every staged record was counted by its own statement or looked at again (`_settle`).
            return
        refused = len(result.rejections)
        if result.inserted + refused != intake.total:
            raise SyncDataError(
                f"the database took {result.inserted} records of {intake.total - refused}",
                hint="A trigger or rule on the table leaves some out; take it off, or write to another table.",
                code="unverified",
            )
        if self._request.mode == "replace":
            ((there,),) = self._session.rows(self._statements.count())
            if there != result.inserted:
                raise SyncDataError(f"the table holds {there} records instead of {result.inserted}", code="unverified")

    def _apply(self, operation: int, statement: Callable[[str], str], numbers: Sequence[int]) -> None:
        """Run a statement over staged records; where the database refuses one, find it by halving and go on without it."""
        with self._savepoint() as part:
            part.run(lambda: self._session.execute(statement(self._condition(numbers))))
        if part.done is not None:
            self._count(operation, part.done)
        elif len(numbers) == 1:
            assert part.fault is not None
            self._refused[numbers[0]] = part.fault
            if len(self._refused) + len(self.result.rejections) > MOST_REFUSED:
                raise too_many(part.fault)
        else:
            middle = len(numbers) // 2
            self._apply(operation, statement, numbers[:middle])
            self._apply(operation, statement, numbers[middle:])

    def _condition(self, numbers: Sequence[int]) -> str:
        if isinstance(numbers, range):
            return EVERY if len(numbers) == self._intake.total else span(numbers[0], numbers[-1])
        return among(numbers)

    def _savepoint(self) -> _Savepoint:
        return _Savepoint(self._session)

    def _count(self, operation: int, done: int) -> None:
        name = {INSERT: "inserted", UPDATE: "updated", DELETE: "deleted"}[operation]
        setattr(self.result, name, getattr(self.result, name) + done)

    def _retry_refused(self, steps: Sequence[tuple[int, Callable[[str], str]]]) -> None:
        """Try refused records again as long as that helps: one may have waited for a unique value another gave up."""
        while self._refused and len(self._refused) <= _HANDFUL:
            waiting, self._refused = sorted(self._refused), {}
            before = self.result.inserted + self.result.updated + self.result.deleted
            for number in waiting:
                for operation, statement in steps:
                    if number not in self._refused and self._intake.counts[operation]:
                        self._apply(operation, statement, [number])
            if self.result.inserted + self.result.updated + self.result.deleted == before:
                return

    def _report_refused(self) -> None:
        """Turn refused records into rejections and take them out of the stage."""
        keys = self._keys(sorted(self._refused), "|") if self._request.key else {}
        for number, fault in sorted(self._refused.items()):
            self.result.rejections.append(
                Rejection(rule="constraint", message=fault.message, field=fault.field, key=keys.get(number))
            )
        self._drop(list(self._refused))
        self._refused = {}

    def _refuse_ambiguous(self) -> None:
        numbers = sorted({n for (n,) in self._session.rows(self._statements.ambiguous())})
        for key in self._keys(numbers, "|").values():
            self.result.rejections.append(
                Rejection(
                    rule="duplicate_key",
                    message="several records have this key, and none may be guessed. Delete the surplus",
                    key=key,
                )
            )
        self._drop(numbers)

    def _settle(self) -> None:
        """Look at the records that no statement changed.

        Some are as wanted already, some have moved, and some only spell the expected value in another way (``1.5`` in a
        column of texts where we would write ``1.50``).
        """
        moved = [n for (n,) in self._session.rows(self._statements.missing())]
        adopted: dict[int, list[int]] = {UPDATE: [], DELETE: []}
        width = len(self._statements.columns)
        for number, operation, *cells in self._session.rows(self._statements.different()):
            there, new, old = cells[:width], cells[width : 2 * width], cells[2 * width :]
            if operation != DELETE and self._alike(there, new):
                continue
            if operation == INSERT or not self._alike(there, old):
                moved.append(number)
            else:
                adopted[operation].append(number)
        for operation, statement in ((DELETE, self._statements.delete), (UPDATE, self._statements.update)):
            for part in _handfuls(adopted[operation]):
                self._session.execute(self._statements.adopt(among(part)))
                self._apply(operation, statement, part)
        self._report_refused()
        self.result.deferred_keys.extend(self._keys(sorted(set(moved)), KEY_SEPARATOR).values())

    def _alike(self, there: Sequence[object], staged: Sequence[object]) -> bool:
        zone = self._request.timezone
        return all(
            a == b or meaning(a, column.type, zone) == meaning(b, column.type, zone)
            for a, b, column in zip(there, staged, self._request.columns, strict=True)
        )

    def _keys(self, numbers: Sequence[int], separator: str) -> dict[int, str]:
        """Canonical key texts of staged records."""
        types = [self._request.columns[k].type for k in self._statements.key]
        found = {}
        for part in _handfuls(numbers):
            for number, *cells in self._session.rows(self._statements.keys(among(part))):
                found[number] = separator.join(
                    write_text(meaning(cell, type_, self._request.timezone))
                    for cell, type_ in zip(cells, types, strict=True)
                )
        return found

    def _drop(self, numbers: Sequence[int]) -> None:
        for part in _handfuls(numbers):
            self._session.execute(self._statements.drop(among(part)))


class _Savepoint:
    """A step that can be taken back alone. After the block, `done` is what it returned, or `fault` why it was refused."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.done: int | None = None
        self.fault: RowFault | None = None

    def __enter__(self) -> Self:
        self._session.execute("SAVEPOINT part")
        return self

    def run(self, step: Callable[[], int]) -> None:
        try:
            self.done = step()
        except RowFault as fault:
            self.fault = fault

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if self.fault is not None:
                self._session.execute("ROLLBACK TO SAVEPOINT part")
            self._session.execute("RELEASE SAVEPOINT part")


def _handfuls(numbers: Sequence[int]) -> Iterator[list[int]]:
    left = iter(numbers)
    while part := list(islice(left, _HANDFUL)):
        yield part
