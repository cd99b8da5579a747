"""`ddx models`."""

from __future__ import annotations

from dataclasses import asdict
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


@click.command(
    name="models",
    epilog=exits.epilog("ddx models --check", exits.EXIT_NOT_OK, exits.EXIT_CODE["bad_settings"]),
)
@click.option("--check", is_flag=True, help="Ask each model that can answer one tiny case.")
@as_json
def command(*, check: bool, as_json: bool) -> int:
    """List the models, and say of each whether it can answer now. The default is starred.

    With --check, each LLM that could answer is asked a made-up case of one line, which costs a
    fraction of a cent; nothing is kept. Exit code 1 if one does not answer.
    """
    from ddx.settings import load

    settings = load()
    if check:
        return _check(settings, as_json=as_json)
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
        return exits.EXIT_OK
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
    return exits.EXIT_OK


def _check(settings: Settings, *, as_json: bool) -> int:
    from ddx.wiring.checking import Checked, check_models

    able = [one for one in settings.models.values() if _worth_asking(settings, one)]
    found: list[Checked] = check_models(settings, able)
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        print_table(
            ("name", "answers", "seconds", "model that answered", "tokens in, out", "USD"),
            [
                (
                    one.name,
                    "yes" if one.ok else f"no: {one.why_not}",
                    f"{one.seconds:.2f}",
                    one.model_answered,
                    f"{one.input_tokens or '-'}, {one.output_tokens or '-'}",
                    "unknown" if one.cost_usd is None else f"{one.cost_usd:.6f}",
                )
                for one in found
            ],
        )
    return exits.EXIT_OK if all(one.ok for one in found) else exits.EXIT_NOT_OK


def _worth_asking(settings: Settings, model: Model) -> bool:
    """Whether a check of it says something that the check of another does not."""
    return not model.knowledge and hindrance(settings, model) is None


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
            if model.needs_key and settings.api_key(model) is None:
                return f"no key {model.key_places}"
            if model.api_base and _is_here(model.api_base) and not listens(model.api_base):
                return f"nothing listens at {model.api_base}"
            return None


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
