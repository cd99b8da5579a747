"""What is sent, the same for both clients."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict
from urllib.parse import quote

KEY_HEADER = "Idempotency-Key"


class FindingsBody(TypedDict, total=False):
    """A case as codes of the Human Phenotype Ontology."""

    present: list[str]
    absent: list[str]
    sex: str
    age: str


class Options(TypedDict, total=False):
    """What can be said beside the text of a case. What is left out is the server's default."""

    findings: FindingsBody
    model_name: str
    prompt_version: int
    tracker: str
    setting: str
    temperature: float
    max_tokens: int
    top_k: int
    top_differential: int


class CaseBody(Options, total=False):
    """One case of a batch."""

    case: str


class Filters(TypedDict, total=False):
    """Which predictions to list. Times are ISO 8601."""

    outcome: str
    error_code: str
    model_name: str
    tracker: str
    since: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One HTTP request."""

    method: str = "GET"
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


def predict(path: str, case: str | None, options: Options) -> Ask:
    """Ask for a prediction: with a tracker always, so that it can be asked again."""
    body: dict[str, Any] = {"case": case, **options}
    body["tracker"] = body.get("tracker") or a_key()
    return _post(path, {name: value for name, value in body.items() if value is not None})


def batch(cases: Iterable[str | CaseBody], key: str | None) -> Ask:
    """Hand over a batch: with a key always, so that it can be handed over again."""
    bodies = [{"case": case} if isinstance(case, str) else case for case in cases]
    return _post("/predict/v1/batch", {"cases": bodies}, {KEY_HEADER: key or a_key()})


def batch_path(id: str, more: str = "") -> Ask:
    """Ask about a batch."""
    return Ask(path=f"/predict/v1/batch/{quote(id, safe='')}{more}")


def one(id: str) -> Ask:
    """Ask for a prediction again."""
    return Ask(path=f"/predictions/{quote(id, safe='')}")


def listing(filters: Filters, before: str | None) -> Ask:
    """Ask for a page of predictions."""
    query = {name: str(value) for name, value in filters.items()}
    return Ask(path="/predictions", query=query | ({"before": before} if before else {}))


def a_key() -> str:
    """Return a tracker that nobody else uses."""
    return f"client-{uuid.uuid4().hex}"


def _post(path: str, body: Any, headers: Mapping[str, str] | None = None) -> Ask:
    return Ask(
        method="POST",
        path=path,
        headers={"Content-Type": "application/json", **(headers or {})},
        body=json.dumps(body, ensure_ascii=False).encode(),
    )
