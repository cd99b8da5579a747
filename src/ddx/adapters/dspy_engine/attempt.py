"""One attempt at an LLM: what is asked, what came back, and what a refusal teaches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ddx.adapters.dspy_engine import program
from ddx.adapters.dspy_engine.library import dspy
from ddx.adapters.dspy_engine.prices import cost_usd
from ddx.adapters.dspy_engine.wire import Exchange, Wire
from ddx.core.record import ModelCall, Request
from ddx.core.registry import Model, PromptConfig

REPAIR_CHARS = 20_000
"""Most of an unreadable answer that is given back to the model."""
_OPTIONAL = {
    "response_format": ("response_format", "json_schema", "responsejsonschema", "output_config"),
    "top_k": ("top_k", "topk"),
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens", "max_completion_tokens", "maxoutputtokens"),
}
"""Parameter -> how a provider's refusal names it, in small letters."""
_PASSING = ("LMRateLimitError", "LMServerError", "LMTimeoutError", "LMTransportError")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there was no text. Holds nothing that a provider said: it may quote the case."""

    kind: str
    """Class of the error."""
    status: int | None = None
    passing: bool = False
    """Whether another try may do better."""
    retry_after_s: float | None = None
    refused: tuple[str, ...] = ()
    """Parameters that the provider named in a refusal."""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call, and the text that it brought or why it brought none."""

    call: ModelCall
    prompt: str | None
    text: str = ""
    failure: Failure | None = None


class Trial:
    """The attempts at one question: what the next one should leave out or repair."""

    def __init__(self, *, model: Model, request: Request, wire: Wire) -> None:
        self._model = model
        self._request = request
        self._wire = wire
        self._without: set[str] = set()
        self._unreadable: str | None = None

    def repair(self, text: str) -> None:
        """Let the next attempt ask for the same answer again, readable."""
        self._unreadable = text[:REPAIR_CHARS]

    def learn(self, failure: Failure) -> bool:
        """Leave out what the model refused; return whether that is a new reason to try."""
        new = set(failure.refused) - self._without
        self._without |= new
        return bool(new)

    def attempt(self, number: int, prompt: PromptConfig, give_up_at: float) -> Attempt:
        """Make one call. Raises nothing that a provider or a model can cause."""
        repair = self._unreadable is not None
        exchange = Exchange(purpose="repair" if repair else "predict", give_up_at=give_up_at)
        inputs = {"case": _case(self._request)}
        if self._unreadable is not None:
            inputs["unreadable_answer"] = self._unreadable
        failure: Failure | None = None
        try:
            lm = self._lm(exchange)
            asked = program.signature(prompt, self._request.top_differential, repair=repair)
            program.run(asked, lm, inputs)
        except Exception as error:
            # With a text there is something to read, whatever DSPy thought of it.
            if exchange.text is None:
                failure = _failure(error)
        call = self._call(number, exchange, failure)
        return Attempt(call=call, prompt=exchange.prompt, text=exchange.text or "", failure=failure)

    def _lm(self, exchange: Exchange) -> Any:
        wanted = {
            "temperature": _first(self._request.temperature, self._model.temperature),
            "max_tokens": _first(self._request.max_tokens, self._model.max_tokens),
            "top_k": _first(self._request.top_k, self._model.top_k),
            "response_format": program.response_format(),
        }
        given = {
            name: value
            for name, value in wanted.items()
            if value is not None and name not in self._without
        }
        return dspy().LM(
            self._model.llm,
            cache=False,
            num_retries=0,
            engine=self._wire.engine(exchange),
            **given,
        )

    def _call(self, number: int, exchange: Exchange, failure: Failure | None) -> ModelCall:
        response = exchange.response
        usage = response.usage if response is not None else None
        llm = self._model.llm or ""
        tokens = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
        return ModelCall(
            attempt=number,
            purpose=exchange.purpose,
            model=llm,
            model_answered=response.model if response is not None else None,
            sent=exchange.sent,
            dropped=tuple(sorted({*exchange.dropped, *self._without})),
            output=exchange.text,
            finish_reason=response.finish_reason if response is not None else None,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cached_tokens=usage.cache_read_tokens if usage else None,
            cost_usd=cost_usd(llm, *tokens),
            latency_s=exchange.latency_s,
            request_id=exchange.request_id,
            error=failure.kind if failure else None,
        )


def _failure(error: Exception) -> Failure:
    names = [cls.__name__ for cls in type(error).__mro__]
    status = getattr(error, "status", None)
    kind = next((name for name in names if name.startswith("LM")), names[0])
    advice = ""
    if kind == "LMAuthError":
        advice = "Check the model's API key: `ddx models` names its variable."
    refused = _named(str(error).lower()) if kind in _REFUSALS else ()
    return Failure(
        kind=kind,
        status=status if isinstance(status, int) else None,
        passing=any(name in _PASSING for name in names),
        retry_after_s=_seconds(getattr(error, "retry_after", None)),
        refused=refused,
        advice=advice,
    )


_REFUSALS = ("LMInvalidRequestError", "LMConfigurationError", "LMUnsupportedFeatureError")


def _named(message: str) -> tuple[str, ...]:
    """Which optional parameters a refusal names; the message itself goes no further."""
    return tuple(
        name for name, words in _OPTIONAL.items() if any(word in message for word in words)
    )


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _case(request: Request) -> str:
    """The case as text; codes alone are listed as they came."""
    coded = request.findings
    if coded is None:
        return request.case
    lines: Iterable[str] = (
        f"{label}: {value}"
        for label, value in (
            ("Findings present (HPO)", ", ".join(coded.present)),
            ("Findings absent (HPO)", ", ".join(coded.absent)),
            ("Sex", coded.sex),
            ("Age", coded.age),
        )
        if value
    )
    return "\n".join([request.case, *lines]).strip()
