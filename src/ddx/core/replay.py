"""A logged request, asked again with some things changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ddx.core.moves import Move, moves
from ddx.core.record import Answered, Declined, Failed, Prediction, Request
from ddx.core.run_draft import metrics_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a replay asks otherwise; None keeps what the logged request asked."""

    model: str | None = None
    prompt: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    top: int | None = None
    """Length of the list wanted."""

    def applied(self, request: Request) -> Request:
        """Return the changed request. Its tracker is left behind: it stands for the old body."""
        named = {
            "model_name": self.model,
            "prompt_version": self.prompt,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "max_tokens": self.max_tokens,
            "top_differential": self.top,
        }
        given: dict[str, Any] = {k: value for k, value in named.items() if value is not None}
        return replace(request, tracker=None, **given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A logged prediction and the new one, both finished."""

    before: Prediction
    after: Prediction
    moves: Sequence[Move]

    @property
    def same_first(self) -> bool:
        """Whether both rankings begin with the same diagnosis."""
        return bool(self.moves) and (self.moves[0].before, self.moves[0].after) == (1, 1)

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx replay --json` prints it."""
        return {
            "replay_of": self.before.id,
            "prediction_id": self.after.id,
            "before": side(self.before),
            "after": side(self.after),
            "same_first": self.same_first,
            "moves": [
                {"diagnosis": m.name, "before": m.before, "after": m.after, "move": m.said}
                for m in self.moves
            ],
        }


def replayed(before: Prediction, after: Prediction, name_key: Callable[[str], str]) -> Replay:
    """Set two finished predictions side by side. Raises ValueError where one is unfinished."""
    if before.outcome is None or after.outcome is None:
        raise ValueError("both predictions must be finished")
    found = moves(before.outcome, after.outcome, name_key)
    return Replay(before=before, after=after, moves=found)


def side(prediction: Prediction) -> dict[str, Any]:
    """Return what is told of one prediction: what was asked, what came of it, what it took."""
    completion, request = prediction.completion, prediction.request
    if completion is None:
        raise ValueError(f"{prediction.id} has no outcome yet")
    answer, outcome = completion.answer, completion.answer.outcome
    sent = answer.settings
    found = metrics_of(completion)
    return {
        "model": request.model_name,
        "llm": sent.model,
        "prompt": sent.prompt_index,
        "temperature": sent.temperature,
        "top_k": sent.top_k,
        "outcome": outcome.kind,
        "error_code": outcome.code if isinstance(outcome, Failed) else None,
        "ranking": [
            {"rank": rank, "diagnosis": one.name, "likelihood": one.likelihood}
            for rank, one in enumerate(
                outcome.diagnoses if isinstance(outcome, Answered) else (), start=1
            )
        ],
        "seconds": found.get("processing_time"),
        "input_tokens": found.get("input_tokens"),
        "output_tokens": found.get("output_tokens"),
        "cost_usd": found.get("cost_usd"),
    }


def answered(prediction: Prediction) -> bool:
    """Whether it ended well: too little detail is an answer, too."""
    return isinstance(prediction.outcome, Answered | Declined)
