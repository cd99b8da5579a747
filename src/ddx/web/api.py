"""The HTTP surface: parse, call one service, answer. docs/reference has the contract."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ddx import __version__
from ddx.core.record import Prediction, PredictionId
from ddx.core.record import Request as PredictionRequest
from ddx.errors import (
    BodyTooLarge,
    DdxError,
    InvalidRequest,
    PredictionNotFound,
    SlowBody,
    WrongContentType,
)
from ddx.web import problems
from ddx.web.docs import add_docs
from ddx.web.metrics import Metrics
from ddx.web.schema import PredictBody
from ddx.web.state import Server

log = logging.getLogger("ddx")
REFRESH_S = 0.5
"""How often disk and backlog are looked at."""
KEY_HEADER = "Idempotency-Key"
_TRACKER_LIMIT = 200
_BOM = b"\xef\xbb\xbf"
_CLIENT_GONE = 499
"""nginx's number for a client that closed its connection: nobody reads it but a log."""


def create_app(server: Server) -> FastAPI:
    """Return the application over a server's services."""
    metrics = Metrics(server.gauges)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(server.start)
        watching = asyncio.create_task(_watch(server))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.to_thread(server.stop)

    app = FastAPI(
        title="DDx server",
        version=__version__,
        description="A ranked differential diagnosis for a case, kept for ever in MLflow.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    add_docs(app)
    server.on_finished = lambda done: metrics.finished(done, server.settings.models)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    app.add_exception_handler(Exception, problems.on_fault)

    @app.post("/predict/v1", summary="Predict", **_documented())
    async def predict(request: Request) -> Response:
        """Return a ranked differential diagnosis for a case."""
        try:
            asked = await _parse(request, server)
            prediction = await server.predictor.predict(asked, caller="anonymous")
        except DdxError as error:
            metrics.refused(error.code)
            return problems.response(error)
        except ClientDisconnect:
            metrics.refused("client_gone")
            return Response(status_code=_CLIENT_GONE)
        return _replied(prediction)

    @app.get("/predictions/{prediction_id}", summary="One prediction as it was answered")
    async def one_prediction(prediction_id: str) -> Response:
        """Return the reply of a prediction, byte for byte."""
        try:
            found = await asyncio.to_thread(server.find, PredictionId(prediction_id))
        except DdxError as error:
            return problems.response(error)
        if found is None or found.completion is None:
            return problems.response(PredictionNotFound())
        return _replied(found)

    _add_health(app, server)

    @app.get("/metrics")
    async def prometheus() -> Response:
        """Return the metrics in Prometheus' text form."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return app


def _add_health(app: FastAPI, server: Server) -> None:
    @app.get("/health-status")
    async def health_status() -> dict[str, str]:
        """Say that the server is there, as existing callers ask."""
        return {"status": "AVAILABLE", "version": __version__}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
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


def _replied(prediction: Prediction) -> Response:
    """Send the reply that the record holds."""
    completion = prediction.completion
    if completion is None:
        raise ValueError("a prediction without its completion has no reply")
    ok = completion.status == 200
    return Response(
        completion.body,
        status_code=completion.status,
        media_type="application/json" if ok else problems.MEDIA_TYPE,
        headers=problems.headers(completion.status, prediction.id),
    )


async def _parse(request: Request, server: Server) -> PredictionRequest:
    """Read and check a body. Raises InvalidRequest and its like, before anything is kept."""
    content_type = request.headers.get("content-type", "application/json")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise WrongContentType("The body must be application/json.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise WrongContentType("The body must not be compressed: send no Content-Encoding.")
    limit = server.settings.max_body_bytes
    if int(request.headers.get("content-length") or 0) > limit:
        raise BodyTooLarge(f"The body is larger than {limit} bytes.")
    raw = bytearray()
    try:
        async with asyncio.timeout(server.settings.body_timeout_s):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > limit:
                    raise BodyTooLarge(f"The body is larger than {limit} bytes.")
    except TimeoutError as error:
        raise SlowBody from error
    try:
        body = PredictBody.model_validate_json(bytes(raw).removeprefix(_BOM))
    except ValidationError as error:
        # From None: the cause holds the input.
        raise problems.invalid(error) from None
    tracker = _tracker(body.tracker, request.headers.get(KEY_HEADER))
    return body.request(server.settings.default_model, tracker)


def _tracker(field: str | None, header: str | None) -> str | None:
    header = _utf8((header or "").strip()) or None
    if header is not None and len(header) > _TRACKER_LIMIT:
        raise InvalidRequest(f"{KEY_HEADER}: at most {_TRACKER_LIMIT} characters", field=KEY_HEADER)
    if field and header and field != header:
        raise InvalidRequest(
            f"tracker and {KEY_HEADER} differ; send one, or the same twice", field="tracker"
        )
    return field or header


def _utf8(header: str) -> str:
    """Read a header as UTF-8, as the body is read; Starlette reads bytes as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


async def _watch(server: Server) -> None:
    """Look at disk and backlog again and again, so that requests need not."""
    while True:
        with suppress(OSError, DdxError):
            await asyncio.to_thread(server.refresh)
        await asyncio.sleep(REFRESH_S)


def _documented() -> dict[str, Any]:
    """The request and the responses, for /openapi.json: the body is parsed by hand."""
    schema = PredictBody.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    inline = json.loads(json.dumps(schema), object_hook=lambda node: _resolved(node, definitions))
    statuses = {
        400: "Unknown model or prompt index",
        408: "The body did not arrive in time",
        413: "The body is too large",
        415: "The body is not JSON",
        422: "Invalid body, or a tracker used with another one",
        502: "The model failed",
        503: "The record cannot be made durable, the server is overloaded, or the model has no key",
        504: "The model missed its deadline",
    }
    return {
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": inline}},
            },
            "parameters": [
                {
                    "name": KEY_HEADER,
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "maxLength": _TRACKER_LIMIT},
                }
            ],
        },
        "responses": {
            200: {
                "description": "A differential, or the word that the case has too little detail",
                "headers": {"X-Prediction-Id": {"schema": {"type": "string"}}},
            }
        }
        | {
            status: {"description": about, "content": {problems.MEDIA_TYPE: {}}}
            for status, about in statuses.items()
        },
    }


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> Any:
    name = str(node.get("$ref", "")).rpartition("/")[2]
    return definitions.get(name, node)
