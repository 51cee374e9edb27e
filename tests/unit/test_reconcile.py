"""What becomes of one key: the whole table of {absent, 1, 2}³ for each policy. docs/two-way-table.md shows it.

`make generate` writes the page anew.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from sync_provider.core.conflicts import Base, Circumstances, Decision, FieldRule, Outcome, Rules
from sync_provider.core.reconcile import copy_key, reconcile

PAGE = Path(__file__).resolve().parents[2] / "docs" / "two-way-table.md"
POLICIES = ("merge", "source_wins", "destination_wins", "newest", "manual", "keep_both")
DELETES = ("none", "to_destination", "to_source", "propagate")
VALUES = (None, 1, 2)
ROWS = tuple(product(VALUES, repeat=3))

# base, source, destination → source, destination afterwards where no policy has a say; "?" where one has. Deletions travel.
EXPECTED = {
    (None, None, None): (None, None),
    (None, None, 1): (1, 1),
    (None, None, 2): (2, 2),
    (None, 1, None): (1, 1),
    (None, 1, 1): (1, 1),
    (None, 1, 2): "?",
    (None, 2, None): (2, 2),
    (None, 2, 1): "?",
    (None, 2, 2): (2, 2),
    (1, None, None): (None, None),
    (1, None, 1): (None, None),
    (1, None, 2): (2, 2),
    (1, 1, None): (None, None),
    (1, 1, 1): (1, 1),
    (1, 1, 2): (2, 2),
    (1, 2, None): (2, 2),
    (1, 2, 1): (2, 2),
    (1, 2, 2): (2, 2),
    (2, None, None): (None, None),
    (2, None, 1): (1, 1),
    (2, None, 2): (None, None),
    (2, 1, None): (1, 1),
    (2, 1, 1): (1, 1),
    (2, 1, 2): (1, 1),
    (2, 2, None): (None, None),
    (2, 2, 1): (1, 1),
    (2, 2, 2): (2, 2),
}


def rules(policy: str = "merge", **options: object) -> Rules:
    return Rules(key=("k",), fields=(FieldRule(name="v", policy=policy),), policy=policy, **options)  # type: ignore[arg-type]


def record(value: int | None) -> dict[str, object] | None:
    return None if value is None else {"k": "a", "v": value}


def decide(row: tuple[int | None, ...], policy: str, **options: object) -> Outcome:
    base, source, destination = (record(value) for value in row)
    # The destination was changed later.
    now = Circumstances(source_time=1, destination_time=2)
    return reconcile(Base(base) if base else None, source, destination, rules(policy, **options), now)


def held(outcome: Outcome) -> tuple[object, object]:
    return tuple(side and side["v"] for side in (outcome.source, outcome.destination))  # type: ignore[return-value]


# Rows whose record is missing on one side and unchanged on the other: what becomes of them depends on `deletes`.
DELETIONS = ((1, None, 1), (2, None, 2), (1, 1, None), (2, 2, None))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("deletes", DELETES)
@pytest.mark.parametrize("granularity", ["cell", "row"])
@pytest.mark.parametrize("policy", POLICIES)
def test_the_table(row: tuple[int | None, ...], policy: str, granularity: str, deletes: str) -> None:
    outcome = decide(row, policy, deletes=deletes, granularity=granularity)
    base, source, destination = row
    expected = EXPECTED[row]
    recorded = base is not None and expected not in ("?", (None, None)) and None in row
    if expected == "?":
        winner = {"source_wins": source, "keep_both": source, "destination_wins": destination, "newest": destination}
        expected = (winner[policy], winner[policy]) if policy in winner else (source, destination)
        recorded = True
        assert outcome.open == (policy in ("merge", "manual"))
        assert [copy["v"] for copy in outcome.copies] == ([destination] if policy == "keep_both" else [])
    elif row in DELETIONS:
        arrives = "destination" if source is None else "source"
        if deletes not in ("propagate", f"to_{arrives}"):
            expected = (base, base)
            assert outcome.note == "restored"
    assert held(outcome) == expected
    assert len(outcome.conflicts) == recorded
    if not outcome.open:
        assert (outcome.base and outcome.base.values["v"]) == expected[0]


@pytest.mark.parametrize(("row", "present"), [((1, None, 1), "destination"), ((1, 1, None), "source")])
def test_a_deletion_that_may_not_arrive_yet_changes_nothing(row: tuple[int | None, ...], present: str) -> None:
    base, source, destination = (record(value) for value in row)
    for allowed in (frozenset(), frozenset({"source", "destination"} - {present})):
        outcome = reconcile(
            Base(base), source, destination, rules(deletes="propagate"), Circumstances(may_delete=allowed)
        )
        assert (outcome.source, outcome.destination, outcome.base) == (source, destination, Base(base))
        assert outcome.note == "deletes_waiting"


@pytest.mark.parametrize("row", [(1, None, 2), (1, 2, None)])
@pytest.mark.parametrize("deletes", ["none", "propagate"])
def test_an_edit_beats_a_deletion_and_is_recorded(row: tuple[int | None, ...], deletes: str) -> None:
    outcome = decide(row, "manual", deletes=deletes)
    assert held(outcome) == (2, 2)
    (conflict,) = outcome.conflicts
    assert (conflict.policy, conflict.field) == ("edit_beats_delete", None)
    assert conflict.base == record(1)


@pytest.mark.parametrize(("source_time", "destination_time", "winner"), [(2, 1, "source"), (1, 2, "destination"), (1, 1, None), (None, 1, None), (1, None, None)])  # fmt: skip
def test_newest_goes_by_the_records_own_times_and_a_tie_stays_open(
    source_time: int | None, destination_time: int | None, winner: str | None
) -> None:
    now = Circumstances(source_time=source_time, destination_time=destination_time)
    outcome = reconcile(Base(record(0)), record(1), record(2), rules("newest"), now)
    assert outcome.conflicts[0].winner == winner


def two(one: object, other: object) -> dict[str, object]:
    return {"k": "a", "v": one, "w": other}


def pair(policy: str = "merge", granularity: str = "cell", **second: object) -> Rules:
    fields = (FieldRule(name="v", policy=policy), FieldRule(name="w", **{"policy": policy, **second}))  # type: ignore[arg-type]
    return Rules(key=("k",), fields=fields, policy=policy, granularity=granularity)  # type: ignore[arg-type]


def test_edits_of_different_fields_are_merged() -> None:
    outcome = reconcile(Base(two(1, 1)), two(2, 1), two(1, 2), pair())
    assert outcome.source == outcome.destination == two(2, 2)
    assert outcome.conflicts == ()


def test_an_open_conflict_holds_up_its_field_only() -> None:
    outcome = reconcile(Base(two(1, 1)), two(2, 5), two(3, 1), pair())
    assert (outcome.source, outcome.destination) == (two(2, 5), two(3, 5))
    assert outcome.base == Base(two(1, 5))
    assert [c.field for c in outcome.conflicts] == ["v"]


def test_by_row_two_edited_records_are_one_conflict() -> None:
    outcome = reconcile(Base(two(1, 1)), two(2, 1), two(1, 2), pair("source_wins", "row"))
    assert outcome.source == outcome.destination == two(2, 1)
    (conflict,) = outcome.conflicts
    assert (conflict.field, conflict.destination) == (None, {"v": 1, "w": 2})


def test_by_row_one_edited_record_travels_whole() -> None:
    outcome = reconcile(Base(two(1, 1)), two(2, 3), two(1, 1), pair("manual", "row"))
    assert outcome.destination == two(2, 3)
    assert outcome.conflicts == ()


def test_unequal_fields_on_a_first_run_are_conflicts_and_the_rest_is_agreed() -> None:
    outcome = reconcile(None, two(1, 7), two(2, 7), pair())
    assert outcome.base == Base(two(None, 7), frozenset({"v"}))
    assert outcome.open
    again = reconcile(outcome.base, outcome.source, outcome.destination, pair())
    assert again == outcome


def test_a_field_that_one_side_owns_is_put_back_and_the_edit_recorded() -> None:
    outcome = reconcile(Base(two(1, 1)), two(1, 1), two(1, 9), pair(direction="to_destination"))
    assert outcome.destination == two(1, 1)
    (conflict,) = outcome.conflicts
    assert (conflict.policy, conflict.destination, conflict.winner) == ("direction", 9, "source")


def test_a_record_born_where_a_field_cannot_leave_keeps_its_value() -> None:
    owned = pair(direction="to_destination")
    born = reconcile(None, None, two(1, 9), owned)
    assert (born.source, born.destination) == (two(1, None), two(1, 9))
    again = reconcile(born.base, born.source, born.destination, owned)
    assert (again.source, again.destination, again.conflicts) == (two(1, None), two(1, 9), ())
    filled = reconcile(again.base, two(1, 4), again.destination, owned)
    assert filled.destination == two(1, 4)
    assert filled.conflicts[0].destination == 9


def test_deleting_a_record_with_edits_that_could_not_travel_records_them() -> None:
    owned = Rules(key=("k",), fields=(FieldRule(name="v", direction="to_destination"),), deletes="propagate")
    outcome = reconcile(Base(record(1)), None, record(2), owned)
    assert outcome.destination is None
    assert outcome.conflicts[0].destination == record(2)


def test_a_null_that_means_nothing_stays_and_is_filled_by_the_next_edit() -> None:
    keep = pair(nulls="keep")
    outcome = reconcile(Base(two(1, 1)), two(2, None), two(1, 1), keep)
    assert (outcome.source, outcome.destination) == (two(2, None), two(2, 1))
    filled = reconcile(outcome.base, outcome.source, two(2, 5), keep)
    assert filled.source == filled.destination == two(2, 5)
    assert filled.conflicts == ()


def test_a_null_that_skips_holds_up_the_other_side_only() -> None:
    outcome = reconcile(Base(two(1, 1)), two(2, None), two(1, 1), pair(nulls="skip"))
    assert (outcome.source, outcome.destination) == (two(2, None), two(1, 1))
    assert outcome.base == Base(two(1, 1))


@pytest.mark.parametrize(("choice", "value", "chosen"), [("source", None, 2), ("destination", None, 3), ("value", 9, 9), ("value", None, None)])  # fmt: skip
def test_a_decision_is_carried_out_while_both_sides_hold_what_the_person_saw(
    choice: str, value: int | None, chosen: int | None
) -> None:
    decision = Decision(number=7, choice=choice, value=value, source=2, destination=3)  # type: ignore[arg-type]
    now = Circumstances(decisions={"v": decision})
    outcome = reconcile(Base(record(1)), record(2), record(3), rules(), now)
    assert held(outcome) == (chosen, chosen)
    assert outcome.conflicts[0].decision == 7
    moved = reconcile(Base(record(1)), record(2), record(4), rules(), now)
    assert held(moved) == (2, 4)
    assert moved.open


def test_a_run_killed_between_the_sides_carries_the_decision_out_all_the_same() -> None:
    # The third value is the base's: without the decision, the source would seem unchanged.
    now = Circumstances(decisions={"v": Decision(number=7, choice="value", value=1, source=2, destination=3)})
    assert held(reconcile(Base(record(1)), record(2), record(3), rules(), now)) == (1, 1)
    again = reconcile(Base(record(1)), record(1), record(3), rules(), now)
    assert held(again) == (1, 1)
    assert again.conflicts[0].decision == 7


def test_by_row_an_open_conflict_stays_the_same_one() -> None:
    owned = Rules(
        key=("k",),
        fields=(FieldRule(name="v"), FieldRule(name="w", direction="to_destination")),
        granularity="row",
    )
    first = reconcile(None, two(1, 7), two(2, 8), owned)
    assert first.destination == two(2, 7)
    second = reconcile(first.base, first.source, first.destination, owned)
    assert [c for c in first.conflicts if c.winner is None] == list(second.conflicts)


def test_by_row_a_field_that_came_to_agree_is_no_edit() -> None:
    base = Base(two(None, 1), frozenset({"v"}))
    outcome = reconcile(base, two(5, 2), two(5, 1), pair("manual", "row"))
    assert (outcome.destination, outcome.conflicts) == (two(5, 2), ())
    outcome = reconcile(Base(two(1, 1)), two(5, 2), two(5, 1), pair("manual", "row"))
    assert (outcome.destination, outcome.conflicts) == (two(5, 2), ())


def test_what_a_null_holds_up_is_not_recorded_as_overwritten() -> None:
    skip = pair("source_wins", nulls="skip")
    outcome = reconcile(Base(two(1, 1)), two(2, None), two(3, 1), skip)
    assert (outcome.source, outcome.destination, outcome.conflicts) == (two(2, None), two(3, 1), ())
    both = reconcile(Base(two(1, 1)), two(2, None), two(3, 1), pair("keep_both", nulls="skip"))
    assert both.copies == ()


def test_a_decision_waits_while_a_null_holds_the_record_up() -> None:
    now = Circumstances(decisions={"v": Decision(number=7, choice="source", source=2, destination=3)})
    outcome = reconcile(Base(two(1, 1)), two(2, None), two(3, 1), pair(nulls="skip"), now)
    assert outcome.destination == two(3, 1)
    assert [(c.winner, c.policy, c.decision) for c in outcome.conflicts] == [(None, "merge", None)]


def test_a_person_may_decide_for_null_whatever_nulls_mean() -> None:
    now = Circumstances(decisions={"w": Decision(number=7, choice="value", source=2, destination=3)})
    for nulls in ("keep", "skip", "clear"):
        outcome = reconcile(Base(two(1, 1)), two(1, 2), two(1, 3), pair(nulls=nulls), now)
        assert outcome.source == outcome.destination == two(1, None)


@pytest.mark.parametrize("edited", [1, 9])
def test_a_record_that_comes_back_has_the_fields_its_owner_had(edited: int) -> None:
    owned = pair(direction="to_destination")
    outcome = reconcile(Base(two(1, 1)), None, two(1, edited), owned)
    assert outcome.source == outcome.destination == two(1, 1)
    assert outcome.note == "restored"
    assert [c.destination for c in outcome.conflicts] == ([9] if edited == 9 else [])


def test_what_cannot_be_written_back_is_recorded_when_its_record_comes_back() -> None:
    outcome = reconcile(Base(two(1, 5)), None, two(1, 5), pair(direction="to_destination", restorable=False))
    assert (outcome.source, outcome.destination) == (two(1, None), two(1, 5))
    assert outcome.base == Base(two(1, None), frozenset({"w"}))
    assert [(c.policy, c.destination) for c in outcome.conflicts] == [("restored", two(1, 5))]


@pytest.mark.parametrize("there", [1, 2])
@pytest.mark.parametrize("deletes", ["none", "propagate"])
def test_a_record_that_may_only_be_unreadable_is_neither_deleted_nor_put_back(deletes: str, there: int) -> None:
    now = Circumstances(unsure=frozenset({"source"}))
    outcome = reconcile(Base(record(1)), None, record(there), rules(deletes=deletes), now)
    assert (outcome.source, outcome.destination, outcome.base) == (None, record(there), Base(record(1)))
    assert (outcome.note, outcome.conflicts) == ("deletes_waiting", ())


def test_a_conflict_tells_when_the_records_were_changed() -> None:
    outcome = reconcile(
        Base(record(0)), record(1), record(2), rules(), Circumstances(source_time=10, destination_time=20)
    )
    assert (outcome.conflicts[0].source_time, outcome.conflicts[0].destination_time) == (10, 20)


def test_the_second_record_has_a_key_of_its_content() -> None:
    one, other = {"k": "a", "n": 1, "v": 1}, {"k": "a", "n": 1, "v": 2}
    assert copy_key(one, ("k", "n")) == copy_key(dict(one), ("k", "n"))
    assert copy_key(one, ("k",)) != copy_key(other, ("k",))
    assert copy_key(one, ("k",))["k"].startswith("a~")
    with pytest.raises(ValueError, match="text"):
        copy_key(one, ("n",))


def page() -> str:
    lines = [
        "# What becomes of a key",
        "",
        "Every case of one field of one record: what both sides agreed on last (base), what each side holds now, and what both hold",
        "afterwards. 1 and 2 are two values, – is no record. Deletions travel here (`deletes: propagate`); where they may not, a record",
        "that is missing on one side and unchanged on the other comes back, as the second table shows. An open conflict is shown as",
        "source \\| destination: nothing is written. Generated from tests/unit/test_reconcile.py, which checks each row.",
        "",
        "| base | source | destination | " + " | ".join(f"`{policy}`" for policy in POLICIES) + " |",
        "|---|---|---|" + "---|" * len(POLICIES),
    ]
    for row in ROWS:
        cells = [_cell(row, decide(row, policy, deletes="propagate")) for policy in POLICIES]
        lines.append(f"| {' | '.join([*map(_value, row), *cells])} |")
    lines += [
        "",
        "Under `newest`, the destination's record was changed later. *Recorded*: the value that lost is in the conflict log.",
        "",
        "## Where deletions may travel",
        "",
        "The rows of a record that is missing on one side and unchanged on the other, for each `deletes`:",
        "",
        "| base | source | destination | "
        + " | ".join(f"`{deletes}`" for deletes in DELETES)
        + " | within `delete_grace` |",
        "|---|---|---|" + "---|" * (len(DELETES) + 1),
    ]
    for row in DELETIONS:
        cells = [_cell(row, decide(row, "merge", deletes=deletes)) for deletes in DELETES]
        base, source, destination = (record(value) for value in row)
        waiting = Circumstances(may_delete=frozenset())
        held_up = reconcile(base and Base(base), source, destination, rules(deletes="propagate"), waiting)
        lines.append(f"| {' | '.join([*map(_value, row), *cells, _cell(row, held_up)])} |")
    lines += [
        "",
        "Where a record that could not be read might be the missing one, nothing happens either, whatever `deletes` says.",
        "",
    ]
    return "\n".join(lines)


def _value(value: object) -> str:
    return "–" if value is None else str(value)


def _cell(row: tuple[int | None, ...], outcome: Outcome) -> str:
    """What both sides hold afterwards, and what else is to be said."""
    one, other = map(_value, held(outcome))
    text = one if one == other else f"{one} \\| {other}"
    text += ", open" if outcome.open else ""
    text += f", and {row[2]} as a second record" if outcome.copies else ""
    text += ", recorded" if outcome.conflicts and not outcome.open and not outcome.copies else ""
    return text


def test_the_page_shows_this_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "`make generate` writes it anew"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
