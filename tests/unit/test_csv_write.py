"""Writing CSV files: exact, atomic, careful with what is there."""

from __future__ import annotations

import csv
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from contract.harness import changes
from csv_files import connector, read, targets, wanted, write
from sync_provider.connectors.base import WriteRequest
from sync_provider.connectors.files import csv_write
from sync_provider.core.errors import SyncConnectionError, SyncDataError

PEOPLE = targets(id="integer", name="string", balance="decimal(12,2)")


def person(number: int, name: str | None = "Ann", balance: str | None = "1.50") -> dict[str, Any]:
    return {"id": number, "name": name, "balance": None if balance is None else Decimal(balance)}


def content(directory: Path) -> str:
    return (directory / "data.csv").read_bytes().decode()


def test_the_declared_conventions_are_written(tmp_path: Path) -> None:
    columns = targets(t="string", n="decimal(12,2)", x="double", b="boolean", d="date", m="timestamp")
    row = {
        "t": "a;b",
        "n": Decimal("-1234.50"),
        "x": 0.1,
        "b": True,
        "d": date(2024, 2, 1),
        "m": datetime(2024, 2, 1, 8, 5, 9, 250000, UTC),
    }
    options = {"encoding": "cp1252", "delimiter": ";", "decimal": ",", "date_order": "dmy", "line_end": "\r\n"}
    write(tmp_path, "replace", columns, ("insert", row, None), **options)
    assert content(tmp_path) == 't;n;x;b;d;m\r\n"a;b";-1234,50;0,1;true;01/02/2024;01/02/2024 08:05:09.25Z\r\n'


def test_null_and_empty_text_are_written_apart(tmp_path: Path) -> None:
    write(tmp_path, "replace", PEOPLE, ("insert", person(1, ""), None), ("insert", person(2, None, None), None))
    assert content(tmp_path) == 'id,name,balance\n1,"",1.50\n2,,\n'


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-1+1", "@x", "\tx", "\rx", "'=1", "'"])
def test_formulas_are_inert_in_text_cells_and_come_back(tmp_path: Path, text: str) -> None:
    write(tmp_path, "replace", PEOPLE, ("insert", person(-5, text, "-0.05"), None))
    with (tmp_path / "data.csv").open(newline="") as file:
        (_, (number, shown, balance)) = csv.reader(file, strict=True)
    assert not shown.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert (number, balance) == ("-5", "-0.05")
    assert read(tmp_path, None, wanted(name="string"))[0] == [(2, text)]


def test_formulas_are_kept_where_the_endpoint_says_so(tmp_path: Path) -> None:
    write(tmp_path, "replace", PEOPLE, ("insert", person(1, "=1"), None), formulas="keep")
    assert "1,=1,1.50" in content(tmp_path)


def test_column_names_are_inert_too(tmp_path: Path) -> None:
    columns = targets(**{"id": "integer", "=cmd": "string"})
    write(tmp_path, "replace", columns, ("insert", {"id": 1, "=cmd": "x"}, None))
    assert content(tmp_path).startswith("id,'=cmd\n")
    assert read(tmp_path, None, wanted(**{"=cmd": "string"}))[0] == [(2, "x")]


def test_a_character_that_the_encoding_lacks_rejects_its_record_only(tmp_path: Path) -> None:
    result = write(
        tmp_path,
        "replace",
        PEOPLE,
        ("insert", person(1, "Łukasz"), None),
        ("insert", person(2, "Zoé €"), None),
        encoding="cp1252",
    )
    assert (tmp_path / "data.csv").read_bytes() == "id,name,balance\n2,Zoé €,1.50\n".encode("cp1252")
    (rejection,) = result.rejections
    assert (rejection.rule, rejection.field, rejection.value) == ("unencodable", "name", "Łukasz")
    assert "U+0141" in rejection.message
    assert result.inserted == 1


def test_what_would_not_read_back_is_refused(tmp_path: Path) -> None:
    rows = [person(1, "a,b"), person(2, ""), person(3, "NULL"), person(4, "x\ny"), person(5, "fine")]
    result = write(tmp_path, "append", PEOPLE, *(("insert", r, None) for r in rows), quote=None, null_values=["NULL"])
    assert [r.rule for r in result.rejections] == ["unquotable", "unquotable", "null_text", "unquotable"]
    assert content(tmp_path) == "id,name,balance\n5,fine,1.50\n"


def test_appending_adds_a_missing_last_line_end_and_follows_the_columns_there(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"balance,extra,id,name\r\n2.00,kept,7,Bob")
    write(tmp_path, "append", PEOPLE, ("insert", person(8), None))
    assert content(tmp_path) == "balance,extra,id,name\r\n2.00,kept,7,Bob\n1.50,,8,Ann\n"


def test_appending_keeps_mark_encoding_and_preamble(tmp_path: Path) -> None:
    old = b"\xfe\xff" + 'Relevé "x\nid\tname\tbalance\n1\té\t2\n'.encode("utf-16-be")
    (tmp_path / "data.csv").write_bytes(old)
    write(tmp_path, "append", PEOPLE, ("insert", person(2, "ß"), None), encoding="utf-16", delimiter="\t", header_row=2)
    assert (tmp_path / "data.csv").read_bytes() == old + "2\tß\t1.50\n".encode("utf-16-be")


def test_a_header_row_further_down_leaves_room_and_replacing_keeps_the_preamble(tmp_path: Path) -> None:
    write(tmp_path, "replace", PEOPLE, ("insert", person(1), None), header_row=3)
    assert content(tmp_path) == "\n\nid,name,balance\n1,Ann,1.50\n"
    (tmp_path / "data.csv").write_text("Report\nof today\nid,name,balance,old\n9,Z,9,9\n")
    write(tmp_path, "replace", PEOPLE, ("insert", person(1), None), header_row=3)
    assert content(tmp_path) == "Report\nof today\nid,name,balance\n1,Ann,1.50\n"


def test_without_header_columns_go_by_order(tmp_path: Path) -> None:
    for mode in ("replace", "append"):
        write(tmp_path, mode, PEOPLE, ("insert", person(1), None), header_row=0)
    assert content(tmp_path) == "1,Ann,1.50\n1,Ann,1.50\n"
    with pytest.raises(SyncDataError, match="3 columns without names"):
        write(tmp_path, "append", PEOPLE[:2], ("insert", person(1), None), header_row=0)


def test_an_empty_file_is_given_its_header(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"")
    write(tmp_path, "upsert", PEOPLE, ("insert", person(1), None))
    assert content(tmp_path) == "id,name,balance\n1,Ann,1.50\n"


def test_a_mapped_column_that_the_file_lacks_is_an_error_and_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("id,nom,balance\n1,a,2\n")
    for mode in ("append", "upsert"):
        with pytest.raises(SyncDataError) as caught:
            write(tmp_path, mode, PEOPLE, ("insert", person(2), None))
        assert (caught.value.code, "'nom'" in (caught.value.hint or "")) == ("missing_column", True)
    assert content(tmp_path) == "id,nom,balance\n1,a,2\n"


UNTOUCHED = 'note;"id";balance;name\r\n"a;b";"01";"1 234,5";\'x\r\n\r\n;2;2,00;"Bob "\r3;4\n"";5;"5,0";Eve\n'


def test_untouched_bytes_stay_and_only_changed_fields_are_written(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(UNTOUCHED.encode())
    options = {"delimiter": ";", "decimal": ","}
    old = person(1, "'x", "1234.50")
    result = write(
        tmp_path,
        "upsert",
        PEOPLE,
        ("update", {**old, "name": "y"}, old),
        ("delete", None, person(5, "Eve", "5.00")),
        **options,
    )
    assert content(tmp_path) == UNTOUCHED.replace("'x", "y").replace('"";5;"5,0";Eve\n', "")
    assert (result.updated, result.deleted, result.deferred_keys) == (1, 1, [])


def test_writing_nothing_new_leaves_every_byte(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(UNTOUCHED.encode())
    same = person(1, "'x", "1234.50")
    result = write(
        tmp_path, "upsert", PEOPLE, ("insert", same, None), ("delete", None, person(77)), delimiter=";", decimal=","
    )
    assert content(tmp_path) == UNTOUCHED
    assert (result.inserted, result.updated, result.deleted, result.deferred_keys) == (0, 0, 0, [])


def test_an_update_whose_record_vanished_is_deferred(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("id,name,balance\n1,a,2\n")
    result = write(tmp_path, "upsert", PEOPLE, ("update", person(9), person(9, "old")))
    assert result.deferred_keys == ["9"]
    assert content(tmp_path) == "id,name,balance\n1,a,2\n"


def test_a_key_on_several_lines_is_left_alone_and_named_while_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("id,name,balance\n1,a,2.00\n2,b,2.00\n01,c,2.00\n")
    result = write(
        tmp_path,
        "mirror",
        PEOPLE,
        ("update", person(1, "new"), person(1, "a", "2")),
        ("update", person(2, "B", "2"), person(2, "b", "2")),
    )
    assert content(tmp_path) == "id,name,balance\n1,a,2.00\n2,B,2.00\n01,c,2.00\n"
    (rejection,) = result.rejections
    assert (rejection.rule, rejection.key) == ("duplicate_key", "1")
    assert "lines 2, 4" in rejection.message
    assert result.updated == 1


def test_a_key_twice_in_the_changes_is_refused(tmp_path: Path) -> None:
    result = write(
        tmp_path,
        "upsert",
        PEOPLE,
        ("insert", person(1), None),
        ("insert", person(1, "Bea"), None),
        ("insert", person(2), None),
    )
    assert content(tmp_path) == "id,name,balance\n2,Ann,1.50\n"
    assert [(r.rule, r.key) for r in result.rejections] == [("duplicate_key", "1")] * 2


def test_composite_keys_are_joined_for_reports(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("id,name,balance\n1,a,9.00\n1,b,2.00\n")
    new = [person(1, "a", "3"), person(1, "b", "3")]
    old = [person(1, "a", "2"), person(1, "b", "2")]
    result = write(
        tmp_path, "upsert", PEOPLE, *(("update", n, o) for n, o in zip(new, old, strict=True)), key=("id", "name")
    )
    assert result.deferred_keys == ["1\x1fa"]
    assert content(tmp_path) == "id,name,balance\n1,a,9.00\n1,b,3.00\n"


def test_bare_timestamps_are_compared_in_the_mappings_zone(tmp_path: Path) -> None:
    columns = targets(id="integer", seen="timestamp")
    (tmp_path / "data.csv").write_text("id,seen\n1,2024-07-01 12:00\n")
    old = {"id": 1, "seen": datetime(2024, 7, 1, 10, tzinfo=UTC)}
    new = {"id": 1, "seen": datetime(2024, 7, 1, 11, tzinfo=UTC)}
    assert write(tmp_path, "upsert", columns, ("update", new, old)).deferred_keys == ["1"]
    result = write(tmp_path, "upsert", columns, ("update", new, old), timezone="Europe/Paris")
    assert (result.updated, content(tmp_path)) == (1, "id,seen\n1,2024-07-01T11:00:00Z\n")


@pytest.mark.parametrize("mode", ["append", "replace", "upsert", "mirror"])
def test_an_edit_while_we_write_is_never_overwritten(tmp_path: Path, mode: Any) -> None:
    path = tmp_path / "data.csv"
    path.write_text("id,name,balance\n1,a,2\n")
    edited = "id,name,balance\n1,edited by a person,2\n"
    request = WriteRequest(mode=mode, columns=PEOPLE, key=("id",), fence=lambda: path.write_text(edited) and None)
    with pytest.raises(SyncDataError) as caught:
        connector(tmp_path).write(request, changes(("insert", person(2), None), columns=PEOPLE))
    assert (caught.value.code, caught.value.retryable) == ("file_changed", True)
    assert path.read_text() == edited


def test_a_file_that_appears_while_we_create_it_is_never_overwritten(tmp_path: Path) -> None:
    def meanwhile() -> Any:
        yield from changes(("insert", person(2), None), columns=PEOPLE)
        (tmp_path / "data.csv").write_text("theirs")

    with pytest.raises(SyncDataError, match="appeared"):
        connector(tmp_path).write(WriteRequest(mode="append", columns=PEOPLE), meanwhile())
    assert content(tmp_path) == "theirs"


def test_what_was_written_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_write, "hash_file", lambda *_: "other")
    with pytest.raises(SyncDataError, match="does not hold what was written"):
        write(tmp_path, "replace", PEOPLE, ("insert", person(1), None))


def test_a_reader_sees_the_whole_old_or_the_whole_new_file_while_records_are_appended(tmp_path: Path) -> None:
    write(tmp_path, "replace", PEOPLE, ("insert", person(0), None))
    seen: set[int] = set()
    done = threading.Event()

    def observe() -> None:
        while not done.is_set():
            data = (tmp_path / "data.csv").read_bytes()
            seen.add(data.count(b"\n") if data.endswith(b"1.50\n") else -1)

    observer = threading.Thread(target=observe)
    observer.start()
    for batch in range(8):
        rows = [("insert", person(batch * 5000 + n), None) for n in range(1, 5001)]
        write(tmp_path, "append", PEOPLE, *rows)
    done.set()
    observer.join()
    assert seen <= {2 + 5000 * n for n in range(9)}


def test_changes_that_do_not_fit_on_the_temporary_disk_fail_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.csv").write_text("id,name,balance\n1,a,2\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises((SyncConnectionError, SyncDataError)):
        write(tmp_path, "upsert", PEOPLE, ("insert", person(2), None))
    assert content(tmp_path) == "id,name,balance\n1,a,2\n"


def test_many_changes_find_their_records(tmp_path: Path) -> None:
    rows = [person(n, f"name {n}") for n in range(3000)]
    write(tmp_path, "replace", PEOPLE, *(("insert", r, None) for r in rows))
    steps = [
        ("update", {**r, "name": f"new {r['id']}"}, r) if r["id"] % 2 else ("delete", None, r) for r in reversed(rows)
    ]
    result = write(tmp_path, "mirror", PEOPLE, *steps)
    assert (result.updated, result.deleted, result.deferred_keys) == (1500, 1500, [])
    assert read(tmp_path, None, wanted(name="string"))[0] == [(n // 2 + 2, f"new {n}") for n in range(1, 3000, 2)]
