"""`POST /predictions/{id}/feedback`: what a clinician says of an answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError

from ddx.core.record import PredictionId
from ddx.web import problems
from ddx.web.body import JSON, read
from ddx.web.door import caller_of
from ddx.web.openapi import content, in_path, json_body, refusals
from ddx.web.replies import said_form
from ddx.web.said import FeedbackBody
from ddx.web.state import Server


def router(server: Server) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["predictions"])

    @routes.post(
        "/predictions/{prediction_id}/feedback",
        operation_id="giveFeedback",
        summary="Say what became of an answer",
        openapi_extra={
            "parameters": [in_path("prediction_id")],
            "requestBody": json_body("FeedbackBody"),
        },
        responses={
            200: content("It is on stable storage", "FeedbackKept"),
            **refusals(401, 403, 404, 408, 410, 413, 415, 422, 429, 503),
        },
    )
    async def feedback(request: Request) -> dict[str, Any]:
        """Keep feedback in the shape of CDS Hooks: `{"feedback": [{"outcome": "accepted"}]}`.

        One entry alone is taken too. Ours beside CDS Hooks' fields: `true_diagnosis`, `true_code`
        and `comment`. The same sent again right after is kept once. It is shown in the tags of
        the prediction's MLflow run.
        """
        id = PredictionId(request.path_params["prediction_id"])
        settings = server.settings
        raw, _ = await read(request, {JSON}, settings.max_body_bytes, settings.body_timeout_s)
        try:
            body = FeedbackBody.model_validate_json(raw)
        except ValidationError as error:
            # From None: the cause holds the input.
            raise problems.invalid(error) from None
        now, caller = datetime.now(UTC), caller_of(request)
        await asyncio.to_thread(server.seen, id, caller)
        for one in body.feedback:
            said = await server.give_feedback(id, one.feedback(now, caller.id))
        return {
            "status": "success",
            "prediction_id": id,
            "feedback": [said_form(one) for one in said],
        }

    return routes
