"""The LLM engine against a provider on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import ANSWER, Provider, Says, provider

from ddx.adapters.dspy_engine import DspyEngine
from ddx.adapters.dspy_engine.gate import FAILURES
from ddx.core.prices import Price
from ddx.core.record import Answered, Code, Declined, EngineAnswer, Failed, Request
from ddx.core.registry import EngineKind, Model, PromptConfig

CASE = "A 24-year-old man has had fever for 3 days, and a rash."
PROMPTS = {
    1: PromptConfig(index=1, name="one", text="Think of common things first."),
    2: PromptConfig(index=2, name="two", text="Think of rare things first."),
}
DENGUE = Code(system="MONDO", code="MONDO:0005502", display="dengue disease")


class Terms:
    def codes(self, name: str) -> tuple[Code, ...]:
        return (DENGUE,) if name == "Dengue fever" else ()


@pytest.fixture
def stub() -> Iterator[Provider]:
    with provider() as stub:
        yield stub


def a_model(stub: Provider, **changes: Any) -> Model:
    model = Model(
        name="local",
        engine=EngineKind.DSPY,
        llm="openai/local",
        api_base=stub.url,
        temperature=0.7,
        max_tokens=2000,
        top_k=5,
        prompt=1,
    )
    return replace(model, **changes)


def an_engine(stub: Provider, **changes: Any) -> DspyEngine:
    return DspyEngine(
        model=a_model(stub, **changes), prompts=PROMPTS, terminology=Terms(), api_key=None
    )


async def ask(engine: DspyEngine, deadline_s: float = 20, **changes: Any) -> EngineAnswer:
    request = replace(Request(case=CASE, model_name="local"), **changes)
    return await engine.ask(request, deadline_s)


async def test_an_answer_is_grounded_and_accounted_for(stub: Provider) -> None:
    answer = await ask(an_engine(stub))
    assert isinstance(answer.outcome, Answered)
    (diagnosis,) = answer.outcome.diagnoses
    assert diagnosis.codes == (DENGUE,)
    assert [e.quote for e in diagnosis.supporting] == ["fever for 3 days"]
    assert answer.unsupported_quotes == 1
    assert answer.raw_output == json.dumps(ANSWER)
    assert answer.prompt_digest == PROMPTS[1].digest
    (call,) = answer.calls
    assert (call.attempt, call.purpose, call.model) == (1, "predict", "openai/local")
    assert (call.model_answered, call.finish_reason, call.request_id) == ("stub-1", "stop", "req-7")
    assert (call.input_tokens, call.output_tokens, call.cost_usd) == (100, 20, None)
    assert call.latency_s > 0


async def test_what_is_recorded_is_what_went_over_the_wire(stub: Provider) -> None:
    answer = await ask(an_engine(stub), temperature=0.2, max_tokens=345, top_k=9, prompt_version=2)
    (body,) = stub.bodies
    assert body["temperature"] == 0.2 == answer.settings.temperature
    assert body.get("max_tokens", body.get("max_completion_tokens")) == 345
    assert answer.settings.max_tokens == 345
    assert body["top_k"] == 9 == answer.settings.top_k
    assert body["response_format"]["type"] == "json_schema"
    assert answer.settings.prompt_index == 2
    assert answer.settings.model == "openai/local"
    system, user = (message["content"] for message in body["messages"])
    assert "rare things first" in system
    assert CASE in user
    assert answer.prompt_used is not None
    assert system in answer.prompt_used
    assert user in answer.prompt_used


async def test_a_model_without_settings_of_its_own_is_sent_none(stub: Provider) -> None:
    answer = await ask(an_engine(stub, temperature=None, max_tokens=None, top_k=None))
    (body,) = stub.bodies
    assert not {"temperature", "max_tokens", "max_completion_tokens", "top_k"} & set(body)
    assert answer.settings.temperature is None
    assert answer.settings.top_k is None


async def test_a_provider_without_top_k_is_not_sent_it_and_the_record_says_so(
    stub: Provider,
) -> None:
    answer = await ask(an_engine(stub, llm="groq/some-model"))
    assert "top_k" not in stub.bodies[0]
    assert answer.settings.top_k is None
    assert answer.calls[0].dropped == ("top_k",)


async def test_a_parameter_that_the_model_refuses_is_left_out_and_recorded(
    stub: Provider,
) -> None:
    def decide(body: dict[str, Any]) -> Says:
        if "temperature" in body:
            return Says(status=400, error=f"temperature is not supported. {CASE}")
        return Says()

    stub.decide = decide
    answer = await ask(an_engine(stub))
    assert isinstance(answer.outcome, Answered)
    first, second = answer.calls
    assert (first.error, second.dropped) == ("LMInvalidRequestError", ("temperature",))
    assert answer.settings.temperature is None
    assert answer.settings.top_k == 5


async def test_a_server_without_structured_output_is_asked_without_it(stub: Provider) -> None:
    def decide(body: dict[str, Any]) -> Says:
        unknown = "response_format" in body
        return Says(status=400, error="unknown field response_format") if unknown else Says()

    stub.decide = decide
    answer = await ask(an_engine(stub))
    assert isinstance(answer.outcome, Answered)
    assert answer.calls[1].dropped == ("response_format",)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_error_is_tried_again_and_counted(stub: Provider, status: int) -> None:
    stub.script = [Says(status=status), Says()]
    answer = await ask(an_engine(stub))
    assert isinstance(answer.outcome, Answered)
    assert [c.error is None for c in answer.calls] == [False, True]
    assert answer.prompt_used is not None
    assert answer.prompt_used.count("--- system ---") == 1


async def test_the_provider_says_how_long_to_wait(stub: Provider) -> None:
    stub.script = [Says(status=429, headers={"retry-after": "1"}), Says()]
    began = time.monotonic()
    await ask(an_engine(stub))
    assert time.monotonic() - began >= 1.0


async def test_no_more_tries_are_made_than_the_model_allows(stub: Provider) -> None:
    stub.script = [Says(status=500)]
    answer = await ask(an_engine(stub, attempts=2))
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "model_error"
    assert len(answer.calls) == len(stub.bodies) == 2


async def test_an_unreadable_answer_is_repaired_once_with_its_own_prompt(stub: Provider) -> None:
    stub.script = [Says(text="It is dengue, I think."), Says()]
    answer = await ask(an_engine(stub))
    assert isinstance(answer.outcome, Answered)
    assert [c.purpose for c in answer.calls] == ["predict", "repair"]
    assert "It is dengue, I think." in json.dumps(stub.bodies[1])
    assert answer.calls[0].output == "It is dengue, I think."
    assert answer.prompt_used is not None
    assert answer.prompt_used.count("--- system ---") == 2


@pytest.mark.parametrize(
    "says",
    [
        Says(text="garbage"),
        Says(text='{"diagnoses": [{"diagnosis": "Den'),
        Says(text=""),
        Says(text="x" * 1_000_000),
        Says(text="I'm sorry, but I can't help."),
        Says(text="拒绝"),
        Says(cut=True),
        Says(status=401, error=CASE),
        Says(status=404, error=CASE),
    ],
    ids=["garbage", "half", "empty", "1MB", "refusal", "language", "dies", "key", "model"],
)
async def test_whatever_comes_is_an_outcome_that_tells_no_patient_text(
    stub: Provider, says: Says, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stub.script = [says]
    answer = await ask(an_engine(stub, attempts=2))
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "model_error"
    assert len(answer.calls) == len(stub.bodies)
    assert answer.prompt_used
    told = answer.outcome.message + answer.outcome.advice + caplog.text
    assert "24-year-old" not in told


async def test_a_case_with_too_little_detail_is_declined(stub: Provider) -> None:
    stub.script = [
        Says(text=json.dumps({"diagnoses": [], "sufficient": False, "conclusion": "No signs."}))
    ]
    answer = await ask(an_engine(stub))
    assert answer.outcome == Declined(reason="No signs.")


async def test_a_model_that_hangs_misses_its_deadline(stub: Provider) -> None:
    stub.script = [Says(wait_s=3)]
    engine = an_engine(stub)
    engine.warm()
    began = time.monotonic()
    answer = await ask(engine, deadline_s=0.5)
    assert time.monotonic() - began < 1.5
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "model_deadline"


async def test_a_server_that_is_not_there_is_a_failure(stub: Provider) -> None:
    engine = an_engine(stub, api_base="http://127.0.0.1:9/v1", attempts=1)
    answer = await ask(engine)
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "model_error"


async def test_many_at_once_do_not_mix(stub: Provider) -> None:
    def decide(body: dict[str, Any]) -> Says:
        number = body["messages"][1]["content"].split("number ")[1].split(".")[0]
        time.sleep(0.01)
        entry = ANSWER["diagnoses"][0] | {"diagnosis": f"Disease {number}"}  # type: ignore[index]
        return Says(text=json.dumps({"diagnoses": [entry]}))

    stub.decide = decide
    engine = an_engine(stub)
    answers = await asyncio.gather(
        *(ask(engine, case=f"Case number {n}.", temperature=n / 100) for n in range(50))
    )
    for number, answer in enumerate(answers):
        assert isinstance(answer.outcome, Answered)
        assert answer.outcome.diagnoses[0].name == f"Disease {number}"
        assert answer.settings.temperature == number / 100
        assert answer.prompt_used is not None
        assert f"Case number {number}." in answer.prompt_used


async def test_the_event_loop_goes_on_while_a_model_thinks(stub: Provider) -> None:
    stub.script = [Says(wait_s=2)]
    engine = an_engine(stub)
    engine.warm()
    asked = asyncio.create_task(ask(engine))
    longest = 0.0
    while not asked.done():
        began = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - began)
    assert longest < 1.5  # a busy machine's own pauses


def test_importing_the_engine_loads_no_dspy() -> None:
    code = (
        "import sys, ddx.adapters.dspy_engine;"
        "print('dspy' in sys.modules, 'litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


async def test_a_call_that_hangs_is_made_again(stub: Provider) -> None:
    stub.script = [Says(wait_s=3), Says()]
    answer = await ask(an_engine(stub, call_timeout_s=0.3))
    assert isinstance(answer.outcome, Answered)
    assert [call.error is None for call in answer.calls] == [False, True]
    assert answer.calls[0].input_tokens is None


async def test_no_more_repairs_are_made_than_the_model_allows(stub: Provider) -> None:
    stub.script = [Says(text="no JSON at all")]
    answer = await ask(an_engine(stub, attempts=5, repairs=1))
    assert isinstance(answer.outcome, Failed)
    assert [call.purpose for call in answer.calls] == ["predict", "repair"]


async def test_a_price_of_the_users_is_the_cost_at_another_address_too(stub: Provider) -> None:
    prices = {"openai/local": Price(input=10.0, output=100.0)}
    engine = DspyEngine(model=a_model(stub), prompts=PROMPTS, prices=prices)
    answer = await ask(engine)
    assert answer.calls[0].cost_usd == pytest.approx((100 * 10 + 20 * 100) / 1e6)


async def test_a_provider_that_is_dead_is_not_asked_for_a_while(stub: Provider) -> None:
    stub.script = [Says(status=503)]
    engine = an_engine(stub, attempts=1)
    for _ in range(FAILURES):
        await ask(engine)
    answer = await ask(engine)
    assert isinstance(answer.outcome, Failed)
    assert "is not asked for" in answer.outcome.message
    assert answer.calls == ()
    assert len(stub.bodies) == FAILURES


async def test_a_provider_that_turns_requests_away_is_not_dead(stub: Provider) -> None:
    stub.script = [Says(status=429)]
    engine = an_engine(stub, attempts=1)
    for _ in range(FAILURES + 1):
        await ask(engine)
    assert len(stub.bodies) == FAILURES + 1


async def test_a_busy_provider_gets_no_more_calls_than_it_may(stub: Provider) -> None:
    stub.script = [Says(wait_s=2)]
    engine = an_engine(stub, max_concurrency=1)
    answers = await asyncio.gather(ask(engine), ask(engine, 0.3))
    assert isinstance(answers[0].outcome, Answered)
    assert isinstance(answers[1].outcome, Failed)
    assert answers[1].outcome.code == "model_deadline"
    assert len(stub.bodies) == 1


def test_the_fields_of_program_files_are_those_of_the_signature() -> None:
    from ddx.adapters.dspy_engine import library, program_file

    program = library.load().program
    assert set(program.Advised.fields) == program_file.FIELDS
