"""What `make demo` tells of two-way synchronisation: `clients_ventes`, edited on both sides between its runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from local.airflow import LocalAirflow
from local.api import Api

MAPPING = "clients_ventes"
DAG_ID = f"sync__{MAPPING}"
_BOOK, _SHEET = "demo-clients", "Clients"
_ENDED = ("success", "failed")
_RUN_TIMEOUT_S = 180


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the story claims, and whether it came true."""

    topic: str
    holds: bool
    claim: str

    def __str__(self) -> str:
        return f"  {self.topic:10}{'ok' if self.holds else 'FAILED'}: {self.claim}"


class TwoSides:
    """The sheet and the table, as a person and a program edit them; each edit is told by one line.

    Args:
        airflow: runs the samples; `clients_ventes` has run once.
        api: of a user who may start and approve runs.
        say: called with each line.
    """

    def __init__(self, airflow: LocalAirflow, api: Api, say: Callable[[str], None]) -> None:
        self._airflow = airflow
        self._api = api
        self._say = say

    def tell(self) -> list[Check]:
        """Tell the whole story: a merge, a conflict and its decision, a mass deletion that a guard stops."""
        self._say(f"\n{MAPPING}, its two sides edited between its runs:")
        self._pause()
        checks = []
        for chapter in (self._merge_and_conflict, self._decision, self._mass_deletion):
            for check in chapter():
                self._say(str(check))
                checks.append(check)
        return checks

    def _merge_and_conflict(self) -> list[Check]:
        self._type("0003", "Ville", "Annecy")
        self._update("0003", "telephone", "0612345678")
        self._type("0008", "Remise %", "7")
        self._update("0008", "remise", 10)
        self._type("0012", "Encours", "5 000,00 €")
        self._update("0012", "encours", 6200)
        self._run()
        sheet, table = self.sheet(), self.table()
        conflicts = {each["field"]: each for each in self._conflicts()}
        undecided, settled = (conflicts.get(field, {}) for field in ("remise", "encours"))
        return [
            Check(
                "merge",
                [sheet["0003"]["Ville"], sheet["0003"]["Téléphone"]] == ["Annecy", "0612345678"]
                and [table["0003"]["ville"], table["0003"]["telephone"]] == ["Annecy", "0612345678"],
                "0003 holds both edits on both sides",
            ),
            Check(
                "conflict",
                [sheet["0008"]["Remise %"], table["0008"]["remise"]] == ["7", 10] and undecided.get("status") == "open",
                f"0008 stays 7 in the sheet and 10 in the table: conflict {undecided.get('id')} waits for a person",
            ),
            Check(
                "policy",
                [sheet["0012"]["Encours"], table["0012"]["encours"]] == ["6 200,00 €", 6200]
                and [settled.get("source"), settled.get("winner")] == ["5000.00", "destination"],
                f"0012 is 6200 on both sides: the field's own policy is destination_wins; 5000 is kept as conflict {settled.get('id')}",
            ),
        ]

    def _decision(self) -> list[Check]:
        number = next((each["id"] for each in self._conflicts() if each["status"] == "open"), None)
        if number is None:
            return [Check("decision", False, "there is an open conflict to decide")]
        self._airflow.sync("conflicts", "resolve", str(number), "--value", "8")
        self._say(f"  {'person':10}airflow-sync conflicts resolve {number} --value 8")
        self._run()
        settled = (self.sheet()["0008"]["Remise %"], self.table()["0008"]["remise"])
        return [Check("decision", settled == ("8", 8), "0008 is 8 on both sides")]

    def _mass_deletion(self) -> list[Check]:
        before = self.sheet()
        with closing(sqlite3.connect(self._database)) as database, database:
            deleted = database.execute(f"DELETE FROM {MAPPING} WHERE code > '0006'").rowcount
        self._say(f"  {'table':10}{deleted} of {len(before)} records deleted, by accident")
        left = self.table()
        asked = self._run()
        untouched = (self.sheet(), self.table()) == (before, left)
        claim = f"a guard asked first, the answer was no: the sheet still has its {len(before)} records"
        return [Check("blocked", asked and untouched and len(left) == len(before) - deleted, claim)]

    def sheet(self) -> dict[str, dict[str, str]]:
        """Code → column → text as shown, with plain spaces."""
        header, *rows = self._airflow.sandbox.rows(_BOOK, _SHEET)
        records = (dict(zip(header, (" ".join(cell.split()) for cell in row), strict=False)) for row in rows)
        return {record["Code"]: record for record in records}

    def table(self) -> dict[str, dict[str, Any]]:
        """Code → column → value."""
        with closing(sqlite3.connect(self._database)) as database:
            database.row_factory = sqlite3.Row
            return {row["code"]: dict(row) for row in database.execute(f"SELECT * FROM {MAPPING}")}

    @property
    def _database(self) -> str:
        return str(self._airflow.home.path / "entrepot.db")

    def _type(self, code: str, column: str, text: str) -> None:
        """Type into the sheet, as a person does on its page."""
        header, *rows = self._airflow.sandbox.rows(_BOOK, _SHEET)
        number = next(n for n, row in enumerate(rows, 2) if row[0] == code)
        cell = f"{chr(ord('A') + header.index(column))}{number}"
        self._say(f"  {'sheet':10}{code} {column}: {self.sheet()[code][column]} → {text}")
        self._airflow.sandbox.type_in(_BOOK, _SHEET, cell, text)

    def _update(self, code: str, column: str, value: str | int) -> None:
        """Change the table, as another program does."""
        self._say(f"  {'table':10}{code} {column}: {self.table()[code][column]} → {value}")
        with closing(sqlite3.connect(self._database)) as database, database:
            database.execute(f"UPDATE {MAPPING} SET {column} = ? WHERE code = ?", (value, code))

    def _conflicts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._airflow.sync("conflicts", "list", MAPPING, "--all")["conflicts"]
        return found

    def _run(self) -> bool:
        """Run it and say how it went; a question of a guard is answered by no. Returns whether there was one.

        Its schedule may start a run of its own as soon as it may: all are waited for, and afterwards it is paused again.
        """
        known = {run["dag_run_id"] for run in self._api.runs(DAG_ID)}
        self._api.unpause(DAG_ID)
        self._api.trigger(DAG_ID)
        asked: set[str] = set()

        def ended() -> bool:
            waiting = [run["dag_run_id"] for run in self._api.runs(DAG_ID) if run["state"] not in _ENDED]
            for run_id in waiting:
                if question := self._airflow.question(self._api, DAG_ID, run_id, "approve"):
                    if run_id not in asked:
                        self._say(f"  {'guard':10}{_reason(question)}; asked in Airflow's Required Actions")
                    asked.add(run_id)
                    self._api.answer(DAG_ID, run_id, "approve", "Reject")
            return not waiting

        self._airflow.wait_until(ended, timeout_s=_RUN_TIMEOUT_S)
        self._pause()
        for run in self._api.runs(DAG_ID):
            if run["dag_run_id"] not in known:
                self._say(f"  {'run':10}{run['state']}{self._written(run['dag_run_id'])}")
        return bool(asked)

    def _pause(self) -> None:
        """Keep its schedule from starting a run between two edits."""
        self._api.pause(DAG_ID)
        self._airflow.wait_until(
            lambda: all(run["state"] in _ENDED for run in self._api.runs(DAG_ID)), timeout_s=_RUN_TIMEOUT_S
        )

    def _written(self, run_id: str) -> str:
        counters = self._api.xcom(DAG_ID, run_id, "report")
        if counters is None:
            return ", nothing written"
        source, destination = (counters["sides"][side]["updated"] for side in ("source", "destination"))
        return (
            f", {source} updated in the sheet, {destination} in the table, conflicts open: {counters['conflicts_open']}"
        )


def _reason(question: dict[str, Any]) -> str:
    """Which guard asks, and why, from the question's Markdown."""
    line = next(line for line in str(question["body"]).splitlines() if line.startswith("- "))
    return line.removeprefix("- ").replace("**", "").partition(". ")[0]
