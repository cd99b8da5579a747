"""DSPy's optimisers over our program: what they compile is what the engine sends.

The student is the engine's own signature, adapter and schema; only its answers are read, which
the engine leaves to core.answer. DSPy's logs quote training cases, so they are off.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.saving import get_dependency_versions

from ddx.adapters.dspy_engine.exchange import Exchange
from ddx.adapters.dspy_engine.prices import price_of
from ddx.adapters.dspy_engine.program import Differential, OnceAdapter, response_format
from ddx.adapters.dspy_engine.task import Task
from ddx.adapters.dspy_engine.wire import Wire, current
from ddx.core.caseset import Case
from ddx.core.compiled import ACCOUNT, PREDICTOR
from ddx.core.grading import Listed
from ddx.core.optimizing import Effort, Optimizer, score
from ddx.core.prices import Price
from ddx.core.registry import Model, PromptConfig
from ddx.errors import EngineError, MissingExtra, NothingLearned

_ENOUGH = 1.0
"""What an answer must score to become an example: its first diagnosis is the truth."""
_NO_LIMIT = 1_000_000
_SHOWN = 5
"""Diagnoses of an answer that are told to who rewrites instructions."""

Rank = Callable[[Case, Sequence[Listed]], int | None]
"""Where the truth of a case stands in a list."""


class Spent(Exception):
    """All calls that were allowed are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlay:
    """What compiling took."""

    calls: int
    failed: int
    cost_usd: float | None
    """None where a price or a count is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What is optimised, for what, and how long."""

    model: Model
    api_key: str | None
    prompt: PromptConfig
    parameters: Mapping[str, Any]
    prices: Mapping[str, Price]
    train: Sequence[Case]
    rank: Rank
    effort: Effort
    top: int
    seed: int
    concurrency: int


def compiled(
    lessons: Lessons, optimizer: Optimizer, progress: Callable[[int, int], None]
) -> tuple[dict[str, Any], Outlay]:
    """Return the state of the compiled program, and what it took.

    `progress` is told (calls made, calls allowed). Raises MissingExtra, NothingLearned, and
    EngineError where no call was answered.
    """
    if optimizer is Optimizer.MIPROV2 and find_spec("optuna") is None:
        raise MissingExtra("miprov2 needs Optuna: pip install 'ddx-server[optimize]'")
    model = lessons.model
    wire = _MeteredWire(lessons, progress)
    lm = dspy.LM(str(model.llm), engine=wire, cache=False, num_retries=0)
    student = _Student(lessons)
    examples, metric = _examples(lessons)
    progress(0, lessons.effort.calls)
    with _quiet(), dspy.context(lm=lm, disable_history=True, callbacks=[], track_usage=False):
        best = _compile(optimizer, lessons, student, examples, metric, lm)
    if wire.outlay.calls == wire.outlay.failed:
        raise EngineError(f"none of {wire.outlay.calls} calls of {model.name} was answered")
    state = best.dump_state()
    predictor = state[PREDICTOR]
    if not predictor["demos"] and predictor["signature"]["instructions"] == student.start:
        raise NothingLearned(
            f"{optimizer} found no better instructions, and no answer with the truth first"
        )
    # An optimiser keeps what it was given to think with; a model's address is not the program's.
    predictor["lm"] = None
    account = {"prompt_index": lessons.prompt.index, "prompt_digest": lessons.prompt.digest}
    metadata = {"dependency_versions": get_dependency_versions(), ACCOUNT: account}
    return {PREDICTOR: predictor, "metadata": metadata}, wire.outlay


# --- the student ------------------------------------------------------------------------


class _ReadingAdapter(OnceAdapter):
    """Asks as the engine does, and reads: optimisers look at typed answers."""

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        read: dict[str, Any] = dspy.JSONAdapter.parse(self, signature, completion)
        return read


_ADAPTER = _ReadingAdapter(use_native_function_calling=False)


class _Student(dspy.Module):  # type: ignore[misc]
    """The engine's program as an optimiser takes it."""

    def __init__(self, lessons: Lessons) -> None:
        super().__init__()
        model = lessons.model
        self.start = lessons.prompt.text.strip()
        self.differential = dspy.Predict(Differential.with_instructions(self.start))
        bounded = model.api_base is not None
        self._config = {
            **lessons.parameters,
            "response_format": response_format(
                str(model.llm), most=lessons.top if bounded else None
            ),
        }

    def forward(self, case: str, list_length: int) -> Any:
        # The adapter is for this signature alone: DSPy's own questions keep DSPy's forms.
        with dspy.context(adapter=_ADAPTER):
            return self.differential(case=case, list_length=list_length, config=self._config)


def _examples(lessons: Lessons) -> tuple[list[Any], Callable[..., Any]]:
    """Return the training cases as DSPy takes them, and the metric over them."""
    by_text: dict[str, Case] = {}
    examples = []
    for case in lessons.train:
        task = Task(text="", case=case.text, findings=case.findings, top=lessons.top)
        by_text[task.inputs["case"]] = case
        example = dspy.Example(**task.inputs, truth=case.truth.name)
        examples.append(example.with_inputs(*task.inputs))

    def metric(example: Any, answer: Any, *_: Any, **__: Any) -> Any:
        entries = getattr(answer, "diagnoses", None) or []
        listed = [Listed(name=entry.diagnosis) for entry in entries[: lessons.top]]
        rank = lessons.rank(by_text[example.case], listed)
        return dspy.Prediction(score=score(rank), feedback=_said(example.truth, rank, listed))

    return examples, metric


def _said(truth: str, rank: int | None, listed: Sequence[Listed]) -> str:
    names = "; ".join(one.name for one in listed[:_SHOWN]) or "nothing"
    place = f"stood at place {rank}" if rank else "was not in the list"
    return f"The patient had {truth}. It {place}. Listed first were: {names}."


def _compile(
    optimizer: Optimizer,
    lessons: Lessons,
    student: _Student,
    examples: list[Any],
    metric: Callable[..., Any],
    lm: Any,
) -> Any:
    effort = lessons.effort

    def number(*given: Any, **named: Any) -> float:
        return float(metric(*given, **named).score)

    match optimizer:
        case Optimizer.BOOTSTRAP:
            return dspy.BootstrapFewShot(
                metric=number,
                metric_threshold=_ENOUGH,
                max_bootstrapped_demos=effort.demos,
                max_labeled_demos=0,
                max_errors=_NO_LIMIT,
            ).compile(student, trainset=examples)
        case Optimizer.MIPROV2:
            return dspy.MIPROv2(
                metric=number,
                metric_threshold=_ENOUGH,
                prompt_model=lm,
                task_model=lm,
                auto=None,
                num_candidates=effort.candidates,
                max_bootstrapped_demos=effort.demos,
                max_labeled_demos=0,
                num_threads=lessons.concurrency,
                max_errors=_NO_LIMIT,
                seed=lessons.seed,
            ).compile(student, trainset=examples, num_trials=effort.trials, minibatch=False)
        case Optimizer.GEPA:
            return dspy.GEPA(
                metric=metric,
                max_metric_calls=effort.calls,
                reflection_lm=lm,
                num_threads=lessons.concurrency,
                seed=lessons.seed,
            ).compile(student, trainset=examples)


# --- the calls --------------------------------------------------------------------------


class _MeteredWire(Wire):
    """Makes each call within a time of its own, counts it, and stops at a number of them."""

    def __init__(self, lessons: Lessons, progress: Callable[[int, int], None]) -> None:
        model = lessons.model
        super().__init__(
            llm=str(model.llm),
            api_base=model.api_base,
            api_key=lessons.api_key,
            connections=lessons.concurrency,
        )
        self._limit, self._timeout_s = lessons.effort.calls, model.timeout_s
        self._price = price_of(model, lessons.prices)
        self._progress = progress
        self._lock = threading.Lock()
        self._calls = self._failed = 0
        self._cost: float | None = 0.0

    @property
    def outlay(self) -> Outlay:
        return Outlay(calls=self._calls, failed=self._failed, cost_usd=self._cost)

    def complete(self, request: Any) -> Any:
        with self._lock:
            if self._calls >= self._limit:
                raise Spent
            self._calls += 1
            self._progress(self._calls, self._limit)
        exchange = Exchange(deadline=time.monotonic() + self._timeout_s)
        token = current.set(exchange)
        try:
            response = super().complete(request)
        except Exception:
            with self._lock:
                self._failed += 1
            raise
        finally:
            current.reset(token)
            self._count(exchange)
        return response

    def _count(self, exchange: Exchange) -> None:
        cost = None
        if self._price is not None:
            cost = self._price.cost_usd(
                input_tokens=exchange.input_tokens,
                output_tokens=exchange.output_tokens,
                cached_tokens=exchange.cached_tokens,
            )
        with self._lock:
            self._cost = None if cost is None or self._cost is None else self._cost + cost


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep DSPy's own words and bars to itself: they quote cases, and stand in our output."""
    logger = logging.getLogger("dspy")
    before, logger.disabled = logger.disabled, True
    children = [
        one
        for name, one in logging.root.manager.loggerDict.items()
        if name.startswith(("dspy.", "gepa")) and isinstance(one, logging.Logger)
    ]
    earlier = [one.disabled for one in children]
    for one in children:
        one.disabled = True
    try:
        with (
            Path(os.devnull).open("w") as nowhere,
            redirect_stdout(nowhere),
            redirect_stderr(nowhere),
        ):
            yield
    finally:
        logger.disabled = before
        for one, was in zip(children, earlier, strict=True):
            one.disabled = was
