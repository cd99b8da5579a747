"""The price table that the program carries."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources

from ddx.core.prices import Price
from ddx.core.registry import Model


def price_of(model: Model, own: Mapping[str, Price]) -> Price | None:
    """Return a model's price: one of the user's `own`, else the shipped list price; or None.

    At another address it is another seller, or this machine: there only an own price counts.
    """
    if not model.llm:
        return None
    return own.get(model.llm) or (None if model.api_base else shipped().get(model.llm))


def shipped() -> dict[str, Price]:
    """Return the shipped price table, by model as called."""
    text = resources.files(__package__).joinpath("prices.toml").read_text("utf-8")
    table: Mapping[str, dict[str, float | str]] = tomllib.loads(text)["models"]
    return {
        llm: Price(**{key: value for key, value in entry.items() if key != "provider"})  # type: ignore[arg-type]
        for llm, entry in table.items()
    }
