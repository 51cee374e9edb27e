from __future__ import annotations

from pathlib import Path

import pytest
from sync_provider.sandbox.server import Sandbox

from local import LocalError
from local.sandbox import KEY_FILE, SheetsSandbox

REPO = Path(__file__).resolve().parents[2]
BOOK = """
- id: one
  title: Un
  locale: fr_FR
  timeZone: Europe/Paris
  sheets:
    Feuille:
      - [code, le, montant]
      - ["'001", 14/03/2025, "1 200,50 €"]
"""


@pytest.fixture
def running(tmp_path):
    with Sandbox(tmp_path / "state") as server:
        yield server


@pytest.fixture
def sandbox(running, tmp_path):
    return SheetsSandbox(running.base_url, tmp_path / "state")


def written(tmp_path, text):
    path = tmp_path / "classeurs.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_cells_are_what_a_person_types_in_the_spreadsheets_language(sandbox, tmp_path):
    assert sandbox.fill(written(tmp_path, BOOK)) == ["Un"]
    assert sandbox.rows("one", "Feuille")[1] == ["001", "14/03/2025", "1\u202f200,50\xa0€"]


def test_the_key_that_the_sandbox_wrote_may_edit_what_was_filled(sandbox, running, tmp_path):
    from google.oauth2.service_account import Credentials
    from googleapiclient.discovery import build

    sandbox.fill(written(tmp_path, BOOK))
    credentials = Credentials.from_service_account_file(
        tmp_path / "state" / KEY_FILE, scopes=["https://www.googleapis.com/auth/spreadsheets"]
    )
    api = build("sheets", "v4", credentials=credentials, client_options={"api_endpoint": running.base_url})
    body = {"values": [[45731]]}
    api.spreadsheets().values().update(spreadsheetId="one", range="B2", valueInputOption="RAW", body=body).execute()
    assert sandbox.rows("one", "Feuille")[1][1] == "15/03/2025"


def test_a_spreadsheet_that_is_there_keeps_what_people_made_of_it(sandbox, tmp_path):
    sandbox.fill(written(tmp_path, BOOK))
    sandbox.type_in("one", "Feuille", "C2", "7")
    assert sandbox.fill(written(tmp_path, BOOK + BOOK.replace("id: one", "id: two").replace("Un", "Deux"))) == ["Deux"]
    assert sandbox.rows("one", "Feuille")[1][2].startswith("7")


def test_no_file_is_no_spreadsheet(sandbox, tmp_path):
    assert sandbox.fill(tmp_path / "none.yaml") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- [", "not valid YAML"),
        ("{id: one}", "expected a list of spreadsheets"),
        (BOOK.replace("locale", "language"), "each with id, locale, sheets, timeZone, title"),
        (BOOK.replace("montant", "x" * 50_001), "refused the spreadsheet one"),
    ],
)
def test_mistakes_are_named(sandbox, tmp_path, text, message):
    with pytest.raises(LocalError, match=message):
        sandbox.fill(written(tmp_path, text))


def test_one_that_does_not_answer_is_not_ready(tmp_path):
    with Sandbox(tmp_path) as server:
        sandbox = SheetsSandbox(server.base_url, tmp_path)
        assert sandbox.answers()
    assert not sandbox.answers()


def test_the_projects_own_spreadsheets_are_the_ones_that_the_samples_name(sandbox):
    from sync_provider.engine.loader import scan_mappings

    assert len(sandbox.fill(REPO / "include" / "samples" / "classeurs.yaml")) == 4
    named = {
        end.spreadsheet
        for source in scan_mappings(REPO / "include" / "mappings").sources
        for end in (source.mapping.source, source.mapping.destination)
        if end.type == "google_sheets"
    }
    assert {book["id"] for book in sandbox._spreadsheets()} == named
