"""The parts of the OpenAPI document: named schemas, bodies and responses that refer to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ddx.web import forms, problems
from ddx.web.said import FeedbackBody
from ddx.web.schema import TRACKER_LIMIT, BatchBody, PredictBody

_REF = "#/components/schemas/{model}"
_REFUSALS = {
    400: "Unknown model or prompt index",
    401: "Who asks is not known: send a key, or an issuer's token",
    403: "The key has not the role for this",
    404: "There is none of this id",
    408: "The body did not arrive in time",
    410: "The record was erased",
    413: "The body is too large",
    415: "The body has another media type",
    422: "Invalid, or a tracker used with another body",
    429: "The key sends more than it may",
    502: "The model failed",
    503: "The record cannot be made durable, the server is overloaded, or the model has no key",
    504: "The model missed its deadline",
}
_ID_HEADER = {"X-Prediction-Id": {"schema": {"type": "string"}, "description": "Id of the record."}}
_RETRY_HEADER = {
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before a retry."}
}

Responses = dict[int | str, dict[str, Any]]


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema of this document."""
    return {"$ref": _REF.format(model=name)}


def content(about: str, form: str, media_type: str = "application/json") -> dict[str, Any]:
    """Return a response whose body has a form of ours."""
    return {"description": about, "content": {media_type: {"schema": ref(form)}}}


def reply(about: str) -> dict[str, Any]:
    """Return the response that holds a prediction."""
    return {**content(about, "Prediction"), "headers": _ID_HEADER}


def refusals(*statuses: int) -> Responses:
    """Return the problem documents of some statuses."""
    return {
        status: {
            **content(_REFUSALS[status], "Problem", problems.MEDIA_TYPE),
            "headers": _RETRY_HEADER if status in problems.RETRIED else {},
        }
        for status in statuses
    }


def events() -> dict[str, Any]:
    """Return the response that is a stream of events. OpenAPI 3.1 has no word for their forms."""
    return {
        "description": (
            "Server-sent events: `accepted` (data: Accepted), `diagnosis` (data: Diagnosis), then"
            " `final` (data: Prediction) or `error` (data: Problem)"
        ),
        "headers": _ID_HEADER,
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }


def json_body(form: str, *more: str) -> dict[str, Any]:
    """Return a request body, which is parsed by hand; `more` names other media types for it."""
    schemas = {"application/json": {"schema": ref(form)}}
    texts = {kind: {"schema": {"type": "string"}} for kind in more}
    return {"required": True, "content": schemas | texts}


def key_parameter() -> dict[str, Any]:
    """Return the header that makes a request safe to retry."""
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "The same thing as `tracker`: send it again to retry.",
        "schema": {"type": "string", "maxLength": TRACKER_LIMIT},
    }


def query(name: str, about: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a parameter of the query, a text where no `schema` is given."""
    form = dict(schema or {"type": "string"})
    return {"name": name, "in": "query", "required": False, "description": about, "schema": form}


def in_path(name: str) -> dict[str, Any]:
    """Return a parameter of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def add_schemas(app: FastAPI) -> None:
    """Make the application's document hold our schemas, and say only what happens."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        found = document.setdefault("components", {}).setdefault("schemas", {})
        found |= _schemas()
        for _, _, operation in operations(document):
            # FastAPI's own form of a 422, which this server never sends.
            form = operation["responses"].get("422", {}).get("content", {})
            if "HTTPValidationError" in str(form):
                del operation["responses"]["422"]
        found.pop("HTTPValidationError", None)
        found.pop("ValidationError", None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation."""
    for path, found in document["paths"].items():
        for verb, operation in found.items():
            yield path, verb, operation


def _schemas() -> dict[str, Any]:
    named: list[tuple[type[BaseModel], Literal["serialization", "validation"]]] = [
        *((form, "serialization") for form in forms.ALL),
        (PredictBody, "validation"),
        (BatchBody, "validation"),
        (FeedbackBody, "validation"),
    ]
    _, document = models_json_schema(named, ref_template=_REF)
    found: dict[str, Any] = document["$defs"]
    for form in forms.ALL:
        for one in found[form.__name__].get("properties", {}).values():
            # A field that is left out has no default.
            one.pop("default", None)
    return found
