"""What replicas of Ray Serve are made of, without a cluster."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.make import a_prediction

from ddx.adapters.ray_cluster.replicas import RemoteEngine, answered
from ddx.core.record import Declined, EngineAnswer, Request
from ddx.errors import EngineError, SettingsError
from ddx.settings import Settings
from ddx.web.background import Background
from ddx.web.replicas import Edge, check_settings

CANARY = "Zanzibarquokka"


def test_what_replicas_cannot_keep_is_refused() -> None:
    check_settings(Settings())
    with pytest.raises(SettingsError, match="tls_client_ca_file"):
        check_settings(replace(Settings(), tls_client_ca_file="ca.pem"))
    with pytest.raises(SettingsError, match="claims_uri"):
        check_settings(replace(Settings(), ray_address="10.0.0.5:6379"))
    shared = replace(Settings(), ray_address="auto", claims_uri="postgresql://ddx@db/ddx")
    check_settings(shared)


def a_request() -> Request:
    return replace(a_prediction().request, case=f"{CANARY} has fever.")


def test_an_engine_elsewhere_answers_as_one_here() -> None:
    async def here(request: Request, deadline_s: float) -> EngineAnswer:
        assert (request, deadline_s) == (a_request(), 7.0)
        return EngineAnswer(outcome=Declined(reason="too little"))

    async def ask(question: bytes, deadline_s: float) -> bytes:
        return await answered(here, question, deadline_s)

    found = asyncio.run(RemoteEngine(ask).ask(a_request(), 7.0))
    assert found == EngineAnswer(outcome=Declined(reason="too little"))


def test_a_question_outlives_two_replicas_and_its_words_are_in_no_error() -> None:
    tries: list[bytes] = []

    async def dies(question: bytes, deadline_s: float) -> bytes:
        tries.append(question)
        raise RuntimeError(question.decode())

    async def dies_twice(question: bytes, deadline_s: float) -> bytes:
        if len(tries) < 2:
            return await dies(question, deadline_s)
        return await answered(fails, question, deadline_s)

    async def fails(request: Request, deadline_s: float) -> EngineAnswer:
        raise ValueError(request.case)

    with pytest.raises(EngineError, match="ValueError") as caught:
        asyncio.run(RemoteEngine(dies_twice).ask(a_request(), 7.0))
    assert len(tries) == 2
    assert CANARY not in str(caught.value)

    tries.clear()
    with pytest.raises(EngineError, match="RuntimeError") as caught:
        asyncio.run(RemoteEngine(dies).ask(a_request(), 7.0))
    assert len(tries) == 3
    assert CANARY not in repr(caught.value.__cause__) + str(caught.value)


def test_what_a_client_that_left_had_begun_goes_on() -> None:
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.05)
        headers = [(b"x-request-id", b"ours"), (b"x-prediction-id", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def cut_off() -> None:
        background = Background()
        task = asyncio.create_task(Edge(app, background)({"type": "http"}, receive, send))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sent == []
        await background.settle(5)

    asyncio.run(cut_off())
    assert [message["headers"] for message in sent] == [[(b"x-prediction-id", b"1")]]
