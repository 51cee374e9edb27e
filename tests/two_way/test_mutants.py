"""Who checks the checker? Wrong orders of writing, all of which converge, must be seen to lose values; the engine's own must not."""

from __future__ import annotations

import pytest
from two_way.histories import replay, rushed, simple
from two_way.mutants import MUTANTS, Mutant
from two_way.oracle import LostError

SEEDS = range(8)


def test_the_engine_survives() -> None:
    for seed in SEEDS:
        replay(simple(seed), rushed(seed))


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=list(MUTANTS))
def test_a_wrong_order_loses_values_in_the_same_histories(mutant: Mutant) -> None:
    assert any(loses(seed, mutant) for seed in SEEDS)


def loses(seed: int, mutant: Mutant) -> bool:
    try:
        replay(simple(seed), rushed(seed), mutant=mutant)
    except LostError:
        return True
    return False
