"""What a write checks before it begins: the table, its columns, their types. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sync_provider.connectors.base import WriteRequest
from sync_provider.connectors.sql.catalog import Column, Table, TableName, check_new_name, nearest, pick
from sync_provider.connectors.sql.database import Database
from sync_provider.connectors.sql.faults import RowFault
from sync_provider.core.errors import SyncDataError, Where

# Table that notes, beside the data, which appends it has taken.
MARKERS = "sync_provider_appends"
# Each refused record costs some statements of its own.
MOST_REFUSED = 10_000


def target(database: Database, name: TableName, request: WriteRequest, *, create: bool) -> Table:
    """The table to write to, or the one that would be created.

    Raises:
        SyncDataError: there is none and none may be created, or it is a view.
    """
    table = database.find(name)
    if table is not None:
        if not table.writable:
            raise SyncDataError(f"{table.name} is no ordinary table", hint="Write to the table behind it.", code="view")
        return table
    others = database.tables()
    alike = [other for other in others if other.casefold() == str(name).casefold()]
    if not create or alike:
        raise SyncDataError(
            f"there is no table {name}",
            where=Where(field="table"),
            hint=nearest(str(name), others),
            code="table_missing",
        )
    check_new_name(name.name, "table")
    for column in request.columns:
        check_new_name(column.name, "column")
    return database.new_table(name, request.columns, request.key)


def target_columns(database: Database, table: Table, request: WriteRequest) -> list[Column]:
    """The table's columns that are written, in the request's order.

    Raises:
        SyncDataError: one is missing, computed by the database, or cannot hold its field's type.
    """
    columns = pick(table.columns, [each.name for each in request.columns], str(table.name))
    for column, wanted in zip(columns, request.columns, strict=True):
        reason = "the database computes it itself" if column.generated else database.refusal(column, wanted.type)
        if reason is not None:
            raise SyncDataError(
                f"{table.name}.{column.name} cannot take {wanted.type}: {reason}",
                where=Where(field=column.name),
                hint="Change the field's type in the mapping, or the column's.",
                code="column_incompatible",
            )
    return [
        replace(column, storage=replace(column.storage, zone=request.timezone))
        if wanted.type.kind == "timestamp" and database.is_local(table, column)
        else column
        for column, wanted in zip(columns, request.columns, strict=True)
    ]


def check_required(table: Table, columns: Sequence[Column]) -> None:
    """Make sure that every column which an insert must fill is mapped.

    Raises:
        SyncDataError: one is not, and has no default.
    """
    mapped = {column.name for column in columns}
    for column in table.columns:
        if column.name not in mapped and not (column.nullable or column.has_default or column.generated):
            raise SyncDataError(
                f"{table.name}.{column.name} must have a value, and no field is mapped to it",
                where=Where(field=column.name),
                hint="Map a field to it, or give the column a default.",
                code="column_required",
            )


def too_many(fault: RowFault) -> SyncDataError:
    """The error where isolating refused records one by one would never end."""
    return SyncDataError(
        f"the database refused more than {MOST_REFUSED} records, the first of them because: {fault.message}",
        where=Where(field=fault.field),
        hint="Nothing was written. Correct the source or the constraint.",
        code="too_many_refused",
    )
