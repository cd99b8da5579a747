"""`POST /predict/v1`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ddx.web.body import read_request
from ddx.web.door import caller_of
from ddx.web.openapi import json_body, key_parameter, refusals, reply
from ddx.web.replies import replied
from ddx.web.state import Server


def router(server: Server) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["predict"])

    @routes.post(
        "/predict/v1",
        operation_id="predict",
        summary="Predict",
        openapi_extra={"requestBody": json_body("PredictBody"), "parameters": [key_parameter()]},
        responses={
            200: reply("A differential, or the word that the case has too little detail"),
            **refusals(400, 401, 403, 408, 413, 415, 422, 429, 502, 503, 504),
        },
    )
    async def predict(request: Request) -> Response:
        """Return a ranked differential diagnosis for a case."""
        asked = await read_request(request, server)
        return replied(await server.predictor.predict(asked, caller=caller_of(request).id))

    return routes
