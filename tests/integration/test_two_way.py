"""Two-way runs over real files, databases and a sheet: what travels, what stays, what is refused, what is remembered."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sync_provider.connectors.base import ConnectionInfo
from sync_provider.core.errors import SyncConnectionError, SyncDataError, SyncValidationError
from sync_provider.core.report import SideCounters
from sync_provider.engine.bidirectional.baseline import pointer
from workspace import Workspace

FIELDS = [
    {"source": "Code", "destination": "code"},
    {"source": "Montant", "destination": "amount", "type": "decimal(12,2)"},
    {"source": "Note", "destination": "note"},
]
START = "Code,Montant,Note,Remarque\n001,1.50,a,keep\n002,2.00,b,\n"


class Pair:
    """A CSV file with a column that is not mapped, and a SQLite table."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.declare()
        self.file = START

    def declare(self, **keys: Any) -> None:
        loose = {"max_deletes": "100%", "max_deletes_in_window": "100%", "on_trip": "fail"}
        self.workspace.mapping(**{"mode": "bidirectional", "write": None, "fields": FIELDS, "guards": loose, **keys})

    @property
    def file(self) -> str:
        return (self.workspace.files / "in.csv").read_text(encoding="utf-8")

    @file.setter
    def file(self, text: str) -> None:
        self.workspace.csv(text)

    def replace(self, old: str, new: str) -> None:
        assert old in self.file
        self.file = self.file.replace(old, new)

    def rows(self) -> list[tuple[Any, ...]]:
        return self.workspace.rows()

    def execute(self, sql: str) -> None:
        self.workspace.execute(sql)

    def run(self, **params: Any) -> dict[str, Any]:
        result = self.workspace.run(**params)
        for counters in result["sides"].values():
            assert SideCounters(**counters).balanced
            assert counters["unchanged"] >= 0
        return result

    def quiet(self) -> None:
        """A run without edits writes nothing, and finds nothing new."""
        before, rows = self.file, self.rows()
        with self.workspace.environment() as env:
            logged = env.ledger.conflicts.count()
        result = self.run()
        assert (result["inserted"], result["updated"], result["deleted"]) == (0, 0, 0)
        assert (self.file, self.rows()) == (before, rows)
        with self.workspace.environment() as env:
            assert env.ledger.conflicts.count() == logged


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(Workspace(tmp_path))


def test_a_first_run_copies_agrees_and_leaves_what_differs_open(pair: Pair) -> None:
    pair.workspace.execute("CREATE TABLE target (code TEXT PRIMARY KEY, amount DECIMAL(12,2), note TEXT)")
    pair.execute("INSERT INTO target VALUES ('002', 2, 'other'), ('003', 3, 'c')")
    result = pair.run()
    assert result["baseline"] == "first"
    assert (result["inserted"], result["conflicts_open"], result["deleted"]) == (2, 1, 0)
    assert pair.rows() == [("001", 1.5, "a"), ("002", 2, "other"), ("003", 3, "c")]
    assert pair.file == START + "003,3.00,c,\n"
    pair.quiet()


def test_edits_of_different_fields_meet_and_other_columns_stay(pair: Pair) -> None:
    pair.run()
    pair.execute("UPDATE target SET note = 'there' WHERE code = '001'")
    pair.replace("1.50", "1.75")
    assert pair.run()["updated"] == 2
    assert pair.rows()[0] == ("001", 1.75, "there")
    assert pair.file.splitlines()[1] == "001,1.75,there,keep"
    pair.quiet()


def test_order_and_columns_that_move_are_no_edits(pair: Pair) -> None:
    pair.run()
    pair.file = "Remarque,Note,Code,Montant\n,b,002,2.00\nkeep,a,001,1.50\n"
    pair.quiet()


def test_a_column_that_is_gone_stops_the_run_and_is_no_mass_edit(pair: Pair) -> None:
    pair.run()
    pair.file = pair.file.replace("Note", "Notes")
    with pytest.raises(SyncDataError, match="Note"):
        pair.run()
    assert pair.rows()[0] == ("001", 1.5, "a")


def test_a_key_that_stands_twice_is_left_alone_and_the_others_go_on(pair: Pair) -> None:
    pair.run()
    pair.file = pair.file + "001,9.00,twice,\n003,3.00,c,\n"
    result = pair.run()
    assert (result["state"], result["rejected"], result["inserted"]) == ("partial", 2, 1)
    assert pair.rows() == [("001", 1.5, "a"), ("002", 2, "b"), ("003", 3, "c")]
    with pair.workspace.environment() as env:
        found = list(env.ledger.rejections.list(rule="duplicate_key"))
    assert [r.where.line for r in found] == [2, 4]
    assert "in.csv:2 and in.csv:4" in found[0].message


def test_a_record_that_does_not_fit_is_left_alone_on_both_sides(pair: Pair) -> None:
    pair.declare(deletes="propagate")
    pair.run()
    pair.replace("001,1.50", "001,many")
    pair.execute("UPDATE target SET note = 'there' WHERE code = '001'")
    result = pair.run()
    assert (result["rejected"], result["deferred"], result["deleted"]) == (1, 1, 0)
    assert "001,many,a,keep" in pair.file
    pair.replace("001,many", "001,1.50")
    pair.run()
    assert "001,1.50,there,keep" in pair.file


def test_nothing_is_deleted_for_a_record_whose_key_cannot_be_read(pair: Pair) -> None:
    pair.declare(deletes="propagate")
    pair.run()
    pair.replace("001,1.50", ",1.50")
    assert pair.run()["deleted"] == 0
    assert len(pair.rows()) == 2


def test_what_the_filter_leaves_out_is_left_alone_not_deleted(pair: Pair) -> None:
    pair.declare(filter="amount > 1", deletes="propagate")
    pair.run()
    pair.replace("001,1.50", "001,0.50")
    result = pair.run()
    assert (result["filtered"], result["deleted"], result["updated"]) == (2, 0, 0)
    assert pair.rows()[0] == ("001", 1.5, "a")


def test_a_rule_keeps_a_record_from_both_sides_until_it_is_mended(pair: Pair) -> None:
    rule = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "amount", "min_value": 0}}
    pair.declare(validation={"expectations": [rule]})
    pair.run()
    pair.replace("001,1.50", "001,-1.00")
    pair.execute("UPDATE target SET note = 'there' WHERE code = '002'")
    result = pair.run()
    assert (result["state"], result["rejected"]) == ("partial", 2)
    assert pair.rows() == [("001", 1.5, "a"), ("002", 2, "there")]
    assert "002,2.00,there," in pair.file
    pair.replace("001,-1.00", "001,1.00")
    pair.run()
    assert pair.rows()[0] == ("001", 1, "a")


def test_a_deletion_waits_for_its_grace_and_a_record_that_comes_back_stays(pair: Pair, monkeypatch: Any) -> None:
    from sync_provider.engine.clock import SystemClock

    now = datetime(2030, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(SystemClock, "now", lambda _: now)
    pair.declare(deletes="propagate", delete_grace="P2D")
    pair.run()
    pair.execute("DELETE FROM target WHERE code = '001'")
    assert pair.run()["deferred"] == 1
    now = datetime(2030, 1, 2, tzinfo=UTC)
    assert pair.run()["deleted"] == 0
    pair.execute("INSERT INTO target VALUES ('001', 1.5, 'a')")
    pair.run()
    pair.execute("DELETE FROM target WHERE code = '001'")
    now = datetime(2030, 1, 3, tzinfo=UTC)
    assert pair.run()["deleted"] == 0
    now = datetime(2030, 1, 5, tzinfo=UTC)
    assert pair.run()["deleted"] == 1
    assert pair.file == "Code,Montant,Note,Remarque\n002,2.00,b,\n"


def test_a_file_still_being_written_is_no_side_without_records(pair: Pair) -> None:
    pair.declare(deletes="propagate", source={"type": "csv", "path": "in.csv", "settle": "PT1H"})
    file = pair.workspace.files / "in.csv"
    os.utime(file, (0, 0))
    pair.run()
    pair.replace("002,2.00,b,\n", "")
    with pytest.raises(SyncConnectionError, match="still being written") as caught:
        pair.run()
    assert (caught.value.code, caught.value.where.file) == ("file_unsettled", "in.csv")
    assert len(pair.rows()) == 2
    os.utime(file, (0, 0))
    assert pair.run()["deleted"] == 1


def test_the_order_of_the_fields_is_no_edit(pair: Pair) -> None:
    pair.file = "Code,Montant,Note,Remarque\n" + "".join(f"{n:03},{n}.00,n{n},\n" for n in range(30))
    pair.run()
    pair.declare(fields=[FIELDS[0], *reversed(FIELDS[1:])])
    pair.replace("003,3.00,n3", "003,3.50,n3")
    pair.execute("UPDATE target SET note = 'new' WHERE code = '004'")
    result = pair.run()
    assert (result["updated"], result["conflicts_open"]) == (2, 0)
    pair.quiet()


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_without_its_baseline_a_run_is_cautious_and_says_so(pair: Pair, how: str) -> None:
    pair.declare(deletes="propagate")
    pair.run()
    with pair.workspace.environment() as env:
        current = env.ledger.baselines.get(pointer("sample"))
        assert current is not None
        if how == "lost":
            env.store.delete(current.path)
        else:
            path = next(Path(env.settings.store_url.removeprefix("file://")).rglob(Path(current.path).name))
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    pair.execute("DELETE FROM target WHERE code = '001'")
    pair.replace("002,2.00,b", "002,2.00,edited")
    result = pair.run()
    assert (result["baseline"], result["deleted"], result["inserted"], result["conflicts_open"]) == (how, 0, 1, 1)
    assert pair.rows() == [("001", 1.5, "a"), ("002", 2, "b")]


def test_what_a_side_stores_differently_settles_in_two_runs_and_is_told(pair: Pair) -> None:
    pair.run()
    pair.execute(
        "CREATE TRIGGER trimmed AFTER UPDATE ON target BEGIN UPDATE target SET note = trim(note) WHERE code = new.code; END"
    )
    pair.replace("1.50,a", "1.50, spaced ")
    pair.run()
    settled = pair.run()
    assert settled["normalised"] == 1
    assert "001,1.50,spaced,keep" in pair.file
    pair.quiet()


def test_what_goes_back_and_forth_is_stopped_in_the_end(pair: Pair) -> None:
    pair.run()
    # A second program that undoes what we write to the table.
    pair.execute(
        "CREATE TRIGGER undo AFTER UPDATE ON target WHEN new.note = 'on' BEGIN UPDATE target SET note = 'off' WHERE code = new.code; END"
    )
    stopped = None
    for _ in range(8):
        pair.file = pair.file.replace("1.50,a", "1.50,on").replace("1.50,off", "1.50,on")
        try:
            pair.run()
        except SyncValidationError as error:
            stopped = error
            break
    assert stopped is not None
    assert "back and forth" in str(stopped)


def test_keep_both_makes_a_second_record_on_both_sides_once(pair: Pair) -> None:
    pair.declare(conflicts={"policy": "keep_both"})
    pair.run()
    pair.execute("UPDATE target SET note = 'theirs' WHERE code = '001'")
    pair.replace("1.50,a", "1.50,ours")
    assert pair.run()["conflicts_open"] == 0
    rows = pair.rows()
    assert rows[0] == ("001", 1.5, "ours")
    assert rows[1][0].startswith("001~")
    assert rows[1][1:] == (1.5, "theirs")
    assert f"{rows[1][0]},1.50,theirs," in pair.file
    pair.quiet()


def test_newest_goes_by_the_records_own_times(pair: Pair) -> None:
    fields = [*FIELDS, {"source": "Le", "destination": "at", "type": "timestamp"}]
    pair.declare(fields=fields, conflicts={"policy": "newest", "change_time": {"source": "Le", "destination": "at"}})
    pair.file = "Code,Montant,Note,Le\n001,1.50,a,2025-01-01T00:00:00Z\n"
    pair.run()
    pair.execute("UPDATE target SET note = 'later', at = '2025-03-01 00:00:00'")
    pair.replace("a,2025-01-01", "earlier,2025-02-01")
    assert pair.run()["conflicts_open"] == 0
    assert pair.rows()[0][2] == "later"
    with pair.workspace.environment() as env:
        logged = {c.conflict.field: c.conflict for c in env.ledger.conflicts.list()}
    assert (logged["note"].source, logged["note"].winner) == ("earlier", "destination")


def test_an_expression_travels_back_and_what_has_no_way_back_is_refused(pair: Pair) -> None:
    fields = [
        FIELDS[0],
        {"source": "Montant", "destination": "amount", "type": "decimal(12,2)",
         "to_destination": "parse_number(replace(value, ' EUR', ''), 'en')", "to_source": "value::VARCHAR || ' EUR'"},
        {"source": "Note", "destination": "note", "to_destination": "lower(value)", "to_source": "value"},
    ]  # fmt: skip
    pair.declare(fields=fields)
    pair.file = "Code,Montant,Note\n001,1.50 EUR,A\n002,2.00 EUR,B\n"
    pair.run()
    pair.execute("UPDATE target SET amount = 7 WHERE code = '001'")
    pair.execute("UPDATE target SET note = 'Loud' WHERE code = '002'")
    result = pair.run()
    assert pair.file == "Code,Montant,Note\n001,7.00 EUR,A\n002,2.00 EUR,B\n"
    assert (result["updated"], result["rejected"]) == (1, 2)
    with pair.workspace.environment() as env:
        (refused,) = env.ledger.rejections.list(rule="round_trip")
    assert (refused.key, refused.field, refused.value) == ("002", "note", "Loud")


def test_a_field_that_the_source_owns_is_put_back_and_the_edit_kept_in_the_log(pair: Pair) -> None:
    pair.declare(fields=[*FIELDS[:2], {**FIELDS[2], "direction": "to_destination"}])
    pair.run()
    pair.execute("UPDATE target SET note = 'mine' WHERE code = '001'")
    pair.run()
    assert pair.rows()[0] == ("001", 1.5, "a")
    assert "mine" not in pair.file
    with pair.workspace.environment() as env:
        (found,) = env.ledger.conflicts.list()
    assert (found.conflict.policy, found.conflict.destination) == ("direction", "mine")
    pair.quiet()


def test_a_dry_run_writes_nothing_and_records_no_conflict(pair: Pair) -> None:
    pair.run()
    pair.execute("UPDATE target SET note = 'x' WHERE code = '001'")
    pair.replace("1.50,a", "1.50,y")
    result = pair.run(dry_run=True)
    assert result["conflict"] == 2
    with pair.workspace.environment() as env:
        assert env.ledger.conflicts.count() == 0


def excel(workspace: Workspace) -> dict[str, Any]:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["Code", "Montant", "Note"])
    for row in (["001", 1.5, "a"], ["002", 2, "b"]):
        book.active.append(row)
    book.save(workspace.files / "left.xlsx")
    return {"type": "excel", "path": "left.xlsx"}


def sheet(workspace: Workspace, request: pytest.FixtureRequest) -> dict[str, Any]:
    from sandbox_support import Client
    from sync_provider.sandbox.server import Sandbox

    sandbox = Sandbox(workspace.sync.folder / "sandbox").start()
    request.addfinalizer(sandbox.stop)
    client = Client(sandbox)
    book = client.create()
    client.put(book, "Sheet1!A1", [["Code", "Montant", "Note"], ["001", 1.5, "a"], ["002", 2, "b"]])
    key = json.loads(sandbox.service_account_file.read_text())
    extra = {"keyfile_dict": key, "base_url": sandbox.base_url}
    workspace.connections["g"] = ConnectionInfo(id="g", type="google_cloud_platform", extra=extra)
    return {"type": "google_sheets", "connection": "g", "spreadsheet": book, "sheet": "Sheet1"}


def csv_source(workspace: Workspace) -> dict[str, Any]:
    workspace.csv("Code;Montant;Note\n001;1,50;a\n002;2,00;b\n", "left.csv")
    return {"type": "csv", "path": "left.csv", "delimiter": ";", "decimal": ","}


def postgres(workspace: Workspace, request: pytest.FixtureRequest) -> dict[str, Any]:
    from urllib.parse import urlsplit

    url = urlsplit(request.getfixturevalue("postgres_url"))
    workspace.connections["pg"] = ConnectionInfo(
        id="pg", type="postgres", host=url.hostname, port=url.port, login=url.username, schema=url.path.lstrip("/")
    )
    return {"type": "sql", "connection": "pg", "table": "pair"}


SOURCES = {"csv": csv_source, "excel": excel, "sheets": sheet}
DESTINATIONS = {
    "sqlite": lambda _workspace: {"type": "sql", "connection": "db", "table": "target"},
    "postgres": postgres,
    "excel": lambda _workspace: {"type": "excel", "path": "right.xlsx"},
    "csv": lambda _workspace: {"type": "csv", "path": "right.csv"},
}


@pytest.mark.parametrize(
    "destination", [pytest.param(n, marks=[pytest.mark.postgres] if n == "postgres" else []) for n in DESTINATIONS]
)
@pytest.mark.parametrize("source", SOURCES)
def test_every_pair_settles_after_one_run_and_carries_an_edit_back(
    source: str, destination: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    workspace = Workspace(tmp_path)

    def end(makers: dict[str, Any], name: str) -> Any:
        wants = makers[name].__code__.co_argcount
        return makers[name](*(workspace, request)[:wants])

    there = end(DESTINATIONS, destination)
    workspace.mapping(
        mode="bidirectional", write=None, source=end(SOURCES, source), destination=there, fields=FIELDS, deletes="propagate",
        guards={"max_deletes": "100%", "max_deletes_in_window": "100%"},
    )  # fmt: skip
    assert workspace.run()["inserted"] == 2
    again = workspace.run()
    assert (again["unchanged"], again["inserted"], again["updated"]) == (4, 0, 0)
    # An edit at the destination, by a one-way integration of its own.
    workspace.mapping(id="edit", mode="import", source={"type": "csv", "path": "edit.csv"}, destination=there, write="upsert", fields=[
        {"source": f["destination"], "destination": f["destination"], "type": f.get("type", "string")} for f in FIELDS
    ])  # fmt: skip
    workspace.csv("code,amount,note\n001,7.25,edited\n003,3,new\n", "edit.csv")
    workspace.run("edit")
    result = workspace.run()
    assert result["sides"]["source"] | {"read": 0} == {
        **dict.fromkeys(result["sides"]["source"], 0), "unchanged": 1, "written": 1, "inserted": 1, "updated": 1,
    }  # fmt: skip
    settled = workspace.run()
    assert (settled["unchanged"], settled["inserted"], settled["updated"]) == (6, 0, 0)
