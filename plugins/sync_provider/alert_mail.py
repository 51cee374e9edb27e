"""Our alert as an e-mail. Apart from `notify`, because DAG parsing needs the callbacks and not the mail libraries."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from airflow.providers.smtp.notifications.smtp import SmtpNotifier

SUBJECT = "[Synchronisation] {{ sync.integration }} : {{ sync.title }}"


class AlertMail(SmtpNotifier):
    """Airflow's SMTP notifier with our fixed templates; what happened is given as ``sync`` in the context.

    :param to: addresses
    :param from_email: sender
    :param smtp_conn_id: Airflow connection of type `smtp`
    """

    def __init__(self, *, to: Sequence[str], from_email: str, smtp_conn_id: str) -> None:
        template = files("sync_provider").joinpath("templates", "alert.html").read_text(encoding="utf-8")
        super().__init__(
            to=list(to), from_email=from_email, smtp_conn_id=smtp_conn_id, subject=SUBJECT, html_content=template
        )
