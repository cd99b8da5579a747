"""`GET /predictions`: what was asked before, one by one or as a list."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from ddx.core.access import Act
from ddx.core.record import Failed, Prediction, PredictionId
from ddx.errors import InvalidRequest, PredictionNotFound
from ddx.services.lookup import Wanted
from ddx.web.door import caller_of
from ddx.web.openapi import content, in_path, query, refusals, reply
from ddx.web.replies import replied
from ddx.web.state import Server

MOST = 100
_USUAL = 20
_TEXTS = {
    "outcome": "`answered`, `insufficient_information`, `failed`, `interrupted` or `running`",
    "error_code": "code of the error, such as `model_deadline`",
    "model_name": "the model that was asked for",
    "tracker": "the caller's own id",
}
_TIMES = {
    "since": "received at this time or later, as `2026-01-31T08:00:00Z`",
    "until": "received before this time",
}
_NAMES = (*_TEXTS, *_TIMES, "before", "limit")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def router(server: Server) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["predictions"])

    @routes.get(
        "/predictions",
        operation_id="listPredictions",
        summary="Predictions, newest first",
        openapi_extra={"parameters": _parameters()},
        responses={200: content("A page of them", "Listing"), **refusals(401, 403, 422, 429, 503)},
    )
    async def listing(request: Request) -> dict[str, Any]:
        """Return a page of this server's predictions, without their cases.

        A page may be shorter than `limit`: there is more as long as `next` is not null.
        """
        wanted, limit = _wanted(request)
        caller = caller_of(request)
        wanted = replace(wanted, tenant=caller.tenant)
        page = await asyncio.to_thread(server.page, wanted, limit)
        await server.note(caller, Act.LIST, *page.predictions)
        return {"predictions": [_summary(one) for one in page.predictions], "next": page.next}

    @routes.get(
        "/predictions/{prediction_id}",
        operation_id="getPrediction",
        summary="One prediction as it was answered",
        openapi_extra={"parameters": [in_path("prediction_id")]},
        responses={
            200: reply("The reply, byte for byte, and `feedback` where there is some"),
            **refusals(400, 401, 403, 404, 410, 429, 502, 503, 504),
        },
    )
    async def one(request: Request) -> Response:
        """Return the reply of a prediction, byte for byte, with its status.

        Where somebody gave feedback, it is added as a last field, `feedback`, in its order.
        """
        id = PredictionId(request.path_params["prediction_id"])
        caller = caller_of(request)
        found = await asyncio.to_thread(server.seen, id, caller)
        if found.completion is None:
            raise PredictionNotFound
        await server.note(caller, Act.READ, found)
        said = await asyncio.to_thread(server.feedback_of, id)
        return replied(found, said)

    return routes


def _wanted(request: Request) -> tuple[Wanted, int]:
    """Read the query. Raises InvalidRequest, naming the field."""
    given = {name: value for name, value in request.query_params.items() if value}
    unknown = next((name for name in given if name not in _NAMES), None)
    if unknown is not None:
        # Its name is not repeated: whatever stands in an address may be about a patient.
        raise InvalidRequest(f"There is no such filter; there are {', '.join(_NAMES)}.")
    limit = given.get("limit", str(_USUAL))
    if not (limit.isdecimal() and 1 <= int(limit[:9]) <= MOST):
        raise InvalidRequest(f"limit: must be a whole number from 1 to {MOST}", field="limit")
    before = given.get("before")
    if before is not None and not _UUID.fullmatch(before):
        raise InvalidRequest("before: must be the id of a prediction", field="before")
    wanted = Wanted(
        outcome=given.get("outcome"),
        error_code=given.get("error_code"),
        model_name=given.get("model_name"),
        tracker=given.get("tracker"),
        since=time_of("since", given.get("since")),
        until=time_of("until", given.get("until")),
        before=PredictionId(before) if before else None,
    )
    return wanted, int(limit)


def time_of(name: str, text: str | None) -> datetime | None:
    """Read a time of a query; one without a zone is in UTC. Raises InvalidRequest."""
    if text is None:
        return None
    fault = InvalidRequest(f"{name}: must be a time as 2026-01-31T08:00:00Z", field=name)
    try:
        # A plus sign that was not escaped arrives as a space.
        time = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise fault from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if not 1970 < time.year < 9999:  # what an id can hold, in any zone
        raise fault
    return time


def _summary(found: Prediction) -> dict[str, Any]:
    outcome, completion = found.outcome, found.completion
    return {
        "prediction_id": found.id,
        "received_at": found.received_at.isoformat(),
        "model_name": found.request.model_name,
        "prompt_version": found.request.prompt_version,
        "outcome": outcome.kind if outcome else None,
        "status": completion.status if completion else None,
        "error_code": outcome.code if isinstance(outcome, Failed) else None,
        "duration_s": completion.duration_s if completion else None,
        "tracker": found.request.tracker,
        "retry_of": found.retry_of,
    }


def _parameters() -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": MOST, "default": _USUAL}
    return [
        *(query(name, about) for name, about in _TEXTS.items()),
        *(
            query(name, about, {"type": "string", "format": "date-time"})
            for name, about in _TIMES.items()
        ),
        query("before", "`next` of the page before this one"),
        query("limit", "how many at most", limit),
    ]
