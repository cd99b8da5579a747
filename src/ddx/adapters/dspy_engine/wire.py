"""The wire: one HTTP call to a provider, and what really went over it.

DSPy asks this engine, and it asks the provider's own client of DSPy (`lm15`) once, without any
retry: retries are ours, and each is counted. The transport is wrapped, so that parameters are
recorded as they were sent and not as they were configured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from ddx.adapters.dspy_engine.library import dspy
from ddx.core.registry import Model

_PLACES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "max_tokens": (
        ("max_tokens",),
        ("max_completion_tokens",),
        ("generationConfig", "maxOutputTokens"),
        ("inferenceConfig", "maxTokens"),
    ),
    "temperature": (
        ("temperature",),
        ("generationConfig", "temperature"),
        ("inferenceConfig", "temperature"),
    ),
    "top_k": (("top_k",), ("generationConfig", "topK")),
    "response_format": (
        ("response_format", "type"),
        ("generationConfig", "responseMimeType"),
        ("output_config", "format", "type"),
    ),
}
"""Parameter -> where providers' bodies carry it."""


@dataclass(slots=True)
class Exchange:
    """What is known of one call, filled in as it goes on."""

    purpose: str
    give_up_at: float
    """Monotonic: the transport waits no longer for a byte."""
    began_at: float = field(default_factory=time.monotonic)
    latency_s: float = 0.0
    prompt: str | None = None
    sent: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    text: str | None = None
    response: Any = None
    request_id: str | None = None


class Wire:
    """A provider's endpoint for one model, shared by all threads."""

    def __init__(self, model: Model, api_key: str | None) -> None:
        dspy()
        from dspy.clients.engines.lm15_engine import LM15Engine
        from dspy.lm15 import RouterConfig

        llm = model.llm or ""
        resolved = LM15Engine(RouterConfig(env={})).resolve(llm)
        self.provider: str = resolved.provider
        self._takes_top_k = model.api_base is not None
        self._current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
        self._engine = LM15Engine(
            RouterConfig(
                # A local server without a key still has to be sent one.
                api_keys={self.provider: api_key or "none"},
                base_urls={self.provider: model.api_base} if model.api_base else None,
                transport=_Transport(self._current),
            )
        )

    def engine(self, exchange: Exchange) -> _OneCall:
        """Return an engine for DSPy that makes one call and notes it in `exchange`."""
        return _OneCall(self, exchange)

    def complete(self, request: Any, exchange: Exchange) -> Any:
        """Make the call. Raises errors of dspy.lm15."""
        exchange.prompt = _rendered(request)
        if self._takes_top_k and self.provider == "openai-chat":
            request = _with_top_k(request)
        token = self._current.set(exchange)
        exchange.began_at = time.monotonic()
        try:
            response = self._engine.complete(request)
        finally:
            exchange.latency_s = time.monotonic() - exchange.began_at
            self._current.reset(token)
        exchange.response = response
        exchange.text = _said(response)
        changed = {a.field.removeprefix("config.") for a in response.adaptations}
        exchange.dropped = tuple(sorted(changed - set(exchange.sent)))
        return response


class _OneCall:
    """What dspy.LM takes as its engine."""

    def __init__(self, wire: Wire, exchange: Exchange) -> None:
        self._wire = wire
        self._exchange = exchange

    def complete(self, request: Any) -> Any:
        return self._wire.complete(request, self._exchange)


class _Transport:
    """DSPy's own HTTP transport, watched."""

    def __init__(self, current: ContextVar[Exchange | None]) -> None:
        from dspy._vendor.lm15.transports import StdlibTransport

        self._inner = StdlibTransport()
        self._current = current

    def stream(self, request: Any) -> Any:
        exchange = self._current.get()
        if exchange is not None:
            exchange.sent = sent_parameters(request.body)
            left_s = max(0.1, exchange.give_up_at - time.monotonic())
            request.read_timeout = left_s
            request.connect_timeout = min(10.0, left_s)
        response = self._inner.stream(request)
        if exchange is not None:
            exchange.request_id = response.header("x-request-id") or response.header("request-id")
        return response

    def close(self) -> None:
        self._inner.close()


def sent_parameters(body: bytes) -> dict[str, str | int | float | bool | None]:
    """Return the parameters in a provider's request body, by our names.

    >>> sent_parameters(b'{"generationConfig": {"topK": 5, "temperature": 0.7}}')
    {'temperature': 0.7, 'top_k': 5}
    """
    try:
        whole = json.loads(body)
    except ValueError:
        return {}
    found = {}
    for name, places in _PLACES.items():
        for place in places:
            value: Any = whole
            for key in place:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                found[name] = value
                break
    return found


def _said(response: Any) -> str:
    """What the model said, letter for letter.

    DSPy's client turns an answer that fits a schema into data, which loses its own letters; the
    provider's body still has them.
    """
    body = response.provider_data if isinstance(response.provider_data, dict) else {}
    texts = [(choice.get("message") or {}).get("content") for choice in body.get("choices") or ()]
    for candidate in body.get("candidates") or ():
        parts = (candidate.get("content") or {}).get("parts") or ()
        texts.append("".join(p.get("text", "") for p in parts if not p.get("thought")))
    found = next((text for text in texts if isinstance(text, str)), None)
    if found is not None:
        return found
    if response.text is not None:
        return str(response.text)
    return json.dumps(response.data, ensure_ascii=False) if response.data is not None else ""


def _with_top_k(request: Any) -> Any:
    """OpenAI's own chat API has no top_k; compatible servers (llama.cpp, vLLM, Ollama) do."""
    config = request.config
    if config.top_k is None:
        return request
    extensions = {**(config.extensions or {}), "top_k": config.top_k}
    return replace(request, config=replace(config, top_k=None, extensions=extensions))


def _rendered(request: Any) -> str:
    """The messages as sent, under a line that says whose each is."""
    parts = [f"--- system ---\n{_words(request.system)}"] if request.system else []
    parts += [f"--- {message.role} ---\n{_words(message.parts)}" for message in request.messages]
    return "\n\n".join(parts) + "\n"


def _words(parts: Any) -> str:
    if isinstance(parts, str):
        return parts
    return "".join(getattr(part, "text", "") or "" for part in parts)
