"""The models and prompt configurations, shipped and the user's own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import resources
from typing import Any

from ddx.core.registry import EngineKind, Model, PromptConfig
from ddx.errors import SettingsError
from ddx.settings.words import nearest, within

_HYBRID = "+knowledge"
"""After an LLM's name: it is shown the knowledge engine's candidates."""
_BOUNDS: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "max_tokens": (1, 1_000_000),
    "top_k": (1, 1_000_000),
    "timeout_s": (0.1, 3600),
    "attempts": (1, 10),
    "repairs": (0, 9),
    "call_timeout_s": (0.1, 3600),
    "max_concurrency": (1, 10_000),
    "cpu_ms": (0, 10_000),
    "wait_ms": (0, 600_000),
}


_TYPES: dict[str, type] = {
    "float | None": float,
    "float": float,
    "int | None": int,
    "int": int,
    "bool": bool,
}


def models(overrides: Mapping[str, Any]) -> dict[str, Model]:
    """Return the shipped models, changed and extended. Raises SettingsError."""
    overrides = _tables(overrides, "models")
    shipped = tomllib.loads(_default_text("models.toml"))["models"]
    known = {f.name for f in fields(Model)} - {"name"}
    found = {}
    for name in {**shipped, **overrides}:
        own = {**shipped.get(name, {}), **overrides.get(name, {})}
        entry = {**_of_llm(name, shipped, overrides), **own}
        for key in entry:
            if key not in known:
                hint = nearest(key, dict.fromkeys(known))
                raise SettingsError(f"model {name!r} has an unknown key {key!r}{hint}")
        found[name] = _model(name, entry)
    return found | _hybrids(found)


def _of_llm(name: str, shipped: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table of `NAME+knowledge` need not say, for NAME says it."""
    llm = name.removesuffix(_HYBRID)
    if llm == name or llm not in {**shipped, **overrides}:
        return {}
    return {**shipped.get(llm, {}), **overrides.get(llm, {}), "knowledge": True}


def _hybrids(found: Mapping[str, Model]) -> dict[str, Model]:
    """Return `NAME+knowledge` for each LLM, where it is not an entry of its own."""
    return {
        f"{name}{_HYBRID}": replace(model, name=f"{name}{_HYBRID}", knowledge=True)
        for name, model in found.items()
        if model.engine is EngineKind.DSPY and not model.knowledge
        if f"{name}{_HYBRID}" not in found
    }


def _model(name: str, entry: Mapping[str, Any]) -> Model:
    values = dict(entry)
    try:
        values["engine"] = EngineKind(values.get("engine", ""))
    except ValueError:
        kinds = ", ".join(EngineKind)
        raise SettingsError(f"model {name!r} needs an engine: one of {kinds}") from None
    if values["engine"] is EngineKind.DSPY and not values.get("llm"):
        raise SettingsError(f'model {name!r} needs llm = "provider/model"')
    if values["engine"] is not EngineKind.INSTANT and ("cpu_ms" in entry or "wait_ms" in entry):
        raise SettingsError(f"model {name!r}: cpu_ms and wait_ms are of the engine instant")
    for f in fields(Model):
        wanted = _TYPES.get(str(f.type), str)
        value = values.get(f.name)
        if value is None or f.name in ("engine", "name"):
            continue
        if wanted is bool and isinstance(value, bool):
            continue
        if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
            values[f.name] = float(value)
        elif not isinstance(value, wanted) or isinstance(value, bool):
            raise SettingsError(f"model {name!r}: {f.name} must be a {wanted.__name__}")
    for key, (least, most) in _BOUNDS.items():
        within(values.get(key), least, most, f"model {name!r}: {key}")
    return Model(name=name, **values)


def prompts(overrides: Mapping[str, Any]) -> dict[int, PromptConfig]:
    """Return the shipped prompt configurations, changed and extended. Raises SettingsError."""
    overrides = _tables(overrides, "prompts")
    shipped = tomllib.loads(_default_text("prompts.toml"))["prompts"]
    found = {}
    for key in {**shipped, **overrides}:
        entry = {**shipped.get(key, {}), **overrides.get(key, {})}
        if not key.isdecimal():
            raise SettingsError(f"[prompts.{key}]: the index must be a whole number")
        if set(entry) != {"name", "text"} or not all(isinstance(v, str) for v in entry.values()):
            raise SettingsError(f"[prompts.{key}] needs name and text, and nothing else")
        found[int(key)] = PromptConfig(index=int(key), **entry)
    return dict(sorted(found.items()))


def _tables(found: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise SettingsError(f"ddx.toml: [{name}.NAME] must be tables, each with its own keys")
    return found


def _default_text(name: str) -> str:
    return (resources.files("ddx.defaults") / name).read_text(encoding="utf-8")
