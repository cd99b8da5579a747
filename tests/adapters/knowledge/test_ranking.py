from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddx.adapters.knowledge.build import build
from ddx.adapters.knowledge.calibration import calibration
from ddx.adapters.knowledge.case import Case, Finding, coded_case, combine
from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.merge import merge
from ddx.adapters.knowledge.model import Annotation, Disease, Ontology, Profile
from ddx.adapters.knowledge.ranking import Ranker
from ddx.core.record import Findings, Setting

HEAD, SEIZURE, FOCAL, FEVER, RASH = (f"HP:000000{n}" for n in range(1, 6))
FOCAL_DISEASE, HOT_DISEASE, EMPTY_DISEASE = range(3)


def a_case(index: Index, *present: str, absent: tuple[str, ...] = (), **more: str) -> Case:
    return coded_case(index, Findings(present=present, absent=absent, **more))


def test_the_disease_that_explains_the_findings_comes_first(index: Index) -> None:
    ranker = Ranker(index)
    assert ranker.rank(a_case(index, FOCAL)).order[0] == FOCAL_DISEASE
    assert ranker.rank(a_case(index, FEVER, RASH)).order[0] == HOT_DISEASE


def test_a_finding_above_the_described_one_counts_too(index: Index) -> None:
    assert Ranker(index).rank(a_case(index, SEIZURE)).order[0] == FOCAL_DISEASE
    assert index.probability(index.rows[SEIZURE], FOCAL_DISEASE) == pytest.approx(0.9)


def test_a_disease_without_a_described_finding_is_not_ranked(index: Index) -> None:
    assert EMPTY_DISEASE not in Ranker(index).rank(a_case(index, FEVER)).order


def test_a_finding_that_a_source_denies_counts_against_the_disease(index: Index) -> None:
    ranker = Ranker(index)
    assert ranker.present_ratio(index.rows[RASH], FOCAL_DISEASE) == ranker.weights.denied


def test_an_absent_finding_counts_against_the_diseases_that_have_it(index: Index) -> None:
    with_it = Ranker(index).rank(a_case(index, HEAD))
    without = Ranker(index).rank(a_case(index, HEAD, absent=(FEVER,)))
    assert without.scores[HOT_DISEASE] < with_it.scores[HOT_DISEASE]
    assert without.scores[FOCAL_DISEASE] > with_it.scores[FOCAL_DISEASE]


def test_a_child_is_unlikely_to_have_a_disease_of_adults(index: Index) -> None:
    ranker = Ranker(index)
    child = ranker.rank(a_case(index, FEVER, age="P3Y")).scores[HOT_DISEASE]
    adult = ranker.rank(a_case(index, FEVER, age="P30Y")).scores[HOT_DISEASE]
    assert child < adult


@given(st.permutations([SEIZURE, FOCAL, FEVER, RASH]), st.integers(0, 3))
def test_the_order_of_the_findings_changes_nothing(order: list[str], cut: int) -> None:
    index = _INDEX[0]
    ranker = Ranker(index)
    found = ranker.rank(a_case(index, *order[cut:], absent=tuple(order[:cut])))
    same = ranker.rank(a_case(index, *sorted(order[cut:]), absent=tuple(sorted(order[:cut]))))
    assert found.order.tolist() == same.order.tolist()
    assert np.array_equal(found.probabilities, same.probabilities)
    described = calibration(Setting.GENETICS, prose=False).described
    assert math.isclose(float(found.probabilities.sum()), described)


_INDEX: list[Index] = []


@pytest.fixture(scope="module", autouse=True)
def _shared(index: Index) -> None:
    _INDEX[:] = [index]


def test_an_old_id_leads_to_todays_and_an_unknown_one_is_kept_apart(index: Index) -> None:
    case = a_case(index, "HP:9", "HP:7777777", absent=("nonsense",))
    assert [index.term_id(finding.term) for finding in case.present] == [FEVER]
    assert case.unknown == ("HP:7777777", "nonsense")


def test_a_code_and_a_quote_of_one_finding_are_one_finding_with_a_quote(index: Index) -> None:
    row = index.rows[FEVER]
    read = Case(present=(Finding(term=row, start=3, end=8),))
    assert combine(index, a_case(index, FEVER), read) == read


def test_a_pack_can_say_that_two_profiles_are_one_disease(ontology: Ontology) -> None:
    one = Profile(id="OMIM:1", name="A", annotations=(Annotation(term=FEVER, frequency=0.2),))
    two = Profile(id="ORPHA:2", name="B", annotations=(Annotation(term=RASH, frequency=0.3),))
    (joined,) = merge([one, two], same={"OMIM:1": "x", "ORPHA:2": "x"})
    assert isinstance(joined, Disease)
    assert [profile.id for profile in joined.profiles] == ["ORPHA:2", "OMIM:1"]
    arrays, strings = build(ontology, [joined])
    index = Index(arrays, strings, "", "")
    assert index.probability(index.rows[FEVER], 0) == pytest.approx(0.2)
    assert index.probability(index.rows[RASH], 0) == pytest.approx(0.3)


def test_profiles_of_one_name_are_joined_unless_a_source_has_it_twice() -> None:
    orpha = Profile(id="ORPHA:1", name="Dilated cardiomyopathy type 1A")
    omim = Profile(id="OMIM:1", name="Cardiomyopathy, dilated, IA")
    again = Profile(id="OMIM:2", name="Cardiomyopathy, dilated, 1A")
    assert len(merge([orpha, omim])) == 1
    assert len(merge([orpha, omim, again])) == 3


def test_a_count_of_few_patients_is_not_taken_as_always(ontology: Ontology) -> None:
    said = (Annotation(term=FEVER, frequency=1.0, patients=1),)
    arrays, strings = build(
        ontology, [Disease(name="A", profiles=(Profile(id="X:1", name="A", annotations=said),))]
    )
    index = Index(arrays, strings, "", "")
    assert index.probability(index.rows[FEVER], 0) == pytest.approx(0.75)


def test_a_profile_says_of_every_finding_what_its_column_says(index: Index) -> None:
    for disease in range(index.n_diseases):
        said = [index.probability(term, disease) for term in range(index.n_terms)]
        assert index.profile(disease).tolist() == pytest.approx(said)
