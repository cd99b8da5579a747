"""A finished prediction to its trace: what was done, when, with which tokens and cost.

A pure function: the same record gives the same trace with the same ids, so sending it again
changes nothing. Names of attributes are OpenTelemetry's for generative AI, where it has one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from ddx.core.record import (
    Answered,
    Completion,
    Declined,
    Failed,
    ModelCall,
    Prediction,
    PredictionId,
)
from ddx.core.run_draft import metrics_of

Value = str | bool | int | float | tuple[str, ...]

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
}
"""The first part of `provider/model` to OpenTelemetry's word for it, where they differ."""
_SENT = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One thing that was done."""

    id: str
    """16 hex digits."""
    parent: str | None
    """None for the prediction itself."""
    name: str
    calls_out: bool = False
    """It asked another service."""
    start_ns: int
    """Since 1970."""
    end_ns: int
    attributes: Mapping[str, Value]
    error: str | None = None
    """Code or class of the error; None where it went well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All spans of one prediction, itself first."""

    id: str
    """32 hex digits: those of the prediction's id."""
    prediction_id: PredictionId
    spans: tuple[Span, ...]


def trace_id(id: PredictionId) -> str:
    """Return the id of a prediction's trace."""
    return id.replace("-", "")


def trace_of(prediction: Prediction, *, content: bool) -> Trace:
    """Return the trace of a finished prediction.

    With `content`, the messages and the reply are in it: patient data. Raises ValueError where
    the prediction is unfinished.
    """
    completion = prediction.completion
    if completion is None:
        raise ValueError(f"{prediction.id} has no outcome yet")
    start_ns = int(prediction.received_at.timestamp() * 1_000_000) * 1000
    end_ns = start_ns + round((completion.duration_s or 0.0) * 1e9)
    root = Span(
        id=_span_id(prediction.id, "prediction"),
        parent=None,
        name="prediction",
        start_ns=start_ns,
        end_ns=end_ns,
        attributes=_root_attributes(prediction, completion, content=content),
        error=_error(completion),
    )
    calls = _call_spans(prediction, completion, root, content=content)
    return Trace(
        id=trace_id(prediction.id),
        prediction_id=prediction.id,
        spans=(root, *calls, *_grounding(prediction, completion, root, calls)),
    )


def _root_attributes(
    prediction: Prediction, completion: Completion, *, content: bool
) -> dict[str, Value]:
    answer = completion.answer
    metrics = metrics_of(completion)
    found: dict[str, Value | None] = {
        "ddx.prediction_id": prediction.id,
        "ddx.outcome": answer.outcome.kind,
        "ddx.model_name": prediction.request.model_name,
        "ddx.version": prediction.version,
        "ddx.instance": prediction.instance,
        "ddx.case_chars": len(prediction.request.case),
        "ddx.status": completion.status,
        "ddx.retry_of": prediction.retry_of,
        "ddx.replay_of": prediction.replay_of,
        "ddx.prompt_index": answer.settings.prompt_index,
        "ddx.llm_attempts": len(answer.calls) or None,
        "ddx.cost_usd": metrics.get("cost_usd"),
        "error.type": _error(completion),
    }
    if content:
        found["ddx.case"] = prediction.request.case or None
        found["ddx.reply"] = completion.body or None
    return _known(found)


def _call_spans(
    prediction: Prediction, completion: Completion, root: Span, *, content: bool
) -> tuple[Span, ...]:
    """Return a span for each attempt at an LLM, none beyond the prediction's own times.

    Records of earlier versions do not say when an attempt began: there each begins when the one
    before it ended, and says so.
    """
    spans: list[Span] = []
    at_ns = root.start_ns
    prompt = completion.answer.prompt_used if content else None
    for number, call in enumerate(completion.answer.calls, start=1):
        attributes = _call_attributes(call, prompt, content=content)
        if call.started_at is None:
            attributes["ddx.start_unknown"] = True
        else:
            at_ns = int(call.started_at.timestamp() * 1_000_000) * 1000
        start_ns = min(max(at_ns, root.start_ns), root.end_ns)
        end_ns = min(start_ns + round(call.latency_s * 1e9), root.end_ns)
        at_ns = end_ns
        span = Span(
            id=_span_id(prediction.id, f"call {number}"),
            parent=root.id,
            name=f"chat {call.model}",
            calls_out=True,
            start_ns=start_ns,
            end_ns=end_ns,
            attributes=attributes,
            error=call.error,
        )
        spans.append(span)
    return tuple(spans)


def _call_attributes(call: ModelCall, prompt: str | None, *, content: bool) -> dict[str, Value]:
    provider, _, name = call.model.partition("/")
    found: dict[str, Value | None] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(provider, provider),
        "gen_ai.request.model": name or call.model,
        "gen_ai.response.model": call.model_answered,
        "gen_ai.response.id": call.request_id,
        "gen_ai.response.finish_reasons": (call.finish_reason,) if call.finish_reason else None,
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": call.cached_tokens,
        "ddx.attempt": call.attempt,
        "ddx.purpose": call.purpose,
        "ddx.cost_usd": call.cost_usd,
        "ddx.dropped_parameters": call.dropped or None,
        "error.type": call.error,
    }
    found |= {_SENT[key]: value for key, value in call.sent.items() if key in _SENT}
    if content:
        found["gen_ai.input.messages"] = _message("user", prompt)
        found["gen_ai.output.messages"] = _message("assistant", call.output, call.finish_reason)
    return _known(found)


def _grounding(
    prediction: Prediction, completion: Completion, root: Span, calls: tuple[Span, ...]
) -> tuple[Span, ...]:
    """Return what came after the last word of an LLM: its answer read and grounded.

    Not where a knowledge engine may have been at work beside it: nobody noted when.
    """
    answer = completion.answer
    if not calls or answer.rankings or not isinstance(answer.outcome, Answered | Declined):
        return ()
    listed = answer.outcome.diagnoses if isinstance(answer.outcome, Answered) else ()
    span = Span(
        id=_span_id(prediction.id, "read"),
        parent=root.id,
        name="read and ground",
        start_ns=max(one.end_ns for one in calls),
        end_ns=root.end_ns,
        attributes={
            "ddx.diagnoses": len(listed),
            "ddx.coded_diagnoses": sum(bool(one.codes) for one in listed),
            "ddx.quotes": sum(len(one.supporting) + len(one.contradicting) for one in listed),
            "ddx.unsupported_quotes": answer.unsupported_quotes,
        },
    )
    return (span,)


def _message(role: str, text: str | None, finish_reason: str | None = None) -> str | None:
    if text is None:
        return None
    message: dict[str, object] = {"role": role, "parts": [{"type": "text", "content": text}]}
    if finish_reason is not None:
        message["finish_reason"] = finish_reason
    return json.dumps([message], ensure_ascii=False)


def _error(completion: Completion) -> str | None:
    match completion.answer.outcome:
        case Answered() | Declined():
            return None
        case Failed(code=code):
            return code
        case other:
            return other.kind


def _known(found: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in found.items() if value is not None}


def _span_id(id: PredictionId, part: str) -> str:
    return hashlib.sha256(f"{id}/{part}".encode()).hexdigest()[:16]
