"""Around every request but the probes: who sends it, and whether it may.

What is not in the table below needs an admin: a new route is closed until it says for whom it is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPMethod

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ddx.core.callers import ANYONE, Caller, Role
from ddx.errors import BadToken, DdxError, NotAllowed, NotIdentified
from ddx.services.callers import Callers
from ddx.web import problems
from ddx.web.metrics import Metrics

_OPEN = re.compile(r"/(healthz|readyz|health-status|docs|openapi\.json|assets/.*)")
"""Probes, and what stands in this program's public source."""
_ASK, _SEE, _SAY = (
    frozenset({Role.PREDICT}),
    frozenset({Role.READ, Role.AUDIT}),
    frozenset({Role.LABEL}),
)
_ROLES: tuple[tuple[str, re.Pattern[str], frozenset[Role]], ...] = (
    ("POST", re.compile(r"/predict/v1(/stream|/batch)?"), _ASK),
    ("GET", re.compile(r"/predict/v1/batch/[^/]+(/results)?"), _ASK),
    ("GET", re.compile(r"/predictions(/[^/]+)?"), _SEE),
    ("POST", re.compile(r"/predictions/[^/]+/feedback"), _SAY),
    ("GET", re.compile(r"/"), _ASK),
    ("POST", re.compile(r"/"), _ASK),
    ("POST", re.compile(r"/feedback"), _SAY),
    ("GET", re.compile(r"/dashboard(/charts/[^/]+|/requests|/requests/[^/]+)?"), _SEE),
    ("POST", re.compile(r"/dashboard/requests/[^/]+/replay"), _ASK),
    ("GET", re.compile(r"/audit"), frozenset({Role.AUDIT})),
    ("GET", re.compile(r"/metrics"), frozenset({Role.MONITOR})),
    # For whom of these, and what, web.mlflow says.
    ("GET", re.compile(r"/dashboard/requests/[^/]+/mlflow"), _SEE),
    ("GET", re.compile(r"/mlflow(/.*)?"), _SEE),
    ("POST", re.compile(r"/mlflow/.*"), _SEE),
)
_ADMIN = frozenset({Role.ADMIN})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE = frozenset({"same-origin", "none"})


def caller_of(request: Request) -> Caller:
    """Return who sent a request, as the door found."""
    found: Caller = request.scope["ddx.caller"]
    return found


def roles_for(method: str, path: str) -> frozenset[Role]:
    """Return the roles of which one is needed.

    >>> sorted(roles_for("HEAD", "/predictions/x")), sorted(roles_for("GET", "/new"))
    ([<Role.AUDIT: 'audit'>, <Role.READ: 'read'>], [<Role.ADMIN: 'admin'>])
    """
    verb = "GET" if method == "HEAD" else method
    for known, pattern, roles in _ROLES:
        if known == verb and pattern.fullmatch(path):
            return roles
    return _ADMIN


class Door:
    """ASGI middleware; puts the caller into the scope. It comes under Access, which counts."""

    def __init__(
        self,
        app: ASGIApp,
        callers: Callable[[], Callers],
        metrics: Metrics,
        page: Callable[[Request, DdxError], Response],
    ) -> None:
        """`callers` knows who may come in; `page` says an error to a person."""
        self._app, self._callers = app, callers
        self._metrics, self._page = metrics, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or refuse it before its body is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["ddx.caller"] = ANYONE
        if scope["method"] in _SAFE and _OPEN.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        with ExitStack() as inside:
            try:
                scope["ddx.caller"] = await self._let_in(request, inside)
            except DdxError as error:
                await self._refusal(request, error)(scope, receive, send)
                return
            await self._app(scope, receive, send)

    async def _let_in(self, request: Request, inside: ExitStack) -> Caller:
        callers = self._callers()
        caller = await callers.identify(_token(request))
        _check_site(request)
        inside.enter_context(
            callers.inside(caller, roles_for(request.method, request.scope["path"]))
        )
        return caller

    def _refusal(self, request: Request, error: DdxError) -> Response:
        self._metrics.refused(error.code)
        person = "text/html" in request.headers.get("accept", "")
        if person and request.method == HTTPMethod.GET:
            found = self._page(request, error)
        else:
            found = problems.response(error)
        if isinstance(error, NotIdentified):
            # A browser asks for a name and a password: the key is the password.
            way = 'Basic realm="ddx", charset="UTF-8"' if person else 'Bearer realm="ddx"'
            bad = isinstance(error, BadToken) and not person  # RFC 6750, 3.1
            found.headers["WWW-Authenticate"] = way + (', error="invalid_token"' if bad else "")
        return found


def _token(request: Request) -> str | None:
    """Return the token of a request."""
    way, _, rest = request.headers.get("authorization", "").strip().partition(" ")
    match way.lower():
        case "bearer":
            return rest.strip() or None
        case "basic":
            try:
                pair = base64.b64decode(rest.strip(), validate=True).decode("utf-8", "replace")
            except binascii.Error:
                return None
            return pair.partition(":")[2] or None
        case _:
            return request.headers.get("x-api-key") or None


def _check_site(request: Request) -> None:
    """Refuse what another site makes a browser send: it adds the password that it remembers, or a
    proxy on the way adds a token for the cookie that it sends.
    """
    site = request.headers.get("sec-fetch-site", "none")
    if request.method not in _SAFE and site not in _OWN_SITE:
        raise NotAllowed("This request was sent by another site.")
