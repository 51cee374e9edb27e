"""The socket: HTTP/1.1 on loopback, one thread a connection."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from sync_provider.sandbox.control import Control
from sync_provider.sandbox.errors import ApiError
from sync_provider.sandbox.oauth import DEFAULT_ACCOUNT
from sync_provider.sandbox.service import Reply, Request, Service, json_reply

_GZIP_FROM_BYTES = 1024
KEY_FILE = "service-account.json"
_log = logging.getLogger(__name__)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128
    control: Control

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no event; anything else is in the reply of the request."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "sandbox"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Requests are in the log under /__sandbox__/requests."""

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdigit():
            self._send(Reply(411))
            self.close_connection = True
            return
        body = self.rfile.read(int(length))
        try:
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            reply = self.server.control.handle(Request(self.command, path, query, headers, body))
        except Exception:  # noqa: BLE001 - a client must get an answer, and the traceback belongs on our side
            _log.exception("The sandbox failed on %s %s", self.command, path)
            reply = json_reply(500, ApiError(500, "Internal error encountered.").body("sheets"))
        if reply.cut:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if len(reply.body) > _GZIP_FROM_BYTES and "gzip" in headers.get("accept-encoding", ""):
            reply.body = gzip.compress(reply.body, 1)
            reply.headers["Content-Encoding"] = "gzip"
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Vary", "Origin, X-Origin, Referer")
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815 - the base's names


class Sandbox:
    """A running sandbox; a context manager. Its state is in `directory` and outlives it.

    Args:
        directory: where the state and the key file are; made if missing.
        port: to listen on; 0 for a free one.
        host: address to listen on; the control surface has no login, so leave it on loopback.
        clock: gives the time, aware; tests may move it.
    """

    def __init__(
        self, directory: Path, port: int = 0, *, host: str = "127.0.0.1", clock: Callable[[], datetime] | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._server = _Server((host, port), _Handler)
        self.base_url = f"http://{host}:{self._server.server_address[1]}"
        self.service = Service(directory, self.base_url, clock)
        self._server.control = Control(self.service)
        self.service_account_file = directory / KEY_FILE
        key = self.service.accounts.service_account(DEFAULT_ACCOUNT, self.base_url)
        # The key opens the sandbox only, but the habit of closing key files is a good one to show.
        self.service_account_file.touch(0o600)
        self.service_account_file.write_text(json.dumps(key, indent=2) + "\n", "utf-8")
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True)
        self._thread.start()
        return self

    def serve(self) -> None:
        """Serve until interrupted."""
        self._server.serve_forever(0.2)

    def stop(self) -> None:
        """Stop serving and close the state."""
        if self._thread:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self.service.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
