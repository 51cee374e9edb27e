"""Pages: who may see them, what they show, and that nothing in a record can run in a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.api_fastapi.app import create_app, get_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow_samples import write_mapping
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sync_provider import hooks
from sync_provider.connectors.base import OLD, OP
from sync_provider.core.errors import Where
from sync_provider.core.report import Rejection
from sync_provider.engine.loader import load_file
from sync_provider.engine.staging import stage
from sync_provider.web.app import build_app

EVIL = "<script>alert('x')</script>"
HTML = {"accept": "text/html"}
ROLES = {"administrateur": "ADMIN", "superviseur": "VIEWER", "operateur": "USER", "op": "OP"}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, airflow_home: Path) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pages")
    settings = {
        "AIRFLOW__SYNC_PROVIDER__LEDGER_URL": f"sqlite:///{folder}/ledger.db",
        "AIRFLOW__SYNC_PROVIDER__STORE_URL": str(folder / "store"),
    }
    os.environ.update(settings)
    yield folder
    for name in settings:
        del os.environ[name]


@pytest.fixture(scope="module")
def run_id(ledger: Path) -> str:
    """A run with a plan of one update, a rejected record full of markup, and a report."""
    source = load_file(write_mapping(ledger, "clients"))
    with hooks.environment() as env:
        run = env.ledger.runs.open(
            mapping_id="clients",
            mapping_text=source.text,
            mapping_sha256=source.sha256,
            dag_id="sync__clients",
            airflow_run_id="manual__1",
            trigger="manual",
            params={},
            interval=None,
        )
        folder = f"staging/clients/{run.id}"
        changes = pa.RecordBatch.from_pydict(
            {
                OP: ["update"],
                "code": ["A"],
                "nom": [EVIL],
                "vu": [1],
                OLD + "code": ["A"],
                OLD + "nom": [None],
                OLD + "vu": [1],
            }
        )
        staged = stage(env.store, f"{folder}/changes.parquet", changes.schema, [changes])
        env.ledger.runs.start_phase(run.id, "plan", 1)
        artifact = {
            "path": staged.path,
            "inserts": None,
            "updates": 1,
            "deletes": 9,
            "trips": [{"guard": "max_deletes", "message": EVIL}],
        }
        env.ledger.runs.finish_phase(run.id, "plan", "succeeded", {}, artifact, None)
        env.ledger.rejections.replace(
            run.id,
            "extract",
            [Rejection(rule="convert", message=EVIL, field=EVIL, value=EVIL, key=EVIL, where=Where(file=EVIL, line=3))],
        )
        with env.store.open_write(f"{folder}/quality.html") as sink:
            sink.write("<h1>règles</h1>".encode())
        return str(run.id)


@pytest.fixture(scope="module")
def application(ledger: Path) -> FastAPI:
    return create_app(apps="core")


@pytest.fixture
def browser(application: FastAPI) -> TestClient:
    return TestClient(application, follow_redirects=False, raise_server_exceptions=True)


def login(role: str) -> dict[str, str]:
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=role, role=ROLES[role]))
    return {"authorization": f"Bearer {token}"}


def paths(run_id: str) -> list[str]:
    return [
        f"/synchronisation/{page}"
        for page in ("", f"plan/{run_id}/", f"rejets/{run_id}/", f"rapport/{run_id}/", "sync.css")
    ]


def test_every_route_has_a_level():
    for route in build_app().routes:
        checks = [dependency.call for dependency in route.dependant.dependencies]  # type: ignore[attr-defined]
        assert any(getattr(check, "levels", ()) for check in checks), route


@pytest.mark.parametrize(
    ("role", "status"), [("administrateur", 200), ("superviseur", 200), ("operateur", 403), ("op", 403)]
)
def test_pages_open_for_the_levels_of_the_specification_only(browser, run_id, role, status):
    for path in paths(run_id):
        assert browser.get(path, headers=login(role)).status_code == status, path


def test_nobody_unknown_sees_a_page(browser, run_id):
    for path in paths(run_id):
        assert browser.get(path).status_code == 401, path
        answer = browser.get(path, headers=HTML)
        assert answer.status_code == 303
        assert "/auth/login" in answer.headers["location"]
        assert browser.get(path, headers={**HTML, "cookie": "_token=junk"}).status_code == 303
        assert browser.get(path, headers={"authorization": "Bearer junk"}).status_code == 401


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_changed(browser, run_id, method):
    for path in paths(run_id):
        assert browser.request(method, path, headers=login("administrateur")).status_code == 405


def test_the_documentation_of_routes_is_closed(browser):
    for path in ("docs", "redoc", "openapi.json"):
        assert browser.get(f"/synchronisation/{path}", headers=login("administrateur")).status_code == 404


def test_the_address_without_its_slash_leads_there(browser):
    answer = browser.get("/synchronisation")
    assert (answer.status_code, answer.headers["location"]) == (308, "/synchronisation/")


def test_markup_in_records_rules_and_names_is_shown_as_text(browser, run_id):
    for page in ("plan", "rejets"):
        answer = browser.get(f"/synchronisation/{page}/{run_id}/", headers=login("superviseur"))
        assert EVIL not in answer.text
        assert "&lt;script&gt;" in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"


def test_the_plan_shows_old_and_new_and_says_what_it_does_not_know(browser, run_id):
    text = browser.get(f"/synchronisation/plan/{run_id}/", headers=login("superviseur")).text
    assert "<del>∅</del> → <ins>&lt;script&gt;" in text
    assert '<td>Ajouts</td><td class="n">inconnu</td>' in text
    assert "<code>code</code> : A</span>" in text
    assert "<code>vu</code>" not in text


def test_the_report_is_the_one_that_was_stored(browser, run_id):
    answer = browser.get(f"/synchronisation/rapport/{run_id}/", headers=login("superviseur"))
    assert answer.text == "<h1>règles</h1>"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("page", ["plan", "rejets", "rapport"])
@pytest.mark.parametrize("wrong", ["01J00000000000000000000000", "..%2f..%2fetc", "x' OR 1=1 --", "é" * 300])
def test_a_run_that_is_not_there_is_not_found(browser, ledger, page, wrong):
    assert browser.get(f"/synchronisation/{page}/{wrong}/", headers=login("administrateur")).status_code == 404


@pytest.mark.parametrize("number", ["0", "-1", "x", "999999999999"])
def test_a_page_number_is_checked(browser, ledger, number):
    answer = browser.get(f"/synchronisation/?page={number}", headers=login("superviseur"))
    assert answer.status_code == 422


def test_a_user_with_several_roles_has_the_highest_that_is_named():
    from types import SimpleNamespace

    from sync_provider.web.access import level_of

    settings: Any = hooks.airflow_settings()
    for names, level in (
        (["Viewer", "Admin"], "administrateur"),
        (["Viewer"], "superviseur"),
        (["Op", "User", "Public", "Operateur"], None),
        ([], None),
    ):
        user = SimpleNamespace(roles=[SimpleNamespace(name=name) for name in names])
        assert level_of(user, settings) == level
    assert level_of(SimpleNamespace(role="viewer"), settings) == "superviseur"
    assert level_of(SimpleNamespace(), settings) is None
