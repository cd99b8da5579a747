"""Whether the models that are set up really answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ddx.core.record import EngineAnswer, Failed, Request
from ddx.core.registry import Model
from ddx.settings import Settings
from ddx.wiring.serving import Engines

CASE = "Fever, headache and a rash for 3 days in a 24-year-old."
"""Made up, and no patient's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of asking one model."""

    name: str
    ok: bool
    """It answered, or said that the case has too little detail."""
    why_not: str | None
    seconds: float
    attempts: int
    model_answered: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    """None where unknown, which is not 0."""


def check_models(settings: Settings, models: Iterable[Model]) -> list[Checked]:
    """Ask each model the same tiny case, one after the other."""
    engines = Engines(settings)
    return [_check(engines, model) for model in models]


def _check(engines: Engines, model: Model) -> Checked:
    request = Request(model_name=model.name, case=CASE, top_differential=1)
    began = time.perf_counter()
    answer = asyncio.run(engines.engine_of(model).ask(request, model.timeout_s))
    return _told(model.name, answer, time.perf_counter() - began)


def _told(name: str, answer: EngineAnswer, seconds: float) -> Checked:
    failed = isinstance(answer.outcome, Failed)
    last = answer.calls[-1] if answer.calls else None
    return Checked(
        name=name,
        ok=not failed,
        why_not=answer.outcome.message if isinstance(answer.outcome, Failed) else None,
        seconds=seconds,
        attempts=len(answer.calls),
        model_answered=last.model_answered if last else None,
        input_tokens=last.input_tokens if last else None,
        output_tokens=last.output_tokens if last else None,
        cost_usd=last.cost_usd if last else None,
    )
