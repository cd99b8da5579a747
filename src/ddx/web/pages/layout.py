"""What every page shares: its frame, its look, and headers that let nothing else in.

A page is a Jinja template that extends `base.html`, escaped throughout. Scripts and styles come
from files of this package alone: the Content-Security-Policy refuses every other, inline too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException

from ddx.core.callers import ANYONE, Caller
from ddx.core.response import DISCLAIMER, STATUS
from ddx.errors import DdxError
from ddx.web.door import caller_of
from ddx.web.mlflow import ROOM, trouble
from ddx.web.state import Server

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the navigation."""

    href: str
    text: str
    outside: bool = False


class Pages:
    """Renders templates. Other rooms ask it for their page: `pages.page(request, "x.html", …)`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._templates = Environment(
            loader=PackageLoader("ddx.web.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {"asset": asset, "disclaimer": DISCLAIMER}

    def page(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> Response:
        """Return a page; `values` are what its template shows."""
        here = request.url.path
        text = self._templates.get_template(template).render(
            links=self._links(caller_of(request)), here=here, **values
        )
        return Response(text, status_code=status, media_type="text/html", headers=headers())

    def refusal(self, request: Request, error: DdxError) -> Response:
        """Return a page that says an error, with its status."""
        status = STATUS.get(error.code, 500)
        return self.page(
            request, "refusal.html", status=status, message=str(error), advice=error.advice
        )

    def _links(self, caller: Caller) -> list[Link]:
        found = [Link("/", "Try a case"), Link("/dashboard", "Dashboard")]
        uri = self._server.settings.mlflow_uri
        if uri.startswith(("http:", "https:")) and trouble(self._server, caller) is None:
            # Where there are keys, MLflow is behind the same door.
            open = caller is ANYONE
            found.append(Link(uri if open else f"{ROOM}/", "MLflow", outside=open))
        return [*found, Link("/docs", "API")]


def headers() -> dict[str, str]:
    """Return what each page is sent with: it is about a patient, so nobody keeps or frames it."""
    return {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def asset(name: str) -> str:
    """Return the address of a file of this package, which changes with its content."""
    return f"/assets/{_asset(name)[1]}/{name}"


@cache
def _asset(name: str) -> tuple[bytes, str]:
    """Return a file of the folder `static` and a digest. Raises HTTPException."""
    file = files("ddx.web.pages") / "static" / name
    if "/" in name or not file.is_file():
        raise HTTPException(404)
    content = file.read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


def router() -> APIRouter:
    """Return the route of scripts and styles."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/assets/{digest}/{name}")
    async def one(digest: str, name: str) -> Response:
        content, now = _asset(name)
        kind = _TYPES.get(name[name.rfind(".") :], "application/octet-stream")
        keep = _FOR_EVER if digest == now else "no-store"
        return Response(content, media_type=kind, headers={"Cache-Control": keep})

    return routes
