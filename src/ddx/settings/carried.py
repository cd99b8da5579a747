"""Settings that travel to another machine: what an engine is made of, and no secret."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ddx.core.prices import Price
from ddx.core.registry import EngineKind, Model, PromptConfig
from ddx.settings.values import Settings

_FIELDS = (
    "bench_models",
    "data_dir",
    "default_model",
    "engine_threads",
    "privacy",
    "privacy_regions",
)


def carry(settings: Settings) -> dict[str, Any]:
    """Return what JSON can say of the settings. Keys stay here: a node has its own."""
    return {
        **{name: getattr(settings, name) for name in _FIELDS},
        "home": str(settings.home),
        "models": {name: asdict(model) for name, model in settings.models.items()},
        "prompts": [asdict(prompt) for prompt in settings.prompts.values()],
        "prices": {name: asdict(price) for name, price in settings.prices.items()},
    }


def carried(values: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that `carry` said, with the environment of this machine.

    Its DDX_HOME and DDX_DATA_DIR say where this machine has its files; without them they are
    where the sender has its own. Raises KeyError or TypeError where another version sent them.
    """
    here = dict(os.environ if environment is None else environment)
    settings = Settings(
        **{name: values[name] for name in _FIELDS},
        home=Path(here.get("DDX_HOME") or values["home"]),
        models={
            name: Model(**{**model, "engine": EngineKind(model["engine"])})
            for name, model in values["models"].items()
        },
        prompts={one["index"]: PromptConfig(**one) for one in values["prompts"]},
        prices={name: Price(**price) for name, price in values["prices"].items()},
        environment=here,
    )
    return replace(settings, data_dir=here.get("DDX_DATA_DIR") or settings.data_dir)


def equal_setup(values: Mapping[str, Any]) -> bytes:
    """Return values as canonical JSON: equal ones have equal bytes."""
    return json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
