"""From a request to its answer: finds the method, lets the caller in, counts, injects, masks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import sync_provider.sandbox.batch
import sync_provider.sandbox.drive
import sync_provider.sandbox.values  # noqa: F401 - each enters its methods into the tables
from sync_provider.sandbox.calls import BOOK_WRITES, WORLD_WRITES, Media
from sync_provider.sandbox.discovery import Api, Method, load_api
from sync_provider.sandbox.errors import ApiError, forbidden, invalid
from sync_provider.sandbox.faults import Fault, Faults, RequestLog
from sync_provider.sandbox.masks import apply_mask, check_mask, parse_mask
from sync_provider.sandbox.model import Json
from sync_provider.sandbox.oauth import Accounts, TokenError
from sync_provider.sandbox.push import Pusher
from sync_provider.sandbox.quotas import Limits, Quotas, is_read
from sync_provider.sandbox.state import Store

TOKEN_PATHS = {"/token", "/oauth2/v4/token", "/o/oauth2/token"}
_FORM = "application/x-www-form-urlencoded"


@dataclass
class Request:
    """What came over the wire; `path` is still percent-encoded."""

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """What goes back; with `cut` nothing does and the connection is closed."""

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=UTF-8"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


def json_reply(status: int, data: Any, *, compact: bool = False) -> Reply:
    """JSON, of errors as Google prints it."""
    indent, separators = (2, None) if status >= 400 else (None, (",", ":") if compact else None)
    return Reply(status, json.dumps(data, ensure_ascii=False, indent=indent, separators=separators).encode())


class Service:
    """All of the sandbox but its socket.

    Args:
        directory: where the state is.
        base_url: how clients reach it, without a slash at the end.
        clock: the time, aware; tests may give their own.
    """

    def __init__(self, directory: Path, base_url: str, clock: Callable[[], datetime] | None = None) -> None:
        self.base_url = base_url
        self.clock = clock or (lambda: datetime.now(UTC))
        self.store = Store(directory / "sandbox.sqlite", self.clock)
        self.accounts = Accounts(self.store)
        self.limits = Limits(**self.store.fact("limits", lambda: asdict(Limits())))
        self.quotas = Quotas(self.clock, self.limits)
        self.disabled: set[str] = set()
        self.faults = Faults()
        self.log = RequestLog()
        self.pusher = Pusher()
        self.apis = (load_api("sheets"), load_api("drive"))

    def close(self) -> None:
        self.pusher.close()
        self.store.close()

    def handle(self, request: Request) -> Reply:
        """Answer one request of a client, and log it."""
        started = time.perf_counter()
        query = parse_qs(request.query, keep_blank_values=True)
        verb = request.headers.get("x-http-method-override", request.verb).upper()
        if verb != request.verb and request.headers.get("content-type", "").startswith(_FORM):
            query |= parse_qs(request.body.decode(), keep_blank_values=True)
        found = self._find(verb, request.path)
        name = "oauth.token" if request.path in TOKEN_PATHS else (found[1].name if found else "")
        entry: dict[str, Any] = {"method": name, "kind": None, "user": None, "fault": None}
        if name == "oauth.token":
            reply = self._faulty(name, request, None, entry, lambda: self._token(request))
        elif found is None:
            reply = json_reply(404, ApiError(404, "Not Found", reason="notFound").body("sheets"))
        else:
            reply = self._api(*found, query, request, entry)
        entry |= {
            "at": self.clock().isoformat(),
            "verb": verb,
            "path": unquote(request.path),
            "query": request.query,
            "status": 0 if reply.cut else reply.status,
            "request_bytes": len(request.body),
            "response_bytes": 0 if reply.cut else len(reply.body),
            "duration_ms": round((time.perf_counter() - started) * 1000, 2),
        }
        self.log.add(entry)
        return reply

    def _find(self, verb: str, path: str) -> tuple[Api, Method, Json] | None:
        # google-api-python-client puts a method's own path right behind a given endpoint, without Drive's /drive/v3.
        for prefix in ("", "/drive/v3"):
            for api in self.apis:
                if found := api.find(verb, prefix + path):
                    return api, *found
        return None

    def _token(self, request: Request) -> Reply:
        form = {name: texts[-1] for name, texts in parse_qs(request.body.decode("utf-8", "replace")).items()}
        try:
            return json_reply(200, self.accounts.grant(form, self.base_url))
        except TokenError as error:
            return json_reply(error.status, error.body)

    def _faulty(
        self, name: str, request: Request, user: str | None, entry: dict[str, Any], answer: Callable[[], Reply]
    ) -> Reply:
        """The answer, or what a waiting fault makes of it."""
        fault = self.faults.take(name, unquote(request.path), user)
        if fault is None:
            return answer()
        entry["fault"] = asdict(fault)
        if fault.delay_s:
            time.sleep(fault.delay_s)
        if fault.cut == "before":
            return Reply(0, cut=True)
        if fault.body is not None:
            headers = {key: value for key, value in fault.headers.items() if key.lower() != "content-type"}
            kind = fault.headers.get("Content-Type", "text/html; charset=utf-8")
            return Reply(fault.status or 200, fault.body.encode(), kind, headers)
        if fault.status:
            return _refusal(name, fault)
        reply = answer()
        return Reply(0, cut=True) if fault.cut == "after" else reply

    def _api(
        self, api: Api, method: Method, path: Json, query: dict[str, list[str]], request: Request, entry: dict[str, Any]
    ) -> Reply:
        try:
            caller = self.accounts.caller(request.headers.get("authorization"))
            entry["user"] = caller.email
            if api.service == "sheets":
                read = is_read(method.name, method.verb)
                entry["kind"] = "read" if read else "write"
                if self._disabled(caller.project):
                    raise _switched_off(caller.project)
                self.quotas.spend("Read" if read else "Write", caller.email, caller.project)
            elif self._disabled(caller.project, "drive"):
                raise _switched_off(caller.project, "Google Drive API", "drive.googleapis.com")
            if not caller.scopes & method.scopes:
                raise _too_narrow(api.service)
            return self._faulty(
                method.name,
                request,
                caller.email,
                entry,
                lambda: self._answer(api, method, path, query, request, caller.email),
            )
        except ApiError as error:
            if error.code == 401 and api.service == "drive":
                error.message = "Invalid Credentials"
            return json_reply(error.code, error.body(api.service))

    def _disabled(self, project: str, service: str = "sheets") -> bool:
        return f"{project}/{service}" in self.disabled

    def _answer(
        self, api: Api, method: Method, path: Json, query: dict[str, list[str]], request: Request, user: str
    ) -> Reply:
        try:
            params = {**api.query(method, query), **path}
            for name in ("sheetId", "metadataId"):
                if name in path:
                    params[name] = int(path[name]) if path[name].lstrip("-").isdigit() else path[name]
            mask = parse_mask(params["fields"]) if params.get("fields") else None
            if mask and "response" in method.spec:
                check_mask(api, method.spec["response"], mask)
            body = api.check_body(method, _json_body(request, method))
            answer = self.store.answer(method.name, user, params, body, self.base_url)
        except ApiError as error:
            return json_reply(error.code, error.body(api.service))
        if method.name in BOOK_WRITES or method.name in WORLD_WRITES:
            self.announce(method.name, params, body)
        if answer is None:
            return Reply(204, content_type="text/html")
        if isinstance(answer, Media):
            return Reply(200, answer.content, answer.content_type, {"Content-Disposition": "attachment"})
        compact = query.get("prettyPrint", [""])[-1] == "false"
        return json_reply(200, apply_mask(mask, answer) if mask else answer, compact=compact)

    def announce(self, name: str, params: Json, body: Json) -> None:
        """Tell the channels that watch what a call changed."""
        with self.store.lock:
            channels = self.store.world.channels
            if name.endswith(".watch"):
                self.pusher.notify(channels[body["id"]], "sync")
                return
            if name == "drive.channels.stop":
                return
            file_id = params.get("spreadsheetId") or params.get("fileId")
            state, changed = "update", "content" if name.startswith("sheets.") else "properties"
            if name == "drive.files.delete":
                state, changed = "remove", ""
            elif name.startswith("drive.permissions"):
                changed = "permissions"
            now_ms = self.clock().timestamp() * 1000
            for channel in channels.values():
                if not channel["open"] or int(channel["expiration"]) < now_ms:
                    continue
                if channel["watched"] == "*":
                    self.pusher.notify(channel, "change")
                elif channel["watched"] == file_id:
                    self.pusher.notify(channel, state, changed)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _json_body(request: Request, method: Method) -> Any:
    if "request" not in method.spec or not request.body.strip():
        return {}
    try:
        return json.loads(request.body, parse_constant=_no_number)
    except ValueError as exc:
        raise invalid(f"Invalid JSON payload received. {exc}") from exc


def _refusal(name: str, fault: Fault) -> Reply:
    status = fault.status or 500
    texts = {
        429: "Resource has been exhausted (e.g. check quota).",
        500: "Internal error encountered.",
        503: "The service is currently unavailable.",
    }
    error = ApiError(status, fault.message or texts.get(status, "Injected fault."), reason="backendError")
    reply = json_reply(status, error.body("drive" if name.startswith("drive.") else "sheets"))
    if name == "oauth.token":
        reply = json_reply(status, {"error": "internal_failure", "error_description": error.message})
    reply.headers.update(fault.headers)
    return reply


def _too_narrow(service: str) -> ApiError:
    return forbidden(
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "Request had insufficient authentication scopes.",
        service=f"{service}.googleapis.com",
    )


def _switched_off(project: str, title: str = "Google Sheets API", service: str = "sheets.googleapis.com") -> ApiError:
    link = f"https://console.developers.google.com/apis/api/{service}/overview?project={project}"
    return forbidden(
        "SERVICE_DISABLED",
        f"{title} has not been used in project {project} before or it is disabled. Enable it by visiting {link} then "
        "retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and "
        "retry.",
        service=service,
        consumer=f"projects/{project}",
    )
