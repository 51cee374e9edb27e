"""The samples through the suite's real Airflow, as `make demo` runs them, and the one that fails on demand."""

from __future__ import annotations

import pytest

from local.demo import run_samples
from local.mail import Mailbox

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

FAILS_ON_DEMAND = "sync__echec_demo"


@pytest.fixture(scope="module")
def results(airflow):
    return {result.dag_id: result for result in run_samples(airflow, airflow.login())}


def test_every_sample_succeeds_and_tells_what_it_moved(results):
    assert {dag_id: result.state for dag_id, result in results.items()} == dict.fromkeys(results, "success")
    assert len(results) >= 4
    assert all(result.read and result.written for result in results.values())


def test_the_csv_sample_sets_its_five_wrong_records_aside(results):
    clients = results["sync__clients_csv"]
    assert (clients.read, clients.written, clients.rejected) == (240, 235, 5)


def test_the_exports_are_where_their_connection_points(results, airflow):
    assert {path.name for path in airflow.project.output.iterdir()} >= {"commandes.csv", "stock.xlsx"}


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
