"""The actions of `World` as rules of a Hypothesis state machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from two_way.options import FIELDS, SIDES, STEPS, Options
from two_way.world import World

_SIDE = st.sampled_from(SIDES)
_NUMBER = st.integers(0, 5)
_STEP = st.sampled_from(STEPS)
_CELL = {
    "side": _SIDE,
    "number": _NUMBER,
    "field": st.sampled_from(FIELDS),
    "null": st.sampled_from([False] * 7 + [True]),
}
_ROW = {"side": _SIDE, "number": _NUMBER}
_PEOPLE = st.one_of(
    st.fixed_dictionaries({"action": st.just("edit"), **_CELL}),
    st.fixed_dictionaries({"action": st.sampled_from(["add", "delete", "rename", "swap", "double", "remark"]), **_ROW}),
)
_THEN = st.sampled_from(["goes on", "goes on", "killed"])


def _action(name: str, **strategies: Any) -> Callable[..., None]:
    def act(self: TwoWayMachine, **arguments: Any) -> None:
        self.act(name, arguments)

    act.__name__ = name
    return rule(**strategies)(act)


class TwoWayMachine(RuleBasedStateMachine):
    """Lives through a history; its teardown heals everything and judges the end. Subclasses choose the sides."""

    source: ClassVar[str]
    destination: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._world: World | None = None

    @initialize(
        count=st.integers(0, 3),
        policy=st.sampled_from(["merge", "source_wins", "destination_wins", "newest", "manual", "keep_both"]),
        granularity=st.sampled_from(["cell", "cell", "row"]),
        deletes=st.sampled_from(["propagate", "propagate", "none", "to_destination", "to_source"]),
        nulls=st.sampled_from(["clear", "clear", "keep", "skip"]),
        lens=st.booleans(),
        owned=st.sampled_from(["both", "both", "to_destination", "to_source"]),
        guarded=st.sampled_from([False, False, False, True]),
        grace=st.sampled_from(["P0D", "P0D", "PT1H"]),
    )
    def begin(self, count: int, **options: Any) -> None:
        self._world = self._stack.enter_context(
            World(Options(source=self.source, destination=self.destination, **options))
        )
        self.act("start", {"count": count})

    edit = _action("edit", **_CELL)
    add = _action("add", **_ROW)
    delete = _action("delete", **_ROW)
    rename = _action("rename", **_ROW)
    swap = _action("swap", **_ROW)
    double = _action("double", **_ROW)
    undouble = _action("undouble", side=_SIDE)
    remark = _action("remark", **_ROW)
    reorder = _action("reorder", side=_SIDE)
    tick = _action("tick", side=_SIDE, hours=st.sampled_from([-3, 0, 2]))
    wait = _action("wait")
    resolve = _action("resolve", number=_NUMBER, choice=st.sampled_from(["source", "destination", "value"]))
    change_filter = _action("change_filter")
    lose_state = _action("lose_state", how=st.sampled_from(["file", "pointer", "damage"]))
    sync = _action("sync")
    killed = _action("killed", step=_STEP)
    fails = _action("fails", step=_STEP)
    retry = _action("retry")
    clear = _action("clear", nth=_NUMBER, phase=st.integers(0, 6))
    allow = _action("allow")

    @rule(step=_STEP, then=_THEN, what=_PEOPLE)
    def during(self, step: str, then: str, what: dict[str, Any]) -> None:
        self.act("during", {"step": step, "then": then, **what})

    def act(self, name: str, arguments: dict[str, Any]) -> None:
        assert self._world is not None
        world, self._world = self._world, None
        world.do(name, **arguments)
        self._world = world  # not after a failure: then there is no end to judge

    def teardown(self) -> None:
        with self._stack:
            if self._world is not None:
                self._world.settle()
