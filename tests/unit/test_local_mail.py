from __future__ import annotations

import re
import smtplib
import urllib.error
import urllib.request
from email.message import EmailMessage

import pytest

from local.mail import catching


@pytest.fixture
def catcher(tmp_path):
    with catching(tmp_path / "mails") as running:
        yield running


def send(catcher, subject, text, html=None):
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, "airflow@localhost", "data@example.org"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    with smtplib.SMTP("127.0.0.1", catcher.smtp_port) as client:
        client.send_message(message)


def page(catcher, path="/", **headers):
    with urllib.request.urlopen(urllib.request.Request(catcher.url + path, headers=headers)) as reply:
        return reply.read().decode(), dict(reply.headers)


def test_a_mail_sent_over_smtp_is_kept_with_its_text_and_envelope(catcher):
    send(catcher, "Échec", "Ligne 3 : date illisible\n")
    (mail,) = catcher.mailbox.mails()
    assert mail.header("Subject") == "Échec"
    assert mail.header("X-Envelope-To") == "data@example.org"
    assert mail.text == "Ligne 3 : date illisible\n"


def test_the_list_shows_the_newest_first(catcher):
    send(catcher, "premier", "1")
    send(catcher, "second", "2")
    content, _ = page(catcher)
    assert content.index("second") < content.index("premier")


def test_a_mail_is_shown_escaped_and_no_script_may_run(catcher):
    send(catcher, "<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "<b>bold</b><script>alert(3)</script>")
    (mail,) = catcher.mailbox.mails()
    for path in ("/", f"/{mail.name}"):
        content, headers = page(catcher, path)
        assert "<script" not in content
        assert "<img" not in content
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "&lt;img src=x onerror=alert(2)&gt;" in content


def test_a_mail_in_html_only_is_shown_as_source(catcher):
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "x", "a@localhost", "b@localhost"
    message.set_content("<p>bonjour</p>", subtype="html")
    with smtplib.SMTP("127.0.0.1", catcher.smtp_port) as client:
        client.send_message(message)
    content, _ = page(catcher, f"/{catcher.mailbox.mails()[0].name}")
    assert "&lt;p&gt;bonjour&lt;/p&gt;" in content


@pytest.mark.parametrize(
    "path", ["/../passwords.json", "/%2e%2e/passwords.json", "/x.eml", "/" + "0" * 20 + "-00000000.eml"]
)
def test_nothing_but_mails_is_served(catcher, tmp_path, path):
    (tmp_path / "passwords.json").write_text("secret")
    with pytest.raises(urllib.error.HTTPError) as refused:
        page(catcher, path)
    assert refused.value.code == 404


def test_a_name_of_someone_else_for_this_machine_is_refused(catcher):
    with pytest.raises(urllib.error.HTTPError) as refused:
        page(catcher, Host="rebound.example.org:80")
    assert refused.value.code == 403


def test_both_servers_listen_on_the_loopback_address_only(catcher):
    import psutil

    ours = [c.laddr for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert {a.ip for a in ours if a.port in (catcher.smtp_port, catcher.page_port)} == {"127.0.0.1"}


def test_mails_outlive_the_catcher(tmp_path):
    with catching(tmp_path) as first:
        send(first, "gardé", "x")
    with catching(tmp_path) as second:
        assert re.search("gardé", page(second)[0])
