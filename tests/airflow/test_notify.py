"""Alerts: one mail per change of state, by a real SMTP server, from a real ledger; fixed words, nothing rendered."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from airflow.sdk import BaseNotifier
from airflow_samples import write_mapping
from sync_provider import hooks, notify
from sync_provider.core.errors import SyncConnectionError, SyncDataError, Where
from sync_provider.engine.ledger.conflicts import LoggedConflict
from sync_provider.engine.loader import load_file

ALERTS = "{emails: [data@example.org, ops@example.org], on: [failure, rejected]}"
CONFLICTS = "{emails: [data@example.org], on: [failure, conflict]}"
HINT = "Rename it back <script>alert(1)</script>"


class Letters:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.received: list[EmailMessage] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        letter = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self.received.append(letter)
        return "250 OK"


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, airflow_home: Path) -> Iterator[Letters]:
    box = Letters()
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    settings = {
        "LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
        "STORE_URL": str(tmp_path / "store"),
        "BASE_URL": "https://airflow.example.org/",
        "MAIL_FROM": "sync@example.org",
        "SMTP_CONNECTION": "courrier",
        "SUPPORT_EMAIL": "codsuitebackend@gmail.com",
        "SUPPORT_PHONE": "+212 779 635 687",
        "SUPPORT_HOURS": "24/7",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"AIRFLOW__SYNC_PROVIDER__{name}", value)
    monkeypatch.setenv(
        "AIRFLOW_CONN_COURRIER",
        f'{{"conn_type": "smtp", "host": "127.0.0.1", "port": {port}, "extra": {{"disable_ssl": true, "disable_tls": true}}}}',
    )
    yield box
    server.stop()


def context(folder: Path, error: BaseException | None = None, counters: Any = None, **changes: str) -> Any:
    source = load_file(write_mapping(folder, "clients", **{"alerts": ALERTS, **changes}))
    instance = SimpleNamespace(
        dag_id="sync__clients", task_id="extract", run_id="manual__2025 +1", xcom_pull=lambda **_: counters
    )
    found: dict[str, Any] = {"ti": instance, "task": SimpleNamespace(mapping_source=lambda: source)}
    if error is not None:
        found["exception"] = error
    return found


def broken() -> SyncDataError:
    return SyncDataError(
        "the column {{ 7 * 7 }} is missing", where=Where(file="clients.csv", line=3), hint=HINT, code="column_missing"
    )


def text(letter: EmailMessage) -> str:
    body = letter.get_body(("html",))
    assert body is not None
    return str(body.get_content())


def test_a_failure_says_what_where_how_to_fix_it_and_whom_to_call(letters, tmp_path):
    notify.on_failure(context(tmp_path, broken()))
    (letter,) = letters.received
    body = text(letter)
    assert letter["Subject"] == "[Synchronisation] clients : échec"
    assert (letter["From"], letter["To"]) == ("sync@example.org", "data@example.org, ops@example.org")
    for expected in (
        "clients.csv:3",
        "the column {{ 7 * 7 }} is missing",
        "Rename it back &lt;script&gt;",
        "https://airflow.example.org/dags/sync__clients/runs/manual__2025%20%2B1",
        "Email Backend : codsuitebackend@gmail.com",
        "Téléphone : +212 779 635 687",
        "Support technique : Disponible 24/7",
    ):
        assert expected in body
    assert "49" not in body
    assert "<script>" not in body


def test_the_same_trouble_is_told_once_another_one_again_and_recovery_once(letters, tmp_path):
    for _ in range(3):
        notify.on_failure(context(tmp_path, broken()))
    notify.on_failure(context(tmp_path, SyncConnectionError("no answer")))
    for _ in range(3):
        notify.on_success(context(tmp_path, counters={"read": 3, "rejected": 0}))
    subjects = [letter["Subject"].rpartition(" : ")[2] for letter in letters.received]
    assert subjects == ["échec", "échec", "rétablie"]


def test_rejections_are_told_where_they_were_asked_for(letters, tmp_path):
    notify.on_success(context(tmp_path, counters={"rejected": 2}))
    notify.on_success(context(tmp_path, counters={"rejected": 2}, alerts="{emails: [a@b.org]}"))
    subjects = [letter["Subject"].rpartition(" : ")[2] for letter in letters.received]
    assert subjects == ["enregistrements rejetés", "rétablie"]


def conflicted(folder: Path, run: str, *keys: str, left: int, **changes: str) -> Any:
    """A reported run that has recorded open conflicts of these keys; ``left`` are open in all."""
    found = context(folder, counters={"rejected": 0, "conflicts_open": left}, **{"alerts": CONFLICTS, **changes})
    found["task"].sync_run = run
    values = {"base": "1", "source": "secret-2", "destination": "secret-3", "has_base": True, "policy": "manual"}
    with hooks.environment() as environment:
        environment.ledger.conflicts.record(
            "clients", run, [LoggedConflict(key=key, field="code", **values) for key in keys]
        )
    return found


def test_new_conflicts_are_told_once_where_they_were_asked_for_and_never_their_values(letters, tmp_path):
    runs = [
        conflicted(tmp_path, "01A", "a", "b", left=2),
        conflicted(tmp_path, "01B", left=2),  # the same two
        conflicted(tmp_path, "01C", "c", left=3),
        conflicted(tmp_path, "01D", left=1),  # two of them decided: no news
        conflicted(tmp_path, "01E", left=0),
        conflicted(tmp_path, "01F", "d", left=1, alerts="{emails: [a@b.org]}"),
    ]
    for run in runs[:2]:
        notify.on_success(run)
    notify.on_success(runs[0])  # its report was cleared
    for run in runs[2:]:
        notify.on_success(run)
    subjects = [letter["Subject"].rpartition(" : ")[2] for letter in letters.received]
    assert subjects == ["conflits à trancher", "conflits à trancher", "rétablie"]
    assert "à trancher : 2." in text(letters.received[0])
    assert "airflow-sync conflicts list clients" in text(letters.received[0])
    assert not any("secret" in str(letter) for letter in letters.received)


def test_of_rejections_and_conflicts_the_first_that_was_asked_for_is_told(letters, tmp_path):
    run = conflicted(tmp_path, "01A", "a", left=1)
    run["ti"].xcom_pull = lambda **_: {"rejected": 2, "conflicts_open": 1}
    notify.on_success(run)
    assert letters.received[0]["Subject"].endswith("conflits à trancher")


def test_a_success_without_trouble_before_is_no_news(letters, tmp_path):
    notify.on_success(context(tmp_path, counters={"rejected": 0}))
    assert letters.received == []


def test_nobody_hears_of_failures_that_were_not_asked_for(letters, tmp_path):
    notify.on_failure(context(tmp_path, broken(), alerts="{emails: [a@b.org], on: [rejected]}"))
    notify.on_success(context(tmp_path, counters={}, alerts="{emails: [a@b.org], on: [rejected]}"))
    assert letters.received == []


def test_the_text_of_an_unexpected_error_stays_out_of_the_mail(letters, tmp_path):
    notify.on_failure(context(tmp_path, ValueError("password=hunter2")))
    (letter,) = letters.received
    assert "hunter2" not in str(letter)
    assert "ValueError" in text(letter)


def test_a_task_that_was_killed_is_told_without_an_exception(letters, tmp_path):
    notify.on_failure(context(tmp_path))
    assert "arrêtée avant la fin" in text(letters.received[0])


def test_a_mail_that_cannot_leave_does_not_change_the_outcome(letters, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("AIRFLOW__SYNC_PROVIDER__SMTP_CONNECTION", "absent")
    notify.on_failure(context(tmp_path, broken()))
    assert "The alert could not be sent" in caplog.text
    assert caplog.records[-1].getMessage() == str(broken())


class Chat(BaseNotifier):
    """A notifier as deployments add them."""

    template_fields = ("text", "blocks")
    said: list[Any] = []  # noqa: RUF012  # what all instances said

    def __init__(self, text: str, blocks: Any = None) -> None:
        super().__init__()
        self.text = text
        self.blocks = blocks

    def notify(self, context: Any) -> None:  # noqa: ARG002  # Airflow's signature
        self.said.append((self.text, self.blocks))


CHAT = "{notifiers: [{name: test_notify.Chat, kwargs: {text: '{integration}: {message}', blocks: [{t: '{hint}'}]}}]}"


def test_an_allowed_notifier_is_given_our_words_as_data(letters, tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__SYNC_PROVIDER__NOTIFIERS", "test_notify.Chat")
    monkeypatch.setattr(Chat, "said", [])
    monkeypatch.setattr(notify, "import_module", lambda _: SimpleNamespace(Chat=Chat))
    notify.on_failure(context(tmp_path, broken(), alerts=CHAT))
    assert Chat.said == [("clients: the column {{ 7 * 7 }} is missing", [{"t": HINT}])]


def test_a_notifier_that_was_taken_off_the_list_is_not_called(letters, tmp_path, monkeypatch):
    monkeypatch.setattr(Chat, "said", [])
    notify.on_failure(context(tmp_path, broken(), alerts=CHAT))
    assert Chat.said == []


@pytest.mark.parametrize("text", ["{{ conn }}", "{% for x in y %}", "{# x #}"])
def test_a_mapping_holds_no_jinja(tmp_path, text):
    alerts = f"{{notifiers: [{{name: a.B, kwargs: {{deep: [{{t: '{text}'}}]}}}}]}}"
    mapping = load_file(write_mapping(tmp_path, "clients", alerts=alerts)).mapping
    (problem,) = notify.refused_notifiers(mapping, ("a.B",))
    assert problem[0] == "alerts.notifiers[0].kwargs.deep"
