"""Test objects: valid values; name only what the test is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from ddx.core import ids
from ddx.core.feedback import Feedback
from ddx.core.record import (
    Answered,
    Code,
    Completion,
    Diagnosis,
    EngineAnswer,
    Evidence,
    Likelihood,
    LlmSettings,
    ModelCall,
    Outcome,
    Prediction,
    PredictionId,
    Request,
)
from ddx.core.response import reply

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CASE = "A 24-year-old man has had fever for 3 days, and joint pain."
_numbers = count(1)


def an_id() -> PredictionId:
    """An id that no other call returns."""
    return ids.prediction_id(NOON, next(_numbers).to_bytes(10))


def a_request(**changes: Any) -> Request:
    return replace(Request(case=CASE, model_name="knowledge"), **changes)


def a_prediction(**changes: Any) -> Prediction:
    """An accepted prediction without an outcome."""
    plain = Prediction(
        id=an_id(),
        received_at=NOON,
        request=a_request(),
        instance="main",
        version="0.1.0",
        salt="00" * 16,
    )
    return replace(plain, **changes)


def an_answered(names: tuple[str, ...] = ("Dengue fever", "Malaria")) -> Answered:
    start = CASE.index("fever")
    return Answered(
        diagnoses=tuple(
            Diagnosis(
                name=name,
                likelihood=Likelihood.MODERATE,
                codes=(Code(system="MONDO", code="MONDO:0005502", display="dengue disease"),),
                supporting=(Evidence(finding="fever", quote="fever", start=start, end=start + 5),),
                clinical_relevance="Fever with joint pain fits. It is common here.",
            )
            for name in names
        ),
        conclusion="An acute febrile illness.",
        further_questions=("Any bleeding?",),
    )


def an_answer(outcome: Outcome | None = None, **changes: Any) -> EngineAnswer:
    plain = EngineAnswer(
        outcome=outcome or an_answered(),
        settings=LlmSettings(
            model="openai/local", max_tokens=2000, temperature=0.7, top_k=5, prompt_index=1
        ),
        calls=(
            ModelCall(
                attempt=1,
                purpose="predict",
                model="openai/local",
                sent={"temperature": 0.7},
                output="{}",
                input_tokens=100,
                output_tokens=20,
                cost_usd=0.001,
                latency_s=0.5,
            ),
        ),
        prompt_used="system: …\nuser: …",
        raw_output="{}",
        prompt_digest="ab" * 32,
    )
    return replace(plain, **changes)


def a_feedback(**changes: Any) -> Feedback:
    """Somebody names the true diagnosis."""
    return replace(Feedback(received_at=NOON, true_diagnosis="Malaria"), **changes)


def finished(
    prediction: Prediction | None = None, outcome: Outcome | None = None, **changes: Any
) -> Prediction:
    """A prediction with its completion, as the predict service makes it."""
    prediction = prediction or a_prediction()
    answer = an_answer(outcome, **changes)
    status, body = reply(prediction, answer)
    return prediction.completed(
        Completion(duration_s=1.25, answer=answer, status=status, body=body)
    )
