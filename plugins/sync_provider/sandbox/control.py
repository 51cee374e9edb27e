"""The control surface under `/__sandbox__/`, the page, and the API behind them. Loopback only, so without a login."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sync_provider.sandbox.a1 import format_area
from sync_provider.sandbox.errors import ApiError, invalid
from sync_provider.sandbox.faults import Fault
from sync_provider.sandbox.model import Area, Json
from sync_provider.sandbox.quotas import Limits
from sync_provider.sandbox.render import Renderer
from sync_provider.sandbox.service import Reply, Request, Service, json_reply
from sync_provider.sandbox.spreadsheets import sheet_properties
from sync_provider.sandbox.state import PERSON

_ROOT = "/__sandbox__"
_SHEETS_SCOPES = ["https://www.googleapis.com/auth/spreadsheets", "https://www.googleapis.com/auth/drive"]
_PAGE_ROWS, _PAGE_COLUMNS = 100, 26


class Control:
    """Routes a request to the control surface, the page, the discovery documents or the API."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._routes: dict[tuple[str, str], Callable[[Json], Any]] = {
            ("GET", "requests"): lambda _: service.log.report(),
            ("DELETE", "requests"): lambda _: service.log.clear(),
            ("GET", "faults"): lambda _: [asdict(fault) for fault in service.faults.waiting()],
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): lambda _: service.faults.clear(),
            ("GET", "quotas"): lambda _: asdict(service.limits),
            ("PUT", "quotas"): self._set_quotas,
            ("POST", "accounts"): self._account,
            ("PUT", "accounts"): self._switch_account,
            ("PUT", "apis"): self._switch_api,
            ("POST", "people"): self._person,
            ("GET", "spreadsheets"): self._spreadsheets,
            ("POST", "spreadsheets"): self._create,
            ("POST", "share"): self._share,
            ("GET", "cells"): self._cells,
            ("POST", "cells"): self._edit,
            ("POST", "reset"): self._reset,
        }

    def handle(self, request: Request) -> Reply:
        """Answer any request."""
        if request.path in {"/", _ROOT}:
            return Reply(302, headers={"Location": f"{_ROOT}/"})
        if request.path == f"{_ROOT}/" or request.path.startswith("/spreadsheets/d/"):
            page = files("sync_provider.sandbox").joinpath("page.html").read_bytes()
            policy = "default-src 'self'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"
            return Reply(200, page, "text/html; charset=utf-8", {"Content-Security-Policy": policy})
        if request.path.startswith(f"{_ROOT}/"):
            return self._control(request)
        if "/discovery/v1/apis/" in request.path or request.path == "/$discovery/rest":
            return self._discovery(request)
        return self.service.handle(request)

    def _control(self, request: Request) -> Reply:
        if not self._own(request):
            return json_reply(403, {"error": "only pages of the sandbox itself may use its control surface"})
        route = self._routes.get((request.verb, request.path.removeprefix(f"{_ROOT}/")))
        if route is None:
            return json_reply(404, {"error": f"no such thing: {request.verb} {request.path}"})
        try:
            data: Json = {name: texts[-1] for name, texts in parse_qs(request.query).items()}
            data |= json.loads(request.body) if request.body.strip() else {}
            return json_reply(200, route(data) or {})
        except ApiError as error:
            return json_reply(error.code, error.body("sheets"))
        except (KeyError, TypeError, ValueError) as error:
            return json_reply(400, {"error": f"{type(error).__name__}: {error}"})

    def _own(self, request: Request) -> bool:
        """Whether no other site's page sends this: neither its Origin nor a name that was made to point here."""
        own = urlsplit(self.service.base_url)
        host = urlsplit(f"//{request.headers.get('host', own.netloc)}").hostname
        origin = request.headers.get("origin")
        return host in {own.hostname, "localhost"} and (
            origin is None or urlsplit(origin).netloc == request.headers.get("host")
        )

    def _discovery(self, request: Request) -> Reply:
        wanted = "drive" if "drive" in request.path or "drive" in request.query else "sheets"
        api = next(api for api in self.service.apis if api.service == wanted)
        base = f"{self.service.base_url}/"
        return json_reply(200, {**api.document, "rootUrl": base, "baseUrl": base + api.document["servicePath"]})

    def _add_fault(self, data: Json) -> None:
        unknown = set(data) - {item.name for item in fields(Fault)}
        if unknown:
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}")
        if data.get("cut") not in {None, "before", "after"}:
            raise ValueError("cut is before or after")
        self.service.faults.add(Fault(**data))

    def _set_quotas(self, data: Json) -> Json:
        for name in data:
            if name not in {item.name for item in fields(Limits)}:
                raise ValueError(f"no quota is called {name}")
        for name, limit in data.items():
            setattr(self.service.limits, name, int(limit))
        self.service.store.keep("limits", asdict(self.service.limits))
        self.service.quotas.refill()
        return asdict(self.service.limits)

    def _account(self, data: Json) -> Json:
        extra = {"project": data["project"]} if "project" in data else {}
        return dict(self.service.accounts.service_account(data["email"], self.service.base_url, **extra))

    def _switch_account(self, data: Json) -> None:
        self.service.accounts.disable(data["email"], disabled=bool(data["disabled"]))

    def _switch_api(self, data: Json) -> None:
        name = f"{data['project']}/{data.get('service', 'sheets')}"
        if data["enabled"]:
            self.service.disabled.discard(name)
        else:
            self.service.disabled.add(name)

    def _person(self, data: Json) -> Json:
        scopes = data.get("scopes", _SHEETS_SCOPES)
        return dict(self.service.accounts.person(data["email"], self.service.base_url, scopes))

    def _reset(self, _: Json) -> None:
        self.service.store.reset()
        self.service.faults.clear()
        self.service.log.clear()
        self.service.quotas.refill()
        self.service.disabled.clear()

    def _as_person(self, method: str, params: Json, body: Json) -> Json:
        answer = self.service.store.answer(method, PERSON, params, body, self.service.base_url)
        self.service.announce(method, params, body)
        return answer if isinstance(answer, dict) else {}

    def _spreadsheets(self, _: Json) -> list[Json]:
        with self.service.store.lock:
            return [
                {
                    "id": file_id,
                    "title": file.book.properties["title"],
                    "version": file.version,
                    "modifiedTime": file.resource["modifiedTime"],
                    "shared_with": {
                        item["emailAddress"]: item["role"] for item in file.permissions if "emailAddress" in item
                    },
                    "sheets": [sheet_properties(file.book, sheet) for sheet in file.book.sheets],
                }
                for file_id, file in self.service.store.world.files.items()
                if file.book is not None
            ]

    def _create(self, data: Json) -> Json:
        """A spreadsheet of a person's: `title`, `locale`, `timeZone`, `id`, `share`, `sheets` {title: rows}."""
        sheets = data.get("sheets") or {"Sheet1": []}
        properties = {name: data[name] for name in ("title", "locale", "timeZone") if name in data}
        body: Json = {"properties": properties, "sheets": []}
        if "id" in data:
            body["spreadsheetId"] = data["id"]
        for number, (title, rows) in enumerate(sheets.items()):
            size = {"rowCount": max(1000, len(rows)), "columnCount": max(26, *map(len, rows), 1)}
            body["sheets"].append({"properties": {"sheetId": number, "title": title, "gridProperties": size}})
        created = self._as_person("sheets.spreadsheets.create", {}, body)
        spreadsheet_id = created["spreadsheetId"]
        for title, rows in sheets.items():
            self._write(spreadsheet_id, title, "A1", rows, data.get("valueInputOption", "RAW"))
        for email, role in data.get("share", {}).items():
            self._share({"id": spreadsheet_id, "email": email, "role": role})
        return {"id": spreadsheet_id, "url": created["spreadsheetUrl"]}

    def _write(self, spreadsheet_id: str, title: str, cell: str, rows: list[list[Any]], option: str) -> Json:
        quoted = "'" + title.replace("'", "''") + "'"
        params = {"spreadsheetId": spreadsheet_id, "range": f"{quoted}!{cell}", "valueInputOption": option}
        return self._as_person("sheets.spreadsheets.values.update", params, {"values": rows}) if rows else {}

    def _share(self, data: Json) -> Json:
        body = {"emailAddress": data["email"], "role": data.get("role", "writer")}
        return self._as_person("sandbox.share", {"fileId": data["id"]}, body)

    def _cells(self, data: Json) -> Json:
        """A window of a sheet as a person sees it: texts, and what is typed where it differs."""
        with self.service.store.lock:
            file = self.service.store.world.files.get(data["id"])
            if file is None or file.book is None:
                raise ApiError(404, "no such spreadsheet")
            book = file.book
            sheet = book.titled(unquote(data["sheet"])) if "sheet" in data else book.sheets[0]
            if sheet is None:
                raise invalid(f"no sheet is called {data['sheet']}")
            top = min(int(data.get("top", 0)), sheet.row_count - 1)
            right = min(_PAGE_COLUMNS, sheet.column_count)
            area = Area(sheet.sheet_id, top, min(top + _PAGE_ROWS, sheet.row_count), 0, right)
            now = self.service.clock()
            shown, typed = Renderer(book, now), Renderer(book, now, "FORMULA")
            return {
                "version": file.version,
                "title": book.properties["title"],
                "sheet": sheet.title,
                "sheets": [item.title for item in book.sheets],
                "range": format_area(sheet, area),
                "top": area.top,
                "rows": area.rows,
                "columns": area.columns,
                "values": shown.values(sheet, area),
                "formulas": typed.values(sheet, area),
            }

    def _edit(self, data: Json) -> Json:
        """Type into cells as a person: `id`, `sheet`, `cell`, and `value` or `values` (rows)."""
        rows = data["values"] if "values" in data else [[data["value"]]]
        return self._write(data["id"], data["sheet"], data["cell"], rows, data.get("valueInputOption", "USER_ENTERED"))
