"""A finished outcome to the status and the body of its reply.

The body is part of the record (final_response.txt, byte for byte), so it is made here, by a
pure function, and the web edge sends it as it is.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, assert_never

from ddx.core.record import (
    Answered,
    Cancelled,
    Declined,
    Diagnosis,
    EngineAnswer,
    Evidence,
    Failed,
    Interrupted,
    Prediction,
)

STATUS: dict[str, int] = {
    "invalid_request": 422,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "request_timeout": 408,
    "unauthenticated": 401,
    "forbidden": 403,
    "rate_limited": 429,
    "keys_unavailable": 503,
    "issuer_unavailable": 503,
    "access_trail_unavailable": 503,
    "unknown_model": 400,
    "unknown_prompt": 400,
    "model_not_configured": 503,
    "tracker_reused": 422,
    "not_found": 404,
    "erased": 410,
    "model_error": 502,
    "model_deadline": 504,
    "interrupted": 503,
    "overloaded": 503,
    "journal_unavailable": 503,
    "journal_full": 503,
    "backlog_full": 503,
    "claims_unavailable": 503,
    "tracker_unsettled": 503,
    "master_key_unavailable": 503,
    "wrong_master_key": 503,
    "ledger_unavailable": 503,
    "mlflow_unavailable": 503,
    "missing_extra": 503,
}
"""HTTP status of each error code; what is not listed is a 500."""

DISCLAIMER = (
    "Decision support for clinicians, not a diagnosis: it can be wrong or incomplete, and the "
    "decision stays with the clinician who sees the patient."
)


def reply(prediction: Prediction, answer: EngineAnswer) -> tuple[int, str]:
    """Return the HTTP status and the JSON body that answer this prediction."""
    match answer.outcome:
        case Answered() as outcome:
            return 200, _success(
                prediction,
                answer,
                {
                    "outcome": outcome.kind,
                    "result": [
                        diagnosis(rank, found)
                        for rank, found in enumerate(outcome.diagnoses, start=1)
                    ],
                    "conclusion": outcome.conclusion,
                    "further_questions": _numbered(outcome.further_questions),
                    "missing_information": list(outcome.missing_information),
                },
            )
        case Declined() as outcome:
            return 200, _success(
                prediction,
                answer,
                {
                    "outcome": outcome.kind,
                    "result": [],
                    "conclusion": outcome.reason,
                    "further_questions": _numbered(outcome.further_questions),
                    "missing_information": list(outcome.missing_information),
                },
            )
        case Failed(code=code, message=message, advice=advice):
            body = problem(code, message, advice, prediction_id=prediction.id)
            return STATUS.get(code, 500), json.dumps(body, ensure_ascii=False)
        case Cancelled() | Interrupted():
            body = problem(
                "interrupted",
                "The server stopped before the answer was known.",
                "Retry with the same tracker: a new prediction starts.",
                prediction_id=prediction.id,
            )
            return 503, json.dumps(body)
        case _:
            assert_never(answer.outcome)


def diagnosis(rank: int, found: Diagnosis) -> dict[str, Any]:
    """Return one entry of the list `result`."""
    return {
        "rank": rank,
        "diagnosis": found.name,
        "likelihood": found.likelihood,
        "summarised_rationale": _numbered(_summary(found)),
        "rationale": [
            {key: text}
            for key, text in (
                ("Clinical Relevance and Features", found.clinical_relevance),
                ("Lack of Fit Reasoning", found.lack_of_fit),
            )
            if text
        ],
        "probability": found.probability,
        "codes": [{"system": c.system, "code": c.code, "display": c.display} for c in found.codes],
        "supporting": [_evidence(item) for item in found.supporting],
        "contradicting": [_evidence(item) for item in found.contradicting],
        "urgency": found.urgency,
        "next_steps": list(found.next_steps),
    }


def problem(
    code: str,
    detail: str,
    advice: str,
    *,
    prediction_id: str | None = None,
    field: str | None = None,
) -> dict[str, Any]:
    """Return an RFC 9457 problem document."""
    status = STATUS.get(code, 500)
    document: dict[str, Any] = {
        "type": f"urn:ddx:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
        "advice": advice,
    }
    if field is not None:
        document["field"] = field
    if prediction_id is not None:
        document["prediction_id"] = prediction_id
    return document


def _success(prediction: Prediction, answer: EngineAnswer, data: dict[str, Any]) -> str:
    body: dict[str, Any] = {
        "status": "success",
        "prediction_id": prediction.id,
        "model_name": prediction.request.model_name,
        "prompt_version": answer.settings.prompt_index,
        "data": {**data, "disclaimer": DISCLAIMER},
    }
    if prediction.masked is not None:
        body["masked"] = prediction.masked
    return json.dumps(body, ensure_ascii=False)


def _evidence(item: Evidence) -> dict[str, Any]:
    known = {
        "finding": item.finding,
        "quote": item.quote,
        "start": item.start,
        "end": item.end,
    }
    more = {
        "code": item.code,
        "likelihood_ratio": item.likelihood_ratio,
        "source": item.source,
        "basis": None if item.basis is None else asdict(item.basis),
    }
    return known | {name: value for name, value in more.items() if value is not None}


def _summary(found: Diagnosis) -> tuple[str, ...]:
    """At most three lines: what speaks for it, what against, how urgent it is."""
    lines = []
    if found.supporting:
        lines.append("Supported by " + ", ".join(e.finding for e in found.supporting[:5]) + ".")
    elif found.clinical_relevance:
        lines.append(_first_sentence(found.clinical_relevance))
    if found.contradicting:
        against = ", ".join(e.finding for e in found.contradicting[:5])
        lines.append(f"Speaking against it: {against}.")
    elif found.lack_of_fit:
        lines.append(_first_sentence(found.lack_of_fit))
    if found.urgency:
        lines.append(f"Urgency: {found.urgency}.")
    return tuple(lines[:3])


def _first_sentence(text: str) -> str:
    head, dot, _ = text.strip().partition(". ")
    return head + ("." if dot else "")


def _numbered(lines: tuple[str, ...]) -> list[dict[str, str]]:
    return [{str(place): line} for place, line in enumerate(lines, start=1)]
