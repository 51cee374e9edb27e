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

Whatever a side holds and does not hold afterwards is the base's value or stands in a conflict: nothing is lost unrecorded. (A null in a
field of ``nulls: keep`` is no value.) And a run that is killed when it has written one side leaves a key that the next run brings to the
same end: each rule below holds as well for what it has written itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    outcome = _outcome(base, source, destination, rules, circumstances)
    times = {"source_time": circumstances.source_time, "destination_time": circumstances.destination_time}
    if not outcome.conflicts or set(times.values()) == {None}:
        return outcome
    return replace(outcome, conflicts=tuple(replace(conflict, **times) for conflict in outcome.conflicts))


def _outcome(
    base: Base | None, source: Values | None, destination: Values | None, rules: Rules, now: Circumstances
) -> Outcome:
    if source is None and destination is None:
        return Outcome(source=None, destination=None, base=None)
    if source is None or destination is None:
        present: Side = "destination" if source is None else "source"
        record = destination if source is None else source
        assert record is not None
        return _one_sided(base, present, record, rules, now)
    together: tuple[str, ...] = ()
    if rules.granularity == "row":
        contested = _contested(source, destination, rules)
        if all(_changed(base, record, contested) for record in (source, destination)):
            together = contested
    return _two_sided(base, source, destination, rules, now, together)


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
        return _copied(None, present, record, rules, now)
    missing = other(present)
    waiting = Outcome(**_sides(present, record, None), base=base, note="deletes_waiting")
    if missing in now.unsure:
        return waiting
    edited = {f.name for f in rules.fields if not _is_old(base, f.name, record[f.name])}
    travelling = {f.name for f in rules.fields if f.owner != missing} & edited
    if travelling:
        conflict = _about_records(base, present, record, policy="edit_beats_delete", winner=present)
        return _copied(base, present, record, rules, now, conflict)
    if not rules.deletes_reach(present):
        return _copied(base, present, record, rules, now, note="restored")
    if present not in now.may_delete:
        return waiting
    # Edits of fields that only the missing side may change cannot travel, but must not vanish either.
    lost = (_about_records(base, present, record, policy="deletion", winner=missing),) if edited else ()
    return Outcome(source=None, destination=None, base=None, conflicts=lost)


def _copied(
    base: Base | None,
    present: Side,
    record: Values,
    rules: Rules,
    now: Circumstances,
    *conflicts: Conflict,
    note: str = "",
) -> Outcome:
    """The record on both sides: merged with what it would be over there already.

    That is the record itself, but for fields that only the other side may change: there they are as agreed, or null where that is
    unknown or cannot be written back.
    """
    missing = other(present)
    owned = {f.name: f.restorable for f in rules.fields if f.owner == missing}
    known = {n: base.values[n] for n, restorable in owned.items() if restorable and base is not None and base.knows(n)}
    copy = {**record, **dict.fromkeys(owned), **known}
    lost = [n for n in owned if n not in known and base is not None and base.knows(n) and record[n] is not None]
    before = base and Base(base.values, base.unagreed | (owned.keys() - known.keys()))
    if lost and not conflicts:
        # Should the null there be taken for a change one day, the value is in the log.
        conflicts = (_about_records(base, present, record, policy="restored", winner=present),)
    outcome = _two_sided(before, rules=rules, now=now, together=(), **_sides(present, record, copy))
    return replace(outcome, conflicts=(*conflicts, *outcome.conflicts), note=note)


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


def _two_sided(
    base: Base | None, source: Values, destination: Values, rules: Rules, now: Circumstances, together: tuple[str, ...]
) -> Outcome:
    """Field by field, but for those that are decided together."""
    found: list[tuple[Conflict, tuple[str, ...]]] = []
    merged = {}
    if together:
        known = {name: base.values[name] for name in together if base is not None and base.knows(name)}
        one, two = ({name: record[name] for name in together} for record in (source, destination))
        whole = _decide(None, rules.policy, known or None, one, two, bool(known), now)
        merged = {name: _Merged(whole.source[name], whole.destination[name]) for name in together}
        if whole.conflict is not None:
            found.append((whole.conflict, together))
    for rule in rules.fields:
        name = rule.name
        if name not in merged:
            merged[name] = _merge(rule, base, source[name], destination[name], now)
            if (conflict := merged[name].conflict) is not None:
                found.append((conflict, (name,)))
    return _concluded(base, source, destination, rules, merged, found)


def _contested(source: Values, destination: Values, rules: Rules) -> tuple[str, ...]:
    """Fields that differ, that both sides may change, and in which no null stands that means nothing."""
    return tuple(
        f.name
        for f in rules.fields
        if f.owner is None
        and not same(source[f.name], destination[f.name])
        and not (f.nulls == "keep" and None in (source[f.name], destination[f.name]))
    )


def _changed(base: Base | None, record: Values, contested: tuple[str, ...]) -> bool:
    """Whether somebody changed one of these fields of the record since they were agreed."""
    return any(base is None or not base.knows(n) or not same(base.values[n], record[n]) for n in contested)


def _merge(rule: FieldRule, base: Base | None, source: Any, destination: Any, now: Circumstances) -> _Merged:
    if same(source, destination):
        return _Merged(source, destination)
    has_base = base is not None and base.knows(rule.name)
    agreed = base.values[rule.name] if base is not None and has_base else None
    if rule.owner is not None:
        return _merge_owned(rule, rule.owner, agreed, has_base, source, destination)
    if _decision(now, rule.name, source, destination) is not None:
        # Even where one side already holds what was chosen, which may be the base's value, or a null.
        return _decide(rule.name, rule.policy, agreed, source, destination, has_base, now)
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
    if (decision := _decision(now, name, source, destination)) is not None:
        value = decision.chosen()
        conflict = Conflict(**facts, policy="decision", winner=decision.choice, chosen=value, decision=decision.number)
        return _Merged(value, value, conflict)
    winner = _winner(policy, now)
    if winner is None:
        return _Merged(source, destination, Conflict(**facts, policy=policy))
    value = destination if winner == "destination" else source
    return _Merged(value, value, Conflict(**facts, policy=policy, winner=winner, chosen=value))


def _decision(now: Circumstances, name: str | None, source: Any, destination: Any) -> Decision | None:
    """The person's decision, if each side holds what they saw, or already what they chose. A third value is for one field."""
    decision = now.decisions.get(name)
    if decision is None or (decision.choice == "value" and name is None):
        return None
    seen = ((decision.source, source), (decision.destination, destination))
    holds = all(_equal(before, held) or _equal(decision.chosen(), held) for before, held in seen)
    return decision if holds else None


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
    found: Sequence[tuple[Conflict, tuple[str, ...]]],
) -> Outcome:
    """Put the fields together again; hold up updates that a null skips; remember what both sides hold alike."""
    held: dict[Side, Values] = {"source": source, "destination": destination}
    keys = {name: source[name] for name in rules.key}
    wanted = {side: keys | {name: getattr(field, side) for name, field in merged.items()} for side in SIDES}
    skipped = [side for side in SIDES if _is_skipped(held[side], wanted[side], rules, found)]
    conflicts: list[Conflict] = []
    for conflict, names in found:
        if any(not same(held[side][name], wanted[side][name]) for side in skipped for name in names):
            # The loser's record is held up, so nothing is decided, and nothing lost. A person's decision waits.
            for side in SIDES:
                wanted[side].update((name, held[side][name]) for name in names)
            if conflict.decision is not None:
                policy = rules.policy_of(conflict.field)
                conflicts.append(replace(conflict, policy=policy, winner=None, chosen=None, decision=None))
        else:
            conflicts.append(conflict)
    for side in skipped:
        wanted[side] = dict(held[side])
    copies: tuple[Values, ...] = ()
    if any(conflict.winner == "both" for conflict in conflicts):
        copies = ({**destination, **copy_key(destination, rules.key)},)
    return Outcome(
        source=wanted["source"],
        destination=wanted["destination"],
        base=_agreed(base, wanted["source"], wanted["destination"], rules),
        conflicts=tuple(conflicts),
        copies=copies,
    )


def _is_skipped(held: Values, wanted: Values, rules: Rules, found: Sequence[tuple[Conflict, tuple[str, ...]]]) -> bool:
    """Whether a null would clear a value of a field of ``nulls: skip``, and no person has decided so."""
    decided = {name for conflict, names in found if conflict.decision is not None for name in names}
    return any(
        rule.nulls == "skip" and wanted[rule.name] is None and held[rule.name] is not None and rule.name not in decided
        for rule in rules.fields
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
