"""The OpenAPI document is sound, and every reply has the form that it documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from starlette.testclient import TestClient

from ddx.errors import Erased, JournalFull
from ddx.web.state import Server

CASE = {"case": "A 24-year-old man has had fever for 3 days."}
_REF = "#/components/schemas/"


@pytest.fixture
def document(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for child in children:
        yield from nodes(child)


def operations(document: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in document["paths"].items():
        for verb, operation in found.items():
            yield path, verb, operation


def validator(document: Any, schema: Any) -> Draft202012Validator:
    whole = {**schema, "components": document["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def documented(document: Any, path: str, verb: str, response: Any) -> None:
    """Hold a response against what the document says of its operation."""
    responses = document["paths"][path][verb]["responses"]
    assert str(response.status_code) in responses, (path, response.status_code)
    said = responses[str(response.status_code)]
    kind = response.headers["content-type"].partition(";")[0]
    assert kind in said["content"], (path, response.status_code, kind)
    if kind.endswith("json"):
        validator(document, said["content"][kind]["schema"]).validate(response.json())


def test_every_schema_is_sound_and_every_reference_leads_to_one(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    refs = {node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)}
    assert refs
    assert {ref.removeprefix(_REF) for ref in refs} <= set(schemas)
    for node in nodes(document):
        if "example" in node or "examples" in node:
            for example in node.get("examples", []):
                validator(document, node).validate(example)


def test_a_generator_finds_names_bodies_parameters_and_forms(document: Any) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][A-Za-z]+", name) for name in names)
    for path, verb, operation in operations(document):
        parameters = operation.get("parameters", [])
        in_path = {p["name"] for p in parameters if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert all(p.get("required") for p in parameters if p["in"] == "path")
        assert (verb == "post") == ("requestBody" in operation)
        assert operation["responses"]
        for status, response in operation["responses"].items():
            assert response["description"], (path, status)
            for kind, found in response["content"].items():
                assert found["schema"], (path, status)
                assert (kind == "application/problem+json") == (int(status) >= 400) or (
                    path == "/readyz"
                )


def test_the_bodies_of_requests_are_forms_with_a_name(document: Any) -> None:
    body = document["paths"]["/predict/v1"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": _REF + "PredictBody"}
    fields = document["components"]["schemas"]["PredictBody"]["properties"]
    assert {"case", "model_name", "prompt_version", "tracker", "findings"} <= set(fields)
    responses = document["paths"]["/predict/v1"]["post"]["responses"]
    assert {"200", "400", "413", "415", "422", "502", "503", "504"} <= set(responses)


@pytest.mark.parametrize(
    "body",
    [
        CASE,
        CASE | {"model_name": "knowledge"},
        {"findings": {"present": ["HP:0001166", "HP:0001083"]}, "model_name": "knowledge"},
        {"case": "unwell", "model_name": "knowledge"},
        CASE | {"model_name": "none-such"},
        CASE | {"prompt_version": 99},
        CASE | {"model_name": "gemini-2.0-flash"},
        {"case": 7},
        {"findings": {"sex": "x"}},
    ],
)
@pytest.mark.parametrize("path", ["/predict/v1", "/predict/v1/stream"])
def test_each_reply_to_a_prediction_has_its_documented_form(
    client: TestClient, document: Any, path: str, body: Any
) -> None:
    response = client.post(path, json=body)
    documented(document, path, "post", response)
    if id := response.headers.get("x-prediction-id"):
        documented(
            document, "/predictions/{prediction_id}", "get", client.get(f"/predictions/{id}")
        )


def test_each_other_reply_has_its_documented_form(
    client: TestClient, document: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/predict/v1", json=CASE)
    for path in ("/health-status", "/healthz", "/readyz", "/metrics", "/predictions"):
        documented(document, path, "get", client.get(path))
    documented(document, "/predictions", "get", client.get("/predictions?limit=0"))
    one = "/predictions/{prediction_id}"
    documented(document, one, "get", client.get("/predictions/none-such"))
    for kind in ("text/plain", "application/json"):
        response = client.post("/predict/v1", content=b"x", headers={"content-type": kind})
        documented(document, "/predict/v1", "post", response)

    def erased(_id: str) -> None:
        raise Erased

    def full() -> None:
        raise JournalFull

    monkeypatch.setattr(server, "find", erased)
    monkeypatch.setattr(server.admission, "check", full)
    gone = client.get("/predictions/some")
    assert gone.status_code == 410
    documented(document, one, "get", gone)
    documented(document, "/predict/v1", "post", client.post("/predict/v1", json=CASE))


def test_the_documents_own_example_is_answered(client: TestClient, document: Any) -> None:
    (example,) = document["components"]["schemas"]["PredictBody"]["examples"]
    assert client.post("/predict/v1", json=example | {"model_name": "instant"}).status_code == 200
    assert json.dumps(document)
