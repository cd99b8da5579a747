"""A finished prediction to its MLflow run: params, metrics, tags and files.

A pure function: the same record gives the same draft, so sending it again changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ddx.core.codec import digest, encode, record_json
from ddx.core.feedback import Feedback
from ddx.core.feedback import tags as feedback_tags
from ddx.core.record import (
    Answered,
    Completion,
    Declined,
    Failed,
    Interrupted,
    Prediction,
    PredictionId,
)

EXPERIMENT = "ddx-server-tracking"
VALUE_LIMIT = 500
"""Longest param or tag value that we send, in characters; MLflow's databases take 6,000."""

# NUL is refused by PostgreSQL, and a line break would split a row of MLflow's tables.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDraft:
    """One MLflow run, whole."""

    prediction_id: PredictionId
    """Also the run's name."""
    status: str
    """FINISHED, FAILED or KILLED."""
    start_ms: int
    end_ms: int | None
    """None where interrupted: the run ended at a time that nobody saw."""
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    files: Mapping[str, str]
    """File name -> text. Patient data."""


def draft(prediction: Prediction, feedback: Sequence[Feedback] = ()) -> RunDraft:
    """Return the run of a finished prediction, and of what was said of it since.

    Raises ValueError where it is unfinished.
    """
    completion = prediction.completion
    if completion is None:
        raise ValueError(f"{prediction.id} has no outcome yet")
    # Encoding is the larger part of making a draft, so it is done once.
    line = encode(prediction)
    start_ms = epoch_ms(prediction.received_at)
    duration_s = completion.duration_s
    return RunDraft(
        prediction_id=prediction.id,
        status=_status(completion),
        start_ms=start_ms,
        end_ms=None if duration_s is None else start_ms + round(duration_s * 1000),
        params=_params(prediction, completion),
        metrics=metrics_of(completion),
        tags=_tags(prediction, completion, digest(line), feedback),
        files=_files(prediction, completion, record_json(line)),
    )


def epoch_ms(moment: datetime) -> int:
    """Return whole milliseconds since 1970, rounded down."""
    return int(moment.timestamp() * 1000)


def _status(completion: Completion) -> str:
    match completion.answer.outcome:
        case Answered() | Declined():
            return "FINISHED"
        case Interrupted():
            return "KILLED"
        case _:
            return "FAILED"


def _params(prediction: Prediction, completion: Completion) -> dict[str, str]:
    request, sent = prediction.request, completion.answer.settings
    values = {
        "model_name": request.model_name,
        "case_length": len(request.case),
        "llm_model": sent.model,
        "llm_max_tokens": sent.max_tokens,
        "llm_temperature": sent.temperature,
        "llm_top_k": sent.top_k,
        "prompt_config_index": sent.prompt_index,
    }
    return {name: "none" if value is None else _clean(str(value)) for name, value in values.items()}


def metrics_of(completion: Completion) -> dict[str, float]:
    """Return the run's metrics; what is not known is left out."""
    answer = completion.answer
    outcome, calls = answer.outcome, answer.calls
    metrics: dict[str, float | None] = {
        "success": 1.0 if isinstance(outcome, Answered | Declined) else 0.0,
        "processing_time": completion.duration_s,
        "input_tokens": _total([c.input_tokens for c in calls]),
        "output_tokens": _total([c.output_tokens for c in calls]),
        "cost_usd": _total([c.cost_usd for c in calls]),
        "llm_time": _total([c.latency_s for c in calls]),
        "llm_attempts": float(len(calls)) if calls else None,
        "diagnoses": float(len(outcome.diagnoses)) if isinstance(outcome, Answered) else None,
    }
    return {name: value for name, value in metrics.items() if value is not None}


def _total(parts: Sequence[float | None]) -> float | None:
    """Sum, or None where a part is unknown: a sum of what is known would look whole."""
    known = [float(part) for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _tags(
    prediction: Prediction, completion: Completion, digest: str, feedback: Sequence[Feedback]
) -> dict[str, str]:
    answer = completion.answer
    values = {
        "ddx.prediction_id": prediction.id,
        "ddx.digest": digest,
        "ddx.outcome": answer.outcome.kind,
        "ddx.error_code": answer.outcome.code if isinstance(answer.outcome, Failed) else None,
        "ddx.tracker": prediction.request.tracker,
        "ddx.prompt_digest": answer.prompt_digest,
        "ddx.program_digest": answer.program_digest,
        "ddx.version": prediction.version,
        "ddx.instance": prediction.instance,
        "ddx.retry_of": prediction.retry_of,
        "ddx.replay_of": prediction.replay_of,
        "ddx.masked": _counted(prediction.masked),
        "ddx.unsupported_quotes": (
            str(answer.unsupported_quotes) if answer.unsupported_quotes else None
        ),
        **feedback_tags(feedback),
    }
    return {name: _clean(value) for name, value in values.items() if value}


def _files(prediction: Prediction, completion: Completion, record: str) -> dict[str, str]:
    answer = completion.answer
    texts = {
        "input_case.txt": prediction.request.case
        or prediction.request.phenopacket
        or _coded_case(prediction),
        "prompt_used.txt": answer.prompt_used,
        "raw_dspy_output.txt": answer.raw_output,
        "final_response.txt": completion.body or None,
        "record.json": record,
    }
    return {name: text for name, text in texts.items() if text is not None}


def _coded_case(prediction: Prediction) -> str:
    """A case that came as codes alone, as lines."""
    coded = prediction.request.findings
    if coded is None:
        return ""
    lines = [f"sex: {coded.sex}"] if coded.sex else []
    lines += [f"age: {coded.age}"] if coded.age else []
    lines += [f"present: {term}" for term in coded.present]
    lines += [f"absent: {term}" for term in coded.absent]
    return "\n".join(lines) + "\n"


def _counted(masked: Mapping[str, int] | None) -> str | None:
    """Say what was masked, as `name=2 phone=1`, or `nothing`; None where nobody looked."""
    if masked is None:
        return None
    return " ".join(f"{kind}={times}" for kind, times in masked.items()) or "nothing"


def _clean(value: str) -> str:
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value)[:VALUE_LIMIT] or "none"
