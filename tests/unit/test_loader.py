"""Mapping files: one by id, all of a directory, and what must not happen on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sync_provider.core.errors import MappingError, MappingErrors, Where
from sync_provider.engine import loader
from sync_provider.engine.loader import load_file, load_mapping, scan_mappings

TEXT = """\
version: 1
id: {id}
mode: import
source: {{type: csv, path: a.csv}}
destination: {{type: sql, connection: app_db, table: t}}
key: [code]
fields: [{{source: Code, destination: code}}]
"""


def write(directory: Path, name: str, mapping_id: str | None = None, extra: str = "") -> Path:
    path = directory / name
    path.write_text(TEXT.format(id=mapping_id or path.stem) + extra, encoding="utf-8")
    return path


def ids(directory: Path) -> list[str]:
    return [source.mapping.id for source in scan_mappings(directory).sources]


def test_a_mapping_is_loaded_from_the_file_named_after_it_without_opening_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "clients.yaml")
    write(tmp_path, "other.yaml")
    opened: list[str] = []
    original = Path.open

    def recorded(self: Path, *args: object, **kwargs: object) -> object:
        opened.append(self.name)
        return original(self, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", recorded)
    source = load_mapping("clients", tmp_path)
    assert (source.mapping.id, source.path, opened) == ("clients", path, ["clients.yaml"])


def test_a_mapping_in_a_file_of_another_name_is_found_by_its_id(tmp_path: Path) -> None:
    write(tmp_path, "clients.yaml", "customers")
    path = write(tmp_path, "b.yml", "clients")
    assert load_mapping("clients", tmp_path).path == path


def test_both_suffixes_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")
    write(tmp_path, "b.yml")
    assert ids(tmp_path) == ["a", "b"]
    assert load_mapping("b", tmp_path).path.name == "b.yml"


def test_hidden_files_other_files_and_folders_are_no_mappings(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")
    write(tmp_path, ".b.yaml", "b")
    write(tmp_path, "mapping.schema.json", "c")
    write(tmp_path, "d.yaml~", "d")
    (tmp_path / "e.yaml").mkdir()
    os.mkfifo(tmp_path / "f.yaml")
    scan = scan_mappings(tmp_path)
    assert [source.mapping.id for source in scan.sources] == ["a"]
    assert scan.errors == []


def test_one_broken_mapping_among_200_never_hides_another(tmp_path: Path) -> None:
    for number in range(199):
        write(tmp_path, f"m{number:03}.yaml")
    (tmp_path / "m100x.yaml").write_text("version: 1\nid: [", encoding="utf-8")
    scan = scan_mappings(tmp_path)
    assert len(scan.sources) == 199
    assert {error.where.file for error in scan.errors} == {str(tmp_path / "m100x.yaml")}
    assert scan.errors[0].where.line == 3


def test_every_kind_of_broken_file_is_one_error_that_names_it(tmp_path: Path) -> None:
    write(tmp_path, "good.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"id: a\nname: caf\xe9\n")
    (tmp_path / "utf16.yaml").write_bytes("id: a\n".encode("utf-16"))
    (tmp_path / "large.yaml").write_bytes(b"#" * 50_000_000)
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    scan = scan_mappings(tmp_path)
    assert [source.mapping.id for source in scan.sources] == ["good"]
    by_name = {Path(str(error.where.file)).name: error for error in scan.errors}
    assert set(by_name) == {"bytes.yaml", "utf16.yaml", "large.yaml", "empty.yaml", "dangling.yaml"}
    assert by_name["bytes.yaml"].message == "byte 15 (0xe9) is not UTF-8"
    assert by_name["bytes.yaml"].where.line == 2
    assert "byte 0 (0xff)" in by_name["utf16.yaml"].message
    assert "1,000,000 bytes" in by_name["large.yaml"].message
    assert "empty" in by_name["empty.yaml"].message


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert ids(tmp_path) == ["a"]


def test_a_directory_that_is_not_there_is_an_error_and_no_exception(tmp_path: Path) -> None:
    scan = scan_mappings(tmp_path / "nowhere")
    assert (scan.sources, [error.code for error in scan.errors]) == ([], ["mappings_dir"])


def test_an_id_declared_twice_names_both_files_and_the_file_named_after_it_keeps_it(tmp_path: Path) -> None:
    write(tmp_path, "a_copy.yaml", "clients")
    keeper = write(tmp_path, "clients.yaml", "clients")
    write(tmp_path, "other.yaml")
    scan = scan_mappings(tmp_path)
    assert [(source.mapping.id, source.path.name) for source in scan.sources] == [
        ("clients", "clients.yaml"),
        ("other", "other.yaml"),
    ]
    [error] = scan.errors
    assert str(error).startswith(f"{tmp_path / 'a_copy.yaml'}:2:5: id: id 'clients' is declared by")
    assert str(keeper) in error.message
    assert load_mapping("clients", tmp_path).path == keeper


def test_an_id_declared_by_two_other_files_is_loaded_from_neither(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "clients")
    write(tmp_path, "b.yaml", "clients")
    assert ids(tmp_path) == []
    with pytest.raises(MappingError, match=r"a\.yaml and .*b\.yaml; none is loaded"):
        load_mapping("clients", tmp_path)


@pytest.mark.parametrize("mapping_id", ["../clients", "/etc/passwd", "a b", "", "A", "a" * 300, "x\0y", "💥"])
def test_an_id_that_is_none_never_becomes_a_file_name(tmp_path: Path, mapping_id: str) -> None:
    write(tmp_path, "clients.yaml")
    (tmp_path / "sub").mkdir()
    with pytest.raises(MappingError, match="use 1 to 80 characters"):
        load_mapping(mapping_id, tmp_path / "sub")


def test_an_unknown_id_is_refused_with_the_nearest_and_the_unreadable_files(tmp_path: Path) -> None:
    write(tmp_path, "clients.yaml")
    (tmp_path / "broken.yaml").write_text("]", encoding="utf-8")
    with pytest.raises(MappingError) as caught:
        load_mapping("client", tmp_path)
    assert "broken.yaml" in caught.value.message
    assert caught.value.hint == "Did you mean clients?"


def test_the_broken_file_of_a_mapping_is_what_its_load_reports(tmp_path: Path) -> None:
    write(tmp_path, "clients.yaml", extra="writ: x\n")
    with pytest.raises(MappingErrors, match=r"clients\.yaml:8:1: writ: this key is unknown"):
        load_mapping("clients", tmp_path)


def test_defaults_reach_every_mapping_and_its_hash(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml")
    before = load_file(path)
    (tmp_path / "_defaults.yaml").write_text("timezone: UTC\n", encoding="utf-8")
    after = load_mapping("a", tmp_path)
    assert (before.mapping.timezone, after.mapping.timezone) == ("Europe/Paris", "UTC")
    assert before.sha256 != after.sha256
    assert (after.text, after.defaults) == (before.text, "timezone: UTC\n")
    assert ids(tmp_path) == ["a"]


def test_broken_defaults_are_one_error_in_their_own_file(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")
    write(tmp_path, "b.yaml")
    (tmp_path / "_defaults.yaml").write_text("timzone: UTC\n", encoding="utf-8")
    scan = scan_mappings(tmp_path)
    assert [str(error).split(". ")[0] for error in scan.errors] == [
        f"{tmp_path / '_defaults.yaml'}:1:1: timzone: this key is unknown"
    ]
    with pytest.raises(MappingErrors, match=r"_defaults\.yaml:1:1"):
        load_mapping("a", tmp_path)


def test_defaults_that_hold_nothing_change_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "a.yaml")
    (tmp_path / "_defaults.yaml").write_text("\n", encoding="utf-8")
    assert load_file(path).mapping.timezone == "Europe/Paris"


def test_what_has_not_changed_is_not_parsed_again_and_what_has_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []
    original = loader.parse_mapping

    def recorded(text: str, **kwargs: object) -> object:
        parsed.append(str(kwargs["file"]))
        return original(text, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(loader, "parse_mapping", recorded)
    paths = [write(tmp_path, "a.yaml"), write(tmp_path, "b.yaml")]
    (tmp_path / "c.yaml").write_text("[", encoding="utf-8")
    first, second = scan_mappings(tmp_path), scan_mappings(tmp_path)
    assert len(parsed) == 3
    assert second == first
    write(tmp_path, "a.yaml", extra="write: mirror\n")
    assert scan_mappings(tmp_path).sources[0].mapping.write == "mirror"
    assert parsed[3:] == [str(paths[0])]


def test_a_problem_found_later_is_placed_in_the_file(tmp_path: Path) -> None:
    source = load_file(write(tmp_path, "a.yaml", extra="filter: nom = 1\n"))
    error = source.locate(MappingError("unknown column nom", where=Where(field="filter"), code="x"))
    assert str(error) == f"{tmp_path / 'a.yaml'}:8:9: filter: unknown column nom"
    assert error.code == "x"


def test_a_problem_in_a_default_is_placed_in_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "_defaults.yaml").write_text("# shared\nfilter: nom = 1\n", encoding="utf-8")
    source = load_file(write(tmp_path, "a.yaml"))
    assert source.locate(MappingError("unknown", where=Where(field="filter"))).where.file == str(
        tmp_path / "_defaults.yaml"
    )


FORBIDDEN = (
    "pandas great_expectations googleapiclient openpyxl duckdb fastapi pyarrow sqlalchemy airflow numpy requests"
)


def test_loading_100_mappings_imports_nothing_heavy_and_opens_no_socket(tmp_path: Path) -> None:
    for number in range(100):
        write(tmp_path, f"m{number}.yaml", extra="schedule: '*/5 * * * *'\n")
    program = f"""
import socket, sys
from pathlib import Path

class Refused(socket.socket):
    def __init__(self, *args, **kwargs):
        raise AssertionError("a socket was opened")

socket.socket = Refused
from sync_provider.engine.loader import load_mapping, scan_mappings

scan = scan_mappings(Path({str(tmp_path)!r}))
assert len(scan.sources) == 100, scan.errors
load_mapping("m5", Path({str(tmp_path)!r}))
print(*sorted(set({FORBIDDEN!r}.split()) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
