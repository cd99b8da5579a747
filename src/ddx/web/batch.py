"""`POST /predict/v1/batch`: many cases at once, answered in the server's own time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from ddx.core.access import Act
from ddx.core.batch import Batch, BatchId, CaseDone
from ddx.core.record import Request as PredictionRequest
from ddx.core.response import problem
from ddx.errors import BatchNotFound, Erased, InvalidRequest
from ddx.settings import Settings
from ddx.web import body, problems
from ddx.web.door import caller_of
from ddx.web.openapi import content, in_path, json_body, key_parameter, refusals
from ddx.web.replies import body_of
from ddx.web.schema import BatchBody
from ddx.web.state import Server

NDJSON = "application/x-ndjson"
_PATH = "/predict/v1/batch"
_AT_ONCE = 50
"""Results that are read before some are sent."""


class NdjsonResponse(StreamingResponse):
    """A response of one JSON document to a line."""

    media_type = NDJSON


def router(server: Server) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["batch"])
    settings = server.settings

    @routes.post(
        _PATH,
        operation_id="submitBatch",
        summary="Predict many cases",
        status_code=202,
        openapi_extra={
            "requestBody": json_body("BatchBody", NDJSON),
            "parameters": [key_parameter()],
        },
        responses={
            202: {
                **content("The batch is on stable storage", "Batch"),
                "headers": {"Location": {"schema": {"type": "string"}}},
            },
            **refusals(401, 403, 408, 413, 415, 422, 429, 503),
        },
    )
    async def submit(request: Request) -> Response:
        """Take cases, each as `POST /predict/v1` takes it, and say where they can be followed.

        Either all are taken or none. With an `Idempotency-Key`, sending the same again leads to
        the same batch. Each case is a prediction of its own, with its own `tracker` where it
        has one; it is answered once, whatever happens to the server. As `application/x-ndjson`,
        the body is one case to a line.
        """
        limit = int(settings.max_batch_mb * 2**20)
        raw, kind = await body.read(request, {body.JSON, NDJSON}, limit, settings.body_timeout_s)
        key = body.key_of(request)
        cases = await asyncio.to_thread(_cases, raw, kind, settings)
        batch = await server.batches.submit(cases, caller_of(request).id, key)
        return Response(
            json.dumps(_status(batch)),
            status_code=202,
            media_type=body.JSON,
            headers={**problems.headers(202), "Location": f"{_PATH}/{batch.id}"},
        )

    @routes.get(
        _PATH + "/{batch_id}",
        operation_id="getBatch",
        summary="How far a batch is",
        openapi_extra={"parameters": [in_path("batch_id")]},
        responses={200: content("How far it is", "Batch"), **refusals(401, 403, 404, 429)},
    )
    async def status(request: Request) -> Response:
        """Return how many cases have ended, and how."""
        batch = await _found(server, request)
        return Response(
            json.dumps(_status(batch)), media_type=body.JSON, headers=problems.headers(200)
        )

    @routes.get(
        _PATH + "/{batch_id}/results",
        operation_id="getBatchResults",
        summary="What came of the cases",
        response_class=NdjsonResponse,
        openapi_extra={"parameters": [in_path("batch_id")]},
        responses={
            200: content("One line for each case that has ended", "BatchLine", NDJSON),
            **refusals(401, 403, 404, 429),
        },
    )
    async def results(request: Request) -> Response:
        """Return a line for each case that has ended, in the order of the batch."""
        batch = await _found(server, request)
        await server.note(caller_of(request), Act.BATCH, about=batch.id)
        lines = _lines(server, [one for _, one in sorted(batch.done.items())])
        return NdjsonResponse(lines, headers=problems.headers(200))

    return routes


async def _found(server: Server, request: Request) -> Batch:
    id = BatchId(request.path_params["batch_id"])
    batch = await server.batches.find(id, caller_of(request).id)
    if batch is None:
        raise BatchNotFound
    return batch


def _status(batch: Batch) -> dict[str, Any]:
    return {
        "batch_id": batch.id,
        "status": "done" if batch.complete else "running",
        "created_at": batch.created_at.isoformat(),
        "total": batch.total,
        "finished": len(batch.done),
        "outcomes": batch.outcomes,
        "status_url": f"{_PATH}/{batch.id}",
        "results_url": f"{_PATH}/{batch.id}/results",
    }


# --- what is taken ----------------------------------------------------------------------


def _cases(raw: bytes, kind: str, settings: Settings) -> list[PredictionRequest]:
    """Return the cases of a body. Raises InvalidRequest, naming the case and its field."""
    found = _read_lines(raw, settings.max_batch_cases) if kind == NDJSON else _read(raw)
    if not 1 <= len(found.cases) <= settings.max_batch_cases:
        raise InvalidRequest(f"cases: from 1 to {settings.max_batch_cases} of them", field="cases")
    cases = [one.request(settings.default_model, one.tracker) for one in found.cases]
    _check_trackers(cases)
    return cases


def _read(raw: bytes) -> BatchBody:
    try:
        return BatchBody.model_validate_json(raw)
    except ValidationError as error:
        # From None: the cause holds the input.
        raise problems.invalid(error) from None


def _read_lines(raw: bytes, most: int) -> BatchBody:
    lines = (line for line in raw.split(b"\n") if line.strip())
    cases = []
    for index, line in zip(count(), lines, strict=False):
        if index > most:
            break
        try:
            cases.append(body.parse(line))
        except InvalidRequest as error:
            place = f"cases.{index}"
            field = f"{place}.{error.field}" if error.field else place
            raise InvalidRequest(f"{place}: {error}", field=field) from None
    return BatchBody.model_construct(cases=cases)


def _check_trackers(cases: Sequence[PredictionRequest]) -> None:
    known: dict[str, PredictionRequest] = {}
    for index, case in enumerate(cases):
        if case.tracker is not None and known.setdefault(case.tracker, case) != case:
            field = f"cases.{index}.tracker"
            raise InvalidRequest(f"{field}: an earlier case has it, with another body", field=field)


# --- what is sent -----------------------------------------------------------------------


async def _lines(server: Server, done: Sequence[CaseDone]) -> AsyncIterator[str]:
    for start in range(0, len(done), _AT_ONCE):
        yield await asyncio.to_thread("".join, _texts(server, done[start : start + _AT_ONCE]))


def _texts(server: Server, done: Sequence[CaseDone]) -> Iterator[str]:
    for one in done:
        tracker, reply = _reply(server, one)
        head = {
            "index": one.index,
            "status": one.status,
            "prediction_id": one.prediction_id,
            "tracker": tracker,
        }
        # The reply is put in as it stands in the record, byte for byte.
        yield f'{json.dumps(head, ensure_ascii=False)[:-1]}, "reply": {reply}}}\n'


def _reply(server: Server, done: CaseDone) -> tuple[str | None, str]:
    """Return a case's tracker and its reply."""
    if done.prediction_id is None:
        return None, json.dumps(problem(done.outcome, done.detail, done.advice))
    try:
        found = server.find(done.prediction_id)
    except Erased as error:
        return None, problems.text(error, done.prediction_id)
    if found is None:
        return None, problems.text(BatchNotFound("Its record is not here."), done.prediction_id)
    return found.request.tracker, body_of(found)
