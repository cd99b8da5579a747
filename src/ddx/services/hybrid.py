"""Two engines as one: the knowledge engine's candidates before an LLM, both lists fused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ddx.core.fusion import advice, fuse, ranked
from ddx.core.record import Answered, EngineAnswer, Failed, Ranking, Request
from ddx.ports import AdvisedEngine, Engine

CANDIDATES = 10
"""Shown to the LLM, and fused."""


class HybridEngine:
    """An Engine for `NAME+knowledge`.

    Where the knowledge engine finds too little, the LLM is asked without candidates. Where either
    fails, or the LLM declines, so does this: neither takes the other's place unsaid.
    """

    def __init__(self, llm: AdvisedEngine, knowledge: Engine) -> None:
        self._llm = llm
        self._knowledge = knowledge

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        """Answer within `deadline_s`, for both; see ports.Engine."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        wide = replace(request, top_differential=max(CANDIDATES, request.top_differential))
        known = await self._knowledge.ask(wide, deadline_s)
        if isinstance(known.outcome, Failed):
            return known
        candidates = known.outcome.diagnoses if isinstance(known.outcome, Answered) else ()
        left_s = max(0.0, deadline_s - (loop.time() - began))
        answer = await self._llm.ask(request, left_s, candidates=advice(candidates))
        second = Ranking(
            engine="knowledge", diagnoses=ranked(candidates), program_digest=known.program_digest
        )
        if not isinstance(answer.outcome, Answered):
            return replace(answer, rankings=(second,))
        said = answer.outcome.diagnoses
        first = Ranking(engine="llm", diagnoses=ranked(said), program_digest=answer.program_digest)
        fused = fuse(said, candidates, request.top_differential)
        return replace(
            answer,
            outcome=replace(answer.outcome, diagnoses=fused),
            rankings=(first, second),
        )

    def warm(self) -> None:
        """Load both, which can take seconds. For a thread."""
        for engine in (self._knowledge, self._llm):
            warm = getattr(engine, "warm", None)
            if warm is not None:
                warm()
