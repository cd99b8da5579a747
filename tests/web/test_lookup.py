"""`GET /predictions`: kept predictions are found again, without their cases."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.make import a_prediction

from ddx.services import lookup
from ddx.web.state import Server

CASE = "A 24-year-old man has had fever for 3 days."


def ask(client: TestClient, **body: Any) -> str:
    response = client.post("/predict/v1", json={"case": CASE} | body)
    return str(response.headers["x-prediction-id"])


def found(client: TestClient, **query: Any) -> list[str]:
    response = client.get("/predictions", params=query)
    assert response.status_code == 200, response.text
    return [one["prediction_id"] for one in response.json()["predictions"]]


def test_the_newest_come_first_and_pages_miss_nothing(client: TestClient) -> None:
    ids = [ask(client) for _ in range(7)]
    ids.sort(reverse=True)
    assert found(client) == ids

    pages, before = [], None
    while True:
        query = {"limit": 3} | ({"before": before} if before else {})
        page = client.get("/predictions", params=query).json()
        pages += [one["prediction_id"] for one in page["predictions"]]
        before = page["next"]
        if before is None:
            break
    assert pages == ids


def test_a_listing_tells_how_it_went_and_no_case(client: TestClient) -> None:
    id = ask(client, tracker="visit-1", model_name="none-such")
    response = client.get("/predictions")
    (one,) = response.json()["predictions"]
    assert one["received_at"].endswith("+00:00")
    assert {name: value for name, value in one.items() if name != "received_at"} == {
        "prediction_id": id,
        "model_name": "none-such",
        "prompt_version": None,
        "outcome": "failed",
        "status": 400,
        "error_code": "unknown_model",
        "duration_s": one["duration_s"],
        "tracker": "visit-1",
        "retry_of": None,
    }
    assert "fever" not in response.text


def test_filters_are_by_outcome_code_model_tracker_and_time(
    client: TestClient, server: Server
) -> None:
    good = ask(client, tracker="t")
    bad = ask(client, model_name="none-such")
    assert server._journal is not None
    running = a_prediction(instance="main")  # of 2026-01-01
    server._journal.accept(running, None).result()

    assert found(client, outcome="answered") == [good]
    assert found(client, outcome="failed") == [bad]
    assert found(client, outcome="running") == [running.id]
    assert found(client, error_code="unknown_model") == [bad]
    assert found(client, model_name="instant") == [good]
    assert found(client, tracker="t", outcome="answered") == [good]
    assert found(client, tracker="t", outcome="failed") == []
    assert found(client, until="2026-01-02") == [running.id]
    assert found(client, until="2026-01-01T12:00:00Z") == []
    assert found(client, since="2026-01-01T12:00:00+00:00", until="2026-01-01T12:00:01Z") == [
        running.id
    ]
    assert running.id not in found(client, since="2026-01-01T13:00:01+01:00")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"before": "1"}, "before"),
        ({"since": "yesterday"}, "since"),
        ({"until": "0001-01-01T00:00:00+14:00"}, "until"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "until"),
        ({"outcom": "answered"}, None),
    ],
)
def test_a_filter_that_cannot_be_meant_is_a_422(
    client: TestClient, query: dict[str, str], field: str | None
) -> None:
    response = client.get("/predictions", params=query)
    assert response.status_code == 422
    assert response.json().get("field") == field


def test_a_long_look_ends_and_says_where_to_go_on(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "LOOKED_AT", 3)
    oldest = ask(client, tracker="the-one")
    for _ in range(4):
        ask(client)
    first = client.get("/predictions", params={"tracker": "the-one"}).json()
    assert first["predictions"] == []
    assert first["next"] is not None
    assert found(client, tracker="the-one", before=first["next"]) == [oldest]


def test_an_interrupted_prediction_says_so(client: TestClient, server: Server) -> None:
    from ddx.core.record import INTERRUPTION

    assert server._journal is not None
    lost = a_prediction(instance="main")
    server._journal.accept(lost, None).result()
    server._journal.finish(lost.completed(INTERRUPTION)).result()
    response = client.get(f"/predictions/{lost.id}")
    assert response.status_code == 503
    assert response.json()["code"] == "interrupted"
    assert response.json()["prediction_id"] == lost.id
