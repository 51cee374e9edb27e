"""`inspect` is right or says that it is unsure; what it prints can be pasted and reads the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from contract.harness import FixedClock
from csv_corpus import CASES, Case
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sync_provider.connectors.base import ColumnRequest, ReadRequest
from sync_provider.connectors.files import inspect as inspect_module
from sync_provider.connectors.files.csv_connector import CsvConnector
from sync_provider.connectors.files.inspect import inspect_csv, inspect_file
from sync_provider.connectors.files.inspect_yaml import destination_names
from sync_provider.connectors.files.root import FileRoot
from sync_provider.core.endpoints import CsvEndpoint
from sync_provider.core.errors import SyncDataError, SyncError
from sync_provider.core.schema import parse_type

EACH_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@EACH_CASE
def test_findings_are_those_of_a_careful_person(case: Case) -> None:
    found = inspect_csv(case.data)
    assert {name: found.findings[name].value for name in case.findings} == case.findings
    types = {column.name: column.type for column in found.columns}
    assert {name: types.get(name) for name in case.types} == case.types


@EACH_CASE
def test_what_the_file_does_not_decide_is_said_and_nothing_else_is(case: Case) -> None:
    ambiguities = inspect_csv(case.data).ambiguities
    for words in case.doubts:
        assert any(words in doubt for doubt in ambiguities), ambiguities
    assert len(ambiguities) == len(case.doubts), ambiguities


def paste(text: str, directory: Path) -> tuple[CsvConnector, dict[str, Any]]:
    block = yaml.safe_load(text)
    return CsvConnector(CsvEndpoint.model_validate(block["source"]), FileRoot(str(directory)), FixedClock()), block


@EACH_CASE
def test_the_yaml_reads_the_file_or_is_refused_while_something_is_open(case: Case, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(case.data)
    text = inspect_csv(case.data, "data.csv").as_yaml()
    if None in case.findings.values():
        with pytest.raises(ValidationError):
            paste(text, tmp_path)
        return
    connector, block = paste(text, tmp_path)
    columns = tuple(ColumnRequest(name=f["source"], type=parse_type(f["type"])) for f in block["fields"] if f["source"])
    batches = list(connector.read(ReadRequest(columns=columns)))
    rows = [row for batch in batches for row in batch.records.to_pylist()]
    if case.records is not None:
        assert len(rows) == case.records
    assert sum(len(batch.rejections) for batch in batches) == case.rejected
    assert {name: rows[0][name] for name in case.first} == case.first


def test_every_finding_has_a_confidence_and_a_reason() -> None:
    for case in CASES:
        found = inspect_csv(case.data)
        for finding in (*found.findings.values(), *found.columns):
            assert 0.0 <= finding.confidence <= 1.0
            assert finding.why
        doubtful = {name for name, finding in found.findings.items() if finding.confidence <= 0.5}
        assert not doubtful or found.ambiguities


def test_the_rejected_lines_are_told() -> None:
    found = inspect_csv(CASES[0].data)
    assert any("1 record(s) would be rejected, such as those on lines 206" in note for note in found.notes), found.notes


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"   "])
def test_an_empty_file_is_an_error(data: bytes) -> None:
    with pytest.raises(SyncDataError) as caught:
        inspect_csv(data)
    assert caught.value.code == "csv_empty"


def test_a_binary_file_is_an_error() -> None:
    with pytest.raises(SyncDataError):
        inspect_csv(bytes(range(256)) * 50)


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_a_workbook_is_named_as_such(magic: bytes) -> None:
    with pytest.raises(SyncDataError, match="workbook"):
        inspect_csv(magic + b"a;b\n1;2\n")


def test_utf8_is_proved_on_the_whole_file_and_not_on_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_module, "SAMPLE_BYTES", 4096)
    root = FileRoot(str(tmp_path))
    plain = b"id;name\n" + b"1;abc\n" * 3000
    (tmp_path / "late.csv").write_bytes(plain + "2;été, où est l'élève à Noël ?\n".encode("cp1252"))
    found = inspect_file(root, root.resolve("late.csv"))
    assert (found.findings["encoding"].value, found.complete) == ("cp1252", False)
    (tmp_path / "late.csv").write_bytes(plain + "2;été\n".encode())
    assert inspect_file(root, root.resolve("late.csv")).findings["encoding"].value == "utf-8"


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "cp1252"])
def test_a_sample_cut_anywhere_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    data = ("id;texte\n" + '1;"é\n""où"""\n' * 500).encode(codec)
    (tmp_path / "a.csv").write_bytes(data)
    root = FileRoot(str(tmp_path))
    for size in range(900, 930):
        monkeypatch.setattr(inspect_module, "SAMPLE_BYTES", size)
        found = inspect_file(root, root.resolve("a.csv"))
        assert [c.type for c in found.columns] == ["integer", "string"]


def test_other_languages_are_never_called_certain() -> None:
    data = "ид;имя\n1;Привет мир\n2;Добрый день, как дела\n".encode("cp1251")
    found = inspect_csv(data)
    assert found.findings["encoding"].value != "cp1252"
    assert found.findings["encoding"].confidence < 0.9
    assert any("encoding" in doubt for doubt in found.ambiguities)


@pytest.mark.parametrize("text", ["prix\n12,50 €\ncafé crème à l'hôtel\n", "mot\ncœur\nélève où l'été\n"])
def test_latin9_and_cp1252_are_told_apart_by_a_person(text: str) -> None:
    found = inspect_csv(text.encode("iso8859-15"))
    assert found.findings["encoding"].value is None
    (doubt,) = [doubt for doubt in found.ambiguities if doubt.startswith("encoding")]
    assert "cp1252 reads" in doubt
    assert next(word for word in ("12,50 €", "cœur") if word in text) in doubt


def test_characters_that_latin9_lacks_decide_for_cp1252() -> None:
    found = inspect_csv("prix\n12,50 €\n1½ café\nl’été où\n".encode("cp1252"))
    assert found.findings["encoding"].value == "cp1252"


@pytest.mark.parametrize("last", ['2,"abc', '2,"a" b', '2,"a \\\\"b\\\\" c"'])
def test_quotes_out_of_order_are_not_called_part_of_the_values(last: str) -> None:
    found = inspect_csv(f"id,name\n1,xyz\n{last}\n3,ghi\n4,def\n".encode())
    assert found.findings["quote"].value is None
    assert any(doubt.startswith("quote: the value") and "on line 3" in doubt for doubt in found.ambiguities)
    assert yaml.safe_load(found.as_yaml())["source"]["quote"] == "to be decided"


def test_columns_without_a_name_are_told_and_not_offered() -> None:
    assert [c.name for c in inspect_csv(b"id,v,\n1,a,\n2,b,\n").columns] == ["id", "v"]
    found = inspect_csv(b"id, ,v\n1,a,7\n2,b,8\n")
    assert [c.name for c in found.columns] == ["id", "v"]
    assert any("column(s) 2 of the file have no name" in note for note in found.notes)


def test_dates_that_are_no_days_are_told_as_they_are() -> None:
    (note,) = inspect_csv(b"id,d\n1,13/04/2024\n2,05/26/2024\n").notes
    assert "05/26/2024 is no day/month/year and 13/04/2024 is no month/day/year" in note
    (note,) = inspect_csv(b"id,d\n1,13/04/24\n2,25/06/24\n").notes
    assert "13/04/24 looks like a date, but its year has not four digits" in note


def test_names_for_destinations_are_plain_and_different() -> None:
    assert destination_names(["Code client", "Chiffre d'affaires (€)", "Œuvre", "2024", "code CLIENT", "", "日本"]) == [
        "code_client", "chiffre_d_affaires", "oeuvre", "c_2024", "code_client_2", "column_6", "column_7",
    ]  # fmt: skip


def check_any_bytes(data: bytes) -> None:
    try:
        found = inspect_csv(data)
    except SyncError:
        return
    block = yaml.safe_load(found.as_yaml())
    assert block["source"]["path"] == "file.csv"
    assert [f["source"] for f in block["fields"]] == [c.name for c in found.columns]


PIECES = st.lists(
    st.sampled_from(
        [
            b'"',
            b",",
            b";",
            b"\n",
            b"\r\n",
            b"a",
            b"\xe9",
            b"\x00",
            b"1",
            b"2,5",
            b"03/04/2024",
            b"'",
            b"\t",
            b"{",
            b"# ",
        ]
    ),
    max_size=60,
).map(b"".join)


@given(st.binary(max_size=120) | PIECES)
def test_random_bytes_end_in_findings_or_a_sync_error(data: bytes) -> None:
    check_any_bytes(data)


@pytest.mark.long
@given(st.binary(max_size=120) | PIECES)
@settings(max_examples=10_000)
def test_ten_thousand_random_files_end_in_findings_or_a_sync_error(data: bytes) -> None:
    check_any_bytes(data)


@given(st.sampled_from(CASES), st.floats(0, 1))
def test_a_truncated_file_ends_in_findings_or_a_sync_error(case: Case, share: float) -> None:
    check_any_bytes(case.data[: int(len(case.data) * share)])
