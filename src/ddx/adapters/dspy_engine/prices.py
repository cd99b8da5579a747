"""What a call cost, from a dated table; unknown stays unknown."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources


@cache
def _table() -> dict[str, dict[str, float]]:
    text = (resources.files(__package__) / "prices.toml").read_text(encoding="utf-8")
    models: dict[str, dict[str, float]] = tomllib.loads(text)["models"]
    return models


def cost_usd(llm: str, input_tokens: int | None, output_tokens: int | None) -> float | None:
    """Return the list price of a call, None where the price or a token count is unknown.

    >>> cost_usd("gemini/gemini-2.0-flash", 1_000_000, 500_000)
    0.3
    """
    prices = _table().get(llm)
    if prices is None or input_tokens is None or output_tokens is None:
        return None
    return round((prices["input"] * input_tokens + prices["output"] * output_tokens) / 1e6, 10)
