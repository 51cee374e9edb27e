"""The words of a two-way merge: rules, what was agreed last, conflicts, decisions, outcomes. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sync_provider.core.mapping import Mapping

Side = Literal["source", "destination"]
SIDES: tuple[Side, Side] = ("source", "destination")

Values = Dict[str, Any]
"""Destination name → typed value (str, int, Decimal, float, bool, date, aware datetime, JSON text) or None."""


def other(side: Side) -> Side:
    """The side across."""
    return "destination" if side == "source" else "source"


def same(one: Any, two: Any) -> bool:
    """Whether two values of one type mean the same; NaN is NaN."""
    if one is None or two is None:
        return one is two
    if isinstance(one, float) and isinstance(two, float) and math.isnan(one):
        return math.isnan(two)
    return bool(one == two)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """How one field that is no key travels.

    Args:
        direction: ``both``, or the only way its values may go.
        policy: who wins where both sides changed it.
        nulls: ``clear``: a null travels as any value; ``keep``: it never does; ``skip``: it holds up the update of the side
            that would be cleared.
        restorable: whether its owner can be given the value when a record comes back; not so where an expression made it.
    """

    name: str
    direction: Literal["both", "to_destination", "to_source"] = "both"
    policy: str = "merge"
    nulls: Literal["clear", "keep", "skip"] = "clear"
    restorable: bool = True

    @property
    def owner(self) -> Side | None:
        """The side whose values hold; None: both may change it."""
        return {"to_destination": SIDES[0], "to_source": SIDES[1]}.get(self.direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything that decides, in one value.

    Args:
        key: names of the key fields, in order.
        fields: the other fields.
        deletes: ``none``, ``propagate``, or the only side at which deletions may arrive (``to_destination``, ``to_source``).
    """

    key: tuple[str, ...]
    fields: tuple[FieldRule, ...]
    policy: str = "merge"
    granularity: Literal["cell", "row"] = "cell"
    deletes: Literal["none", "propagate", "to_destination", "to_source"] = "none"

    @classmethod
    def of(cls, mapping: Mapping) -> Rules:
        """The rules that a two-way mapping declares."""
        from sync_provider.core.mapping import Conflicts

        conflicts = mapping.conflicts or Conflicts()
        return cls(
            key=mapping.key,
            fields=tuple(
                FieldRule(
                    name=f.destination,
                    direction=f.direction,
                    policy=conflicts.fields.get(f.destination, conflicts.policy),
                    nulls=f.nulls,
                    restorable=f.direction != "to_destination" or f.to_destination is None,
                )
                for f in mapping.fields
                if f.destination not in mapping.key
            ),
            policy=conflicts.policy,
            granularity=conflicts.granularity,
            deletes=mapping.deletes,
        )

    def policy_of(self, field: str | None) -> str:
        """The policy of a field; None: of whole records."""
        return next((f.policy for f in self.fields if f.name == field), self.policy)

    def deletes_reach(self, side: Side) -> bool:
        """Whether a deletion on the other side may delete here."""
        return self.deletes in ("propagate", f"to_{side}")


@dataclass(frozen=True, slots=True)
class Base:
    """What both sides agreed on last.

    Args:
        values: all fields, the key included.
        unagreed: fields on which they never agreed; their value here says nothing.
    """

    values: Values
    unagreed: frozenset[str] = frozenset()

    def knows(self, name: str) -> bool:
        return name not in self.unagreed


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """What two sides could not both have, with everything that restores the loser.

    Args:
        field: name of the field; None: about the record, and the values are `Values` of the fields in question, or None for no
            record (``base``: for nothing agreed).
        has_base: whether ``base`` is a value that was agreed.
        policy: what decided: a conflict policy, ``direction`` (a field that one side owns), ``edit_beats_delete``, ``deletion``
            (a record was deleted that held edits which could not travel), ``restored`` (a record came back without values that
            cannot be written back), or ``decision`` (a person).
        winner: ``source``, ``destination``, ``both`` (two records now), ``value`` (a third one), None while it is open.
        chosen: the value that both sides get; meaningless while open.
    """

    field: str | None
    base: Any
    source: Any
    destination: Any
    has_base: bool
    policy: str
    winner: Literal["source", "destination", "both", "value"] | None = None
    chosen: Any = None
    decision: int | None = None
    """Number of the open conflict in the log that a person decided and this one carries out."""
    source_time: Any = None
    """When the source's record was changed, by its own data; None: it does not say."""
    destination_time: Any = None
    """The same of the destination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person decided about an open conflict.

    Args:
        number: of the conflict in the log.
        choice: a side, or ``value``.
        value: the third value, if that was chosen.
        source: the source's value that the person saw.
        destination: the destination's value that the person saw.
    """

    number: int
    choice: Literal["source", "destination", "value"]
    value: Any = None
    source: Any = None
    destination: Any = None

    def chosen(self) -> Any:
        return {"source": self.source, "destination": self.destination, "value": self.value}[self.choice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of one key.

    Args:
        source: the record that the source shall hold; None: none.
        destination: the same for the destination.
        base: what to remember once both sides hold that; None: nothing.
        conflicts: to be recorded before anything is written.
        copies: further records for both sides (``keep_both``).
        note: ``restored``: a deletion that may not travel was undone; ``deletes_waiting``: a record is missing, and nothing
            happens yet; else ``""``.
    """

    source: Values | None
    destination: Values | None
    base: Base | None
    conflicts: tuple[Conflict, ...] = ()
    copies: tuple[Values, ...] = ()
    note: str = ""

    @property
    def open(self) -> bool:
        """Whether a person must decide something."""
        return any(conflict.winner is None for conflict in self.conflicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What else counts for one key.

    Args:
        source_time: when the source's record was changed, by the source's own data; for ``newest``.
        destination_time: the same of the destination.
        decisions: field (None: whole record) → what a person decided.
        may_delete: sides on which a record may be deleted now; not so within the grace period.
        unsure: sides on which a missing record may be one that could not be read: nothing follows from its absence, neither that
            it was deleted nor that it must be put back.
    """

    source_time: Any = None
    destination_time: Any = None
    decisions: Dict[str | None, Decision] = field(default_factory=dict)
    may_delete: frozenset[str] = frozenset(SIDES)
    unsure: frozenset[str] = frozenset()
