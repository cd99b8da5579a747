"""Forms that a browser posts."""

from __future__ import annotations

from urllib.parse import parse_qsl

from fastapi import Request

from ddx.errors import InvalidRequest
from ddx.settings import Settings
from ddx.web.body import read

FORM = "application/x-www-form-urlencoded"


async def fields(request: Request, settings: Settings) -> dict[str, str]:
    """Return the fields of a form. Raises InvalidRequest where another site sent it."""
    origin = request.headers.get("origin")
    if origin not in (None, "null") and origin.partition("://")[2] != request.headers.get("host"):
        raise InvalidRequest("This form was sent by another site.")
    # Each byte of a case may take three in a form.
    most = 3 * settings.max_body_bytes
    raw, _ = await read(request, {FORM}, most, settings.body_timeout_s)
    found = dict(parse_qsl(raw.decode("ascii", "replace"), keep_blank_values=True))
    return {name: value.replace("\r\n", "\n") for name, value in found.items()}
