"""`ddx models`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, print_table
from ddx.core.registry import EngineKind, Model
from ddx.wiring.launch import listens

if TYPE_CHECKING:
    from ddx.settings import Settings


@click.command(name="models", epilog=exits.epilog("ddx models", exits.EXIT_CODE["bad_settings"]))
@as_json
def command(*, as_json: bool) -> None:
    """List the models, and say of each whether it can answer now. The default is starred."""
    from ddx.settings import load

    settings = load()
    found = [(model, hindrance(settings, model)) for model in settings.models.values()]
    if as_json:
        print_json(
            [
                {
                    "name": model.name,
                    "default": model.name == settings.default_model,
                    "engine": model.engine,
                    "llm": model.llm,
                    "prompt": model.prompt,
                    "answers_now": why_not is None,
                    "why_not": why_not,
                }
                for model, why_not in found
            ]
        )
        return
    print_table(
        ("name", "engine", "llm", "prompt", "answers now"),
        [
            (
                model.name + ("*" if model.name == settings.default_model else ""),
                model.engine,
                model.llm,
                model.prompt,
                "yes" if why_not is None else f"no: {why_not}",
            )
            for model, why_not in found
        ],
    )


def hindrance(settings: Settings, model: Model) -> str | None:
    """Return why the model cannot answer now, or None. Only servers of this machine are tried."""
    match model.engine:
        case EngineKind.KNOWLEDGE:
            return None
        case EngineKind.INSTANT:
            return None if settings.bench_models else "needs bench_models = true"
        case EngineKind.DSPY:
            if find_spec("dspy") is None:
                return "needs the extra `llm` (dspy) installed"
            if model.api_key_env and settings.api_key(model) is None:
                return f"{model.api_key_env} is not set"
            if model.api_base and _is_here(model.api_base) and not listens(model.api_base):
                return f"nothing listens at {model.api_base}"
            return None


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
