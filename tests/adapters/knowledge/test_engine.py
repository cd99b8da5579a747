from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from ddx.adapters.knowledge import KnowledgeEngine
from ddx.core.record import (
    Answered,
    Declined,
    EngineAnswer,
    Failed,
    Findings,
    Request,
    Setting,
)
from ddx.ports import Engine

MARFAN = Request(
    model_name="knowledge",
    case=(
        "A 14-year-old boy, tall, with arachnodactyly, pectus excavatum, lens dislocation and "
        "aortic root aneurysm. No seizures. His father has gout."
    ),
)
CODED = Request(
    model_name="knowledge",
    findings=Findings(
        present=("HP:0001166", "HP:0001083", "HP:0002616"),
        absent=("HP:0001250",),
        sex="UNKNOWN_SEX",
        age="P14Y",
    ),
)


def answered(answer: EngineAnswer) -> Answered:
    assert isinstance(answer.outcome, Answered)
    return answer.outcome


def test_it_is_an_engine(engine: KnowledgeEngine) -> None:
    as_engine: Engine = engine
    assert callable(as_engine.ask)


async def test_a_classical_case_is_recognised_from_its_text(engine: KnowledgeEngine) -> None:
    outcome = answered(await engine.ask(MARFAN, 10.0))
    assert len(outcome.diagnoses) == 5
    assert "Marfan syndrome" in [found.name for found in outcome.diagnoses[:3]]
    assert outcome.conclusion
    assert outcome.further_questions


@pytest.mark.parametrize("case", ["Feels unwell.", "He has been feeling unwell for three days."])
async def test_words_that_say_nothing_of_a_disease_do_not_make_one_likely(
    engine: KnowledgeEngine, case: str
) -> None:
    answer = await engine.ask(Request(model_name="knowledge", case=case), 10.0)
    assert isinstance(answer.outcome, Declined)


async def test_ordinary_complaints_are_given_ordinary_diseases(engine: KnowledgeEngine) -> None:
    case = "Fever and cough for three days in a 30 year old man."
    outcome = answered(await engine.ask(Request(model_name="knowledge", case=case), 10.0))
    assert {"Influenza", "Viral pneumonia"} <= {found.name for found in outcome.diagnoses}
    # "Three day measles" is not meant by three days.
    assert "Rubella" not in [found.name for found in outcome.diagnoses[:3]]


async def test_a_coded_case_needs_no_text(engine: KnowledgeEngine) -> None:
    outcome = answered(await engine.ask(CODED, 10.0))
    first = outcome.diagnoses[0]
    assert "OMIM:154700" in [code.code for found in outcome.diagnoses[:3] for code in found.codes]
    assert all(item.quote is None and item.code for item in first.supporting)
    assert outcome.missing_information == ("The patient's sex.",)


async def test_every_quote_stands_at_its_place(engine: KnowledgeEngine) -> None:
    for found in answered(await engine.ask(replace(MARFAN, top_differential=50), 10.0)).diagnoses:
        for item in found.supporting + found.contradicting:
            assert item.start is not None
            assert item.quote == MARFAN.case[item.start : item.end]
            assert item.source


async def test_probabilities_fall_and_one_diagnosis_has_codes_of_one_disease(
    engine: KnowledgeEngine,
) -> None:
    found = answered(await engine.ask(replace(CODED, top_differential=50), 10.0)).diagnoses
    assert len(found) == 50
    shares = [one.probability or 0.0 for one in found]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1.0
    for one in found:
        systems = [code.system for code in one.codes]
        assert len(systems) == len(set(systems))


@pytest.mark.parametrize("case", ["Unwell.", "fever", "No fever, no cough, no rash.", "\x00"])
async def test_too_little_detail_is_an_answer_that_says_what_would_help(
    engine: KnowledgeEngine, case: str
) -> None:
    answer = await engine.ask(Request(model_name="knowledge", case=case), 10.0)
    assert isinstance(answer.outcome, Declined)
    assert answer.outcome.reason
    assert answer.outcome.missing_information
    assert answer.prompt_used
    assert json.loads(answer.raw_output or "") == {"ranking": []}


async def test_where_no_disease_fits_it_says_so_and_what_would_help(
    engine: KnowledgeEngine,
) -> None:
    # Seizure and intellectual disability: over a thousand diseases have both.
    vague = replace(CODED, findings=Findings(present=("HP:0001250", "HP:0001249")))
    answer = await engine.ask(replace(vague, setting=Setting.GENETICS), 10.0)
    assert isinstance(answer.outcome, Declined)
    assert "even the disease that fits best" in answer.outcome.reason
    assert all("Is there" in question for question in answer.outcome.further_questions)
    assert json.loads(answer.raw_output or "")["ranking"]


async def test_an_unknown_code_is_reported_and_the_rest_is_used(engine: KnowledgeEngine) -> None:
    findings = Findings(present=("HP:0001166", "HP:0001083", "HP:9999999"))
    outcome = answered(await engine.ask(replace(CODED, findings=findings), 10.0))
    assert any("HP:9999999" in line for line in outcome.missing_information)


async def test_an_obsolete_code_is_read_as_todays(engine: KnowledgeEngine) -> None:
    old, new = (Findings(present=(id, "HP:0001166")) for id in ("HP:0000057", "HP:0008665"))
    asked = [await engine.ask(replace(CODED, findings=codes), 10.0) for codes in (old, new)]
    assert asked[0].raw_output == asked[1].raw_output


async def test_the_exact_input_and_the_raw_ranking_are_kept(engine: KnowledgeEngine) -> None:
    answer = await engine.ask(MARFAN, 10.0)
    sent, raw = json.loads(answer.prompt_used or ""), json.loads(answer.raw_output or "")
    assert [item["name"] for item in sent["absent"]] == ["Seizure"]
    assert (sent["sex"], sent["age_years"], sent["setting"]) == ("MALE", 14.0, "primary_care")
    assert sent["index"]["digest"] == answer.program_digest == engine.describe().digest
    assert [entry["rank"] for entry in raw["ranking"]] == list(range(1, 51))
    assert answer.settings.model is None


async def test_equal_questions_have_equal_answers(engine: KnowledgeEngine) -> None:
    assert await engine.ask(MARFAN, 10.0) == await engine.ask(MARFAN, 10.0)


async def test_a_deadline_that_passed_is_a_failure_with_a_code(engine: KnowledgeEngine) -> None:
    answer = await engine.ask(MARFAN, 0.0)
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "model_deadline"


async def test_a_fault_is_a_failure_and_tells_nothing_of_the_patient(
    engine: KnowledgeEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fault(request: Request) -> EngineAnswer:
        raise ValueError(request.case)

    monkeypatch.setattr(engine, "answer", fault)
    with caplog.at_level(logging.DEBUG):
        answer = await engine.ask(MARFAN, 10.0)
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "model_error"
    assert "arachnodactyly" not in answer.outcome.message + caplog.text


def test_it_names_its_sources_their_version_and_their_licence(engine: KnowledgeEngine) -> None:
    described = engine.describe()
    assert described.version == "2025-01-16"
    assert "Human Phenotype Ontology Consortium" in described.licence
    assert described.version in described.licence
    assert described.counts["diseases"] > 10_000
    assert {"hp.obo", "phenotype.hpoa", "common/manifest.toml"} <= set(described.source_digests)
    assert any("not clinically reviewed" in one.source for one in described.sources)
    assert described.counts["DDX_profiles"] >= 350


def test_it_starts_from_its_cache_with_the_same_index(
    engine: KnowledgeEngine, cache_dir: Path
) -> None:
    assert KnowledgeEngine.open(cache_dir).describe() == engine.describe()


MALARIA = Request(
    case=(
        "A 30-year-old farmer with high fever, shaking chills and sweating for five days, with "
        "headache and vomiting. The spleen is palpable."
    ),
    model_name="knowledge",
)


async def test_common_disease_leads_in_primary_care_and_says_who_wrote_it(
    engine: KnowledgeEngine,
) -> None:
    outcome = (await engine.ask(MALARIA, 10.0)).outcome
    assert isinstance(outcome, Answered)
    first = outcome.diagnoses[0]
    assert first.name == "Malaria"
    assert first.urgency == "urgent"
    assert first.next_steps
    assert {code.system for code in first.codes} >= {"MONDO", "ICD-10"}
    assert "not clinically reviewed" in first.clinical_relevance


async def test_the_setting_decides_between_common_and_rare(engine: KnowledgeEngine) -> None:
    asked = [
        (await engine.ask(replace(MALARIA, setting=setting, top_differential=20), 10.0)).outcome
        for setting in (Setting.PRIMARY_CARE, Setting.GENETICS)
    ]
    known = []
    for outcome in asked:
        assert isinstance(outcome, Answered)
        known.append(sum(one.urgency is not None for one in outcome.diagnoses))
    assert known[0] > known[1]
