"""What a question would cost is near to what its words cost."""

from __future__ import annotations

import json

import pytest
from tests.adapters.dspy_engine.stub import Provider, provider

from ddx.adapters.dspy_engine import DspyEngine
from ddx.adapters.dspy_engine.estimate import FRAME, quote
from ddx.adapters.dspy_engine.prices import price_of
from ddx.core.prices import Price
from ddx.core.record import Request
from ddx.core.registry import EngineKind, Model, PromptConfig
from ddx.core.spending import Quote

PROMPT = PromptConfig(index=1, name="short", text="Give a differential diagnosis." * 10)
REQUEST = Request(
    case="fever for 3 days, bleeding gums. " * 20, model_name="m", max_tokens=1000, prompt_version=1
)
PRICE = Price(input=1.0, output=4.0)


def a_model(**changes: object) -> Model:
    given = {"name": "m", "engine": EngineKind.DSPY, "llm": "openai/x", "attempts": 2, **changes}
    return Model(**given)  # type: ignore[arg-type]


async def test_the_frame_is_as_long_as_what_is_sent_around_prompt_and_case() -> None:
    pytest.importorskip("dspy", reason="needs the extra `llm`")
    with provider() as stub:
        await ask(stub)
    (body,) = stub.bodies
    said = sum(len(message["content"]) for message in body["messages"])
    schema = len(json.dumps(body.get("response_format", "")))

    around = said + schema - len(PROMPT.text) - len(REQUEST.case)
    assert pytest.approx(around, rel=0.2) == FRAME


async def ask(stub: Provider) -> None:
    engine = DspyEngine(model=a_model(api_base=stub.url), prompts={1: PROMPT})
    await engine.ask(REQUEST, 30)


def test_the_most_is_every_attempt_with_the_longest_answer() -> None:
    found = quote(a_model(), REQUEST, PROMPT, PRICE)

    assert found.likely is not None
    assert found.most is not None
    characters = FRAME + len(PROMPT.text) + len(REQUEST.case)
    assert found.likely == pytest.approx((characters / 4 + 1000 * 4) / 1e6, rel=1e-3)
    assert found.most == pytest.approx(2 * (characters / 2 + 1000 * 4) / 1e6, rel=1e-3)


def test_what_is_not_known_is_not_guessed() -> None:
    unlimited = Request(case="x", model_name="m")

    assert quote(a_model(), unlimited, PROMPT, None) == Quote()
    found = quote(a_model(), unlimited, PROMPT, PRICE)
    assert found.likely is not None
    assert found.most is None


def test_at_an_address_of_its_own_only_a_price_that_the_user_set_counts() -> None:
    elsewhere = a_model(llm="openai/gpt-4o", api_base="http://127.0.0.1:1/v1")

    assert price_of(a_model(llm="openai/gpt-4o"), {}) is not None
    assert price_of(elsewhere, {}) is None
    assert price_of(elsewhere, {"openai/gpt-4o": PRICE}) == PRICE
