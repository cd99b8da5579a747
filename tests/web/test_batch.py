"""`POST /predict/v1/batch`: taken as a whole, answered case by case, kept like any other."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.web.test_backpressure import serving
from tests.web.test_openapi import documented

from ddx.core.record import PredictionId
from ddx.errors import JournalFull, JournalUnavailable
from ddx.web.state import Server

CASES: list[dict[str, Any]] = [{"case": f"Case {number}: fever for 3 days."} for number in range(6)]
PATH = "/predict/v1/batch"


def submit(client: TestClient, cases: Any = None, **headers: str) -> Any:
    return client.post(PATH, json={"cases": CASES if cases is None else cases}, headers=headers)


def done(client: TestClient, taken: Any, within_s: float = 20) -> Any:
    """Wait for the end; return status and results."""
    assert taken.status_code == 202, taken.text
    give_up_at = time.monotonic() + within_s
    while True:
        status = client.get(taken.json()["status_url"]).json()
        if status["status"] == "done":
            break
        assert time.monotonic() < give_up_at, status
        time.sleep(0.02)
    text = client.get(taken.json()["results_url"]).text
    return status, [json.loads(line) for line in text.splitlines()]


def test_each_case_is_a_prediction_with_a_record_of_its_own(
    client: TestClient, server: Server
) -> None:
    taken = submit(client)
    assert taken.headers["location"] == taken.json()["status_url"]
    status, lines = done(client, taken)
    assert (status["total"], status["finished"]) == (6, 6)
    assert status["outcomes"] == {"answered": 6}
    assert [line["index"] for line in lines] == list(range(6))
    assert len({line["prediction_id"] for line in lines}) == 6
    for line in lines:
        record = server.find(PredictionId(line["prediction_id"]))
        assert record is not None
        assert record.request.case == CASES[line["index"]]["case"]
        assert line["tracker"] == record.request.tracker
        one = client.get(f"/predictions/{line['prediction_id']}")
        assert one.json() == line["reply"]
        assert line["status"] == one.status_code == 200


def test_a_batch_has_its_documented_form(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    taken = submit(client, [*CASES, {"case": "x", "model_name": "none-such"}])
    documented(document, PATH, "post", taken)
    _, lines = done(client, taken)
    status = client.get(taken.json()["status_url"])
    documented(document, PATH + "/{batch_id}", "get", status)
    documented(document, PATH + "/{batch_id}", "get", client.get(PATH + "/none"))
    form = {"$ref": "#/components/schemas/BatchLine", "components": document["components"]}
    from jsonschema import Draft202012Validator

    for line in lines:
        Draft202012Validator(form).validate(line)
    documented(document, PATH, "post", submit(client, [{"case": ""}]))
    (example,) = document["components"]["schemas"]["BatchBody"]["examples"]
    assert client.post(PATH, json=example).status_code == 202


def test_cases_may_come_as_lines(client: TestClient) -> None:
    body = "\n".join(json.dumps(case, ensure_ascii=False) for case in CASES) + "\n\n"
    taken = client.post(PATH, content=body, headers={"content-type": "application/x-ndjson"})
    assert done(client, taken)[0]["finished"] == 6


def test_a_case_keeps_its_own_tracker_and_the_answer_it_already_has(client: TestClient) -> None:
    before = client.post("/predict/v1", json=CASES[0] | {"tracker": "mine"})
    _, lines = done(client, submit(client, [CASES[0] | {"tracker": "mine"}, CASES[1]]))
    assert lines[0]["prediction_id"] == before.json()["prediction_id"]
    assert lines[0]["reply"] == before.json()
    assert lines[1]["tracker"].startswith("batch-")


def test_what_goes_wrong_with_one_case_is_its_own(client: TestClient) -> None:
    client.post("/predict/v1", json={"case": "another", "tracker": "used"})
    cases = [CASES[0], CASES[1] | {"model_name": "none-such"}, CASES[2] | {"tracker": "used"}]
    status, lines = done(client, submit(client, cases))
    assert status["outcomes"] == {"answered": 1, "tracker_reused": 1, "unknown_model": 1}
    assert [line["status"] for line in lines] == [200, 400, 422]
    assert lines[1]["reply"]["prediction_id"] == lines[1]["prediction_id"]
    assert lines[2]["prediction_id"] is None
    assert lines[2]["reply"]["code"] == "tracker_reused"


def test_the_same_key_leads_to_the_same_batch(client: TestClient) -> None:
    first = submit(client, **{"Idempotency-Key": "b"})
    again = submit(client, **{"Idempotency-Key": "b"})
    assert first.json()["batch_id"] == again.json()["batch_id"]
    done(client, first)
    late = submit(client, **{"Idempotency-Key": "b"})
    assert late.json()["batch_id"] == first.json()["batch_id"]
    other = submit(client, CASES[:2], **{"Idempotency-Key": "b"})
    assert (other.status_code, other.json()["code"]) == (422, "tracker_reused")
    assert len(client.get("/predictions?limit=100").json()["predictions"]) == 6
    assert submit(client).json()["batch_id"] != first.json()["batch_id"]


@pytest.mark.parametrize(
    ("cases", "field"),
    [
        ([], "cases"),
        ("x", "cases"),
        ([CASES[0], {"case": ""}], "cases.1.case"),
        ([CASES[0], {"tracker": "t"}], "cases.1"),
        ([{"findings": {"sex": "x"}}], "cases.0.findings.sex"),
        ([CASES[0] | {"tracker": "t"}, CASES[1] | {"tracker": "t"}], "cases.1.tracker"),
    ],
)
def test_a_batch_with_a_fault_is_refused_whole_and_names_the_case(
    client: TestClient, server: Server, cases: Any, field: str
) -> None:
    response = submit(client, cases)
    assert (response.status_code, response.json()["field"]) == (422, field)
    assert server.batches.waiting == 0
    if isinstance(cases, list) and cases and field != "cases.1.tracker":
        lines = "\n".join(map(json.dumps, cases))
        response = client.post(
            PATH, content=lines, headers={"content-type": "application/x-ndjson"}
        )
        assert (response.status_code, response.json()["field"].startswith(field)) == (422, True)


def test_limits_are_said_before_anything_is_taken(tmp_path: Any) -> None:
    few = {"DDX_MAX_BATCH_CASES": "2", "DDX_MAX_BATCH_MB": "0.01", "DDX_MAX_BATCHES": "1"}
    with serving(tmp_path, **few) as (client, server):
        assert (submit(client).status_code, submit(client).json()["field"]) == (422, "cases")
        lines = "\n".join(map(json.dumps, CASES))
        ndjson = {"content-type": "application/x-ndjson"}
        assert client.post(PATH, content=lines, headers=ndjson).status_code == 422
        assert submit(client, [{"case": "x" * 20_000}]).status_code == 413
        assert client.post(
            PATH, content=b"x", headers={"content-type": "text/csv"}
        ).status_code == (415)
        server.batches._open = {"x": None}  # type: ignore[dict-item]
        refused = submit(client, CASES[:1])
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        server.batches._open = {}


def test_a_full_disk_refuses_a_batch(
    client: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise JournalFull

    monkeypatch.setattr(server.batches, "_admit", full)
    assert submit(client).json()["code"] == "journal_full"


def test_a_journal_in_trouble_makes_a_batch_wait_not_fail(
    client: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddx.services.batch.FIRST_WAIT_S", 0.05)
    troubles = iter([JournalUnavailable("no"), JournalFull(), JournalUnavailable("no")])
    predict = server.batches._predict

    async def sometimes(*words: Any) -> Any:
        trouble = next(troubles, None)
        if trouble is not None:
            raise trouble
        return await predict(*words)

    monkeypatch.setattr(server.batches, "_predict", sometimes)
    assert done(client, submit(client))[0]["outcomes"] == {"answered": 6}


def test_nothing_is_left_of_the_cases_but_their_records(client: TestClient, server: Server) -> None:
    done(client, submit(client))
    folder = server.settings.data
    give_up_at = time.monotonic() + 5
    while list(folder.rglob("cases.sealed")) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    assert not list(folder.rglob("cases.sealed"))
    assert not list((folder / "keys" / "batches").glob("*.key"))


def test_metrics_say_how_many_cases_wait(client: TestClient) -> None:
    done(client, submit(client))
    assert "ddx_batch_waiting_cases 0.0" in client.get("/metrics").text
