"""Settings: where they come from, and what they become."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sync_provider.core.errors import SyncValidationError
from sync_provider.engine.settings import OPTIONS, Settings, find_home, load_settings


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone: `airflow_settings.yaml`, and `.airflow` not yet made."""
    (tmp_path / "airflow_settings.yaml").touch()
    return tmp_path


def load(home: Path, cfg: str = "", **variables: str) -> Settings:
    if cfg:
        home.mkdir(parents=True, exist_ok=True)
        (home / "airflow.cfg").write_text(cfg)
    return load_settings({"AIRFLOW_HOME": str(home), **variables})


def test_defaults_lie_under_home_and_project(project: Path) -> None:
    settings = load(project / ".airflow")
    assert settings.home == project / ".airflow"
    assert settings.project == project
    assert settings.mappings_dir == project / "include" / "mappings"
    assert settings.files_root == str(project / "include")
    assert settings.ledger_url == f"sqlite:///{project}/.airflow/sync/ledger.db"
    assert settings.store_url == f"{project}/.airflow/sync/store"
    assert settings.staging_retention == timedelta(days=7)
    assert settings.encryption_keys == ()
    assert settings.demo is False
    assert settings.warm_workers is True
    assert settings.base_url == "http://localhost:8080"
    assert settings.role_superviseur == ("VIEWER", "Viewer", "Superviseur")
    assert settings.notifiers == ()


def test_without_a_project_file_paths_start_at_airflow_home(tmp_path: Path) -> None:
    assert load(tmp_path).mappings_dir == tmp_path / "include" / "mappings"


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    cfg = "[sync_provider]\nmail_from = file@example.org\nsmtp_connection = from_file\n"
    settings = load(tmp_path, cfg, AIRFLOW__SYNC_PROVIDER__MAIL_FROM="env@example.org")
    assert (settings.mail_from, settings.smtp_connection) == ("env@example.org", "from_file")
    assert settings.support_phone == "+212 779 635 687"


def test_an_empty_variable_is_a_value(tmp_path: Path) -> None:
    assert load(tmp_path, "[sync_provider]\napprovers = marie\n", AIRFLOW__SYNC_PROVIDER__APPROVERS="").approvers == ()


def test_airflow_config_names_another_file(tmp_path: Path) -> None:
    (tmp_path / "other.cfg").write_text("[sync_provider]\napprovers = marie, paul ,\n")
    assert load(tmp_path, AIRFLOW_CONFIG=str(tmp_path / "other.cfg")).approvers == ("marie", "paul")


def test_without_airflow_home_the_nearest_project_above_is_taken(project: Path) -> None:
    deep = project / "include" / "mappings"
    deep.mkdir(parents=True)
    assert find_home({}, deep) == project / ".airflow"
    (project / "include" / "airflow_settings.yaml").touch()
    assert find_home({}, deep) == project / "include" / ".airflow"
    assert find_home({"AIRFLOW_HOME": "/x"}, deep) == Path("/x")


def test_without_any_project_airflows_own_default_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/marie")
    assert find_home({}, tmp_path) == Path("/home/marie/airflow")


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("s3://bucket/sync", "s3://bucket/sync"),
        ("memory://x", "memory://x"),
        ("/srv/store", "/srv/store"),
        ("store", "{project}/store"),
        ("{AIRFLOW_HOME}/store", "{project}/.airflow/store"),
        ("../store", "{parent}/store"),
    ],
)
def test_a_store_is_a_url_or_an_absolute_folder(project: Path, given: str, becomes: str) -> None:
    settings = load(project / ".airflow", AIRFLOW__SYNC_PROVIDER__STORE_URL=given)
    assert settings.store_url == becomes.format(project=project, parent=project.parent)


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("sqlite:////var/l.db", "sqlite:////var/l.db"),
        ("sqlite:///l.db", "sqlite:///{home}/l.db"),
        ("sqlite+pysqlite:///a/l.db", "sqlite+pysqlite:///{home}/a/l.db"),
        ("postgresql://u:p%40w@db/ledger", "postgresql://u:p%40w@db/ledger"),
    ],
)
def test_a_relative_sqlite_file_is_the_same_for_every_process(tmp_path: Path, given: str, becomes: str) -> None:
    settings = load(tmp_path, AIRFLOW__SYNC_PROVIDER__LEDGER_URL=given)
    assert settings.ledger_url == becomes.format(home=tmp_path)


def test_secrets_do_not_show(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        AIRFLOW__SYNC_PROVIDER__LEDGER_URL="postgresql://u:hunter2@db/ledger",
        AIRFLOW__SYNC_PROVIDER__ENCRYPTION_KEYS="canary-one, canary-two",
    )
    assert settings.encryption_keys == ("canary-one", "canary-two")
    assert "canary" not in repr(settings)
    assert "hunter2" not in repr(settings)


def test_a_secret_can_come_from_a_command(tmp_path: Path) -> None:
    printing = f"{sys.executable} -c \"print('k1,k2')\""
    assert load(tmp_path, AIRFLOW__SYNC_PROVIDER__ENCRYPTION_KEYS_CMD=printing).encryption_keys == ("k1", "k2")
    cfg = f"[sync_provider]\nencryption_keys_cmd = {printing}\n"
    assert load(tmp_path, cfg).encryption_keys == ("k1", "k2")


@pytest.mark.parametrize("command", ["false", "/no/such/program", "'"])
def test_a_command_that_fails_is_named_and_not_shown(tmp_path: Path, command: str) -> None:
    with pytest.raises(SyncValidationError, match="ENCRYPTION_KEYS_CMD") as caught:
        load(tmp_path, AIRFLOW__SYNC_PROVIDER__ENCRYPTION_KEYS_CMD=command)
    assert caught.value.code == "settings_command"


@pytest.mark.parametrize(("text", "value"), [("True", True), ("t", True), ("1", True), ("FALSE", False), ("0", False)])
def test_booleans_are_read_as_airflow_reads_them(tmp_path: Path, text: str, value: bool) -> None:
    assert load(tmp_path, AIRFLOW__SYNC_PROVIDER__DEMO=text).demo is value


@pytest.mark.parametrize(
    ("cfg", "variables", "place"),
    [
        ("", {"AIRFLOW__SYNC_PROVIDER__DEMO": "maybe"}, "AIRFLOW__SYNC_PROVIDER__DEMO"),
        ("[sync_provider]\nstaging_retention = 7 days\n", {}, "[sync_provider] staging_retention in "),
        ("[sync_provider]\nmail_from = 100%\n", {}, "mail_from"),
    ],
)
def test_a_bad_value_is_named_by_where_it_was_set(tmp_path: Path, cfg: str, variables: dict, place: str) -> None:
    with pytest.raises(SyncValidationError) as caught:
        load(tmp_path, cfg, **variables)
    assert place in str(caught.value)
    assert caught.value.hint


def test_a_broken_file_is_named_without_quoting_it(tmp_path: Path) -> None:
    with pytest.raises(SyncValidationError) as caught:
        load(tmp_path, "encryption_keys = canary\n")
    assert f"{tmp_path}/airflow.cfg:1" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_percent_signs_are_doubled_in_the_file_as_everywhere_in_airflow(tmp_path: Path) -> None:
    cfg = "[sync_provider]\nledger_url = postgresql://u:p%%40w@db/ledger\n"
    assert load(tmp_path, cfg).ledger_url == "postgresql://u:p%40w@db/ledger"


def test_the_address_of_airflow_is_taken_from_its_own_setting(tmp_path: Path) -> None:
    assert load(tmp_path, "[api]\nbase_url = https://a.example.org\n").base_url == "https://a.example.org"
    assert load(tmp_path, AIRFLOW__API__BASE_URL="https://b.example.org").base_url == "https://b.example.org"
    both = {"AIRFLOW__API__BASE_URL": "https://b", "AIRFLOW__SYNC_PROVIDER__BASE_URL": "https://c"}
    assert load(tmp_path, **both).base_url == "https://c"


def test_every_option_is_a_field_with_a_description_and_a_sound_default(tmp_path: Path) -> None:
    names = [option.name for option in OPTIONS]
    assert len(set(names)) == len(names)
    assert set(names) | {"home", "project"} == set(Settings.__slots__)
    for option in OPTIONS:
        assert option.description.endswith("."), option.name
        if option.example is not None:
            load(tmp_path, **{option.variable: option.example})


def test_reading_settings_is_light_and_writes_nothing(tmp_path: Path) -> None:
    program = """
import sys
from sync_provider.engine.settings import load_settings
load_settings({"AIRFLOW_HOME": sys.argv[1]})
heavy = {"airflow", "pandas", "pyarrow", "sqlalchemy", "alembic", "cryptography", "fsspec", "duckdb"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "home")], check=True)
    assert list(tmp_path.iterdir()) == []
