"""Who may see what. Deny by default; the one module that touches Airflow's own authentication.

`airflow.api_fastapi.core_api.security` and `get_auth_manager` are not declared public: every use is here, so that one file
answers for a change in Airflow. A plugin's app is mounted without authentication; each route must ask for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from sync_provider import hooks
from sync_provider.engine.settings import Settings

Level = Literal["administrateur", "superviseur"]
SAFE = ("GET", "HEAD", "OPTIONS")


class Denied(HTTPException):
    """Known, and not allowed; Airflow's own 401 and 403 mean not known."""


def level_of(user: Any, settings: Settings) -> Level | None:
    """The highest level that the user's Airflow roles give; None for every role that no option names.

    SimpleAuthManager gives one role, whatever its case; FAB gives several, by name.
    """
    role = getattr(user, "role", None)
    names = {str(role).upper()} if role else {str(one.name) for one in getattr(user, "roles", None) or ()}
    if names & set(settings.role_administrateur):
        return "administrateur"
    return "superviseur" if names & set(settings.role_superviseur) else None


def need(*levels: Level) -> Callable[..., Any]:
    """Dependency of a route: let these levels pass, from our own pages only where something would change."""

    def check(request: Request, user: Annotated[Any, Depends(get_user)]) -> Any:
        if level_of(user, hooks.airflow_settings()) not in levels:
            raise Denied(403, "droits insuffisants")
        bearer = request.headers.get("authorization", "").lower().startswith("bearer ")
        if request.method not in SAFE and not bearer and not same_origin(request):
            raise Denied(403, "origine refusée")
        return user

    check.levels = levels  # type: ignore[attr-defined]  # lets a test prove that no route goes without
    return check


def same_origin(request: Request) -> bool:
    """Whether the browser says that one of our own pages sent this. Airflow has no CSRF token."""
    if site := request.headers.get("sec-fetch-site"):
        return site == "same-origin"
    origin = request.headers.get("origin")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host")


def guard(app: FastAPI) -> None:
    """Send people who are not logged in to Airflow's login, and tell programs so."""

    @app.exception_handler(StarletteHTTPException)
    async def answer(request: Request, error: StarletteHTTPException) -> Response:
        unknown = error.status_code in (401, 403) and not isinstance(error, Denied)
        if unknown and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(get_auth_manager().get_url_login(next_url=here), 303)
        headers = {"WWW-Authenticate": "Bearer"} if unknown else None
        return JSONResponse({"detail": error.detail}, 401 if unknown else error.status_code, headers=headers)
