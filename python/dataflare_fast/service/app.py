"""The application: the API, `/metrics`, the console's files; errors as problems; who may ask.

Only programs of this machine reach the address, but pages of any site run in its browsers: a request that a
foreign page makes, or that comes for another host's name, is refused. Not here: the routes (`api.py`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as StarletteRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dataflare_fast.errors import (
    CallError,
    ClosedError,
    ConflictError,
    DataError,
    DataflareError,
    UnavailableError,
)
from dataflare_fast.monitoring.collector import exposed, registry_of
from dataflare_fast.monitoring.server import is_loopback
from dataflare_fast.service.api import ROUTES
from dataflare_fast.service.openapi import openapi_document
from dataflare_fast.service.supervisor import NoSuchJob, Supervisor

__all__ = ["make_app"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def make_app(supervisor: Supervisor) -> Starlette:
    """The application of a service."""

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        await supervisor.begin()
        try:
            yield
        finally:
            await supervisor.end()

    routes: list[BaseRoute] = [
        StarletteRoute(f"/api/v1{one.path}", one.handler, methods=[one.method], name=one.name)
        for one in ROUTES
    ]
    routes += [
        StarletteRoute("/api/v1/openapi.json", _openapi),
        StarletteRoute("/metrics", _metrics(supervisor)),
        StarletteRoute("/healthz", _health),
        StarletteRoute("/console/{path:path}", _console),
        StarletteRoute("/", _home),
    ]
    app = Starlette(
        routes=routes,
        lifespan=life,
        middleware=[Middleware(_OnlyFromHere)],
        exception_handlers={DataflareError: _problem_of, HTTPException: _problem_of_http},
    )
    app.state.supervisor = supervisor
    return app


async def _openapi(_request: Request) -> Response:
    return JSONResponse(openapi_document())


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _metrics(supervisor: Supervisor) -> Callable[[Request], Awaitable[Response]]:
    registry = registry_of(lambda: [one.snapshot for one in supervisor.jobs() if one.snapshot is not None])

    async def metrics(request: Request) -> Response:
        body, content_type = exposed(registry, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    return metrics


async def _home(_request: Request) -> Response:
    return RedirectResponse("/console/")


async def _console(request: Request) -> Response:
    name = request.path_params["path"] or "index.html"
    asset = files("dataflare_fast.console") / "assets" / name
    # The names are those of files in one folder: nothing that leads out of it is one.
    if "/" in name or "\\" in name or name.startswith(".") or not asset.is_file():
        raise HTTPException(404, f"no page '{name}'")
    ending = f".{name.rpartition('.')[2]}"
    return Response(
        asset.read_bytes(),
        headers={
            "Content-Type": _TYPES.get(ending, "text/plain; charset=utf-8"),
            "Cache-Control": "no-cache",
        },
    )


async def _problem_of(_request: Request, error: Exception) -> Response:
    match error:
        case NoSuchJob():
            return _problem(404, "no such job", str(error))
        case ConflictError() | ClosedError():
            return _problem(409, "not in this state", str(error))
        case UnavailableError():
            return _problem(503, "it does not answer", str(error))
        case CallError():
            return _problem(400, "a wrong call", str(error))
        case DataError():
            return _problem(422, "damaged data", str(error))
        case _:
            return _problem(500, "a bug", str(error))


async def _problem_of_http(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    return _problem(status, {404: "not there", 405: "another method"}.get(status, "refused"), detail)


def _problem(status: int, title: str, detail: str) -> Response:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(body), status, media_type="application/problem+json")


class _OnlyFromHere:
    """Refuses what foreign pages ask for, and puts the headers on everything.

    A page of another site may send requests here, and a name of its own may lead here; neither has our host
    and origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reason = _foreign(Request(scope))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        if reason is None:
            await self._app(scope, receive, with_headers)
        else:
            await _problem(403, "not from here", reason)(scope, receive, with_headers)


def _foreign(request: Request) -> str | None:
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if not is_loopback(host):
        return f"expected a host of the loopback interface, got '{host}'"
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return f"expected no page of another site, got one of {origin}"
    if request.method in ("POST", "PUT", "DELETE") and int(request.headers.get("content-length") or 0) > 0:
        kind = request.headers.get("content-type", "").split(";")[0].strip()
        if kind != "application/json":
            return f"expected a body of application/json, got '{kind}'"
    return None
