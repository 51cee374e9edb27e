"""The pages of a run, in a real browser against the suite's real Airflow, for each role."""

from __future__ import annotations

import pytest
from chromium import launch_options

from local.airflow import LocalAirflow

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.timeout(600)]

INTEGRATION = "clients_csv"
DAG = f"sync__{INTEGRATION}"


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(**launch_options())
        yield instance
        instance.close()


@pytest.fixture(scope="module")
def reported(airflow: LocalAirflow) -> None:
    """At least one run of the sample has ended."""
    api = airflow.login()
    api.unpause(DAG)
    run_id = api.trigger(DAG)
    assert airflow.wait_until(lambda: api.run(DAG, run_id)["state"] == "success", timeout_s=300)


@pytest.fixture
def page_of(browser, airflow: LocalAirflow):
    """Logs a user in and gives a page; errors on its console fail the test at the end."""
    errors: list[str] = []
    contexts = []

    def login(user: str):
        context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="fr-FR")
        contexts.append(context)
        page = context.new_page()
        page.goto(airflow.url, wait_until="networkidle")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", airflow.home.passwords[user])
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/auth/" not in url)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        return page

    yield login
    for context in contexts:
        context.close()
    assert errors == []


@pytest.mark.parametrize("user", ["administrateur", "superviseur"])
def test_who_may_look_goes_from_the_list_to_plan_rejections_and_report(reported, page_of, airflow, user):
    page = page_of(user)
    page.goto(f"{airflow.url}/synchronisation/", wait_until="networkidle")
    assert page.locator("html").get_attribute("lang") == "fr"
    for link, expected in (
        ("plan", "Ajouts"),
        ("rejets", "expect_column_values_to_match_regex"),
        ("rapport", "Cette page ne contient aucune valeur"),
    ):
        page.locator("tr", has_text=INTEGRATION).last.get_by_text(link, exact=True).click()
        page.get_by_text(expected).first.wait_for()
        page.go_back(wait_until="networkidle")


def test_a_page_fits_its_window(reported, page_of, airflow):
    page = page_of("superviseur")
    page.goto(f"{airflow.url}/synchronisation/", wait_until="networkidle")
    page.locator("tr", has_text=INTEGRATION).last.get_by_text("rejets", exact=True).click()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_an_operateur_is_refused(browser, airflow: LocalAirflow):
    context = browser.new_context()
    page = context.new_page()
    page.goto(airflow.url, wait_until="networkidle")
    page.fill("input[name=username]", "operateur")
    page.fill("input[name=password]", airflow.home.passwords["operateur"])
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/auth/" not in url)
    answer = page.goto(f"{airflow.url}/synchronisation/")
    assert answer is not None
    assert answer.status == 403
    context.close()


def test_a_stranger_is_sent_to_the_login(browser, airflow: LocalAirflow):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{airflow.url}/synchronisation", wait_until="networkidle")
    assert "/auth/login" in page.url
    context.close()
