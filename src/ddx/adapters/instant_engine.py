"""An engine that answers at once with a fixed differential, to measure all the rest."""

from __future__ import annotations

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

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:  # noqa: ARG002
        """Return the fixed differential."""
        return EngineAnswer(
            outcome=_ANSWER, prompt_used="instant", raw_output="a fixed differential"
        )
