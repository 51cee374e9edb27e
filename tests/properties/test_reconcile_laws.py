"""Laws of the merge, over random rules and records of two fields: nothing vanishes, nothing is invented, twice is once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sync_provider.core.conflicts import Base, Circumstances, FieldRule, Outcome, Rules, same
from sync_provider.core.reconcile import reconcile

NAMES = ("v", "w")
VALUE = st.sampled_from([None, 1, 2, 3])
RECORD = st.none() | st.fixed_dictionaries({"k": st.just("a"), "v": VALUE, "w": VALUE})
POLICY = st.sampled_from(["merge", "manual", "source_wins", "destination_wins", "newest", "keep_both"])
FIELD = st.builds(
    FieldRule,
    name=st.just(""),
    direction=st.sampled_from(["both", "both", "to_destination", "to_source"]),
    policy=POLICY,
    nulls=st.sampled_from(["clear", "clear", "keep", "skip"]),
)
RULES = st.builds(
    lambda v, w, **options: Rules(key=("k",), fields=(replace(v, name="v"), replace(w, name="w")), **options),
    v=FIELD,
    w=FIELD,
    policy=POLICY,
    granularity=st.sampled_from(["cell", "row"]),
    deletes=st.sampled_from(["none", "propagate", "to_destination", "to_source"]),
)
BASE = st.none() | st.builds(
    lambda record, unagreed: Base({**record, **dict.fromkeys(unagreed)}, unagreed=unagreed),
    record=RECORD.filter(bool),
    unagreed=st.frozensets(st.sampled_from(NAMES)),
)
NOW = st.builds(
    Circumstances,
    source_time=st.sampled_from([None, 1, 2]),
    destination_time=st.sampled_from([None, 1, 2]),
    may_delete=st.frozensets(st.sampled_from(["source", "destination"])),
)


def sides(outcome: Outcome) -> dict[str, Any]:
    return {"source": outcome.source, "destination": outcome.destination}


@given(BASE, RECORD, RECORD, RULES, NOW)
def test_what_is_overwritten_was_agreed_or_is_recorded(
    base: Any, source: Any, destination: Any, rules: Rules, now: Any
) -> None:
    outcome = reconcile(base, source, destination, rules, now)
    for side, before in (("source", source), ("destination", destination)):
        after = sides(outcome)[side]
        for name in NAMES if before else ():
            if after is not None and same(after[name], before[name]):
                continue
            agreed = base is not None and base.knows(name) and same(base.values[name], before[name])
            nothing = before[name] is None
            recorded = any(
                (c.field == name and same(getattr(c, side), before[name]))
                or (c.field is None and getattr(c, side) == before)
                for c in outcome.conflicts
            )
            assert agreed or nothing or recorded, (side, name)


@given(BASE, RECORD, RECORD, RULES, NOW)
def test_every_value_was_somewhere_before(base: Any, source: Any, destination: Any, rules: Rules, now: Any) -> None:
    outcome = reconcile(base, source, destination, rules, now)
    for after in (outcome.source, outcome.destination, *outcome.copies):
        for name in NAMES if after else ():
            there = [record[name] for record in (source, destination) if record]
            assert any(same(after[name], value) for value in there) or after[name] is None


@given(BASE, RECORD, RECORD, RULES, NOW)
def test_a_second_run_writes_nothing_and_remembers_the_same(
    base: Any, source: Any, destination: Any, rules: Rules, now: Any
) -> None:
    once = reconcile(base, source, destination, rules, now)
    twice = reconcile(once.base, once.source, once.destination, rules, now)
    assert (twice.source, twice.destination, twice.base) == (once.source, once.destination, once.base)
    assert all(conflict.winner is None or _holds_up(rules) for conflict in twice.conflicts)


def _holds_up(rules: Rules) -> bool:
    """A winner that a skipped null keeps from being written is found again each time, and recorded once."""
    return any(rule.nulls == "skip" for rule in rules.fields)


@given(RECORD, RECORD, RULES)
def test_what_is_equal_is_agreed(one: Any, base: Any, rules: Rules) -> None:
    outcome = reconcile(Base(base) if base else None, one, one, rules)
    assert (outcome.source, outcome.destination, outcome.conflicts) == (one, one, ())


_MIRROR = {"source": "destination", "destination": "source", "source_wins": "destination_wins", "destination_wins": "source_wins", "to_source": "to_destination", "to_destination": "to_source"}  # fmt: skip


def mirrored(word: Any) -> Any:
    return _MIRROR.get(word, word)


@given(BASE, RECORD, RECORD, RULES, NOW)
def test_swapping_the_sides_mirrors_the_outcome(
    base: Any, source: Any, destination: Any, rules: Rules, now: Circumstances
) -> None:
    fields = tuple(replace(f, policy=mirrored(f.policy), direction=mirrored(f.direction)) for f in rules.fields)
    policies = {rules.policy, *(f.policy for f in rules.fields)}
    if "keep_both" in policies:  # which keeps the source's key for the source
        return
    swapped = replace(rules, fields=fields, policy=mirrored(rules.policy), deletes=mirrored(rules.deletes))
    there = Circumstances(
        source_time=now.destination_time,
        destination_time=now.source_time,
        may_delete=frozenset(map(mirrored, now.may_delete)),
    )
    one = reconcile(base, source, destination, rules, now)
    other = reconcile(base, destination, source, swapped, there)
    assert (one.source, one.destination, one.base, one.note) == (
        other.destination,
        other.source,
        other.base,
        other.note,
    )
    assert [(c.field, mirrored(c.winner)) for c in one.conflicts] == [(c.field, c.winner) for c in other.conflicts]


@given(BASE, RECORD, RECORD, RULES, NOW)
def test_without_a_base_nothing_is_deleted(base: Any, source: Any, destination: Any, rules: Rules, now: Any) -> None:
    outcome = reconcile(None, source, destination, rules, now)
    assert (outcome.source is None) == (outcome.destination is None) == (source is None and destination is None)
