"""`POST /predict/v1/stream`: the same prediction, told as it goes on."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.make import an_answer, an_answered

from ddx.core.record import Declined, Diagnosis, EngineAnswer, Failed, PredictionId, Request
from ddx.errors import JournalUnavailable, ModelDeadline
from ddx.ports import OnDiagnosis
from ddx.web.state import Server

CASE = "A 24-year-old man has had fever for 3 days, and joint pain."
DENGUE, MALARIA = an_answered().diagnoses

Events = list[tuple[str, Any]]


class Streams:
    """A StreamingEngine that tells what it is given, step by step."""

    def __init__(self, outcome: Any = None) -> None:
        self.answer = an_answer(outcome or an_answered())
        self.told: list[tuple[int, Diagnosis]] = []
        self.asked = 0
        self.may_end = threading.Event()
        self.may_end.set()

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        self.asked += 1
        await asyncio.to_thread(self.may_end.wait, 20)
        return self.answer

    async def ask_streaming(
        self, request: Request, deadline_s: float, told: OnDiagnosis
    ) -> EngineAnswer:
        for rank, diagnosis in self.told:
            told(rank, diagnosis)
        return await self.ask(request, deadline_s)


@pytest.fixture
def engine(client: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    engine = Streams()
    monkeypatch.setattr(server.predictor._asking, "_engine_of", lambda _model: engine)
    yield engine
    engine.may_end.set()


def read(text: str) -> Events:
    blocks = [block.splitlines() for block in text.split("\n\n") if block]
    events = [block for block in blocks if not block[0].startswith(":")]
    assert all(len(block) == 2 for block in events)
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in events
    ]


def stream(client: TestClient, **body: Any) -> Any:
    return client.post("/predict/v1/stream", json={"case": CASE} | body)


def test_a_stream_is_accepted_then_diagnoses_then_final(client: TestClient, server: Server) -> None:
    response = stream(client)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    id = response.headers["x-prediction-id"]
    events = read(response.text)
    names = [name for name, _ in events]
    assert names == ["accepted", *["diagnosis"] * (len(names) - 2), "final"]
    assert events[0][1] == {"prediction_id": id}
    final = events[-1][1]
    assert [data for name, data in events if name == "diagnosis"] == final["data"]["result"]
    record = server.find(PredictionId(id))
    assert record is not None
    assert record.completion is not None
    assert f"event: final\ndata: {record.completion.body}\n\n" in response.text


def test_the_record_is_kept_before_the_final_event(client: TestClient, server: Server) -> None:
    kept_at_final = []
    with client.stream("POST", "/predict/v1/stream", json={"case": CASE}) as response:
        for line in response.iter_lines():
            if line == "event: final":
                record = server.find(PredictionId(response.headers["x-prediction-id"]))
                kept_at_final.append(record is not None and record.completion is not None)
    assert kept_at_final == [True]


def test_an_engine_that_streams_is_heard_and_the_answer_counts(
    client: TestClient, engine: Streams
) -> None:
    # Malaria comes first, and a further attempt puts dengue there; the second is told early.
    engine.told = [(1, MALARIA), (1, DENGUE), (2, MALARIA)]
    events = read(stream(client).text)
    told = [(d["rank"], d["diagnosis"]) for name, d in events if name == "diagnosis"]
    assert told[-2:] == [(1, "Dengue fever"), (2, "Malaria")]
    assert len(told) == len(set(told))
    last = {d["rank"]: d for name, d in events if name == "diagnosis"}
    assert [last[1], last[2]] == events[-1][1]["data"]["result"]


@pytest.mark.parametrize(
    ("outcome", "last", "field"),
    [
        (Declined(reason="Too little."), "final", ("status", "success")),
        (Failed(code="model_error", message="x", advice="y"), "error", ("status", 502)),
    ],
)
def test_what_is_no_list_ends_the_stream_too(
    client: TestClient, engine: Streams, outcome: Any, last: str, field: tuple[str, Any]
) -> None:
    engine.answer = an_answer(outcome)
    events = read(stream(client).text)
    assert [name for name, _ in events] == ["accepted", last]
    assert events[-1][1][field[0]] == field[1]
    assert events[-1][1]["prediction_id"] == events[0][1]["prediction_id"]


@pytest.mark.parametrize(
    ("body", "status", "record"),
    [
        ({"case": ""}, 422, False),
        ({"model_name": "none-such"}, 400, True),
        ({"model_name": "gemini-2.0-flash"}, 503, True),
    ],
)
def test_what_is_refused_has_its_status_and_no_events(
    client: TestClient, body: Any, status: int, record: bool
) -> None:
    response = stream(client, **body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert ("x-prediction-id" in response.headers) == record


def test_a_tracker_gets_the_same_final_bytes_from_both_ways(client: TestClient) -> None:
    first = stream(client, tracker="t")
    again = stream(client, tracker="t")
    plain = client.post("/predict/v1", json={"case": CASE, "tracker": "t"})
    assert first.text == again.text
    assert f"data: {plain.text}\n" in first.text


def test_a_second_caller_follows_the_same_prediction(client: TestClient, engine: Streams) -> None:
    engine.may_end.clear()
    texts: list[str] = []
    callers = [
        threading.Thread(target=lambda: texts.append(stream(client, tracker="t").text))
        for _ in range(2)
    ]
    for caller in callers:
        caller.start()
    threading.Timer(0.5, engine.may_end.set).start()
    for caller in callers:
        caller.join(20)
    assert texts[0] == texts[1]
    assert engine.asked == 1


def test_an_outcome_that_cannot_be_kept_is_an_error_not_a_final(
    client: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server._journal is not None
    finish = server._journal.finish

    def refuses(prediction: Any) -> Any:
        answer = finish(replace(prediction, completion=prediction.completion))
        answer.result()
        raise JournalUnavailable("the disk is gone")

    monkeypatch.setattr(server._journal, "finish", refuses)
    events = read(stream(client).text)
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "journal_unavailable"
    assert "final" not in [name for name, _ in events]


def test_a_long_silence_is_filled_with_comments(
    client: TestClient, engine: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddx.web.stream.QUIET_S", 0.05)
    engine.may_end.clear()
    threading.Timer(0.3, engine.may_end.set).start()
    text = stream(client).text
    assert ": still at work\n\n" in text
    assert read(text)[-1][0] == "final"


def test_a_missed_deadline_is_an_error_event(client: TestClient, engine: Streams) -> None:
    late = ModelDeadline("late")
    engine.answer = an_answer(Failed(code=late.code, message=str(late), advice=late.advice))
    assert read(stream(client).text)[-1][1]["code"] == "model_deadline"
