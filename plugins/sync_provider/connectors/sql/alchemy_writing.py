"""Writing where there is no bulk path: record by record in handfuls, compared here and not in SQL.

Every handful is read with its records locked (``FOR UPDATE`` where the database has it), compared by what the values mean, and
written, all in one transaction. Comparing here keeps it exact whatever the database's collation thinks equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sync_provider.connectors.base import KEY_SEPARATOR, WriteRequest, WriteResult
from sync_provider.connectors.sql.catalog import Column, Table, TableName
from sync_provider.connectors.sql.database import Database
from sync_provider.connectors.sql.faults import RowFault, classify
from sync_provider.connectors.sql.intake import Intake
from sync_provider.connectors.sql.statements import DELETE, INSERT, UPDATE
from sync_provider.connectors.sql.target import MARKERS, MOST_REFUSED, check_required, target, target_columns, too_many
from sync_provider.connectors.sql.values import meaning
from sync_provider.core.canonical import write_text
from sync_provider.core.errors import SyncDataError
from sync_provider.core.report import Rejection

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

_HANDFUL = 200
_Record = dict[str, Any]
_Write = tuple[_Record, _Record]  # a record, and the parameters of the statement that writes it


def write(
    database: Database,
    engine: sa.Engine,
    name: TableName,
    request: WriteRequest,
    changes: Iterator[pa.RecordBatch],
    *,
    create: bool,
) -> WriteResult:
    """Apply a change stream to a table.

    Raises:
        SyncDataError: the table or a column is missing or cannot hold its type; nothing was written.
    """
    table = target(database, name, request, create=create)
    columns = target_columns(database, table, request)
    intake = Intake(database, columns, request)
    with engine.connect() as link, link.begin() as transaction:
        if request.mode == "append" and request.marker and _appended_already(link, table, request.marker):
            return WriteResult()
        work = _Work(link, table, columns, request)
        work.begin()
        for batch in intake.batches(changes):
            if intake.counts[INSERT]:
                check_required(table, columns)
            for start in range(0, batch.num_rows, _HANDFUL):
                work.apply(batch.slice(start, _HANDFUL))
        work.retry_refused()
        request.fence()
        transaction.commit()
    work.result.rejections[:0] = intake.rejections
    return work.result


def _appended_already(link: sa.Connection, table: Table, marker: str) -> bool:
    """Whether the schema has taken this append already; if not, note it, to be kept or lost with the records themselves."""
    import sqlalchemy as sa

    markers = sa.Table(
        MARKERS, sa.MetaData(), sa.Column("marker", sa.String(200), primary_key=True), schema=table.name.schema
    )
    markers.create(link, checkfirst=True)
    if link.execute(sa.select(markers).where(markers.c.marker == marker)).first() is not None:
        return True
    link.execute(markers.insert().values(marker=marker))
    return False


class _Work:
    """One write under way."""

    def __init__(self, link: sa.Connection, table: Table, columns: Sequence[Column], request: WriteRequest) -> None:
        import sqlalchemy as sa

        self._link, self._request, self._described = link, request, table
        self._names = [column.name for column in columns]
        self._table = self._core_table(table, columns)
        self._key = [self._table.c[name] for name in request.key]
        # SQLAlchemy keeps parameters named like a column to itself; no mapped column begins with two underscores.
        by_key = [self._table.c[name] == sa.bindparam(f"__key_{i}") for i, name in enumerate(request.key)]
        values: dict[str, Any] = {name: sa.bindparam(f"__value_{i}") for i, name in enumerate(self._names)}
        sets = {name: value for name, value in values.items() if name not in request.key} or values
        self._statements = {
            INSERT: self._table.insert().values(values),
            UPDATE: self._table.update().where(*by_key).values(sets),
            DELETE: self._table.delete().where(*by_key),
        }
        self._refused: list[tuple[int, _Write, RowFault]] = []
        self.result = WriteResult()

    def _core_table(self, table: Table, columns: Sequence[Column]) -> sa.Table:
        import sqlalchemy as sa

        if table.exists:
            return sa.Table(
                table.name.name, sa.MetaData(), autoload_with=self._link, schema=table.name.schema, resolve_fks=False
            )
        from sync_provider.connectors.sql.alchemy_types import created_type

        key = self._request.key
        made = [
            sa.Column(
                column.name,
                created_type(column.type, in_key=column.name in key),
                primary_key=column.name in key,
                nullable=column.nullable,
                autoincrement=False,
            )
            for column in columns
        ]
        return sa.Table(table.name.name, sa.MetaData(), *made, schema=table.name.schema)

    def begin(self) -> None:
        """Make or clear the table where the mode asks for it."""
        from sqlalchemy.schema import CreateTable

        if not self._described.exists:
            self._link.execute(CreateTable(self._table))
        elif self._request.mode == "replace":
            try:
                self._run(self._table.delete(), None)
            except RowFault as fault:
                raise SyncDataError(
                    f"the old records cannot be replaced: {fault.message}",
                    hint="Other tables refer to them. Use write: mirror, which changes only what differs.",
                    code="referenced",
                ) from fault

    def apply(self, batch: pa.RecordBatch) -> None:
        """Apply a handful of staged changes."""
        width = len(self._names)
        cells = [column.to_pylist() for column in batch.columns]
        rows = list(zip(*cells[1:], strict=True))
        inserts: list[_Write] = []
        updates: list[_Write] = []
        deletes: list[_Write] = []
        existing = (
            {} if self._request.mode in ("append", "replace") else self._existing([row[1 : width + 1] for row in rows])
        )
        for operation, *values in rows:
            new, old = values[:width], values[width:]
            record = dict(zip(self._names, new, strict=True))
            if not old:
                inserts.append((record, self._values(record)))
                continue
            there = existing.get(self._meaning_of_key(new), [])
            if len(there) > 1:
                self._reject(
                    record,
                    RowFault("several records have this key, and none may be guessed. Delete the surplus"),
                    "duplicate_key",
                )
            elif not there and operation != INSERT:
                if operation == UPDATE:
                    self._defer(record)
            elif not there:
                inserts.append((record, self._values(record)))
            elif operation != DELETE and self._alike(there[0], new):
                continue
            elif operation == INSERT or not self._alike(there[0], old):
                self._defer(record)
            else:
                (deletes if operation == DELETE else updates).append(self._marked(record, there[0]))
        for operation, records in ((DELETE, deletes), (UPDATE, updates), (INSERT, inserts)):
            self._each(operation, records)

    def _values(self, record: _Record) -> _Record:
        return {f"__value_{i}": record[name] for i, name in enumerate(self._names)}

    def _marked(self, record: _Record, there: Sequence[Any]) -> _Write:
        # The key as the table spells it: an equal value in another spelling would not be found.
        key = {f"__key_{i}": there[self._names.index(name)] for i, name in enumerate(self._request.key)}
        return record, {**self._values(record), **key}

    def _existing(self, rows: Sequence[Sequence[Any]]) -> dict[Any, list[Sequence[Any]]]:
        """The table's records that have one of these keys, by what their key means, locked."""
        import sqlalchemy as sa

        positions = [self._names.index(name) for name in self._request.key]
        wanted = [
            sa.and_(*(column == row[position] for column, position in zip(self._key, positions, strict=True)))
            for row in rows
        ]
        query = sa.select(*(self._table.c[name] for name in self._names)).where(sa.or_(*wanted)).with_for_update()
        found: dict[Any, list[Sequence[Any]]] = {}
        for row in self._link.execute(query):
            found.setdefault(self._meaning_of_key(row), []).append(tuple(row))
        return found

    def _meaning_of_key(self, row: Sequence[Any]) -> tuple[Any, ...]:
        positions = [self._names.index(name) for name in self._request.key]
        return tuple(meaning(row[i], self._request.columns[i].type, self._request.timezone) for i in positions)

    def _alike(self, there: Sequence[Any], staged: Sequence[Any]) -> bool:
        zone = self._request.timezone
        return all(
            meaning(a, column.type, zone) == meaning(b, column.type, zone)
            for a, b, column in zip(there, staged, self._request.columns, strict=True)
        )

    def _each(self, operation: int, records: Sequence[_Write]) -> None:
        """Write every record; where the database refuses one, halve, and go on without it."""
        if not records:
            return
        try:
            with self._link.begin_nested():
                done = self._run(self._statements[operation], [parameters for _, parameters in records])
        except RowFault as fault:
            if len(records) == 1:
                self._refused.append((operation, records[0], fault))
                if len(self._refused) + len(self.result.rejections) > MOST_REFUSED:
                    raise too_many(fault) from fault
                return
            middle = len(records) // 2
            self._each(operation, records[:middle])
            self._each(operation, records[middle:])
        else:
            name = {INSERT: "inserted", UPDATE: "updated", DELETE: "deleted"}[operation]
            setattr(self.result, name, getattr(self.result, name) + done)

    def retry_refused(self) -> None:
        """Try refused records again as long as that helps: one may have waited for a unique value another gave up."""
        waiting: list[tuple[int, _Write, RowFault]] = []
        while self._refused and len(self._refused) != len(waiting):
            waiting, self._refused = self._refused, []
            for operation, record, _ in waiting:
                self._each(operation, [record])
        for _, (values, _), fault in self._refused:
            self._reject(values, fault, "constraint")

    def _run(self, statement: Any, parameters: list[_Record] | None) -> int:
        """Run a statement; with parameters it must touch one record for each.

        Raises:
            RowFault: the database refused a record, or a key in it meant another number of records than one.
        """
        import sqlalchemy as sa

        try:
            done: int = self._link.execute(statement, parameters).rowcount
        except sa.exc.SQLAlchemyError as error:
            fault = classify(error)
            if isinstance(fault, RowFault):
                raise fault from error
            raise
        if parameters is None or done < 0:  # some drivers do not count what an executemany inserted
            return done if parameters is None else len(parameters)
        if done != len(parameters):
            raise RowFault("the database does not tell this record's key from another's, or a trigger keeps it out")
        return done

    def _defer(self, record: _Record) -> None:
        self.result.deferred_keys.append(self._key_text(record, KEY_SEPARATOR))

    def _reject(self, record: _Record, fault: RowFault, rule: str) -> None:
        key = self._key_text(record, "|") if self._request.key else None
        self.result.rejections.append(Rejection(rule=rule, message=fault.message, field=fault.field, key=key))
        if len(self.result.rejections) > MOST_REFUSED:
            raise too_many(fault)

    def _key_text(self, record: _Record, separator: str) -> str:
        types = {column.name: column.type for column in self._request.columns}
        zone = self._request.timezone
        return separator.join(write_text(meaning(record[name], types[name], zone)) for name in self._request.key)
