"""An engine that answers at once with a fixed differential, to measure all the rest."""

from __future__ import annotations

import asyncio
import time

from ddx.core.record import (
    Answered,
    Diagnosis,
    EngineAnswer,
    Likelihood,
    Request,
)

_ANSWER = Answered(
    diagnoses=tuple(
        Diagnosis(
            name=f"Fixed diagnosis {place}",
            likelihood=likelihood,
            clinical_relevance="A fixed text of about the length that a model writes. " * 4,
            lack_of_fit="Nothing was looked at. " * 4,
        )
        for place, likelihood in enumerate(Likelihood, start=1)
    ),
    conclusion="A fixed answer for benchmarks: it says nothing about the case.",
)


class InstantEngine:
    """An Engine for benchmarks."""

    def __init__(self, cpu_ms: float = 0.0, wait_ms: float = 0.0) -> None:
        """`cpu_ms` of processor time are burnt for an answer, as Python around an LLM's call
        burns it: in this thread.
        """
        self._cpu_s, self._wait_s = cpu_ms / 1000, wait_ms / 1000

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:  # noqa: ARG002
        """Return the fixed differential."""
        if self._wait_s:
            await asyncio.sleep(self._wait_s)
        until_s = time.thread_time() + self._cpu_s
        while time.thread_time() < until_s:
            pass
        return EngineAnswer(
            outcome=_ANSWER, prompt_used="instant", raw_output="a fixed differential"
        )
