"""A mail catcher: an SMTP server that delivers to a folder, and a page that shows what came.

Only for one machine. Mails are hostile text: the page escapes everything, runs no script and loads nothing.
"""

from __future__ import annotations

import argparse
import html
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from local.ports import free_port

_KEPT = 500
_NAME = re.compile(r"\d{20}-[0-9a-f]{8}\.eml")
_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'none'; frame-ancestors 'none'; sandbox"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .4rem; border-bottom: 1px solid #ccc }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f6f6f6; padding: 1rem }
iframe { width: 100%; height: 36rem; border: 1px solid #ccc; margin-top: 1rem; background: #fff }
"""


@dataclass(frozen=True, slots=True)
class Mail:
    """One received mail; ``name`` is its file's, which sorts by time of arrival."""

    name: str
    message: EmailMessage

    @property
    def text(self) -> str:
        """The body as plain text; an HTML-only mail as its source."""
        return self.plain or self.html or ""

    @property
    def plain(self) -> str | None:
        """The body as plain text, if it has one."""
        return self._body("plain")

    @property
    def html(self) -> str | None:
        """The body as HTML, if it has one."""
        return self._body("html")

    def _body(self, kind: Literal["plain", "html"]) -> str | None:
        body = self.message.get_body((kind,))
        return None if body is None else str(body.get_content()).replace("\r\n", "\n")

    def header(self, name: str) -> str:
        return str(self.message.get(name, ""))


class Mailbox:
    """A folder of ``.eml`` files, the oldest of which go once there are more than `_KEPT`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, envelope: Envelope) -> None:
        """Keep one mail whole or not at all, with the addresses of its envelope."""
        content = envelope.original_content or b""
        recipients = ", ".join(envelope.rcpt_tos)
        head = f"X-Envelope-From: {envelope.mail_from}\r\nX-Envelope-To: {recipients}\r\n".encode()
        path = self._folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.eml"
        temporary = path.with_suffix(".part")
        temporary.write_bytes(head + content)
        temporary.replace(path)
        for old in self._paths()[_KEPT:]:
            old.unlink(missing_ok=True)

    def mails(self) -> list[Mail]:
        """Newest first."""
        return [mail for path in self._paths() if (mail := self.get(path.name)) is not None]

    def get(self, name: str) -> Mail | None:
        """One mail by its file's name, None where there is none."""
        if not _NAME.fullmatch(name):
            return None
        try:
            content = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        return Mail(name, BytesParser(_class=EmailMessage, policy=policy.default).parsebytes(content))

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.eml"), reverse=True)


class _Delivery:
    """What aiosmtpd calls for each mail."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802, ARG002  # aiosmtpd's names
        self._mailbox.add(envelope)
        return "250 OK"


class _Page(BaseHTTPRequestHandler):
    """``/`` lists the mails, ``/<name>`` shows one. Read-only."""

    server_version = "mails"

    def __init__(self, mailbox: Mailbox, *args: object, **kwargs: object) -> None:
        self._mailbox = mailbox
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        # A page elsewhere could point a name of its own at 127.0.0.1 and read along.
        if self.headers.get("Host", "").rpartition(":")[0] not in ("127.0.0.1", "localhost"):
            self._reply(HTTPStatus.FORBIDDEN, "Refused", "<p>Open this page as 127.0.0.1.</p>")
        elif self.path == "/":
            self._reply(HTTPStatus.OK, "Mails", _list(self._mailbox.mails()))
        elif mail := self._mailbox.get(self.path.removeprefix("/")):
            self._reply(HTTPStatus.OK, mail.header("Subject") or "(no subject)", _detail(mail))
        else:
            self._reply(HTTPStatus.NOT_FOUND, "Not found", '<p><a href="/">All mails</a></p>')

    def log_message(self, *args: object) -> None:
        """Say nothing: the log is for errors."""

    def _reply(self, status: HTTPStatus, title: str, body: str) -> None:
        title = html.escape(title)
        page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>{body}</html>'
        content = page.encode(errors="replace")
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", _CONTENT_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)


def _list(mails: list[Mail]) -> str:
    if not mails:
        return "<p>No mail yet. This page shows what Airflow sends; reload it.</p>"
    rows = "".join(
        f'<tr><td><a href="/{mail.name}">{html.escape(mail.header("Subject") or "(no subject)")}</a></td>'
        f"<td>{html.escape(mail.header('X-Envelope-To'))}</td><td>{html.escape(mail.header('Date'))}</td></tr>"
        for mail in mails
    )
    return f"<table><tr><th>Subject</th><th>To</th><th>Date</th></tr>{rows}</table>"


def _detail(mail: Mail) -> str:
    names = ("From", "To", "Date", "X-Envelope-From", "X-Envelope-To")
    head = "".join(f"<tr><th>{name}</th><td>{html.escape(mail.header(name))}</td></tr>" for name in names)
    # In a frame of its own without any right: what a mail says cannot touch this page.
    frame = f'<iframe sandbox srcdoc="{html.escape(mail.html)}"></iframe>' if mail.html else ""
    text = f"<pre>{html.escape(mail.text)}</pre>" if mail.plain or not frame else ""
    return f'<p><a href="/">All mails</a></p><table>{head}</table>{frame}{text}'


@dataclass(frozen=True, slots=True)
class MailCatcher:
    """A running catcher."""

    smtp_port: int
    page_port: int
    mailbox: Mailbox

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.page_port}"


@contextmanager
def catching(folder: Path, *, smtp_port: int = 0, page_port: int = 0) -> Iterator[MailCatcher]:
    """Run a catcher on the loopback address for as long as the block runs; port 0 takes a free one."""
    mailbox = Mailbox(folder)
    smtp = Controller(_Delivery(mailbox), hostname="127.0.0.1", port=smtp_port or free_port())
    page = ThreadingHTTPServer(("127.0.0.1", page_port), partial(_Page, mailbox))
    serving = threading.Thread(target=page.serve_forever, name="mails", daemon=True)
    smtp.start()
    serving.start()
    try:
        yield MailCatcher(smtp.port, page.server_address[1], mailbox)
    finally:
        page.shutdown()
        page.server_close()
        serving.join()
        smtp.stop()


def main() -> None:
    """Catch mails until SIGTERM."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--page-port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    with catching(args.folder, smtp_port=args.smtp_port, page_port=args.page_port):
        threading.Event().wait()


if __name__ == "__main__":
    main()
