"""With `privacy = "mask"`, what identifies a person is in nothing that is kept or sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.web.conftest import ENVIRONMENT

from ddx import settings
from ddx.core.codec import encode, read_record_json
from ddx.core.record import PredictionId
from ddx.core.run_draft import draft
from ddx.errors import MissingExtra
from ddx.web import serve
from ddx.web.api import create_app
from ddx.web.state import Server

pytest.importorskip("phonenumbers", reason="needs the extra `privacy`")
CASE = "Mr. Ramesh Kumar, 45/M, ph 98300 45678, has had fever for 3 days."
MASKED = "Mr. [NAME], 45/M, ph [PHONE], has had fever for 3 days."
SECRETS = ("Ramesh", "Kumar", "98300", "45678")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(settings.load({**ENVIRONMENT, "DDX_PRIVACY": "mask"}, home=tmp_path))


@pytest.fixture
def masking(server: Server) -> Iterator[TestClient]:
    with TestClient(create_app(server)) as client:
        yield client


def asked(client: TestClient, **body: Any) -> Any:
    response = client.post("/predict/v1", json={"case": CASE, **body})
    assert response.status_code == 200, response.text
    return response.json()


def test_the_masked_case_is_the_case_from_then_on(masking: TestClient, server: Server) -> None:
    said = asked(masking)
    assert said["masked"] == {"name": 1, "phone": 1}
    kept = server.find(PredictionId(said["prediction_id"]))
    assert kept is not None
    assert kept.request.case == MASKED
    assert kept.masked == {"name": 1, "phone": 1}
    run = draft(kept)
    assert run.files["input_case.txt"] == MASKED
    assert run.params["case_length"] == str(len(MASKED))
    assert run.tags["ddx.masked"] == "name=1 phone=1"
    assert read_record_json(run.files["record.json"])[0] == kept
    everything = [encode(kept), *run.files.values(), *run.tags.values(), *run.params.values()]
    assert not [secret for secret in SECRETS for text in everything if secret in text]


def test_nothing_on_the_disk_holds_what_was_masked(
    masking: TestClient, server: Server, tmp_path: Path
) -> None:
    asked(masking, tracker="visit-1")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [(p, s) for p in files for s in SECRETS if s.encode() in p.read_bytes()]


def test_quotes_of_the_real_engine_stand_in_the_masked_case(masking: TestClient) -> None:
    said = asked(masking, model_name="knowledge", case=f"{CASE} He has a rash and joint pain.")
    quotes = [item for one in said["data"]["result"] for item in one["supporting"]]
    text = f"{MASKED} He has a rash and joint pain."
    assert [one for one in quotes if one["quote"]]
    assert all(text[q["start"] : q["end"]] == q["quote"] for q in quotes if q["quote"])


def test_a_tracker_stands_for_the_body_as_it_came(masking: TestClient) -> None:
    first = asked(masking, tracker="visit-1")
    assert asked(masking, tracker="visit-1") == first
    # Masked, this one is the same text: it is another person's body all the same.
    other = CASE.replace("Ramesh Kumar", "Suresh Patil")
    again = masking.post("/predict/v1", json={"case": other, "tracker": "visit-1"})
    assert (again.status_code, again.json()["code"]) == (422, "tracker_reused")


def test_a_phenopackets_document_is_not_kept(masking: TestClient, server: Server) -> None:
    packet = {
        "id": "ward-7-Ramesh",
        "subject": {"id": "Ramesh Kumar", "sex": "MALE", "dateOfBirth": "1980-03-12T00:00:00Z"},
        "phenotypicFeatures": [{"type": {"id": "HP:0001250", "label": "Seizure"}}],
    }
    response = masking.post("/predict/v1", json={"phenopacket": packet})
    assert response.json()["masked"] == {"phenopacket": 1}
    kept = server.find(PredictionId(response.json()["prediction_id"]))
    assert kept is not None
    assert kept.request.phenopacket is None
    assert kept.request.findings is not None
    assert kept.request.findings.present == ("HP:0001250",)
    assert "Ramesh" not in encode(kept)


def test_that_there_was_nothing_to_mask_is_said_too(masking: TestClient, server: Server) -> None:
    said = asked(masking, case="Fever for 3 days in a 45-year-old man, and a rash.")
    assert said["masked"] == {}
    kept = server.find(PredictionId(said["prediction_id"]))
    assert kept is not None
    assert draft(kept).tags["ddx.masked"] == "nothing"


def test_a_batch_is_masked_as_well(masking: TestClient, server: Server, tmp_path: Path) -> None:
    batch = masking.post("/predict/v1/batch", json={"cases": [{"case": CASE}]}).json()
    while masking.get(batch["status_url"]).json()["status"] != "done":
        time.sleep(0.01)
    ids = masking.get("/predictions").json()["predictions"]
    kept = server.find(PredictionId(ids[0]["prediction_id"]))
    assert kept is not None
    assert kept.request.case == MASKED


def test_with_privacy_off_the_case_stays_and_nothing_is_said(tmp_path: Path) -> None:
    plain = Server(settings.load(ENVIRONMENT, home=tmp_path))
    with TestClient(create_app(plain)) as client:
        said = asked(client)
        assert "masked" not in said
        kept = plain.find(PredictionId(said["prediction_id"]))
    assert kept is not None
    assert kept.request.case == CASE
    assert "ddx.masked" not in draft(kept).tags


def test_a_server_that_cannot_mask_refuses_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddx.adapters.privacy.masker.find_spec", lambda name: None)
    wanted = settings.load({**ENVIRONMENT, "DDX_PRIVACY": "mask"}, home=tmp_path)
    with pytest.raises(MissingExtra, match=r"ddx-server\[privacy\]"):
        serve.serve(wanted, with_deliverer=False)
    assert list(tmp_path.iterdir()) == []
