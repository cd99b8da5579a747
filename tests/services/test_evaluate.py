"""An evaluation asks every case once, keeps each answer, and no failure of one ends it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.make import an_answer, an_answered

from ddx.core.caseset import Case, CaseSet, Truth
from ddx.core.evaluation import Asked, Plan, Row
from ddx.core.grading import Grader
from ddx.core.record import Declined, EngineAnswer, Failed, Findings, Request, Setting
from ddx.core.registry import EngineKind, Model
from ddx.errors import ServerUnreachable
from ddx.services.evaluate import EngineAsker, evaluate, request_of

GRADER = Grader(name_key=str.casefold)
CASES = CaseSet(
    name="three",
    cases=tuple(Case(id=id, text=f"case {id}", truth=Truth(name="Malaria")) for id in "abc"),
)


def a_plan(**changes: Any) -> Plan:
    return Plan(set_name="three", set_digest="d", cases=3, model="m", **changes)


class Clock:
    def __init__(self) -> None:
        self.at_s = 0.0

    def monotonic(self) -> float:
        self.at_s += 0.5
        return self.at_s

    def now(self) -> Any:
        raise NotImplementedError


class Scripted:
    """An Asker that answers by the case's text, and counts how many are under way."""

    def __init__(self, **outcomes: Any) -> None:
        self.outcomes, self.asked = outcomes, list[Request]()
        self.running = self.most = 0

    async def ask(self, request: Request) -> Asked:
        self.asked.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        outcome = self.outcomes.get(request.case[-1], an_answered())
        if isinstance(outcome, Exception):
            raise outcome
        return Asked(outcome=outcome, duration_s=0.01)


async def test_every_case_is_asked_and_refusals_and_failures_are_rows() -> None:
    asker = Scripted(b=Declined(reason="x"), c=Failed(code="model_deadline", message="x"))

    rows = await evaluate(CASES, a_plan(), asker, GRADER)

    assert [(row.case_id, row.outcome, row.grade.rank) for row in rows] == [
        ("a", "answered", 2),
        ("b", "insufficient_information", None),
        ("c", "failed", None),
    ]
    assert rows[2].error_code == "model_deadline"
    assert [found.name for found in rows[0].listed] == ["Dengue fever", "Malaria"]


async def test_what_was_answered_is_not_asked_again_and_each_attempt_is() -> None:
    asker = Scripted()

    rows = await evaluate(CASES, a_plan(repeat=2), asker, GRADER, done={("a", 1), ("b", 2)})

    assert {(row.case_id, row.attempt) for row in rows} == {
        ("b", 1),
        ("c", 1),
        ("a", 2),
        ("c", 2),
    }


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_so_many_cases_at_a_time_as_wanted(concurrency: int) -> None:
    asker = Scripted()

    rows = await evaluate(CASES, a_plan(), asker, GRADER, concurrency=concurrency)

    assert asker.most == concurrency
    assert len(rows) == 3


async def test_a_server_that_is_gone_ends_it_after_what_was_answered() -> None:
    kept: list[Row] = []

    with pytest.raises(ServerUnreachable):
        await evaluate(
            CASES, a_plan(), Scripted(b=ServerUnreachable("gone")), GRADER, keep=kept.append
        )
    assert [row.case_id for row in kept] == ["a"]


def test_nothing_of_the_truth_is_asked_and_findings_have_the_base_rates_of_genetics() -> None:
    plan = a_plan(prompt=2, top=20, temperature=0.3, top_k=7, max_tokens=99)
    coded = Case(id="a", findings=Findings(present=("HP:0001250",)), truth=Truth(name="Malaria"))

    request = request_of(coded, plan)
    assert "Malaria" not in repr(request)
    assert (request.setting, request.prompt_version, request.top_differential) == (
        Setting.GENETICS,
        2,
        20,
    )
    assert (request.temperature, request.top_k, request.max_tokens) == (0.3, 7, 99)
    assert request_of(CASES.cases[0], plan).setting is Setting.PRIMARY_CARE
    assert request_of(coded, a_plan(setting="emergency")).setting is Setting.EMERGENCY


class Engine:
    def __init__(self, *, fail: bool = False) -> None:
        self.fail = fail

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        if self.fail:
            raise ValueError(request.case)
        return an_answer()


async def test_an_engine_of_this_process_is_timed_and_its_cost_added_up() -> None:
    model = Model(name="m", engine=EngineKind.DSPY)

    asked = await EngineAsker(Engine(), model, Clock()).ask(request_of(CASES.cases[0], a_plan()))

    assert (asked.duration_s, asked.input_tokens, asked.cost_usd) == (0.5, 100, 0.001)


async def test_an_engine_that_breaks_is_a_failure_that_quotes_no_case() -> None:
    model = Model(name="m", engine=EngineKind.DSPY)

    asked = await EngineAsker(Engine(fail=True), model, Clock()).ask(
        request_of(CASES.cases[0], a_plan())
    )

    assert asked.outcome == Failed(code="model_error", message="ValueError")
    assert asked.cost_usd is None
