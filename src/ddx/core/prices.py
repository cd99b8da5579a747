"""What a call cost, by list price. Unknown stays unknown."""

from __future__ import annotations

from dataclasses import dataclass

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """List price of one model, in US dollars for a million tokens."""

    input: float
    output: float
    cached: float | None = None
    """Of input that the provider read from its cache; None where unknown."""
    input_limit: int | None = None
    """Longest input, in tokens, that these prices are for."""

    def cost_usd(
        self, *, input_tokens: int | None, output_tokens: int | None, cached_tokens: int | None
    ) -> float | None:
        """Return the cost of a call; None where a count or a price that matters is not known.

        `input_tokens` includes the cached ones, `output_tokens` the reasoning.

        >>> Price(input=2.0, output=10.0).cost_usd(
        ...     input_tokens=1000, output_tokens=100, cached_tokens=None
        ... )
        0.003
        """
        if input_tokens is None or output_tokens is None:
            return None
        if self.input_limit is not None and input_tokens > self.input_limit:
            return None
        cached = min(cached_tokens or 0, input_tokens)
        if cached and self.cached is None:
            return None
        dollars = (input_tokens - cached) * self.input + output_tokens * self.output
        return (dollars + cached * (self.cached or 0.0)) / _MILLION
