"""Driver errors, told apart once. Messages keep the database's own words, minus values and secrets.

A `RowFault` is not shown to anyone: the write that meets it finds the record at fault, refuses that one and goes on.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sync_provider.core.errors import (
    SyncAuthenticationError,
    SyncConnectionError,
    SyncDataError,
    SyncError,
    Where,
)


@dataclass(slots=True)
class RowFault(Exception):  # noqa: N818 - a fault of the data on its way to becoming a Rejection
    """The database refused a statement because of a value or a constraint."""

    message: str
    field: str | None = None


# PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html; classes are its first two characters.
_RETRY_STATES = ("40001", "40P01", "55P03", "57014", "25P03", "42P07")
_CONNECTION_CLASSES = ("08", "53", "57")
_ROW_CLASSES = ("22", "23")
_MISSING = ("42P01", "42703", "3F000", "42883", "42704")
_CONNECT_TEXTS = {
    "authentication": ("password authentication failed", "no password supplied", "no pg_hba.conf entry", "role ", "ident authentication", "peer authentication", "access denied", "certificate authentication"),
    "database": ('database "',),
}  # fmt: skip


@contextmanager
def translated(endpoint: str, secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn driver errors raised inside into SyncErrors about ``endpoint``; SyncErrors and `RowFault` pass unchanged."""
    try:
        yield
    except SyncError as error:
        raise error.at(endpoint=endpoint) from error.__cause__
    except RowFault as fault:
        raise SyncDataError(
            fault.message, where=Where(endpoint=endpoint, field=fault.field), code="constraint"
        ) from fault
    except Exception as error:
        fault_or_error = classify(error, secrets)
        if fault_or_error is None:
            raise
        if isinstance(fault_or_error, RowFault):
            raise SyncDataError(
                fault_or_error.message, where=Where(endpoint=endpoint, field=fault_or_error.field), code="constraint"
            ) from error
        raise fault_or_error.at(endpoint=endpoint) from error


def classify(error: BaseException, secrets: tuple[str, ...] = ()) -> SyncError | RowFault | None:
    """What a driver's error means; None if it is none."""
    original = getattr(error, "orig", None)
    found = _classify(original if isinstance(original, BaseException) else error)
    if found is not None:
        for secret in secrets:
            found.message = found.message.replace(secret, "***")
        found.args = (found.message,)
    return found


def _classify(error: BaseException) -> SyncError | RowFault | None:
    if isinstance(error, sqlite3.Error):
        return _sqlite(error)
    module = type(error).__module__
    if module.startswith(("psycopg", "adbc_driver_manager")):
        return _postgres(error)
    if isinstance(error, OSError | ValueError) and "[libpq]" in str(error):
        return _libpq_stream(str(error))
    names = {cls.__name__ for cls in type(error).__mro__}
    if names & {"DBAPIError", "StatementError", "Error"} and names & {
        "DatabaseError",
        "InterfaceError",
        "SQLAlchemyError",
    }:
        return _other(names, _first_line(str(error)))
    return _other(names, _first_line(str(error))) if "SQLAlchemyError" in names else None


def _sqlite(error: sqlite3.Error) -> SyncError | RowFault:
    text = _first_line(str(error))
    low = text.lower()
    if isinstance(error, sqlite3.IntegrityError):
        return RowFault(text, _sqlite_field(text))
    if "locked" in low or "busy" in low:
        return SyncConnectionError(
            f"the database is in use by another writer ({text})", hint="Try again when it has finished.", code="locked"
        )
    if "readonly" in low or "read-only" in low:
        return SyncAuthenticationError(
            "the database file may only be read",
            hint="Give this account write access to the file and its folder.",
            code="denied",
        )
    if "unable to open" in low:
        return SyncConnectionError(
            "the database file cannot be opened", hint="Check the connection's path and its access rights.", code="unreachable"
        )  # fmt: skip
    if "disk" in low or "full" in low:
        return SyncConnectionError(
            f"the disk refused the write ({text})", hint="Free some space and try again.", code="disk"
        )
    if "not a database" in low or "malformed" in low:
        return SyncDataError(
            f"the file is no intact SQLite database ({text})", hint="Restore it from a backup.", code="corrupt"
        )
    if "no such" in low or "has no column" in low:
        return SyncDataError(text, hint="Check the names in the mapping.", code="name_missing")
    if isinstance(error, sqlite3.DataError) or "too big" in low or "datatype mismatch" in low or "overflow" in low:
        return RowFault(text)
    return SyncDataError(f"the database refused the statement: {text}", code="statement")


def _sqlite_field(text: str) -> str | None:
    match = re.search(r"failed: (?:.*\.)?(\w+)$", text)
    return match[1] if match and not text.startswith(("CHECK", "FOREIGN")) else None


def _postgres(error: BaseException) -> SyncError | RowFault:
    state = getattr(error, "sqlstate", None)
    message, column = _diagnosis(error)
    if not state:
        if {cls.__name__ for cls in type(error).__mro__} & {"OperationalError", "InterfaceError"}:
            return _postgres_connect(message)
        return SyncDataError(f"the driver refused the statement: {message}", code="statement")
    if state[:2] in _ROW_CLASSES:
        # What follows the colon is the value that was refused.
        return RowFault(message.partition(': "')[0] if state.startswith("22") else message, column)
    if state[:2] == "28":
        return SyncAuthenticationError(message, hint="Check the connection's login and password.", code="login")
    if state in ("42501", "25006"):
        return SyncAuthenticationError(message, hint="Grant this right to the connection's login.", code="denied")
    if state in _RETRY_STATES or state[:2] in _CONNECTION_CLASSES:
        return SyncConnectionError(
            f"the database broke off: {message}", hint="Nothing was written. Try again.", code="broken_off"
        )
    if state in _MISSING:
        return SyncDataError(message, hint="Check the names in the mapping.", code="name_missing")
    return SyncDataError(f"the database refused the statement: {message}", code="statement")


def _libpq_stream(text: str) -> SyncError:
    """An error in the middle of a result: Arrow passes on its text alone."""
    message = _first_line(text.partition("ERROR:")[2] or text).partition(': "')[0]
    if any(
        words in message for words in ("canceling statement", "terminating connection", "server closed", "connection")
    ):
        return SyncConnectionError(f"the database broke off: {message}", hint="Try again.", code="broken_off")
    return SyncDataError(f"the database stopped reading: {message}", code="statement")


def _diagnosis(error: Any) -> tuple[str, str | None]:
    diagnosis = getattr(error, "diag", None)
    if diagnosis is not None and diagnosis.message_primary:
        return diagnosis.message_primary, diagnosis.column_name
    details = {_text(name): _text(value) for name, value in getattr(error, "details", None) or ()}
    if "PG_DIAG_MESSAGE_PRIMARY" in details:
        return details["PG_DIAG_MESSAGE_PRIMARY"], details.get("PG_DIAG_COLUMN_NAME")
    return _first_line(str(error)), None


def _postgres_connect(message: str) -> SyncError:
    low = message.lower()
    message = re.sub(r"^.*?(connection to server|could not translate)", r"\1", message)
    if "fatal" in low and any(text in low for text in _CONNECT_TEXTS["authentication"]):
        return SyncAuthenticationError(message, hint="Check the connection's login and password.", code="login")
    if "fatal" in low and "does not exist" in low:
        return SyncDataError(
            message, hint="Check the connection's schema (the database's name).", code="database_missing"
        )
    return SyncConnectionError(
        message, hint="Check the connection's host and port, and that the server is up.", code="unreachable"
    )


def _other(names: set[str], message: str) -> SyncError | RowFault:
    message = re.sub(r"^\([\w.]+\)\s*", "", message)
    if names & {"IntegrityError", "DataError"}:
        return RowFault(re.sub(r"'(?:[^'\\]|\\.)*'", "'…'", message))
    if "OperationalError" in names or "InterfaceError" in names or "TimeoutError" in names:
        if "access denied" in message.lower():
            return SyncAuthenticationError(message, hint="Check the connection's login and password.", code="login")
        return SyncConnectionError(message, hint="Check the connection, and that the server is up.", code="unreachable")
    return SyncDataError(f"the database refused the statement: {message}", code="statement")


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "no reason given"


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
