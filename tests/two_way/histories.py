"""Histories at random from a seed, replayed, and made as short as they go: ``python -m two_way.histories`` looks for one that fails."""

from __future__ import annotations

import argparse
import ast
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from typing import Any

from two_way.options import FIELDS, SIDES, STEPS, Options
from two_way.world import World

Step = tuple[str, dict[str, Any]]
History = list[Step]

EDITS = ("edit", "edit", "edit", "add", "delete", "rename", "swap", "double", "remark")
WEIGHTS = {
    "edit": 30, "add": 10, "delete": 7, "rename": 5, "swap": 3, "double": 2, "undouble": 2, "remark": 3, "reorder": 3,
    "tick": 3, "wait": 2, "resolve": 6, "change_filter": 1, "lose_state": 2, "sync": 14, "killed": 10, "fails": 4,
    "during": 16, "retry": 6, "clear": 3, "allow": 1,
}  # fmt: skip


def person(rng: random.Random, action: str) -> dict[str, Any]:
    """Arguments of what somebody does."""
    side, number = rng.choice(SIDES), rng.randrange(6)
    match action:
        case "edit":
            return {"side": side, "number": number, "field": rng.choice(FIELDS), "null": rng.random() < 0.12}
        case "undouble" | "reorder":
            return {"side": side}
        case _:
            return {"side": side, "number": number}


def step(rng: random.Random) -> Step:
    action = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    match action:
        case "sync" | "allow" | "wait" | "change_filter" | "retry":
            return action, {}
        case "tick":
            return action, {"side": rng.choice(SIDES), "hours": rng.choice([-3, 0, 0, 2])}
        case "resolve":
            choices = ["source", "destination", "value"]
            return action, {"number": rng.randrange(5), "choice": rng.choice(choices)}
        case "lose_state":
            return action, {"how": rng.choice(["file", "pointer", "damage"])}
        case "killed" | "fails":
            return action, {"step": rng.choice(STEPS)}
        case "clear":
            return action, {"nth": rng.randrange(9), "phase": rng.randrange(7)}
        case "during":
            edit = rng.choice(EDITS)
            then = rng.choice(["goes on", "goes on", "killed"])
            return action, {"step": rng.choice(STEPS), "action": edit, "then": then, **person(rng, edit)}
        case _:
            return action, person(rng, action)


def history(seed: int, length: int) -> History:
    rng = random.Random(seed)
    return [("start", {"count": rng.randrange(4)}), *(step(rng) for _ in range(length))]


def rushed(seed: int) -> History:
    """A short history of one record that is edited on both sides all the time, so that hardly a run is left in peace."""
    rng = random.Random(seed)

    def edit(side: str) -> dict[str, Any]:
        return {"side": side, "number": 0, "field": rng.choice(FIELDS)}

    steps: History = [("start", {"count": 1}), ("sync", {})]
    for _ in range(2):
        steps += [("edit", edit(side)) for side in SIDES]
        during = {"step": rng.choice(STEPS[2:-1]), "then": rng.choice(["goes on", "killed"])}
        steps.append(("during", {"action": "edit", **during, **edit(rng.choice(SIDES))}))
    return steps


def simple(seed: int) -> Options:
    """A CSV file and a table, conflicts settled at once or left open."""
    policies = ["merge", "source_wins", "destination_wins"]
    return Options(policy=policies[seed % len(policies)])


def replay(
    options: Options, steps: Sequence[Step], *, mutant: Callable[[World], AbstractContextManager[None]] | None = None
) -> None:
    """Live through a history, and to its end.

    Args:
        options: the integration's.
        steps: the history.
        mutant: changes the engine meanwhile; see `two_way.mutants`.

    Raises:
        AssertionError: something that must hold does not.
    """
    with World(options) as world, mutant(world) if mutant else nullcontext():
        for action, arguments in steps:
            world.do(action, **arguments)
        world.settle()


@dataclass(frozen=True, slots=True)
class Failure:
    """How a history ended badly.

    Args:
        kind: equal for failures of one cause.
        text: the traceback's end.
    """

    kind: str
    text: str = field(compare=False)


def failure(options: Options, steps: Sequence[Step]) -> Failure | None:
    """What a history leads to; None: nothing is wrong."""
    try:
        replay(options, steps)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        lines = traceback.format_exc().splitlines()
        return Failure(f"{type(error).__name__} {place.name}:{place.lineno}", "\n".join(lines[-25:]))
    return None


def shortest(options: Options, steps: History, *, deadline_s: float = 120.0) -> History:
    """Leave out what the same failure does not need."""
    end = time.monotonic() + deadline_s
    wanted = failure(options, steps)
    size = max(1, len(steps) // 2)
    while size:
        start = 0
        while start < len(steps) and time.monotonic() < end:
            shorter = steps[:start] + steps[start + size :]
            if failure(options, shorter) == wanted:
                steps = shorter
            else:
                start += size
        size //= 2
    return steps


def variants(seed: int) -> Options:
    """Options at random: every policy, granularity, direction and rule about nulls and deletions."""
    rng = random.Random(seed)
    owned = rng.choice(["both", "both", "both", "to_destination", "to_source"])
    pairs = [("csv", "sqlite"), ("sqlite", "sqlite"), ("sqlite", "csv"), ("excel", "csv"), ("csv", "sqlite")]
    source, destination = rng.choice(pairs)
    return Options(
        source=source,
        destination=destination,
        policy=rng.choice(["merge", "source_wins", "destination_wins", "newest", "manual", "keep_both"]),
        granularity=rng.choice(["cell", "cell", "row"]),
        deletes=rng.choice(["propagate", "propagate", "none", "to_destination", "to_source"]),
        nulls=rng.choice(["clear", "clear", "keep", "skip"]),
        lens=rng.random() < 0.3,
        owned=owned,
        guarded=rng.random() < 0.2,
        grace=rng.choice(["P0D", "P0D", "PT1H"]),
    )


def search(seeds: Iterator[int] | range, length: int, fixed: dict[str, Any]) -> int:
    """Replay one history per seed; print those that fail, made short. Returns how many failed."""
    failed = 0
    for seed in seeds:
        options = replace(variants(seed), **fixed)
        steps = history(seed, length)
        if failure(options, steps) is None:
            continue
        failed += 1
        steps = shortest(options, steps)
        last = failure(options, steps)
        say(f"--- seed {seed}", str(options), *(f"  {each}," for each in steps), last.text if last else "not again")
    return failed


def say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--length", type=int, default=14)
    known = [each.name for each in fields(Options)]
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=f"one of {', '.join(known)}")
    given = parser.parse_args()
    fixed = {}
    for text in given.set:
        name, _, value = text.partition("=")
        fixed[name] = ast.literal_eval(value) if value in ("True", "False") else value
    started = time.monotonic()
    failed = search(range(given.first, given.first + given.count), given.length, fixed)
    say(f"{given.count} histories, {failed} failed, {time.monotonic() - started:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
