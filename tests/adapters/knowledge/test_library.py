"""What added files change: which profiles are one disease, its names, codes and texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.adapters.knowledge.conftest import FOCAL, RASH, SEIZURE
from tests.knowledge_files import write_all, write_texts, write_xrefs

from ddx.adapters.knowledge.external.library import Library
from ddx.adapters.knowledge.external.mined import SHARE
from ddx.adapters.knowledge.merge import merge
from ddx.adapters.knowledge.model import Annotation, Ontology, Profile

OMIM = Profile(id="OMIM:154700", name="MARFAN SYNDROME; MFS")
ORPHA = Profile(id="ORPHA:558", name="Marfan's disease")
OTHER = Profile(id="OMIM:2", name="Another disease")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_all(tmp_path)


def read(folder: Path) -> Library:
    return Library.read({path.name: path for path in folder.iterdir()})


def test_profiles_that_mondo_equals_become_one_disease_with_one_mondo_code(folder: Path) -> None:
    library = read(folder)
    profiles = library.widened((OMIM, ORPHA, OTHER))
    diseases = merge(profiles, library.same(profiles))

    assert [[one.id for one in disease.profiles] for disease in diseases] == [
        ["ORPHA:558", "OMIM:154700"],
        ["OMIM:2"],
    ]
    assert profiles[0].codes == (
        ("MONDO:0007947", "Marfan syndrome"),
        ("ICD-10-CM:Q87.4", "Marfan syndrome"),
    )
    assert "MFS1" in profiles[1].aliases
    assert profiles[2] == OTHER


def test_of_two_profiles_of_one_source_the_one_that_bears_the_name_is_it(folder: Path) -> None:
    write_xrefs(
        folder,
        [
            ("MONDO:0007947", "Marfan syndrome", "ORPHA:558"),
            ("MONDO:0007947", "Marfan syndrome", "ORPHA:284963"),
        ],
    )
    named = Profile(id="ORPHA:284963", name="Syndrome, Marfan")
    assert read(folder).same([ORPHA, named]) == {"ORPHA:284963": "MONDO:0007947"}


def test_a_code_that_equals_two_diseases_is_neither(folder: Path) -> None:
    write_xrefs(
        folder,
        [
            ("MONDO:0000001", "blue fever", "OMIM:154700"),
            ("MONDO:0000002", "red fever", "OMIM:154700"),
        ],
    )
    assert read(folder).same([OMIM]) == {}


def test_a_profile_that_mondo_does_not_list_is_known_by_its_name(folder: Path) -> None:
    named = Profile(id="OMIM:99", name="Blue fever")
    assert read(folder).same([named]) == {"OMIM:99": "MONDO:0000001"}


def test_texts_are_found_under_every_id_of_a_disease(folder: Path) -> None:
    library = read(folder)
    diseases = merge((OMIM, OTHER))
    written = {disease.name: library.texts_of(disease) for disease in diseases}
    assert written == {
        "MARFAN SYNDROME; MFS": ("Long limbs and weak lenses.", "tall stature", "long fingers"),
        "Another disease": (),
    }
    assert library.other_texts(diseases) == ()
    assert library.other_texts([]) == ("Long limbs and weak lenses. tall stature long fingers",)


def test_without_files_nothing_changes() -> None:
    library = Library.read({})
    assert library.widened((OMIM, ORPHA)) == (OMIM, ORPHA)
    assert library.same((OMIM, ORPHA)) == {}
    assert library.texts_of(merge((OMIM,))[0]) == ()


def test_findings_that_texts_name_are_annotations_with_their_source(
    folder: Path, ontology: Ontology
) -> None:
    write_texts(
        folder,
        {
            "id": "MONDO:0007947",
            "name": "Marfan syndrome",
            "ordo": "A seizure is usual, but there is no fever. Relatives may have a rash.",
            "doid": "A disease with focal seizures.",
        },
    )
    annotated = replace(OMIM, annotations=(Annotation(term=FOCAL, frequency=0.9),))
    library = read(folder)
    first, *further = library.described(library.widened((annotated,)), ontology)

    assert first.annotations == (
        Annotation(term=FOCAL, frequency=0.9),
        Annotation(term=SEIZURE, frequency=SHARE, reference="a text of Orphanet"),
    )
    assert not further


def test_a_disease_that_only_texts_describe_can_be_listed(folder: Path, ontology: Ontology) -> None:
    write_texts(
        folder, {"id": "MONDO:0000001", "name": "blue fever", "medquad": "It begins with a rash."}
    )
    library = read(folder)
    known, new = library.described(library.widened((OTHER,)), ontology)

    assert known == OTHER
    assert (new.id, new.name) == ("MONDO:0000001", "Blue fever")
    assert new.codes == (("OMIM:1", "blue fever"),)
    assert [one.term for one in new.annotations] == [RASH]


@pytest.mark.parametrize(
    ("id", "name", "text"),
    [
        ("MONDO:0000001", "blue fever stage II", "It begins with a rash."),
        ("NCIT:C1", "blue fever", "It begins with a rash."),
        ("MONDO:0000001", "blue fever", "Nothing is known about it."),
    ],
)
def test_a_state_of_a_disease_or_one_without_findings_is_not_listed(
    folder: Path, ontology: Ontology, id: str, name: str, text: str
) -> None:
    write_texts(folder, {"id": id, "name": name, "doid": text})
    assert read(folder).described((OTHER,), ontology) == (OTHER,)
