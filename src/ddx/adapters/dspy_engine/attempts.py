"""One prediction: attempts at a model until there is an answer or no sense in another.

Every attempt is counted and written down: retries after errors, repairs of unreadable answers,
and requests without a parameter that the model refused. The sleeps end when nobody waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ddx.adapters.dspy_engine import sent
from ddx.adapters.dspy_engine.exchange import Exchange
from ddx.adapters.dspy_engine.gate import Gate, GateBusy, GateClosed
from ddx.adapters.dspy_engine.task import Task
from ddx.core.answer import Codes, Reading, read_answer
from ddx.core.prices import Price
from ddx.core.record import EngineAnswer, Failed, LlmSettings, ModelCall, Outcome
from ddx.core.registry import Model
from ddx.core.secrecy import Secret
from ddx.errors import EngineError, ModelDeadline

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
_TOO_LATE_S = 0.1
_TRANSIENT = {408, 409, 425, 429}
_REFUSED_STATUS = {400, 422}
_FINAL_ERRORS = {"LMBillingError"}  # comes as 429, and comes again


class Asks(Protocol):
    """Makes one attempt and writes it down in the exchange; raises what went wrong."""

    def ask(self, task: Task, parameters: Mapping[str, Any], exchange: Exchange) -> None:
        """Ask once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What all attempts of one prediction have in common."""

    model: Model
    task: Task
    parameters: Mapping[str, Any]
    """Those asked for, by the names of `sent.SPELLINGS`."""
    prompt_index: int
    prompt_digest: str
    deadline: float
    """Monotonic time."""
    deadline_s: float
    """The same, as it was set."""
    codes: Codes
    price: Price | None
    luck: Callable[[], float]
    """Uniform in [0, 1)."""
    refused: set[str]
    """Parameters that this model is known to refuse. Shared by predictions; it only grows."""
    gate: Gate


class Attempts:
    """Runs in a thread of its own; what is known so far can be read from any thread."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._abandoned = threading.Event()
        self._calls: tuple[ModelCall, ...] = ()
        self._prompts: tuple[tuple[str, str], ...] = ()
        self._settings = LlmSettings(model=question.model.llm, prompt_index=question.prompt_index)
        self._program_digest: str | None = None
        self._task = question.task
        self._dropping: set[str] = set()
        self._repairs = 0

    def abandon(self) -> None:
        """Nobody waits any more: make no further attempt."""
        self._abandoned.set()

    def late(self) -> EngineAnswer:
        """Return the answer that says that the deadline has passed."""
        late = ModelDeadline(
            f"{self._question.model.name} did not answer within {self._question.deadline_s:g} s."
        )
        return self._answer(Failed(code=late.code, message=str(late), advice=late.advice))

    def failed(self, kind: str) -> EngineAnswer:
        """Return the answer that says that an error of this class came up."""
        return self._answer(_failure(f"{self._question.model.name} failed with {kind}."))

    def run(self, program: Asks, program_digest: str) -> EngineAnswer:
        """Make attempts until one settles it."""
        self._program_digest = program_digest
        last = max(1, self._question.model.attempts)
        for attempt in range(1, last + 1):
            if self._abandoned.is_set() or self._remaining_s() <= _TOO_LATE_S:
                break
            try:
                self._question.gate.enter(self._remaining_s() - _TOO_LATE_S)
            except GateBusy:
                break
            except GateClosed as closed:
                return self._closed(closed)
            exchange = self._attempt(program, attempt)
            self._question.gate.leave(answered=_reached(exchange))
            settle = self._after_error if exchange.text is None else self._after_answer
            settled = settle(exchange, attempt, attempt < last)
            if settled is not None:
                return settled
        return self.late()

    def _after_answer(self, exchange: Exchange, _: int, again: bool) -> EngineAnswer | None:  # noqa: FBT001
        """Return what the model's answer comes to; None where it is asked again."""
        question = self._question
        question.refused.update(self._dropping)
        said = exchange.text or ""
        reading = read_answer(said, question.task.case, question.codes, question.task.top)
        if not isinstance(reading.outcome, Failed):
            secret = Secret.of(question.task.text, question.task.case)
            return self._answer(secret.kept(reading.outcome), reading.unsupported_quotes)
        if exchange.finish_reason == "content_filter":
            return self._answer(_failure("The provider's filter kept the answer back."))
        if not again or self._repairs >= question.model.repairs:
            return self._answer(_unread(reading, exchange))
        self._repairs += 1
        if reading.repairable:
            self._task = replace(question.task, unreadable=said)
        return None

    def _after_error(self, exchange: Exchange, attempt: int, again: bool) -> EngineAnswer | None:  # noqa: FBT001
        """Return what an error comes to; None where another attempt makes sense, after a wait."""
        refused = self._refused_by(exchange)
        if again and refused is not None:
            self._dropping.add(refused)
            return None
        if again and _transient(exchange) and self._waited(exchange, attempt):
            return None
        return self._error(exchange)

    # --- one attempt --------------------------------------------------------------------

    def _attempt(self, program: Asks, attempt: int) -> Exchange:
        question, task = self._question, self._task
        exchange = Exchange(deadline=self._call_deadline())
        leave_out = self._dropping | question.refused
        parameters = {k: v for k, v in question.parameters.items() if k not in leave_out}
        try:
            program.ask(task, parameters, exchange)
        except Exception as error:
            # Its text may quote the case: only its class is kept.
            exchange.error = type(error).__name__
            exchange.note_retry_after(getattr(error, "retry_after", None))
        if exchange.error is None and exchange.text is None:
            exchange.error = "NoAnswer"
        purpose = "predict" if task.unreadable is None else "repair"
        call = exchange.call(
            attempt=attempt,
            purpose=purpose,
            model=question.model.llm or question.model.name,
            asked=tuple(question.parameters),
            price=question.price,
        )
        self._calls = (*self._calls, call)
        if exchange.body:
            self._settings = sent.settings(question.model.llm, call.sent, question.prompt_index)
            prompt = (purpose, sent.rendered(exchange.body))
            if prompt not in self._prompts:
                self._prompts = (*self._prompts, prompt)
        return exchange

    def _refused_by(self, exchange: Exchange) -> str | None:
        """Return the parameter of this attempt that the model does not take, if that was it."""
        if exchange.status not in _REFUSED_STATUS:
            return None
        present = sent.parameters(exchange.body)
        asked = tuple(self._question.parameters)
        missing = sent.dropped(asked, present)
        return sent.refused(bytes(exchange.reply), [name for name in asked if name not in missing])

    def _waited(self, exchange: Exchange, failures: int) -> bool:
        """Sleep before the next attempt; False where that makes no sense any more.

        The wait doubles, spread by luck over its second half; a Retry-After is the least.
        """
        spread = (1 + self._question.luck()) / 2
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures - 1, 10)) * spread
        if exchange.retry_after_s is not None:
            # All who were turned away together shall not come back together.
            wait_s = exchange.retry_after_s + wait_s * 0.2
        if wait_s >= self._remaining_s():
            return False
        return not self._abandoned.wait(wait_s)

    def _call_deadline(self) -> float:
        longest = self._question.model.call_timeout_s
        if longest is None:
            return self._question.deadline
        return min(self._question.deadline, time.monotonic() + longest)

    def _remaining_s(self) -> float:
        return self._question.deadline - time.monotonic()

    # --- what comes of it ---------------------------------------------------------------

    def _closed(self, closed: GateClosed) -> EngineAnswer:
        name = self._question.model.name
        return self._answer(
            _failure(f"{name} is not asked for {closed.seconds:.0f} s: its last calls all failed.")
        )

    def _error(self, exchange: Exchange) -> EngineAnswer:
        if self._abandoned.is_set() or (
            exchange.status in (None, 200) and self._remaining_s() <= _TOO_LATE_S
        ):
            return self.late()
        status = f", HTTP {exchange.status}" if exchange.status else ""
        return self.failed(f"{exchange.error}{status}")

    def _answer(self, outcome: Outcome, unsupported_quotes: int = 0) -> EngineAnswer:
        outputs = (call.output for call in reversed(self._calls))
        return EngineAnswer(
            outcome=outcome,
            settings=self._settings,
            calls=self._calls,
            prompt_used=_prompts(self._prompts),
            raw_output=next((text for text in outputs if text is not None), None),
            prompt_digest=self._question.prompt_digest,
            program_digest=self._program_digest,
            unsupported_quotes=unsupported_quotes,
        )


def _transient(exchange: Exchange) -> bool:
    """Whether the same request may go well next time."""
    if exchange.error in _FINAL_ERRORS:
        return False
    if exchange.status is None:  # no reply: the connection, not a request that could not be made
        return bool(exchange.body)
    # A 200 that is no answer: a proxy's page, or a reply that broke off.
    return exchange.status in _TRANSIENT or exchange.status >= 500 or exchange.status == 200


def _reached(exchange: Exchange) -> bool:
    """Whether the endpoint is there: it answered, or turned this request away for its own sake."""
    if not exchange.body:
        return True  # Nothing left: that says nothing of the endpoint.
    return exchange.text is not None or (exchange.status or 599) < 500


def _unread(reading: Reading, exchange: Exchange) -> Outcome:
    if exchange.finish_reason == "length":
        return Failed(
            code=EngineError.code,
            message="The model's answer was cut off at max_tokens.",
            advice="Raise max_tokens, or ask for fewer diagnoses.",
        )
    return reading.outcome


def _failure(message: str) -> Failed:
    return Failed(code=EngineError.code, message=message, advice=EngineError.advice)


def _prompts(prompts: tuple[tuple[str, str], ...]) -> str | None:
    """Return the messages of all attempts, each different set once."""
    if len(prompts) < 2:
        return prompts[0][1] if prompts else None
    return "\n\n".join(
        f"=== request {place} of {len(prompts)}, {purpose}, {len(text)} characters ===\n{text}"
        for place, (purpose, text) in enumerate(prompts, start=1)
    )
