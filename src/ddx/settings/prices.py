"""Prices of models that the user knows better than the table the program carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ddx.core.prices import Price
from ddx.errors import SettingsError
from ddx.settings.words import nearest

_KNOWN = {field.name: field for field in fields(Price)}


def prices(table: Any) -> dict[str, Price]:
    """Return the prices of `[prices."provider/model"]`, in US dollars for a million tokens.

    Raises SettingsError.
    """
    if not isinstance(table, dict):
        raise SettingsError('ddx.toml: [prices."provider/model"] must be tables')
    return {str(llm): _price(f'[prices."{llm}"]', entry) for llm, entry in table.items()}


def _price(place: str, entry: Any) -> Price:
    if not isinstance(entry, Mapping) or not {"input", "output"} <= entry.keys():
        raise SettingsError(f"{place} needs input and output, in US dollars for a million tokens")
    for key, value in entry.items():
        if key not in _KNOWN:
            raise SettingsError(f"{place} has an unknown key {key!r}{nearest(key, _KNOWN)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise SettingsError(f"{place}: {key} must be a number from 0 on")
    limit = entry.get("input_limit")
    cached = entry.get("cached")
    return Price(
        input=float(entry["input"]),
        output=float(entry["output"]),
        cached=None if cached is None else float(cached),
        input_limit=None if limit is None else int(limit),
    )
