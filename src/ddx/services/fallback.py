"""Another model where the first one fails: recorded as called, with both models' attempts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ddx.core.record import EngineAnswer, Failed, Request
from ddx.ports import Engine

SHARE = 2 / 3
"""Of the deadline, the first model's part: the other one needs time, too."""


class FallbackEngine:
    """An Engine that asks `second` where `first` failed. A refusal of a case is no failure."""

    def __init__(self, first: Engine, second: Engine, second_name: str) -> None:
        self._first, self._second, self._name = first, second, second_name

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        """Answer within `deadline_s`, for both; see ports.Engine."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        failed = await self._first.ask(request, deadline_s * SHARE)
        if not isinstance(failed.outcome, Failed):
            return failed
        left_s = deadline_s - (loop.time() - began)
        # The settings of a request were meant for the model that it names.
        plain = replace(request, temperature=None, max_tokens=None, top_k=None, prompt_version=None)
        answer = await self._second.ask(plain, left_s)
        made = len(failed.calls)
        return replace(
            answer,
            calls=(
                *failed.calls,
                *(replace(call, attempt=call.attempt + made) for call in answer.calls),
            ),
            prompt_used=_both(failed.prompt_used, answer.prompt_used, self._name),
        )

    def warm(self) -> None:
        """Load both, which can take seconds. For a thread."""
        for engine in (self._first, self._second):
            warm = getattr(engine, "warm", None)
            if warm is not None:
                warm()


def _both(first: str | None, second: str | None, name: str) -> str | None:
    if first is None or second is None:
        return second or first
    return f"{first}\n\n=== no answer; then {name} was asked ===\n{second}"
