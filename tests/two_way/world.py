"""Two sides, the people who edit them, the runs between them, and an oracle that knows every value that anybody ever wrote.

A convergence test finds no lost edit: all wrong orders of writing converge. So every value is written once, and at every step of every run
each value that nobody knowingly replaced on its own side must stand on a side or in the conflict log.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa
from sync_provider.core.changes import RunParams
from sync_provider.core.errors import SyncConnectionError, SyncError
from sync_provider.core.report import SideCounters
from sync_provider.engine import pipeline
from sync_provider.engine.bidirectional import steps
from sync_provider.engine.bidirectional.baseline import NAME_SEPARATOR, UNAGREED, pointer
from sync_provider.engine.crypto import open_cipher
from sync_provider.engine.environment import Environment
from sync_provider.engine.ledger import Ledger
from sync_provider.engine.ledger.conflicts import StoredConflict
from sync_provider.engine.ledger.leases import Leases
from sync_provider.engine.run import RunContext, open_run
from sync_provider.engine.staging import unstage
from sync_provider.engine.store import Store
from two_way.sides import CHANGED, EXTRA, KINDS, MAPPED, Driver, Row
from workspace import Workspace

SIDES = ("source", "destination")
FIELDS = MAPPED[1:]
KEYS = ("a", "b", "c", "d")
STEPS = (
    "snapshot_source", "snapshot_destination", "planned", "validated", "backed_up", "conflicts_logged", "source_writing",
    "source_written", "destination_writing", "destination_written", "baseline_staged", "reported",
)  # fmt: skip
GUARDS = ("guard", "approval_missing", "guard_tripped")
OUT_OF_SCOPE = "7"  # what a name ends in that the filter leaves out


class KilledError(BaseException):
    """Stops a run as nothing that the engine catches would."""


class LostError(AssertionError):
    """A value that nobody replaced is neither on a side nor in the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One integration.

    Args:
        source: kind of side.
        lens: the note is written ``p:…`` on the source, and expressions translate it.
        owned: direction of the note.
        guarded: deletions beyond half of the records stop a run.
        grace: ``delete_grace``.
    """

    source: str = "csv"
    destination: str = "sqlite"
    policy: str = "merge"
    granularity: str = "cell"
    deletes: str = "propagate"
    nulls: str = "clear"
    lens: bool = False
    owned: str = "both"
    guarded: bool = False
    grace: str = "P0D"

    def mapping(self, source: Driver, destination: Driver, filter_: str | None) -> dict[str, Any]:
        note: dict[str, Any] = {"direction": self.owned}
        if self.lens:
            note["to_destination"] = "replace(value, 'p:', '')"
            if self.owned != "to_destination":
                note["to_source"] = "'p:' || value"
        conflicts: dict[str, Any] = {"policy": self.policy, "granularity": self.granularity}
        if self.policy == "newest":
            conflicts["change_time"] = dict.fromkeys(SIDES, CHANGED)
        limit = "50%" if self.guarded else "100%"
        return {
            "mode": "bidirectional",
            "write": None,
            "source": source.endpoint,
            "destination": destination.endpoint,
            "fields": [
                {"source": "code", "destination": "code"},
                {"source": "name", "destination": "name", "nulls": self.nulls},
                {"source": "note", "destination": "note", "nulls": self.nulls, **note},
            ],
            "filter": filter_,
            "conflicts": conflicts,
            "deletes": self.deletes,
            "delete_grace": self.grace,
            "guards": {
                "max_deletes": limit,
                "max_deletes_in_window": "100%",
                "empty_source": "trip" if self.guarded else "allow",
                "on_trip": "fail",
            },
        }


class Ticking:
    """A clock that goes on when it is looked at, and when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2025, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class World:
    """One integration and everything that happens to it. Use as a context manager.

    Args:
        options: the integration's.
        always_check: look for lost values at every step, not only in the end.
    """

    def __init__(self, options: Options, *, always_check: bool = True) -> None:
        self.options, self.always_check = options, always_check
        self.stack = ExitStack()
        self.clock = Ticking()
        self.count = 0
        self.live: dict[str, str] = {}
        """Every value that somebody wrote and nobody has knowingly replaced → what it was, for messages."""
        self.written: set[str | None] = {None}
        self.held: dict[tuple[str, str, str], set[str | None]] = defaultdict(set)
        """(side, key, field) → every value that has stood there."""
        self.remarks: dict[tuple[str, str], str | None] = {}
        self.skew = dict.fromkeys(SIDES, 0)
        self.hour = 0
        self.filter: str | None = None
        self.new_baseline = False
        self.runs: list[str] = []
        self.unfinished: str | None = None
        self.log: list[str] = []

    def __enter__(self) -> World:
        folder = Path(tempfile.mkdtemp(prefix="two-way-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # noqa: S108
        self.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Nobody cuts the power in these tests, and waiting for the disk is half of their time.
        self.stack.enter_context(patch("os.fsync", lambda _: None))
        self.workspace = Workspace(folder)
        self.sides: dict[str, Driver] = {
            "source": KINDS[self.options.source](self.workspace, "left"),
            "destination": KINDS[self.options.destination](self.workspace, "right"),
        }
        for driver in self.sides.values():
            self.stack.callback(driver.close)
        self.declare()
        self.env = self.stack.enter_context(self.environment())
        self.beside = {name: driver.others() for name, driver in self.sides.items()}
        return self

    def __exit__(self, *exc: object) -> None:
        self.stack.close()

    @contextmanager
    def environment(self) -> Iterator[Environment]:
        settings = self.workspace.settings
        cipher = open_cipher(settings)
        file = Path(sa.make_url(settings.ledger_url).database or "")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_empty_ledger())
        with Ledger.open(settings.ledger_url, cipher, self.clock) as ledger:
            engine = ledger._database.engine
            sa.event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
            engine.dispose()
            yield Environment(
                settings=settings,
                ledger=ledger,
                store=Store(settings.store_url, cipher),
                connection=self.workspace.connections.__getitem__,
                clock=self.clock,
            )

    def declare(self) -> None:
        self.workspace.mapping(**self.options.mapping(self.sides["source"], self.sides["destination"], self.filter))
        self.mapping = self.workspace.sync.load("sample")
        for endpoint in (self.mapping.mapping.source, self.mapping.mapping.destination):
            self.workspace.sync._provide(endpoint)

    # What people do. Every argument fits every state, so that a part of a history is a history.

    def do(self, action: str, **arguments: Any) -> None:
        """One action of a history; see the methods below."""
        self.log.append(f"{action} {arguments}")
        getattr(self, action)(**arguments)
        self.observe(f"after {action}")

    def start(self, count: int) -> None:
        """Both sides hold the first keys, with equal values."""
        for key in KEYS[:count]:
            if any(key in driver.by_key() for driver in self.sides.values()):
                continue
            values = {name: self.fresh(f"{key}.{name} at the start") for name in FIELDS}
            for side in SIDES:
                self.put(side, key, values)

    def edit(self, side: str, number: int, field: str, null: bool = False) -> None:
        key = self.pick(side, number)
        if key is None:
            return
        # Whoever edits here sees what stands here, and replaces just that.
        self.forget(self.view(side)[key][field])
        value = None if null else self.fresh(f"{key}.{field} on the {side}")
        self.sides[side].edit(key, field, self.spelled(side, field, value))
        self.sides[side].edit(key, CHANGED, self.side_time(side))

    def add(self, side: str, number: int) -> None:
        key = KEYS[number % len(KEYS)]
        if key in self.sides[side].by_key():
            return
        self.put(side, key, {name: self.fresh(f"{key}.{name} added on the {side}") for name in FIELDS})

    def delete(self, side: str, number: int) -> None:
        key = self.pick(side, number)
        if key is None:
            return
        for row in self.rows(side):
            if row["code"] == key:
                self.forget(*(row[name] for name in FIELDS))
        self.sides[side].delete(key)
        self.remarks.pop((side, key), None)

    def rename(self, side: str, number: int) -> None:
        """A key that changes is a record that goes and another that comes, with the same values."""
        key = self.pick(side, number)
        if key is None:
            return
        self.count += 1
        self.sides[side].edit(key, "code", f"k{self.count}")
        self.remarks.pop((side, key), None)

    def swap(self, side: str, number: int) -> None:
        """Two records exchange their keys: whoever looks at keys sees two edited records."""
        one, two = self.pick(side, number), self.pick(side, number + 1)
        if one is None or two is None or one == two or self.sides[side].unique:
            return
        for before, after in ((one, "?"), (two, one), ("?", two)):
            self.sides[side].edit(before, "code", after)
        for key in (one, two):
            self.remarks.pop((side, key), None)

    def double(self, side: str, number: int) -> None:
        """A second row of a key that stands there already, where nothing refuses that."""
        key = self.pick(side, number)
        if key is not None and not self.sides[side].unique:
            self.put(side, key, {name: self.fresh(f"second {key}.{name} on the {side}") for name in FIELDS})

    def undouble(self, side: str) -> None:
        """Somebody removes all rows whose key stands there more than once."""
        keys = [row["code"] for row in self.rows(side)]
        for number, key in enumerate(sorted({str(key) for key in keys})):
            if keys.count(key) > 1:
                self.delete(side, number)

    def remark(self, side: str, number: int) -> None:
        """Write in a column outside the mapping."""
        key = self.pick(side, number)
        if key is not None:
            self.count += 1
            self.remarks[side, key] = f"r{self.count}"
            self.sides[side].edit(key, EXTRA, f"r{self.count}")

    def reorder(self, side: str) -> None:
        self.sides[side].reorder()

    def tick(self, side: str, hours: int) -> None:
        """The people's clocks go on, and that of one side is set, forwards or back."""
        self.hour += 1
        self.skew[side] += hours

    def wait(self) -> None:
        self.clock.sleep(2400)

    def resolve(self, number: int, choice: str) -> None:
        found = self.conflicts("open", "decided")
        if not found:
            return
        conflict = found[number % len(found)]
        if choice == "value" and conflict.conflict.field is None:
            choice = "source"
        value = self.fresh("a person's decision") if choice == "value" else None
        if conflict.status == "decided":
            self.forget(conflict.value)
        self.env.ledger.conflicts.resolve(conflict.id, choice, "somebody", value)  # type: ignore[arg-type]

    def change_filter(self) -> None:
        """Another filter is another set of records: runs refuse it until a person asks for a new baseline."""
        self.filter = None if self.filter else f"coalesce(name, '') NOT LIKE '%{OUT_OF_SCOPE}'"
        self.declare()
        before = self.everything()
        kept = self.baseline_path() is not None and self.baseline_readable()
        error = self.attempt("a run under another filter")
        if kept:
            assert error is not None and error.code == "baseline_changed", error
            assert self.everything() == before, "written although the filter changed"
        self.new_baseline = kept

    def lose_state(self, how: str) -> None:
        path = self.baseline_path()
        if path is None:
            return
        if how == "pointer":
            with self.env.ledger._database.write() as connection:
                connection.execute(
                    sa.text("DELETE FROM sync_baselines WHERE name = :name"), {"name": pointer("sample")}
                )
        elif how == "damage":
            with self.env.store.open_read(path) as file:
                text = file.read()
            assert text
            place = Path(self.workspace.settings.store_url.removeprefix("file://")) / path
            content = place.read_bytes()
            place.write_bytes(content[: len(content) // 2])
        else:
            self.env.store.delete(path)

    # What runs do.

    def sync(self) -> None:
        error = self.attempt("a run")
        assert error is None or self.may_stop(error), error

    def killed(self, step: str, nth: int = 1) -> None:
        self.attempt("a killed run", self.at(step, self.die, nth))

    def fails(self, step: str) -> None:
        """The network breaks, as an error that the engine knows."""

        def cut() -> None:
            raise SyncConnectionError("the line is cut", code="cut")

        self.attempt("a failing run", self.at(step, cut))

    def during(self, step: str, action: str, then: str, **arguments: Any) -> None:
        """Somebody does something while a run is at a step; then it goes on, or is killed."""

        def act() -> None:
            side = arguments.get("side")
            if self.sides[str(side)].locked and step == f"{side}_writing":
                return
            self.log.append(f"  at {step}: {action}")
            getattr(self, action)(**arguments)
            if then == "killed":
                self.die()

        error = self.attempt("an edited run", self.at(step, act))
        assert error is None or self.may_stop(error) or error.code == "file_changed", error

    def retry(self, nth: int = 0) -> None:
        """The last run that did not end goes on from its phase that did not, as Airflow retries a task."""
        if self.unfinished is not None:
            self.attempt("a retry", run=self.unfinished, retry=True)

    def clear(self, nth: int, phase: int) -> None:
        """An earlier run is cleared from one of its phases on: with what it had staged then."""
        if not self.runs:
            return
        run = self.runs[nth % len(self.runs)]
        names = pipeline.phases_of(self.mapping.mapping)
        self.attempt("a cleared run", run=run, first=names[phase % len(names)])

    def allow(self) -> None:
        """A person lets the deletions of one run pass."""
        error = self.attempt("an allowed run", allow_deletes_once=True)
        assert error is None or self.may_stop(error), error

    # The machinery.

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
                if self.stopped_by_guard(error):
                    assert self.everything() == before, f"written although a guard stopped it: {error}"
                return error
            finally:
                steps.listener = None
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

    # What stands where.

    def fresh(self, what: str) -> str:
        self.count += 1
        value = f"v{self.count}"
        self.live[value] = what
        self.written.add(value)
        return value

    def forget(self, *values: Any) -> None:
        for value in values:
            self.live.pop(str(value), None)

    def pick(self, side: str, number: int) -> str | None:
        keys = sorted(self.sides[side].by_key())
        return keys[number % len(keys)] if keys else None

    def put(self, side: str, key: str, values: dict[str, str]) -> None:
        spelled = {name: self.spelled(side, name, value) for name, value in values.items()}
        self.sides[side].add(key, **spelled, **{CHANGED: self.side_time(side)})

    def side_time(self, side: str) -> str:
        return f"{datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=self.hour + self.skew[side]):%Y-%m-%dT%H:%M:%S}Z"

    def spelled(self, side: str, field: str, value: str | None) -> str | None:
        """A value as the side writes it."""
        return f"p:{value}" if value is not None and self.options.lens and (side, field) == ("source", "note") else value

    def rows(self, side: str) -> list[Row]:
        """All rows of a side, in destination space."""
        found = self.sides[side].rows()
        if self.options.lens and side == "source":
            found = [{**row, "note": row["note"] and row["note"].removeprefix("p:")} for row in found]
        return found

    def view(self, side: str) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for row in self.rows(side):
            found.setdefault(str(row["code"]), row)
        return found

    def everything(self) -> list[Any]:
        return [(driver.rows(), driver.others()) for driver in self.sides.values()]

    def conflicts(self, *statuses: str) -> list[StoredConflict]:
        return list(self.env.ledger.conflicts.list(statuses=statuses))

    def baseline_path(self) -> str | None:
        current = self.env.ledger.baselines.get(pointer("sample"))
        return current.path if current else None

    def baseline_readable(self) -> bool:
        path = self.baseline_path()
        try:
            return path is not None and bool(list(unstage(self.env.store, path)) or True)
        except SyncError:
            return False

    # What must hold, at every moment.

    def observe(self, when: str, step: str | None = None) -> None:
        """Note what stands on the sides, and that nothing is lost (I1), invented (I6) or ahead of the data (I2)."""
        shown: set[str | None] = set()
        for side in SIDES:
            if step == f"{side}_writing" and self.sides[side].kind == "postgres":
                continue
            for row in self.rows(side):
                for field in FIELDS:
                    value = row[field]
                    assert value in self.written, f"{when}: {value!r} was made up"
                    self.held[side, str(row["code"]), field].add(value)
                    shown.add(value)
        if self.always_check:
            self.check_lost(shown, when)
        if step in (None, "reported"):
            self.check_base(when)

    def check_lost(self, shown: set[str | None], when: str) -> None:
        missing = {value: what for value, what in self.live.items() if value not in shown}
        if not missing:
            return
        for stored in self.conflicts():
            for part in (stored.conflict.source, stored.conflict.destination, stored.value):
                for value in part.values() if isinstance(part, dict) else (part,):
                    missing.pop(str(value), None)
        if missing:
            raise LostError(f"{when}: lost {missing}")

    def check_base(self, when: str) -> None:
        path = self.baseline_path()
        if path is None or not self.baseline_readable():
            return
        for batch in unstage(self.env.store, path):
            for row in batch.to_pylist():
                unagreed = (row[UNAGREED] or "").split(NAME_SEPARATOR)
                for side in SIDES:
                    for field in FIELDS:
                        seen = self.held[side, row["code"], field]
                        assert field in unagreed or row[field] in seen, (
                            f"{when}: the baseline has {row[field]!r} for {row['code']}.{field}, the {side} never had"
                        )

    # What must hold in the end.

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

    def check_agreement(self) -> None:
        """Both sides hold the same, but for what is declared to stay different."""
        held = {side: self.view(side) for side in SIDES}
        excused = {c.conflict.key for c in self.conflicts("open", "decided")}
        for side in SIDES:
            keys = [str(row["code"]) for row in self.rows(side)]
            excused |= {key for key in keys if keys.count(key) > 1}
            if self.filter:
                excused |= {key for key, row in held[side].items() if (row["name"] or "").endswith(OUT_OF_SCOPE)}
        one, two = (held[side].keys() - excused for side in SIDES)
        assert one == two, f"only on one side: {one ^ two}"
        for key in one:
            source, destination = held["source"][key], held["destination"][key]
            if self.options.nulls == "skip" and None in [row[f] for row in (source, destination) for f in FIELDS]:
                continue
            for field in FIELDS:
                pair = (source[field], destination[field])
                owner = {"to_destination": 0, "to_source": 1}.get(self.options.owned) if field == "note" else None
                if (self.options.nulls == "keep" and None in pair) or (owner is not None and pair[owner] is None):
                    continue
                assert pair[0] == pair[1], f"{key}.{field} differs: {pair}"


@cache
def _empty_ledger() -> bytes:
    from sync_provider.engine.crypto import Cipher, new_key

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        with Ledger.open(f"sqlite:///{file}", Cipher([new_key()]), Ticking()):
            pass
        return file.read_bytes()


def told(history: list[tuple[str, dict[str, Any]]]) -> str:
    """A history as lines that `histories.replay` takes."""
    return "\n".join(json.dumps(step) for step in history)
