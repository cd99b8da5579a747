"""A prediction, and what was said of it, as rows of the ledger: figures, and no patient text.

Pure functions: the same record gives the same row, so a ledger can be made again from journals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ddx.core.feedback import PROBLEM, Feedback, rank_of_truth
from ddx.core.record import Answered, Declined, Failed, Prediction
from ddx.core.run_draft import metrics_of

_DIGEST = 12
"""Characters of a digest that tell prompts and programs apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """One finished prediction. None where a value is not known, or there is none."""

    prediction_id: str
    received_at: datetime
    """In UTC, with tzinfo."""
    model: str
    """As asked for."""
    llm: str | None = None
    """As called, `gemini/gemini-2.0-flash`."""
    prompt: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    """As sent, like the two above."""
    outcome: str
    error_code: str | None = None
    status: int
    """HTTP status of the reply."""
    caller: str
    instance: str
    version: str
    case_chars: int
    duration_s: float | None = None
    """None where interrupted."""
    llm_s: float | None = None
    """Of it, waiting for the LLM, all attempts."""
    attempts: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    """None where a price or a count is unknown; 0.0 where nothing is to be paid."""
    diagnoses: int | None = None
    unsupported_quotes: int
    prompt_digest: str | None = None
    program_digest: str | None = None
    """First characters of each."""
    retry_of: str | None = None
    replay_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRow:
    """What was said of a prediction up to an event, without a word of it."""

    prediction_id: str
    seq: int
    """Of the event in its journal: of two rows, the one with the higher counts."""
    received_at: datetime
    outcome: str | None = None
    """`accepted` or `overridden`: the last word."""
    true_rank: int | None = None
    """Where the answer had the true diagnosis; 0: not listed; None: the truth was not said."""
    problem: bool
    """Whether somebody reported that something is wrong with the answer."""


def usage_row(prediction: Prediction) -> UsageRow:
    """Return the row of a finished prediction. Raises ValueError where it is unfinished."""
    completion = prediction.completion
    if completion is None:
        raise ValueError(f"{prediction.id} has no outcome yet")
    answer, request = completion.answer, prediction.request
    sent, outcome = answer.settings, answer.outcome
    metrics = metrics_of(completion)
    cached = [call.cached_tokens for call in answer.calls if call.cached_tokens is not None]
    free = not answer.calls and isinstance(outcome, Answered | Declined | Failed)
    return UsageRow(
        prediction_id=prediction.id,
        received_at=prediction.received_at,
        model=request.model_name,
        llm=sent.model,
        prompt=sent.prompt_index,
        temperature=sent.temperature,
        top_k=sent.top_k,
        max_tokens=sent.max_tokens,
        outcome=outcome.kind,
        error_code=outcome.code if isinstance(outcome, Failed) else None,
        status=completion.status,
        caller=prediction.caller,
        instance=prediction.instance,
        version=prediction.version,
        case_chars=len(request.case),
        duration_s=completion.duration_s,
        llm_s=metrics.get("llm_time"),
        attempts=len(answer.calls) or None,
        input_tokens=_whole(metrics.get("input_tokens")),
        output_tokens=_whole(metrics.get("output_tokens")),
        cached_tokens=sum(cached) if cached else None,
        # Where no LLM was asked there is nothing to pay, and MLflow's run says nothing.
        cost_usd=0.0 if free else metrics.get("cost_usd"),
        diagnoses=len(outcome.diagnoses) if isinstance(outcome, Answered) else None,
        unsupported_quotes=answer.unsupported_quotes,
        prompt_digest=_short(answer.prompt_digest),
        program_digest=_short(answer.program_digest),
        retry_of=prediction.retry_of,
        replay_of=prediction.replay_of,
    )


def feedback_row(prediction: Prediction, seq: int, said: Sequence[Feedback]) -> FeedbackRow:
    """Return the row of all that was said of a prediction, at least one thing, in its order."""
    verdicts = [one.outcome for one in said if one.outcome]
    ranks = [rank_of_truth(prediction, one) for one in said]
    told = [rank for rank in ranks if rank is not None]
    reasons = [one.override_reason for one in said if one.override_reason]
    return FeedbackRow(
        prediction_id=prediction.id,
        seq=seq,
        received_at=said[-1].received_at,
        outcome=verdicts[-1].value if verdicts else None,
        true_rank=told[-1] if told else None,
        problem=any(reason.code == PROBLEM for reason in reasons),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _short(digest: str | None) -> str | None:
    return digest[:_DIGEST] if digest else None
