"""The application behind `/synchronisation/`: routes and their levels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRouter

from sync_provider.core.errors import SyncError
from sync_provider.web import pages
from sync_provider.web.access import guard, need
from sync_provider.web.plugin import PREFIX

PageNumber = Annotated[int, Query(ge=1, le=100_000)]
_STYLE = Path(__file__).with_name("static") / "sync.css"
# Nothing from elsewhere, no script, not inside another site's frame. The report carries its style in itself.
_POLICY = (
    "default-src 'none'; style-src {style}; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def build_app() -> FastAPI:
    """The application; no route without a level, and none that documents the others."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    guard(app)
    app.include_router(_router())
    return app


def _router() -> APIRouter:
    router = APIRouter(dependencies=[Depends(need("administrateur", "superviseur"))])

    @router.get("/")
    def home(page: PageNumber = 1) -> Response:
        return _page(lambda: pages.home(page))

    @router.get("/plan/{run_id}/")
    def plan(run_id: str) -> Response:
        return _page(lambda: pages.plan(run_id))

    @router.get("/rejets/{run_id}/")
    def rejections(run_id: str, page: PageNumber = 1) -> Response:
        return _page(lambda: pages.rejections(run_id, page))

    @router.get("/rapport/{run_id}/")
    def report(run_id: str) -> Response:
        return _page(lambda: pages.report(run_id), style="'unsafe-inline'")

    @router.get("/sync.css")
    def style() -> Response:
        return Response(_STYLE.read_bytes(), media_type="text/css", headers=_HEADERS)

    return router


def _page(render: Callable[[], str], style: str = "'self'") -> Response:
    try:
        body = render()
    except SyncError as error:
        status = 404 if error.code in pages.NOT_FOUND else 503
        raise HTTPException(status, str(error)) from None
    return HTMLResponse(body, headers={**_HEADERS, "Content-Security-Policy": _POLICY.format(style=style)})


class Slash:
    """`/synchronisation` does not reach the mounted application, whose path ends in a slash: send it there."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        here = scope.get("root_path", "").rstrip("/") + PREFIX
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] == here:
            await RedirectResponse(f"{here}/", 308)(scope, receive, send)
            return
        await self.app(scope, receive, send)
