"""`airflow-sync`: starting, lint and schema, exit codes, and how errors are shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from sync_provider.cli.main import main
from sync_provider.cli.session import Program, Session, common_options, exit_code, pass_session
from sync_provider.core.errors import (
    MappingError,
    SyncAuthenticationError,
    SyncConnectionError,
    SyncDataError,
    SyncError,
    SyncValidationError,
    Where,
)

GOOD = """\
version: 1
id: {id}
mode: import
source: {{type: csv, path: a.csv}}
destination: {{type: sql, connection: app_db, table: t}}
key: [code]
fields: [{{source: Code, destination: code}}]
"""


@pytest.fixture
def mappings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
        monkeypatch.delenv(name)
    (tmp_path / "airflow_settings.yaml").touch()
    directory = tmp_path / "include" / "mappings"
    directory.mkdir(parents=True)
    (directory / "good.yaml").write_text(GOOD.format(id="good"), encoding="utf-8")
    return directory


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_lint_finds_the_projects_mappings_and_says_that_all_is_well(mappings: Path) -> None:
    result = run("lint")
    assert (result.exit_code, result.output) == (0, "1 mapping checked, nothing to report\n")


def test_lint_shows_every_problem_of_every_file_on_a_line_and_exits_with_2(mappings: Path) -> None:
    (mappings / "b.yaml").write_text(GOOD.format(id="b") + "writ: x\nmode: import\n", encoding="utf-8")
    (mappings / "c.yaml").write_text("", encoding="utf-8")
    result = run("lint")
    assert result.exit_code == 2
    assert [line.split(": ")[0] for line in result.output.splitlines()] == [
        "include/mappings/b.yaml:8:1",
        "include/mappings/b.yaml:9:1",
        "include/mappings/c.yaml:1:1",
        "",
        "3 problems in 2 files",
    ]


def test_lint_checks_expressions_and_places_what_is_wrong_with_them(mappings: Path) -> None:
    (mappings / "good.yaml").write_text(GOOD.format(id="good") + "filter: code = (SELECT 1)\n", encoding="utf-8")
    result = run("lint")
    assert result.exit_code == 2
    assert result.output.startswith("include/mappings/good.yaml:8:9: filter: ")


def test_lint_says_what_this_version_does_not_run(mappings: Path) -> None:
    (mappings / "b.yaml").write_text(GOOD.format(id="b") + "schedule: realtime\n", encoding="utf-8")
    result = run("lint")
    assert result.exit_code == 2
    assert "b.yaml:8:11: schedule: realtime is not available in this version" in result.output


def test_a_link_that_leads_nowhere_is_a_broken_mapping(mappings: Path) -> None:
    (mappings / "b.yaml").symlink_to("gone.yaml")
    result = run("lint")
    assert result.exit_code == 2
    assert "b.yaml:1: cannot be read: No such file or directory" in result.output


def test_lint_takes_files_and_folders(mappings: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.yaml"
    alone.write_text("version: 2\n", encoding="utf-8")
    result = run("lint", str(mappings), str(alone))
    assert f"{alone}:1:10: version: expected 1" in result.output
    assert run("lint", str(mappings / "good.yaml")).output == "1 mapping checked, nothing to report\n"


def test_lint_of_the_defaults_checks_every_mapping_that_they_reach(mappings: Path) -> None:
    defaults = mappings / "_defaults.yaml"
    defaults.write_text("conflicts: {policy: newest}\n", encoding="utf-8")
    result = run("lint", str(defaults))
    assert result.exit_code == 2
    assert result.output.startswith(f"{defaults}:1:1: conflicts: only mode: bidirectional has conflicts")
    assert "good.yaml" in result.output


def test_lint_answers_programs_in_json(mappings: Path) -> None:
    (mappings / "b.yaml").write_text(GOOD.format(id="b") + "writ: x\n", encoding="utf-8")
    result = run("lint", "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 2
    assert answer["mappings"] == 1
    assert answer["errors"][0]["where"] == {
        "file": "include/mappings/b.yaml",
        "line": 8,
        "column": 1,
        "field": "writ",
    }


@pytest.mark.parametrize("place", ["before", "after"])
def test_common_options_may_stand_before_or_after_the_command(mappings: Path, tmp_path: Path, place: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    options = ["--mappings", str(other), "--json"]
    result = run(*options, "lint") if place == "before" else run("lint", *options)
    assert json.loads(result.stdout) == {"mappings": 0, "errors": []}


def test_a_folder_that_is_not_there_is_a_usage_error(mappings: Path) -> None:
    assert run("lint", "nowhere").exit_code == 2
    result = run("--mappings", "nowhere", "lint")
    assert (result.exit_code, result.output.splitlines()[0]) == (
        2,
        "nowhere: no readable directory: No such file or directory",
    )


def test_schema_prints_writes_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert json.loads(run("schema").stdout)["title"] == "sync_provider mapping"
    both = ("schema", "--output", "s.json", "--docs", "d.md")
    stale = run(*both, "--check")
    assert (stale.exit_code, stale.stderr.startswith("s.json: not up to date")) == (2, True)
    assert not Path("s.json").exists()
    assert run(*both).exit_code == 0
    assert run(*both, "--check").exit_code == 0
    Path("d.md").write_text("old", encoding="utf-8")
    assert run(*both, "--check").exit_code == 2
    assert run("schema", "--output", "no/such/folder.json").exit_code == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MappingError("x"), 2),
        (SyncValidationError("x", code="settings_value"), 2),
        (SyncConnectionError("x"), 3),
        (SyncConnectionError("x", retryable=False), 4),
        (SyncAuthenticationError("x"), 4),
        (SyncDataError("x"), 4),
        (SyncDataError("x", retryable=True), 3),
        (SyncValidationError("x"), 4),
        (SyncValidationError("x", code="guard_deletes"), 7),
        (SyncValidationError("x", code="baseline_missing"), 7),
        (SyncValidationError("x", code="approval_missing"), 7),
        (SyncValidationError("x", code="approval_refused"), 7),
    ],
)
def test_every_error_has_its_exit_code(error: SyncError, code: int) -> None:
    assert exit_code(error) == code


def program(raised: Callable[[], Exception]) -> click.Command:
    @click.group(cls=Program)
    @common_options
    def group() -> None: ...

    @group.command()
    @common_options
    @pass_session
    def fail(_session: Session) -> None:
        raise raised()

    return group


def test_an_error_is_one_sentence_on_the_error_stream_without_a_traceback() -> None:
    error = SyncDataError("column solde is missing", where=Where(file="in/a.csv", line=1), hint="Add it.")
    result = CliRunner().invoke(program(lambda: error), ["fail"])
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == "in/a.csv:1: column solde is missing. Add it.\n"


def test_an_error_is_json_where_json_is_asked_for() -> None:
    result = CliRunner().invoke(program(lambda: SyncConnectionError("no answer", code="c")), ["fail", "--json"])
    answer = json.loads(result.stdout)["error"]
    assert (result.exit_code, answer["code"], answer["category"]) == (3, "c", "connexion")


def test_what_nobody_expected_exits_with_1_and_shows_its_traceback_only_when_asked() -> None:
    result = CliRunner().invoke(program(lambda: KeyError("S3CRET")), ["fail"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("unexpected KeyError at test_cli_lint.py:")
    assert "S3CRET" not in result.stderr
    assert "Traceback" not in result.stderr
    as_json = CliRunner().invoke(program(lambda: KeyError("k")), ["fail", "--json"])
    assert "KeyError" in json.loads(as_json.stdout)["error"]["message"]
    debugged = CliRunner().invoke(program(lambda: SyncDataError("d")), ["fail", "--debug"])
    assert "Traceback" in debugged.stderr
    assert debugged.exit_code == 4


HEAVY = "airflow pandas numpy great_expectations pyarrow duckdb sqlalchemy openpyxl requests fastapi cryptography fsspec rich"


@pytest.mark.parametrize("arguments", [["--help"], ["lint", "--help"], ["schema"]])
def test_the_program_starts_without_anything_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from sync_provider.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert not end.code, end
print(*sorted(set({HEAVY!r}.split()) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert done.stdout


def test_lint_never_imports_airflow(mappings: Path) -> None:
    code = f"""
import sys
from sync_provider.cli import main
try:
    main(["lint", {str(mappings)!r}])
except SystemExit as end:
    assert not end.code, end
print([name for name in sys.modules if name.split(".")[0] == "airflow"], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_installed_program_is_this_one() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "airflow-sync"), "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("airflow-sync, version ")
