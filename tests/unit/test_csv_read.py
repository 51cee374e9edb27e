"""Reading CSV files as people and programs leave them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from csv_files import connector, read, wanted
from sync_provider.connectors.base import ReadRequest
from sync_provider.core.errors import MappingError, SyncDataError

READ = """
kinds = ["integer","string","string","string","decimal(12,2)","boolean","date","timestamp","string","double","string","string"]
columns = tuple(replace(c, optional=True) for c in wanted(**dict(zip("abcdefghijkl", kinds))))
print(sum(b.records.num_rows for b in connector(directory).read(ReadRequest(columns=columns))))
"""


def in_a_process_of_its_own(code: str, directory: Path) -> tuple[str, int]:
    """What the code prints, or the error it ends in, and the most memory that the process held, in MiB."""
    here = Path(__file__).parent
    frame = """
import re, sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from csv_files import connector, wanted
from sync_provider.connectors.base import ReadRequest
from sync_provider.core.errors import SyncError
directory = Path(sys.argv[1])
try:
    exec(sys.stdin.read())
except SyncError as error:
    print(error)
# The kernel's own figure for this program; ru_maxrss would count the parent's before exec.
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""
    command = [sys.executable, "-c", frame, str(directory), str(here), str(here.parent)]
    ran = subprocess.run(command, input=code, capture_output=True, text=True, check=True)
    answer, mebibytes = ran.stdout.splitlines()
    return answer, int(mebibytes)


ACCENTS = "é;€;œ\n"


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("utf-8", ("a;b;c\n" + ACCENTS).encode()),
        ("utf-8", b"\xef\xbb\xbf" + ("a;b;c\n" + ACCENTS).encode()),
        ("utf-8-sig", b"\xef\xbb\xbf" + ("a;b;c\n" + ACCENTS).encode()),
        ("utf-16", ("a;b;c\n" + ACCENTS).encode("utf-16")),
        ("utf-16", b"\xfe\xff" + ("a;b;c\n" + ACCENTS).encode("utf-16-be")),
        ("utf-16-le", ("a;b;c\n" + ACCENTS).encode("utf-16-le")),
        ("cp1252", ("a;b;c\n" + ACCENTS).encode("cp1252")),
        ("windows-1252", ("a;b;c\n" + ACCENTS).encode("cp1252")),
        ("iso8859-15", ("a;b;c\n" + ACCENTS).encode("iso8859-15")),
    ],
)
def test_the_declared_encoding_is_read(tmp_path: Path, encoding: str, data: bytes) -> None:
    rows, _ = read(tmp_path, data, wanted(a="string", b="string", c="string"), delimiter=";", encoding=encoding)
    assert rows == [(2, "é", "€", "œ")]


@pytest.mark.parametrize(
    ("data", "encoding", "line", "offset"),
    [
        (b"a,b\n1,x\n2,\xe9t\xe9\n", "utf-8", 3, 10),
        (b"a\r\nb\r\n\r\n\xc3", "utf-8", 4, 8),
        (b"a\nok\n\x81\n", "cp1252", 3, 5),
        ("a\n".encode("utf-16-le") + b"\x00\xd8\x00", "utf-16-le", 2, 4),
    ],
)
def test_an_undecodable_byte_is_named_with_line_and_offset(
    tmp_path: Path, data: bytes, encoding: str, line: int, offset: int
) -> None:
    with pytest.raises(SyncDataError) as caught:
        read(tmp_path, data, encoding=encoding)
    assert caught.value.code == "csv_undecodable"
    assert (caught.value.where.file, caught.value.where.line) == ("data.csv", line)
    assert f"offset {offset} " in caught.value.message


def test_the_offset_is_right_far_into_a_large_file(tmp_path: Path) -> None:
    good = b"a\n" + b"0123456789\n" * 700_000
    with pytest.raises(SyncDataError) as caught:
        read(tmp_path, good + b"\xff\n")
    assert caught.value.where.line == 700_002
    assert f"offset {len(good)} " in caught.value.message


@pytest.mark.parametrize("encoding", ["nosuch", "rot13", "base64", "idna", "../x"])
def test_what_is_no_text_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    with pytest.raises((MappingError, ValueError)):
        connector(tmp_path, encoding=encoding)


@pytest.mark.parametrize("options", [{"delimiter": '"'}, {"delimiter": "\n"}, {"quote": "\r"}, {"delimiter": "\x00"}])
def test_a_dialect_that_cannot_be_is_refused(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises((MappingError, ValueError)):
        connector(tmp_path, **options)


def test_lines_are_where_records_start_whatever_the_line_ends(tmp_path: Path) -> None:
    data = 'a;b\r\n1;x\n\n2;"y\nz"\r\n\r3;w\r4;v'
    rows, _ = read(tmp_path, data, wanted(a="string", b="string"), delimiter=";")
    assert rows == [(2, "1", "x"), (4, "2", "y\nz"), (7, "3", "w"), (8, "4", "v")]


def test_unquoted_empty_is_null_and_quoted_empty_is_empty_text(tmp_path: Path) -> None:
    data = 'id,text,number,day\n1,,,\n2,"","",""\n'
    rows, _ = read(tmp_path, data, wanted(id="string", text="string", number="integer", day="date"))
    assert rows == [(2, "1", None, None, None), (3, "2", "", None, None)]


def test_declared_null_texts_are_null_quoted_or_not(tmp_path: Path) -> None:
    data = 'id,t,n\n1,NULL,NULL\n2,"NULL",-\n3,null,"-"\n'
    rows, _ = read(tmp_path, data, wanted(id="string", t="string", n="integer"), null_values=["NULL", "-"])
    assert rows == [(2, "1", None, None), (3, "2", None, None), (4, "3", "null", None)]


def test_texts_that_look_like_numbers_or_nulls_stay_texts(tmp_path: Path) -> None:
    values = ["001", "1e5", "9007199254740993", "NA", "null", "nan", "true", " padded ", "e\u0301", "é"]
    rows, _ = read(tmp_path, "\n".join(["code", *values]) + "\n", wanted(code="string"))
    assert [row[1] for row in rows] == values


def test_conventions_apply_to_typed_fields_and_not_to_verbatim_ones(tmp_path: Path) -> None:
    from dataclasses import replace

    columns = wanted(n="decimal(12,2)", d="date", b="boolean")
    data = "n;d;b\n1 234,5;31/12/2024;Oui\n"
    options = {"delimiter": ";", "decimal": ",", "date_order": "dmy"}
    assert read(tmp_path, data, columns, **options)[0] == [(2, "1234.5", "2024-12-31", "true")]
    verbatim = tuple(replace(c, verbatim=True) for c in columns)
    assert read(tmp_path, data, verbatim, **options)[0] == [(2, "1 234,5", "31/12/2024", "Oui")]


def test_formula_escapes_are_undone_unless_kept(tmp_path: Path) -> None:
    data = "a\n'=1+1\n''=1\n'tis\n'-5\n"
    assert [r[1] for r in read(tmp_path, data, wanted(a="string"))[0]] == ["=1+1", "'=1", "'tis", "-5"]
    kept = read(tmp_path, data, wanted(a="string"), formulas="keep")[0]
    assert [r[1] for r in kept] == ["'=1+1", "''=1", "'tis", "'-5"]


def test_a_preamble_may_hold_anything(tmp_path: Path) -> None:
    data = 'Relevé "au 31/12;\r\n\r\nCompte;"42\r\nid;nom\r\n1;a\r\n'
    rows, _ = read(tmp_path, data, wanted(id="string", nom="string"), delimiter=";", header_row=4)
    assert rows == [(5, "1", "a")]


def test_without_header_columns_are_numbered(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, "1;a\n2;b\n", wanted(column_2="string", column_1="integer"), delimiter=";", header_row=0)
    assert rows == [(1, "a", "1"), (2, "b", "2")]


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, "c,a,b\n3,1,2\n", wanted(a="string", c="string"))
    assert rows == [(2, "1", "3")]


def test_a_trailing_delimiter_is_no_field(tmp_path: Path) -> None:
    for data in ("a;b;\n1;2;\n3;4\n", "a;b\n1;2;\n3;4\n"):
        assert read(tmp_path, data, wanted(a="string", b="string"), delimiter=";") == (
            [(2, "1", "2"), (3, "3", "4")],
            [],
        )


def test_ragged_rows_are_rejected_with_their_lines_and_the_others_go_on(tmp_path: Path) -> None:
    data = 'a;b\n1;2\n3\n4;5;6\n\n"7\n8";9\n"x\ny"\n10;11\n'
    rows, rejections = read(tmp_path, data, wanted(a="string", b="string"), delimiter=";")
    assert rows == [(2, "1", "2"), (6, "7\n8", "9"), (10, "10", "11")]
    assert [(r.rule, r.where.file, r.where.line) for r in rejections] == [
        ("ragged_row", "data.csv", n) for n in (3, 4, 8)
    ]
    assert rejections[1].record == {"a": "4", "b": "5", "column_3": "6"}
    assert "3 fields, the header 2" in rejections[1].message


def test_wanted_columns_that_stand_twice_are_an_error_naming_both(tmp_path: Path) -> None:
    with pytest.raises(SyncDataError, match="positions 1 and 3") as caught:
        read(tmp_path, "a,b,a\n1,2,3\n", wanted(a="string"))
    assert caught.value.where.line == 1
    assert read(tmp_path, "a,b,a\n1,2,3\n", wanted(b="string"))[0] == [(2, "2")]


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SyncDataError) as caught:
        read(tmp_path, "Code client,Nom\n1,2\n", wanted(**{"code cleint": "string"}))
    assert caught.value.code == "missing_column"
    assert "'Code client'" in (caught.value.hint or "")


@pytest.mark.parametrize("data", ['a,b\n1,"x\n2,y\n3,z\n', 'a,b\n1,"x""\n2,y\n'])
def test_an_unclosed_quote_is_named_where_it_opened(tmp_path: Path, data: str) -> None:
    with pytest.raises(SyncDataError) as caught:
        read(tmp_path, data)
    assert (caught.value.code, caught.value.where.line) == ("csv_unclosed_quote", 2)


def test_an_unclosed_quote_in_a_large_file_ends_in_bounded_memory(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b'a,b\n1,"x\n' + b"2,y\n" * 8_000_000)
    answer, mebibytes = in_a_process_of_its_own(READ, tmp_path)
    assert answer.startswith("data.csv:2: ")
    assert mebibytes < 300


def test_text_after_a_closing_quote_is_an_error_naming_both_lines(tmp_path: Path) -> None:
    with pytest.raises(SyncDataError, match="line 3") as caught:
        read(tmp_path, 'a,b\n1,"x\ny"z\n')
    assert (caught.value.code, caught.value.where.line) == ("csv_stray_quote", 2)


def test_quotes_inside_unquoted_values_are_plain_characters(tmp_path: Path) -> None:
    data = 'a;b\n5" pipe;x\n"q";say "hi"\n'
    assert read(tmp_path, data, delimiter=";")[0] == [(2, '5" pipe', "x"), (3, "q", 'say "hi"')]


def test_without_quote_character_quotes_are_values(tmp_path: Path) -> None:
    assert read(tmp_path, 'a;b\n"x;"y\n', delimiter=";", quote=None)[0] == [(2, '"x', '"y')]


def test_nul_characters_reject_their_record_only(tmp_path: Path) -> None:
    rows, rejections = read(tmp_path, b"a,b\n1,x\n2,\x00\n3,z\n")
    assert rows == [(2, "1", "x"), (4, "3", "z")]
    assert [(r.rule, r.where.line, r.where.field) for r in rejections] == [("nul_character", 3, "b")]


def test_a_field_of_five_megabytes_is_rejected_with_its_line(tmp_path: Path) -> None:
    huge = "x" * 5_000_000
    rows, rejections = read(tmp_path, f'a,b\n1,x\n2,"{huge}"\n3,z\n')
    assert rows == [(2, "1", "x"), (4, "3", "z")]
    assert [(r.rule, r.where.line, r.record) for r in rejections] == [("too_long", 3, {})]


def test_a_field_just_below_the_limit_is_read(tmp_path: Path) -> None:
    long = "x" * (1 << 20)
    rows, rejections = read(tmp_path, f"a,b\n1,{long}\n")
    assert (len(rows[0][2]), rejections) == (1 << 20, [])


def test_an_endless_record_is_an_error_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SyncDataError) as caught:
        read(tmp_path, b"a\n1\n" + b"x" * 40_000_000)
    assert (caught.value.code, caught.value.where.line) == ("csv_record_too_long", 3)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_without_header_is_an_error_and_not_no_records(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SyncDataError) as caught:
        read(tmp_path, data, wanted(a="string"))
    assert caught.value.code == "csv_empty"


def test_a_header_alone_means_no_records(tmp_path: Path) -> None:
    for data in ("a,b\n", "a,b", "a,b\r\n\r\n"):
        assert read(tmp_path, data, wanted(a="string", b="string")) == ([], [])


def test_every_header_is_checked_before_any_record_is_given(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("a,c\n1,2\n")
    with pytest.raises(SyncDataError, match=r"2\.csv"):
        connector(tmp_path, path="*.csv").read(ReadRequest(columns=wanted(a="string", b="string")))


def test_several_files_keep_their_names_and_hashes(tmp_path: Path) -> None:
    (tmp_path / "2.csv").write_text("b,a\n3,4\n")
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    reader = connector(tmp_path, path="*.csv")
    reading = reader.read(ReadRequest(columns=wanted(a="string", b="string")))
    rows = [tuple(r.values()) for batch in reading for r in batch.records.to_pylist()]
    assert rows == [("1", "2", "1.csv", None, 2), ("4", "3", "2.csv", None, 2)]
    assert [(f.name, len(f.sha256), f.size_bytes) for f in reading.files] == [("1.csv", 64, 8), ("2.csv", 64, 8)]
    assert reading.token == reader.token()


def test_the_token_is_the_same_for_the_same_bytes_even_with_only_new(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a\n1\n")
    (tmp_path / "2.csv").write_text("a\n2\n")
    reader = connector(tmp_path, path="*.csv", only_new=True)
    first = reader.read(ReadRequest())
    list(first)
    again = reader.read(ReadRequest(known_files=frozenset({first.files[0].sha256})))
    assert [b.records.num_rows for b in again] == [1]
    assert first.token == again.token == reader.token()
    (tmp_path / "2.csv").write_text("a\n3\n")
    assert reader.token() != first.token


def test_a_file_cut_short_by_the_limit_is_not_marked_as_read(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a\n1\n2\n3\n")
    reading = connector(tmp_path, path="*.csv").read(ReadRequest(limit=2))
    assert [b.records.num_rows for b in reading] == [2]
    assert [f.deferred for f in reading.files] == [True]
    assert reading.token is None


def test_a_file_that_changes_while_it_is_read_fails_the_read(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a\n" + "1\n" * 10)
    reading = connector(tmp_path).read(ReadRequest(batch_rows=2))
    next(iter(reading))
    with path.open("a") as file:
        file.write("2\n")
    with pytest.raises(SyncDataError, match="changed while it was being read"):
        list(reading)


def test_many_rows_stay_within_memory(tmp_path: Path) -> None:
    line = (
        "123456,000042,Dupont & fils,Saint-Étienne,-12345.67,true,2024-02-29,2024-02-29T10:11:12Z,some note,0.5,x,y\n"
    )
    with (tmp_path / "data.csv").open("w", encoding="utf-8") as file:
        file.write("a,b,c,d,e,f,g,h,i,j,k,l\n")
        for _ in range(10):
            file.write(line * 25_000)
    answer, mebibytes = in_a_process_of_its_own(READ, tmp_path)
    assert answer == "250000"
    assert mebibytes < 300
