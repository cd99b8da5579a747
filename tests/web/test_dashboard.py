"""The dashboard's addresses, and what it says where it cannot show anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from ddx.core.report import By
from ddx.errors import InvalidRequest
from ddx.web.pages.choosing import COMPARABLE, USUAL_BY, by_name, chosen

NOW = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)


def test_an_address_without_fields_asks_for_the_last_seven_days() -> None:
    found = chosen({}, NOW)
    assert found.question.since == NOW.replace(second=0) - timedelta(days=7)
    assert (found.question.until, found.question.where, found.by) == (None, {}, USUAL_BY)
    assert found.range == "7d"


def test_days_are_whole_and_win_over_a_range() -> None:
    found = chosen({"since": "2026-02-01", "until": "2026-02-02", "range": "all"}, NOW)
    assert found.question.since == datetime(2026, 2, 1, tzinfo=UTC)
    assert found.question.until == datetime(2026, 2, 3, tzinfo=UTC)
    assert found.range == ""


def test_filters_are_of_what_reports_choose_by() -> None:
    found = chosen({"model": "gpt-4o", "temperature": "0.7", "caller": ""}, NOW)
    assert found.question.where == {By.MODEL: "gpt-4o", By.TEMPERATURE: "0.7"}
    assert found.address(model="", live="1") == "/dashboard?temperature=0.7&live=1"


@pytest.mark.parametrize("by", COMPARABLE)
def test_what_is_compared_has_a_name(by: tuple[By, ...]) -> None:
    assert chosen({"by": by_name(by)}, NOW).by == by


@pytest.mark.parametrize(
    "query",
    [
        {"range": "a CANARY"},
        {"since": "CANARY"},
        {"until": "0001-01-01"},
        {"by": "CANARY"},
        {"CANARY": "1"},
        {"model": "CANARY" * 50},
    ],
)
def test_a_wrong_address_is_said_without_what_stands_in_it(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chosen(query, NOW)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/dashboard?range=for+ever", 422),
        ("/dashboard/charts/success.svg?range=for+ever", 422),
        ("/dashboard/charts/nothing.svg", 404),
        ("/dashboard/requests?id=x", 422),
        ("/dashboard/requests/01a20801-e9ca-787c-862e-5df01cce0ac4", 404),
        ("/dashboard/requests/nothing", 404),
        ("/dashboard/requests/nothing/mlflow", 404),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, path: str, status: int) -> None:
    pytest.importorskip("duckdb", reason="needs the extra `analytics`")
    reply = client.get(path)
    assert reply.status_code == status


def test_an_empty_ledger_has_a_page(client: TestClient) -> None:
    pytest.importorskip("duckdb", reason="needs the extra `analytics`")
    reply = client.get("/dashboard")
    assert reply.status_code == 200
    assert "No prediction came in that time" in reply.text


def test_a_replay_from_another_site_is_refused(client: TestClient) -> None:
    reply = client.post(
        "/dashboard/requests/01a20801-e9ca-787c-862e-5df01cce0ac4/replay",
        content="model_name=knowledge",
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": "http://elsewhere.example",
        },
    )
    assert reply.status_code == 422
    assert "another site" in reply.text
