"""Real calls to the addresses that watch a file, in a thread of their own."""

from __future__ import annotations

import contextlib
import http.client
import queue
import threading
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import urlsplit

from sync_provider.sandbox.model import Json

_TIMEOUT_S = 5
_ATTEMPTS = 3


class Pusher:
    """Sends notifications, in order, until closed. A call that gets no 2xx is tried thrice."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[str, dict[str, str]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="sandbox-push", daemon=True)
        self._thread.start()

    def notify(self, channel: Json, state: str, changed: str = "") -> None:
        """Tell a channel that its resource is in a state: ``sync``, ``update``, ``change``, ``remove``."""
        channel["messages"] += 1
        expires = datetime.fromtimestamp(int(channel["expiration"]) / 1000, UTC)
        headers = {
            "X-Goog-Channel-ID": channel["id"],
            "X-Goog-Channel-Expiration": format_datetime(expires, usegmt=True),
            "X-Goog-Resource-ID": channel["resourceId"],
            "X-Goog-Resource-URI": channel["resourceUri"],
            "X-Goog-Resource-State": state,
            "X-Goog-Message-Number": str(channel["messages"]),
        }
        if "token" in channel:
            headers["X-Goog-Channel-Token"] = channel["token"]
        if changed:
            headers["X-Goog-Changed"] = changed
        self._waiting.put((channel["address"], headers))

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join(_TIMEOUT_S)

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            for _ in range(_ATTEMPTS):
                if _call(*item):
                    break


def _call(address: str, headers: dict[str, str]) -> bool:
    parts = urlsplit(address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = kind(parts.netloc, timeout=_TIMEOUT_S)
        with contextlib.closing(connection):
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", path, b"", {**headers, "Content-Length": "0"})
            return 200 <= connection.getresponse().status < 300
    return False
