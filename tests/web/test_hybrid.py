"""An LLM's answer grounded, and fused with the knowledge engine's, through the HTTP edge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.adapters.dspy_engine.stub import ANSWER, Provider, Says, provider

from ddx import settings
from ddx.core.codec import read_record_json
from ddx.core.record import Prediction, PredictionId
from ddx.core.run_draft import draft
from ddx.web.api import create_app
from ddx.web.state import Server

CASE = (
    "A 24-year-old man has had fever for 3 days with headache, pain behind the eyes, joint pain"
    " and a rash."
)


@pytest.fixture(scope="module")
def stub() -> Iterator[Provider]:
    with provider() as stub:
        yield stub


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, stub: Provider) -> Server:
    """One for all tests here, with the index of the engine's own tests: making it takes seconds."""
    home: Path = tmp_path_factory.mktemp("hybrid")
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-") else base) / "knowledge"
    shared.mkdir(mode=0o700, exist_ok=True)
    (home / "ddx_data").mkdir(mode=0o700)
    (home / "ddx_data" / "cache").symlink_to(shared)
    (home / "ddx.toml").write_text(f'[models.local]\napi_base = "{stub.url}"\nattempts = 1\n')
    return Server(settings.load({}, home=home))


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[TestClient]:
    with TestClient(create_app(server), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(autouse=True)
def _usual(stub: Provider) -> None:
    stub.bodies.clear()
    stub.script[:] = [Says()]


def files_of(server: Server, response: Any) -> dict[str, str]:
    """What MLflow is given."""
    found = server.find(PredictionId(response.headers["x-prediction-id"]))
    assert found is not None
    return dict(draft(found).files)


def record_of(server: Server, response: Any) -> Prediction:
    record, _ = read_record_json(files_of(server, response)["record.json"])
    return record


def prompt_of(body: dict[str, Any]) -> str:
    return "\n".join(str(message["content"]) for message in body["messages"])


def test_an_llms_diagnosis_has_the_codes_of_its_disease(client: TestClient) -> None:
    reply = client.post("/predict/v1", json={"case": CASE, "model_name": "local"}).json()
    (diagnosis,) = reply["data"]["result"]
    codes = {code["system"]: code["code"] for code in diagnosis["codes"]}
    assert codes["MONDO"] == "MONDO:0005502"
    assert codes["ICD-10"].startswith("A9")


def test_what_no_disease_is_called_has_no_codes(client: TestClient, stub: Provider) -> None:
    stub.script[:] = [Says(json.dumps(ANSWER | {"diagnoses": [{"diagnosis": "Bad humours"}]}))]
    reply = client.post("/predict/v1", json={"case": CASE, "model_name": "local"}).json()
    assert reply["data"]["result"][0]["codes"] == []


def test_the_llm_is_shown_the_candidates_and_both_rankings_are_kept(
    client: TestClient, server: Server, stub: Provider
) -> None:
    asked = {"case": CASE, "model_name": "local+knowledge"}
    response = client.post("/predict/v1", json=asked)

    assert response.status_code == 200
    answer = (record := record_of(server, response)).completion
    assert answer is not None
    llm, knowledge = answer.answer.rankings
    assert (llm.engine, knowledge.engine) == ("llm", "knowledge")
    assert len(knowledge.diagnoses) == 10
    assert [found.name for found in llm.diagnoses] == ["Dengue fever"]

    sent = prompt_of(stub.bodies[0])
    for place, found in enumerate(knowledge.diagnoses, start=1):
        assert f"{place}. {found.name}" in sent
    assert "probability" in sent
    assert "(likelihood ratio " in sent
    kept = files_of(server, response)["prompt_used.txt"]
    assert all(found.name in kept for found in knowledge.diagnoses)
    assert record.request.model_name == "local+knowledge"


def test_the_fused_list_begins_with_what_both_found(client: TestClient) -> None:
    alone = client.post("/predict/v1", json={"case": CASE, "model_name": "knowledge"}).json()
    both = client.post("/predict/v1", json={"case": CASE, "model_name": "local+knowledge"}).json()

    first, *rest = both["data"]["result"]
    assert first["codes"][0]["code"] == "MONDO:0005502"
    assert first["rationale"]  # the LLM's words,
    assert any("likelihood_ratio" in item for item in first["supporting"])  # the ledger
    assert [found["rank"] for found in both["data"]["result"]] == [1, 2, 3, 4, 5]
    others = [
        found["diagnosis"]
        for found in alone["data"]["result"]
        if "MONDO:0005502" not in [code["code"] for code in found["codes"]]
    ]
    assert [found["diagnosis"] for found in rest][: len(others)] == others
    assert both["data"]["result"][0]["probability"] is None


def test_an_llm_that_fails_is_not_replaced(
    client: TestClient, server: Server, stub: Provider
) -> None:
    stub.script[:] = [Says(status=400)]
    response = client.post("/predict/v1", json={"case": CASE, "model_name": "local+knowledge"})

    assert response.status_code == 502
    completion = record_of(server, response).completion
    assert completion is not None
    (knowledge,) = completion.answer.rankings
    assert (knowledge.engine, len(knowledge.diagnoses)) == ("knowledge", 10)
    assert "prompt_used.txt" in files_of(server, response)


def test_with_too_few_findings_the_llm_is_asked_without_candidates(
    client: TestClient, server: Server, stub: Provider
) -> None:
    asked = {"case": "Please advise.", "model_name": "local+knowledge"}
    response = client.post("/predict/v1", json=asked)

    assert response.json()["data"]["result"][0]["diagnosis"] == "Dengue fever"
    assert "CANDIDATES" not in prompt_of(stub.bodies[0])
    completion = record_of(server, response).completion
    assert completion is not None
    llm, knowledge = completion.answer.rankings
    assert (len(llm.diagnoses), knowledge.diagnoses) == (1, ())


def test_an_llm_that_finds_too_little_detail_declines_for_both(
    client: TestClient, stub: Provider
) -> None:
    stub.script[:] = [Says(json.dumps(ANSWER | {"sufficient": False}))]
    asked = {"case": CASE, "model_name": "local+knowledge"}
    data = client.post("/predict/v1", json=asked).json()["data"]
    assert (data["outcome"], data["result"]) == ("insufficient_information", [])
