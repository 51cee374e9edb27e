"""Laws of the merge: nothing vanishes, nothing is invented, twice is once, killed half-way is the same as not killed.

Every law is checked for all cases of one field, and for random records of three fields. They are written from what is promised, not from
how it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sync_provider.core.conflicts import (
    SIDES,
    Base,
    Circumstances,
    Conflict,
    Decision,
    FieldRule,
    Outcome,
    Rules,
    other,
    same,
)
from sync_provider.core.reconcile import reconcile

DECIDED = 9
"""A third value, which only a person brings in."""


@dataclass(frozen=True, slots=True)
class Case:
    """One key before a run."""

    base: Base | None
    source: dict[str, Any] | None
    destination: dict[str, Any] | None
    rules: Rules
    now: Circumstances

    def run(self) -> Outcome:
        return reconcile(self.base, self.source, self.destination, self.rules, self.now)

    def agreed(self, name: str, value: Any) -> bool:
        return self.base is not None and self.base.knows(name) and same(self.base.values[name], value)

    def plain(self) -> bool:
        """Whether every value may go both ways."""
        return all(f.direction == "both" and f.nulls == "clear" for f in self.rules.fields)


def about(conflict: Conflict, name: str, value: Any, side: str) -> bool:
    """Whether a conflict holds this value of this field of this side."""
    held = getattr(conflict, side)
    if conflict.field is None:
        return held is not None and name in held and same(held[name], value)
    return conflict.field == name and same(held, value)


# The laws. Each is given a case and its outcome.


def nothing_vanishes(case: Case, outcome: Outcome) -> None:
    for side in SIDES:
        before, after = getattr(case, side), getattr(outcome, side)
        for rule in case.rules.fields if before else ():
            value = before[rule.name]
            if after is not None and same(after[rule.name], value):
                continue
            means_nothing = value is None and rule.nulls == "keep"
            # A null that was there from the start, in a field or a record that may not go to the other side.
            never_set = (
                value is None
                and not (case.base is not None and case.base.knows(rule.name))
                and (after is None or rule.owner is not None)
            )
            settled = [c for c in outcome.conflicts if c.winner not in (None, side)]
            recorded = any(about(c, rule.name, value, side) for c in settled)
            assert case.agreed(rule.name, value) or means_nothing or never_set or recorded, (side, rule.name)


def nothing_is_invented(case: Case, outcome: Outcome) -> None:
    known = [r for r in (case.source, case.destination, case.base and case.base.values) if r]
    decided = [d.value for d in case.now.decisions.values() if d.choice == "value"]
    for after in (outcome.source, outcome.destination, *outcome.copies):
        for rule in case.rules.fields if after else ():
            name = rule.name
            if after is not None and (after[name] is not None or rule.direction == "both"):
                assert any(same(after[name], value) for value in (*(r[name] for r in known), *decided)), name


def twice_is_once(case: Case, outcome: Outcome) -> None:
    again = replace(case, base=outcome.base, source=outcome.source, destination=outcome.destination).run()
    assert (again.source, again.destination, again.base) == (outcome.source, outcome.destination, outcome.base)
    assert again.copies == ()
    # What is open is the same conflict again, by which the log knows it and a decision finds it; what is settled is past.
    assert again.conflicts == tuple(c for c in outcome.conflicts if c.winner is None)


def killed_half_way_is_not_killed(case: Case, outcome: Outcome) -> None:
    if any(not rule.restorable for rule in case.rules.fields) and None in (case.source, case.destination):
        return  # what cannot be written back cannot be put back: it is in the log, as `nothing_vanishes` has it
    for first in SIDES:
        if outcome.copies and first == "destination":
            continue  # the source is written first; who loses by keep_both is the destination
        half = replace(case, **{first: getattr(outcome, first)})
        again = half.run()
        assert (again.source, again.destination) == (outcome.source, outcome.destination), first
        assert again.base == outcome.base or outcome.base is None or outcome.note, first
        nothing_vanishes(half, again)


def sides_mirror(case: Case, outcome: Outcome) -> None:
    if "keep_both" in (case.rules.policy, *(rule.policy for rule in case.rules.fields)):
        return  # the source's record keeps the key, the destination's gets another
    there = mirrored_case(case).run()
    assert (outcome.source, outcome.destination, outcome.base, outcome.note) == (
        there.destination,
        there.source,
        there.base,
        there.note,
    )
    assert [mirrored_conflict(c) for c in outcome.conflicts] == list(there.conflicts)


def order_of_fields_is_nothing(case: Case, outcome: Outcome) -> None:
    turned = replace(case, rules=replace(case.rules, fields=case.rules.fields[::-1])).run()
    assert replace(turned, conflicts=()) == replace(outcome, conflicts=())
    assert sorted(map(repr, map(unordered, turned.conflicts))) == sorted(map(repr, map(unordered, outcome.conflicts)))


def deletions_are_the_weakest(case: Case, outcome: Outcome) -> None:
    for side in SIDES:
        if getattr(case, side) is None or getattr(outcome, side) is not None:
            continue
        assert case.base is not None
        assert getattr(case, other(side)) is None
        assert case.rules.deletes in ("propagate", f"to_{side}")
        assert side in case.now.may_delete
        assert other(side) not in case.now.unsure
        for rule in case.rules.fields:
            if rule.owner != other(side):
                before = getattr(case, side)[rule.name]
                assert case.agreed(rule.name, before) or (not case.base.knows(rule.name) and before is None)


def absence_that_may_be_a_misreading_says_nothing(case: Case, outcome: Outcome) -> None:
    for side in case.now.unsure:
        if case.base is not None and getattr(case, side) is None:
            assert (outcome.source, outcome.destination) == (case.source, case.destination)
            assert outcome.base is case.base or case.source is case.destination is None


def sides_agree_unless_a_person_must_decide(case: Case, outcome: Outcome) -> None:
    if outcome.note == "deletes_waiting" or outcome.open or not case.plain():
        return
    assert outcome.source == outcome.destination
    assert (outcome.base and outcome.base.values) == outcome.source
    assert not (outcome.base and outcome.base.unagreed)


def merge_laws(case: Case, outcome: Outcome) -> None:
    """m(b,x,x)=x; m(b,b,x)=x; m(b,x,b)=x, for records that are there, field by field."""
    if case.source is None or case.destination is None or case.rules.granularity == "row" or not case.plain():
        return
    if case.now.decisions:
        return  # a person's word is above them
    for rule in case.rules.fields:
        name = rule.name
        source, destination = case.source[name], case.destination[name]
        expected = destination if case.agreed(name, source) else source
        if same(source, destination) or case.agreed(name, destination) or case.agreed(name, source):
            assert outcome.source is not None
            assert same(outcome.source[name], expected)
            assert not any(c.field == name for c in outcome.conflicts)


def open_conflicts_are_left_alone(case: Case, outcome: Outcome) -> None:
    for conflict in outcome.conflicts:
        if conflict.winner is not None:
            continue
        names = [conflict.field] if conflict.field else list(conflict.source)
        for name in names:
            for side in SIDES:
                assert same(getattr(outcome, side)[name], getattr(case, side)[name])
            known = case.base is not None and case.base.knows(name)
            assert outcome.base is not None
            assert outcome.base.knows(name) == known
            assert not known or same(outcome.base.values[name], case.base.values[name])  # type: ignore[union-attr]


def owned_fields_follow_their_owner(case: Case, outcome: Outcome) -> None:
    for rule in case.rules.fields:
        owner = rule.owner
        if owner is None or outcome.source is None or outcome.destination is None:
            continue
        before = getattr(case, owner)
        if before is not None:
            # Nobody but its owner changes it.
            assert same(getattr(outcome, owner)[rule.name], before[rule.name])


def nulls_do_what_they_are_told(case: Case, outcome: Outcome) -> None:
    decided = {
        name
        for c in outcome.conflicts
        if c.decision is not None
        for name in (c.source if c.field is None else [c.field])
    }
    for rule in case.rules.fields:
        if rule.nulls == "clear" or rule.name in decided:
            continue
        for side in SIDES:
            before, after = getattr(case, side), getattr(outcome, side)
            if before and after and before[rule.name] is not None:
                assert after[rule.name] is not None, (side, rule)
    for side in SIDES:
        before, across = getattr(case, side), getattr(case, other(side))
        if (
            before
            and across
            and any(
                rule.nulls == "skip"
                and rule.owner in (None, other(side))
                and rule.name not in decided
                and across[rule.name] is None
                and before[rule.name] is not None
                and case.agreed(rule.name, before[rule.name])
                for rule in case.rules.fields
            )
        ):
            assert getattr(outcome, side) == before


def decisions_are_for_what_was_seen(case: Case, outcome: Outcome) -> None:
    for conflict in outcome.conflicts:
        if conflict.decision is None:
            continue
        decision = case.now.decisions[conflict.field]
        assert decision.number == conflict.decision
        for side in SIDES:
            assert getattr(conflict, side) in (getattr(decision, side), decision.chosen())
        assert conflict.chosen == decision.chosen()
        if conflict.field is not None:
            assert same(outcome.source[conflict.field], decision.chosen())  # type: ignore[index]
            assert same(outcome.destination[conflict.field], decision.chosen())  # type: ignore[index]
    for conflict in outcome.conflicts:
        found = case.now.decisions.get(conflict.field)
        fresh = found and (found.source, found.destination) == (conflict.source, conflict.destination)
        held_up = any(rule.nulls == "skip" for rule in case.rules.fields)
        if fresh and conflict.policy not in ("direction", "edit_beats_delete", "deletion", "restored") and not held_up:
            assert conflict.decision is not None or (found.choice == "value" and conflict.field is None)  # type: ignore[union-attr]


LAWS: tuple[Callable[[Case, Outcome], None], ...] = (
    nothing_vanishes,
    nothing_is_invented,
    twice_is_once,
    killed_half_way_is_not_killed,
    sides_mirror,
    order_of_fields_is_nothing,
    deletions_are_the_weakest,
    absence_that_may_be_a_misreading_says_nothing,
    sides_agree_unless_a_person_must_decide,
    merge_laws,
    open_conflicts_are_left_alone,
    owned_fields_follow_their_owner,
    nulls_do_what_they_are_told,
    decisions_are_for_what_was_seen,
)


def check(case: Case) -> None:
    outcome = case.run()
    for law in LAWS:
        try:
            law(case, outcome)
        except AssertionError as error:
            raise AssertionError(f"{law.__name__}: {error}\n{case}\n{outcome}") from error


# The mirror image of a case.

_MIRROR = {
    "source": "destination",
    "destination": "source",
    "source_wins": "destination_wins",
    "destination_wins": "source_wins",
    "to_source": "to_destination",
    "to_destination": "to_source",
}


def mirrored(word: Any) -> Any:
    return _MIRROR.get(word, word)


def mirrored_conflict(conflict: Conflict) -> Conflict:
    return replace(
        conflict,
        source=conflict.destination,
        destination=conflict.source,
        source_time=conflict.destination_time,
        destination_time=conflict.source_time,
        policy=mirrored(conflict.policy),
        winner=mirrored(conflict.winner),
    )


def mirrored_case(case: Case) -> Case:
    rules, now = case.rules, case.now
    fields = tuple(replace(f, policy=mirrored(f.policy), direction=mirrored(f.direction)) for f in rules.fields)
    decisions = {
        name: replace(d, choice=mirrored(d.choice), source=d.destination, destination=d.source)
        for name, d in now.decisions.items()
    }
    return Case(
        case.base,
        case.destination,
        case.source,
        replace(rules, fields=fields, policy=mirrored(rules.policy), deletes=mirrored(rules.deletes)),
        Circumstances(
            source_time=now.destination_time,
            destination_time=now.source_time,
            decisions=decisions,
            may_delete=frozenset(map(mirrored, now.may_delete)),
            unsure=frozenset(map(mirrored, now.unsure)),
        ),
    )


def unordered(conflict: Conflict) -> Conflict:
    def sort(value: Any) -> Any:
        return dict(sorted(value.items())) if isinstance(value, dict) else value

    parts = {name: sort(getattr(conflict, name)) for name in ("base", "source", "destination", "chosen")}
    return replace(conflict, **parts)


# All cases of one field. One value stands for all that were agreed, two more for what may have become of it.

POLICIES = ("merge", "manual", "source_wins", "destination_wins", "newest", "keep_both")
DECIDING = ("merge", *POLICIES[2:])  # `manual` leaves open what `merge` does
DIRECTIONS = ("both", "to_destination", "to_source")
WAYS = (("both", True), *product(DIRECTIONS[1:], (True, False)))
NULLS = ("clear", "keep", "skip")
DELETES = ("none", "propagate", "to_destination", "to_source")
BASES = (None, Base({"k": "a", "v": None}, frozenset({"v"})), Base({"k": "a", "v": None}), Base({"k": "a", "v": 1}))
RECORDS = tuple({"k": "a", "v": value} for value in (None, 1, 2, 3))


def one_sided() -> Iterator[Case]:
    for base, record, present in product(BASES, RECORDS, SIDES):
        held = {present: record, other(present): None}
        for (direction, restorable), nulls, deletes in product(WAYS, NULLS, DELETES):
            fields = (FieldRule(name="v", direction=direction, nulls=nulls, restorable=restorable),)  # type: ignore[arg-type]
            for allowed, unsure in product(((), ("source",), ("destination",), SIDES), ((), ("source",))):
                now = Circumstances(may_delete=frozenset(allowed), unsure=frozenset(unsure))
                yield Case(base, **held, rules=Rules(key=("k",), fields=fields, deletes=deletes), now=now)  # type: ignore[arg-type]


def two_sided() -> Iterator[Case]:
    for base, source, destination in product(BASES, RECORDS, RECORDS):
        for direction, nulls, policy, granularity in product(DIRECTIONS, NULLS, DECIDING, ("cell", "row")):
            fields = (FieldRule(name="v", direction=direction, nulls=nulls, policy=policy),)  # type: ignore[arg-type]
            rules = Rules(key=("k",), fields=fields, policy=policy, granularity=granularity)  # type: ignore[arg-type]
            for now in circumstances(source["v"], destination["v"], policy, granularity):
                yield Case(base, source, destination, rules, now)


def circumstances(source: Any, destination: Any, policy: str, granularity: str) -> Iterator[Circumstances]:
    """Without decisions, at all times; with decisions about just this, and about what was here once."""
    for times in ((None, 1), (1, 1), (1, 2), (2, 1)) if policy == "newest" else ((None, None),):
        yield Circumstances(source_time=times[0], destination_time=times[1])
    field = "v" if granularity == "cell" else None
    fresh, stale = (source, destination), ((4, destination), (source, 4))
    choices = (("source", None), ("destination", None), ("value", DECIDED), ("value", None))
    for seen, (choice, value) in (
        (*product((fresh,), choices), *product(stale, choices[:1])) if policy == "merge" else ()
    ):
        one, two = seen if field else ({"v": value} for value in seen)
        decision = Decision(number=7, choice=choice, value=value, source=one, destination=two)  # type: ignore[arg-type]
        yield Circumstances(decisions={field: decision})


def test_the_laws_hold_for_every_case_of_a_record_on_one_side() -> None:
    for case in one_sided():
        check(case)


def test_the_laws_hold_for_every_case_of_a_field_on_both_sides() -> None:
    for case in two_sided():
        check(case)


# Random records of three fields.

NAMES = ("v", "w", "x")
VALUE = st.sampled_from([None, 1, 1, 2, 3])
PRESENT = st.fixed_dictionaries({"k": st.just("a"), **dict.fromkeys(NAMES, VALUE)})
RECORD = st.none() | PRESENT | PRESENT | PRESENT
POLICY = st.sampled_from(POLICIES)
FIELD = st.builds(
    FieldRule,
    name=st.just(""),
    direction=st.sampled_from(["both", "both", *DIRECTIONS]),
    policy=POLICY,
    nulls=st.sampled_from(["clear", "clear", *NULLS]),
    restorable=st.booleans(),
)


@st.composite
def some_rules(draw: st.DrawFn) -> Rules:
    granularity = draw(st.sampled_from(["cell", "row"]))
    policy = draw(POLICY)
    fields = tuple(replace(draw(FIELD), name=name) for name in NAMES)
    if granularity == "row":  # where fields have no policy of their own
        fields = tuple(replace(f, policy=policy) for f in fields)
    return Rules(
        key=("k",), fields=fields, policy=policy, granularity=granularity, deletes=draw(st.sampled_from(DELETES))
    )  # type: ignore[arg-type]


@st.composite
def some_case(draw: st.DrawFn) -> Case:
    rules = draw(some_rules())
    agreed = draw(RECORD)
    unagreed = draw(st.frozensets(st.sampled_from(NAMES))) if agreed else frozenset()
    base = Base({**agreed, **dict.fromkeys(unagreed)}, unagreed) if agreed else None
    case = Case(
        base,
        draw(RECORD),
        draw(RECORD),
        rules,
        Circumstances(
            source_time=draw(st.sampled_from([None, 1, 2])),
            destination_time=draw(st.sampled_from([None, 1, 2])),
            may_delete=draw(st.frozensets(st.sampled_from(SIDES))),
            unsure=draw(st.just(frozenset()) | st.frozensets(st.sampled_from(SIDES))),
        ),
    )
    # What a person may have decided: about conflicts as they are, or as they were.
    decisions = {}
    for number, conflict in enumerate(case.run().conflicts):
        moved = draw(st.booleans()) and conflict.field is not None
        if draw(st.booleans()) and conflict.source is not None and conflict.destination is not None:
            decisions[conflict.field] = Decision(
                number=number,
                choice=draw(st.sampled_from(["source", "destination", "value"])),
                value=draw(st.sampled_from([None, DECIDED])),
                source=4 if moved else conflict.source,
                destination=conflict.destination,
            )
    return replace(case, now=replace(case.now, decisions=decisions))


@settings(max_examples=8 * settings.default.max_examples)
@given(some_case())
def test_the_laws_hold_for_records_of_several_fields(case: Case) -> None:
    check(case)
