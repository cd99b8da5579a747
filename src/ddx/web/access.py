"""Around every request: its id, one log line and one count at its end, and what a fault becomes."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ddx.adapters.logs import request_fields
from ddx.web import problems
from ddx.web.metrics import Metrics

log = logging.getLogger("ddx")
CLIENT_GONE = 499
"""nginx's number for a client that closed its connection: nobody reads it but a log."""
_QUIET = frozenset({"/healthz", "/health-status", "/readyz", "/metrics", "/assets/{digest}/{name}"})
"""What machines ask every few seconds: logged at the level debug."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# An id of another form is not taken over: it may name a patient.
_REQUEST_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# W3C Trace Context, 3.2: 32 and 16 hexadecimal digits, neither all zero.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


_AS_IT_IS = (b"x-content-type-options", b"nosniff")
"""No browser guesses that a reply is a page, whatever text of a case or a model is in it."""


class Access:
    """ASGI middleware. Every log line under it carries `request_id`, and `traceparent` where the
    client sent one; the reply has the id in `X-Request-Id`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fields = _fields(scope)
        reply = _Reply(fields["request_id"], send)
        token = request_fields.set(fields)
        began_s = time.monotonic()
        try:
            await self._app(scope, receive, reply)
        except Exception:
            log.exception("request fault", extra={"event": "request_fault"})
            self._metrics.refused("internal")
            if reply.status is not None:
                raise  # half of it is sent: the connection is cut
            await problems.fault()(scope, receive, reply)
        finally:
            self._ended(scope, reply, time.monotonic() - began_s)
            request_fields.reset(token)

    def _ended(self, scope: Scope, reply: _Reply, duration_s: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = reply.status or CLIENT_GONE
        self._metrics.answered(route, method, status)
        log.log(
            logging.DEBUG if route in _QUIET else logging.INFO,
            "request finished",
            extra={
                "event": "request_finished",
                "method": method,
                "route": route,
                "status": status,
                "duration_s": round(duration_s, 4),
                "prediction_id": reply.prediction_id,
            },
        )


class _Reply:
    """Sends a reply on, with the request's id, and remembers what it was."""

    def __init__(self, request_id: str, send: Send) -> None:
        self.status: int | None = None
        self.prediction_id: str | None = None
        self._id = (b"x-request-id", request_id.encode())
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), self._id]
            names = dict(headers)
            id = names.get(b"x-prediction-id")
            self.prediction_id = id.decode() if id else None
            if _AS_IT_IS[0] not in names:
                headers.append(_AS_IT_IS)
            message = {**message, "headers": headers}
        await self._send(message)


def _fields(scope: Scope) -> dict[str, str]:
    headers: dict[bytes, Any] = dict(scope["headers"])
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    parent = headers.get(b"traceparent", b"").decode("latin-1").strip()
    found = {"request_id": given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex}
    return found | ({"traceparent": parent} if _TRACEPARENT.fullmatch(parent) else {})
