"""The samples through the suite's real Airflow, as `make demo` runs them, and the one that fails on demand."""

from __future__ import annotations

import pytest

from local.demo import run_samples
from local.mail import Mailbox
from local.two_sides import TwoSides

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

FAILS_ON_DEMAND = "sync__echec_demo"


@pytest.fixture(scope="module")
def results(airflow):
    return {result.dag_id: result for result in run_samples(airflow, airflow.login())}


def test_every_sample_succeeds_and_tells_what_it_moved(results):
    assert {dag_id: result.state for dag_id, result in results.items()} == dict.fromkeys(results, "success")
    assert len(results) >= 8
    assert all(result.read and result.written for result in results.values())


def test_the_csv_sample_sets_its_five_wrong_records_aside(results):
    clients = results["sync__clients_csv"]
    assert (clients.read, clients.written, clients.rejected) == (240, 235, 5)


def test_the_sheet_of_prospects_sets_its_five_wrong_records_aside(results):
    prospects = results["sync__prospects_sheets"]
    assert (prospects.read, prospects.written, prospects.rejected) == (36, 31, 5)


def test_the_orders_are_in_their_sheet_and_a_formula_beside_them_counts_them(results, airflow):
    orders = airflow.sandbox.rows("demo-commandes", "Commandes")
    assert orders[0][-1] == "Suivi (libre)"
    assert orders[1][:4] == ["3", "00011", "2025-05-09", "payée"]
    assert [row[:2] for row in airflow.sandbox.rows("demo-commandes", "Synthèse")[1:]] == [
        ["payée", "105"],
        ["expédiée", "102"],
    ]


def test_the_price_list_of_a_workbook_fills_a_sheet_that_was_not_there(results, airflow):
    prices = airflow.sandbox.rows("demo-tarifs", "Catalogue")
    assert (len(prices), prices[6][:2]) == (21, ["0042", "Filtre n°4"])


def test_the_exports_are_where_their_connection_points(results, airflow):
    assert {path.name for path in airflow.project.output.iterdir()} >= {"commandes.csv", "stock.xlsx"}


@pytest.fixture(scope="module")
def told(results, airflow):
    """The story of the sample that goes both ways: its checks by topic, and every line that was said."""
    lines: list[str] = []
    checks = TwoSides(airflow, airflow.login(), lines.append).tell()
    return {check.topic: check for check in checks}, lines


@pytest.mark.parametrize("topic", ["merge", "conflict", "policy", "decision", "blocked"])
def test_what_the_two_sided_story_claims_comes_true(told, topic):
    checks, lines = told
    assert checks[topic].holds, "\n".join(lines)


def test_the_story_tells_the_edits_of_both_sides_and_the_guard_that_asked(told):
    _, lines = told
    assert {line.split()[0] for line in lines} >= {"sheet", "table", "person", "guard", "run"}
    assert any("max_deletes" in line for line in lines)


def test_the_sample_that_fails_on_demand_sends_one_mail_that_names_it(airflow, api):
    api.unpause(FAILS_ON_DEMAND)
    run_id = api.trigger(FAILS_ON_DEMAND)
    assert airflow.wait_until(lambda: api.run(FAILS_ON_DEMAND, run_id)["state"] == "failed", timeout_s=300)
    box = Mailbox(airflow.home.mails)
    assert airflow.wait_until(lambda: any("echec_demo" in mail.text for mail in box.mails()), timeout_s=60)
    (mail,) = [mail for mail in box.mails() if "echec_demo" in mail.text]
    assert airflow.url in mail.text


def test_there_is_no_import_error(airflow, results):
    assert airflow.login().import_errors() == []
