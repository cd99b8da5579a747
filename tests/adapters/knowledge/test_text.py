from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddx.adapters.knowledge import KnowledgeEngine
from ddx.adapters.knowledge.case import Case
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.text import read_text


@pytest.fixture(scope="module")
def hpo(engine: KnowledgeEngine) -> Index:
    return engine._index


def said(index: Index, text: str) -> tuple[set[str], set[str]]:
    case = read_text(index, text)
    present, absent = (
        {index.term_name(finding.term) for finding in findings}
        for findings in (case.present, case.absent)
    )
    return present, absent


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("He has had seizures.", "Seizure"),
        ("Complains of a sore throat", "Pharyngalgia"),
        ("pain in his upper abdomen", "Epigastric pain"),
        ("low set ears", "Low-set ears"),
        ("short of breath since Monday", "Dyspnea"),
        ("marked diarrhoea", "Diarrhea"),
        ("The liver is palpable.", "Hepatomegaly"),
        ("She vomited twice.", "Vomiting"),
        ("Known VSD.", "Ventricular septal defect"),
    ],
)
def test_a_finding_is_known_by_its_names_inflections_and_word_order(
    hpo: Index, text: str, finding: str
) -> None:
    assert said(hpo, text)[0] == {finding}


@pytest.mark.parametrize(
    ("text", "present", "absent"),
    [
        ("no fever, rash or cough", set(), {"Fever", "Skin rash", "Cough"}),
        ("denies fever but has a cough", {"Cough"}, {"Fever"}),
        ("Cough without fever. Headache.", {"Cough", "Headache"}, {"Fever"}),
        ("negative for sore throat and cough", set(), {"Pharyngalgia", "Cough"}),
        ("Fever and rash were absent.", set(), {"Fever", "Skin rash"}),
        ("Cough; fever was not present", {"Cough"}, {"Fever"}),
        ("Absent: fever; cough; rash. Headache.", {"Headache"}, {"Fever", "Cough", "Skin rash"}),
        ("He has not had fever.", set(), {"Fever"}),
        ("no fever, cough for 3 days", {"Cough"}, {"Fever"}),
        ("no fever, cough or rash for 3 days", set(), {"Fever", "Cough", "Skin rash"}),
        ("He doesn't have a fever.", set(), {"Fever"}),
        ("No improvement of the fever.", {"Fever"}, set()),
        ("Absent speech", {"Absent speech"}, set()),
    ],
)
def test_a_denial_holds_for_its_list_and_ends_with_its_clause(
    hpo: Index, text: str, present: set[str], absent: set[str]
) -> None:
    assert said(hpo, text) == (present, absent)


@pytest.mark.parametrize(
    "text",
    [
        "His mother has epilepsy.",
        "Family history of seizures and asthma.",
        "Her brother died of heart failure.",
        "He is at risk of seizures.",
        "All lesions were mild.",
        "Tests were ordered.",
    ],
)
def test_what_is_not_the_patients_is_no_finding(hpo: Index, text: str) -> None:
    assert said(hpo, text) == (set(), set())


@pytest.mark.parametrize(
    "text",
    [
        "His mother noticed that he had seizures.",
        "Brought by her mother with seizures.",
        "His father has gout. He has seizures.",
        "A 30-year-old mother of two with seizures.",
    ],
)
def test_a_relative_who_speaks_does_not_hide_the_patient(hpo: Index, text: str) -> None:
    assert said(hpo, text)[0] == {"Seizure"}


@pytest.mark.parametrize(
    ("text", "present", "absent"),
    [
        ("Temperature: 38.6 C", {"Fever"}, set()),
        ("Temp 101.3°F", {"Fever"}, set()),
        ("Temperature is 36.8°C", set(), {"Fever"}),
        ("BP 160/100 mmHg, HR 120", {"Hypertension", "Tachycardia"}, set()),
        ("BP 80/50", {"Hypotension"}, set()),
        ("SpO2 88% on room air", {"Hypoxemia"}, set()),
        ("A 2-year-old with a pulse of 120/min", set(), set()),
        ("A 2-year-old with a respiratory rate of 52/min", {"Tachypnea"}, set()),
        ("Sats 86%", {"Hypoxemia"}, set()),
        ("Hemoglobin is 7.9 g/dL", {"Anemia"}, {"Polycythemia"}),
        ("A 2-year-old. Hemoglobin is 10.9 g/dL", set(), set()),
    ],
)
def test_numbers_are_findings_where_they_are_abnormal_for_the_age(
    hpo: Index, text: str, present: set[str], absent: set[str]
) -> None:
    assert said(hpo, text) == (present, absent)


_LOW_A = "Reduced circulating vitamin A concentration"


def test_a_letter_of_a_vitamin_is_part_of_its_name(hpo: Index) -> None:
    assert _LOW_A not in said(hpo, "He has vitamin D deficiency.")[0]
    assert _LOW_A in said(hpo, "He has vitamin A deficiency.")[0]


def test_a_longer_match_wins_over_what_it_overlaps(hpo: Index) -> None:
    assert said(hpo, "bilateral tonic-clonic seizure") == (
        {"Bilateral tonic-clonic seizure"},
        set(),
    )


def test_a_finding_that_is_present_wins_over_the_absence_of_what_is_above_it(
    hpo: Index,
) -> None:
    assert said(hpo, "No seizure at first. Later a focal-onset seizure.")[1] == set()


def test_commas_and_sentences_part_findings(hpo: Index) -> None:
    assert "Abdominal pain" not in said(hpo, "Chest pain. Abdominal distention.")[0]
    assert "Abdominal pain" not in said(hpo, "Chest pain, abdominal distention")[0]


def test_sex_and_age_are_the_patients(hpo: Index) -> None:
    case = read_text(hpo, "A 6-month-old girl; her brother is 4 years old.")
    assert (case.sex, case.age_years) == ("FEMALE", 0.5)


_WORDS = (
    "fever no rash but cough, mother has had seizures. denies headache; 38.9 °C temperature "
    "pain in abdomen low-set ears\n\n ’ é BP 80/50 absent: and without VSD"
)
words = st.sampled_from(_WORDS.split(" "))


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(words, max_size=30).map(" ".join)))
def test_every_finding_stands_at_its_place_and_none_overlap_in_sign(text: str) -> None:
    index = _HPO[0]
    case = read_text(index, text)
    for finding in case.present + case.absent:
        assert finding.start is not None
        assert finding.end is not None
        assert 0 <= finding.start < finding.end <= len(text)
        assert text[finding.start : finding.end].strip() == text[finding.start : finding.end]
    assert not {f.term for f in case.present} & {f.term for f in case.absent}


_HPO: list[Index] = []


@pytest.fixture(scope="module", autouse=True)
def _shared(hpo: Index) -> None:
    """Hypothesis runs one function many times: it takes the index from here."""
    _HPO[:] = [hpo]


def test_an_empty_text_says_nothing(hpo: Index) -> None:
    assert read_text(hpo, "") == Case()
