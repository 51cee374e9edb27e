"""What one running Airflow offers: logins, roles, a DAG run with its log, connections, mail."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

import psutil
import pytest

from local.airflow import LocalAirflow
from local.api import Api, ApiError
from local.home import USERS
from local.mail import Mailbox

pytestmark = pytest.mark.airflow


def run_tiny(airflow: LocalAirflow, api: Api) -> str:
    assert airflow.wait_until(lambda: any(dag["dag_id"] == "e2e_tiny" for dag in api.dags("e2e")), timeout_s=60)
    api.unpause("e2e_tiny")
    run_id = api.trigger("e2e_tiny")
    assert airflow.wait_until(lambda: api.run("e2e_tiny", run_id)["state"] in ("success", "failed"), timeout_s=120)
    assert api.run("e2e_tiny", run_id)["state"] == "success"
    return run_id


@pytest.mark.parametrize("user", USERS)
def test_each_user_logs_in_and_sees_the_dags(airflow, user):
    assert isinstance(airflow.login(user).dags(), list)


def test_a_wrong_password_is_refused(airflow):
    with pytest.raises(ApiError) as refused:
        Api.login(airflow.url, "administrateur", "wrong")
    assert refused.value.status == 401


def test_the_superviseur_may_not_start_a_dag(airflow, api):
    assert airflow.wait_until(lambda: any(dag["dag_id"] == "e2e_tiny" for dag in api.dags("e2e")), timeout_s=60)
    with pytest.raises(ApiError) as refused:
        airflow.login("superviseur").trigger("e2e_tiny")
    assert refused.value.status == 403


def test_a_triggered_dag_runs_and_gives_its_result_and_log(airflow, api):
    run_id = run_tiny(airflow, api)
    assert api.xcom("e2e_tiny", run_id, "report")["read"] == 3
    assert "three records were read" in api.log_lines("e2e_tiny", run_id, "report", 1)


def test_tasks_find_the_heavy_libraries_imported(airflow, api):
    run_id = run_tiny(airflow, api)
    assert api.xcom("e2e_tiny", run_id, "report")["warm"] is True


def test_everything_listens_on_the_loopback_address_only(airflow):
    listening = [
        connection.laddr
        for pid in airflow.survivors()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    a = airflow.addresses
    assert {address.port for address in listening} == {a.port, a.tasks, a.logs, a.smtp, a.mails, a.sandbox}


def test_the_settings_file_gave_connections_that_point_into_this_project(airflow, api):
    path = api.request("GET", "/api/v2/connections/fichiers")["extra"]
    assert str(airflow.project.root / "include" / "samples") in path
    assert api.request("GET", "/api/v2/connections/smtp_default")["port"] == airflow.addresses.smtp
    assert airflow.addresses.sandbox_url in api.request("GET", "/api/v2/connections/google_sheets_demo")["extra"]


def test_mail_sent_to_the_catcher_is_kept(airflow):
    message = EmailMessage()
    message["Subject"] = "Échec de la synchronisation"
    message["From"], message["To"] = "airflow@localhost", "data@example.org"
    message.set_content("Ligne 3 : date illisible")
    with smtplib.SMTP("127.0.0.1", airflow.addresses.smtp) as client:
        client.send_message(message)
    newest = Mailbox(airflow.home.mails).mails()[0]
    assert newest.header("Subject") == "Échec de la synchronisation"


def test_secrets_on_disk_are_readable_by_their_owner_only(airflow):
    for name in ("airflow.cfg", "local.json", "passwords.json"):
        assert (airflow.home.path / name).stat().st_mode & 0o077 == 0
