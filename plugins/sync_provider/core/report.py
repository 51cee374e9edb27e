"""What a run did, in numbers and refused records. No I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from dataclasses import field as default
from typing import Any

from sync_provider.core.errors import Where

RUN_STATES = ("queued", "running", "succeeded", "partial", "blocked", "failed")


@dataclass(slots=True)
class Counters:
    """Records, counted once each: ``read = unchanged + written + rejected + conflict + deferred + filtered``.

    ``written`` is ``inserted + updated``. Records deleted because they are *absent* from the source are in ``deleted`` only:
    nobody read them.
    """

    read: int = 0
    unchanged: int = 0
    inserted: int = 0
    updated: int = 0
    rejected: int = 0
    conflict: int = 0
    deferred: int = 0
    filtered: int = 0
    deleted: int = 0

    @property
    def written(self) -> int:
        return self.inserted + self.updated

    @property
    def balanced(self) -> bool:
        """Whether every record read is accounted for exactly once."""
        return self.read == (
            self.unchanged + self.written + self.rejected + self.conflict + self.deferred + self.filtered
        )

    def as_dict(self) -> dict[str, int]:
        return {**asdict(self), "written": self.written}


@dataclass(slots=True)
class SideCounters:
    """The records of one side's snapshot in a two-way run, counted once each; and what was written to that side.

    ``read = unchanged + written + rejected + conflict + deferred + filtered``, the first that fits of: refused here; left out by the
    filter; held up (refused on the other side, moved meanwhile, or a deletion that waits); under an open conflict; something of
    it travelled; nothing did. ``inserted``, ``updated``, ``deleted`` are writes made here.
    """

    read: int = 0
    unchanged: int = 0
    written: int = 0
    rejected: int = 0
    conflict: int = 0
    deferred: int = 0
    filtered: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every record read is accounted for exactly once."""
        return self.read == (
            self.unchanged + self.written + self.rejected + self.conflict + self.deferred + self.filtered
        )

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A record that was refused, and why.

    Args:
        rule: stable name: ``convert`` (does not fit the declared type), ``ragged_row``, ``duplicate_key``,
            ``expect_…`` (a Great Expectations type), ``too_long``, ``constraint``…
        field: destination name of the field at fault; None where the whole record is.
        value: the offending value as text, None for null. The store encrypts it; logs never hold it.
        message: one sentence a person can act on.
        where: file:line, sheet!cell or row.
        key: the record's key as text, if it has one.
        record: source column → raw text, so that the record can be corrected and replayed.
    """

    rule: str
    message: str
    field: str | None = None
    value: str | None = None
    where: Where = default(default_factory=Where)
    key: str | None = None
    record: dict[str, str | None] = default(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "field": self.field,
            "value": self.value,
            "message": self.message,
            "where": self.where.as_dict(),
            "key": self.key,
            "record": self.record,
        }
