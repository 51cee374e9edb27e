from __future__ import annotations

import configparser

import pytest

from local import LocalError
from local.home import USERS, Addresses, Home, Project

ADDRESSES = Addresses("127.0.0.1", 8000, 8001, 8002, 8003, 8004, 8005)


def test_secrets_and_passwords_are_made_once_and_kept(tmp_path):
    first, second = Home(tmp_path / "home"), Home(tmp_path / "home")
    assert set(first.passwords) == set(USERS)
    assert (first.passwords, first.state) == (second.passwords, second.state)


def test_two_homes_share_no_secret(tmp_path):
    one, other = Home(tmp_path / "a"), Home(tmp_path / "b")
    assert not {*one.passwords.values(), *one.state.values()} & {*other.passwords.values(), *other.state.values()}


def test_files_with_secrets_are_readable_by_their_owner_only(tmp_path):
    home = Home(tmp_path / "home")
    home.write(Project.at(tmp_path), ADDRESSES)
    assert [p.stat().st_mode & 0o077 for p in home.path.iterdir() if p.is_file()] == [0, 0, 0]
    assert home.path.stat().st_mode & 0o077 == 0


def test_airflow_cfg_reads_back_with_percent_signs(tmp_path):
    root = tmp_path / "50%"
    root.mkdir()
    home = Home(root / ".airflow")
    home.write(Project.at(root), ADDRESSES)
    parser = configparser.ConfigParser()
    parser.read(home.path / "airflow.cfg")
    assert parser["core"]["dags_folder"] == str(root / "dags")
    assert parser["api"]["base_url"] == "http://127.0.0.1:8000"


def test_a_damaged_state_file_is_named(tmp_path):
    Home(tmp_path / "home")
    (tmp_path / "home" / "local.json").write_text('{"fernet_key": ')
    with pytest.raises(LocalError, match=r"local\.json is damaged"):
        Home(tmp_path / "home")


def test_a_home_is_held_by_one_start_only(tmp_path):
    with Home.hold(tmp_path / "home") as home:
        home.state["url"] = "http://127.0.0.1:8000"
        home.save_state()
        second = Home.hold(tmp_path / "home")
        with pytest.raises(LocalError, match=r"already runs from .* http://127\.0\.0\.1:8000"):
            second.__enter__()
    with Home.hold(tmp_path / "home"):
        pass


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD",
        "AIRFLOW__CORE__FERNET_KEY_SECRET",
    ],
)
def test_another_projects_airflow_variables_do_not_reach_this_one(tmp_path, name):
    env = Home(tmp_path / "home").environment(
        Project.at(tmp_path), ADDRESSES, {name: "elsewhere", "AIRFLOW_HOME": "/elsewhere"}
    )
    assert name not in env
    assert env["AIRFLOW_HOME"] == str(tmp_path / "home")


@pytest.mark.parametrize("name", ["AIRFLOW__SYNC_PROVIDER__LEDGER_URL", "AIRFLOW__CORE__DEFAULT_TIMEZONE", "LANG"])
def test_other_variables_pass(tmp_path, name):
    env = Home(tmp_path / "home").environment(Project.at(tmp_path), ADDRESSES, {name: "x"})
    assert env[name] == "x"


def test_a_proxy_never_stands_between_tasks_and_their_airflow(tmp_path):
    env = Home(tmp_path / "home").environment(Project.at(tmp_path), ADDRESSES, {"NO_PROXY": "intranet"})
    assert env["NO_PROXY"].split(",") == ["intranet", "127.0.0.1", "localhost", "::1"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("::", "http://[::1]:80"),
    ],
)
def test_the_url_is_one_that_a_browser_here_can_open(host, url):
    assert Addresses(host, 80, 1, 2, 3, 4, 5).url == url
