"""`airflow-sync keys new`."""

from __future__ import annotations

import json

from click.testing import CliRunner
from sync_provider.cli.main import main
from sync_provider.engine.crypto import Cipher


def test_a_printed_key_can_be_used_and_is_never_the_same() -> None:
    printed = [CliRunner().invoke(main, ["keys", "new"]).output for _ in range(2)]
    ids = {Cipher([text.strip()]).key_ids for text in printed}
    assert len(ids) == 2


def test_json_names_the_key_as_errors_do() -> None:
    answer = json.loads(CliRunner().invoke(main, ["keys", "new", "--json"]).output)
    assert Cipher([answer["key"]]).key_ids == (answer["id"],)
