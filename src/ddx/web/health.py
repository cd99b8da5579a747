"""Whether the server is there, is ready, and what it counts."""

from __future__ import annotations

import json

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from ddx import __version__
from ddx.web import problems
from ddx.web.metrics import Metrics
from ddx.web.openapi import content
from ddx.web.state import Server


def router(server: Server, metrics: Metrics) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["health"])

    @routes.get(
        "/health-status",
        operation_id="healthStatus",
        responses={200: content("The server is there", "Health")},
    )
    async def health_status() -> dict[str, str]:
        """Say that the server is there, as existing callers ask."""
        return {"status": "AVAILABLE", "version": __version__}

    @routes.get(
        "/healthz",
        operation_id="alive",
        responses={200: content("The process answers", "Health")},
    )
    async def healthz() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @routes.get(
        "/readyz",
        operation_id="ready",
        responses={
            200: content("A request would be taken now", "Readiness"),
            503: content("It would not, and why", "Readiness"),
        },
    )
    async def readyz() -> Response:
        """Say whether a request would be taken now, and if not, why."""
        checks = server.checks()
        ready = all(check.ok for check in checks)
        document = {
            "status": "ready" if ready else "not ready",
            "checks": [
                {"name": c.name, "ok": c.ok, "found": c.found}
                | ({} if c.ok else {"advice": c.advice})
                for c in checks
            ],
        }
        status = 200 if ready else 503
        return Response(
            json.dumps(document),
            status_code=status,
            media_type="application/json",
            headers=problems.headers(status),
        )

    @routes.get(
        "/metrics",
        operation_id="metrics",
        response_class=PlainTextResponse,
        responses={
            200: {
                "description": "The metrics",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    )
    async def prometheus() -> Response:
        """Return the metrics in Prometheus' text form."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return routes
