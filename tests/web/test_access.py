"""Around each request: its id, its log line, its count, and what a fault becomes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.make import an_answer, finished

from ddx.adapters.logs import JsonLines
from ddx.core.record import Failed, Prediction
from ddx.web.metrics import Metrics
from ddx.web.state import Server

CASE = "A 24-year-old man has had fever for 3 days."


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Return the log's lines as they are written."""
    found: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(JsonLines().format(record)))

    log, handler = logging.getLogger("ddx"), Keep()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield found
    log.removeHandler(handler)
    log.setLevel(before)


def test_a_fault_is_a_500_without_its_text_counted_and_logged_with_the_requests_id(
    client: TestClient,
    server: Server,
    lines: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(*args: object, **more: object) -> None:
        raise LookupError(CASE)

    monkeypatch.setattr(server.predictor, "predict", broken)
    reply = client.post("/predict/v1", json={"case": CASE})

    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert reply.headers["content-type"] == "application/problem+json"
    fault, end = lines
    assert (fault["event"], fault["exception"]) == ("request_fault", "LookupError")
    assert (end["event"], end["status"]) == ("request_finished", 500)
    assert fault["request_id"] == end["request_id"] == reply.headers["x-request-id"]
    assert "fever" not in reply.text + json.dumps(lines)
    text = client.get("/metrics").text
    assert 'ddx_refused_total{code="internal"} 1.0' in text
    assert 'ddx_http_requests_total{method="POST",route="/predict/v1",status="500"} 1.0' in text


def test_a_fault_in_the_middle_of_a_reply_breaks_it_off(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr("ddx.web.stream._ending", None)
    with pytest.raises(TypeError):
        TestClient(client.app).post("/predict/v1/stream", json={"case": CASE})
    faults = [one for one in lines if one.get("event") == "request_fault"]
    assert [one["exception"] for one in faults] == ["TypeError"]


def test_each_request_has_an_id_of_its_own_and_two_lines_of_it(
    client: TestClient, lines: list[dict[str, Any]]
) -> None:
    one, other = (client.post("/predict/v1", json={"case": CASE}) for _ in range(2))
    ids = [reply.headers["x-request-id"] for reply in (one, other)]
    assert [line["request_id"] for line in lines] == [ids[0], ids[0], ids[1], ids[1]]
    assert ids[0] != ids[1]
    assert lines[1]["prediction_id"] == one.headers["x-prediction-id"]
    assert {line["level"] for line in lines} == {"info"}


def test_what_machines_ask_all_the_time_is_logged_at_debug(
    client: TestClient, lines: list[dict[str, Any]]
) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/health-status"):
        client.get(path)
    assert {line["level"] for line in lines} == {"debug"}


def test_paths_methods_and_names_of_a_clients_make_no_labels(client: TestClient) -> None:
    client.get("/Zebrawood")
    client.get("/predictions/Zebrawood")
    client.request("ZEBRAWOOD", "/predictions")
    text = client.get("/metrics").text
    assert "zebrawood" not in text.lower()
    assert 'ddx_http_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'method="GET",route="/predictions/{prediction_id}",status="404"' in text
    assert 'method="other",route="/predictions",status="405"' in text


def asked_twice(**second: Any) -> Prediction:
    """A prediction of `local` whose LLM was called twice."""
    answer = an_answer()
    (call,) = answer.calls
    again = replace(call, attempt=2, **second)
    return finished(calls=(call, again))


def counted(*predictions: Prediction) -> set[str]:
    metrics = Metrics(dict, list)
    for one in predictions:
        metrics.finished(one, {"knowledge"})
    return set(metrics.text().decode().splitlines())


def test_calls_tokens_and_dollars_are_counted_and_unknown_is_not_nothing() -> None:
    (call,) = an_answer().calls
    tokens, cost = call.input_tokens or 0, call.cost_usd or 0.0
    found = counted(asked_twice(cost_usd=None, input_tokens=None, error="BadGateway"))
    assert 'ddx_llm_call_seconds_count{model="knowledge"} 2.0' in found
    assert f'ddx_llm_tokens_total{{direction="input",model="knowledge"}} {tokens:.1f}' in found
    assert f'ddx_llm_cost_usd_total{{model="knowledge"}} {cost}' in found
    assert 'ddx_llm_unpriced_calls_total{model="knowledge"} 1.0' in found
    assert 'ddx_llm_failed_calls_total{error="BadGateway",model="knowledge"} 1.0' in found


def test_failures_are_counted_by_their_code() -> None:
    found = counted(finished(outcome=Failed(code="model_deadline", message="late")))
    assert 'ddx_failures_total{code="model_deadline",model="knowledge"} 1.0' in found
    assert 'ddx_predictions_total{model="knowledge",outcome="failed"} 1.0' in found


def test_refusals_that_alerts_watch_are_there_from_the_start() -> None:
    found = counted()
    for code in ("internal", "overloaded", "journal_full", "journal_unavailable", "backlog_full"):
        assert f'ddx_refused_total{{code="{code}"}} 0.0' in found
    assert not [line for line in found if "_created" in line]
