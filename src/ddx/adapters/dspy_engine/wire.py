"""The last step before the wire: what leaves is recorded here, and nothing is done twice.

DSPy 3.4 has two clients. This one is its own (`lm15`), measured against `engine="litellm"`: two
to three times the calls a second, no import of LiteLLM (5 s of CPU, 170 MiB), and one transport
that can be handed in, so that the bytes that left are seen as they are. DSPy's `LM` is given it
as a custom engine, which also takes the choice from `auto`, where a setting that lm15 does not
know would quietly go by LiteLLM.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

# The transport has no public name in DSPy; the version is pinned, and a test sees each request.
from dspy._vendor.lm15.transports import (
    ReadTimeout,
    StdlibTransport,
    TransportError,
    TransportRequest,
    TransportResponse,
)
from dspy.clients.engines import LM15Engine
from dspy.lm15 import (
    AccessPolicy,
    EndpointSupport,
    OpenAIChatCompat,
    ProviderDefinition,
    RouterConfig,
)

from ddx.adapters.dspy_engine import received
from ddx.adapters.dspy_engine.exchange import Exchange

MOST_REPLY_BYTES = 16 * 2**20
_KEYLESS = "none"
_COMPATIBLE = "compatible"
# With an address of its own, a model of these is reached in that provider's dialect; any other
# is taken for an OpenAI-compatible server such as llama.cpp, vLLM or Ollama.
_OWN_DIALECT = {"anthropic", "azure", "deepseek", "gemini", "groq", "moonshot", "openrouter", "xai"}
_CLOUDS = {
    "bedrock": (("anthropic.", "bedrock-anthropic"), ("", "bedrock-chat")),
    "vertex_ai": (("claude", "vertex-anthropic"), ("", "vertex")),
}
"""Clouds by LiteLLM's name: how names of models there begin, and what lm15 calls the way to them.
Their credentials, region and project are where their own tools keep them."""
_DIALECTS = {
    "bedrock-anthropic": "anthropic",
    "vertex-anthropic": "anthropic",
    "vertex": "gemini",
}

current: ContextVar[Exchange] = ContextVar("ddx_exchange")
"""The attempt that this thread is making."""


class Wire:
    """A DSPy engine that makes one attempt, and writes it down in the current exchange."""

    # DSPy asks these of a custom engine; the program brings its own response_format.
    supports_function_calling = False
    supports_reasoning = False
    supports_response_schema = False
    supported_params: tuple[str, ...] = ()

    def __init__(
        self, *, llm: str, api_base: str | None, api_key: str | None, connections: int
    ) -> None:
        transport = _RecordingTransport(max_connections=connections)
        self.route, config = _route(llm, api_base, api_key, transport)
        self._cloud = llm.partition("/")[0] in _CLOUDS
        self._compatible = self.route.startswith(f"{_COMPATIBLE}/")
        self._native = LM15Engine(config)

    def complete(self, request: Any) -> Any:
        """Send one request and return its response. Raises lm15's errors."""
        config = request.config
        if self._compatible and config.top_k is not None:
            # OpenAI has no top_k and lm15 leaves it out; these servers take it in the body.
            extensions = {**(config.extensions or {}), "top_k": config.top_k}
            config = replace(config, top_k=None, extensions=extensions)
        exchange = current.get()
        response = self._native.complete(replace(request, model=self.route, config=config))
        exchange.text = received.text(bytes(exchange.reply))
        if exchange.text is None:
            exchange.text = response.text or ""
        exchange.answered(
            model=response.model,
            finish_reason=response.finish_reason,
            id=response.id,
        )
        provider = self.route.partition(":" if self._cloud else "/")[0]
        _count(exchange, response.usage, provider=_DIALECTS.get(provider, provider))
        return response


@dataclass(frozen=True)
class _Connection:
    """What an OpenAI-compatible server needs to be known for."""

    base_url: str

    def definition(self) -> Any:
        return ProviderDefinition.chat(
            AccessPolicy(
                provider=_COMPATIBLE,
                supports=EndpointSupport(complete=True),
                auth_modes=("bearer",),
                base_url=self.base_url,
            ),
            # Such servers know `max_tokens` all; `max_completion_tokens` only the newer ones.
            compat=OpenAIChatCompat(max_tokens_field="max_tokens", cache_control="none"),
            placeholder_key=_KEYLESS,
        )


def _route(llm: str, api_base: str | None, api_key: str | None, transport: Any) -> tuple[str, Any]:
    """Return the model as lm15 routes it, and where and how to reach it."""
    prefix, _, name = llm.partition("/")
    if prefix in _CLOUDS:
        way = next(way for start, way in _CLOUDS[prefix] if name.startswith(start))
        return f"{way}:{name}", RouterConfig(
            api_keys=None if api_key is None else {way: api_key},
            base_urls=None if api_base is None else {way: api_base},
            transport=transport,
        )
    if api_base is None:
        # Without a key of ours lm15 looks where the provider's own tools keep theirs: clouds.
        keys = None if api_key is None else {_provider(llm): api_key}
        return llm, RouterConfig(api_keys=keys, transport=transport)
    # An empty environment: a key found there belongs to the provider, not to this address.
    if prefix in _OWN_DIALECT:
        provider = _provider(llm)
        return llm, RouterConfig(
            env={},
            api_keys={provider: api_key or _KEYLESS},
            base_urls={provider: api_base},
            transport=transport,
        )
    return f"{_COMPATIBLE}/{name or prefix}", RouterConfig(
        env={},
        api_keys={_COMPATIBLE: api_key or _KEYLESS},
        providers=(_Connection(api_base).definition(),),
        transport=transport,
    )


def _provider(llm: str) -> str:
    """Return lm15's name of a model's provider. Raises lm15's errors where it has none."""
    return str(LM15Engine(RouterConfig(env={})).resolve(llm).provider)


def _count(exchange: Exchange, usage: Any, *, provider: str) -> None:
    """Take over the tokens, in one meaning: input with cached, output with reasoning.

    Providers differ: Anthropic leaves cached tokens out of its input, Gemini and xAI leave
    reasoning out of their output (dspy.lm15.Usage says so).
    """
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    exchange.cached_tokens = read
    exchange.input_tokens = usage.input_tokens
    exchange.output_tokens = usage.output_tokens
    if provider == "anthropic" and usage.input_tokens is not None:
        exchange.input_tokens += (read or 0) + (written or 0)
    if provider in ("gemini", "xai") and usage.output_tokens is not None:
        exchange.output_tokens += usage.reasoning_tokens or 0


class _RecordingTransport:
    """lm15's own transport, with a deadline for the whole exchange, writing down what passes."""

    def __init__(self, *, max_connections: int) -> None:
        self._inner = StdlibTransport(max_connections=max_connections)

    def stream(self, request: TransportRequest) -> TransportResponse:
        exchange = current.get()
        remaining_s = exchange.deadline - time.monotonic()
        if remaining_s <= 0:
            raise ReadTimeout("the deadline has passed")
        request.read_timeout = request.write_timeout = remaining_s
        request.connect_timeout = min(10.0, remaining_s)
        exchange.body = request.body
        exchange.sent_at = exchange.ended_at = time.monotonic()
        try:
            reply = self._inner.stream(request)
        finally:
            exchange.ended_at = time.monotonic()
        exchange.status = reply.status
        exchange.headers = {name.lower(): value for name, value in reply.headers}
        return TransportResponse(
            status=reply.status,
            reason=reply.reason,
            headers=reply.headers,
            http_version=reply.http_version,
            chunks=_watched(reply, exchange),
            release=lambda _consumed: reply.close(),
        )

    def close(self) -> None:
        self._inner.close()


def _watched(reply: TransportResponse, exchange: Exchange) -> Iterator[bytes]:
    """Yield a reply's bytes until the deadline; the time-out of a read is for one read only."""
    try:
        for chunk in reply:
            if len(exchange.reply) + len(chunk) > MOST_REPLY_BYTES:
                raise TransportError("the reply is too large")
            exchange.reply += chunk
            if time.monotonic() > exchange.deadline:
                raise ReadTimeout("the deadline has passed")
            yield chunk
    finally:
        exchange.ended_at = time.monotonic()
