"""A request's body, read within its limits and checked, before anything is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from fastapi import Request
from pydantic import ValidationError

from ddx.core.record import Request as PredictionRequest
from ddx.errors import BodyTooLarge, InvalidRequest, SlowBody, WrongContentType
from ddx.web import problems
from ddx.web.schema import TRACKER_LIMIT, PredictBody
from ddx.web.state import Server

KEY_HEADER = "Idempotency-Key"
JSON = "application/json"
_BOM = b"\xef\xbb\xbf"


async def read_request(request: Request, server: Server) -> PredictionRequest:
    """Return what a body of `POST /predict/v1` asks. Raises InvalidRequest and its like."""
    settings = server.settings
    raw, _ = await read(request, {JSON}, settings.max_body_bytes, settings.body_timeout_s)
    body = parse(raw)
    tracker = _tracker(body.tracker, key_of(request))
    return body.request(settings.default_model, tracker)


async def read(
    request: Request, kinds: Collection[str], limit_bytes: int, timeout_s: float
) -> tuple[bytes, str]:
    """Return a body without its byte order mark, and its media type, one of `kinds`.

    Raises WrongContentType, BodyTooLarge, SlowBody, and starlette's ClientDisconnect.
    """
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind not in kinds:
        raise WrongContentType(f"The body must be {' or '.join(sorted(kinds))}.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise WrongContentType("The body must not be compressed: send no Content-Encoding.")
    too_large = BodyTooLarge(f"The body is larger than {limit_bytes} bytes.")
    if int(request.headers.get("content-length") or 0) > limit_bytes:
        raise too_large
    raw = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > limit_bytes:
                    raise too_large
    except TimeoutError as error:
        raise SlowBody from error
    return bytes(raw).removeprefix(_BOM), kind


def parse(raw: bytes) -> PredictBody:
    """Return a checked body. Raises InvalidRequest, naming the field and not its value."""
    try:
        return PredictBody.model_validate_json(raw)
    except ValidationError as error:
        # From None: the cause holds the input.
        raise problems.invalid(error) from None


def key_of(request: Request) -> str | None:
    """Return the header Idempotency-Key, None where it is absent or blank.

    Raises InvalidRequest where it is too long.
    """
    key = _utf8((request.headers.get(KEY_HEADER) or "").strip()) or None
    if key is not None and len(key) > TRACKER_LIMIT:
        raise InvalidRequest(f"{KEY_HEADER}: at most {TRACKER_LIMIT} characters", field=KEY_HEADER)
    return key


def _tracker(field: str | None, header: str | None) -> str | None:
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
