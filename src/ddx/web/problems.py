"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

import json
import math

from fastapi import Request, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from ddx.core.response import STATUS, problem
from ddx.errors import DdxError, InvalidRequest, TooManyRequests

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
RETRIED = frozenset({429, 503})
"""Statuses that say when to come back."""
_CODES = {404: "not_found", 405: "method_not_allowed", 500: "internal"}


def response(error: DdxError, prediction_id: str | None = None) -> Response:
    """Return the error as a response."""
    status = STATUS.get(error.code, 500)
    return Response(
        text(error, prediction_id),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers(status, prediction_id) | _waits(error),
    )


def _waits(error: DdxError) -> dict[str, str]:
    if not isinstance(error, TooManyRequests):
        return {}
    return {"Retry-After": str(math.ceil(error.retry_after_s))}


def text(error: DdxError, prediction_id: str | None = None) -> str:
    """Return the error as a problem document of one line."""
    field = error.field if isinstance(error, InvalidRequest) else None
    document = problem(
        error.code, str(error), error.advice, prediction_id=prediction_id, field=field
    )
    return json.dumps(document, ensure_ascii=False)


def headers(status: int, prediction_id: str | None = None) -> dict[str, str]:
    """Return the headers that a status and an id bring."""
    found = {"Cache-Control": "no-store"}
    if status in RETRIED:
        found["Retry-After"] = str(RETRY_AFTER_S)
    if prediction_id is not None:
        found["X-Prediction-Id"] = prediction_id
    return found


def invalid(error: ValidationError) -> InvalidRequest:
    """Say the first fault of a body, naming its field and not its value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return InvalidRequest("The body is not valid JSON in UTF-8.")
    unknown = first["type"] == "extra_forbidden"
    # The name of a field that we do not know is the client's word: it may be about a patient.
    place = first["loc"][:-1] if unknown else first["loc"]
    field = ".".join(str(part) for part in place) or None
    if unknown:
        return InvalidRequest(f"{field or 'body'}: has a field that is not known", field=field)
    message = first["msg"].removeprefix("Value error, ")
    if field is None and message.startswith("case "):
        field = "case"
    return InvalidRequest(f"{field or 'body'}: {message}", field=field)


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Say Starlette's own refusals (404, 405) in our form."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = _CODES.get(status, "bad_request")
    advice = "Look at /docs for the paths and methods of this server."
    document = problem(code, code.replace("_", " ").capitalize() + ".", advice)
    document["status"] = status
    return Response(
        json.dumps(document),
        status_code=status,
        media_type=MEDIA_TYPE,
        # A 405 names the methods that are allowed.
        headers={**headers(status), **(getattr(error, "headers", None) or {})},
    )


def fault() -> Response:
    """Say a fault of ours, without its text: it may quote a case."""
    document = problem("internal", "The server made a fault.", DdxError.advice)
    return Response(
        json.dumps(document), status_code=500, media_type=MEDIA_TYPE, headers=headers(500)
    )
