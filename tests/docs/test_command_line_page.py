"""The page of the command line shows commands and options that exist, and all commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from sync_provider.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text("utf-8")
SHOWN = re.findall(r"^airflow-sync .*", PAGE, re.MULTILINE)


def _resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = main
    while isinstance(command, click.Group):
        assert words[0] in command.commands, words
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_shown_exists_with_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command, rest = _resolve(words)
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_every_command_is_shown() -> None:
    shown = {tuple(line.split()[1:3]) for line in SHOWN}
    for name, command in main.commands.items():
        if isinstance(command, click.Group):
            assert {(name, each) for each in command.commands} <= shown
        else:
            assert any(words[0] == name for words in shown)
