"""One attempt at a model, as it was made."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ddx.adapters.dspy_engine import sent
from ddx.core.prices import Price
from ddx.core.record import ModelCall

_REQUEST_IDS = ("x-request-id", "request-id", "x-goog-request-id", "x-amzn-requestid")


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request and its reply. Written by the one thread that makes the attempt."""

    deadline: float
    """Monotonic time."""
    body: bytes = b""
    """As it left; empty where nothing did."""
    sent_at: float = 0.0
    ended_at: float = 0.0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    reply: bytearray = field(default_factory=bytearray)
    """Body of the reply. One with an error may quote the case: it is read, never kept."""
    text: str | None = None
    """What the model said; None where no answer came."""
    model_answered: str | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    error: str | None = None
    """Class of the error."""
    retry_after_s: float | None = None
    """What the provider asks to wait."""

    def answered(self, *, model: str, finish_reason: str, id: str | None) -> None:
        """Take over what the provider says about its answer."""
        self.model_answered = model
        self.finish_reason = finish_reason
        self.response_id = id

    def note_retry_after(self, seconds: object) -> None:
        """Keep a provider's Retry-After, in seconds from now, where it is a sane number."""
        if isinstance(seconds, int | float) and 0 <= seconds < math.inf:
            self.retry_after_s = float(seconds)

    def call(
        self,
        *,
        attempt: int,
        purpose: str,
        model: str,
        asked: tuple[str, ...],
        price: Price | None,
    ) -> ModelCall:
        """Return the record of this attempt."""
        parameters = sent.parameters(self.body)
        cost_usd = None
        if price is not None:
            cost_usd = price.cost_usd(
                input_tokens=self.input_tokens,
                output_tokens=self.output_tokens,
                cached_tokens=self.cached_tokens,
            )
        request_ids = (self.headers.get(name) for name in _REQUEST_IDS)
        return ModelCall(
            attempt=attempt,
            purpose=purpose,
            model=model,
            model_answered=self.model_answered,
            sent=parameters,
            dropped=sent.dropped(asked, parameters) if self.body else (),
            output=self.text,
            finish_reason=self.finish_reason,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            cost_usd=cost_usd,
            latency_s=self.ended_at - self.sent_at,
            started_at=self._started_at(),
            request_id=next(filter(None, request_ids), self.response_id),
            error=self.error,
        )

    def _started_at(self) -> datetime | None:
        if not self.sent_at:
            return None
        return datetime.now(UTC) - timedelta(seconds=time.monotonic() - self.sent_at)
