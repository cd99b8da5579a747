"""`/mlflow/`: MLflow's pages, so that MLflow itself need not be exposed.

They show the runs of all tenants: so they are for admins, and for those who may read only where
there is one tenant, and where MLflow itself keeps them from changing anything. MLflow sees its own
login, and nothing of the caller's.
"""

from __future__ import annotations

import asyncio
import re
import time
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from ddx.core.access import Act
from ddx.core.callers import Caller
from ddx.errors import NotAllowed
from ddx.web.door import caller_of
from ddx.web.state import Server
from ddx.wiring.mlflow_login import holds_readers, proxy, reader

if TYPE_CHECKING:
    from ddx.adapters.reverse_proxy import ReverseProxy

ROOM = "/mlflow"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_FILES = ("/get-artifact", "/ajax-api/2.0/mlflow/get-artifact", "/ajax-api/2.0/mlflow-artifacts")
_PROGRAM = "/static-files/"
_HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'"}
"""For files of runs: one that is a page with a script must not act as the admin who opens it."""
_LOOKS = re.compile(
    r"/graphql|/(ajax-)?api/[23]\.0/mlflow/("
    r"(experiments|runs|traces|logged-models)/search|experiments/search-datasets|traces/metrics)"
)
"""What MLflow's pages send by POST only to read. Its GraphQL has no way to change anything."""
_AGENTS = re.compile(r"/(ajax-)?api/\d\.\d/mlflow/assistant(/.*)?")
"""MLflow's coding agent, open to whoever asks from its own machine, as this server does."""
_SURE_FOR_S = 60.0


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
        caller = caller_of(request)
        _check(server, caller, request.method, path)
        if not path.startswith(_PROGRAM):
            await server.note(caller, Act.MLFLOW, about=path[:200])
        answer = await (await other.way(caller)).passed(
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


def trouble(server: Server, caller: Caller) -> str | None:
    """Say why MLflow's pages are not for a caller who may read, None where they are."""
    if caller.tenant is None:
        return None
    if not holds_readers(server.settings):
        return (
            "MLflow's pages need a key with the role admin: without a login of its own, which"
            " `ddx up --secure` gives it, nothing would keep a reader from changing runs."
        )
    if server.callers.only_tenant != caller.tenant:
        return (
            "MLflow's pages need a key with the role admin: they show the runs of all tenants, and"
            " not all who may come in here are known to be of yours."
        )
    return None


def _check(server: Server, caller: Caller, method: str, path: str) -> None:
    """Raise NotAllowed where a request must not reach MLflow."""
    if _AGENTS.fullmatch(unquote(path)):
        raise NotAllowed("MLflow's assistant is not passed on.")
    why = trouble(server, caller)
    if why is not None:
        raise NotAllowed(why)
    if caller.tenant is not None and method == "POST" and not _LOOKS.fullmatch(path):
        raise NotAllowed("This changes something in MLflow, which needs a key with the role admin.")


class _Other:
    """MLflow, as the settings name it, from the first request on."""

    def __init__(self, server: Server) -> None:
        self._settings = server.settings
        self._making_sure = asyncio.Lock()
        self._sure_until_s = 0.0

    async def way(self, caller: Caller) -> ReverseProxy:
        """Return the way for a caller. Raises TrackerUnavailable, MissingExtra, SettingsError."""
        if caller.tenant is None:
            return self._admins
        async with self._making_sure:
            if time.monotonic() > self._sure_until_s:
                # The experiment may have come, or come back as another one, since the last look.
                await asyncio.to_thread(reader(self._settings).ensure)
                self._sure_until_s = time.monotonic() + _SURE_FOR_S
        return self._readers

    @cached_property
    def _admins(self) -> ReverseProxy:
        return proxy(self._settings)

    @cached_property
    def _readers(self) -> ReverseProxy:
        return proxy(self._settings, looks_only=True)
