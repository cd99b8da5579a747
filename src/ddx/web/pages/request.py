"""`/dashboard/requests/{id}`: one request, whole: what was asked, sent, said and answered."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from ddx.core.access import Act
from ddx.core.callers import ANYONE, Caller
from ddx.core.record import Answered, Declined, Failed, Prediction, PredictionId
from ddx.core.replay import Change
from ddx.errors import DdxError, InvalidRequest, NotAllowed, PredictionNotFound
from ddx.web.door import caller_of
from ddx.web.mlflow import ROOM as MLFLOW
from ddx.web.mlflow import trouble
from ddx.web.pages.home import usable_models
from ddx.web.pages.layout import Pages, headers
from ddx.web.pages.posted import fields
from ddx.web.state import Server, hidden
from ddx.wiring import dashboard as wiring

_ROOM = "/dashboard/requests"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def router(server: Server, pages: Pages) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get(_ROOM)
    async def named(request: Request) -> Response:
        """Lead to the request whose id was typed."""
        id = request.query_params.get("id", "").strip().lower()
        if not _UUID.fullmatch(id):
            fault = InvalidRequest("id: must be the id of a prediction", field="id")
            return pages.refusal(request, fault)
        return _leads_to(f"{_ROOM}/{id}")

    @routes.get(_ROOM + "/{id}")
    async def one(request: Request, id: str) -> Response:
        """Return the page of a request, and how its ranking moved where it is a replay."""
        try:
            caller = caller_of(request)
            found = await asyncio.to_thread(_find, server, id, caller)
            before = await asyncio.to_thread(_earlier, server, found, caller)
            await server.note(caller, Act.READ, found)
        except DdxError as error:
            return pages.refusal(request, error)
        return pages.page(request, "request.html", **_shown(server, found, before, caller))

    @routes.get(_ROOM + "/{id}/mlflow")
    async def run(request: Request, id: str) -> Response:
        """Lead to the request's run in MLflow."""
        try:
            _find(server, id, caller_of(request))
            if why := trouble(server, caller_of(request)):
                raise NotAllowed(why)
            address = await asyncio.to_thread(_in_mlflow, server, id, caller_of(request))
        except DdxError as error:
            return pages.refusal(request, error)
        return _leads_to(address)

    @routes.post(_ROOM + "/{id}/replay")
    async def replay(request: Request, id: str) -> Response:
        """Ask the same case again, and lead to the new request."""
        try:
            given = await fields(request, server.settings)
            caller = caller_of(request)
            old = await asyncio.to_thread(_find, server, id, caller)
            asked = Change(model=given.get("model_name") or None).applied(old.request)
            new = await server.predictor.predict(asked, caller.id, replay_of=old.id)
        except DdxError as error:
            return pages.refusal(request, error)
        return _leads_to(f"{_ROOM}/{new.id}")

    return routes


def _leads_to(address: str) -> Response:
    return RedirectResponse(address, status_code=303, headers=headers())


def _find(server: Server, id: str, caller: Caller) -> Prediction:
    """Return a finished or running request of any journal here that the caller may see.

    Raises PredictionNotFound.
    """
    if not _UUID.fullmatch(id):
        raise PredictionNotFound
    with hidden(caller):
        found = server.find(PredictionId(id))
    # What is not there is said as what the caller may not see: the two must not be told apart.
    if found is None or not caller.sees(found.caller):
        raise PredictionNotFound
    return found


def _in_mlflow(server: Server, id: str, caller: Caller) -> str:
    """Return the address of a request's run. Raises PredictionNotFound, TrackerUnavailable."""
    address = wiring.run_page(server.settings, PredictionId(id))
    if address is None:
        raise PredictionNotFound("This request is not in MLflow yet, or MLflow has no page.")
    if caller is ANYONE:
        return address
    return MLFLOW + address.removeprefix(server.settings.mlflow_uri.rstrip("/"))


def _earlier(server: Server, found: Prediction, caller: Caller) -> Prediction | None:
    """Return what a replay asked again; None where it is no replay, or that is gone."""
    try:
        return _find(server, found.replay_of, caller) if found.replay_of else None
    except DdxError:
        return None


def _shown(
    server: Server, found: Prediction, before: Prediction | None, caller: Caller
) -> dict[str, Any]:
    completion, outcome = found.completion, found.outcome
    answer = completion.answer if completion else None
    sent = answer.settings if answer else None
    models, asked = usable_models(server), found.request.model_name
    usable = {model["name"] for model in models if model["usable"]}
    feedback = server.feedback_of(found.id)
    return {
        "one": found,
        "in_mlflow": trouble(server, caller) is None,
        "outcome": outcome.kind if outcome else "running",
        "failure": outcome if isinstance(outcome, Failed) else None,
        "declined": outcome if isinstance(outcome, Declined) else None,
        "diagnoses": outcome.diagnoses if isinstance(outcome, Answered) else (),
        "facts": _facts(found),
        "sent": sent,
        "calls": answer.calls if answer else (),
        "prompt": answer.prompt_used if answer else None,
        "raw": answer.raw_output if answer else None,
        "body": _pretty(completion.body) if completion else "",
        "feedback": feedback,
        "models": models,
        "again": asked if asked in usable else server.settings.default_model,
        "before": before,
        "moves": wiring.moved(before, found) if before else (),
    }


def _facts(found: Prediction) -> Mapping[str, str]:
    request, completion = found.request, found.completion
    sent = completion.answer.settings if completion else None
    shown = {
        "received": f"{found.received_at:%Y-%m-%d %H:%M:%S} UTC",
        "took": None
        if completion is None or completion.duration_s is None
        else f"{completion.duration_s:.3g} s",
        "HTTP status": completion.status if completion else None,
        "model": request.model_name,
        "LLM": sent.model if sent else None,
        "prompt": sent.prompt_index if sent else None,
        "temperature": sent.temperature if sent else None,
        "top k": sent.top_k if sent else None,
        "max tokens": sent.max_tokens if sent else None,
        "tracker": request.tracker,
        "caller": found.caller,
        "server": f"{found.instance}, version {found.version}",
    }
    return {name: str(value) for name, value in shown.items() if value is not None}


def _pretty(body: str) -> str:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False, indent=1)
    except ValueError:
        return body
