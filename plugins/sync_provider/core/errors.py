"""The errors that users see. No I/O.

::

    SyncError
    ├─ MappingError               validation        the YAML is wrong
    │  └─ MappingErrors           validation        all that is wrong with it
    ├─ SyncConnectionError        connexion         unreachable, timeout, rate limited
    ├─ SyncAuthenticationError    authentification  expired, revoked, access denied
    ├─ SyncDataError              données           malformed, schema mismatch, duplicate key, stale write
    └─ SyncValidationError        validation        rules not met, guard tripped

Every error says what happened, where, and how to fix it, and never holds a secret. The category stays with it from
the connector to the task, the retry policy, the ledger, the page and the alert. A conflict and a rejection are
results, not errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place that a person can go to. Every part is optional.

    Args:
        file: path as the user wrote it.
        line: 1-based line of the file; in a CSV file the line on which the record starts.
        column: 1-based column of the line.
        endpoint: for instance ``"destination (sql, connection app_db)"``.
        sheet: name of the sheet or tab.
        cell: A1 address within the sheet.
        row: 1-based record number where lines mean nothing (a query's result).
        key: the record's key, as text.
        field: the mapping's path (``fields[2].type``) or the record's column name.
    """

    file: str | None = None
    line: int | None = None
    column: int | None = None
    endpoint: str | None = None
    sheet: str | None = None
    cell: str | None = None
    row: int | None = None
    key: str | None = None
    field: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        if self.sheet is not None:
            address = f"{self.sheet}!{self.cell}" if self.cell else self.sheet
            place = f"{place} {address}" if place else address
        parts = [place] if place else []
        if self.endpoint is not None:
            parts.append(self.endpoint)
        if self.row is not None:
            parts.append(f"row {self.row}")
        if self.key is not None:
            parts.append(f"key {self.key}")
        if self.field is not None:
            parts.append(self.field)
        return ": ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The parts that are set, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


_DECISIONS = ("guard_", "approval_", "baseline_")
"""Starts of the codes of errors after which a person decides."""


class SyncError(Exception):
    """Base of every error that this package raises on purpose; catch it to catch them all.

    Args:
        message: one sentence, what happened; never a secret, never a whole record.
        where: where it happened.
        hint: one sentence, how to fix it.
        code: stable slug for programs (``plan_stale``, ``guard_deletes``).
        retryable: whether trying again unchanged may help.
        retry_after_s: seconds, ≥ 0, that the other system asked us to wait.
    """

    category: ClassVar[str] = "données"
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        where: Where | None = None,
        hint: str | None = None,
        code: str | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where or Where()
        self.hint = hint
        self.code = code
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after_s = retry_after_s

    @property
    def needs_decision(self) -> bool:
        """Whether nothing was written and a person must decide: a guard tripped, an approval or a baseline is missing.

        The run is then ``blocked``, and the command line exits with 7.
        """
        return (self.code or "").startswith(_DECISIONS)

    def at(self, **parts: Any) -> SyncError:
        """Fill in parts of ``where`` that are still unknown; returns the same error, to be raised.

        An outer layer knows the file or endpoint, an inner one the row: neither overwrites the other.
        """
        unknown = {name: value for name, value in parts.items() if getattr(self.where, name) is None}
        self.where = replace(self.where, **unknown)
        return self

    def __str__(self) -> str:
        """One sentence: where: what. How to fix."""
        place = str(self.where)
        sentence = f"{place}: {self.message}" if place else self.message
        if self.hint:
            sentence = f"{sentence.rstrip('.')}. {self.hint}"
        return sentence

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: category, code, message, where, hint, retryable, retry_after_s."""
        return {
            "type": type(self).__name__,
            "category": self.category,
            "code": self.code,
            "message": self.message,
            "where": self.where.as_dict(),
            "hint": self.hint,
            "retryable": self.retryable,
            "retry_after_s": self.retry_after_s,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process boundaries (Airflow's supervisor, pytest-xdist); keyword-only arguments
        # would be lost by the default pickling.
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))


def _rebuild(cls: type[SyncError], message: str, state: dict[str, Any]) -> SyncError:
    error = cls(message)
    error.__dict__.update(state)
    return error


class MappingError(SyncError):
    """The YAML is wrong: ``file:line:column: field: message``, with the nearest valid name as hint."""

    category = "validation"


class MappingErrors(MappingError):  # noqa: N818 - the plural is its point
    """Everything that is wrong with one mapping, in the order of the file.

    Args:
        errors: at least one.
    """

    def __init__(self, errors: Sequence[MappingError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(first.message, where=first.where, hint=first.hint, code=first.code)

    def __str__(self) -> str:
        """One sentence per problem, one problem per line."""
        return "\n".join(str(error) for error in self.errors)

    def as_dict(self) -> dict[str, Any]:
        """The first problem as any other error, and all of them under ``errors``."""
        return {**super().as_dict(), "errors": [error.as_dict() for error in self.errors]}

    def __reduce__(self) -> tuple[Any, ...]:
        return (MappingErrors, (self.errors,))


class SyncConnectionError(SyncError):
    """The other system cannot be reached, timed out, or asked us to slow down. A retry may help."""

    category = "connexion"
    default_retryable = True


class SyncAuthenticationError(SyncError):
    """Credentials are missing, expired or revoked, or do not allow this. A retry will not help."""

    category = "authentification"


class SyncDataError(SyncError):
    """The data is malformed, does not match its schema, holds a key twice, or moved under our feet."""

    category = "données"


class SyncValidationError(SyncError):
    """Rules are not met, or a guard tripped. Nothing has been written."""

    category = "validation"
