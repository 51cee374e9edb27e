"""`airflow-sync inspect` as a person and a program use it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from csv_corpus import CASES
from sync_provider.cli.main import main


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    path = tmp_path / "relevé.csv"
    path.write_bytes(CASES[0].data)
    return path


def test_it_prints_yaml_to_paste(bank: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(bank)])
    assert result.exit_code == 0
    block = yaml.safe_load(result.output)
    assert block["source"]["header_row"] == 5
    assert block["fields"][0] == {"source": "Date", "destination": "date", "type": "date"}


def test_it_prints_json_with_confidences(bank: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", "--json", str(bank)])
    found = json.loads(result.output)
    assert found["encoding"]["value"] == "cp1252"
    assert 0.9 <= found["encoding"]["confidence"] <= 1
    assert found["columns"][0]["type"] == "date"
    assert found["ambiguities"] == []


@pytest.mark.parametrize("command", ["inspect", "init"])
def test_a_fifo_is_refused_at_once(tmp_path: Path, command: str) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    result = CliRunner().invoke(main, [command, str(tmp_path / "pipe.csv")])
    assert result.exit_code == 4
    assert "this is no regular file" in result.output


def test_a_missing_file_is_one_sentence_and_a_code(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "nowhere.csv")])
    assert result.exit_code == 4
    assert "there is no such file" in result.output
    assert "Traceback" not in result.output
