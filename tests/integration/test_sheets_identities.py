"""Tabs whose rows have no key: a column of ids is added and filled, once, whatever people do meanwhile."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sheets_runs import Google
from sheets_side import SheetsSide
from sync_provider.cli.main import main
from sync_provider.connectors.base import ColumnRequest
from sync_provider.connectors.sheets import reading
from sync_provider.connectors.sheets.api import SheetsApi
from sync_provider.core.errors import MappingErrors, SyncAuthenticationError, SyncDataError
from sync_provider.core.report import SideCounters
from sync_provider.core.schema import parse_type
from sync_provider.engine import steps
from sync_provider.engine.identity import NONE_YET
from sync_provider.sandbox.server import Sandbox
from workspace import Workspace, deployment

ID = "Réf."
ROWS = [["Nom", "Montant"], ["Anna", 1.5], ["Bo", 2], ["Carl", 3]]
FIELDS = [
    {"source": ID, "destination": "id"},
    {"source": "Nom", "destination": "name"},
    {"source": "Montant", "destination": "amount", "type": "decimal(12,2)"},
]
TOUCHED, WRITE = "drive.files.get", "sheets.spreadsheets.batchUpdate"
LOOSE = {"max_deletes": "100%", "max_deletes_in_window": "100%", "on_trip": "fail"}


class Sheet(Google):
    """A tab without ids, brought into the table ``target``."""

    def put(self, rows: list[list[Any]], at: str = "A1") -> None:
        self.client.put(self.book, f"Sheet1!{at}", rows)

    def declare(self, **keys: Any) -> None:
        given = {"source": self.endpoint(id_column=ID), "key": ["id"], "fields": FIELDS, "write": "mirror", **keys}
        self.workspace.mapping(**{"guards": LOOSE, **given})

    def two_way(self, **keys: Any) -> None:
        self.declare(**{"mode": "bidirectional", "write": None, "deletes": "propagate", **keys})

    def by_name(self) -> dict[str, str]:
        """Name → id, as the tab holds them."""
        header, *rows = self.client.rows(self.book)
        at, name = header.index(ID), header.index("Nom")
        filled = [[*row, *[""] * (len(header) - len(row))] for row in rows]
        return {row[name]: row[at] for row in filled if any(row)}

    def table(self) -> dict[str, tuple[str, float]]:
        """Name → id and amount, as the table holds them."""
        return {name: (identity, amount) for identity, name, amount in self.workspace.rows()}

    def sort(self, column: int, *, descending: bool = False) -> None:
        order = "DESCENDING" if descending else "ASCENDING"
        area = {"sheetId": 0, "startRowIndex": 1}
        specs = [{"dimensionIndex": column, "sortOrder": order}]
        self.client.batch(self.book, {"sortRange": {"range": area, "sortSpecs": specs}})

    def insert(self, dimension: str, at: int) -> None:
        area = {"sheetId": 0, "dimension": dimension, "startIndex": at, "endIndex": at + 1}
        self.client.batch(self.book, {"insertDimension": {"range": area}})

    def between(self, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], *, call: int = 1) -> None:
        """Have a person act right before our nth write, once."""
        write, calls = SheetsApi.batch_update, iter(range(1, 100))

        def acted(api: SheetsApi, *args: Any, **options: Any) -> Any:
            if next(calls) == call:
                act()
            return write(api, *args, **options)

        monkeypatch.setattr(SheetsApi, "batch_update", acted)


@pytest.fixture
def sheet(tmp_path: Path) -> Iterator[Sheet]:
    (tmp_path / "deployment").mkdir()
    with Sandbox(tmp_path / "sandbox") as sandbox:
        made = Sheet(sandbox, Workspace(tmp_path / "deployment"))
        made.client.control("PUT", "quotas", dict.fromkeys(("reads_per_user", "writes_per_user"), 10_000))
        made.client.control("PUT", "quotas", dict.fromkeys(("reads_per_project", "writes_per_project"), 10_000))
        made.put(ROWS)
        yield made


@pytest.fixture
def imported(sheet: Sheet) -> Sheet:
    """Three rows, with ids by now, in the table."""
    sheet.declare()
    result, _ = sheet.run()
    assert result["inserted"] == 3
    return sheet


def test_the_first_run_adds_ids_and_the_second_costs_one_request(sheet: Sheet) -> None:
    sheet.put([["note beside"]], at="D2")
    sheet.declare()
    result, requests = sheet.run()
    assert (result["state"], result["inserted"], requests.count(WRITE)) == ("succeeded", 3, 2)
    header, *rows = sheet.client.rows(sheet.book)
    assert header == ["Nom", "Montant", ID]
    ids = [row[2] for row in rows]
    assert len(set(ids)) == 3
    assert {len(each) for each in ids} == {26}
    assert rows[0] == ["Anna", 1.5, ids[0], "", "note beside"], "what stood beside was moved, not taken for an id"
    assert sheet.table() == {"Anna": (ids[0], 1.5), "Bo": (ids[1], 2), "Carl": (ids[2], 3)}
    (tab,) = sheet.client.spreadsheets.get(spreadsheetId=sheet.book, includeGridData=True).execute()["sheets"]
    (protected,) = tab["protectedRanges"]
    assert protected["warningOnly"] is True
    assert protected["description"]
    bounds = {name: protected["range"].get(name) for name in ("startColumnIndex", "endColumnIndex", "endRowIndex")}
    assert bounds == {"startColumnIndex": 2, "endColumnIndex": 3, "endRowIndex": bounds["endRowIndex"]}
    names = tab["data"][0]["rowData"][0]["values"]
    assert names[2]["userEnteredFormat"]["textFormat"]["bold"] is True
    result, requests = sheet.run()
    assert (requests, result["source_unchanged"]) == ([TOUCHED], 1)
    assert sheet.by_name() == dict(zip(("Anna", "Bo", "Carl"), ids, strict=True))


def test_a_run_over_known_rows_reads_its_ids_apart_and_writes_nothing(imported: Sheet) -> None:
    imported.put([[9]], at="B2")
    result, requests = imported.run()
    assert (result["read"], result["updated"], result["written"]) == (3, 1, 1)
    assert WRITE not in requests
    assert len([name for name in requests if name == "sheets.spreadsheets.values.batchGet"]) == 4


def test_sorted_moved_and_inserted_rows_and_columns_are_no_changes(imported: Sheet) -> None:
    before = imported.table()
    imported.sort(0, descending=True)
    assert [row[0] for row in imported.client.rows(imported.book)] == ["Nom", "Carl", "Bo", "Anna"]
    imported.insert("COLUMNS", 0)
    result, _ = imported.run()
    assert (result["unchanged"], result["written"], result["deleted"]) == (3, 0, 0)
    imported.insert("ROWS", 2)
    imported.put([["Dora", 4]], at="B3")
    result, requests = imported.run()
    assert (result["inserted"], result["unchanged"], result["deleted"]) == (1, 3, 0)
    assert requests.count(WRITE) == 1
    assert {name: row for name, row in imported.table().items() if name != "Dora"} == before
    move = {"source": {"sheetId": 0, "dimension": "ROWS", "startIndex": 1, "endIndex": 3}, "destinationIndex": 5}
    imported.client.batch(imported.book, {"moveDimension": move})
    assert imported.run()[0]["unchanged"] == 4


def test_a_copied_row_is_refused_with_its_original_until_its_id_is_emptied(imported: Sheet) -> None:
    identity = imported.by_name()["Bo"]
    imported.put([["Bo copied", 7, identity]], at="A5")
    result, _ = imported.run()
    assert (result["rejected"], result["unchanged"], result["deleted"]) == (2, 2, 0)
    with imported.workspace.environment() as env:
        refused = env.ledger.rejections.list(mapping_id="sample")
    assert sorted(str(each.where.cell) for each in refused) == ["C3", "C5"]
    assert all("Empty the id of the copied row" in each.message for each in refused)
    imported.put([[""]], at="C5")
    result, _ = imported.run()
    assert (result["inserted"], result["unchanged"], result["rejected"]) == (1, 3, 0)
    assert imported.table()["Bo"][0] == identity != imported.table()["Bo copied"][0]


def test_a_dry_run_writes_nothing_and_says_how_many_rows_wait(sheet: Sheet, caplog: pytest.LogCaptureFixture) -> None:
    sheet.declare()
    result, requests = sheet.run(dry_run=True)
    assert WRITE not in requests
    assert (result["read"], result["deferred"], result["rejected"], result["state"]) == (3, 3, 0, "succeeded")
    assert f"3 rows of the source {NONE_YET}" in caplog.text
    assert sheet.client.rows(sheet.book) == ROWS
    sheet.run()
    sheet.put([["Dora", 4]], at="A5")
    before = sheet.client.rows(sheet.book)
    result, requests = sheet.run(dry_run=True)
    assert (result["deferred"], result["unchanged"]) == (1, 3)
    assert sheet.client.rows(sheet.book) == before
    assert sheet.run()[0]["inserted"] == 1


def test_blank_rows_and_rows_of_other_columns_get_no_id(sheet: Sheet) -> None:
    blank = ["", ""]
    sheet.put([["Nom", "Montant", "Remarque"], ["Anna", 1.5], blank, [*blank, "not mapped"], ["Bo", 2]])
    sheet.declare()
    assert sheet.run()[0]["inserted"] == 2
    assert [row[3:] != [] for row in sheet.client.rows(sheet.book)[1:]] == [True, False, False, True]


def test_ids_of_large_tabs_are_read_and_written_in_blocks(sheet: Sheet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_FIRST_ROWS_CELLS", 90)
    monkeypatch.setattr(reading, "REPLY_BYTES", 10_000)
    sheet.put([*ROWS[:1], *([f"Name {number}", number] for number in range(300))])
    sheet.client.batch(
        sheet.book, {"deleteDimension": {"range": {"sheetId": 0, "dimension": "ROWS", "startIndex": 420}}}
    )
    sheet.declare()
    assert sheet.run()[0]["inserted"] == 300
    sheet.put([["Late", 1]], at="A400")
    assert sheet.run()[0]["inserted"] == 1
    assert sheet.run()[1] == [TOUCHED]


def test_a_filter_that_people_sort_by_takes_the_ids_along(sheet: Sheet) -> None:
    area = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 4, "startColumnIndex": 0, "endColumnIndex": 2}
    sheet.client.batch(sheet.book, {"setBasicFilter": {"filter": {"range": area}}})
    sheet.declare()
    sheet.run()
    (tab,) = sheet.client.spreadsheets.get(spreadsheetId=sheet.book).execute()["sheets"]
    assert tab["basicFilter"]["range"]["endColumnIndex"] == 3


def test_a_column_at_the_end_of_the_grid(tmp_path: Path, sheet: Sheet) -> None:
    columns = {"dimension": "COLUMNS", "sheetId": 0, "startIndex": 2, "endIndex": 26}
    sheet.client.batch(sheet.book, {"deleteDimension": {"range": columns}})
    sheet.declare()
    assert sheet.run()[0]["inserted"] == 3
    assert len(sheet.by_name()) == 3


# People meanwhile


def test_sorting_between_reading_and_writing_costs_no_id(imported: Sheet, monkeypatch: pytest.MonkeyPatch) -> None:
    before = imported.by_name()
    imported.put([["Aaron", 4], ["Zoe", 5]], at="A5")
    imported.between(monkeypatch, lambda: imported.sort(0))
    result, requests = imported.run()
    assert requests.count(WRITE) == 3, "theirs, ours, and the one that puts it right"
    after = imported.by_name()
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == 5
    assert (result["inserted"], result["unchanged"], result["deleted"], result["rejected"]) == (2, 3, 0, 0)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_people_do_between_no_id_is_lost_doubled_or_left_on_a_blank_row(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(seed)
    side = SheetsSide(tmp_path)
    wanted = tuple(ColumnRequest(name=name, type=parse_type("string")) for name in ("id", "name", "rank"))
    write, acts = SheetsApi.batch_update, iter([True] * rng.randint(1, 3))

    def acted(api: SheetsApi, *args: Any, **options: Any) -> Any:
        if next(acts, False):
            some = rng.randint(1, 12)
            rows = {"sheetId": 7, "dimension": "ROWS", "startIndex": some, "endIndex": some + rng.randint(1, 3)}
            order = [{"dimensionIndex": rng.randint(0, 2), "sortOrder": rng.choice(["ASCENDING", "DESCENDING"])}]
            act: dict[str, Any] = rng.choice([
                {"sortRange": {"range": {"sheetId": 7, "startRowIndex": 1}, "sortSpecs": order}},
                {"insertDimension": {"range": rows}},
                {"deleteDimension": {"range": rows}},
                {"moveDimension": {"source": rows, "destinationIndex": rng.choice([1, 20])}},
            ])  # fmt: skip
            side.client.batch(side.book, act)
        return write(api, *args, **options)

    try:
        names = [f"name {number}" for number in range(12)]
        before = {name: f"own {name}" for name in names if rng.random() < 0.6}
        side.put(["id", "name", "rank"], *([before.get(name, ""), name, rng.randint(0, 3)] for name in names))
        monkeypatch.setattr(SheetsApi, "batch_update", acted)
        side.connector(id_column="id").give_ids(wanted, lambda: None)
        rows = [[*row, "", "", ""][:3] for row in side.rows()[1:]]
        after = {name: identity for identity, name, _ in rows if name}
        assert {name: after[name] for name in before.keys() & after.keys()} == {
            name: identity for name, identity in before.items() if name in after
        }
        assert all(identity for identity in after.values())
        assert len(set(after.values())) == len(after)
        assert not [identity for identity, name, _ in rows if identity and not name]
    finally:
        side.close()


def test_rows_that_keep_moving_wait_for_the_next_run(
    imported: Sheet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def emptied(api: SheetsApi, *args: Any, **options: Any) -> Any:
        replies = write(api, *args, **options)
        imported.put([[""]], at="C5")
        return replies

    imported.put([["Dora", 4]], at="A5")
    write = SheetsApi.batch_update
    monkeypatch.setattr(SheetsApi, "batch_update", emptied)
    result, _ = imported.run()
    assert (result["deferred"], result["inserted"], result["state"]) == (1, 0, "partial")
    assert "keep moving" in caplog.text
    monkeypatch.setattr(SheetsApi, "batch_update", write)
    assert imported.run()[0]["inserted"] == 1


def test_ids_in_other_rows_than_their_own_are_not_read(sheet: Sheet, monkeypatch: pytest.MonkeyPatch) -> None:
    orders, write = itertools.cycle([True, False]), SheetsApi.batch_update

    def sorted_first(api: SheetsApi, *args: Any, **options: Any) -> Any:
        sheet.sort(0, descending=next(orders))
        return write(api, *args, **options)

    sheet.put(
        [["Nom", "Montant", ID], ["Anna", 1, "a"], ["Bo", 2, ""], ["Carl", 3, "c"], ["Dora", 4, "d"], ["Emil", 5]]
    )
    sheet.declare()
    monkeypatch.setattr(SheetsApi, "batch_update", sorted_first)
    with pytest.raises(SyncDataError) as caught:
        sheet.run()
    assert caught.value.code == "ids_moved"
    assert "version history" in (caught.value.hint or "")
    assert not sheet.workspace.sync.rows("db", "SELECT name FROM sqlite_master")


def test_a_row_added_after_the_ids_waits_for_the_next_run(imported: Sheet, monkeypatch: pytest.MonkeyPatch) -> None:
    imported.put([["Dora", 4]], at="A5")
    monkeypatch.setattr(steps, "listener", lambda _: imported.put([["Late", 6]], at="A6"))
    result, _ = imported.run()
    assert (result["inserted"], result["deferred"]) == (1, 1)
    monkeypatch.setattr(steps, "listener", None)
    assert imported.run()[0]["inserted"] == 1


def test_a_formula_in_an_id_cell_stays(imported: Sheet, caplog: pytest.LogCaptureFixture) -> None:
    imported.client.put(imported.book, "Sheet1!A5", [["Dora", 4, '=""']], "USER_ENTERED")
    result, requests = imported.run()
    assert (result["deferred"], WRITE in requests) == (1, False)
    assert "Sheet1!C5 holds a formula" in caplog.text
    assert imported.client.rows(imported.book, "Sheet1!C5", "FORMULA") == [['=""']]


# Trouble


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_lost_answer_adds_neither_a_second_column_nor_second_ids(sheet: Sheet, cut: str) -> None:
    sheet.declare()
    sheet.client.control("POST", "faults", {"method": WRITE, "cut": cut, "times": 2})
    assert sheet.run()[0]["inserted"] == 3
    header = sheet.client.rows(sheet.book)[0]
    assert header == ["Nom", "Montant", ID]
    assert set(sheet.by_name().values()) == {identity for identity, _ in sheet.table().values()}


@pytest.mark.parametrize("two_way", [False, True])
def test_a_run_killed_after_the_ids_is_finished_by_the_next(
    sheet: Sheet, monkeypatch: pytest.MonkeyPatch, two_way: bool
) -> None:
    def killed(step: str) -> None:
        if step == "identified":
            raise KeyboardInterrupt

    sheet.two_way() if two_way else sheet.declare()
    monkeypatch.setattr(steps, "listener", killed)
    with pytest.raises(KeyboardInterrupt):
        sheet.run()
    ids = sheet.by_name()
    assert len(ids) == 3
    monkeypatch.setattr(steps, "listener", None)
    assert sheet.run()[0]["inserted"] == 3
    assert sheet.by_name() == ids
    assert {name: identity for name, (identity, _) in sheet.table().items()} == ids


def test_an_account_that_may_only_read_is_told_so(sheet: Sheet) -> None:
    key = sheet.client.control("POST", "accounts", {"email": "reader@example.iam.gserviceaccount.com"})
    sheet.client.control("POST", "share", {"id": sheet.book, "email": key["client_email"], "role": "reader"})
    sheet.workspace.connections["g"].extra["keyfile_dict"] = key
    sheet.declare()
    with pytest.raises(SyncAuthenticationError, match="may only read"):
        sheet.run()
    with sheet.workspace.environment() as env, sheet.workspace.open() as ctx, env.connect(ctx.mapping.source) as source:
        probes = {probe.aspect: probe for probe in source.test([ID, "Nom"], write=False)}
    assert not probes["write"].ok
    assert "Editor" in (probes["write"].hint or "")
    assert "will be added" in probes["header"].detail


def test_nothing_is_added_to_a_tab_that_lacks_a_mapped_column(sheet: Sheet) -> None:
    sheet.put([["Nom", "Montants"]])
    sheet.declare()
    with pytest.raises(SyncDataError, match="Montant"):
        sheet.run()
    assert sheet.client.rows(sheet.book)[0] == ["Nom", "Montants"]


def test_a_full_spreadsheet_gets_no_column(sheet: Sheet, monkeypatch: pytest.MonkeyPatch) -> None:
    from sync_provider.connectors.sheets import limits

    monkeypatch.setattr(limits, "MAX_CELLS", 26_500)
    sheet.declare()
    with pytest.raises(SyncDataError) as caught:
        sheet.run()
    assert caught.value.code == "spreadsheet_full"
    assert sheet.client.rows(sheet.book) == ROWS


# Two-way


def two_way_run(sheet: Sheet, **params: Any) -> dict[str, Any]:
    result, _ = sheet.run(**params)
    for counters in result["sides"].values():
        assert SideCounters(**counters).balanced
        assert counters["unchanged"] >= 0
    return result


def settled(sheet: Sheet) -> None:
    result = two_way_run(sheet)
    assert (result["inserted"], result["updated"], result["deleted"], result["rejected"], result["deferred"]) == (
        0,
    ) * 5


def test_two_way_edits_and_rows_born_on_both_sides_meet_by_their_ids(sheet: Sheet) -> None:
    sheet.two_way()
    assert two_way_run(sheet)["inserted"] == 3
    ids = sheet.by_name()
    settled(sheet)
    sheet.sort(0, descending=True)  # Carl, Bo, Anna
    settled(sheet)
    sheet.put([["Carla", 33]], at="A2")
    sheet.insert("ROWS", 2)
    sheet.put([["Dora", 4]], at="A3")
    sheet.workspace.execute("UPDATE target SET amount = 20 WHERE name = 'Bo'")
    sheet.workspace.execute("INSERT INTO target VALUES ('born-here', 'Emil', 5)")
    sheet.workspace.execute("DELETE FROM target WHERE name = 'Anna'")
    result = two_way_run(sheet)
    assert (result["inserted"], result["updated"], result["deleted"], result["conflict"]) == (2, 2, 1, 0)
    table = sheet.table()
    assert table["Carla"] == (ids["Carl"], 33)
    assert table["Bo"] == (ids["Bo"], 20)
    assert sheet.by_name() == {name: identity for name, (identity, _) in table.items()}
    assert sheet.by_name()["Emil"] == "born-here"
    assert set(table) == {"Carla", "Bo", "Dora", "Emil"}
    settled(sheet)


def test_two_way_sorting_between_reading_and_writing_costs_no_id(sheet: Sheet, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet.two_way()
    two_way_run(sheet)
    ids = sheet.by_name()
    sheet.put([["Aaron", 4]], at="A5")
    sheet.between(monkeypatch, lambda: sheet.sort(0))
    result = two_way_run(sheet)
    assert (result["inserted"], result["deleted"], result["conflict"]) == (1, 0, 0)
    after = sheet.by_name()
    assert {name: after[name] for name in ids} == ids
    settled(sheet)


def test_two_way_a_copied_row_holds_up_both_until_its_id_is_emptied(sheet: Sheet) -> None:
    sheet.two_way()
    two_way_run(sheet)
    identity = sheet.by_name()["Bo"]
    sheet.put([["Bo copied", 7, identity]], at="A5")
    result = two_way_run(sheet)
    assert (result["rejected"], result["inserted"], result["updated"], result["deleted"]) == (2, 0, 0, 0)
    with sheet.workspace.environment() as env:
        refused = env.ledger.rejections.list(mapping_id="sample")
    assert all("Empty the id of the copied row" in each.message for each in refused)
    sheet.put([[""]], at="C5")
    assert two_way_run(sheet)["inserted"] == 1
    settled(sheet)


def test_two_way_dry_run_counts_rows_without_an_id_as_waiting(sheet: Sheet) -> None:
    sheet.two_way()
    result = two_way_run(sheet, dry_run=True)
    assert result["sides"]["source"]["deferred"] == 3
    assert sheet.client.rows(sheet.book) == ROWS
    assert two_way_run(sheet)["inserted"] == 3, "what was read without them is not taken over"
    result, requests = sheet.run()
    assert (requests, result["unchanged"]) == ([TOUCHED], 6)


def test_two_way_ids_in_a_tab_that_a_run_makes_are_protected_too(sheet: Sheet) -> None:
    there = sheet.endpoint("Autre", id_column="id")
    sheet.two_way(destination=there)
    assert two_way_run(sheet)["inserted"] == 3
    tabs = sheet.client.spreadsheets.get(spreadsheetId=sheet.book).execute()["sheets"]
    (protected,) = next(tab for tab in tabs if tab["properties"]["title"] == "Autre")["protectedRanges"]
    assert protected["range"]["startColumnIndex"] == 0
    sheet.client.put(sheet.book, "Autre!B5", [["Dora", 4]])
    assert two_way_run(sheet)["inserted"] == 1
    assert len(sheet.by_name()) == 4
    settled(sheet)


# Command line


@pytest.fixture
def shell(sheet: Sheet, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line of this deployment."""
    deployment(sheet.workspace, monkeypatch)
    extra = sheet.workspace.connections["g"].extra
    monkeypatch.setenv("AIRFLOW_CONN_G", json.dumps({"conn_type": "google_cloud_platform", "extra": extra}))
    return lambda *arguments: CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("two_way", [False, True])
def test_plan_and_test_say_which_rows_wait_for_an_id(sheet: Sheet, shell: Callable[..., Result], two_way: bool) -> None:
    sheet.two_way() if two_way else sheet.declare()
    told = shell("test", "sample")
    assert told.exit_code == 0, told.output
    assert f"2 column(s) found; '{ID}' will be added, for ids" in told.stdout
    assert f"3 of the first 3 records {NONE_YET}" in told.stdout
    assert "the account may edit it" in told.stdout
    told = shell("plan", "sample")
    assert told.exit_code == 0, told.output
    assert f"3 rows of the source {NONE_YET}." in told.stdout
    assert json.loads(shell("plan", "sample", "--json").stdout)["without_id"] == {"source": 3}
    assert sheet.client.rows(sheet.book) == ROWS
    assert shell("run", "sample").exit_code == 0
    told = shell("plan", "sample")
    assert "Nothing would change." in told.stdout
    assert "no id yet" not in told.stdout


# Mappings

TWO_WAY = {"mode": "bidirectional", "write": None}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"key": ["name"]}, "key must be [id]"),
        ({"key": ["id", "name"]}, "key must be [id]"),
        ({"fields": FIELDS[1:], "key": ["name"]}, "by exactly one field"),
        ({"fields": FIELDS[:1]}, "only the id is mapped"),
        ({"fields": [{**FIELDS[0], "type": "integer"}, *FIELDS[1:]]}, "type must be string"),
        ({"fields": [{**FIELDS[0], "optional": True}, *FIELDS[1:]]}, "leave this out"),
        ({"fields": [{**FIELDS[0], "to_destination": "upper(value)"}, *FIELDS[1:]]}, "travels as it is"),
    ],
)
def test_an_id_column_is_the_whole_key(sheet: Sheet, keys: dict[str, Any], message: str) -> None:
    sheet.declare(**keys)
    with pytest.raises(MappingErrors) as caught:
        sheet.run()
    assert message in str(caught.value)


def test_ids_are_given_at_a_source_and_written_to_no_range(sheet: Sheet) -> None:
    sheet.declare(source={"type": "csv", "path": "in.csv"}, destination=sheet.endpoint(id_column="id"))
    with pytest.raises(MappingErrors, match="ids are given at the source"):
        sheet.run()
    ranged = {name: value for name, value in sheet.endpoint(range="People").items() if name != "sheet"}
    for source, keys, message in [
        ({**ranged, "id_column": ID}, {}, "no ids be written"),
        (ranged, TWO_WAY, "can only be read"),
        ({**ranged, "sheet": "Sheet1"}, {}, "either sheet or range"),
        ({**ranged, "header_row": 2}, {}, "leave header_row out"),
    ]:
        sheet.declare(source=source, **keys)
        with pytest.raises(MappingErrors, match=message):
            sheet.run()


def test_an_import_from_a_named_range(sheet: Sheet) -> None:
    area = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 3, "startColumnIndex": 0, "endColumnIndex": 2}
    sheet.client.batch(sheet.book, {"addNamedRange": {"namedRange": {"name": "Clients", "range": area}}})
    ranged = {name: value for name, value in sheet.endpoint(range="Clients").items() if name != "sheet"}
    fields = [{"source": "Nom", "destination": "name"}, {**FIELDS[2]}]
    sheet.declare(source=ranged, key=["name"], fields=fields)
    assert sheet.run()[0]["inserted"] == 2
    assert sheet.run()[1] == [TOUCHED]
