"""Another model where the first one fails."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from ddx.core.record import (
    Answered,
    Declined,
    EngineAnswer,
    Failed,
    LlmSettings,
    ModelCall,
    Outcome,
    Request,
)
from ddx.services.fallback import SHARE, FallbackEngine

REQUEST = Request(model_name="first", case="Fever.", temperature=0.5, prompt_version=3)
FAILED = Failed(code="model_error", message="No.", advice="Wait.")
ANSWERED = Answered(diagnoses=(), conclusion="Fever.")


@dataclass
class Scripted:
    """An engine that says what it is told, after a while."""

    outcome: Outcome
    name: str
    wait_s: float = 0.0
    asked: list[tuple[Request, float]] = field(default_factory=list)

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        self.asked.append((request, deadline_s))
        await asyncio.sleep(self.wait_s)
        return EngineAnswer(
            outcome=self.outcome,
            settings=LlmSettings(model=self.name),
            calls=tuple(
                ModelCall(attempt=n, purpose="predict", model=self.name, sent={}, latency_s=0.1)
                for n in (1, 2)
            ),
            prompt_used=f"to {self.name}",
        )


async def test_where_the_first_fails_the_second_is_recorded_as_called() -> None:
    first, second = Scripted(FAILED, "a", wait_s=0.05), Scripted(ANSWERED, "b")
    answer = await FallbackEngine(first, second, "second").ask(REQUEST, 9.0)

    assert answer.outcome == ANSWERED
    assert answer.settings.model == "b"
    assert [(call.attempt, call.model) for call in answer.calls] == [
        (1, "a"),
        (2, "a"),
        (3, "b"),
        (4, "b"),
    ]
    assert answer.prompt_used == "to a\n\n=== no answer; then second was asked ===\nto b"
    ((same, first_s),) = first.asked
    assert same == REQUEST
    assert first_s == pytest.approx(9.0 * SHARE)
    asked, left_s = second.asked[0]
    assert (asked.temperature, asked.prompt_version, asked.case) == (None, None, "Fever.")
    assert 8.5 < left_s < 8.96


@pytest.mark.parametrize("outcome", [ANSWERED, Declined(reason="Too little.")])
async def test_where_the_first_answers_the_second_is_not_asked(outcome: Outcome) -> None:
    first, second = Scripted(outcome, "a"), Scripted(ANSWERED, "b")
    answer = await FallbackEngine(first, second, "second").ask(REQUEST, 9.0)
    assert answer.outcome == outcome
    assert not second.asked


async def test_where_both_fail_both_are_accounted_for() -> None:
    first, second = Scripted(FAILED, "a"), Scripted(FAILED, "b")
    answer = await FallbackEngine(first, second, "second").ask(REQUEST, 9.0)
    assert answer.outcome == FAILED
    assert len(answer.calls) == 4
