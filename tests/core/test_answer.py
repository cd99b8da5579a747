"""Whatever a model says becomes an outcome."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.make import a_prediction, finished

from ddx.core.answer import Reading, read_answer
from ddx.core.codec import encode
from ddx.core.record import Answered, Code, Declined, Failed, Likelihood

CASE = "A 24-year-old man has had fever for 3 days, and a rash."
DENGUE = Code(system="MONDO", code="MONDO:0005502", display="dengue disease")


def codes(name: str) -> tuple[Code, ...]:
    return (DENGUE,) if "dengue" in name.lower() else ()


def read(said: Any, top: int = 5) -> Reading:
    return read_answer(said if isinstance(said, str) else json.dumps(said), CASE, codes, top)


def answered(said: Any, top: int = 5) -> Answered:
    outcome = read(said, top).outcome
    assert isinstance(outcome, Answered)
    return outcome


def names(said: Any, top: int = 5) -> list[str]:
    return [d.name for d in answered(said, top).diagnoses]


FULL = {
    "reasoning": "…",
    "diagnoses": [
        {
            "diagnosis": "Dengue fever",
            "likelihood": "moderate to high",
            "clinical_relevance": "Fever with a rash.",
            "lack_of_fit": "No travel is told.",
            "supporting": ["Fever for 3  days", "retro-orbital pain"],
            "contradicting": [],
            "urgency": "Urgent",
            "next_steps": ["NS1 antigen"],
        },
        {"diagnosis": "Malaria"},
    ],
    "conclusion": "A febrile illness.",
    "further_questions": ["Travel?"],
    "missing_information": ["Platelets"],
    "sufficient": True,
}


def test_a_full_answer_is_read_whole() -> None:
    reading = read(FULL)
    outcome = reading.outcome
    assert isinstance(outcome, Answered)
    first, second = outcome.diagnoses
    assert first.likelihood is Likelihood.MODERATE_HIGH
    assert first.codes == (DENGUE,)
    assert [(e.quote, CASE[e.start : e.end]) for e in first.supporting] == [
        ("fever for 3 days", "fever for 3 days")
    ]
    assert reading.unsupported_quotes == 1
    assert (first.urgency, first.next_steps) == ("urgent", ("NS1 antigen",))
    assert (second.name, second.likelihood, second.codes) == ("Malaria", Likelihood.MODERATE, ())
    assert outcome.further_questions == ("Travel?",)


@pytest.mark.parametrize(
    "said",
    [
        "Here you are:\n```json\n{}\n```\nI hope it helps.",
        "{}",
        "\ufeff{}",
        "[[ ## diagnoses ## ]]\n{}\n\n[[ ## completed ## ]]",
        'Think {{not json}} first. {{"x": 1}} Then: {}',
    ],
)
def test_the_object_is_found_whatever_stands_around_it(said: str) -> None:
    text = said.replace("{}", json.dumps(FULL)).replace("{{", "{").replace("}}", "}")
    assert names(text) == ["Dengue fever", "Malaria"]


def test_a_json_string_in_a_string_is_opened() -> None:
    assert names(json.dumps(json.dumps(FULL))) == ["Dengue fever", "Malaria"]


def test_a_bare_list_is_the_list_of_diagnoses() -> None:
    assert names(["Dengue", {"diagnosis": "Malaria"}]) == ["Dengue", "Malaria"]


def test_wrong_types_are_taken_as_what_they_mean() -> None:
    outcome = answered(
        {
            "diagnoses": [
                {"diagnosis": "A", "supporting": "fever", "likelihood": 5, "next_steps": None},
                {"diagnosis": 7, "supporting": [{"finding": "Rash", "quote": "a rash"}]},
                "B",
                None,
                [],
            ],
            "further_questions": "Travel?",
            "conclusion": ["x"],
        }
    )
    assert [d.name for d in outcome.diagnoses] == ["A", "7", "B"]
    assert outcome.diagnoses[0].supporting[0].quote == "fever"
    assert outcome.diagnoses[1].supporting[0].finding == "Rash"
    assert outcome.further_questions == ("Travel?",)


def test_a_diagnosis_that_is_named_twice_counts_once() -> None:
    assert names({"diagnoses": ["Dengue fever", "dengue-fever", " ", "Malaria"]}) == [
        "Dengue fever",
        "Malaria",
    ]


def test_no_more_diagnoses_are_kept_than_asked_for() -> None:
    assert len(names({"diagnoses": [f"D{n}" for n in range(40)]}, top=3)) == 3


def test_too_little_detail_is_an_answer() -> None:
    outcome = read({"sufficient": False, "conclusion": "Only an age.", "diagnoses": []}).outcome
    assert outcome == Declined(reason="Only an age.")


@pytest.mark.parametrize(
    "said",
    [
        "I'm sorry, I can't help with that.",
        '{"diagnoses": [{"diagnosis": "Den',
        '{"diagnoses": []}',
        '{"other": 1}',
        "null",
        "5",
        "{" * 100_000,
        '{"a":' * 100_000,
        "[" * 1_000_000,
        "x" * 1_000_000,
    ],
)
def test_what_cannot_be_read_is_a_failure_without_its_text(said: str) -> None:
    reading = read(said)
    assert isinstance(reading.outcome, Failed)
    assert reading.outcome.code == "model_error"
    assert reading.repairable
    assert "sorry" not in reading.outcome.message


def test_no_text_is_not_worth_a_repair() -> None:
    assert not read(" \n ").repairable


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
fields = st.sampled_from(
    ["diagnosis", "likelihood", "supporting", "contradicting", "urgency", "next_steps", "name"]
)
answers = st.fixed_dictionaries(
    {
        "diagnoses": json_values
        | st.lists(st.dictionaries(fields, json_values, max_size=5), max_size=6)
    },
    optional={
        "sufficient": json_values,
        "conclusion": json_values,
        "further_questions": json_values,
    },
)


@given(st.text() | answers.map(json.dumps) | json_values.map(json.dumps), st.integers(1, 50))
def test_reading_is_total_and_keeps_the_laws(said: str, top: int) -> None:
    outcome = read_answer(said, CASE, codes, top).outcome
    encode(finished(a_prediction(), outcome)).encode()
    if isinstance(outcome, Answered):
        assert 1 <= len(outcome.diagnoses) <= top
        for diagnosis in outcome.diagnoses:
            for evidence in diagnosis.supporting + diagnosis.contradicting:
                assert evidence.quote == CASE[evidence.start : evidence.end]
