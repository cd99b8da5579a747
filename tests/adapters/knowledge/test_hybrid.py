"""An LLM beside the knowledge engine: both real, the LLM's provider on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.adapters.dspy_engine.stub import ANSWER, Provider, Says, provider
from tests.make import a_prediction, finished

from ddx.adapters.dspy_engine import DspyEngine
from ddx.adapters.knowledge import KnowledgeEngine
from ddx.adapters.knowledge.external.mondo import Mondo
from ddx.adapters.knowledge.grounding import Grounding
from ddx.core.codec import decode, encode
from ddx.core.record import Answered, EngineAnswer, Failed, Prediction, Request
from ddx.core.registry import EngineKind, Model, PromptConfig
from ddx.core.run_draft import draft
from ddx.services.hybrid import HybridEngine

CASE = (
    "34-year-old man, fever for 3 days, severe headache, pain behind the eyes, joint pain and a"
    " petechial rash. No cough."
)


@pytest.fixture
def stub() -> Iterator[Provider]:
    with provider() as stub:
        yield stub


@pytest.fixture
def hybrid(stub: Provider, engine: KnowledgeEngine) -> HybridEngine:
    llm = DspyEngine(
        model=Model(name="local", engine=EngineKind.DSPY, llm="openai/local", api_base=stub.url),
        prompts={0: PromptConfig(index=0, name="plain", text="List diagnoses.")},
        terminology=Grounding.make(engine.index, Mondo()),
    )
    return HybridEngine(llm, engine)


def says(*names: str) -> Says:
    answer: dict[str, Any] = ANSWER
    (entry,) = answer["diagnoses"]
    listed = [{**entry, "diagnosis": name} for name in names]
    return Says(text=json.dumps({**ANSWER, "diagnoses": listed}))


async def test_the_llm_sees_the_candidates_and_both_rankings_are_kept(
    stub: Provider, hybrid: HybridEngine
) -> None:
    stub.script = [says("Leptospirosis", "dengue fever")]
    request = Request(case=CASE, model_name="local+knowledge", top_differential=4)
    answer = await hybrid.ask(request, 30)

    assert isinstance(answer.outcome, Answered)
    first, second, *_ = answer.outcome.diagnoses
    assert len(answer.outcome.diagnoses) == 4
    assert first.name == "dengue fever", "what both name comes first"
    assert second.name == "Leptospirosis", "then what the LLM puts first"
    assert first.codes[0].code == "MONDO:0005502", "one disease, by its codes"
    ratios = {one.quote: one.likelihood_ratio for one in first.supporting}
    assert (ratios["pain behind the eyes"] or 0) > 10
    for one in first.supporting:
        assert one.start is not None
        assert CASE[one.start : one.end] == one.quote

    (body,) = stub.bodies
    sent = body["messages"][-1]["content"]
    assert "1. Dengue fever, probability 0." in sent
    assert "likelihood ratio" in sent
    assert answer.prompt_used is not None
    assert sent in answer.prompt_used

    llm, known = answer.rankings
    assert (llm.engine, [one.name for one in llm.diagnoses]) == (
        "llm",
        ["Leptospirosis", "dengue fever"],
    )
    assert (known.engine, known.diagnoses[0].name, len(known.diagnoses)) == (
        "knowledge",
        "Dengue fever",
        10,
    )
    assert known.program_digest != llm.program_digest


async def test_both_rankings_are_in_the_runs_record(stub: Provider, hybrid: HybridEngine) -> None:
    answer = await hybrid.ask(Request(case=CASE, model_name="local+knowledge"), 30)
    request = Request(case=CASE, model_name="local+knowledge")
    whole = finished(a_prediction(request=request))
    assert whole.completion is not None
    whole = replace(whole, completion=replace(whole.completion, answer=answer))
    assert decode(encode(whole), Prediction) == whole
    record = json.loads(draft(whole).files["record.json"])
    assert "Chikungunya" in json.dumps(record)
    assert stub.bodies


async def test_too_few_findings_leave_the_llm_alone(stub: Provider, hybrid: HybridEngine) -> None:
    answer = await hybrid.ask(Request(case="Not well today.", model_name="local+knowledge"), 30)
    assert isinstance(answer.outcome, Answered)
    assert "CANDIDATES" not in stub.bodies[0]["messages"][-1]["content"]
    assert answer.rankings[1].diagnoses == ()


async def test_an_llm_that_fails_is_not_replaced_in_silence(
    stub: Provider, hybrid: HybridEngine
) -> None:
    stub.script = [Says(status=401, error="no")]
    answer = await hybrid.ask(Request(case=CASE, model_name="local+knowledge"), 30)
    assert isinstance(answer.outcome, Failed)
    assert answer.rankings[0].engine == "knowledge"


class Broken:
    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        return EngineAnswer(outcome=Failed(code="model_error", message="the ranking failed"))


async def test_a_knowledge_engine_that_fails_is_not_left_out_in_silence(stub: Provider) -> None:
    llm = DspyEngine(
        model=Model(name="local", engine=EngineKind.DSPY, llm="openai/local", api_base=stub.url),
        prompts={0: PromptConfig(index=0, name="plain", text="List diagnoses.")},
    )
    answer = await HybridEngine(llm, Broken()).ask(Request(case=CASE, model_name="m"), 30)
    assert isinstance(answer.outcome, Failed)
    assert not stub.bodies
