"""The whole path with a real model on this machine."""

from __future__ import annotations

import json

import pytest
from tests import local_llm

from ddx.adapters.dspy_engine import DspyEngine
from ddx.core.record import Answered, Declined, Failed, Request
from ddx.core.registry import EngineKind, Model, PromptConfig

pytestmark = pytest.mark.skipif(local_llm.missing() is not None, reason=str(local_llm.missing()))
CASE = "A 24-year-old man has had fever for 3 days, headache, joint pain and a rash."


async def test_a_real_model_answers_in_the_form_that_is_asked_for() -> None:
    with local_llm.running() as address:
        model = Model(
            name="local",
            engine=EngineKind.DSPY,
            llm="openai/local",
            api_base=address,
            temperature=0.0,
            max_tokens=300,
            top_k=3,
            attempts=1,
        )
        prompts = {2: PromptConfig(index=2, name="short", text="Give a differential diagnosis.")}
        engine = DspyEngine(model=model, prompts=prompts, terminology=None, api_key=None)
        request = Request(case=CASE, model_name="local", top_differential=2)
        answer = await engine.ask(request, deadline_s=180)

    assert isinstance(answer.outcome, Answered | Declined | Failed)
    (call,) = answer.calls
    assert call.error is None
    assert call.input_tokens is not None
    assert call.input_tokens > 50
    assert call.output_tokens is not None
    assert 1 <= call.output_tokens <= 300
    assert call.sent["max_tokens"] == 300
    assert answer.settings.top_k == 3
    # The grammar holds whatever a small model thinks; only the token limit can cut it.
    if call.finish_reason == "stop":
        assert "diagnoses" in json.loads(answer.raw_output or "")
        assert isinstance(answer.outcome, Answered | Declined)
