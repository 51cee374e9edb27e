"""Runs between two sides: whole, killed, retried, cleared, and in the end until nothing is left to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from sync_provider.core.changes import RunParams
from sync_provider.core.errors import SyncError
from sync_provider.core.report import SideCounters
from sync_provider.engine import pipeline, steps
from sync_provider.engine.ledger.leases import Leases
from sync_provider.engine.run import RunContext, open_run
from two_way.options import SIDES, Options
from two_way.oracle import Oracle
from two_way.sides import EXTRA

GUARDS = ("guard", "approval_missing", "guard_tripped")


class KilledError(BaseException):
    """Stops a run as nothing that the engine catches would."""


class Runs(Oracle):
    """Runs the integration, and looks at every step whether all is well."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.runs: list[str] = []
        self.unfinished: str | None = None
        self.log: list[str] = []
        self.new_baseline = False
        self.dead = False
        self.result: dict[str, Any] | None = None

    def die(self) -> None:
        self.dead = True
        raise KilledError

    def at(self, step: str, act: Callable[[], None], nth: int = 1) -> Callable[[str], None]:
        seen = 0

        def listen(reached: str) -> None:
            nonlocal seen
            if reached == step:
                seen += 1
                if seen == nth:
                    act()

        return listen

    def attempt(
        self,
        what: str,
        listener: Callable[[str], None] = lambda _: None,
        *,
        run: str | None = None,
        retry: bool = False,
        first: str | None = None,
        **params: Any,
    ) -> SyncError | None:
        """One run, or what is left of it. Returns the error that stopped it; the result is in `result`."""
        self.result: dict[str, Any] | None = None
        self.dead = False
        if run is None:
            run = f"run-{len(self.runs)}"
            self.runs.append(run)
        counts: dict[str, int] = {}
        before = self.everything()
        stopped: SyncError | None = None

        def hear(reached: str) -> None:
            if reached.startswith("snapshot_"):
                side = reached.removeprefix("snapshot_")
                counts[side] = len(self.rows(side))
            self.observe(f"at {reached} of {what}", reached)
            listener(reached)

        release = Leases.release
        steps.listener = hear
        # Whoever is dead gives no lease back.
        with patch.object(Leases, "release", lambda leases, lease: False if self.dead else release(leases, lease)):
            try:
                ctx = open_run(
                    self.env,
                    self.mapping,
                    dag_id="d",
                    airflow_run_id=run,
                    trigger="test",
                    params=RunParams(new_baseline=self.new_baseline, **params),
                )
                if first is None and not retry:
                    self.result = pipeline.run_all(ctx)
                else:
                    self.result = self.go_on(ctx, first)
            except KilledError:
                self.log.append("  killed")
                self.unfinished = run
                self.clock.sleep(200)
            except SyncError as error:
                self.log.append(f"  {error.code}: {error}")
                self.unfinished = run
                stopped = error
            finally:
                steps.listener = None
        if stopped is not None:
            if self.stopped_by_guard(stopped):
                assert self.everything() == before, f"written although a guard stopped it: {stopped}"
            return stopped
        self.observe(f"after {what}")
        if self.result is not None:
            if run == self.unfinished:
                self.unfinished = None
            self.new_baseline = False
            self.check_counts(counts)
        return None

    def go_on(self, ctx: RunContext, first: str | None) -> dict[str, Any] | None:
        names = pipeline.phases_of(ctx.mapping)
        if first is None:
            rows = {name: ctx.env.ledger.runs.phase(ctx.id, name) for name in names}
            first = next((n for n in names if rows[n] is None or rows[n].state != "succeeded"), None)
        if first is None:
            return None
        result = None
        for name in names[names.index(first) :]:
            result = getattr(pipeline, name)(ctx)
        return result

    def stopped_by_guard(self, error: SyncError) -> bool:
        return error.code in GUARDS

    def may_stop(self, error: SyncError) -> bool:
        return self.options.guarded and self.stopped_by_guard(error)

    def check_counts(self, seen: dict[str, int]) -> None:
        assert self.result is not None
        for side, counts in self.result["sides"].items():
            assert SideCounters(**counts).balanced, self.result
            assert all(number >= 0 for number in counts.values()), self.result
            if side in seen:
                assert counts["read"] == seen[side], (side, self.result, seen)

    def settle(self) -> None:
        """Heal everything, run until nothing is written, and look whether all is well."""
        self.clock.sleep(30 * 24 * 3600)
        for _ in range(8):
            self.log.append("settling")
            error = self.attempt("a last run")
            if error is not None:
                assert self.may_stop(error), error
                error = self.attempt("an allowed last run", allow_deletes_once=True)
                assert error is None, error
            assert self.result is not None
            self.clock.sleep(30 * 24 * 3600)
            if self.result["inserted"] == self.result["updated"] == self.result["deleted"] == 0:
                break
        else:
            raise AssertionError(f"still writing: {self.result}")
        before, files, open_now = self.conflicts(), self.everything(), self.result["conflicts_open"]
        assert self.attempt("a quiet run") is None
        assert self.result is not None
        assert self.result["inserted"] == self.result["updated"] == self.result["deleted"] == 0
        assert self.everything() == files, "a run without changes wrote something"
        assert [(c.id, c.status) for c in self.conflicts()] == [(c.id, c.status) for c in before]
        assert self.result["conflicts_open"] == open_now == len(self.conflicts("open", "decided"))
        self.check_agreement()
        for side, driver in self.sides.items():
            assert driver.others() == self.beside[side], f"something beside the {side}'s records changed"
        held = {side: self.view(side) for side in SIDES}
        for (side, key), text in self.remarks.items():
            if key in held[side]:
                assert held[side][key][EXTRA] in (text, None), "a column outside the mapping changed"
