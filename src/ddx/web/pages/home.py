"""`/`: try a case, read the answer, say what became of it. With a script, and without one."""

from __future__ import annotations

import asyncio
import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from ddx.core.record import Prediction, PredictionId, Setting
from ddx.core.registry import EngineKind
from ddx.errors import DdxError
from ddx.web import problems
from ddx.web.door import caller_of
from ddx.web.pages.layout import Pages
from ddx.web.pages.marks import pieces
from ddx.web.pages.posted import fields
from ddx.web.replies import body_of
from ddx.web.said import OneBody
from ddx.web.schema import CASE_LIMIT, PredictBody
from ddx.web.state import Server
from ddx.wiring.serving import registry

_SETTINGS = {
    "": "the usual",
    Setting.PRIMARY_CARE: "primary care",
    Setting.EMERGENCY: "emergency",
    Setting.GENETICS: "genetics",
}


def router(server: Server, pages: Pages) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    async def form(request: Request) -> Response:
        """Return the empty page, or one with an example."""
        number = request.query_params.get("example", "")
        chosen = examples()[int(number) - 1 : int(number)] if number.isdecimal() else []
        filled = {"case": chosen[0]["text"]} if chosen else {}
        return pages.page(request, "home.html", **_blank(server, filled))

    @routes.post("/")
    async def ask(request: Request) -> Response:
        """Answer a form, for a browser without scripts."""
        given = await fields(request, server.settings)
        shown = _blank(server, given)
        try:
            body = PredictBody.model_validate({k: v for k, v in given.items() if v})
            asked = body.request(server.settings.default_model, None)
            done = await server.predictor.predict(asked, caller_of(request).id)
        except ValidationError as error:
            refusal = problems.invalid(error)
            shown["problem"] = json.loads(problems.text(refusal))
            return pages.page(request, "home.html", status=422, **shown)
        except DdxError as error:
            shown["problem"] = json.loads(problems.text(error))
            status = shown["problem"]["status"]
            return pages.page(request, "home.html", status=status, **shown)
        status, more = _answer(done)
        return pages.page(request, "home.html", status=status, **shown | more)

    @routes.post("/feedback")
    async def say(request: Request) -> Response:
        """Keep the feedback of a form, for a browser without scripts."""
        given = await fields(request, server.settings)
        id = PredictionId(given.get("prediction_id", ""))
        chosen = given.get("suggestion")
        body = {name: given.get(name) for name in ("true_diagnosis", "comment", "outcome")}
        body["outcome"] = body["outcome"] or None
        try:
            one = OneBody.model_validate(
                body | {"acceptedSuggestions": [{"id": chosen}] if chosen else []}
            )
        except ValidationError as error:
            raise problems.invalid(error) from None
        caller = caller_of(request)
        await asyncio.to_thread(server.seen, id, caller)
        await server.give_feedback(id, one.feedback(datetime.now(UTC), caller.id))
        return pages.page(request, "thanks.html", id=id)

    return routes


@cache
def examples() -> list[dict[str, str]]:
    """Return the cases to pick: name and text."""
    text = (files("ddx.web.pages") / "examples.toml").read_text(encoding="utf-8")
    return [
        {"name": one["name"], "text": one["text"].strip().replace("\n", " ")}
        for one in tomllib.loads(text)["case"]
    ]


def usable_models(server: Server) -> list[dict[str, Any]]:
    """Return the models to choose from: name, whether they can answer now, whether an LLM does."""
    settings = server.settings
    known = registry(settings)
    return [
        {"name": one.name, "usable": known.has_key(one), "llm": one.engine is EngineKind.DSPY}
        for one in settings.models.values()
        if one.engine is not EngineKind.INSTANT or settings.bench_models
    ]


def _blank(server: Server, given: Mapping[str, str]) -> dict[str, Any]:
    settings = server.settings
    prompts = [{"index": str(one.index), "name": one.name} for one in settings.prompts.values()]
    return {
        "given": {name: given.get(name, "") for name in ("case", "prompt_version", "setting")}
        | {"model_name": given.get("model_name") or settings.default_model},
        "models": usable_models(server),
        "prompts": prompts,
        "settings": _SETTINGS,
        "examples": examples(),
        "limit": CASE_LIMIT,
        "problem": None,
        "reply": None,
        "pieces": [],
    }


def _answer(done: Prediction) -> tuple[int, dict[str, Any]]:
    """Return the status of a finished prediction, and what the page shows of it."""
    status = done.completion.status if done.completion else 500
    reply = json.loads(body_of(done))
    if status != 200:
        return status, {"problem": reply}
    cut = pieces(done.request.case, reply["data"]["result"])
    return status, {"reply": reply, "pieces": cut}
