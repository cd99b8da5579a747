"""Ask for the differential of every case, and grade it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ddx.core.caseset import Case, CaseSet
from ddx.core.evaluation import Asked, Plan, Row, row
from ddx.core.grading import Grader
from ddx.core.masking import Mask, masked_request
from ddx.core.record import Answered, Declined, EngineAnswer, Failed, Outcome, Request, Setting
from ddx.core.registry import Model
from ddx.errors import DdxError, ModelDeadline
from ddx.ports import Asker, Clock, Engine

DEADLINE_GRACE_S = 2.0


class EngineAsker:
    """An Asker over an engine of this process. Nothing is kept: no journal, no run per case."""

    def __init__(
        self, engine: Engine, model: Model, clock: Clock, mask: Mask | None = None
    ) -> None:
        self._engine, self._model, self._clock = engine, model, clock
        self._mask = mask

    async def ask(self, request: Request) -> Asked:
        """Return the answer; see ports.Asker."""
        started_s = self._clock.monotonic()
        if self._mask is not None:
            request, _ = await asyncio.to_thread(masked_request, request, self._mask)
        answer = await self._answer(request)
        calls = answer.calls
        return Asked(
            outcome=answer.outcome,
            duration_s=self._clock.monotonic() - started_s,
            input_tokens=_total([call.input_tokens for call in calls]),
            output_tokens=_total([call.output_tokens for call in calls]),
            # Without a call there is nothing to pay.
            cost_usd=_total([call.cost_usd for call in calls]) if calls else _free(answer.outcome),
            program=(answer.program_digest or "")[:12] or None,
            dropped=tuple(sorted({name for call in calls for name in call.dropped})),
        )

    async def _answer(self, request: Request) -> EngineAnswer:
        timeout_s = self._model.timeout_s
        try:
            async with asyncio.timeout(timeout_s + DEADLINE_GRACE_S):
                return await self._engine.ask(request, timeout_s)
        except TimeoutError:
            return _failed(ModelDeadline(f"no answer within {timeout_s:g} s"))
        except DdxError as error:
            return _failed(error)
        except Exception as error:
            # One case must not end the evaluation; the error's text could quote it.
            return EngineAnswer(
                outcome=Failed(code="model_error", message=f"{type(error).__name__}")
            )


def request_of(case: Case, plan: Plan) -> Request:
    """Return what is asked for a case: its text, its findings, and nothing of its truth."""
    usual = Setting.GENETICS if case.findings else Setting.PRIMARY_CARE
    return Request(
        case=case.text,
        findings=case.findings,
        model_name=plan.model,
        prompt_version=plan.prompt,
        setting=Setting(plan.setting) if plan.setting else usual,
        temperature=plan.temperature,
        top_k=plan.top_k,
        max_tokens=plan.max_tokens,
        top_differential=plan.top,
    )


async def evaluate(
    cases: CaseSet,
    plan: Plan,
    asker: Asker,
    grader: Grader,
    *,
    done: Collection[tuple[str, int]] = (),
    concurrency: int = 1,
    keep: Callable[[Row], None] = lambda row: None,  # noqa: ARG005
) -> list[Row]:
    """Ask each case `plan.repeat` times, except those in `done`; return the new rows.

    `keep` is given each row as soon as it is there, in the order of the answers. A failure is
    a row. What the Asker raises ends the evaluation, after `keep` of what had been answered.
    """
    waiting = iter(
        [
            (case, attempt)
            for attempt in range(1, plan.repeat + 1)
            for case in cases.cases
            if (case.id, attempt) not in done
        ]
    )
    rows: list[Row] = []

    async def worker(work: Iterator[tuple[Case, int]]) -> None:
        for case, attempt in work:
            asked = await asker.ask(request_of(case, plan))
            found = graded(case, row(case.id, attempt, asked), grader)
            rows.append(found)
            keep(found)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker(waiting))
    except ExceptionGroup as several:
        # The workers that were cancelled said nothing of their own.
        raise several.exceptions[0] from several
    return rows


def graded(case: Case, row: Row, grader: Grader) -> Row:
    """Return the row with the grade that today's knowledge gives it."""
    return replace(row, grade=grader.grade(case.truth, row.listed))


def _failed(error: DdxError) -> EngineAnswer:
    return EngineAnswer(outcome=Failed(code=error.code, message=str(error), advice=error.advice))


def _free(outcome: Outcome) -> float | None:
    return 0.0 if isinstance(outcome, Answered | Declined) else None


def _total(values: Sequence[Any]) -> Any:
    """Add up, or None where one is unknown."""
    return None if not values or None in values else sum(values)
