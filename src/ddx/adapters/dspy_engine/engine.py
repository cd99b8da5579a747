"""An Engine over any LLM: attempts, retries and repairs, each counted, within one deadline."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ddx.adapters.dspy_engine.attempt import Attempt, Failure, Trial
from ddx.adapters.dspy_engine.program import digest
from ddx.adapters.dspy_engine.wire import Wire
from ddx.core.answer import read_answer
from ddx.core.delivery import Backoff
from ddx.core.record import (
    Code,
    EngineAnswer,
    Failed,
    LlmSettings,
    ModelCall,
    Outcome,
    Request,
)
from ddx.core.registry import Model, PromptConfig
from ddx.errors import EngineError, ModelDeadline
from ddx.ports import Terminology

_BACKOFF = Backoff(first_s=0.5, limit_s=20.0)


class DspyEngine:
    """Asks the LLM of one registry entry.

    Calls block a thread each: plain `Predict` in threads makes a third more calls a second than
    its async form. `threads` bounds how many wait at once; the others queue.
    """

    def __init__(
        self,
        *,
        model: Model,
        prompts: Mapping[int, PromptConfig],
        terminology: Terminology | None,
        api_key: str | None,
        threads: int = 32,
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._terminology = terminology
        self._api_key = api_key
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=f"llm-{model.name}")
        self._lock = threading.Lock()
        self._wire: Wire | None = None

    def warm(self) -> None:
        """Load DSPy and the provider's client, which takes seconds. For a thread."""
        with self._lock:
            if self._wire is None:
                self._wire = Wire(self._model, self._api_key)

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        """Answer within `deadline_s`; see ports.Engine."""
        work = _Work(self._prompt(request), time.monotonic() + deadline_s)
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._pool, self._answer, request, work)
        try:
            async with asyncio.timeout(deadline_s):
                outcome, unsupported = await asyncio.shield(running)
        except TimeoutError:
            # The thread ends by itself: no call of it waits beyond the deadline for a byte.
            work.stopped.set()
            outcome, unsupported = self._late(deadline_s), 0
        return EngineAnswer(
            outcome=outcome,
            settings=work.settings(self._model),
            calls=tuple(work.calls),
            prompt_used="\n".join(work.prompts) or None,
            raw_output=work.raw,
            prompt_digest=work.prompt.digest,
            program_digest=digest(work.prompt),
            unsupported_quotes=unsupported,
        )

    # --- in a thread --------------------------------------------------------------------

    def _answer(self, request: Request, work: _Work) -> tuple[Outcome, int]:
        """Try until there is an answer, or no try is left."""
        self.warm()
        assert self._wire is not None  # noqa: S101  (warm makes it)
        trial = Trial(model=self._model, request=request, wire=self._wire)
        failures = 0
        outcome: Outcome = self._late(self._model.timeout_s)
        for number in range(1, self._model.attempts + 1):
            if work.stopped.is_set() or time.monotonic() >= work.give_up_at:
                return self._late(self._model.timeout_s), 0
            attempt = trial.attempt(number, work.prompt, work.give_up_at)
            work.take(attempt)
            if attempt.failure is None:
                reading = read_answer(
                    attempt.text, request.case, self._codes, request.top_differential
                )
                outcome = reading.outcome
                if not (isinstance(outcome, Failed) and reading.repairable):
                    return outcome, reading.unsupported_quotes
                trial.repair(attempt.text)
                continue
            outcome = self._failed(attempt.failure)
            if not trial.learn(attempt.failure):
                if not attempt.failure.passing:
                    return outcome, 0
                failures += 1
                self._wait(failures, attempt.failure, work)
        return outcome, 0

    def _wait(self, failures: int, failure: Failure, work: _Work) -> None:
        """Wait before the next try: as the provider asks, or with a back-off and luck."""
        wait_s = _BACKOFF.wait_s(failures, random.random())  # noqa: S311  (no secret)
        wait_s = max(wait_s, failure.retry_after_s or 0.0)
        work.stopped.wait(min(wait_s, max(0.0, work.give_up_at - time.monotonic())))

    def _codes(self, name: str) -> tuple[Code, ...]:
        return self._terminology.codes(name) if self._terminology else ()

    def _prompt(self, request: Request) -> PromptConfig:
        index = request.prompt_version
        if index is None:
            index = self._model.prompt if self._model.prompt is not None else min(self._prompts)
        return self._prompts[index]

    def _late(self, deadline_s: float) -> Failed:
        late = ModelDeadline(f"{self._model.name} did not answer within {deadline_s:g} s.")
        return Failed(code=late.code, message=str(late), advice=late.advice)

    def _failed(self, failure: Failure) -> Failed:
        status = f" (HTTP {failure.status})" if failure.status else ""
        advice = failure.advice or EngineError.advice
        return Failed(
            code=EngineError.code,
            message=f"{self._model.name} failed with {failure.kind}{status}.",
            advice=advice,
        )


@dataclass(slots=True)
class _Work:
    """What one question gathers; read by the event loop when the deadline is over."""

    prompt: PromptConfig
    give_up_at: float
    stopped: threading.Event = field(default_factory=threading.Event)
    calls: list[ModelCall] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    raw: str | None = None
    sent: Mapping[str, Any] = field(default_factory=dict)

    def take(self, attempt: Attempt) -> None:
        """Note an attempt; a prompt that was sent again stands once."""
        if self.stopped.is_set():
            return  # the answer was given without it
        self.calls.append(attempt.call)
        self.sent = attempt.call.sent
        if attempt.prompt is not None and attempt.prompt not in self.prompts:
            self.prompts.append(attempt.prompt)
        if attempt.failure is None:
            self.raw = attempt.text

    def settings(self, model: Model) -> LlmSettings:
        """What went over the wire the last time."""
        temperature = self.sent.get("temperature")
        return LlmSettings(
            model=model.llm if self.calls else None,
            max_tokens=self.sent.get("max_tokens"),
            temperature=None if temperature is None else float(temperature),
            top_k=self.sent.get("top_k"),
            prompt_index=self.prompt.index,
        )
