"""The HTTP surface, put together: each room brings its routes, and errors are said here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ddx import __version__
from ddx.adapters import siblings
from ddx.errors import DdxError
from ddx.web import audit, batch, feedback, health, lookup, mlflow, predict, problems, stream
from ddx.web.access import CLIENT_GONE, Access
from ddx.web.docs import add_docs
from ddx.web.door import Door
from ddx.web.metrics import Metrics
from ddx.web.openapi import add_schemas
from ddx.web.pages import add_pages
from ddx.web.state import Server

REFRESH_S = 0.5
"""How often disk and backlog are looked at."""


def create_app(server: Server) -> FastAPI:
    """Return the application over a server's services."""
    deaths = server.settings.data / siblings.FOLDER / siblings.DEATHS
    team = (server.team_pids, deaths) if server.team else None
    metrics = Metrics(server.gauges, server.checks, team)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(server.start)
        await server.resume()
        watching = asyncio.create_task(_watch(server, metrics))
        try:
            async with server.listening():
                yield
        finally:
            watching.cancel()
            await server.settle()
            await asyncio.to_thread(server.stop)

    app = FastAPI(
        title="DDx server",
        version=__version__,
        description="A ranked differential diagnosis for a case, kept for ever in MLflow.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    server.on_finished = lambda done: metrics.finished(done, server.settings.models)
    app.include_router(predict.router(server))
    app.include_router(stream.router(server, metrics))
    app.include_router(batch.router(server))
    app.include_router(lookup.router(server))
    app.include_router(audit.router(server))
    app.include_router(feedback.router(server))
    app.include_router(health.router(server, metrics))
    add_docs(app)
    app.include_router(mlflow.router(server))
    pages = add_pages(app, server)
    add_schemas(app)
    _say_errors(app, metrics)
    app.add_middleware(Door, callers=lambda: server.callers, metrics=metrics, page=pages.refusal)
    app.add_middleware(Access, metrics=metrics)
    return app


def _say_errors(app: FastAPI, metrics: Metrics) -> None:
    async def on_error(request: Request, error: Exception) -> Response:
        if not isinstance(error, DdxError):
            raise error
        if request.method == "POST":
            metrics.refused(error.code)
        return problems.response(error)

    async def on_gone(_request: Request, _error: Exception) -> Response:
        metrics.refused("client_gone")
        return Response(status_code=CLIENT_GONE)

    app.add_exception_handler(DdxError, on_error)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(HTTPException, problems.on_http_exception)


async def _watch(server: Server, metrics: Metrics) -> None:
    """Look at disk and backlog again and again, so that requests need not."""
    while True:
        with suppress(OSError, DdxError):
            await asyncio.to_thread(server.refresh)
        with suppress(DdxError):
            await server.predictor.close_left()
        metrics.publish()
        await asyncio.sleep(REFRESH_S)
