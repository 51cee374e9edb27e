"""A two-way integration seen only from outside: its sides edited as people edit them, its runs started and killed as processes.

Nothing of the engine runs in this process. Every value is written once, so each can be found again: it must stand on a side or in the
conflict log unless somebody who saw it there replaced or deleted it.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from two_way.options import FIELDS, KEYS, SIDES, STEPS, Options
from two_way.program import Ended, Invocation, Program
from two_way.sides import KINDS, Driver, Row
from workspace import Workspace

RETRY_MAY_HELP = 3
ACTIONS = {
    "edit": 30, "add": 8, "delete": 6, "run": 10, "killed_at": 14, "killed": 10, "terminated": 5, "faulty": 10, "during": 10,
    "twice": 3, "resolve": 4,
}  # fmt: skip
FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 429, "headers": {"Retry-After": "1"}},
    {"status": 500},
    {"status": 503, "times": 2},
    {"cut": "before"},
    {"cut": "after"},
)


class Outside:
    """Two sides and the program. Use as a context manager, then `live` through a history and `settle`.

    Args:
        options: the integration's.
        seed: of everything that happens.
        warm: see `Program`.
    """

    def __init__(self, options: Options, seed: int, *, warm: bool = False) -> None:
        self.options, self.random, self._warm = options, random.Random(seed), warm
        self.log: list[str] = []
        self.written: set[str | None] = {None}
        self.live: dict[str, str] = {}
        """Values that nobody has knowingly replaced → what they were."""
        self.touched: set[str] = set()
        """Keys that a run may have to write."""
        self._stack = ExitStack()
        self._took_s = 2.0

    def __enter__(self) -> Self:
        folder = Path(tempfile.mkdtemp(prefix="outside-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self.workspace = Workspace(folder)
        self.sides: dict[str, Driver] = {
            "source": KINDS[self.options.source](self.workspace, "left"),
            "destination": KINDS[self.options.destination](self.workspace, "right"),
        }
        self.workspace.mapping(**self.options.mapping(self.sides["source"], self.sides["destination"], None))
        for name, driver in zip(("left", "right"), self.sides.values(), strict=True):
            if driver.kind == "sqlite":
                self.workspace.sync.database(name)
        self.program = Program(self.workspace, warm=self._warm)
        self.beside = {name: driver.others() for name, driver in self.sides.items()}
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def sheets(self) -> list[Any]:
        """The sides that are spreadsheets."""
        return [driver for driver in self.sides.values() if driver.kind == "sheets"]

    def live_through(self, length: int) -> None:
        """A history: records on both sides, a run, and what comes then."""
        for key in KEYS[:3]:
            self.add(self.random.choice(SIDES), key)
        self.run()
        for _ in range(length):
            action = self.random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            getattr(self, action)()
            self.observe(action)

    # People

    def fresh(self, what: str) -> str:
        value = f"v{len(self.written)}"
        self.written.add(value)
        self.live[value] = what
        return value

    def forget(self, *values: str | None) -> None:
        for value in values:
            self.live.pop(str(value), None)

    def pick(self, side: str) -> tuple[str, Row] | None:
        rows = self.sides[side].by_key()
        return self.random.choice(sorted(rows.items())) if rows else None

    def edit(self) -> None:
        side, field = self.random.choice(SIDES), self.random.choice(FIELDS)
        picked = self.pick(side)
        if picked is None:
            return
        key, row = picked
        self.forget(row[field])
        value = None if self.random.random() < 0.1 else self.fresh(f"{key}.{field} on the {side}")
        self.sides[side].edit(key, field, value)
        self.touched.add(key)
        self.log.append(f"edit {side} {key}.{field}: {row[field]} → {value}")

    def add(self, side: str | None = None, key: str | None = None) -> None:
        side, key = side or self.random.choice(SIDES), key or self.random.choice(KEYS)
        if key in self.sides[side].by_key():
            return
        values = {field: self.fresh(f"{key}.{field} added on the {side}") for field in FIELDS}
        self.sides[side].add(key, **values)
        self.touched.add(key)
        self.log.append(f"add {side} {key}: {values}")

    def delete(self) -> None:
        side = self.random.choice(SIDES)
        picked = self.pick(side)
        if picked is None:
            return
        key, row = picked
        self.forget(*(row[field] for field in FIELDS))
        self.sides[side].delete(key)
        self.touched.add(key)
        self.log.append(f"delete {side} {key}")

    def resolve(self) -> None:
        """Somebody decides about an open conflict, for one of the sides."""
        found = self.program("conflicts", "list", "sample").answer["conflicts"]
        if found:
            conflict, side = self.random.choice(found), self.random.choice(SIDES)
            ended = self.program("conflicts", "resolve", str(conflict["id"]), f"--{side}")
            assert ended.code == 0, ended.text
            self.touched.add(conflict["key"])
            self.log.append(f"resolve {conflict['key']}.{conflict['field']} for the {side}")

    def replace(self) -> None:
        """While a run goes on, somebody replaces a value that this run has no reason to write, wherever its row stands by then."""
        side = self.random.choice([name for name in SIDES if self.sides[name].kind in ("sheets", "sqlite", "postgres")])
        both = [driver.by_key() for driver in self.sides.values()]
        quiet = [key for key, row in both[0].items() if key not in self.touched and both[1].get(key) == row]
        old = both[0][self.random.choice(quiet)][self.random.choice(FIELDS)] if quiet else None
        if old is None:
            return
        new = self.fresh(f"{old} replaced on the {side} during a run")
        done = self._swap(self.sides[side], old, new)
        self.forget(old if done else new)
        self.log.append(f"  replace {old} → {new} on the {side}: {done}")

    def _swap(self, driver: Any, old: str, new: str) -> bool:
        if driver.kind == "sheets":
            asked = {"find": old, "replacement": new, "matchEntireCell": True, "matchCase": True, "sheetId": 7}
            (reply,) = driver.client.batch(driver.book, {"findReplace": asked})
            return bool(reply["findReplace"].get("valuesChanged"))
        with driver.connected() as database:
            done = [
                database.execute(
                    f"UPDATE records SET {field} = {driver.mark} WHERE {field} = {driver.mark}", (new, old)
                ).rowcount
                for field in FIELDS
            ]
        return any(done)

    # Runs

    def run(self) -> Ended:
        """A run that nothing disturbs: it must succeed."""
        self.program.expire()
        started = time.monotonic()
        ended = self.program("run", "sample")
        self._took_s = time.monotonic() - started
        self.log.append(f"run: {ended.code} {_told(ended)}")
        assert ended.code == 0, ended.text
        self.touched.clear()
        return ended

    def start(self, **options: Any) -> Invocation:
        self.program.expire()
        return self.program.start("run", "sample", **options)

    def killed_at(self) -> None:
        step = self.random.choice(STEPS)
        ended = self.start(stop_at=step).end()
        self.log.append(f"killed at {step}: {ended.code} {_told(ended)}")
        assert ended.code in (0, -signal.SIGKILL), ended.text

    def killed(self, number: int = signal.SIGKILL) -> None:
        """Killed wherever it happens to be."""
        invocation = self.start()
        after_s = self.random.uniform(0.1, 1.1) * self._took_s
        time.sleep(after_s)  # the very point: a moment that nobody has chosen
        invocation.send(number)
        ended = invocation.end()
        self.log.append(f"signal {number} after {after_s:.2f} s: {ended.code} {_told(ended)}")
        stopped = (ended.code, ended.error) == (RETRY_MAY_HELP, "stopped")
        assert ended.code in (0, -number) or (number == signal.SIGTERM and stopped), ended.text

    def terminated(self) -> None:
        self.killed(signal.SIGTERM)

    def faulty(self) -> None:
        """The spreadsheet's server misbehaves meanwhile."""
        for driver in self.sheets:
            fault = {**self.random.choice(FAULTS), "skip": self.random.randrange(6), "method": "sheets|drive"}
            driver.client.control("POST", "faults", fault)
            self.log.append(f"fault {fault}")
        ended = self.start().end()
        self.log.append(f"faulty run: {ended.code} {_told(ended)}")
        assert ended.code in (0, RETRY_MAY_HELP), ended.text
        for driver in self.sheets:
            driver.client.control("DELETE", "faults")

    def during(self) -> None:
        """Somebody works on while a run goes on."""
        if all(driver.kind in ("csv", "excel") for driver in self.sides.values()):
            return
        invocation = self.start()
        while not invocation.over:
            time.sleep(self.random.uniform(0.05, 0.5) * self._took_s)
            self.replace()
        ended = invocation.end()
        self.log.append(f"edited run: {ended.code} {_told(ended)}")
        assert ended.code == 0, ended.text

    def twice(self) -> None:
        """Two people start it at once: one run may have to say that the other one is writing."""
        both = [invocation.end() for invocation in [self.start(), self.program.start("run", "sample")]]
        self.log.append(f"two at once: {[(ended.code, _told(ended)) for ended in both]}")
        codes = [ended.code for ended in both]
        assert 0 in codes, [ended.text for ended in both]
        for ended in both:
            held = (ended.code, ended.error) == (RETRY_MAY_HELP, "lease_held")
            assert ended.code == 0 or held or ended.error == "file_changed", ended.text

    # What must hold

    def observe(self, when: str) -> None:
        """Nothing is lost, made up or doubled."""
        shown: set[str | None] = set()
        for side, driver in self.sides.items():
            rows = driver.rows()
            keys = [row["code"] for row in rows]
            assert len(keys) == len(set(keys)), f"{when}: a row is doubled on the {side}: {keys}"
            shown |= {row[field] for row in rows for field in FIELDS}
        assert shown <= self.written, f"{when}: {shown - self.written} were made up"
        missing = self.live.keys() - shown
        if missing:
            missing -= self.logged()
        assert not missing, f"{when}: lost { {value: self.live[value] for value in missing} }"

    def logged(self) -> set[str]:
        """All values in the conflict log."""
        found: set[str] = set()
        for conflict in self.program("conflicts", "list", "--all").answer["conflicts"]:
            for part in (conflict["source"], conflict["destination"], conflict["value"]):
                found.update(map(str, part.values() if isinstance(part, dict) else [part]))
        return found

    def settle(self) -> None:
        """Nobody edits any more: runs come to an end at which both sides hold the same and nothing is written."""
        for _ in range(5):
            counters = self.run().answer["counters"]
            self.observe("settling")
            if counters["inserted"] == counters["updated"] == counters["deleted"] == 0:
                break
        else:
            raise AssertionError("still writing")
        before = {side: (driver.rows(), driver.others()) for side, driver in self.sides.items()}
        for driver in self.sheets:
            driver.client.control("DELETE", "requests")
        self.run()
        for driver in self.sheets:
            assert driver.client.control("GET", "requests")["writes"] == 0
        after = {side: (driver.rows(), driver.others()) for side, driver in self.sides.items()}
        assert after == before
        assert {side: others for side, (_, others) in after.items()} == self.beside
        contested = {each["key"] for each in self.program("conflicts", "list", "sample").answer["conflicts"]}
        one, two = (driver.by_key() for driver in self.sides.values())
        assert one.keys() == two.keys()
        for key in one.keys() - contested:
            assert [one[key][field] for field in FIELDS] == [two[key][field] for field in FIELDS], key

    def __str__(self) -> str:
        return "\n".join([str(self.options), *self.log])


def _told(ended: Ended) -> str:
    counters = ended.answer.get("counters") or {}
    names = ("baseline", "inserted", "updated", "deleted", "deferred", "conflicts_open", "conflicts_settled")
    return str(ended.error or {name: counters[name] for name in names if counters.get(name)})
