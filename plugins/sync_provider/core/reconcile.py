"""The three-way merge of one key: pure, and the only place where two-way synchronisation decides anything. No I/O, no clock.

In the manner of Unison's reconciliation: what both sides hold is compared with what they last agreed on (the base).

=========  ===========  ===========  ==========================================================
base       source       destination  becomes
=========  ===========  ===========  ==========================================================
any        x            x            x, agreed
b          b            d            d
b          s            b            s
b or none  s            d            by policy, field by field, or the whole record
none       x            absent       x on both sides (and the mirror image)
b          absent       b            absent if deletions may travel that way, else b again
b          absent       d            d on both sides: an edit beats a deletion
any        absent       absent       absent
=========  ===========  ===========  ==========================================================

Whatever a side holds and does not hold afterwards is the base's value or stands in a conflict: nothing is lost unrecorded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sync_provider.core.canonical import write_text
from sync_provider.core.conflicts import (
    SIDES,
    Base,
    Circumstances,
    Conflict,
    Decision,
    FieldRule,
    Outcome,
    Rules,
    Side,
    Values,
    other,
    same,
)

_ORDINARY = Circumstances()


def reconcile(
    base: Base | None,
    source: Values | None,
    destination: Values | None,
    rules: Rules,
    circumstances: Circumstances = _ORDINARY,
) -> Outcome:
    """Decide what each side shall hold for one key.

    Args:
        base: what was agreed last; None: nothing.
        source: the source's record, in destination names and types; None: it has none.
        destination: the destination's record.
        rules: the mapping's.
        circumstances: times, decisions, and where a record may be deleted now.
    """
    if source is None and destination is None:
        return Outcome(source=None, destination=None, base=None)
    if source is None or destination is None:
        present: Side = "destination" if source is None else "source"
        record = destination if source is None else source
        assert record is not None
        return _one_sided(base, present, record, rules, circumstances)
    if rules.granularity == "row" and _both_changed(base, source, destination, rules):
        return _whole_records(base, source, destination, rules, circumstances)
    return _field_by_field(base, source, destination, rules, circumstances)


def copy_key(record: Values, key: tuple[str, ...]) -> dict[str, str]:
    """The key of the second record that ``keep_both`` makes of a loser: the last text part gets a mark of its content.

    The same loser always gets the same key, so that a run which is repeated makes no third record.

    Raises:
        ValueError: no part of the key is a text.
    """
    content = "\x1e".join(f"{n}\x1f{'' if v is None else '=' + write_text(v)}" for n, v in sorted(record.items()))
    for name in reversed(key):
        if isinstance(record[name], str):
            return {name: f"{record[name]}~{hashlib.sha256(content.encode()).hexdigest()[:8]}"}
    raise ValueError("keep_both needs a key with a text in it")


# One side holds the record.


def _one_sided(base: Base | None, present: Side, record: Values, rules: Rules, now: Circumstances) -> Outcome:
    if base is None:
        return _copied(present, record, rules)
    missing = other(present)
    edited = {f.name for f in rules.fields if not _is_old(base, f.name, record[f.name])}
    travelling = {f.name for f in rules.fields if f.owner != missing} & edited
    if travelling:
        conflict = _about_records(base, present, record, policy="edit_beats_delete", winner=present)
        return _copied(present, record, rules, conflicts=(conflict,))
    if not rules.deletes_reach(present):
        return _copied(present, record, rules, note="restored")
    if present not in now.may_delete:
        return Outcome(**_sides(present, record, None), base=base, note="deletes_waiting")
    # Edits of fields that only the missing side may change cannot travel, but must not vanish either.
    lost = (_about_records(base, present, record, policy="deletion", winner=missing),) if edited else ()
    return Outcome(source=None, destination=None, base=None, conflicts=lost)


def _copied(
    present: Side, record: Values, rules: Rules, *, conflicts: tuple[Conflict, ...] = (), note: str = ""
) -> Outcome:
    """The record on both sides, but for fields that cannot travel there."""
    stays = frozenset(f.name for f in rules.fields if f.owner == other(present) and record[f.name] is not None)
    copy = {name: None if name in stays else value for name, value in record.items()}
    return Outcome(**_sides(present, record, copy), base=Base(copy, unagreed=stays), conflicts=conflicts, note=note)


def _is_old(base: Base, name: str, value: Any) -> bool:
    """Whether a value is what was agreed, or, where nothing ever was, no value at all."""
    return same(base.values[name], value) if base.knows(name) else value is None


def _about_records(base: Base | None, present: Side, record: Values, *, policy: str, winner: Side) -> Conflict:
    values = _sides(present, record, None)
    return Conflict(
        field=None,
        base=base.values if base else None,
        **values,
        has_base=base is not None,
        policy=policy,
        winner=winner,
        chosen=values[winner],
    )


def _sides(side: Side, here: Any, there: Any) -> dict[str, Any]:
    return {side: here, other(side): there}


# Both sides hold it.


@dataclass(slots=True)
class _Merged:
    """One field, decided: what each side shall hold, and the conflict if there was one."""

    source: Any
    destination: Any
    conflict: Conflict | None = None


def _field_by_field(
    base: Base | None, source: Values, destination: Values, rules: Rules, now: Circumstances
) -> Outcome:
    merged = {f.name: _merge(f, base, source[f.name], destination[f.name], now) for f in rules.fields}
    return _concluded(base, source, destination, rules, merged)


def _whole_records(base: Base | None, source: Values, destination: Values, rules: Rules, now: Circumstances) -> Outcome:
    """Both records changed, and differ in fields that either may change: these are decided together."""
    shared = _contested(source, destination, rules)
    whole = _decide(
        None, rules.policy, base.values if base else None, dict(source), dict(destination), base is not None, now
    )
    merged = {}
    for rule in rules.fields:
        name = rule.name
        if name not in shared:
            merged[name] = _merge(rule, base, source[name], destination[name], now)
        elif whole.conflict and whole.conflict.winner is None:
            merged[name] = _Merged(source[name], destination[name])
        else:
            merged[name] = _Merged(whole.source[name], whole.destination[name])
    return _concluded(base, source, destination, rules, merged, whole.conflict)


def _both_changed(base: Base | None, source: Values, destination: Values, rules: Rules) -> bool:
    if not _contested(source, destination, rules):
        return False
    shared = [f.name for f in rules.fields if f.owner is None]
    return base is None or all(
        any(not (base.knows(name) and same(base.values[name], record[name])) for name in shared)
        for record in (source, destination)
    )


def _contested(source: Values, destination: Values, rules: Rules) -> set[str]:
    """Fields that differ, that both sides may change, and in which no null stands that means nothing."""
    return {
        f.name
        for f in rules.fields
        if f.owner is None
        and not same(source[f.name], destination[f.name])
        and not (f.nulls == "keep" and None in (source[f.name], destination[f.name]))
    }


def _merge(rule: FieldRule, base: Base | None, source: Any, destination: Any, now: Circumstances) -> _Merged:
    if same(source, destination):
        return _Merged(source, destination)
    has_base = base is not None and base.knows(rule.name)
    agreed = base.values[rule.name] if base is not None and has_base else None
    if rule.owner is not None:
        return _merge_owned(rule, rule.owner, agreed, has_base, source, destination)
    if rule.nulls == "keep" and (source is None or destination is None):
        return _merge_kept(agreed, has_base, source, destination)
    if has_base and same(source, agreed):
        return _Merged(destination, destination)
    if has_base and same(destination, agreed):
        return _Merged(source, source)
    return _decide(rule.name, rule.policy, agreed, source, destination, has_base, now)


def _merge_owned(rule: FieldRule, owner: Side, agreed: Any, has_base: bool, source: Any, destination: Any) -> _Merged:
    """A field that one side owns: the other side holds what the owner holds."""
    held, theirs = (source, destination) if owner == "source" else (destination, source)
    if held is None and (not has_base or rule.nulls == "keep"):
        # The record was born on the other side and the value cannot travel back; or a null means nothing here.
        return _Merged(source, destination)
    old = same(theirs, agreed) if has_base else theirs is None
    conflict = Conflict(
        field=rule.name,
        base=agreed,
        source=source,
        destination=destination,
        has_base=has_base,
        policy="direction",
        winner=owner,
        chosen=held,
    )
    return _Merged(held, held, None if old else conflict)


def _merge_kept(agreed: Any, has_base: bool, source: Any, destination: Any) -> _Merged:
    """A null that means nothing: it stays where it is, and is filled when the other side gets a new value."""
    value = destination if source is None else source
    if has_base and same(value, agreed):
        return _Merged(source, destination)
    return _Merged(value, value)


def _decide(
    name: str | None, policy: str, agreed: Any, source: Any, destination: Any, has_base: bool, now: Circumstances
) -> _Merged:
    """A true conflict: a person's decision if there is one for just these values, else the policy."""
    facts: dict[str, Any] = {
        "field": name,
        "base": agreed,
        "source": source,
        "destination": destination,
        "has_base": has_base,
    }
    decision = now.decisions.get(name)
    if decision is not None and _still_holds(decision, source, destination):
        value = decision.chosen()
        conflict = Conflict(**facts, policy="decision", winner=decision.choice, chosen=value, decision=decision.number)
        return _Merged(value, value, conflict)
    winner = _winner(policy, now)
    if winner is None:
        return _Merged(source, destination, Conflict(**facts, policy=policy))
    value = destination if winner == "destination" else source
    return _Merged(value, value, Conflict(**facts, policy=policy, winner=winner, chosen=value))


def _still_holds(decision: Decision, source: Any, destination: Any) -> bool:
    """Whether the sides hold what the person saw; a third value is for one field only."""
    if decision.choice == "value" and isinstance(source, dict):
        return False
    return _equal(decision.source, source) and _equal(decision.destination, destination)


def _equal(one: Any, two: Any) -> bool:
    """`same`, of values or of whole records."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)
    return same(one, two)


def _winner(policy: str, now: Circumstances) -> Any:
    match policy:
        case "source_wins":
            return "source"
        case "destination_wins":
            return "destination"
        case "keep_both":
            return "both"
        case "newest":
            one, two = now.source_time, now.destination_time
            # A tie decides nothing, and neither does a time that nobody knows.
            if one is None or two is None or one == two:
                return None
            return "source" if one > two else "destination"
        case _:
            return None


def _concluded(
    base: Base | None,
    source: Values,
    destination: Values,
    rules: Rules,
    merged: dict[str, _Merged],
    whole: Conflict | None = None,
) -> Outcome:
    """Put the fields together again; hold up updates that a null skips; remember what both sides hold alike."""
    keys = {name: source[name] for name in rules.key}
    wanted = {
        "source": keys | {name: field.source for name, field in merged.items()},
        "destination": keys | {name: field.destination for name, field in merged.items()},
    }
    for side, record in zip(SIDES, (source, destination), strict=True):
        if any(f.nulls == "skip" and wanted[side][f.name] is None and record[f.name] is not None for f in rules.fields):
            wanted[side] = dict(record)
    conflicts = tuple(filter(None, [whole, *(field.conflict for field in merged.values())]))
    copies: tuple[Values, ...] = ()
    if any(conflict.winner == "both" for conflict in conflicts):
        copies = ({**destination, **copy_key(destination, rules.key)},)
    return Outcome(
        source=wanted["source"],
        destination=wanted["destination"],
        base=_agreed(base, wanted["source"], wanted["destination"], rules),
        conflicts=conflicts,
        copies=copies,
    )


def _agreed(base: Base | None, source: Values, destination: Values, rules: Rules) -> Base:
    """Where both sides will hold the same, that; elsewhere what was agreed before, if anything was."""
    values = {name: source[name] for name in rules.key}
    unagreed = set()
    for rule in rules.fields:
        name = rule.name
        if same(source[name], destination[name]):
            values[name] = source[name]
        elif base is not None and base.knows(name):
            values[name] = base.values[name]
        else:
            values[name] = None
            unagreed.add(name)
    return Base(values, frozenset(unagreed))
