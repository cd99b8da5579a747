"""What stands in a file or a variable, as a value of the setting's type."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import Field
from difflib import get_close_matches
from typing import Any

from ddx.errors import SettingsError


def nearest(name: str, known: Mapping[str, Any], *, prefix: str = "", upper: bool = False) -> str:
    """Return the known name that was probably meant, as the end of a sentence."""
    near = get_close_matches(name, known, n=1, cutoff=0.0)
    if not near:
        return ""
    return f"; did you mean {prefix}{near[0].upper() if upper else near[0]}?"


def typed(setting: Field[Any], raw: Any, origin: str) -> Any:
    """Turn a TOML value or a variable's text into the setting's type, within its bounds.

    Raises SettingsError.
    """
    value = _typed(setting, raw, origin)
    within(
        value,
        setting.metadata["least"],
        setting.metadata["most"],
        f"{origin}: {setting.name}",
    )
    if value == "" and setting.default != "":
        raise SettingsError(f"{origin}: {setting.name} must not be empty")
    return value


def within(value: Any, least: float | None, most: float | None, name: str) -> None:
    """Raise SettingsError where a number is not finite, or not from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        raise SettingsError(f"{name} must be a finite number")
    if least is not None and value < least:
        raise SettingsError(f"{name} must be at least {least:g}, not {value:g}")
    if most is not None and value > most:
        raise SettingsError(f"{name} must be at most {most:g}, not {value:g}")


def _typed(setting: Field[Any], raw: Any, origin: str) -> Any:
    """Turn a TOML value or a variable's text into the type of the setting's default."""
    wanted = type(setting.default)
    if wanted is tuple:
        return _words(setting, raw, origin)
    if isinstance(raw, wanted) and not (wanted is int and isinstance(raw, bool)):
        return raw
    try:
        if wanted is bool and isinstance(raw, str):
            return {
                "1": True,
                "true": True,
                "yes": True,
                "0": False,
                "false": False,
                "no": False,
            }[raw.strip().lower()]
        if wanted is float and isinstance(raw, int | float | str) and raw is not True:
            return float(raw)
        if wanted is int and isinstance(raw, str):
            return int(raw)
    except (ValueError, KeyError):
        pass
    kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[wanted]
    raise SettingsError(f"{origin}: {setting.name} must be {kind}")


def _words(setting: Field[Any], raw: Any, origin: str) -> tuple[str, ...]:
    """Turn a list of texts, or a line as a shell would split it, into words."""
    try:
        found = shlex.split(raw) if isinstance(raw, str) else raw
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise SettingsError(f'{origin}: {setting.name} must be a list of words, as ["kms", "-k"]')
    return tuple(found)
