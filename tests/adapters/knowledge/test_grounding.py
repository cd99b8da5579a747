"""Names of diagnoses to codes: sure, or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ddx.adapters.knowledge import Grounding, KnowledgeBase, KnowledgeEngine
from ddx.adapters.knowledge.external import KnowledgeStore
from ddx.adapters.knowledge.external.mondo import Mondo
from ddx.adapters.knowledge.index import Index
from ddx.ports import Terminology

MONDO = Mondo(
    labels={
        "MONDO:0000001": "warm disease",
        "MONDO:0000002": "Arnold-Chiari malformation type II",
        "MONDO:0000003": "shared name one",
        "MONDO:0000004": "shared name two",
        "MONDO:0000005": "cerebral migraine headache",
    },
    synonyms={
        "MONDO:0000002": ("Chiari malformation type 2",),
        "MONDO:0000003": ("both are called so", "shared name two"),
        "MONDO:0000004": ("both are called so",),
    },
    xrefs={
        "MONDO:0000002": ("OMIM:207950", "ORPHA:1136", "ORPHA:1137", "ICD-10-CM:Q07.0", "DOID:1"),
    },
)


@pytest.fixture(scope="module")
def grounding(index: Index) -> Grounding:
    return Grounding.make(index, MONDO)


def codes(grounding: Grounding, name: str) -> list[str]:
    return [code.code for code in grounding.codes(name)]


@pytest.mark.parametrize(
    "name",
    [
        "Chiari malformation type 2",
        "chiari malformation, type II.",
        "Type II Chiari Malformation",
        "Arnold–Chiari malformation type 2 (Chiari malformation type 2)",
        "Chiari II malformations",
        "Suspected Arnold-Chiari malformation, type II",
    ],
)
def test_forms_of_one_name_lead_to_one_disease(grounding: Grounding, name: str) -> None:
    assert codes(grounding, name)[0] == "MONDO:0000002"


def test_of_several_codes_of_one_terminology_none_is_given(grounding: Grounding) -> None:
    assert codes(grounding, "Chiari malformation type 2") == [
        "MONDO:0000002",
        "OMIM:207950",
        "Q07.0",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "?!",
        "(",
        "both are called so",
        "Chiari malformation type 3",
        "not a warm disease",
        "warm disease (both are called so)",
        "warm disease (shared name one)",
        "warm disease, shared name one",
    ],
)
def test_what_is_not_surely_one_disease_has_no_codes(grounding: Grounding, name: str) -> None:
    assert codes(grounding, name) == []


def test_a_first_name_wins_over_a_synonym_of_another(grounding: Grounding) -> None:
    assert codes(grounding, "Shared name two") == ["MONDO:0000004"]


def test_plurals_are_read(grounding: Grounding) -> None:
    assert codes(grounding, "cerebral migraine headaches") == ["MONDO:0000005"]


def test_what_was_kept_reads_back_the_same(grounding: Grounding) -> None:
    again = Grounding.load(grounding.dump())
    assert again.codes("warm disease") == grounding.codes("warm disease") != ()
    with pytest.raises(ValueError, match="digest"):
        Grounding.load(grounding.dump()[:-1])


def test_it_is_kept_beside_the_index_and_made_anew_where_damaged(
    index: Index, tmp_path: Path
) -> None:
    made = Grounding.open(tmp_path, index, None)
    (kept,) = tmp_path.glob("names-*.json")
    kept.write_bytes(kept.read_bytes()[:-5])
    again = Grounding.open(tmp_path, index, None)
    assert again.codes("Hot disease") == made.codes("Hot disease") != ()
    assert Grounding.load(kept.read_bytes()).codes("Hot disease") == made.codes("Hot disease")


@pytest.fixture(scope="module")
def carried(engine: KnowledgeEngine) -> Terminology:
    return Grounding.make(engine.index, Mondo())


@pytest.mark.parametrize("name", ["Marfan syndrome", "MARFAN SYNDROME (MFS)", "marfan's syndrome"])
def test_without_added_files_it_knows_the_names_that_the_program_carries(
    carried: Terminology, name: str
) -> None:
    assert {code.code for code in carried.codes(name)} == {"OMIM:154700", "ORPHA:558"}


@pytest.mark.parametrize("name", ["", "syndrome", "Marfan", "Marfan-like syndrome", "!!"])
def test_half_a_name_is_not_sure(carried: Terminology, name: str) -> None:
    assert carried.codes(name) == ()


def measured(grounding: Grounding, pairs: Path) -> tuple[float, float]:
    """Return precision and recall of 'both names have the codes of one disease'."""
    right = wrong = missed = 0
    with pairs.open(encoding="utf-8") as lines:
        for line in lines:
            pair = json.loads(line)
            first = grounding.find(pair["truth"])
            same = first is not None and first == grounding.find(pair["answer"])
            equal = pair["equal"] >= 0.5
            right += same and equal
            wrong += same and not equal
            missed += equal and not same
    return right / (right + wrong), right / (right + missed)


def test_ninety_five_of_a_hundred_names_that_it_takes_for_one_disease_are(
    cache_dir: Path, tmp_path: Path, data: Path
) -> None:
    pairs = data / "cases" / "name_match_pairs.jsonl"
    shelf = KnowledgeStore(tmp_path).add(data / "knowledge")

    alone = measured(KnowledgeBase(cache_dir).grounding, pairs)
    with_mondo = measured(KnowledgeBase(cache_dir, shelf).grounding, pairs)

    assert alone[0] >= 0.95
    assert alone[1] >= 0.30
    assert with_mondo[0] >= 0.95
    assert with_mondo[1] >= 0.33
