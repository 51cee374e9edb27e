from __future__ import annotations

import pytest

from local import LocalError
from local.demo import Result, _empty
from local.home import Home


def test_what_an_earlier_demo_left_is_removed(tmp_path):
    home = tmp_path / "demo"
    _empty(home)
    (home / "sync").mkdir()
    (home / "sync" / "ledger.db").write_text("rows")
    (home / "airflow.db").write_text("runs")
    _empty(home)
    assert {entry.name for entry in home.iterdir()} == {"lock", "local.json", "passwords.json"}


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path):
    home = tmp_path / "home"
    Home(home)
    (home / "airflow.db").write_text("a person's runs")
    with pytest.raises(LocalError, match="was not made by `make demo`"):
        _empty(home)
    assert (home / "airflow.db").read_text() == "a person's runs"


def test_a_link_out_of_the_folder_is_removed_and_its_target_kept(tmp_path):
    home = tmp_path / "demo"
    _empty(home)
    (tmp_path / "precious").mkdir()
    (home / "link").symlink_to(tmp_path / "precious")
    _empty(home)
    assert (tmp_path / "precious").exists()
    assert not (home / "link").is_symlink()


def test_a_result_is_one_line_and_an_unknown_count_is_not_shown_as_zero():
    line = str(Result("sync__clients", "failed", None, 0, 1234, 2.5))
    assert line.split() == ["sync__clients", "failed", "read", "?", "written", "0", "rejected", "1", "234", "2.5", "s"]
