"""`POST /predict/v1` as the contract says it."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from ddx.core.record import Failed, PredictionId
from ddx.errors import JournalFull
from ddx.web.state import Server

CASE = "A 24-year-old man has had fever for 3 days."


def post(client: TestClient, **body: Any) -> Any:
    return client.post("/predict/v1", json={"case": CASE} | body)


def kept(server: Server, response: Any) -> Any:
    return server.find(PredictionId(response.headers["x-prediction-id"]))


def test_an_answer_has_the_contracts_form(client: TestClient, server: Server) -> None:
    response = post(client, model_name="instant", prompt_version=1, tracker="t1")
    assert response.status_code == 200
    body = response.json()
    assert body["status"] == "success"
    assert body["model_name"] == "instant"
    assert body["prediction_id"] == response.headers["x-prediction-id"]
    data = body["data"]
    assert data["outcome"] == "answered"
    assert [d["rank"] for d in data["result"]] == list(range(1, len(data["result"]) + 1))
    for diagnosis in data["result"]:
        assert diagnosis["likelihood"] in (
            "High",
            "Moderate-High",
            "Moderate",
            "Low-Moderate",
            "Low",
        )
        assert len(diagnosis["summarised_rationale"]) <= 3
        assert set(diagnosis) == {
            "rank",
            "diagnosis",
            "likelihood",
            "summarised_rationale",
            "rationale",
            "probability",
            "codes",
            "supporting",
            "contradicting",
            "urgency",
            "next_steps",
        }
    assert {"conclusion", "further_questions", "missing_information", "disclaimer"} <= set(data)
    assert kept(server, response).completion.body == response.text


def test_a_request_without_a_model_gets_the_default(client: TestClient) -> None:
    assert post(client).json()["model_name"] == "instant"


@pytest.mark.parametrize("index", [1, "1", " 1 "])
def test_a_prompt_version_may_be_a_string(client: TestClient, server: Server, index: Any) -> None:
    response = post(client, prompt_version=index)
    assert response.status_code == 200
    assert kept(server, response).request.prompt_version == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model_name": "no-such"}, 400, "unknown_model"),
        ({"prompt_version": 4711}, 400, "unknown_prompt"),
        ({"model_name": "gemini-2.0-flash"}, 503, "model_not_configured"),
    ],
)
def test_what_cannot_be_asked_leaves_a_failed_record_with_the_case(
    client: TestClient, server: Server, body: dict[str, Any], status: int, code: str
) -> None:
    response = post(client, **body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == code
    assert problem["advice"]
    record = kept(server, response)
    assert record.request.case == CASE
    assert isinstance(record.outcome, Failed)
    assert record.completion.body == response.text


def test_a_model_without_its_key_names_the_variable(client: TestClient) -> None:
    response = post(client, model_name="gemini-2.0-flash")
    assert "GEMINI_API_KEY" in response.json()["detail"]
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"case": ""}, "case"),
        ({"case": None}, "case"),
        ({"case": 5}, "case"),
        ({"case": "x" * 50_001}, "case"),
        ({"case": CASE, "prompt_version": "one"}, "prompt_version"),
        ({"case": CASE, "prompt_version": True}, "prompt_version"),
        ({"case": CASE, "prompt_version": 1.5}, "prompt_version"),
        ({"case": CASE, "tracker": "t" * 201}, "tracker"),
        ({"case": CASE, "temperature": 3}, "temperature"),
        ({"case": CASE, "top_differential": 51}, "top_differential"),
        ({"case": CASE, "top_differential": 0}, "top_differential"),
        ({"case": CASE, "setting": "moon"}, "setting"),
        ({"findings": {"present": ["fever"]}}, "findings.present.0"),
        ({"findings": {"sex": "female"}}, "findings.sex"),
        ({"findings": {"age": "3 years"}}, "findings.age"),
        ({}, "case"),
    ],
)
def test_an_invalid_body_names_its_field_and_leaves_no_record(
    client: TestClient, server: Server, body: dict[str, Any], field: str
) -> None:
    response = client.post("/predict/v1", json=body)
    assert response.status_code == 422
    problem = response.json()
    assert problem["code"] == "invalid_request"
    assert problem["field"] == field
    assert "x-prediction-id" not in response.headers
    assert "xxxx" not in response.text


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'"case"', b"\xff\xfe", b'{"case": "\\ud800"}', b"[" * 100_000]
)
def test_a_body_that_is_no_json_object_is_a_422(client: TestClient, raw: bytes) -> None:
    response = client.post("/predict/v1", content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert response.json()["code"] == "invalid_request"


def test_a_wrong_content_type_is_a_415(client: TestClient) -> None:
    response = client.post("/predict/v1", data={"case": CASE})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("declared", [True, False])
def test_a_megabyte_of_text_is_a_413(client: TestClient, declared: bool) -> None:
    raw = json.dumps({"case": "x" * 1_000_000}).encode()
    content: Any = raw if declared else iter([raw[:500_000], raw[500_000:]])
    response = client.post(
        "/predict/v1", content=content, headers={"content-type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "case", ["🤒" * 50_000, "fever\x00\x07\x1b[31m\u202e", "\n\t ", "ﬁèvre — ١٢٣ 发烧"]
)
def test_any_text_is_a_case_and_is_kept_as_it_came(
    client: TestClient, server: Server, case: str
) -> None:
    response = client.post(
        "/predict/v1",
        content=json.dumps({"case": case}).encode(),
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 200
    assert kept(server, response).request.case == case


def test_a_tracker_sent_twice_gets_the_same_bytes(client: TestClient) -> None:
    first, second = post(client, tracker="t"), post(client, tracker="t")
    assert first.content == second.content
    assert first.headers["x-prediction-id"] == second.headers["x-prediction-id"]


def test_the_header_idempotency_key_is_the_same_thing(client: TestClient) -> None:
    first = post(client, tracker="t")
    second = client.post("/predict/v1", json={"case": CASE}, headers={"Idempotency-Key": "t"})
    assert first.content == second.content


def test_a_tracker_and_another_idempotency_key_are_refused(client: TestClient) -> None:
    response = client.post(
        "/predict/v1", json={"case": CASE, "tracker": "a"}, headers={"Idempotency-Key": "b"}
    )
    assert (response.status_code, response.json()["field"]) == (422, "tracker")


def test_a_tracker_with_another_body_is_a_422(client: TestClient) -> None:
    post(client, tracker="t")
    response = post(client, tracker="t", case="another case")
    assert (response.status_code, response.json()["code"]) == (422, "tracker_reused")


def test_a_blank_tracker_is_none(client: TestClient) -> None:
    first, second = post(client, tracker=""), post(client, tracker="")
    assert first.json()["prediction_id"] != second.json()["prediction_id"]


def test_unknown_fields_are_let_pass(client: TestClient) -> None:
    assert post(client, added_by_middleware={"a": 1}).status_code == 200


def test_codes_alone_are_a_case(client: TestClient, server: Server) -> None:
    findings = {"present": ["HP:0001250"], "sex": "UNKNOWN_SEX", "age": "Infantile onset"}
    response = client.post("/predict/v1", json={"findings": findings})
    assert response.status_code == 200
    request = kept(server, response).request
    assert (request.setting, request.findings.age) == ("genetics", "Infantile onset")


def test_a_full_journal_answers_503_and_leaves_nothing(
    client: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise JournalFull

    monkeypatch.setattr(server.admission, "check", full)
    response = post(client)
    assert (response.status_code, response.json()["code"]) == (503, "journal_full")
    assert int(response.headers["retry-after"]) > 0


def test_a_prediction_can_be_read_again(client: TestClient) -> None:
    first = post(client)
    again = client.get(f"/predictions/{first.json()['prediction_id']}")
    assert again.content == first.content
    assert client.get("/predictions/none-such").status_code == 404


def test_unknown_paths_and_methods_are_problems_too(client: TestClient) -> None:
    for response, status in (
        (client.get("/no-such"), 404),
        (client.get("/predict/v1"), 405),
    ):
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status


def test_health_is_told_as_existing_callers_ask(client: TestClient) -> None:
    assert client.get("/health-status").json()["status"] == "AVAILABLE"
    assert client.get("/healthz").status_code == 200


def test_readiness_says_each_check(client: TestClient, server: Server) -> None:
    names = {c["name"] for c in client.get("/readyz").json()["checks"]}
    assert names == {"engine", "journal", "disk", "backlog", "delivery"}


def test_metrics_count_predictions_and_refusals(client: TestClient) -> None:
    post(client)
    post(client, model_name="patient-name-typed-here")
    client.post("/predict/v1", json={})
    text = client.get("/metrics").text
    assert 'ddx_predictions_total{model="instant",outcome="answered"} 1.0' in text
    assert 'ddx_predictions_total{model="unknown",outcome="failed"} 1.0' in text
    assert 'ddx_refused_total{code="invalid_request"} 1.0' in text
    assert "patient-name-typed-here" not in text


def test_what_was_running_when_the_process_died_is_closed_at_the_next_start(
    server: Server, client: TestClient
) -> None:
    from tests.make import a_prediction

    from ddx.web.api import create_app

    lost = a_prediction()
    assert server._journal is not None
    server._journal.accept(lost, None).result()
    server.stop()
    with TestClient(create_app(server)):
        found = server.find(lost.id)
    assert found is not None
    assert found.outcome is not None
    assert found.outcome.kind == "interrupted"


def test_docs_are_one_page_that_asks_nothing_of_the_network(client: TestClient) -> None:
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "/predict/v1" in answer.text
    assert "tracker" in answer.text
    assert not re.findall(r"https?://|<script|//cdn", answer.text)


def test_each_prediction_is_counted_once(client: TestClient) -> None:
    for _ in range(3):
        post(client, tracker="one")
    text = client.get("/metrics").text
    assert 'ddx_predictions_total{model="instant",outcome="answered"} 1.0' in text
    assert 'ddx_prediction_seconds_count{model="instant"} 1.0' in text


def test_a_method_that_is_not_there_names_those_that_are(client: TestClient) -> None:
    answer = client.get("/predict/v1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_header_and_a_field_of_the_same_letters_are_the_same_key(client: TestClient) -> None:
    first = post(client, tracker="séance-ü")
    key = {"Idempotency-Key": "séance-ü".encode()}
    again = client.post("/predict/v1", json={"case": CASE}, headers=key)  # type: ignore[arg-type]
    assert again.content == first.content


def test_a_body_with_a_byte_order_mark_is_read_and_a_packed_one_is_a_415(
    client: TestClient,
) -> None:
    body, kind = json.dumps({"case": CASE}).encode(), {"Content-Type": "application/json"}
    marked = client.post("/predict/v1", content=b"\xef\xbb\xbf" + body, headers=kind)
    assert marked.status_code == 200
    packed = client.post(
        "/predict/v1", content=gzip.compress(body), headers={**kind, "Content-Encoding": "gzip"}
    )
    assert packed.status_code == 415
    assert "Content-Encoding" in packed.json()["detail"]


@pytest.mark.parametrize("version", [-1, "-1", 10**9])
def test_any_other_index_is_an_unknown_one_with_a_record(client: TestClient, version: Any) -> None:
    answer = post(client, prompt_version=version)
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_prompt")
    assert answer.json()["prediction_id"]


def test_a_fault_in_the_findings_names_the_field(client: TestClient) -> None:
    for field, value in (("sex", "SOMETIMES"), ("age", "three")):
        answer = client.post("/predict/v1", json={"findings": {field: value}})
        assert (answer.status_code, answer.json()["field"]) == (422, f"findings.{field}")
    assert post(client, prompt_version="1_0").status_code == 422


PACKET = {
    "id": "p1",
    "subject": {
        "id": "x",
        "sex": "FEMALE",
        "timeAtLastEncounter": {"age": {"iso8601duration": "P3Y"}},
    },
    "phenotypicFeatures": [
        {"type": {"id": "HP:0001250", "label": "Seizure"}},
        {"type": {"id": "HP:0001263"}, "excluded": True},
    ],
    "interpretations": [{"diagnosis": {"disease": {"id": "OMIM:1", "label": "The truth"}}}],
}


@pytest.mark.parametrize(
    "body",
    [{"phenopacket": PACKET}, {"case": json.dumps(PACKET)}],
    ids=["field", "case"],
)
def test_a_phenopacket_is_a_case_and_its_diagnosis_is_kept_but_not_asked(
    client: TestClient, server: Server, body: dict[str, Any]
) -> None:
    response = client.post("/predict/v1", json=body)
    assert response.status_code == 200
    request = kept(server, response).request
    assert request.case == ""
    assert request.findings.present == ("HP:0001250",)
    assert request.findings.absent == ("HP:0001263",)
    assert (request.findings.sex, request.findings.age) == ("FEMALE", "P3Y")
    assert request.setting == "genetics"
    assert json.loads(request.phenopacket) == PACKET


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"phenopacket": {"phenotypicFeatures": []}}, "no phenotypicFeatures"),
        ({"phenopacket": {"phenotypicFeatures": [{"type": 1}]}}, "type.id"),
        ({"phenopacket": {"phenotypicFeatures": [{"type": {"id": "HP:x"}}]}}, "seven digits"),
        ({"phenopacket": PACKET, "findings": {"present": ["HP:0001250"]}}, "send one"),
    ],
)
def test_a_phenopacket_that_cannot_be_read_is_a_422_that_quotes_nothing(
    client: TestClient, body: dict[str, Any], said: str
) -> None:
    answer = client.post("/predict/v1", json=body)
    assert answer.status_code == 422
    assert said in answer.text
    assert "HP:x" not in answer.text
