"""Whatever a model says, there is an outcome, and it says nothing that the case does not."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddx.core.answer import Reading, read_answer
from ddx.core.record import Answered, Code, Declined, Failed, Likelihood

CASE = "Known diabetic. Has had FEVER  for 3 days, with joint pain. No rash."
DENGUE = Code(system="MONDO", code="MONDO:0005502", display="dengue disease")


def codes(name: str) -> tuple[Code, ...]:
    return (DENGUE,) if name.lower().startswith("dengue") else ()


def read(answer: Any, case: str = CASE, top: int = 5) -> Reading:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return read_answer(text, case, codes, top)


def names(reading: Reading) -> list[str]:
    assert isinstance(reading.outcome, Answered)
    return [diagnosis.name for diagnosis in reading.outcome.diagnoses]


WHOLE = {
    "reasoning": "Fever and joint pain.",
    "diagnoses": [
        {
            "diagnosis": "Dengue fever",
            "likelihood": "High",
            "clinical_relevance": "Fever with joint pain.",
            "lack_of_fit": "No rash.",
            "supporting": ["fever for 3 days", "petechial rash"],
            "contradicting": ["No rash"],
            "urgency": "Urgent",
            "next_steps": ["Full blood count"],
        },
        {"diagnosis": "Malaria", "likelihood": "moderate to high"},
    ],
    "conclusion": "Arboviral fever.",
    "further_questions": ["Any bleeding?"],
    "missing_information": ["Travel"],
    "sufficient": True,
}


def test_a_whole_answer_is_read() -> None:
    reading = read(WHOLE)
    assert isinstance(reading.outcome, Answered)
    first, second = reading.outcome.diagnoses
    assert first.likelihood is Likelihood.HIGH
    assert first.codes == (DENGUE,)
    assert [e.quote for e in first.supporting] == ["FEVER  for 3 days"]
    assert [e.quote for e in first.contradicting] == ["No rash"]
    assert first.urgency == "urgent"
    assert first.next_steps == ("Full blood count",)
    assert second.likelihood is Likelihood.MODERATE_HIGH
    assert reading.outcome.conclusion == "Arboviral fever."
    assert reading.outcome.further_questions == ("Any bleeding?",)
    assert reading.outcome.missing_information == ("Travel",)


def test_a_quote_that_does_not_stand_in_the_case_is_left_out_and_counted() -> None:
    assert read(WHOLE).unsupported_quotes == 1


BARE = '{"diagnoses": [{"diagnosis": "Malaria"}]}'
MARKED = """[[ ## reasoning ## ]]
Because {of} this.

[[ ## diagnoses ## ]]
[{"diagnosis": "Malaria"}]

[[ ## conclusion ## ]]
Treat.

[[ ## sufficient ## ]]
True

[[ ## completed ## ]]"""


@pytest.mark.parametrize(
    "text",
    [
        BARE,
        f"```json\n{BARE}\n```",
        f"```\n{BARE}```",
        f"Here is {{my}} answer:\n{BARE}\nI hope it helps.",
        f"Here it is:\n```json\n{BARE}\n```\nTake care.",
        json.dumps(BARE),
        json.dumps({"answer": json.loads(BARE)}),
        json.dumps({"diagnoses": '[{"diagnosis": "Malaria"}]'}),
        '{"diagnoses": ["Malaria"]}',
        '{"diagnoses": "Malaria"}',
        '{"diagnoses": {"diagnosis": "Malaria"}}',
        '{"diagnoses": {"1": {"name": "Malaria"}}}',
        '{"diagnoses": {"Malaria": {"likelihood": "High"}}}',
        '{"diagnoses": {"Malaria": "High"}}',
        '[{"diagnosis": "Malaria"}]',
        '{"diagnoses": [{"diagnosis": "Malaria", "likelihood": NaN,}],}',
        '{"diagnoses": [{"diagnosis": "Malaria", "supporting": null, "next_steps": 3}]}',
        '{"diagnoses": [null, 7, {"diagnosis": ""}, {"diagnosis": "Malaria"}, []]}',
        '{"diagnoses": [{"diagnosis": "Malaria"}], "conclusion": "one\ntwo"}',
        MARKED,
    ],
)
def test_other_forms_of_an_answer_are_read(text: str) -> None:
    assert names(read(text)) == ["Malaria"]


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("High", Likelihood.HIGH),
        ("very likely", Likelihood.HIGH),
        ("Unlikely", Likelihood.LOW),
        ("Medium", Likelihood.MODERATE),
        (0.9, Likelihood.HIGH),
        ("30%", Likelihood.MODERATE_HIGH),
        (12, Likelihood.MODERATE),
        (float("nan"), Likelihood.MODERATE),
        (10**400, Likelihood.MODERATE),
        (None, Likelihood.MODERATE),
        (["High"], Likelihood.MODERATE),
    ],
)
def test_a_likelihood_is_read_from_words_and_numbers(said: object, understood: str) -> None:
    reading = read({"diagnoses": [{"diagnosis": "Malaria", "likelihood": said}]})
    assert isinstance(reading.outcome, Answered)
    assert reading.outcome.diagnoses[0].likelihood is understood


def test_too_little_detail_is_an_answer() -> None:
    reading = read(
        {
            "diagnoses": [],
            "sufficient": False,
            "conclusion": "Only an age.",
            "missing_information": ["symptoms"],
            "further_questions": ["What brings you here?"],
        }
    )
    assert reading.outcome == Declined(
        reason="Only an age.",
        missing_information=("symptoms",),
        further_questions=("What brings you here?",),
    )


def test_declining_needs_no_list() -> None:
    assert isinstance(read({"sufficient": "false"}).outcome, Declined)


def test_duplicates_are_one_diagnosis_with_the_evidence_of_both() -> None:
    reading = read(
        {
            "diagnoses": [
                {"diagnosis": "Dengue fever", "supporting": ["FEVER"]},
                {"diagnosis": "Malaria"},
                {"diagnosis": "malaria ."},
                {"diagnosis": "DENGUE", "supporting": ["joint pain"]},
            ]
        }
    )
    assert names(reading) == ["Dengue fever", "Malaria"]
    assert isinstance(reading.outcome, Answered)
    assert [e.quote for e in reading.outcome.diagnoses[0].supporting] == ["FEVER", "joint pain"]


def test_no_more_than_asked_for() -> None:
    many = {"diagnoses": [{"diagnosis": f"Disease {n}"} for n in range(30)]}
    assert names(read(many, top=3)) == ["Disease 0", "Disease 1", "Disease 2"]


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, I can't help with that.",
        '{"diagnoses": []}',
        '{"conclusion": "nothing"}',
        json.dumps(WHOLE)[:-40],
        json.dumps(WHOLE)[:60],
        "null",
        "42",
        '"Malaria"',
        "[[ ## diagnoses ## ]]\nMalaria and so on",
        "[" * 100_000,
        '{"diagnoses": ' * 50_000,
    ],
)
def test_what_cannot_be_read_fails_and_can_be_repaired(text: str) -> None:
    reading = read(text)
    assert isinstance(reading.outcome, Failed)
    assert reading.outcome.code == "model_error"
    assert reading.outcome.advice
    assert reading.repairable


def test_an_empty_answer_has_nothing_to_repair() -> None:
    assert not read(" \n ").repairable


def test_a_failure_tells_nothing_of_the_patient() -> None:
    outcome = read("Known diabetic with joint pain: refused").outcome
    assert isinstance(outcome, Failed)
    assert not {"diabetic", "joint", "refused"} & set(outcome.message.split())


def test_a_terminology_that_fails_costs_the_codes_only() -> None:
    def broken(name: str) -> tuple[Code, ...]:
        raise RuntimeError(name)

    reading = read_answer(BARE, CASE, broken, 5)
    assert names(reading) == ["Malaria"]


def test_what_cannot_be_encoded_is_replaced() -> None:
    reading = read('{"diagnoses": [{"diagnosis": "Mal\\ud800aria", "lack_of_fit": "\\u0000"}]}')
    assert names(reading) == ["Mal\ufffdaria"]
    json.dumps(names(reading)).encode()


MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        " " * MEGABYTE + "x",
        "{" * MEGABYTE,
        '{"' * (MEGABYTE // 2),
        '"' * MEGABYTE,
        '\\"' * (MEGABYTE // 2),
        "," * MEGABYTE,
        ", " * (MEGABYTE // 2) + "}",
        "[[ ## x ## ]]" * (MEGABYTE // 13),
        '{"diagnoses": [' + ",".join(['"a"'] * (MEGABYTE // 4)) + "]}",
        json.dumps({"diagnoses": [{"diagnosis": "A", "likelihood": "5" + " " * MEGABYTE + "x"}]}),
        json.dumps({"diagnoses": [{"diagnosis": "A", "supporting": ["a " * (MEGABYTE // 2)]}]}),
        json.dumps({"diagnoses": [{"diagnosis": "A" * MEGABYTE}]}),
        '{"diagnoses": [{"diagnosis": "A", "conclusion": ' + "9" * MEGABYTE,
        "```" + " " * MEGABYTE + "```x",
    ],
)
def test_a_megabyte_is_read_in_seconds(text: str) -> None:
    started_s = time.process_time()
    read(text)
    assert time.process_time() - started_s < 5


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*WHOLE, *WHOLE["diagnoses"][0], "1", "name", "quote"])  # type: ignore[index]
            | st.text(max_size=4),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


def check(reading: Reading, case: str, top: int) -> None:
    if isinstance(reading.outcome, Answered):
        assert 1 <= len(reading.outcome.diagnoses) <= top
        for diagnosis in reading.outcome.diagnoses:
            assert diagnosis.name.strip()
            for evidence in diagnosis.supporting + diagnosis.contradicting:
                assert evidence.quote == case[evidence.start : evidence.end] != ""
    if isinstance(reading.outcome, Failed):
        assert reading.outcome.code == "model_error"


@settings(deadline=None)
@given(ANY_TEXT, ANY_TEXT, st.integers(1, 50))
def test_any_text_has_an_outcome(text: str, case: str, top: int) -> None:
    check(read(text, case, top), case, top)


@settings(deadline=None)
@given(ANY_JSON, ANY_TEXT, st.integers(1, 50))
def test_any_json_has_an_outcome(answer: Any, case: str, top: int) -> None:
    check(read(json.dumps(answer), case, top), case, top)


@settings(deadline=None)
@given(ANY_JSON)
def test_any_diagnoses_have_an_outcome(answer: Any) -> None:
    check(read(json.dumps({"diagnoses": answer})), CASE, 5)


@settings(deadline=None)
@given(st.integers(0, 600))
def test_an_answer_cut_anywhere_has_an_outcome(length: int) -> None:
    text = json.dumps(WHOLE)[:length]
    reading = read(text)
    assert isinstance(reading.outcome, Answered) == (text == json.dumps(WHOLE))
