"""Airflow's public REST API, as far as starting, watching and testing need it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

_TIMEOUT_S = 20
# A proxy of the environment has no business with the loopback address.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ApiError(Exception):
    """Airflow answered with an error, or not at all.

    Args:
        status: HTTP status; 0 where nothing answered.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """One user's session.

    Args:
        url: Airflow's address without a final slash.
        token: from `Api.login`; None for the few public routes.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self._token = token

    @classmethod
    def login(cls, url: str, user: str, password: str) -> Api:
        """Log in through ``POST /auth/token``.

        Raises:
            ApiError: refused, or unreachable.
        """
        answer = cls(url).request("POST", "/auth/token", {"username": user, "password": password})
        return cls(url, answer["access_token"])

    def request(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Send one request and return the decoded JSON, None where there is none.

        Args:
            method: HTTP method.
            path: from the root, such as ``/api/v2/dags``.
            body: sent as JSON; None sends none.
            query: values are text, numbers or lists of them.

        Raises:
            ApiError: a status of 400 or more, or no answer.
        """
        url = self.url + path
        if query:
            url += "?" + urllib.parse.urlencode(query, doseq=True)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_S) as reply:
                content = reply.read()
        except urllib.error.HTTPError as exc:
            detail = exc.read(2000).decode(errors="replace")
            raise ApiError(f"{method} {path}: {exc.code} {detail}", exc.code) from exc
        except OSError as exc:
            raise ApiError(f"{method} {path}: {exc}", 0) from exc
        return json.loads(content) if content else None

    def healthy(self) -> bool:
        """Whether the API server answers and all other parts send heartbeats."""
        try:
            parts = self.request("GET", "/api/v2/monitor/health")
        except ApiError:
            return False
        names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((parts.get(name) or {}).get("status") == "healthy" for name in names)

    def serves_tasks(self) -> bool:
        """Whether the execution API answers. Its first request builds it, which would otherwise hold up the first run."""
        try:
            self.request("GET", "/execution/health")
        except ApiError:
            return False
        return True

    def dags(self, *tags: str) -> list[dict[str, Any]]:
        """The DAGs that carry one of the tags; all of them without a tag."""
        return list(self._pages("/api/v2/dags", "dags", tags=list(tags), tags_match_mode="any"))

    def import_errors(self) -> list[dict[str, Any]]:
        return list(self._pages("/api/v2/importErrors", "import_errors"))

    def unpause(self, dag_id: str) -> None:
        self.request("PATCH", f"/api/v2/dags/{_quote(dag_id)}", {"is_paused": False})

    def pause(self, dag_id: str) -> None:
        self.request("PATCH", f"/api/v2/dags/{_quote(dag_id)}", {"is_paused": True})

    def trigger(self, dag_id: str, params: dict[str, Any] | None = None) -> str:
        """Start a run now; returns its run id."""
        body = {"logical_date": None, "conf": params or {}}
        return str(self.request("POST", f"/api/v2/dags/{_quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self.request("GET", _run_path(dag_id, run_id))
        return run

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """A DAG's runs, oldest first."""
        return list(self._pages(f"/api/v2/dags/{_quote(dag_id)}/dagRuns", "dag_runs", order_by="start_date"))

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return list(self._pages(_run_path(dag_id, run_id) + "/taskInstances", "task_instances"))

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """A task's returned value, None where it returned none."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quote(task_id)}/xcomEntries/return_value"
        try:
            return self.request("GET", path, deserialize="true")["value"]
        except ApiError as exc:
            if exc.status == 404:
                return None
            raise

    def question(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any] | None:
        """What a task asks in Airflow's Required Actions; None while it asks nothing."""
        task = f"{_run_path(dag_id, run_id)}/taskInstances/{_quote(task_id)}"
        if self.request("GET", task)["state"] != "awaiting_input":
            return None
        asked: dict[str, Any] = self.request("GET", f"{task}/-1/hitlDetails")
        return None if asked["response_received"] else asked

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer that question."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quote(task_id)}/-1/hitlDetails"
        self.request("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def log_lines(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> list[str]:
        """A task's log, one text per event, with the error's own text where there is one."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{_quote(task_id)}/logs/{attempt}"
        events = self.request("GET", path, full_content="true")["content"]
        return [line for event in events for line in _event_lines(event)]

    def _pages(self, path: str, key: str, **query: Any) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self.request("GET", path, limit=100, offset=offset, **query)
            yield from page[key]
            offset += len(page[key])
            if not page[key] or offset >= page["total_entries"]:
                return


def _event_lines(event: Any) -> Iterator[str]:
    if not isinstance(event, dict):
        yield str(event)
        return
    yield str(event.get("event", ""))
    for error in event.get("error_detail") or []:
        yield f"{error.get('exc_type')}: {error.get('exc_value')}"


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{_quote(dag_id)}/dagRuns/{_quote(run_id)}"


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")
