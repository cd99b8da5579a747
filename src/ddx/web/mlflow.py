"""`/mlflow/`: MLflow's pages, for admins, so that MLflow itself need not be exposed.

They show the runs of all tenants. MLflow sees its own login, and nothing of the caller's.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from ddx.core.access import Act
from ddx.web.door import caller_of
from ddx.web.state import Server
from ddx.wiring.mlflow_login import proxy

if TYPE_CHECKING:
    from ddx.adapters.reverse_proxy import ReverseProxy

ROOM = "/mlflow"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_FILES = ("/get-artifact", "/ajax-api/2.0/mlflow/get-artifact", "/ajax-api/2.0/mlflow-artifacts")
_PROGRAM = "/static-files/"
_HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'"}
"""For files of runs: one that is a page with a script must not act as the admin who opens it."""


def router(server: Server) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False)
    other = _Other(server)

    @routes.get(ROOM)
    async def bare() -> Response:
        """Lead to where MLflow's relative addresses are right."""
        return RedirectResponse(f"{ROOM}/", status_code=308)

    @routes.api_route(ROOM + "/{path:path}", methods=_METHODS)
    async def passed(request: Request) -> Response:
        """Pass a request on."""
        raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
        path = raw.partition(b"?")[0].decode("ascii", "replace").removeprefix(ROOM)
        if not path.startswith(_PROGRAM):
            await server.note(caller_of(request), Act.MLFLOW, about=path[:200])
        answer = await other.proxy.passed(
            request.method,
            path,
            request.scope["query_string"],
            {name.lower(): value for name, value in request.headers.items()},
            request.stream(),
        )
        found = StreamingResponse(answer.body, status_code=answer.status)
        found.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers
        ]
        found.headers["Cache-Control"] = answer_cache(path, found.headers.get("cache-control"))
        if path.startswith(_FILES):
            found.headers.update(_HARMLESS)
        return found

    return routes


def answer_cache(path: str, said: str | None) -> str:
    """Return how long a browser may keep an answer: files of MLflow's page as MLflow says."""
    return said or "no-store" if path.startswith(_PROGRAM) else "no-store"


class _Other:
    """MLflow, as the settings name it, from the first request on."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @cached_property
    def proxy(self) -> ReverseProxy:
        return proxy(self._server.settings)
