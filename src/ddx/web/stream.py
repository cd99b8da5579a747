"""`POST /predict/v1/stream`: the same prediction, told as it goes on, as server-sent events.

`accepted` once the request is on stable storage; a `diagnosis` for each that is complete; and
at the end, once the outcome is on stable storage, `final` with the very reply of
`POST /predict/v1`, or `error` with its problem document.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from ddx.core.record import Answered, Diagnosis, Prediction, PredictionId
from ddx.core.response import diagnosis as entry
from ddx.errors import DdxError
from ddx.web import problems
from ddx.web.body import read_request
from ddx.web.door import caller_of
from ddx.web.metrics import Metrics
from ddx.web.openapi import events, json_body, key_parameter, refusals
from ddx.web.replies import replied
from ddx.web.state import Server

log = logging.getLogger("ddx")
QUIET_S = 15.0
"""After so long without an event a comment is sent: proxies cut what seems dead."""


class EventStream(StreamingResponse):
    """A response of server-sent events."""

    media_type = "text/event-stream"


def router(server: Server, metrics: Metrics) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["predict"])

    @routes.post(
        "/predict/v1/stream",
        operation_id="predictStream",
        summary="Predict, and follow it",
        openapi_extra={"requestBody": json_body("PredictBody"), "parameters": [key_parameter()]},
        response_class=EventStream,
        responses={200: events(), **refusals(400, 401, 403, 408, 413, 415, 422, 429, 503)},
    )
    async def stream(request: Request) -> Response:
        """Return the events `accepted`, `diagnosis` (any number) and `final` or `error`.

        What is refused before acceptance has a status of its own, as of `POST /predict/v1`. A
        `diagnosis` is provisional; `final` is on stable storage, with the same bytes as the
        reply of `POST /predict/v1`. Who leaves early gets it by the tracker, or by the id.
        """
        asked = await read_request(request, server)
        told = _Told()
        caller = caller_of(request).id
        # A task of its own: when the client leaves, the prediction still gets its outcome.
        task = server.background.start(server.predictor.predict(asked, caller, told))
        task.add_done_callback(lambda _task: told.end())
        await told.something()
        if told.id is None:
            prediction = await task
            if prediction.completion is None or prediction.completion.status != 200:
                return replied(prediction)
            told.id = prediction.id
        return EventStream(
            _events(told, told.id, task, metrics),
            headers={
                **problems.headers(200, told.id),
                # nginx would hold events back until its buffer is full.
                "X-Accel-Buffering": "no",
            },
        )

    return routes


class _Told:
    """A Watcher that keeps what it was told until it is sent."""

    def __init__(self) -> None:
        self.id: PredictionId | None = None
        self.ended = False
        self._waiting: dict[int, str] = {}
        self._sent: dict[int, str] = {}
        self._news = asyncio.Event()

    def accepted(self, id: PredictionId) -> None:
        self.id = id
        self._news.set()

    def diagnosed(self, rank: int, diagnosis: Diagnosis) -> None:
        said = json.dumps(entry(rank, diagnosis), ensure_ascii=False)
        if self._waiting.get(rank, self._sent.get(rank)) != said:
            self._waiting[rank] = said
            self._news.set()

    def end(self) -> None:
        """Note that the prediction has come to its end."""
        self.ended = True
        self._news.set()

    async def something(self) -> None:
        """Wait for news."""
        await self._news.wait()
        self._news.clear()

    def take(self) -> list[str]:
        """Return the diagnoses that are not sent yet, by rank."""
        waiting = [said for _, said in sorted(self._waiting.items())]
        self._sent |= self._waiting
        self._waiting = {}
        return waiting


async def _events(
    told: _Told, id: PredictionId, task: asyncio.Task[Prediction], metrics: Metrics
) -> AsyncIterator[bytes]:
    yield _event("accepted", json.dumps({"prediction_id": id}))
    while True:
        for said in told.take():
            yield _event("diagnosis", said)
        if told.ended:
            break
        try:
            async with asyncio.timeout(QUIET_S):
                await told.something()
        except TimeoutError:
            yield b": still at work\n\n"
    for event in await _ending(told, id, task, metrics):
        yield event


async def _ending(
    told: _Told, id: PredictionId, task: asyncio.Task[Prediction], metrics: Metrics
) -> list[bytes]:
    """Return the events that come once the prediction is kept, or could not be."""
    try:
        prediction = await task
    except DdxError as error:
        metrics.refused(error.code)
        return [_event("error", problems.text(error, id))]
    except Exception as error:
        log.exception("stream fault", exc_info=None, extra={"kind": type(error).__name__})
        return [_event("error", problems.text(DdxError("The server made a fault."), id))]
    outcome, completion = prediction.outcome, prediction.completion
    if completion is None:
        raise ValueError("predict returns complete predictions only")
    if isinstance(outcome, Answered):
        # An earlier answer, or another caller's: nobody has told its diagnoses here.
        for rank, diagnosis in enumerate(outcome.diagnoses, start=1):
            told.diagnosed(rank, diagnosis)
    last = _event("final" if completion.status == 200 else "error", completion.body)
    return [*(_event("diagnosis", said) for said in told.take()), last]


def _event(name: str, data: str) -> bytes:
    """Return one event. Our JSON has no line break in it."""
    return f"event: {name}\ndata: {data}\n\n".encode()
