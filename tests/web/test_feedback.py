"""Feedback: kept before its reply, in order, and seen wherever the prediction is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.web.conftest import ENVIRONMENT
from tests.web.test_openapi import documented

from ddx import settings
from ddx.core.record import PredictionId
from ddx.errors import Erased, JournalFull
from ddx.web.api import create_app
from ddx.web.state import Server

CASE = "A 24-year-old man has had fever for 3 days."
PATH = "/predictions/{prediction_id}/feedback"
HOOKS: dict[str, list[dict[str, Any]]] = {
    "feedback": [
        {
            "card": "4e0a3a1e-3283-4575-ab82-028d55fe2719",
            "outcome": "overridden",
            "overrideReason": {
                "reason": {"code": "problem", "system": "urn:ddx:feedback", "display": "Wrong"},
                "userComment": "He has a rash too.",
            },
            "outcomeTimestamp": "2026-01-31T08:00:00Z",
        },
        {"card": "x", "outcome": "accepted", "acceptedSuggestions": [{"id": "2"}]},
    ]
}


@pytest.fixture
def id(client: TestClient) -> str:
    return str(client.post("/predict/v1", json={"case": CASE}).headers["x-prediction-id"])


def give(client: TestClient, id: str, body: Any) -> Any:
    return client.post(f"/predictions/{id}/feedback", json=body)


def test_cds_hooks_own_shape_is_taken_and_shown_as_it_came(client: TestClient, id: str) -> None:
    response = give(client, id, HOOKS)
    assert response.status_code == 200, response.text
    documented(client.get("/openapi.json").json(), PATH, "post", response)
    said = [
        {name: value for name, value in one.items() if name != "received_at"}
        for one in response.json()["feedback"]
    ]
    first, second = HOOKS["feedback"]
    assert said == [first | {"outcomeTimestamp": "2026-01-31T08:00:00+00:00"}, second]


def test_the_prediction_shows_it_last_and_is_otherwise_the_same_bytes(
    client: TestClient, id: str
) -> None:
    before = client.get(f"/predictions/{id}")
    assert "feedback" not in before.json()
    give(client, id, {"true_diagnosis": "Malaria", "comment": "Smear."})
    give(client, id, {"outcome": "accepted"})
    after = client.get(f"/predictions/{id}")
    assert after.text.startswith(before.text[:-1])
    document = client.get("/openapi.json").json()
    documented(document, "/predictions/{prediction_id}", "get", after)
    said = after.json()["feedback"]
    assert [one.get("true_diagnosis") for one in said] == ["Malaria", None]
    assert [one.get("outcome") for one in said] == [None, "accepted"]


def test_a_retry_is_kept_once_and_a_change_of_mind_is_not_lost(client: TestClient, id: str) -> None:
    for outcome in ("accepted", "accepted", "overridden", "accepted"):
        response = give(client, id, {"outcome": outcome})
    kept = [one["outcome"] for one in response.json()["feedback"]]
    assert kept == ["accepted", "overridden", "accepted"]


def test_a_failed_prediction_can_be_judged_too(client: TestClient) -> None:
    failed = client.post("/predict/v1", json={"case": CASE, "model_name": "none-such"})
    id = failed.headers["x-prediction-id"]
    assert give(client, id, {"comment": "No answer."}).status_code == 200
    found = client.get(f"/predictions/{id}")
    assert found.status_code == 400
    assert found.json()["feedback"][0]["comment"] == "No answer."


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "feedback.0"),
        ({"outcome": "maybe"}, "feedback.0.outcome"),
        ({"comment": "  "}, "feedback.0"),
        ({"comment": "x" * 5_001}, "feedback.0.comment"),
        ({"feedback": []}, "feedback"),
        ({"outcome": "accepted", "outcomeTimestamp": "yesterday"}, "feedback.0.outcomeTimestamp"),
    ],
)
def test_a_refusal_names_the_field_and_keeps_nothing(
    client: TestClient, id: str, body: Any, field: str
) -> None:
    response = give(client, id, body)
    assert response.status_code == 422
    assert response.json()["field"] == field
    assert "feedback" not in client.get(f"/predictions/{id}").json()


def test_unknown_erased_and_full_are_said(
    client: TestClient, id: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = client.get("/openapi.json").json()
    good = {"outcome": "accepted"}

    def fails(error: Exception) -> Any:
        def find(_id: PredictionId) -> None:
            raise error

        return find

    found = give(client, "none-such", good)
    assert found.status_code == 404
    documented(document, PATH, "post", found)
    journal = server._journal
    assert journal is not None
    for error, status in ((Erased(), 410), (JournalFull(), 503)):
        monkeypatch.setattr(journal, "find", fails(error))
        found = give(client, id, good)
        assert found.status_code == status
        documented(document, PATH, "post", found)


def test_feedback_outlives_the_server(tmp_path: Path) -> None:
    made = settings.load(ENVIRONMENT, home=tmp_path)
    with TestClient(create_app(Server(made))) as client:
        id = client.post("/predict/v1", json={"case": CASE}).headers["x-prediction-id"]
        give(client, id, {"true_diagnosis": "Malaria"})
    with TestClient(create_app(Server(made))) as client:
        (said,) = client.get(f"/predictions/{id}").json()["feedback"]
    assert said["true_diagnosis"] == "Malaria"
